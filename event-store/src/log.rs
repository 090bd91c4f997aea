//! The log on disk: one writer, several readers, one database file.
//!
//! A write is answered after its transaction was synced; readers see only what
//! was. One process has the directory open at a time.

mod chain;
mod checkpoint;
mod entry;
mod followed;
#[cfg(feature = "jetstream")]
mod known;
mod own;
pub(crate) mod postings;
mod reader;
pub(crate) mod schema;
mod survey;
mod sync;
mod writer;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rusqlite::Connection;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot, watch};
use wire::event::{Occupancy, PrunedPayload, Receipt, kind};
use wire::id::{EventId, TaskId};

pub(crate) use chain::{Digest, Head, Link};
pub(crate) use entry::{Batch, COLUMNS, NewEvent, Payload, Row};
pub(crate) use followed::News;
pub(crate) use reader::{Filter, Page, ReadError, Render, Selection};
pub(crate) use survey::{Extent, Old, Pages};
pub(crate) use writer::Writer;

use followed::Followed;
use reader::Readers;
use writer::{Files, Job, Work};

/// The database, in the data directory.
pub(crate) const DATABASE: &str = "events.db";
/// What SQLite keeps beside it until it is folded in.
pub(crate) const JOURNAL: &str = "events.db-wal";
/// The version of the schema of every database that is open.
pub(crate) const SCHEMA_VERSION: u32 = schema::known(schema::MIGRATIONS);
/// Requests that may wait for the writer. Their bytes are bounded where bodies are read.
const QUEUE: usize = 1_024;
/// The size to which the journal shrinks when it begins anew.
const JOURNAL_BYTES: u32 = 64 * 1024 * 1024;
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
    followed: Arc<Followed>,
    readers: Arc<Readers>,
}

impl Log {
    /// Opens the log in the directory, which is made if missing, and brings its schema up to
    /// date. The caller runs the writer.
    pub(crate) fn open(directory: &Path, now: DateTime<Utc>) -> Result<(Self, Writer), OpenError> {
        let lock = lock(directory)?;
        let path = directory.join(DATABASE);
        let failed = |source| OpenError::Database { path: path.clone(), source };
        let mut connection = open_writable(&path).map_err(failed)?;
        schema::migrate(&mut connection, schema::MIGRATIONS, now).map_err(|error| match error {
            schema::MigrateError::Newer { found, known } => OpenError::Newer { path: path.clone(), found, known },
            schema::MigrateError::Sqlite(source) => failed(source),
        })?;
        let postings = Arc::default();
        let readers = Arc::new(Readers::open(&path, READERS, Arc::clone(&postings)).map_err(failed)?);
        let (jobs, queue) = mpsc::channel(QUEUE);
        let for_checkpoints = open_writable(&path).map_err(failed)?;
        let unwritable = |source| OpenError::Directory { path: directory.to_owned(), source };
        // SQLite makes the journal when a database is first read, and keeps it while it is open.
        let journal = open_to_sync(&directory.join(JOURNAL)).map_err(unwritable)?;
        let database = open_to_sync(&path).map_err(unwritable)?;
        // A rollback journal of before, were it to come back after a power cut, would undo everything.
        kit::files::sync_directory(directory).map_err(unwritable)?;
        // What an earlier process committed and did not come to sync is about to be shown.
        journal.sync_data().map_err(unwritable)?;
        let followed = Arc::new(Followed::default());
        let files = Files { connection, for_checkpoints, database, journal, lock };
        let (writer, head) = Writer::new(files, queue, followed.clone(), postings).map_err(failed)?;
        Ok((Self { jobs, head, followed, readers }, writer))
    }

    /// Stores the events, all or none; they are synced when this returns.
    pub(crate) async fn append(&self, batch: Batch) -> Result<Vec<Receipt>, AppendError> {
        self.submit(Work::Append(batch)).await
    }

    /// Records something of the store itself.
    pub(crate) async fn append_own(
        &self,
        kind: &str,
        payload: &impl Serialize,
        now: DateTime<Utc>,
    ) -> Result<(), AppendError> {
        self.append(own::batch(kind, payload, self.head(), now)).await.map(drop)
    }

    /// Deletes the oldest events up to the place that the record names, and stores the record, at once.
    pub(crate) async fn prune(&self, record: &PrunedPayload, now: DateTime<Utc>) -> Result<(), AppendError> {
        let through = record.last;
        let record = own::batch(kind::LOG_PRUNED, record, self.head(), now);
        self.submit(Work::Prune { through, record }).await.map(drop)
    }

    /// Whether the database can be written: writes to it.
    pub(crate) async fn probe(&self) -> Result<(), AppendError> {
        self.submit(Work::Probe).await.map(drop)
    }

    /// Events behind a place, oldest first, each written by `render`.
    pub(crate) async fn read(&self, selection: Selection, render: Render) -> Result<Page, ReadError> {
        self.readers.read(selection, self.head().seq, render).await
    }

    /// The ends of what is kept; nothing while there is no event.
    pub(crate) async fn extent(&self) -> Result<Option<Extent>, ReadError> {
        self.readers.ask(survey::extent).await
    }

    /// What the database takes.
    pub(crate) async fn pages(&self) -> Result<Pages, ReadError> {
        self.readers.ask(survey::pages).await
    }

    /// The oldest events up to a place, so many at most.
    pub(crate) async fn oldest(&self, through: u64, most: usize) -> Result<Vec<Old>, ReadError> {
        self.readers.ask(move |connection| survey::oldest(connection, through, most)).await
    }

    /// The link of the event at a place.
    pub(crate) async fn link(&self, seq: u64) -> Result<Option<Link>, ReadError> {
        self.readers.ask(move |connection| survey::link(connection, seq)).await
    }

    /// Requests that wait for the writer.
    pub(crate) fn queue(&self) -> Occupancy {
        let bound = self.jobs.max_capacity();
        Occupancy { taken: (bound - self.jobs.capacity()) as u64, bound: bound as u64 }
    }

    /// The newest event that is on disk.
    pub(crate) fn head(&self) -> Head {
        *self.head.borrow()
    }

    /// Tells of each commit, or of those that hold events of the task.
    pub(crate) fn news(&self, task: Option<TaskId>) -> News {
        News::of(self.head.clone(), task.map(|task| self.followed.follow(task)))
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
        answered.await.unwrap_or(Err(AppendError::Failed))
    }
}

/// Takes the directory for this process; the lock ends with it, however it ends.
pub(crate) fn lock(directory: &Path) -> Result<File, OpenError> {
    let failed = |source| OpenError::Directory { path: directory.to_owned(), source };
    fs::create_dir_all(directory).map_err(failed)?;
    let held = kit::lock::take(&directory.join("lock"), kit::lock::PATIENCE).map_err(failed)?;
    held.ok_or_else(|| OpenError::InUse(directory.to_owned()))
}

/// A connection that may write. Its commits go to the journal and are not synced; its
/// checkpoints sync the journal before they touch the database, and then that.
pub(crate) fn open_writable(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    // The journal is folded in beside the writer: see `checkpoint`.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    // What a long reader made it grow by is given back.
    connection.pragma_update(None, "journal_size_limit", JOURNAL_BYTES)?;
    Ok(connection)
}

/// A file of SQLite's, for syncing it.
fn open_to_sync(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).open(path)
}

#[cfg(test)]
pub(crate) mod tests;
