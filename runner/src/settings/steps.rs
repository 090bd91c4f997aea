//! The set-up commands of a repository, one after the other, before the command.

use std::collections::BTreeMap;

use wire::execution::Failure;

use super::{FILE, Settings};
use crate::dependencies;
use crate::isolation::Openings;
use crate::process::{Bounds, RunError};
use crate::record::Story;
use crate::room::Room;
use crate::setup::NotReady;

/// Runs them in the workspace with the command's environment. The first that fails is the last.
pub(crate) async fn run(
    room: &Room,
    story: &mut Story,
    settings: &Settings,
    environment: &BTreeMap<String, String>,
    openings: &Openings,
) -> Result<(), NotReady> {
    for (number, words) in settings.commands().enumerate() {
        let within = settings.setup_timeout().unwrap_or(room.limits.install);
        let bounds = Bounds { within, keep: dependencies::TOOL_OUTPUT_BYTES };
        let how = match super::run(room, words, environment, openings, bounds, story.orders()).await {
            Ok(output) if output.status.success() => continue,
            Ok(output) => {
                dependencies::log(story, output.said()).await;
                format!("ended with {}; what it said is in the log", output.status)
            }
            Err(RunError::Halted(halt)) => return Err(NotReady::Halted(halt)),
            Err(RunError::TimedOut { within, said }) => {
                dependencies::log(story, said.each_ref()).await;
                format!(
                    "did not end within {within:?}; what it said is in the log; give it longer with timeouts.setup_seconds"
                )
            }
            Err(RunError::Io(error)) => format!("cannot be started: {error}; install it on the machine"),
        };
        let shown = words.join(" ");
        return Err(NotReady::failed(
            Failure::SetUpStepFailed,
            format!("the set-up command {shown:?} ({FILE}, setup.commands[{number}]) {how}"),
        ));
    }
    Ok(())
}
