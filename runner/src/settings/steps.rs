//! The set-up commands of a repository, one after the other, before the command.

use std::collections::BTreeMap;
use std::path::Path;

use wire::execution::Failure;

use super::{FILE, Settings};
use crate::dependencies;
use crate::isolation::Openings;
use crate::process::{self, Bounds, RunError};
use crate::record::Story;
use crate::room::Room;
use crate::setup::NotReady;

/// Runs them in the workspace with the command's environment. The first that fails is the last.
pub(crate) async fn run(
    room: &Room,
    story: &mut Story,
    settings: &Settings,
    tree: &Path,
    environment: &BTreeMap<String, String>,
    openings: &Openings,
) -> Result<(), NotReady> {
    for (number, words) in settings.commands().enumerate() {
        let mut command = kit::process::command(&words[0]);
        command.args(&words[1..]).current_dir(tree).env_clear().envs(environment);
        let within = settings.setup_timeout().unwrap_or(room.limits.install);
        let bounds = Bounds { within, keep: dependencies::TOOL_OUTPUT_BYTES };
        let ended = match room.isolation.enclose(&mut command, openings) {
            Ok(()) => process::run(&mut command, b"", bounds, story.orders()).await,
            Err(error) => Err(error.into()),
        };
        let how = match ended {
            Ok(output) if output.status.success() => continue,
            Ok(output) => {
                dependencies::log(story, &output).await;
                format!("ended with {}; what it said is in the log", output.status)
            }
            Err(RunError::Halted(halt)) => return Err(NotReady::Halted(halt)),
            Err(RunError::TimedOut(within)) => {
                format!("did not end within {within:?}; give it longer with timeouts.setup_seconds")
            }
            Err(RunError::Io(error)) => format!("cannot be started: {error}; install it on the machine"),
        };
        let shown = words.join(" ");
        return Err(NotReady::failed(
            Failure::InstallFailed,
            format!("the set-up command {shown:?} ({FILE}, setup.commands[{number}]) {how}"),
        ));
    }
    Ok(())
}
