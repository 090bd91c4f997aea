//! Puts on disk what the writer has committed, and only then answers for it.
//!
//! A commit goes to the journal without a sync; one sync of the journal then covers
//! every commit before it. While it runs the writer is already at the next group. What
//! was not synced is neither answered for nor shown to a reader, so that a power cut
//! takes nothing back that anybody has seen.

use std::fs::File;
use std::io;
use std::sync::{Arc, mpsc};
use std::time::Instant;

use tokio::sync::watch;

use super::chain::Head;
use super::followed::Followed;
use super::writer::{Answer, Job};

/// A group that is committed but may not be on disk yet.
#[derive(Default)]
pub(super) struct Group {
    /// The newest event of this group, or of one before it; none when nothing was committed.
    pub(super) head: Option<Head>,
    /// What was done, and what to say to who waits for it.
    pub(super) answers: Vec<(Job, Answer)>,
}

/// Owns the journal's file.
pub(super) struct Syncer {
    pub(super) journal: File,
    pub(super) committed: mpsc::Receiver<Group>,
    /// Emptied groups go back to the writer, which begins none without.
    pub(super) free: mpsc::Sender<Group>,
    pub(super) head: watch::Sender<Head>,
    pub(super) followed: Arc<Followed>,
}

impl Syncer {
    /// Runs until the writer ends. After a failed sync nobody can say what is on disk, so it
    /// answers nothing more and ends: a restart reads what is really there.
    pub(super) fn run(self) {
        while let Ok(mut group) = self.committed.recv() {
            if let Err(error) = self.sync() {
                tracing::error!(%error, "the event journal cannot be synced; nothing is promised about its end");
                return;
            }
            // Followers first: they read while the answers are still being handed out.
            if let Some(head) = group.head.take() {
                self.head.send_if_modified(|before| std::mem::replace(before, head) != head);
                self.followed.announce(head.seq, group.answers.iter().flat_map(|(job, _)| job.tasks()));
            }
            for (job, answer) in group.answers.drain(..) {
                // Who hung up finds the events when asking again.
                job.answer.send(answer).ok();
            }
            // An error means that the writer has ended; what it handed over is still answered.
            self.free.send(group).ok();
        }
    }

    fn sync(&self) -> io::Result<()> {
        let began = Instant::now();
        self.journal.sync_data()?;
        metrics::histogram!("event_store_sync_seconds").record(began.elapsed());
        Ok(())
    }
}
