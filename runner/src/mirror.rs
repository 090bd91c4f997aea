//! One bare mirror per repository on the volume (row FLY-032).
//!
//! A mirror holds the remote's branches under `refs/remotes/origin`, its tags,
//! and under `refs/bifrost` what executions made and nobody pushed. Commands never
//! write to it: each gets a repository of its own that borrows the mirror's
//! objects. A mirror that is not whole is set aside and cloned anew, and what nobody
//! pushed is taken over. A new one takes what it can from a seed, a bundle or copy that
//! somebody put on the volume, and only the rest from the remote.

use std::path::{Path, PathBuf};

use kit::tasks::blocking;
use serde::Serialize;
use wire::event::kind;
use wire::execution::{Cache, Failure};
use wire::task::TaskSpec;
use wire::worker::repository_name;

use crate::git::complaint::{self, Complaint};
use crate::git::{Git, GitError, Place};
use crate::orders::Orders;
use crate::record::Story;
use crate::relief;
use crate::room::Room;
use crate::setup::NotReady;
use crate::volume;

pub(crate) mod partial;
mod references;
mod rescue;
pub(crate) mod submodules;
pub(crate) mod upkeep;
pub(crate) use references::References;
pub(crate) use references::files::objects as objects_below;
use references::{HEAD, REQUESTED, Wanted};
use rescue::Rescued;

/// Kept out of every list of changes: what the dependency phase puts there.
pub(crate) const EXCLUDED: &str = "node_modules/\n.venv/\n";

/// A repository at the commit that was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Obtained {
    pub(crate) mirror: PathBuf,
    pub(crate) commit: String,
    pub(crate) references: References,
    /// Whether there was a mirror already.
    pub(crate) cache: Cache,
}

/// What an event says of what was set aside.
#[derive(Debug, Serialize)]
struct Damaged<'a> {
    what: &'static str,
    name: &'a str,
    reason: &'a str,
}

/// Who says what a mirror's references are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// Its files where they can, which costs no start of git. That the objects are there is not looked at.
    ByFiles,
    /// Git, which finds out what is wrong with the mirror, and with what the remote says.
    ByGit,
}

enum Trouble {
    /// The mirror itself is not whole.
    Damaged(String),
    NotReady(NotReady),
}

impl From<NotReady> for Trouble {
    fn from(reason: NotReady) -> Self {
        Self::NotReady(reason)
    }
}

/// Brings the mirror up to date, making it where there is none, and finds the commit.
/// A full commit id that the mirror holds needs no word from the remote. Who cannot check out what is given back, as
/// the mirror's files tell it, asks anew and has git tell it.
pub(crate) async fn obtain(room: &Room, story: &Story, spec: &TaskSpec, told: Told) -> Result<Obtained, NotReady> {
    let wanted = Wanted::parse(spec.reference.as_deref())?;
    match attempt(room, story, spec, &wanted, told).await {
        Ok(obtained) => {
            if let Err(error) = volume::touch(&obtained.mirror) {
                tracing::warn!("the mirror of {} counts as used less lately than it was: {error}", spec.repository);
            }
            Ok(obtained)
        }
        Err(Trouble::NotReady(reason)) => Err(reason),
        Err(Trouble::Damaged(reason)) => renew(room, story, spec, &reason).await,
    }
}

/// Makes a mirror anew that something found damaged, before or after it was obtained: sets it aside, clones the
/// repository and takes over what nobody pushed. Where it cannot be cloned the old one is put back.
pub(crate) async fn renew(room: &Room, story: &Story, spec: &TaskSpec, reason: &str) -> Result<Obtained, NotReady> {
    let wanted = Wanted::parse(spec.reference.as_deref())?;
    let aside = set_aside(room, story, &spec.repository, reason).await?;
    let trouble = match attempt(room, story, spec, &wanted, Told::ByGit).await {
        Ok(obtained) => return Ok(obtained),
        Err(trouble) => trouble,
    };
    // There is nothing better now, and maybe the remote was at fault.
    let put_back = room.volume.put_back(&aside, &room.volume.mirror(&repository_name(&spec.repository)));
    put_back.map_err(|error| NotReady::machine("putting a mirror back", &error))?;
    Err(match trouble {
        Trouble::NotReady(reason) => reason,
        Trouble::Damaged(reason) => NotReady::failed(
            Failure::RepositoryUnreachable,
            format!("{} cannot be cloned whole: {reason}; check it with git fsck", spec.repository),
        ),
    })
}

/// As work, where there is any in it: until that has another place, the mirror is all there is of it.
async fn set_aside(room: &Room, story: &Story, repository: &str, reason: &str) -> Result<PathBuf, NotReady> {
    let name = repository_name(repository);
    let (volume, mark, keep, own) = (room.volume.clone(), room.mark(), room.limits.quarantined, name.clone());
    let turn = room.turns.take(&name, story.orders()).await.map_err(NotReady::Halted)?;
    let aside = blocking(move || {
        let mirror = volume.mirror(&own);
        match rescue::has_work(&mirror, &own) {
            true => volume.quarantine_work(&mirror, &mark),
            false => volume.quarantine(&mirror, &mark, keep),
        }
    });
    let aside = aside.await.map_err(|error| NotReady::machine("setting a damaged mirror aside", &error))?;
    drop(turn);
    tracing::warn!("the mirror {name} is damaged and will be cloned anew: {reason}");
    story.tell(kind::VOLUME_DAMAGED, &Damaged { what: "repository", name: &name, reason }).await;
    Ok(aside)
}

/// The branches and tags a mirror holds.
pub(crate) async fn list(room: &Room, mirror: &Path, orders: &Orders) -> Result<References, GitError> {
    let arguments = ["for-each-ref", references::FORMAT, "refs/remotes/origin", "refs/tags", HEAD, REQUESTED];
    Ok(References::parse(&room.git.run(Place::bare(mirror), arguments, b"", orders).await?))
}

/// Whether the words of a failed local git command blame the mirror.
pub(crate) fn blames_mirror(error: &GitError) -> bool {
    matches!(error, GitError::Failed { stderr, .. } if complaint::sort(stderr) == Complaint::Damaged)
}

async fn attempt(
    room: &Room,
    story: &Story,
    spec: &TaskSpec,
    wanted: &Wanted,
    told: Told,
) -> Result<Obtained, Trouble> {
    let orders = story.orders();
    let name = repository_name(&spec.repository);
    let mirror = room.volume.mirror(&name);
    let remote = Remote { room, orders, url: &spec.repository, told };
    if let Wanted::Commit(id) = wanted
        && look(&mirror)?
        && let Some((commit, references)) = remote.held(&mirror, id, wanted).await?
    {
        return Ok(Obtained { mirror, commit, references, cache: Cache::Hit });
    }
    let _turn = room.turns.take(&name, orders).await.map_err(NotReady::Halted)?;
    let cache = if look(&mirror)? {
        remote.fetch(&mirror, &wanted.refspecs()).await?;
        Cache::Hit
    } else {
        let rescued = remote.clone(&mirror, &wanted.refspecs()).await?;
        rescue::settle(room, story, &mirror, rescued).await;
        Cache::Miss
    };
    let references = remote.references(&mirror, wanted).await?;
    let commit = match wanted {
        Wanted::Commit(id) => remote.commit(&mirror, id).await?,
        named => match (references.resolve(named), named.abbreviated()) {
            (Some(commit), _) => Some(commit),
            (None, Some(prefix)) => remote.find(&mirror, prefix).await?,
            (None, None) => None,
        },
    };
    let commit = commit.ok_or_else(|| unknown(&spec.repository, wanted))?;
    Ok(Obtained { mirror, commit, references, cache })
}

/// Whether there is a mirror. Cheap: git itself finds what is wrong further in.
fn look(mirror: &Path) -> Result<bool, Trouble> {
    if !mirror.exists() {
        return Ok(false);
    }
    let missing = ["HEAD", "config", "objects", "refs"].iter().find(|name| !mirror.join(name).exists());
    match missing {
        Some(name) => Err(Trouble::Damaged(format!("it has no {name}"))),
        None => Ok(true),
    }
}

fn unknown(url: &str, wanted: &Wanted) -> NotReady {
    let message = match wanted {
        Wanted::Default => format!("{url} has no default branch with a commit; push one, or name a reference"),
        Wanted::Commit(name) | Wanted::Name(name) | Wanted::Elsewhere(name) => {
            format!("{url} has no branch, tag or commit {name:?}; push it, or name another reference")
        }
    };
    NotReady::failed(Failure::UnknownReference, message)
}

pub(crate) fn fetch_arguments(from: &std::ffi::OsStr) -> Vec<std::ffi::OsString> {
    let options = ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance"];
    options.map(Into::into).into_iter().chain(["--no-recurse-submodules".into(), from.to_owned()]).collect()
}

/// An empty bare repository, in place of whatever is there.
async fn begin(room: &Room, place: &Path, orders: &Orders) -> Result<(), GitError> {
    volume::remove(place).map_err(GitError::View)?;
    let arguments = ["init", "--quiet", "--bare", "--template="].map(Into::into);
    let arguments = arguments.into_iter().chain([place.as_os_str().to_owned()]);
    room.git.run(Place::default(), arguments, b"", orders).await.map(drop)
}

/// Pushes from a mirror. Nothing of it is the repository's own doing: no hook, no submodule.
pub(crate) async fn push(
    git: &Git,
    mirror: &Path,
    url: &str,
    refspecs: &[String],
    orders: &Orders,
) -> Result<(), GitError> {
    let mut arguments = vec!["push", "--quiet", "--no-verify", "--no-recurse-submodules", url];
    arguments.extend(refspecs.iter().map(String::as_str));
    git.run(Place::bare(mirror), arguments, b"", orders).await.map(drop)
}

/// A remote as one execution sees it.
struct Remote<'a> {
    room: &'a Room,
    orders: &'a Orders,
    url: &'a str,
    told: Told,
}

impl Remote<'_> {
    async fn fetch(&self, mirror: &Path, refspecs: &[String]) -> Result<(), Trouble> {
        let from = if partial::is_partial(mirror) { "origin" } else { self.url };
        let mut arguments = fetch_arguments(from.as_ref());
        arguments.insert(1, "--prune".into());
        if partial::is_partial(mirror) {
            arguments.insert(1, "--filter=blob:none".into());
        }
        arguments.extend(refspecs.iter().map(Into::into));
        let fetched = self.room.git.run(Place::bare(mirror), arguments, b"", self.orders).await;
        if fetched.is_err() {
            // It may have been killed with its locks held, and it is our turn at this mirror.
            let mirror = mirror.to_owned();
            drop(blocking(move || volume::clear_locks(&mirror)).await);
        }
        fetched.map(drop).map_err(|error| self.sort(error))
    }

    /// Makes the mirror, with what nobody pushed out of those of its name that were set aside.
    async fn clone(&self, mirror: &Path, refspecs: &[String]) -> Result<Vec<Rescued>, Trouble> {
        let unfinished = volume::unfinished(mirror);
        let machine = |error| NotReady::machine("making a mirror", &error);
        relief::relieve(self.room, self.room.volume.reserve().map_err(machine)?, &repository_name(self.url))
            .await
            .map_err(machine)?;
        let cloned = match self.room.limits.partial_above {
            0 => None,
            bytes => {
                self.begin(&unfinished).await?;
                self.sow(&unfinished, mirror).await?;
                tokio::select! {
                    cloned = self.fetch(&unfinished, refspecs) => Some(cloned),
                    () = partial::outgrown(&unfinished, bytes) => None,
                }
            }
        };
        let cloned = match cloned {
            Some(cloned) => cloned,
            None => {
                tracing::info!("{} is cloned without contents, because it is large", self.url);
                // Out of the way at once: the git that was just killed may not be gone yet.
                self.room.volume.discard(&unfinished, &self.room.mark()).map_err(machine)?;
                self.begin(&unfinished).await?;
                partial::promise(&unfinished, self.url).map_err(machine)?;
                self.fetch(&unfinished, refspecs).await
            }
        };
        let finished = match cloned {
            Ok(()) => self.finish(&unfinished).await,
            Err(trouble) => Err(trouble),
        };
        if finished.is_ok() {
            std::fs::rename(&unfinished, mirror).map_err(machine)?;
        } else {
            volume::remove(&unfinished).map_err(machine)?;
        }
        finished
    }

    /// All that a clone still lacks before it may have its name.
    async fn finish(&self, unfinished: &Path) -> Result<Vec<Rescued>, Trouble> {
        let rescued = rescue::rescue(self.room, self.orders, &repository_name(self.url), unfinished).await?;
        // So that its files tell what its tags are.
        self.pack_references(unfinished).await?;
        Ok(rescued)
    }

    async fn pack_references(&self, mirror: &Path) -> Result<(), Trouble> {
        let packed = self.room.git.run(Place::bare(mirror), ["pack-refs", "--all"], b"", self.orders).await;
        packed.map(drop).map_err(|error| self.sort(error))
    }

    /// An empty mirror.
    async fn begin(&self, unfinished: &Path) -> Result<(), Trouble> {
        let machine = |error| NotReady::machine("making a mirror", &error);
        begin(self.room, unfinished, self.orders).await.map_err(|error| self.sort(error))?;
        kit::files::make_private(&unfinished.join("info")).map_err(machine)?;
        Ok(volume::swap_in(&unfinished.join("info/exclude"), EXCLUDED.as_bytes()).map_err(machine)?)
    }

    /// Takes what there is of the repository on the volume already. A seed that is of no use is left alone.
    async fn sow(&self, unfinished: &Path, mirror: &Path) -> Result<(), Trouble> {
        let Some(seed) = self.room.volume.seed(mirror) else { return Ok(()) };
        let mut arguments = fetch_arguments(seed.as_os_str());
        // Kept for as long as the mirror: objects that nothing leads to would be fetched again.
        arguments.push("+refs/*:refs/bifrost/seed/*".into());
        match self.room.git.run(Place::bare(unfinished), arguments, b"", self.orders).await {
            Ok(_) => Ok(()),
            Err(GitError::Halted(halt)) => Err(NotReady::Halted(halt).into()),
            Err(error) => {
                tracing::warn!("the seed {} is of no use: {error}", seed.display());
                self.begin(unfinished).await
            }
        }
    }

    /// The mirror's branches and tags, from its files where those tell what is wanted.
    async fn references(&self, mirror: &Path, wanted: &Wanted) -> Result<References, Trouble> {
        if self.told == Told::ByFiles {
            let files = mirror.to_owned();
            match blocking(move || references::files::read(&files)).await {
                Ok(Some(found)) if found.resolve(wanted).is_some() => return Ok(found),
                Ok(_) => (),
                Err(error) => tracing::debug!("git is asked for the references of {}: {error}", mirror.display()),
            }
        }
        list(self.room, mirror, self.orders).await.map_err(|error| self.sort(error))
    }

    /// The commit with this id and what else the mirror holds; nothing where it has no such commit.
    async fn held(&self, mirror: &Path, id: &str, wanted: &Wanted) -> Result<Option<(String, References)>, Trouble> {
        // Both only read, and starting git is most of what they cost.
        let (commit, references) = tokio::try_join!(self.find(mirror, id), self.references(mirror, wanted))?;
        Ok(commit.map(|commit| (commit, references)))
    }

    /// The commit with this id, fetched by its id where no branch leads to it.
    async fn commit(&self, mirror: &Path, id: &str) -> Result<Option<String>, Trouble> {
        if let Some(found) = self.find(mirror, id).await? {
            return Ok(Some(found));
        }
        match self.fetch(mirror, &[format!("+{id}:{REQUESTED}")]).await {
            Ok(()) => self.find(mirror, id).await,
            Err(Trouble::NotReady(NotReady::Failed { failure: Failure::UnknownReference, .. })) => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    /// The commit whose id this is or begins; nothing where there is none or several.
    async fn find(&self, mirror: &Path, id: &str) -> Result<Option<String>, Trouble> {
        let question = format!("{id}^{{commit}}\n");
        let arguments = ["cat-file", "--batch-check"];
        let answer = self.room.git.run(Place::bare(mirror), arguments, question.as_bytes(), self.orders).await;
        let answer = answer.map_err(|error| self.sort(error))?;
        let answer = String::from_utf8_lossy(&answer);
        let mut words = answer.split_whitespace();
        Ok(words.next().filter(|_| words.next() == Some("commit")).map(Into::into))
    }

    /// What a failed git command means for the execution.
    fn sort(&self, error: GitError) -> Trouble {
        let url = self.url;
        let reason = match &error {
            GitError::Halted(halt) => NotReady::Halted(*halt),
            GitError::Missing(_) | GitError::View(_) | GitError::TooLong { .. } => {
                NotReady::machine("running git", &error)
            }
            GitError::TimedOut { .. } => NotReady::failed(
                Failure::RepositoryUnreachable,
                format!("{url} cannot be fetched: {error}; check the network, then retry"),
            ),
            GitError::Failed { stderr, .. } => match complaint::sort(stderr) {
                Complaint::Damaged => return Trouble::Damaged(complaint::telling_line(stderr).to_owned()),
                Complaint::Machine => NotReady::machine("running git", &error),
                Complaint::NoReference => NotReady::failed(
                    Failure::UnknownReference,
                    format!("{url} has not what was asked for ({}); push it first", complaint::telling_line(stderr)),
                ),
                Complaint::NoRepository => NotReady::failed(
                    Failure::RepositoryNotFound,
                    format!("there is no repository at {url}; check the address and who may read it"),
                ),
                Complaint::Remote => NotReady::failed(
                    Failure::RepositoryUnreachable,
                    format!(
                        "{url} cannot be fetched ({}); check the address, the network and the access rights, then retry",
                        complaint::telling_line(stderr)
                    ),
                ),
            },
        };
        Trouble::NotReady(reason)
    }
}

#[cfg(test)]
mod tests;
