//! What an operator does with a log's files: verify, back up, restore, export, and go back
//! to an older schema.
//!
//! Verifying, backing up and exporting read the database beside a running store without
//! holding up its writer; the other two take the directory for themselves. A file appears
//! under its name only when it is whole.

mod backup;
mod export;
mod partial;
mod restore;
mod verify;
mod versions;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fs, io};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::log::schema::{self, MIGRATIONS};
use crate::log::{DATABASE, OpenError};

pub(crate) use backup::backup;
pub(crate) use export::{Format, Selected, export};
pub(crate) use partial::Partial;
pub(crate) use restore::restore;
pub(crate) use verify::{Damage, Report, Wanted, verify};
pub(crate) use versions::{Plan, migrate};

/// The schema version from which on events are chained.
const CHAINED: u32 = 2;
/// The schema version from which on tasks are indexed in runs.
const INDEXED_IN_RUNS: u32 = 3;
/// Steps of SQLite's machine between two looks at whether to stop; a few milliseconds.
const STEPS_BETWEEN_LOOKS: i32 = 100_000;

/// Why something was not done; nothing of it was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("there is no event log at {}", .0.display())]
    Missing(PathBuf),
    #[error("there is an event log in {} already", .0.display())]
    Occupied(PathBuf),
    #[error("{} is the copy of a stream, which a backup cannot go on with", .0.display())]
    Copy(PathBuf),
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
    #[error("{} is being written by another process", .0.display())]
    Busy(PathBuf),
    #[error("the database {} has schema version {found}, in which events are not chained", path.display())]
    Unchained { path: PathBuf, found: u32 },
    #[error("the database has schema version {found} and cannot be taken back to {wanted}")]
    NotBack { found: u32, wanted: u32 },
    #[error("{}: {damage}", path.display())]
    Damaged { path: PathBuf, damage: Damage },
    #[error("there is no room left for {}", .0.display())]
    Full(PathBuf),
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("this cannot be undone, and nobody agreed to it")]
    Unconfirmed,
    #[error("interrupted")]
    Interrupted,
}

/// Told how far a long work is, and asked whether to go on.
pub(crate) struct Watch<'a> {
    /// Set when the work is to end early.
    pub(crate) stop: Arc<AtomicBool>,
    /// What is done, and of how much; 0 where that is not known.
    pub(crate) progress: &'a dyn Fn(Stage, u64, u64),
}

/// What is going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Copying,
    Verifying,
    CheckingPages,
    Exporting,
}

impl Watch<'_> {
    fn tell(&self, stage: Stage, done: u64, total: u64) -> Result<(), Error> {
        (self.progress)(stage, done, total);
        if self.stop.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }
}

/// A log's database, open for reading only, beside whoever writes to it.
struct Database {
    connection: Connection,
    path: PathBuf,
}

impl Database {
    fn open(path: &Path, watch: &Watch<'_>) -> Result<Self, Error> {
        match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Error::Missing(path.to_owned())),
            Err(error) => return Err(Error::Read { path: path.to_owned(), source: error.into() }),
            Ok(_) => (),
        }
        let open = || {
            let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            connection.busy_timeout(Duration::from_secs(5))?;
            let stop = watch.stop.clone();
            connection.progress_handler(STEPS_BETWEEN_LOOKS, Some(move || stop.load(Ordering::Relaxed)))?;
            Ok(connection)
        };
        let connection = open().map_err(|error| read_error(path, error))?;
        Ok(Self { connection, path: path.to_owned() })
    }

    /// The log of a store's data directory.
    fn of_store(data: &Path, watch: &Watch<'_>) -> Result<Self, Error> {
        Self::open(&data.join(DATABASE), watch)
    }

    /// Sees to it that everything read so far is on disk: a running store may not have come to
    /// sync it, and what is told of here must not be taken back by a power cut.
    fn settle(&self) -> Result<(), Error> {
        let mut path = self.path.clone().into_os_string();
        path.push("-wal");
        match fs::File::open(&path).and_then(|journal| journal.sync_data()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::Read { path: path.into(), source: error.into() })
            }
            _ => Ok(()),
        }
    }

    fn failed(&self, error: rusqlite::Error) -> Error {
        read_error(&self.path, error)
    }

    /// Refuses a schema that this program does not know.
    fn version(&self) -> Result<u32, Error> {
        let found = schema::version(&self.connection).map_err(|error| self.failed(error))?;
        let (path, known) = (self.path.clone(), schema::known(MIGRATIONS));
        if found > known { Err(OpenError::Newer { path, found, known }.into()) } else { Ok(found) }
    }
}

fn read_error(path: &Path, error: rusqlite::Error) -> Error {
    match error.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted) => Error::Interrupted,
        Some(ErrorCode::DiskFull) => Error::Full(path.to_owned()),
        _ if is_damage(&error) => {
            Error::Damaged { path: path.to_owned(), damage: Damage::Unreadable { error: error.to_string() } }
        }
        _ => Error::Read { path: path.to_owned(), source: error.into() },
    }
}

fn write_error(path: &Path, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::Full(path.to_owned()),
        _ => Error::Write { path: path.to_owned(), source: source.into() },
    }
}

/// Whether what was read is not what was once written, rather than something in the way of reading.
fn is_damage(error: &rusqlite::Error) -> bool {
    match error.sqlite_error_code() {
        Some(
            ErrorCode::CannotOpen
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::DiskFull
            | ErrorCode::OperationInterrupted
            | ErrorCode::OutOfMemory
            | ErrorCode::PermissionDenied
            | ErrorCode::ReadOnly,
        ) => false,
        // A damaged value of a row, a damaged page, a sector that the disk cannot read.
        Some(_) | None => true,
    }
}

#[cfg(test)]
pub(crate) mod tests;
