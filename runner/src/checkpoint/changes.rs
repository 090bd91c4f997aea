//! What differs between a workspace and the commit it began with.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use kit::tasks::blocking;

use super::CheckpointError;
use crate::git::{Git, GitError, Place, names};
use crate::orders::Orders;
use crate::volume;
use crate::workspace::Paths;

mod submodules;
pub(crate) use submodules::gitlinks;

const INDEX_HASH_BYTES: i64 = 20;

/// Changed and deleted paths, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Regular files and links.
    pub(crate) present: BTreeSet<PathBuf>,
    pub(crate) deleted: BTreeSet<PathBuf>,
    /// What belongs to submodules with work in them: no part of a commit of the repository around them.
    pub(crate) inside: BTreeSet<PathBuf>,
    /// The submodules, where any was looked for, and where those stand that are elsewhere than they were.
    pub(crate) submodules: BTreeMap<PathBuf, Option<String>>,
    /// The repositories in the tree that may have commits which no reference keeps.
    pub(crate) repositories: BTreeSet<PathBuf>,
}

impl Changes {
    /// Everything that is to be saved.
    pub(crate) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.present.union(&self.inside)
    }

    /// Where submodules stand that are elsewhere than they were.
    pub(crate) fn moved(&self) -> impl Iterator<Item = (&PathBuf, &String)> {
        self.submodules.iter().filter_map(|(path, head)| Some((path, head.as_ref()?)))
    }

    /// Whether there is anything that a commit of the repository would have.
    pub(crate) fn is_any(&self) -> bool {
        !self.present.is_empty() || !self.deleted.is_empty() || self.moved().next().is_some()
    }
}

/// What differs. What a command closed to its owner is opened for it.
pub(crate) async fn find(git: &Git, paths: &Paths) -> Result<Changes, CheckpointError> {
    match look(git, paths).await {
        Err(error) if is_closed(&error) => {
            let tree = paths.tree.clone();
            blocking(move || volume::open_up(&tree)).await?;
            look(git, paths).await
        }
        looked => looked,
    }
}

/// Git lists nothing of a directory that it may not read, and ends well.
const DENIED: &str = "Permission denied";

fn is_closed(error: &CheckpointError) -> bool {
    match error {
        CheckpointError::Git(GitError::Failed { stderr, .. }) => stderr.contains(DENIED),
        CheckpointError::Io(error) => error.kind() == io::ErrorKind::PermissionDenied,
        _ => false,
    }
}

async fn look(git: &Git, paths: &Paths) -> Result<Changes, CheckpointError> {
    let (listed, forced) = tokio::try_join!(list(git, paths), forced(git, paths))?;
    let tree = paths.tree.clone();
    let mut changes = blocking(move || sort(&tree, &listed)).await?;
    changes.present.extend(forced);
    submodules::add(git, paths, &mut changes).await?;
    Ok(changes)
}

/// Asks git, with the runner's own index and the mirror's objects.
async fn list(git: &Git, paths: &Paths) -> Result<Vec<u8>, GitError> {
    let arguments = ["ls-files", "-z", "--modified", "--others", "--exclude-standard"];
    let (listed, warned) = git.heard(paths.compared(), arguments, b"", &Orders::none()).await?;
    if warned.contains(DENIED) {
        return Err(GitError::Failed { command: "ls-files".into(), stderr: warned });
    }
    Ok(listed)
}

/// What differs from the commit at HEAD, in the index or in the tree.
pub(super) struct Status {
    pub(super) head: Option<String>,
    /// As git lists names with `-z`.
    pub(super) changed: Vec<u8>,
}

/// Asks git, which looks into no submodule: there it would go by a configuration that a command wrote.
pub(super) async fn status(git: &Git, place: Place<'_>, untracked: &str) -> Result<Status, GitError> {
    let untracked = format!("--untracked-files={untracked}");
    let options = ["--porcelain=v2", "--branch", "-z", "--no-renames", "--ignore-submodules=all", &untracked];
    let arguments = ["--no-optional-locks", "status"].into_iter().chain(options);
    let (told, warned) = git.heard(place, arguments, b"", &Orders::none()).await?;
    if warned.contains(DENIED) {
        return Err(GitError::Failed { command: "status".into(), stderr: warned });
    }
    Ok(parse_status(&told))
}

/// Reads git-status(1), "Porcelain Format Version 2".
fn parse_status(told: &[u8]) -> Status {
    let mut status = Status { head: None, changed: Vec::new() };
    for line in names::of(told) {
        let fields = match line[0] {
            b'1' => 9,
            b'u' => 11,
            b'?' => 2,
            _ => {
                let head = line.strip_prefix(b"# branch.oid ").filter(|head| !head.starts_with(b"("));
                status.head = head.map(|head| String::from_utf8_lossy(head).into_owned()).or(status.head);
                continue;
            }
        };
        status.changed.extend_from_slice(line.splitn(fields, |byte| *byte == b' ').last().unwrap_or_default());
        status.changed.push(0);
    }
    status
}

/// What the command's own repository has although it is ignored, and the commit that was checked out has not: it was
/// added by force, and is somebody's work like any other.
async fn forced(git: &Git, paths: &Paths) -> Result<Vec<PathBuf>, GitError> {
    let index = paths.tree.join(".git/index");
    if is_same_index(&index, &paths.index) {
        return Ok(Vec::new());
    }
    let arguments = ["ls-files", "-z", "--cached", "--ignored", "--exclude-standard"];
    let theirs = Place { index: Some(&index), ..paths.compared() };
    let theirs = match git.run(theirs, arguments, b"", &Orders::none()).await {
        Ok(listed) => listed,
        Err(GitError::Failed { stderr, .. }) => {
            tracing::warn!("what was added by force cannot be told from what is ignored: {stderr}");
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    if theirs.is_empty() {
        return Ok(Vec::new());
    }
    let ours = git.run(paths.compared(), arguments, b"", &Orders::none()).await?;
    let ours: BTreeSet<&[u8]> = names::of(&ours).collect();
    let is_there = |path: &PathBuf| {
        let place = paths.tree.join(path);
        let kind = fs::symlink_metadata(&place).is_ok_and(|meta| meta.is_file() || meta.is_symlink());
        kind && volume::stays_inside(&paths.tree, &place)
    };
    let added = names::of(&theirs).filter(|name| !ours.contains(name)).map(names::path);
    Ok(added.filter(is_there).collect())
}

/// Whether the command's index is the one it was given, or none that can be read: an index ends with the hash of itself.
fn is_same_index(theirs: &Path, ours: &Path) -> bool {
    let end = |path: &Path| {
        let meta = fs::symlink_metadata(path).ok()?;
        let mut file = meta.is_file().then(|| fs::File::open(path).ok())??;
        file.seek(SeekFrom::End(-INDEX_HASH_BYTES)).ok()?;
        let mut hash = Vec::new();
        file.read_to_end(&mut hash).ok()?;
        Some((meta.len(), hash))
    };
    end(theirs).is_none_or(|theirs| end(ours) == Some(theirs))
}

/// What the repository has git ignore, and so is never saved; whole directories where all of one is.
pub(crate) async fn ignored(git: &Git, paths: &Paths) -> Result<Vec<PathBuf>, GitError> {
    let arguments = ["ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory"];
    let listed = git.run(paths.compared(), arguments, b"", &Orders::none()).await?;
    let forced = forced(git, paths).await?;
    let is_saved = |path: &PathBuf| forced.iter().any(|saved| saved.starts_with(path));
    Ok(names::of(&listed).map(names::path).filter(|path| !is_saved(path)).collect())
}

/// Sorts what git listed into what is there and what is gone.
pub(super) fn sort(tree: &Path, listed: &[u8]) -> io::Result<Changes> {
    let mut changes = Changes::default();
    for name in names::of(listed) {
        let is_nested_repository = name.ends_with(b"/");
        let path = names::path(name);
        match fs::symlink_metadata(tree.join(&path)) {
            Ok(meta) if meta.is_dir() && is_nested_repository => {
                walk(tree, &path, &mut changes.present)?;
                changes.repositories.insert(path);
            }
            Ok(meta) if meta.is_dir() && fs::symlink_metadata(tree.join(&path).join(".git")).is_ok() => {
                changes.submodules.insert(path, None);
            }
            Ok(meta) if meta.is_dir() => {
                walk(tree, &path, &mut changes.present)?;
                changes.deleted.insert(path);
            }
            Ok(meta) if meta.is_file() || meta.is_symlink() => {
                if meta.is_file() && meta.permissions().mode() & 0o400 == 0 {
                    // A runner without rights over files of others cannot save what it cannot read.
                    fs::File::open(tree.join(&path))?;
                }
                changes.present.insert(path);
            }
            // A pipe or a socket has no content to save.
            Ok(_) => (),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                changes.deleted.insert(path);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(changes)
}

fn walk(tree: &Path, directory: &Path, found: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(tree.join(directory))? {
        let entry = entry?;
        let path = directory.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            walk(tree, &path, found)?;
        } else if kind.is_file() || kind.is_symlink() {
            found.insert(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
