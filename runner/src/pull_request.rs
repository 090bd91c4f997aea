//! What an execution changed, proposed to the repository's host once it has ended well (row TEST-BIF-138).
//!
//! What is proposed is what [`checkpoint`](crate::checkpoint) keeps: the commits, and on them one with what was not
//! committed and is not ignored. It is pushed to a branch of the task's own, from the mirror, whose configuration
//! no command has written. Asked again, by a later attempt, the branch moves and the pull request stays.

use std::path::PathBuf;
use std::time::Duration;

use github::{NewPull, Place, Repository};
use kit::http::Proxies;
use wire::event::kind;
use wire::id::ExecutionId;
use wire::pull_request::{PullRequest, PullRequestSpec};
use wire::worker::repository_name;

use crate::checkpoint::format::Manifest;
use crate::checkpoint::unfinished_work;
use crate::git::{GitError, Place as At};
use crate::mirror;
use crate::orders::{NotOurs, Orders};
use crate::record::Story;
use crate::room::{Room, blocking};

/// For one call of the host's API.
const WITHIN: Duration = Duration::from_secs(30);

/// Why there is no pull request of work that should be in one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotProposed {
    #[error("the repository {0}")]
    NoPlace(#[from] github::NoPlace),
    #[error("what the command left could not be saved")]
    NotSaved,
    #[error("what was changed is in a checkpoint alone, being too much for a commit; commit it yourself")]
    TooMuch,
    #[error("`{0}` is the branch that is to get the work; name another for it")]
    SameBranch(String),
    #[error("the operator's credentials cannot be read: {0}")]
    Credentials(std::io::Error),
    #[error("the proxy cannot be used: {0}")]
    Proxy(reqwest::Error),
    #[error("the control plane does not say whether the task is still this machine's")]
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
    story.orders().confirm(WITHIN).await.map_err(|reason| match reason {
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
    let (pull, is_new) = host.pull(new).await?;
    tracing::info!(number = pull.number, is_new, "the work is in a pull request");
    let opened = PullRequest { number: pull.number, url: pull.html_url, branch, base };
    story.tell(kind::PULL_REQUEST_OPENED, &opened).await;
    Ok(Some(opened))
}

/// What an execution left, in the mirror and in its workspace.
struct Work<'a> {
    room: &'a Room,
    orders: &'a Orders,
    mirror: PathBuf,
    execution: ExecutionId,
    /// The reference under which it is kept, where there is any.
    kept: Option<&'a str>,
    is_changed: bool,
}

impl<'a> Work<'a> {
    fn of(room: &'a Room, orders: &'a Orders, saved: &'a Manifest) -> Self {
        let execution = saved.subject.execution_id;
        let kept = unfinished_work(execution);
        Self {
            room,
            orders,
            mirror: room.volume.mirror(&repository_name(&saved.repository)),
            execution,
            kept: saved.unpushed.iter().find(|name| **name == kept).map(String::as_str),
            is_changed: saved.files + saved.deleted.len() > 0,
        }
    }

    /// The commit that holds all of it.
    async fn tip(&self) -> Result<Option<String>, NotProposed> {
        let Some(kept) = self.kept else {
            return if self.is_changed { Err(NotProposed::TooMuch) } else { Ok(None) };
        };
        let found = self.ask(&self.mirror, &["rev-parse", "--verify", kept]).await?;
        Ok(Some(found.trim().to_owned()))
    }

    async fn is_branch(&self, name: &str) -> Result<bool, NotProposed> {
        let pattern = format!("refs/remotes/origin/{name}");
        let found = self.ask(&self.mirror, &["for-each-ref", "--format=%(refname)", &pattern]).await?;
        Ok(found.lines().any(|line| line == pattern))
    }

    /// The branches of the remote to which the command itself has pushed that commit.
    async fn pushed(&self, tip: &str) -> Result<Vec<String>, NotProposed> {
        let workspace = self.room.volume.workspace(self.execution).join(".git");
        let points = format!("--points-at={tip}");
        let arguments = ["for-each-ref", "--format=%(refname:lstrip=3)", &points, "refs/remotes/origin"];
        let found = self.ask(&workspace, &arguments).await?;
        Ok(found.lines().filter(|name| *name != "HEAD").map(str::to_owned).collect())
    }

    async fn ask(&self, repository: &std::path::Path, arguments: &[&str]) -> Result<String, GitError> {
        let answer = self.room.git.run(At::bare(repository), arguments, b"", self.orders).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

/// The repository at its host, with the operator's token for it.
async fn host(room: &Room, repository: &str) -> Result<Repository, NotProposed> {
    let place = Place::of(repository)?;
    let token = match room.credentials.clone() {
        Some(helper) => {
            let url = place.url();
            blocking(move || helper.token(&url)).await.map_err(NotProposed::Credentials)?
        }
        None => None,
    };
    let named = |lower: &str, upper: &str| {
        let value = room.environment.get(lower).or_else(|| room.environment.get(upper));
        value.map(String::as_str).filter(|value| !value.is_empty())
    };
    let proxies = Proxies {
        http: named("http_proxy", "HTTP_PROXY"),
        https: named("https_proxy", "HTTPS_PROXY"),
        except: named("no_proxy", "NO_PROXY"),
    };
    let http = kit::http::client_through(WITHIN, proxies).map_err(NotProposed::Proxy)?;
    Ok(Repository::new(http, place, token, room.chance.clone()))
}

#[cfg(test)]
mod tests;
