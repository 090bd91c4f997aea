//! The checked-out tree of one execution and what belongs to it.
//!
//! A workspace is a repository of its own that borrows the mirror's objects: its
//! branches, configuration, hooks and index are nobody else's, so nothing that a
//! command does there reaches the mirror or a later execution. Where a spare stands
//! ready ([`crate::spare`]) it becomes the workspace, and only what differs is written.
//!
//! The runner keeps the index of the checkout for itself. What changed later is
//! found by comparing the tree with that, never by asking the workspace's own
//! repository, whose configuration the command may have written.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use kit::tasks::blocking;
use serde::{Deserialize, Serialize};
use wire::execution::Wall;
use wire::id::{CheckpointId, ExecutionId};
use wire::worker::repository_name;

use crate::checkpoint::MANIFEST;
use crate::git::{Git, GitError, Place, index, names};
use crate::mirror::{EXCLUDED, Obtained, partial};
use crate::orders::Orders;
use crate::record::Subject;
use crate::room::Room;
use crate::settings::caches;
use crate::spare;
use crate::volume::{self, Volume};

pub(crate) mod former;

const MARKER_VERSION: u32 = 1;

/// Who commits where nobody says. Git reads it after the machine's configuration and before a home's `.gitconfig`, a
/// repository's own and the environment, and what those say counts instead.
const IDENTITY: &str = "[user]\n\tname = Bifrost\n\temail = bifrost@localhost\n";

/// What the runner remembers of a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Marker {
    version: u32,
    pub(crate) subject: Subject,
    /// Where the repository was cloned from.
    pub(crate) repository: String,
    /// The commit that was checked out.
    pub(crate) commit: String,
    pub(crate) created_at: DateTime<Utc>,
    /// The checkpoint that holds what the command left; none while it runs.
    pub(crate) saved: Option<CheckpointId>,
    /// The hash of the listing of the checkpoint that it began from, with what the file system said of the files then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) begun: Option<String>,
    /// Directories that the repository's next execution gets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) cached: Vec<PathBuf>,
    /// Whether what nobody pushed is pushed when it is saved.
    #[serde(default)]
    pub(crate) push: bool,
    /// What a commit of what was not committed is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) title: Option<String>,
    /// The start of this machine in which it was made.
    #[serde(default)]
    pub(crate) boot: String,
}

impl Marker {
    pub(crate) fn new(subject: Subject, repository: &str, commit: &str, now: DateTime<Utc>) -> Self {
        Self {
            version: MARKER_VERSION,
            subject,
            repository: repository.to_owned(),
            commit: commit.to_owned(),
            created_at: now,
            saved: None,
            begun: None,
            cached: Vec::new(),
            push: false,
            title: None,
            boot: spare::boot(),
        }
    }

    /// The workspace's marker; nothing where there is none that can be read.
    pub(crate) fn read(volume: &Volume, id: ExecutionId) -> io::Result<Option<Self>> {
        let text = kit::files::read_if_exists(&marker_path(volume, id))?;
        let marker = text.and_then(|text| serde_json::from_str::<Self>(&text).ok());
        Ok(marker.filter(|marker| marker.version == MARKER_VERSION && marker.subject.execution_id == id))
    }

    pub(crate) fn write(&self, volume: &Volume) -> io::Result<()> {
        let text = serde_json::to_vec(self).expect("a marker is plain data");
        volume::swap_in(&marker_path(volume, self.subject.execution_id), &text)
    }

    pub(crate) fn paths(&self, volume: &Volume) -> Paths {
        Paths::new(volume, self.subject.execution_id, &self.repository)
    }
}

fn marker_path(volume: &Volume, id: ExecutionId) -> PathBuf {
    volume.execution(id).join("execution.json")
}

/// Where the parts of one workspace lie.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    /// What the repository is held under, with its mirror and its caches.
    pub(crate) name: String,
    pub(crate) tree: PathBuf,
    pub(crate) mirror: PathBuf,
    /// The index of the checkout, out of the command's sight.
    pub(crate) index: PathBuf,
    pub(crate) home: PathBuf,
    pub(crate) temporary: PathBuf,
}

impl Paths {
    fn new(volume: &Volume, id: ExecutionId, repository: &str) -> Self {
        let (own, name) = (volume.execution(id), repository_name(repository));
        Self {
            tree: volume.workspace(id),
            mirror: volume.mirror(&name),
            name,
            index: own.join("index"),
            home: own.join("home"),
            temporary: own.join("tmp"),
        }
    }

    /// Those of a spare that lies in this directory: there is no home in it.
    pub(crate) fn of_spare(volume: &Volume, directory: &Path, repository: &str) -> Self {
        let name = repository_name(repository);
        Self {
            tree: directory.join("tree"),
            mirror: volume.mirror(&name),
            name,
            index: directory.join("index"),
            home: directory.join("home"),
            temporary: directory.join("tmp"),
        }
    }

    /// Where what belongs to the execution besides its tree is.
    pub(crate) fn own(&self) -> &Path {
        self.home.parent().unwrap_or(&self.home)
    }

    /// The workspace as git is to see it for comparisons: the mirror's objects, the runner's index.
    pub(crate) fn compared(&self) -> Place<'_> {
        Place { repository: Some(&self.mirror), tree: Some(&self.tree), index: Some(&self.index) }
    }
}

/// Why a workspace could not be checked out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckoutError {
    #[error(transparent)]
    Git(#[from] GitError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Makes a workspace at the commit: out of the repository's spare where there is one, else afresh.
pub(crate) async fn create(
    room: &Room,
    orders: &Orders,
    subject: Subject,
    repository: &str,
    obtained: &Obtained,
) -> Result<Paths, CheckoutError> {
    let paths = place(room, subject, repository)?;
    volume::remove(&paths.tree)?;
    let spare = spare::take(&room.volume, subject.execution_id, repository, &paths);
    let spare = spare.inspect_err(|error| tracing::warn!("the spare of {repository} cannot be used: {error}"));
    if let Ok(Some(at)) = spare {
        match bring_on(room, orders, &paths, repository, obtained, &at).await {
            Err(CheckoutError::Git(GitError::Halted(halt))) => return Err(GitError::Halted(halt).into()),
            Err(error) => tracing::warn!("the spare of {repository} cannot be used: {error}"),
            Ok(()) => {
                return Ok(paths);
            }
        }
    }
    volume::remove(&paths.tree)?;
    volume::remove(&paths.index)?;
    check_out_afresh(&room.git, &paths, repository, obtained, orders).await?;
    room.volume.inside(&paths.tree)?;
    Ok(paths)
}

/// Where an execution's workspace is to be, with the directories that begin empty.
pub(crate) fn place(room: &Room, subject: Subject, repository: &str) -> io::Result<Paths> {
    let paths = Paths::new(&room.volume, subject.execution_id, repository);
    if !paths.home.exists() {
        make_home(&paths.home)?;
    }
    kit::files::make_private(&paths.temporary)?;
    for directory in [&paths.home, &paths.temporary] {
        room.volume.inside(directory)?;
    }
    Ok(paths)
}

/// Makes a home where none is: nothing has run in it that could have put a link in the way.
pub(crate) fn make_home(home: &Path) -> io::Result<()> {
    let directory = home.join(".config/git");
    kit::files::make_private(&directory)?;
    fs::write(directory.join("config"), IDENTITY)
}

/// Makes a spare, which is at some commit, a workspace at the wanted one.
async fn bring_on(
    room: &Room,
    orders: &Orders,
    paths: &Paths,
    repository: &str,
    obtained: &Obtained,
    at: &str,
) -> Result<(), CheckoutError> {
    room.volume.inside(&paths.tree)?;
    let configuration = configuration(repository, &paths.mirror);
    borrow_objects(paths, &obtained.commit, &obtained.references.packed(), &configuration)?;
    if at == obtained.commit {
        return Ok(give_index(paths)?);
    }
    if !at.is_empty() {
        // Only what differs between the two is looked at. The old commit may be gone from the mirror.
        let arguments = ["read-tree", "-m", "-u", at, &obtained.commit];
        match room.git.run(paths.compared(), arguments, b"", orders).await {
            Ok(_) => return Ok(give_index(paths)?),
            Err(GitError::Failed { stderr, .. }) => tracing::debug!("a spare is compared with its commit: {stderr}"),
            Err(error) => return Err(error.into()),
        }
    }
    check_out(&room.git, paths, &obtained.commit, orders).await
}

/// Checks the commit out where nothing is.
pub(crate) async fn check_out_afresh(
    git: &Git,
    paths: &Paths,
    repository: &str,
    obtained: &Obtained,
    orders: &Orders,
) -> Result<(), CheckoutError> {
    kit::files::make_private(&paths.tree)?;
    let configuration = configuration(repository, &paths.mirror);
    borrow_objects(paths, &obtained.commit, &obtained.references.packed(), &configuration)?;
    check_out(git, paths, &obtained.commit, orders).await
}

/// Lays the repository of a workspace out by hand: five small files, no process.
pub(crate) fn borrow_objects(paths: &Paths, commit: &str, packed_refs: &str, configuration: &str) -> io::Result<()> {
    let git = paths.tree.join(".git");
    for directory in ["objects/info", "objects/pack", "refs/heads", "refs/tags", "info"] {
        kit::files::make_private(&git.join(directory))?;
    }
    let alternates = format!("{}\n", paths.mirror.join("objects").display());
    fs::write(git.join("objects/info/alternates"), alternates)?;
    fs::write(git.join("packed-refs"), packed_refs)?;
    fs::write(git.join("info/exclude"), EXCLUDED)?;
    fs::write(git.join("config"), configuration)?;
    fs::write(git.join("HEAD"), format!("{commit}\n"))
}

/// Makes the tree that of the commit, in the runner's index, and gives the workspace a copy of that.
/// It is the mirror's git that does it: what it has to fetch for it, later workspaces have too.
pub(crate) async fn check_out(git: &Git, paths: &Paths, commit: &str, orders: &Orders) -> Result<(), CheckoutError> {
    git.run(paths.compared(), ["read-tree", "-u", "--reset", commit], b"", orders).await?;
    Ok(give_index(paths)?)
}

/// The files of this name that git knows at a place, in whichever directory, by their paths from the root.
pub(crate) async fn tracked(
    git: &Git,
    place: Place<'_>,
    options: &[&str],
    name: &str,
    orders: &Orders,
) -> Result<Vec<PathBuf>, GitError> {
    // Saves most executions a start of git.
    if let Some(index) = place.index.filter(|_| options.is_empty()).map(Path::to_owned) {
        let name = name.to_owned();
        if blocking(move || fs::read(index).is_ok_and(|index| index::names_none(&index, &name))).await {
            return Ok(Vec::new());
        }
    }
    let everywhere = format!(":(glob)**/{name}");
    let arguments = ["ls-files", "-z"].into_iter().chain(options.iter().copied()).chain(["--", &everywhere]);
    let tracked = git.run(place, arguments, b"", orders).await?;
    Ok(names::of(&tracked).map(names::path).collect())
}

/// Gives the workspace's repository the runner's index.
pub(crate) fn give_index(paths: &Paths) -> io::Result<()> {
    fs::copy(&paths.index, paths.tree.join(".git/index")).map(drop)
}

/// The configuration of a workspace's repository. One that borrows from a mirror without all blobs
/// fetches those it misses from the remote.
pub(crate) fn configuration(repository: &str, mirror: &Path) -> String {
    let url = repository.replace('\\', "\\\\").replace('"', "\\\"");
    let (version, partial, promises) = match partial::is_partial(mirror) {
        true => (1, "[extensions]\n\tpartialClone = origin\n", partial::PROMISES),
        false => (0, "", ""),
    };
    format!(
        "[core]\n\trepositoryformatversion = {version}\n\tfilemode = true\n\tbare = false\n\tlogallrefupdates = true\n\
         {partial}[remote \"origin\"]\n\turl = \"{url}\"\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n{promises}"
    )
}

/// Takes the workspaces of other executions out of the way, each only when what it holds is saved. Where commands
/// could see them there, nothing of them is left when this returns. Those that are not saved are given back, untouched.
pub(crate) fn clear_others(room: &Room, keep: ExecutionId) -> io::Result<Vec<ExecutionId>> {
    let mut unsaved = Vec::new();
    for id in room.volume.execution_ids()? {
        if id == keep {
            continue;
        }
        if is_saved(&room.volume, id)? {
            discard(room, id)?;
        } else {
            unsaved.push(id);
        }
    }
    if !room.isolation.stands(Wall::Files) {
        room.volume.empty_trash()?;
    }
    Ok(unsaved)
}

/// Keeps the directories of a workspace that its repository wants handed on. They only save time.
fn hand_on(room: &Room, id: ExecutionId) {
    let Ok(Some(marker)) = Marker::read(&room.volume, id) else { return };
    let tree = marker.paths(&room.volume).tree;
    if let Err(error) = caches::keep(&room.volume, &marker.repository, &tree, &marker.cached, &room.mark()) {
        tracing::warn!("cached directories of {} are not kept: {error}", marker.repository);
    }
}

/// Whether nothing is lost when the workspace goes: there is a checkpoint of it, or no marker,
/// which is written before the command first runs.
pub(crate) fn is_saved(volume: &Volume, id: ExecutionId) -> io::Result<bool> {
    let saved = Marker::read(volume, id)?.and_then(|marker| marker.saved);
    Ok(match saved {
        Some(checkpoint) => volume.checkpoint(checkpoint).join(MANIFEST).is_file(),
        None => !marker_path(volume, id).exists(),
    })
}

/// Takes a workspace and all that belongs to it out of the way.
pub(crate) fn discard(room: &Room, id: ExecutionId) -> io::Result<()> {
    let mark = room.mark();
    hand_on(room, id);
    // The marker goes last: what has one is looked after, what has none is not.
    room.volume.discard(&room.volume.workspace(id), &format!("workspace-{mark}"))?;
    room.volume.discard(&room.volume.execution(id), &format!("execution-{mark}"))
}

/// Whether the workspace's parts are there, without looking at what is in them.
pub(crate) fn is_laid_out(paths: &Paths) -> bool {
    let head = fs::read(paths.tree.join(".git/HEAD")).is_ok_and(|head| !head.is_empty());
    head && paths.index.is_file() && paths.mirror.is_dir()
}

#[cfg(test)]
mod tests;
