//! What differs between a workspace and the commit it began with.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use kit::tasks::blocking;

use super::CheckpointError;
use crate::git::{Git, GitError, Place};
use crate::orders::Orders;
use crate::volume;
use crate::workspace::Paths;

const INDEX_HASH_BYTES: i64 = 20;

/// Changed and deleted paths, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Regular files and links.
    pub(crate) present: BTreeSet<PathBuf>,
    pub(crate) deleted: BTreeSet<PathBuf>,
}

impl Changes {
    /// Whether there is anything that a commit of the repository would have.
    pub(crate) fn is_any(&self) -> bool {
        !self.present.is_empty() || !self.deleted.is_empty()
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
    let ours: BTreeSet<&[u8]> = names(&ours).collect();
    let is_there = |path: &PathBuf| {
        let place = paths.tree.join(path);
        let kind = fs::symlink_metadata(&place).is_ok_and(|meta| meta.is_file() || meta.is_symlink());
        kind && volume::stays_inside(&paths.tree, &place)
    };
    let added = names(&theirs).filter(|name| !ours.contains(name)).map(path_of);
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

/// What git lists with `-z`.
fn names(listed: &[u8]) -> impl Iterator<Item = &[u8]> {
    listed.split(|byte| *byte == 0).filter(|name| !name.is_empty())
}

/// A name without the mark of a directory.
fn path_of(name: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(name.strip_suffix(b"/").unwrap_or(name)))
}

/// What the repository has git ignore, and so is never saved; whole directories where all of one is.
pub(crate) async fn ignored(git: &Git, paths: &Paths) -> Result<Vec<PathBuf>, GitError> {
    let arguments = ["ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory"];
    let listed = git.run(paths.compared(), arguments, b"", &Orders::none()).await?;
    let forced = forced(git, paths).await?;
    let is_saved = |path: &PathBuf| forced.iter().any(|saved| saved.starts_with(path));
    Ok(names(&listed).map(path_of).filter(|path| !is_saved(path)).collect())
}

/// Sorts what git listed into what is there and what is gone.
fn sort(tree: &Path, listed: &[u8]) -> io::Result<Changes> {
    let mut changes = Changes::default();
    for name in names(listed) {
        let is_nested_repository = name.ends_with(b"/");
        let path = path_of(name);
        match fs::symlink_metadata(tree.join(&path)) {
            Ok(meta) if meta.is_dir() => {
                if !is_nested_repository {
                    changes.deleted.insert(path.clone());
                }
                walk(tree, &path, &mut changes.present)?;
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
