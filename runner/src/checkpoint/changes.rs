//! What differs between a workspace and the commit it began with.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use kit::tasks::blocking;

use super::CheckpointError;
use crate::git::{Git, GitError};
use crate::orders::Orders;
use crate::volume;
use crate::workspace::Paths;

/// Changed and deleted paths, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Regular files and links.
    pub(crate) present: BTreeSet<PathBuf>,
    pub(crate) deleted: BTreeSet<PathBuf>,
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
    let listed = list(git, paths).await?;
    let tree = paths.tree.clone();
    Ok(blocking(move || sort(&tree, &listed)).await?)
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
    Ok(names(&listed).map(path_of).collect())
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
