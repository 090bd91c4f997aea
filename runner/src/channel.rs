//! What a command says to its runner while it works (row RU-5): a line of JSON on a
//! socket that `BIFROST_CHANNEL` names, by a name that fits into a socket's address wherever the command has a `/tmp` of
//! its own.
//!
//! Whatever it says there means that it goes on: its idle and stall timeouts begin
//! anew. With `{"busy_seconds": 600, "reason": "…"}` they do so when that time is over,
//! and the machine stays awake for so long, even when the execution has ended before.
//! That runs out by itself: nobody has to be alive to end it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::time::Instant;
use wire::limit::BUSY_SECONDS_MAX;

use crate::command::redaction::Secrets;

/// Names the socket to the command.
pub const VARIABLE: &str = "BIFROST_CHANNEL";
pub(crate) const NAME: &str = "channel";
/// A longer line is none of ours.
const LINE_BYTES_MAX: u64 = 4 * 1024;
/// One conversation holds up the next for no longer.
const DEADLINE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_secs(1);

/// What is said.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Word {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    busy_seconds: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// The answer.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Answer {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// What was said so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Signs {
    words: u64,
    busy_until: Option<Instant>,
}

impl Signs {
    /// How much longer the machine is to stay awake.
    pub(crate) fn busy_left(&self, now: Instant) -> Option<Duration> {
        self.busy_until.map(|until| until.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }

    /// The last word counts: also one that asks for less.
    fn heard(&mut self, busy: Option<Duration>, now: Instant) {
        self.words += 1;
        if let Some(busy) = busy {
            self.busy_until = Some(now + busy);
        }
    }
}

/// The runner's end.
#[derive(Debug)]
pub(crate) struct Channel {
    listener: UnixListener,
    pub(crate) path: PathBuf,
    signs: watch::Sender<Signs>,
}

impl Channel {
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        let path = directory.join(NAME);
        crate::volume::remove(&path)?;
        let listener = kit::net::by_short_name(&path, |short| UnixListener::bind(short))?;
        Ok(Self { listener, path, signs: watch::Sender::default() })
    }

    pub(crate) fn signs(&self) -> watch::Receiver<Signs> {
        self.signs.subscribe()
    }

    /// Listens for ever; what it notes is noted without these secrets.
    pub(crate) async fn serve(&self, secrets: Secrets) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => drop(tokio::time::timeout(DEADLINE, self.converse(stream, &secrets)).await),
                Err(error) => {
                    tracing::warn!("the channel of a command cannot be heard: {error}");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn converse(&self, stream: UnixStream, secrets: &Secrets) -> io::Result<()> {
        let mut lines = BufReader::new(stream.take(LINE_BYTES_MAX));
        let mut line = String::new();
        lines.read_line(&mut line).await?;
        let error = match understand(&line) {
            Ok(word) => {
                let busy = word.busy_seconds.map(Duration::from_secs);
                self.signs.send_modify(|signs| signs.heard(busy, Instant::now()));
                if let Some(busy) = busy {
                    let reason = secrets.hide(&word.reason.unwrap_or_default());
                    tracing::info!("a command keeps its machine awake for {busy:?}: {reason}");
                }
                None
            }
            Err(error) => Some(error),
        };
        let mut answer = serde_json::to_vec(&Answer { error })?;
        answer.push(b'\n');
        lines.get_mut().get_mut().write_all(&answer).await
    }
}

/// What a line says (pure), or what is wrong with it.
fn understand(line: &str) -> Result<Word, String> {
    let word: Word = serde_json::from_str(line).map_err(|error| format!("not understood: {error}"))?;
    if word.busy_seconds.is_some_and(|seconds| seconds > BUSY_SECONDS_MAX) {
        return Err(format!("busy_seconds: must be at most {BUSY_SECONDS_MAX}; ask again before it is over"));
    }
    Ok(word)
}

/// The command's end: says that it goes on, and asks for the machine to stay awake where a time is given.
pub async fn say(channel: &Path, busy: Option<Duration>, reason: Option<String>) -> anyhow::Result<()> {
    let word = Word { busy_seconds: busy.map(|busy| busy.as_secs()), reason };
    let conversation = async {
        let stream = kit::net::by_short_name(channel, |short| std::os::unix::net::UnixStream::connect(short))?;
        stream.set_nonblocking(true)?;
        let mut stream = BufReader::new(UnixStream::from_std(stream)?);
        let mut line = serde_json::to_vec(&word)?;
        line.push(b'\n');
        stream.write_all(&line).await?;
        let mut answer = String::new();
        stream.read_line(&mut answer).await?;
        Ok::<_, anyhow::Error>(serde_json::from_str::<Answer>(&answer)?)
    };
    match tokio::time::timeout(DEADLINE * 2, conversation).await?? {
        Answer { error: None } => Ok(()),
        Answer { error: Some(error) } => anyhow::bail!(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn with_channel<T>(work: impl AsyncFnOnce(&Channel) -> T) -> T {
        let directory = tempfile::tempdir().expect("a directory");
        // Longer than a socket's name may be.
        let directory = directory.path().join("x".repeat(120));
        kit::files::make_private(&directory).expect("makes");
        let channel = Channel::open(&directory).expect("opens");
        tokio::select! {
            done = work(&channel) => done,
            () = channel.serve(Secrets::default()) => unreachable!("it serves for ever"),
        }
    }

    #[tokio::test]
    async fn every_word_is_a_sign_and_the_last_wish_counts() {
        with_channel(async |channel| {
            let signs = channel.signs();
            say(&channel.path, None, None).await.expect("is heard");
            assert_eq!((signs.borrow().words, signs.borrow().busy_until), (1, None));
            for seconds in [3_600, 60] {
                say(&channel.path, Some(Duration::from_secs(seconds)), Some("a build".into())).await.expect("is heard");
                let left = signs.borrow().busy_left(Instant::now()).expect("holds");
                assert!(left <= Duration::from_secs(seconds) && left > Duration::from_secs(seconds / 2), "{left:?}");
            }
            let later = Instant::now() + Duration::from_secs(61);
            assert_eq!(signs.borrow().busy_left(later), None);
        })
        .await;
    }

    #[tokio::test]
    async fn what_is_wrong_is_said_and_is_no_sign() {
        with_channel(async |channel| {
            let too_long = Some(Duration::from_secs(BUSY_SECONDS_MAX + 1));
            let error = say(&channel.path, too_long, None).await.expect_err("refused").to_string();
            assert!(error.contains("busy_seconds: must be at most 3600"), "{error}");
            assert_eq!(channel.signs().borrow().words, 0);
        })
        .await;
        for line in ["", "hold", r#"{"busy": 1}"#, r#"{"busy_seconds": -1}"#] {
            assert!(understand(line).is_err(), "{line}");
        }
    }
}
