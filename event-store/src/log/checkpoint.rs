//! Folds the journal into the database beside the writer, so that no request waits for it.
//!
//! A passive checkpoint copies what was committed when it began and holds nobody up. It
//! never catches up with a busy writer, and only a journal that was copied whole begins
//! anew; so, once little is left to copy, the writer is asked to do that little itself
//! between two groups.
//!
//! SQLite syncs the database only then, when the whole journal was copied. Most of that is
//! done here before, so that the writer finds little left to sync as well.

use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use rusqlite::Connection;

/// Bytes of events after which the journal is folded in.
pub(super) const EVERY_BYTES: usize = 1024 * 1024;
/// Pages of journal beyond which it should begin anew: 32 MiB.
const JOURNAL_PAGES: u64 = 8_192;
/// Pages that the writer may be asked to copy and to sync; it takes about a millisecond.
const LEFT_PAGES: u64 = 512;
/// How often to try for so few before the writer has to do with more.
const TRIES: u32 = 5;

/// What the writer tells of its progress, and asks whether it has something to copy.
pub(super) struct Progress {
    written: usize,
    due: mpsc::SyncSender<()>,
    finish: Arc<AtomicBool>,
    /// Whether somebody else folds the journal into the database.
    leaves_journal: bool,
}

impl Progress {
    /// Asks for no checkpoint from now on: somebody else makes them.
    pub(super) fn leave_journal(&mut self) {
        self.leaves_journal = true;
    }

    pub(super) fn leaves_journal(&self) -> bool {
        self.leaves_journal
    }

    /// The writer has committed so many bytes of events.
    pub(super) fn add(&mut self, bytes: usize) {
        self.written += bytes;
        if self.written >= EVERY_BYTES && !self.leaves_journal {
            self.written = 0;
            // Full means that it is told already.
            self.due.try_send(()).ok();
        }
    }

    /// Whether the writer should copy the rest of the journal now; says so once.
    pub(super) fn should_finish(&self) -> bool {
        self.finish.swap(false, Ordering::Relaxed)
    }
}

/// Copies the journal's pages into the database.
pub(super) struct Checkpointer {
    connection: Connection,
    due: mpsc::Receiver<()>,
    finish: Arc<AtomicBool>,
}

impl Checkpointer {
    /// With a connection of its own.
    pub(super) fn new(connection: Connection) -> (Self, Progress) {
        let (sender, due) = mpsc::sync_channel(1);
        let finish = Arc::new(AtomicBool::new(false));
        let progress = Progress { written: 0, due: sender, finish: finish.clone(), leaves_journal: false };
        (Self { connection, due, finish }, progress)
    }

    /// Runs until the writer ends. The file is the database's, for syncing it.
    pub(super) fn run(self, database: &File) {
        while self.due.recv().is_ok() {
            // The journal grows until the next one succeeds.
            match self.checkpoint(database) {
                Ok(should_finish) => self.finish.store(should_finish, Ordering::Relaxed),
                Err(error) => tracing::warn!(%error, "the event journal cannot be folded into the database"),
            }
        }
    }

    /// Copies and syncs until the journal is short or little of it is left; whether the writer
    /// should do that little.
    fn checkpoint(&self, database: &File) -> anyhow::Result<bool> {
        let mut copied = 0;
        for _ in 0..TRIES {
            let journal = fold(&self.connection)?;
            database.sync_data()?;
            if journal.pages < JOURNAL_PAGES {
                return Ok(false);
            }
            if journal.pages.saturating_sub(copied) <= LEFT_PAGES {
                break;
            }
            copied = journal.copied;
        }
        Ok(true)
    }
}

/// How large the journal is, and how much of it the database has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Journal {
    pub(super) pages: u64,
    pub(super) copied: u64,
}

/// Copies what can be copied without waiting for anybody.
pub(super) fn fold(connection: &Connection) -> rusqlite::Result<Journal> {
    metrics::counter!("event_store_checkpoints_total").increment(1);
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
        // Both are -1 when the database has no journal.
        let count = |index| row.get(index).map(|count: i64| u64::try_from(count).unwrap_or(0));
        Ok(Journal { pages: count(1)?, copied: count(2)? })
    })
}
