//! A backup becomes the log of a data directory that has none.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

use super::partial::{directory, with_suffix};
use super::verify::Report;
use super::{Database, Error, Partial, Watch, backup, write_error};
use crate::engine::COPY_MARK;
use crate::log::{self, DATABASE};

/// Verifies the backup and installs it. The directory must not have a log with events, and
/// no store may use it.
pub(crate) fn restore(file: &Path, data: &Path, watch: &Watch<'_>) -> Result<Report, Error> {
    let source = Database::open(file, watch)?;
    source.version()?;
    let is_new = !data.exists();
    let _lock = log::lock(data)?;
    if is_new {
        give_to_owner(directory(data), data)?;
    }
    if data.join(COPY_MARK).exists() {
        return Err(Error::Copy(data.to_owned()));
    }
    let database = data.join(DATABASE);
    if !is_empty(&database, watch)? {
        return Err(Error::Occupied(data.to_owned()));
    }
    let partial = Partial::replacing(&database)?;
    let report = backup::copy(&source, &partial, watch)?;
    // Those of the empty log: they would be taken for the restored one's.
    for suffix in ["-wal", "-shm"] {
        fs::remove_file(with_suffix(&database, suffix)).ok();
    }
    give_to_owner(data, partial.path())?;
    give_to_owner(data, &data.join("lock"))?;
    partial.install()?;
    Ok(report)
}

/// Whether there is no log, or one that never had an event.
fn is_empty(database: &Path, watch: &Watch<'_>) -> Result<bool, Error> {
    let database = match Database::open(database, watch) {
        Err(Error::Missing(_)) => return Ok(true),
        opened => opened?,
    };
    let is_new = |sql| database.connection.query_row(sql, [], |row| row.get::<_, bool>(0));
    let has_no_tables = is_new("SELECT count(*) = 0 FROM sqlite_schema").map_err(|error| database.failed(error))?;
    if has_no_tables {
        return Ok(true);
    }
    let sql = "SELECT NOT EXISTS (SELECT 1 FROM events) AND NOT EXISTS (SELECT 1 FROM start)";
    is_new(sql).map_err(|error| database.failed(error))
}

/// An operator restores as root what the store opens as a user of its own.
fn give_to_owner(directory: &Path, path: &Path) -> Result<(), Error> {
    let give = || {
        let (owner, found) = (fs::metadata(directory)?, fs::metadata(path)?);
        if (owner.uid(), owner.gid()) == (found.uid(), found.gid()) {
            return Ok(());
        }
        chown(path, Some(owner.uid()), Some(owner.gid()))
    };
    give().map_err(|source| write_error(path, source))
}
