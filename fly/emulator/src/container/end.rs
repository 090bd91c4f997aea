//! What goes on beside a container as long as it lives: waiting for its end, and
//! keeping what it prints in its machine's log.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use kit::Chance;
use kit::backoff::Backoff;
use kit::tasks::blocking;
use tokio::sync::watch;

use super::Trace;
use super::engine::{Engine, Failure};
use super::frames::Frames;
use crate::process::{Exit, open_log};

/// While the engine does not answer, or says of a container that runs that it has ended.
const RETRY: Backoff = Backoff { first: Duration::from_millis(100), most: Duration::from_secs(5) };
/// How long the last output of a container that has ended may take.
const LOG_WITHIN: Duration = Duration::from_secs(5);

/// Tells how the container has ended, once it has. Ends when nobody wants to know any more.
pub(super) async fn watch(engine: Arc<Engine>, id: String, seen: watch::Sender<Option<Exit>>, chance: Chance) {
    let exit = tokio::select! {
        exit = ended(&engine, &id, &chance) => exit,
        () = seen.closed() => return,
    };
    seen.send_replace(Some(exit));
}

async fn ended(engine: &Engine, id: &str, chance: &Chance) -> Exit {
    let mut failures = 0;
    loop {
        let waited = engine.wait(id).await;
        // What the wait says is not kept: podman's answer to a container that is removed is one of success.
        match engine.inspect(id).await {
            Ok(Some(state)) if !state.is_alive() => return state.exit(),
            Ok(None) => return Exit::default(),
            Ok(Some(_)) => (),
            Err(failure) => tracing::debug!(container = id, %failure, "the end of a container cannot be seen"),
        }
        if let Err(failure) = waited {
            tracing::debug!(container = id, %failure, "a container cannot be waited for");
        }
        failures += 1;
        tokio::time::sleep(RETRY.wait(failures, chance)).await;
    }
}

/// Writes what the container prints into the machine's log, from where the container's output
/// begins there: what an earlier emulator has written of it is written again, and nothing is missed.
pub(super) async fn keep_log(engine: Arc<Engine>, trace: Trace, directory: PathBuf, open: watch::Sender<()>) {
    let copied = tokio::select! {
        copied = copy(&engine, &trace, directory) => copied,
        () = open.closed() => Ok(()),
    };
    if let Err(failure) = copied {
        tracing::warn!(container = trace.container, %failure, "a machine's output is not in its log");
    }
}

async fn copy(engine: &Engine, trace: &Trace, directory: PathBuf) -> Result<(), Failure> {
    let from = trace.log_from;
    let mut log = blocking(move || rewound(&directory, from)).await.map_err(Failure::Local)?;
    let mut output = pin!(engine.output(&trace.container).await?);
    let mut frames = Frames::default();
    while let Some(bytes) = output.try_next().await? {
        let pieces = frames.take(bytes.as_ref());
        let write = move || {
            let written = pieces.iter().try_for_each(|piece| log.write_all(&piece.bytes));
            (log, written)
        };
        let written;
        (log, written) = blocking(write).await;
        written.map_err(Failure::Local)?;
    }
    Ok(())
}

/// The log without what comes after that place.
fn rewound(directory: &std::path::Path, from: u64) -> io::Result<File> {
    let log = open_log(directory)?;
    if log.metadata()?.len() > from {
        log.set_len(from)?;
    }
    Ok(log)
}

/// Waits until all of the output is in the log, but not for ever.
pub(super) async fn logged(log: watch::Receiver<()>) {
    let mut log = log;
    let closed = async { while log.changed().await.is_ok() {} };
    drop(tokio::time::timeout(LOG_WITHIN, closed).await);
}
