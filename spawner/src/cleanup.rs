//! Cleaning up after an agent: its worktree, its branch where everything on it is pushed
//! or merged, and what is kept of it here.
//!
//! What nobody pushed is first saved in the repository's `.fleet-snapshots` and read back
//! from there ([`snapshot`]); where that fails nothing is removed. Files that git passes
//! over are no work and go.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kit::Clock;
use kit::tasks::blocking;
use runner::local;
use serde::Serialize;
use wire::id::ExecutionId;

use crate::config::Config;
use crate::error::{FleetError, ProgramError};
use crate::fleet::{self, Haste, Status};
use crate::git::Git;
use crate::handle::{AgentHandle, Desk};
use crate::turn;

/// How long one that has ended takes to say so to a control plane.
const CLOSES_WITHIN: Duration = Duration::from_secs(10);

mod snapshot;
use snapshot::Work;

/// What became of what an agent left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cleaned {
    /// Whose it was.
    pub id: ExecutionId,
    /// Its branch.
    pub branch: String,
    /// Where the work is that nobody had pushed; nothing where there was none.
    pub snapshot: Option<PathBuf>,
    /// Whether the branch was deleted: only where all of it is pushed or merged.
    pub branch_deleted: bool,
}

/// Removes what an agent that has ended left, once its work is safe.
pub async fn cleanup(config: &Config, id: ExecutionId, clock: &Clock) -> Result<Cleaned, FleetError> {
    let agent = fleet::find(config, id).await?;
    let desk = Desk::new(&config.base, id);
    // Whatever its terminal looks like: while its supervisor lives, it works. One that has ended says so elsewhere first.
    let patience = if matches!(agent.status, Status::Ended(_)) { CLOSES_WITHIN } else { Duration::ZERO };
    let is_free = turn(&desk.alive(), patience).await.map_err(FleetError::file(desk.alive()))?.is_some();
    if agent.status.is_active() || !is_free {
        return Err(FleetError::StillRuns(id));
    }
    // One whose supervisor was killed may still write.
    fleet::end_supervisor(&desk, id, Haste::Graceful).await;
    if let Some(tmux) = fleet::tmux_of(config, &agent.handle) {
        tmux.close(id).await?;
    }
    let handle = agent.handle;
    refuse_neighbours(&desk, &handle)?;
    let saved = save(config, &handle, &desk, clock).await?;
    let branch_deleted = delete_branch(config, &handle).await?;
    remove(desk.root()).await?;
    Ok(Cleaned { id, branch: handle.branch, snapshot: saved, branch_deleted })
}

/// Agents make worktrees beside their own. They are in its directory, and nothing here would save them.
fn refuse_neighbours(desk: &Desk, handle: &AgentHandle) -> Result<(), FleetError> {
    let mut at = desk.root().to_owned();
    let own = desk.own();
    for part in Path::new(handle.branch.as_str()).iter() {
        let next = at.join(part);
        for entry in fs::read_dir(&at).into_iter().flatten().flatten() {
            let path = entry.path();
            if path != next && path != own {
                let message = format!("{} is beside its worktree; move it or remove it first", path.display());
                return Err(FleetError::NotSaved(message));
            }
        }
        at = next;
    }
    Ok(())
}

/// Saves what has to be, and removes the worktree. Gives where it was saved.
async fn save(
    config: &Config,
    handle: &AgentHandle,
    desk: &Desk,
    clock: &Clock,
) -> Result<Option<PathBuf>, FleetError> {
    let repository = Git::at(&config.git, &handle.repository);
    if !handle.worktree.exists() {
        // Somebody has removed it; the branch is there all the same, and stays unless it is merged.
        repository.bytes(["worktree", "prune"], b"").await?;
        return Ok(None);
    }
    let tree = Git::at(&config.git, &handle.worktree).excluding(&desk.exclude());
    is_worktree(&tree, handle).await?;
    let work = Work::of(&tree, handle, desk).await?;
    let saved = match work.is_safe_elsewhere() {
        true => None,
        false => Some(snapshot::take(config, handle, &work, clock).await?),
    };
    // Somebody may have gone on in the meantime.
    if Work::of(&tree, handle, desk).await? != work {
        return Err(FleetError::NotSaved("something still changes it".into()));
    }
    let path = handle.worktree.to_string_lossy().into_owned();
    let arguments: &[&str] = match work.uncommitted.is_some() {
        // Git alone would refuse: it does not know of the snapshot.
        true => &["worktree", "remove", "--force", &path],
        false => &["worktree", "remove", &path],
    };
    match repository.clone().excluding(&desk.exclude()).bytes(arguments, b"").await {
        Ok(_) => (),
        // It had begun, and met a directory that its owner may not write, such as those of some package managers.
        Err(ProgramError::Failed { said, .. }) if said.contains("failed to delete") => {
            remove(&handle.worktree).await?;
            repository.bytes(["worktree", "prune"], b"").await?;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(saved)
}

/// A directory without its link to the repository would be read as a part of another repository around it.
async fn is_worktree(tree: &Git, handle: &AgentHandle) -> Result<(), FleetError> {
    let top = tree.text(["rev-parse", "--show-toplevel"]).await?;
    let is_same = Path::new(&top).canonicalize().ok() == handle.worktree.canonicalize().ok();
    let complaint = || FleetError::NotSaved(format!("{} is no worktree any more", handle.worktree.display()));
    is_same.then_some(()).ok_or_else(complaint)
}

async fn remove(directory: &Path) -> Result<(), FleetError> {
    let gone = directory.to_owned();
    blocking(move || local::remove(&gone)).await.map_err(FleetError::file(directory))
}

/// Deletes the branch if everything on it is on another one, on a remote or under a tag.
async fn delete_branch(config: &Config, handle: &AgentHandle) -> Result<bool, FleetError> {
    let git = Git::at(&config.git, &handle.repository);
    if !git.has_branch(&handle.branch).await? {
        return Ok(false);
    }
    let reference = format!("refs/heads/{}", handle.branch);
    if snapshot::commits_only_here(&git, &[&reference], &handle.branch).await? > 0 {
        return Ok(false);
    }
    // Git's own question would be about HEAD or the branch's upstream alone. It refuses one that is checked out.
    match git.bytes(["branch", "--quiet", "-D", &handle.branch], b"").await {
        Ok(_) => Ok(true),
        Err(ProgramError::Failed { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
