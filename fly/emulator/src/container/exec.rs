//! Runs a program in a container and gathers what it prints.

use std::pin::pin;

use futures_util::TryStreamExt;

use super::engine::{Engine, Failure};
use super::frames::Frames;
use crate::driver::Executed;

pub(super) async fn run(engine: &Engine, container: &str, command: &[String]) -> Result<Executed, Failure> {
    let exec = engine.prepare_exec(container, command).await?;
    let mut executed = Executed::default();
    let mut frames = Frames::default();
    {
        let mut output = pin!(engine.run_exec(&exec).await?);
        while let Some(bytes) = output.try_next().await? {
            for piece in frames.take(bytes.as_ref()) {
                let kept = if piece.is_error { &mut executed.stderr } else { &mut executed.stdout };
                Executed::keep(kept, &piece.bytes);
            }
        }
    }
    executed.exit_code = Some(engine.exec_code(&exec).await?);
    Ok(executed)
}
