//! Agents on a person's own computer: each in a worktree of its own and in a terminal that
//! the person can look into, with no work lost at the end.
//!
//! It promises: no shell reads what anybody wrote; no secret and no prompt is in an
//! argument or in tmux's environment; a start that fails leaves nothing; what nobody
//! pushed is saved, and proven to be saved, before it is removed; and nobody is typed over
//! while they type. It refuses to wall an agent off: what needs that runs on a machine.
//!
//! Read in this order: `start` makes an agent, `inside` is what runs in its terminal,
//! `supervisor` registers that with a control plane, `fleet` knows all of them, `typing`
//! talks to one, `deregistration` speaks for one whose supervisor was killed, `cleanup` takes it away.

mod branch;
mod cleanup;
pub mod collision;
mod config;
mod deregistration;
mod error;
mod fleet;
mod git;
mod handle;
mod hooks;
mod inside;
mod plain;
mod program;
mod start;
mod strays;
mod supervisor;
mod takeup;
mod tmux;
mod typing;

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

pub use branch::Branch;
pub use cleanup::{Cleaned, cleanup};
pub use config::Config;
pub use deregistration::deregister;
pub use error::{FleetError, ProgramError, SpawnError};
pub use fleet::{Agent, Haste, Status, attach_command, find, is_alive, kill, list, list_active, log_path, logs};
pub use handle::{AgentEnvironment, AgentHandle, EndRecord, Mode, ProcessRef, Registered, Server};
pub use inside::run as run_inside;
pub use start::{NewAgent, What, start};
pub use strays::{Stray, end_stray, strays};
pub use supervisor::acknowledge;
pub use typing::{Sent, press_by_hand, send};

/// How long others who start an agent, or go on with a session, may take to take their place.
const TURN_WITHIN: Duration = Duration::from_secs(10);
/// How often it is looked whether a lock is free.
const BEAT: Duration = Duration::from_millis(20);

/// Waits for a lock; nothing where somebody has it for longer. Who gives up waiting leaves at once: no thread
/// waits on.
async fn turn(path: &Path, within: Duration) -> io::Result<Option<File>> {
    let deadline = Instant::now() + within;
    let mut beat = tokio::time::interval(BEAT);
    loop {
        beat.tick().await;
        match kit::lock::take(path, Duration::ZERO)? {
            None if Instant::now() < deadline => (),
            taken => return Ok(taken),
        }
    }
}
