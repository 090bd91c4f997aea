//! What an execution changed, proposed to the repository's host once it has ended well (row TEST-BIF-138).
//!
//! What is proposed is what [`checkpoint`](crate::checkpoint) keeps: the commits, and on them one with what was not
//! committed and is not ignored. It is pushed to a branch of the task's own, from the mirror, whose configuration
//! no command has written. Asked again, by a later attempt, the branch moves and the pull request stays.

use std::path::PathBuf;
use std::time::Duration;

use github::{NewPull, Place, Repository};
use kit::http::Proxies;
use kit::tasks::blocking;
use wire::event::kind;
use wire::pull_request::{PullRequest, PullRequestSpec};
use wire::worker::repository_name;

use crate::checkpoint::format::Manifest;
use crate::checkpoint::{is_beside_branches, unfinished_work};
use crate::git::{GitError, Place as At};
use crate::mirror;
use crate::orders::{CONFIRMED_WITHIN, NotOurs, Orders};
use crate::record::Story;
use crate::room::Room;

/// For one call of the host's API.
const WITHIN: Duration = Duration::from_secs(30);

/// Why there is no pull request of work that should be in one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotProposed {
    #[error("the repository {0}")]
    NoPlace(#[from] github::NoPlace),
    #[error("what the command left could not be saved")]
    NotSaved,
    #[error("what was not committed cannot be: {0}; have the command commit it")]
    Uncommitted(String),
    #[error("the work is on other branches than the one that was checked out at the end: {0}")]
    Elsewhere(String),
    #[error("`{0}` is the branch that is to get the work; name another for it")]
    SameBranch(String),
    #[error("the operator's credentials cannot be read: {0}")]
    Credentials(std::io::Error),
    #[error("the proxy cannot be used: {0}")]
    Proxy(reqwest::Error),
    #[error("{}", NotOurs::Unanswered)]
    Unconfirmed,
    #[error(transparent)]
    Git(#[from] GitError),
    #[error(transparent)]
    Host(#[from] github::Error),
}

/// Opens the pull request that was asked for, or finds it open. Nothing where there is nothing to propose.
pub(crate) async fn propose(
    room: &Room,
    story: &Story,
    asked: &PullRequestSpec,
    reference: Option<&str>,
    saved: &Manifest,
) -> Result<Option<PullRequest>, NotProposed> {
    let work = Work::of(room, story.orders(), saved);
    let Some(tip) = work.tip().await? else { return Ok(None) };
    let host = host(room, &saved.repository).await?;
    let base = match (&asked.base, reference) {
        (Some(base), _) => base.clone(),
        (None, Some(reference)) if work.is_branch(reference).await? => reference.to_owned(),
        (None, _) => host.default_branch().await?,
    };
    let own = asked.branch_of(saved.subject.task_id);
    if own == base {
        return Err(NotProposed::SameBranch(own));
    }
    let pushed = work.pushed(&tip).await?;
    if pushed.contains(&base) {
        return Ok(None);
    }
    // From here on others see it. A machine that slept meanwhile may have lost the task to another.
    story.orders().confirm(CONFIRMED_WITHIN).await.map_err(|reason| match reason {
        NotOurs::Halted(halt) => NotProposed::Git(GitError::Halted(halt)),
        NotOurs::Unanswered => NotProposed::Unconfirmed,
    })?;
    let already = pushed.into_iter().next().filter(|_| asked.branch.is_none());
    let branch = match already {
        Some(branch) => branch,
        None => {
            // A branch that somebody named may hold the work of others, which stays.
            let force = if asked.branch.is_none() { "+" } else { "" };
            let copy = format!("{force}{tip}:refs/heads/{own}");
            mirror::push(&room.git, &work.mirror, &saved.repository, &[copy], story.orders()).await?;
            own
        }
    };
    let new = NewPull {
        head: &branch,
        base: &base,
        title: asked.title.as_deref().unwrap_or(&branch),
        body: asked.body.as_deref().unwrap_or_default(),
        draft: asked.draft,
    };
    let (pull, is_new) = tokio::select! {
        biased;
        halt = story.orders().halted() => return Err(NotProposed::Git(GitError::Halted(halt))),
        pull = host.pull(new) => pull?,
    };
    tracing::info!(number = pull.number, is_new, "the work is in a pull request");
    let opened = PullRequest { number: pull.number, url: pull.html_url, branch, base };
    story.tell(kind::PULL_REQUEST_OPENED, &opened).await;
    Ok(Some(opened))
}

/// What an execution left, as the mirror has it. Nothing here asks the workspace's own repository: the command has
/// written that, and git would do what it finds there.
struct Work<'a> {
    room: &'a Room,
    orders: &'a Orders,
    mirror: PathBuf,
    saved: &'a Manifest,
}

impl<'a> Work<'a> {
    fn of(room: &'a Room, orders: &'a Orders, saved: &'a Manifest) -> Self {
        let mirror = room.volume.mirror(&repository_name(&saved.repository));
        Self { room, orders, mirror, saved }
    }

    /// The commit that holds all of it; nothing where the remote had it before.
    async fn tip(&self) -> Result<Option<String>, NotProposed> {
        if let Some(reason) = &self.saved.uncommitted {
            return Err(NotProposed::Uncommitted(reason.clone()));
        }
        let kept = unfinished_work(self.saved.subject.execution_id);
        if !self.saved.unpushed.contains(&kept) {
            // What was left beside the branches, such as a commit that was amended, nobody means to propose.
            let unpushed = self.saved.unpushed.iter().filter(|name| !is_beside_branches(name));
            let elsewhere: Vec<&str> = unpushed.map(String::as_str).collect();
            return if elsewhere.is_empty() { Ok(None) } else { Err(NotProposed::Elsewhere(elsewhere.join(", "))) };
        }
        // It goes as soon as the remote has it.
        let found = self.ask(&["for-each-ref", "--format=%(objectname)", &kept]).await?;
        let Some(tip) = found.lines().next() else { return Ok(None) };
        let new = self.ask(&["rev-list", "--max-count=1", tip, "--not", "--remotes"]).await?;
        Ok((!new.trim().is_empty()).then(|| tip.to_owned()))
    }

    async fn is_branch(&self, name: &str) -> Result<bool, NotProposed> {
        let pattern = format!("refs/remotes/origin/{name}");
        let found = self.ask(&["for-each-ref", "--format=%(refname)", &pattern]).await?;
        Ok(found.lines().any(|line| line == pattern))
    }

    /// The branches of the remote that are at that commit by now: the command itself has pushed it there.
    async fn pushed(&self, tip: &str) -> Result<Vec<String>, NotProposed> {
        let listed = self.ask(&["ls-remote", "--heads", &self.saved.repository]).await?;
        let branch = |line: &str| line.strip_prefix(tip)?.trim().strip_prefix("refs/heads/").map(str::to_owned);
        Ok(listed.lines().filter_map(branch).collect())
    }

    async fn ask(&self, arguments: &[&str]) -> Result<String, GitError> {
        let answer = self.room.git.run(At::bare(&self.mirror), arguments, b"", self.orders).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

/// The repository at its host, with the operator's token for it.
async fn host(room: &Room, repository: &str) -> Result<Repository, NotProposed> {
    let place = Place::of(repository)?;
    let token = match room.credentials.clone() {
        Some(helper) => {
            // As git asks for it, and then as people write it down.
            let urls = [repository.to_owned(), place.url(), format!("{}.git", place.url())];
            let found = move || urls.iter().find_map(|url| helper.token(url).transpose()).transpose();
            blocking(found).await.map_err(NotProposed::Credentials)?
        }
        None => None,
    };
    let proxies = Proxies::of(|name| room.environment.get(name).map(String::as_str));
    let http = kit::http::client_through(WITHIN, proxies).map_err(NotProposed::Proxy)?;
    Ok(Repository::new(http, place, token, room.chance.clone()))
}

#[cfg(test)]
mod tests;
