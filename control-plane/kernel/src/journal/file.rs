//! The journal's file, found again when it was replaced.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The `-wal` file beside a database.
#[derive(Debug)]
pub(crate) struct JournalFile {
    path: PathBuf,
    file: Option<File>,
}

impl JournalFile {
    /// Of the database at that path. What an earlier process left in it is synced, and so is the
    /// folder, in which both files may be new.
    pub(crate) fn open(database: &Path) -> io::Result<Self> {
        let mut path = database.as_os_str().to_owned();
        path.push("-wal");
        let mut journal = Self { path: path.into(), file: None };
        journal.sync()?;
        let folder = database.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(journal)
    }

    /// Puts on disk whatever was written to it before.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        let is_there = |file: &File| file.metadata().is_ok_and(|metadata| metadata.nlink() > 0);
        let file = match self.file.take().filter(is_there) {
            Some(file) => file,
            None => match File::open(&self.path) {
                Ok(file) => file,
                // SQLite removes it once everything is in the database, and on disk there.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(error),
            },
        };
        file.sync_data()?;
        self.file = Some(file);
        Ok(())
    }
}

#[cfg(test)]
impl JournalFile {
    /// How long the file is that was synced last.
    pub(super) fn synced_bytes(&self) -> Option<u64> {
        self.file.as_ref().and_then(|file| file.metadata().ok()).map(|metadata| metadata.len())
    }
}
