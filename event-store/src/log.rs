//! The log on disk: one writer, several readers, one database file.
//!
//! A write is answered after its transaction was synced; readers see only what
//! was. One process has the directory open at a time.

mod chain;
mod entry;
#[cfg(feature = "jetstream")]
mod known;
mod reader;
mod schema;
mod writer;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot, watch};
use wire::event::Receipt;
use wire::id::EventId;

pub(crate) use chain::Head;
pub(crate) use entry::{Batch, NewEvent, Payload, Row};
pub(crate) use reader::{Filter, Page, ReadError, Render, Selection};
pub(crate) use writer::Writer;

use reader::Readers;
use writer::{Job, Work};

/// Requests that may wait for the writer. Their bytes are bounded where bodies are read.
const QUEUE: usize = 1_024;
/// Connections that read at the same time.
const READERS: usize = 4;

/// Why the log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be made or written to.
    #[error("cannot write to the data directory {}; check that it exists and who owns it", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another process has it open.
    #[error("the data directory {} is in use by another event store; stop that one first", .0.display())]
    InUse(PathBuf),
    /// A later version of this program has changed the database.
    #[error(
        "the database {} has schema version {found}, this program knows only {known}; use the program that made it",
        path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The latest this program knows.
        known: u32,
    },
    /// The database cannot be read or migrated.
    #[error("cannot open the database {}", path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
}

/// Why a batch was not stored; nothing of it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AppendError {
    /// The event's id is taken by one with other content.
    Conflict { index: usize, id: EventId },
    /// Too many requests wait.
    QueueFull,
    /// The store is closing.
    Closed,
    /// The disk is full.
    DiskFull,
    /// The database failed; the writer has logged how.
    Failed,
    /// Nobody who keeps the events for several machines answers.
    #[cfg(feature = "jetstream")]
    Unreachable,
    /// This machine's copy of the events does not have all of them yet.
    #[cfg(feature = "jetstream")]
    Behind,
}

/// The door to the log; clones share it.
#[derive(Clone)]
pub(crate) struct Log {
    jobs: mpsc::Sender<Job>,
    head: watch::Receiver<Head>,
    readers: Arc<Readers>,
}

impl Log {
    /// Opens the log in the directory, which is made if missing, and brings its schema up to
    /// date. The caller runs the writer.
    pub(crate) fn open(directory: &Path, now: DateTime<Utc>) -> Result<(Self, Writer), OpenError> {
        let lock = lock(directory)?;
        let path = directory.join("events.db");
        let failed = |source| OpenError::Database { path: path.clone(), source };
        let mut connection = open_writable(&path).map_err(failed)?;
        schema::migrate(&mut connection, schema::MIGRATIONS, now).map_err(|error| match error {
            schema::MigrateError::Newer { found, known } => OpenError::Newer { path: path.clone(), found, known },
            schema::MigrateError::Sqlite(source) => failed(source),
        })?;
        let readers = Arc::new(Readers::open(&path, READERS).map_err(failed)?);
        let (jobs, queue) = mpsc::channel(QUEUE);
        let (writer, head) = Writer::new(connection, queue, lock).map_err(failed)?;
        Ok((Self { jobs, head, readers }, writer))
    }

    /// Stores the events, all or none; they are synced when this returns.
    pub(crate) async fn append(&self, batch: Batch) -> Result<Vec<Receipt>, AppendError> {
        self.submit(Work::Append(batch)).await
    }

    /// Whether the database can be written: writes to it.
    pub(crate) async fn probe(&self) -> Result<(), AppendError> {
        self.submit(Work::Probe).await.map(drop)
    }

    /// Events behind a place, oldest first, each written by `render`.
    pub(crate) async fn read(&self, selection: Selection, render: Render) -> Result<Page, ReadError> {
        self.readers.read(selection, self.head().seq, render).await
    }

    /// The newest event that is on disk.
    pub(crate) fn head(&self) -> Head {
        *self.head.borrow()
    }

    /// Tells of each commit.
    pub(crate) fn commits(&self) -> watch::Receiver<Head> {
        self.head.clone()
    }

    /// Has the writer end when it has answered everything accepted so far.
    pub(crate) async fn close(&self) {
        let (answer, _) = oneshot::channel();
        // An error means that the writer has ended already.
        self.jobs.send(Job { work: Work::Close, answer }).await.ok();
    }

    async fn submit(&self, work: Work) -> Result<Vec<Receipt>, AppendError> {
        let (answer, answered) = oneshot::channel();
        self.jobs.try_send(Job { work, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => AppendError::QueueFull,
            mpsc::error::TrySendError::Closed(_) => AppendError::Closed,
        })?;
        metrics::gauge!("event_store_queue_depth").set((QUEUE - self.jobs.capacity()) as f64);
        answered.await.unwrap_or(Err(AppendError::Failed))
    }
}

/// Takes the directory for this process; the lock ends with it, however it ends.
fn lock(directory: &Path) -> Result<File, OpenError> {
    let failed = |source| OpenError::Directory { path: directory.to_owned(), source };
    fs::create_dir_all(directory).map_err(failed)?;
    let held = kit::lock::take(&directory.join("lock"), kit::lock::PATIENCE).map_err(failed)?;
    held.ok_or_else(|| OpenError::InUse(directory.to_owned()))
}

/// A connection on which a commit is on disk when it returns.
fn open_writable(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

#[cfg(test)]
mod tests;
