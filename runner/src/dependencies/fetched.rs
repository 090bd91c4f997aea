//! What was fetched into package managers' caches: a note in the repository's caches, which goes when they go.

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Whether it was fetched under this name, and the caches that it was fetched into are there. A command can take more out
/// of them than that shows: what is missing then its tool fetches by itself.
pub(super) fn is_noted(packages: &Path, name: &str, caches: &[PathBuf]) -> bool {
    let is_there = |cache: &PathBuf| fs::symlink_metadata(cache).is_ok_and(|meta| meta.is_dir());
    fs::symlink_metadata(note_of(packages, name)).is_ok_and(|meta| meta.is_file()) && caches.iter().all(is_there)
}

/// Notes that it was fetched. Whatever package managers run can write there: no link is followed.
pub(super) fn note(packages: &Path, name: &str) -> io::Result<()> {
    match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(note_of(packages, name)) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map(drop),
    }
}

/// Notes that what was fetched under this name is not there any more.
pub(super) fn forget(packages: &Path, name: &str) -> io::Result<()> {
    match fs::remove_file(note_of(packages, name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn note_of(packages: &Path, name: &str) -> PathBuf {
    packages.join(format!("fetched-{name}"))
}
