//! The runner: the process on every machine that carries out executions.
//!
//! It asks the control plane for work, prepares the repository from its caches,
//! supervises the command, saves what the command left behind, and tells the
//! story as signed events. It promises: a command sees nothing of another task's
//! workspace and nothing of the runner's secrets; when a command has ended, no
//! process of it is left; what it changed is saved before its workspace goes.
//!
//! Read in this order: `session` talks to the control plane, `execution`
//! carries out one lease, and the rest are its parts.

mod agent;
mod background;
mod channel;
mod checkpoint;
mod command;
mod config;
mod dependencies;
mod disk;
mod egress;
mod execution;
mod git;
mod health;
mod isolation;
mod leftovers;
pub mod local;
mod memory;
mod mirror;
mod orders;
mod platform;
mod process;
mod pull_request;
mod record;
mod relief;
mod room;
mod session;
mod settings;
mod setup;
mod spare;
mod terminal;
mod test_report;
mod turns;
mod volume;
mod workspace;

#[cfg(test)]
mod testing;

pub use agent::driver::{Driver, Drivers};
pub use agent::keys::Keys;
pub use agent::mock::run as run_mock_agent;
pub use agent::reading::Taken;
pub use channel::{VARIABLE as CHANNEL, say as say_busy};
pub use config::{Config, Hold, Limits, OPERATOR_FILES, TOOL_VARIABLES, check_operator_variables};
pub use git::credential::answer as answer_git;
pub use git::ssh::may_reach as may_reach_by_ssh;
pub use isolation::Demand;
pub use isolation::rights::take as take_rights;

/// Works for the control plane until `tasks` are told to stop, then ends the running command,
/// saves what it left, and delivers what can be delivered.
///
/// An error means that the runner is of no use: the volume is unusable, or the control plane
/// has not been heard for longer than [`Limits::silence`].
pub async fn run(config: Config, clock: kit::Clock, chance: kit::Chance, tasks: &kit::Tasks) -> anyhow::Result<()> {
    if !config.is_emulated {
        isolation::close_this_process();
    }
    leftovers::adopt_orphans();
    let room = room::Room::open(&config, clock, chance).await?;
    session::run(config, room, tasks).await
}
