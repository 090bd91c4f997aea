//! A file on its way: written under a name of its own, and under its real one only when it
//! is whole and synced. One that was given up is taken away; what a killed process left is
//! taken over by the next one that writes the same file.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Error, write_error};

/// A file that nobody else writes until this is dropped.
pub(crate) struct Partial {
    target: PathBuf,
    path: PathBuf,
    file: File,
    is_installed: bool,
}

impl Partial {
    /// Begins a file that is to appear at `target`, where there must be none.
    pub(crate) fn new(target: &Path) -> Result<Self, Error> {
        if fs::symlink_metadata(target).is_ok() {
            return Err(Error::Exists(target.to_owned()));
        }
        Self::replacing(target)
    }

    /// Begins a file that is to take the place of whatever is at `target`.
    pub(super) fn replacing(target: &Path) -> Result<Self, Error> {
        let failed = |source| write_error(target, source);
        let path = beside(target).map_err(failed)?;
        loop {
            let Some(file) = kit::lock::take(&path, Duration::ZERO).map_err(failed)? else {
                return Err(Error::Busy(target.to_owned()));
            };
            // Another process may have installed or removed its file between our opening and locking it.
            let is_still_there = fs::metadata(&path).is_ok_and(|found| {
                file.metadata().is_ok_and(|ours| (found.dev(), found.ino()) == (ours.dev(), ours.ino()))
            });
            if is_still_there {
                let partial = Self { target: target.to_owned(), path, file, is_installed: false };
                partial.file.set_len(0).map_err(failed)?;
                partial.remove_journals();
                return Ok(partial);
            }
        }
    }

    /// Where it is written.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where it is to appear.
    pub(super) fn target(&self) -> &Path {
        &self.target
    }

    /// To write to it.
    pub(crate) fn writer(&self) -> &File {
        &self.file
    }

    /// Has the disk take what was written so far.
    pub(super) fn sync(&self) -> Result<(), Error> {
        self.file.sync_data().map_err(|source| write_error(&self.target, source))
    }

    /// Makes it appear under its name; it survives a power cut from then on.
    pub(crate) fn install(mut self) -> Result<(), Error> {
        let install = || {
            self.file.sync_all()?;
            fs::rename(&self.path, &self.target)?;
            kit::files::sync_directory(directory(&self.target))
        };
        install().map_err(|source| write_error(&self.target, source))?;
        self.is_installed = true;
        Ok(())
    }

    /// SQLite's, of a process that was killed.
    fn remove_journals(&self) {
        for suffix in ["-journal", "-wal", "-shm"] {
            remove(&with_suffix(&self.path, suffix));
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.is_installed {
            self.remove_journals();
            remove(&self.path);
        }
    }
}

/// The file's directory.
pub(super) fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The path with something behind its last name.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn beside(target: &Path) -> io::Result<PathBuf> {
    let name =
        target.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"))?;
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(".partial");
    Ok(directory(target).join(hidden))
}

/// What cannot be removed is taken over by the next one.
fn remove(path: &Path) {
    fs::remove_file(path).ok();
}
