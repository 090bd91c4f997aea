//! What an agent, or a hook of it, says of what it has read (row ORK-6.3b): a line of JSON on a socket that
//! `BIFROST_AGENT` names. Nobody has to say anything: what was read is seen as well.

use std::io;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::Supervisor;

/// Names the socket to the agent.
pub(crate) const VARIABLE: &str = "BIFROST_AGENT";
/// A longer line is none of ours.
const LINE_BYTES_MAX: u64 = 4 * 1024;
/// One conversation holds up the next for no longer.
const WITHIN: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_secs(1);

/// What is said.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Word {
    /// The newest trigger that was read; all of them where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    through: Option<i64>,
}

/// The answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Read(i64),
    Error(String),
}

pub(super) fn open(path: &Path) -> io::Result<UnixListener> {
    // One of an earlier process, if any.
    drop(std::fs::remove_file(path));
    kit::net::by_short_name(path, |short| UnixListener::bind(short))
}

impl Supervisor {
    /// Listens for as long as it is let.
    pub(super) async fn hear(&self) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => drop(tokio::time::timeout(WITHIN, self.converse(stream)).await),
                Err(error) => {
                    tracing::warn!("the agent cannot be heard: {error}");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn converse(&self, stream: UnixStream) -> io::Result<()> {
        let mut lines = BufReader::new(stream.take(LINE_BYTES_MAX));
        let mut line = String::new();
        lines.read_line(&mut line).await?;
        let answer = match serde_json::from_str(&line) {
            Ok(Word { through }) => self.acknowledged(through),
            Err(error) => Answer::Error(format!("not understood: {error}")),
        };
        let mut answer = serde_json::to_vec(&answer)?;
        answer.push(b'\n');
        lines.get_mut().get_mut().write_all(&answer).await
    }

    fn acknowledged(&self, through: Option<i64>) -> Answer {
        let mut answer = Ok(0);
        self.state.send_modify(|state| answer = state.progress.acknowledge(through));
        answer.map_or_else(Answer::Error, Answer::Read)
    }
}

/// The agent's end: says that it has read what was typed, all of it or through a number. Gives how far it is now.
pub async fn acknowledge(channel: &Path, through: Option<i64>) -> anyhow::Result<i64> {
    let conversation = async {
        let stream = kit::net::by_short_name(channel, |short| std::os::unix::net::UnixStream::connect(short))?;
        stream.set_nonblocking(true)?;
        let mut stream = BufReader::new(UnixStream::from_std(stream)?);
        let mut line = serde_json::to_vec(&Word { through })?;
        line.push(b'\n');
        stream.write_all(&line).await?;
        let mut answer = String::new();
        stream.read_line(&mut answer).await?;
        Ok::<_, anyhow::Error>(serde_json::from_str::<Answer>(&answer)?)
    };
    match tokio::time::timeout(WITHIN * 2, conversation).await?? {
        Answer::Read(number) => Ok(number),
        Answer::Error(error) => anyhow::bail!(error),
    }
}
