//! Runs a program in a container and gathers what it prints.

use std::pin::pin;

use futures_util::TryStreamExt;

use super::engine::{Engine, Failure};
use super::frames::Frames;

/// Of each stream; what comes after that is dropped.
const OUTPUT_BYTES: usize = 1024 * 1024;

/// What a program has printed, and how it ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Executed {
    pub(crate) exit_code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

pub(super) async fn run(engine: &Engine, container: &str, command: &[String]) -> Result<Executed, Failure> {
    let exec = engine.prepare_exec(container, command).await?;
    let mut executed = Executed::default();
    let mut frames = Frames::default();
    {
        let mut output = pin!(engine.run_exec(&exec).await?);
        while let Some(bytes) = output.try_next().await? {
            for piece in frames.take(bytes.as_ref()) {
                let kept = if piece.is_error { &mut executed.stderr } else { &mut executed.stdout };
                let room = OUTPUT_BYTES.saturating_sub(kept.len()).min(piece.bytes.len());
                kept.extend_from_slice(&piece.bytes[..room]);
            }
        }
    }
    executed.exit_code = engine.exec_code(&exec).await?;
    Ok(executed)
}
