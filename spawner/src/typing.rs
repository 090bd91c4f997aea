//! Typing to an agent: a text, literally, and Enter; in turn with the person who types in
//! the same terminal ([`crate::collision`]), unless somebody says why it cannot wait.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};
use kit::Clock;
use serde::Serialize;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use wire::id::ExecutionId;

use crate::collision::{Decision, decide};
use crate::config::Config;
use crate::error::FleetError;
use crate::fleet::{self, Status};
use crate::handle::{AgentHandle, Desk};
use crate::tmux::Tmux;
use crate::turn;

/// The longest text; a pipe takes it whole.
const BYTES_MAX: usize = 32 * 1024;
/// How long a terminal may leave what is typed untaken.
pub(crate) const TAKEN_WITHIN: Duration = Duration::from_secs(5);
/// How long messages that are being typed may hold ours up.
const TURN_WITHIN: Duration = Duration::from_secs(10);

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sent {
    /// When it was typed.
    pub at: DateTime<Utc>,
    /// How long.
    pub bytes: usize,
    /// How long it waited for somebody who typed.
    pub waited_ms: u64,
    /// Whether that somebody still typed.
    pub typed_over: bool,
    /// Why it was typed without waiting.
    pub forced: Option<String>,
}

impl Sent {
    /// A text that has just been typed, and has waited since `queued`.
    pub(crate) fn now(
        clock: &Clock,
        text: &str,
        queued: DateTime<Utc>,
        typed_over: bool,
        forced: Option<String>,
    ) -> Self {
        let at = clock.now();
        let waited_ms = u64::try_from((at - queued).num_milliseconds()).unwrap_or_default();
        Self { at, bytes: text.len(), waited_ms, typed_over, forced }
    }
}

/// Types the text to an agent that runs. With a reason in `forced` it waits for nobody. `waiting` is told when it
/// begins to wait for a person.
pub async fn send(
    config: &Config,
    id: ExecutionId,
    text: &str,
    forced: Option<&str>,
    clock: &Clock,
    waiting: &mut dyn FnMut(),
) -> Result<Sent, FleetError> {
    let text = text.trim_end_matches(['\n', '\r']);
    check(text).map_err(FleetError::Refused)?;
    let desk = Desk::new(&config.base, id);
    let handle = recipient(config, id).await?;
    let queued = clock.now();
    let mut is_told = false;
    let terminal = Terminal { id, desk: desk.clone(), tmux: fleet::tmux_of(config, &handle) };
    loop {
        // One message is typed at a time, but nobody else waits while this one gives way to a person.
        let turn = turn(&desk.sending(), TURN_WITHIN).await.map_err(FleetError::file(desk.sending()))?;
        let held = turn.ok_or_else(|| FleetError::Refused("the terminal is busy; try again later".into()))?;
        let decision = match forced {
            Some(_) => Decision::Write,
            None => decide(config.rules, clock.now(), terminal.last_typed().await?, queued),
        };
        match decision {
            Decision::Write | Decision::WriteAnyway => {
                terminal.write(text).await?;
                let typed_over = decision == Decision::WriteAnyway;
                let sent = Sent::now(clock, text, queued, typed_over, forced.map(str::to_owned));
                terminal.note(&sent)?;
                return Ok(sent);
            }
            Decision::Wait(until) => {
                drop(held);
                if !std::mem::replace(&mut is_told, true) {
                    waiting();
                }
                tokio::time::sleep((until - clock.now()).to_std().unwrap_or_default()).await;
                recipient(config, id).await?;
            }
        }
    }
}

/// The terminal of an agent, for what is typed there.
#[derive(Debug)]
pub(crate) struct Terminal {
    pub(crate) id: ExecutionId,
    pub(crate) desk: Desk,
    /// Nothing where it is in no tmux.
    pub(crate) tmux: Option<Tmux>,
}

impl Terminal {
    /// When a person last typed there.
    pub(crate) async fn last_typed(&self) -> Result<Option<DateTime<Utc>>, FleetError> {
        match &self.tmux {
            Some(tmux) => Ok(tmux.last_typed(self.id).await?),
            None => {
                let touched = fs::metadata(self.desk.typed()).and_then(|meta| meta.modified());
                Ok(touched.ok().map(DateTime::from))
            }
        }
    }

    /// Types a text as it is, and Enter.
    pub(crate) async fn write(&self, text: &str) -> Result<(), FleetError> {
        match &self.tmux {
            Some(tmux) => Ok(tmux.paste(self.id, text).await?),
            None => press(&self.desk, text).await,
        }
    }

    /// Notes that something was typed: when, how much and why, never what.
    pub(crate) fn note(&self, sent: &Sent) -> Result<(), FleetError> {
        note(&self.desk.sent(), sent).map_err(FleetError::file(self.desk.sent()))
    }
}

/// What would be a key rather than a text is refused.
pub(crate) fn check(text: &str) -> Result<(), String> {
    if text.trim().is_empty() || text.len() > BYTES_MAX {
        return Err(format!("the text must have 1 to {BYTES_MAX} bytes"));
    }
    match text.chars().any(|character| character.is_control() && !"\n\t".contains(character)) {
        true => Err("the text has control characters in it, which a terminal takes for keys; leave them out".into()),
        false => Ok(()),
    }
}

/// The agent, if it can be typed to.
async fn recipient(config: &Config, id: ExecutionId) -> Result<AgentHandle, FleetError> {
    let agent = fleet::find(config, id).await?;
    match agent.status {
        Status::Running if Desk::new(&config.base, id).has_left_terminal() => {
            Err(FleetError::TakenUp { id, runtime: agent.runtime.and_then(|known| known.id) })
        }
        Status::Running if agent.handle.has_terminal => Ok(agent.handle),
        Status::Running => Err(FleetError::NoTerminal(id)),
        Status::Starting | Status::Ended(_) | Status::Lost => Err(FleetError::NotRunning(id)),
    }
}

/// Types into the terminal that the supervisor holds.
async fn press(desk: &Desk, text: &str) -> Result<(), FleetError> {
    // As tmux does: what a person's Enter sends.
    let keys = format!("{}\r", text.replace('\n', "\r"));
    write_keys(&desk.keys(), keys.as_bytes()).await.map_err(FleetError::file(desk.keys()))
}

async fn write_keys(path: &Path, keys: &[u8]) -> io::Result<()> {
    let mut pipe = pipe::OpenOptions::new().open_sender(path)?;
    match tokio::time::timeout(TAKEN_WITHIN, pipe.write_all(keys)).await {
        Ok(written) => written,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Passes on the keys of a person who is attached to the terminal that the supervisor holds.
pub async fn press_by_hand(config: &Config, id: ExecutionId, keys: &[u8]) -> Result<(), FleetError> {
    let desk = Desk::new(&config.base, id);
    fs::write(desk.typed(), b"").map_err(FleetError::file(desk.typed()))?;
    write_keys(&desk.keys(), keys).await.map_err(|error| match error.raw_os_error() {
        Some(code) if code == nix::errno::Errno::ENXIO as i32 => FleetError::NotRunning(id),
        _ => FleetError::File { path: desk.keys(), source: error },
    })
}

fn note(path: &Path, sent: &Sent) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let line = serde_json::to_string(sent).map_err(io::Error::from)?;
    writeln!(file, "{line}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_no_key() {
        for text in ["yes", "two\nlines\tand a tab", "$(rm -rf /); `id` #{pid} ü"] {
            assert_eq!(check(text), Ok(()), "{text:?}");
        }
        for text in ["", " \n ", "\u{3}", "a\u{1b}[A", "a\rb", "\0", &"x".repeat(BYTES_MAX + 1)] {
            assert!(check(text).is_err(), "{text:?}");
        }
    }
}
