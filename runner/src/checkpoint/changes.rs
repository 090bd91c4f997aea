//! What differs between a workspace and the commit it began with.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::git::{Git, GitError};
use crate::orders::Orders;
use crate::workspace::Paths;

/// Changed and deleted paths, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Regular files and links.
    pub(crate) present: BTreeSet<PathBuf>,
    pub(crate) deleted: BTreeSet<PathBuf>,
}

/// Asks git, with the runner's own index and the mirror's objects.
pub(crate) async fn list(git: &Git, paths: &Paths) -> Result<Vec<u8>, GitError> {
    let arguments = ["ls-files", "-z", "--modified", "--others", "--exclude-standard"];
    git.run(paths.compared(), arguments, b"", &Orders::none()).await
}

/// What the repository has git ignore, and so is never saved; whole directories where all of one is.
pub(crate) async fn ignored(git: &Git, paths: &Paths) -> Result<Vec<PathBuf>, GitError> {
    let arguments = ["ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory"];
    let listed = git.run(paths.compared(), arguments, b"", &Orders::none()).await?;
    let names = listed.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    Ok(names.map(|name| PathBuf::from(OsStr::from_bytes(name.strip_suffix(b"/").unwrap_or(name)))).collect())
}

/// Sorts what git listed into what is there and what is gone.
pub(crate) fn sort(tree: &Path, listed: &[u8]) -> io::Result<Changes> {
    let mut changes = Changes::default();
    for name in listed.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let is_nested_repository = name.ends_with(b"/");
        let path = PathBuf::from(OsStr::from_bytes(name.strip_suffix(b"/").unwrap_or(name)));
        match fs::symlink_metadata(tree.join(&path)) {
            Ok(meta) if meta.is_dir() => {
                if !is_nested_repository {
                    changes.deleted.insert(path.clone());
                }
                walk(tree, &path, &mut changes.present)?;
            }
            Ok(meta) if meta.is_file() || meta.is_symlink() => {
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
