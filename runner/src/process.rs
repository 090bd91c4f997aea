//! Tools that are run for their result: bounded in time and output, and ended
//! with everything they started when the time is over or the work called off.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use kit::process::{Sig, signal_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use crate::orders::{Halt, Orders};

/// Between SIGTERM and SIGKILL for a tool: time to remove its locks.
const GRACE: Duration = Duration::from_secs(2);
/// How long a stream is read on when the tool has ended but something it started holds the stream.
const LINGER: Duration = Duration::from_millis(500);

/// How much a tool may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// How long.
    pub(crate) within: Duration,
    /// Bytes that are kept of each stream: the last ones.
    pub(crate) keep: usize,
}

/// A tool that has ended by itself.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Kept,
    pub(crate) stderr: Kept,
}

impl Output {
    pub(crate) fn said(&self) -> [&Kept; 2] {
        [&self.stdout, &self.stderr]
    }
}

/// The end of a stream, or all of it.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) bytes: Vec<u8>,
    pub(crate) is_cut: bool,
}

/// Why a tool did not end by itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error("it was called off")]
    Halted(Halt),
    #[error("it did not end within {within:?}")]
    TimedOut {
        /// The time it had.
        within: Duration,
        /// What it said until then.
        said: Box<[Kept; 2]>,
    },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Kills the process group when it is dropped before the group was given up.
#[derive(Debug)]
pub(crate) struct Group(Option<u32>);

impl Group {
    pub(crate) fn of(child: &Child) -> Self {
        Self(child.id())
    }

    pub(crate) fn signal(&self, signal: Sig) {
        let Some(leader) = self.0 else { return };
        if let Err(error) = signal_group(leader, signal) {
            tracing::warn!("process group {leader} cannot be signalled: {error}");
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Sig::SIGKILL);
    }
}

/// Runs a tool to its end, feeding it the input. Whatever it left in its group is killed.
pub(crate) async fn run(
    command: &mut Command,
    input: &[u8],
    bounds: Bounds,
    orders: &Orders,
) -> Result<Output, RunError> {
    if let Some(halt) = orders.standing() {
        return Err(RunError::Halted(halt));
    }
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    if !input.is_empty() {
        command.stdin(Stdio::piped());
    }
    let mut child = command.spawn()?;
    let group = Group::of(&child);
    let mut said = [Kept::default(), Kept::default()];
    let halt = {
        let finished = finish(&mut child, input, bounds.keep, &mut said);
        tokio::select! {
            finished = finished => {
                let [stdout, stderr] = said;
                return Ok(Output { status: finished?, stdout, stderr });
            }
            halt = orders.halted() => Some(halt),
            () = tokio::time::sleep(bounds.within) => None,
        }
    };
    group.signal(Sig::SIGTERM);
    drop(tokio::time::timeout(GRACE, child.wait()).await);
    Err(halt.map_or_else(|| RunError::TimedOut { within: bounds.within, said: Box::new(said) }, RunError::Halted))
}

async fn finish(child: &mut Child, input: &[u8], keep: usize, said: &mut [Kept; 2]) -> io::Result<ExitStatus> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let [out, err] = said;
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A tool that ends without reading its input says why on its standard error.
            drop(stdin.write_all(input).await);
        }
    };
    let reading = async { tokio::join!(feed, read(stdout, keep, out), read(stderr, keep, err)) };
    tokio::pin!(reading);
    tokio::select! {
        _ = &mut reading => child.wait().await,
        status = child.wait() => {
            drop(tokio::time::timeout(LINGER, &mut reading).await);
            status
        }
    }
}

/// Reads to the end; a stream that breaks ends there.
async fn read(stream: Option<impl AsyncRead + Unpin>, keep: usize, kept: &mut Kept) {
    let Some(mut stream) = stream else { return };
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        kept.bytes.extend_from_slice(&buffer[..length]);
        if kept.bytes.len() > keep.saturating_mul(2) {
            kept.bytes.drain(..kept.bytes.len() - keep);
            kept.is_cut = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { within: Duration::from_secs(20), keep: 8 };

    fn shell(script: &str) -> Command {
        let mut command = kit::process::command("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn input_is_fed_and_the_end_of_a_long_output_is_kept() {
        let output = run(&mut shell("cat; seq 1000"), b"in", BOUNDS, &Orders::none()).await.expect("runs");
        assert!(output.stdout.bytes.ends_with(b"1000\n") && output.stdout.is_cut);
        let output = run(&mut shell("cat"), b"in", BOUNDS, &Orders::none()).await.expect("runs");
        assert!(output.stdout.bytes == b"in" && !output.stdout.is_cut && output.status.success());
    }

    #[tokio::test]
    async fn a_tool_that_takes_too_long_or_is_called_off_is_ended() {
        let bounds = Bounds { within: Duration::from_secs(2), ..BOUNDS };
        let slow = run(&mut shell("echo why; sleep 60 & wait"), b"", bounds, &Orders::none()).await;
        let Err(RunError::TimedOut { said, .. }) = slow else { panic!("{slow:?}") };
        assert_eq!(said[0].bytes, b"why\n");
        let (commander, orders) = Orders::new();
        let mut command = shell("sleep 60");
        let (ended, ()) = tokio::join!(run(&mut command, b"", BOUNDS, &orders), async {
            commander.halt(Halt::Cancelled);
        });
        assert!(matches!(ended, Err(RunError::Halted(Halt::Cancelled))), "{ended:?}");
    }
}
