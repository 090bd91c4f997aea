//! Looking into an agent's terminal: with tmux where it is in a session, else what it says
//! as it says it, and one's own keys to it.

use std::fs::{self, File};
use std::io::{self, IsTerminal as _, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use spawner::Config;
use wire::event::Stream;
use wire::id::ExecutionId;

use super::{look, refusal};
use crate::attach::{DETACH, Own, next, read_keys};
use crate::invocation::Invocation;

/// What somebody who comes later is shown.
const RECENT_BYTES: u64 = 32 * 1024;
/// How often it is looked whether there is more.
const BEAT: Duration = Duration::from_millis(30);
/// After so many looks without anything new it is asked whether the agent still runs.
const IDLE_BEATS: u32 = 10;

/// Prints the command for a session of tmux; shows any other terminal until the agent ends or one leaves.
pub(super) async fn attach(invocation: &Invocation, config: &Config, id: ExecutionId) -> anyhow::Result<()> {
    let agent = spawner::find(config, id).await.map_err(refusal)?;
    let output = invocation.output;
    if !agent.status.is_active() {
        return Err(refusal(spawner::FleetError::NotRunning(id)));
    }
    if let Some(words) = spawner::attach_command(config, &agent.handle) {
        return if output.is_json {
            output.json(&serde_json::json!({ "id": id, "command": words }))
        } else {
            Ok(output.line(&look(config, &agent.handle))?)
        };
    }
    let path = spawner::log_path(config, id);
    let mut log = Log::open(&path)?;
    let (mut raw, mut typed) = (None, None);
    if agent.handle.has_terminal && io::stdin().is_terminal() {
        output.say("attached; Ctrl-] detaches");
        raw = Some(Own::passing_on()?);
        typed = Some(read_keys());
    }
    let mut beat = tokio::time::interval(BEAT);
    let mut idle = 0;
    loop {
        tokio::select! {
            keys = next(&mut typed) => {
                let keys = keys.unwrap_or_else(|| vec![DETACH]);
                let is_last = keys.contains(&DETACH);
                let keys = keys.split(|key| *key == DETACH).next().unwrap_or_default();
                if !keys.is_empty() {
                    spawner::press_by_hand(config, id, keys).await.map_err(refusal)?;
                }
                if is_last {
                    break;
                }
            }
            _ = beat.tick() => {
                let more = log.more()?;
                output.raw(Stream::Stdout, &more)?;
                idle = if more.is_empty() { idle + 1 } else { 0 };
                if idle > IDLE_BEATS {
                    idle = 0;
                    let agent = spawner::find(config, id).await.map_err(refusal)?;
                    if !agent.status.is_active() {
                        drop(raw);
                        output.say(&format!("{id} has ended: {}", agent.status.as_str()));
                        return Ok(());
                    }
                }
            }
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    drop(raw);
    output.say("detached; the agent goes on");
    Ok(())
}

/// What is written to a file, and to the one that takes its place.
struct Log<'a> {
    path: &'a Path,
    file: File,
}

impl<'a> Log<'a> {
    fn open(path: &'a Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(RECENT_BYTES)))?;
        Ok(Self { path, file })
    }

    fn more(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        // Asked first: what is written to the old one until then is still read.
        let is_replaced =
            fs::metadata(self.path).is_ok_and(|now| self.file.metadata().is_ok_and(|old| now.ino() != old.ino()));
        self.file.read_to_end(&mut bytes)?;
        if is_replaced {
            self.file = File::open(self.path)?;
            self.file.read_to_end(&mut bytes)?;
        }
        Ok(bytes)
    }
}
