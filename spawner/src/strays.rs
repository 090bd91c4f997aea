//! Sessions of agents whose directory is gone: somebody removed it while they ran, so nothing else is known of them
//! and no list would have them. They are shown, and can be ended; nothing ends them by itself. What others run in
//! tmux, and agents of another directory, are not ours.

use std::path::PathBuf;

use kit::tasks::blocking;
use runner::local;
use serde::Serialize;
use wire::id::ExecutionId;

use crate::config::Config;
use crate::error::{FleetError, ProgramError};
use crate::fleet;
use crate::handle::Desk;
use crate::tmux;

/// A session that nothing else is known of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stray {
    /// Whose it was.
    pub id: ExecutionId,
    /// What tmux calls it.
    pub session: String,
    /// Where it was started: the worktree that was there.
    pub worktree: PathBuf,
}

/// Those on the tmux server where new sessions go, by id.
pub async fn strays(config: &Config) -> Result<Vec<Stray>, FleetError> {
    let sessions = match fleet::tmux(config, None).sessions().await {
        Err(ProgramError::Missing { .. }) => return Ok(vec![]),
        sessions => sessions?,
    };
    let canonical = config.base.canonicalize().unwrap_or_else(|_| config.base.clone());
    let mut strays = Vec::new();
    for (id, worktree) in sessions {
        let is_of = |base: &PathBuf| worktree.starts_with(base.join(id.to_string()));
        if ![&config.base, &canonical].into_iter().any(is_of) {
            continue;
        }
        let desk = Desk::new(&config.base, id);
        if desk.read_handle().map_err(FleetError::file(desk.root()))?.is_none() {
            strays.push(Stray { id, session: tmux::session(id), worktree });
        }
    }
    Ok(strays)
}

/// Closes the session of one, and kills what it has started and still runs. Nobody is left to be asked for more.
pub async fn end_stray(config: &Config, id: ExecutionId) -> Result<Stray, FleetError> {
    let stray = strays(config).await?.into_iter().find(|stray| stray.id == id).ok_or(FleetError::NotFound(id))?;
    fleet::tmux(config, None).close(id).await?;
    blocking(move || local::end_forgotten(id)).await;
    Ok(stray)
}
