//! Puts on disk what SQLite has committed, and only then lets it be answered for.
//!
//! A commit goes to the journal (the `-wal` file) without a sync. One sync of that file then
//! covers every commit before it, while the connection is already at the next transaction
//! (docs/adr/0010-one-sync-for-many-commits.md). What was not synced is not answered for.
//!
//! Only counters are kept for those who wait, so that their number costs no memory here. After a
//! failed sync nobody can say what the disk has: nothing is answered for any more.

mod file;

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use tokio::sync::watch;

use crate::{Error, Result};
pub(crate) use file::JournalFile;

/// The journal of one database. Clones share it; the syncing thread ends with the last of them.
#[derive(Debug, Clone)]
pub struct Journal(Arc<Handle>);

/// How far commits have come that began with this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a commit is on disk only once this was waited for"]
pub(crate) struct Ticket(u64);

#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    progress: watch::Receiver<Progress>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Syncs that were asked for, by whoever waits.
    asked: u64,
    /// Commits that were begun; the last of them may still be under way.
    begun: u64,
    /// Commits of which it is known that they have ended.
    ended: u64,
    /// Commits that a sync has covered.
    covered: u64,
    has_failed: bool,
    is_closed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// Whoever asked up to here is answered.
    Synced(u64),
    Failed,
}

/// The journal could not be synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its journal could not be written to the disk, so nothing is promised any more; check the disk and restart")]
pub(crate) struct SyncFailed;

impl From<SyncFailed> for Error {
    fn from(failed: SyncFailed) -> Self {
        Self::Unavailable { dependency: "the database", source: Box::new(failed) }
    }
}

impl Journal {
    /// With the thread that syncs by the given means.
    pub(crate) fn start(sync: impl FnMut() -> io::Result<()> + Send + 'static) -> io::Result<Self> {
        let (sender, progress) = watch::channel(Progress::Synced(0));
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        thread::Builder::new().name("journal-sync".into()).spawn(move || own.run(sync, &sender))?;
        Ok(Self(Arc::new(Handle { shared, progress })))
    }

    /// Notes that a commit begins. There is one connection that writes, so that every earlier one has ended.
    pub(crate) fn commit_begins(&self) {
        let mut state = self.0.shared.lock();
        state.ended = state.begun;
        state.begun += 1;
    }

    /// Notes that the commit has ended, and asks for a sync that covers it.
    pub(crate) fn commit_ends(&self) -> Ticket {
        let mut state = self.0.shared.lock();
        state.ended = state.begun;
        self.0.shared.ask(state)
    }

    /// Asks for a sync of whatever can be seen now; none where everything is on disk.
    pub(crate) fn look(&self) -> Option<Ticket> {
        let state = self.0.shared.lock();
        // After a failure there is something left to wait for, which says so.
        if state.begun == state.covered && !state.has_failed { None } else { Some(self.0.shared.ask(state)) }
    }

    /// Whether anything can still be promised.
    pub(crate) fn check(&self) -> Result<()> {
        if self.0.shared.lock().has_failed { Err(SyncFailed.into()) } else { Ok(()) }
    }

    /// Waits for the sync.
    pub(crate) async fn wait(&self, ticket: Ticket) -> Result<()> {
        let mut progress = self.0.progress.clone();
        let reached = progress.wait_for(|progress| match progress {
            Progress::Synced(answered) => *answered >= ticket.0,
            Progress::Failed => true,
        });
        // The thread outlives every handle, unless it panicked.
        match reached.await.as_deref() {
            Ok(Progress::Synced(_)) => Ok(()),
            Ok(Progress::Failed) | Err(_) => Err(SyncFailed.into()),
        }
    }

    /// Waits until whatever can be seen now is on disk.
    pub(crate) async fn settle(&self) -> Result<()> {
        match self.look() {
            Some(ticket) => self.wait(ticket).await,
            None => Ok(()),
        }
    }
}

#[cfg(test)]
impl Journal {
    /// How many have asked for a sync.
    fn asked(&self) -> u64 {
        self.0.shared.lock().asked
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.lock().is_closed = true;
        self.shared.wake.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, mut state: MutexGuard<'_, State>) -> Ticket {
        state.asked += 1;
        let ticket = Ticket(state.asked);
        drop(state);
        self.wake.notify_one();
        ticket
    }

    fn run(&self, mut sync: impl FnMut() -> io::Result<()>, progress: &watch::Sender<Progress>) {
        let mut answered = 0;
        loop {
            let state = self.lock();
            let nothing_to_do = |state: &mut State| state.asked == answered && !state.is_closed;
            let state = self.wake.wait_while(state, nothing_to_do).unwrap_or_else(PoisonError::into_inner);
            if state.is_closed {
                return;
            }
            // Whoever asks from here on may have committed after the sync began.
            let (asked, ended) = (state.asked, state.ended);
            drop(state);
            let began = Instant::now();
            if let Err(error) = sync() {
                tracing::error!(%error, "the database's journal cannot be synced; nothing is answered for any more");
                self.lock().has_failed = true;
                progress.send_replace(Progress::Failed);
                return;
            }
            metrics::histogram!("db_sync_seconds").record(began.elapsed());
            answered = asked;
            self.lock().covered = ended;
            progress.send_replace(Progress::Synced(asked));
        }
    }
}

#[cfg(test)]
mod tests;
