//! Puts on disk what the writer has committed, and only then answers for it.
//!
//! A commit goes to the journal without a sync; one sync of the journal then covers
//! every commit before it. While it runs the writer is already at the next group. What
//! was not synced is neither answered for nor shown to a reader, so that a power cut
//! takes nothing back that anybody has seen.

use std::fs::File;
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

/// The journal's file, and those who wait for it.
pub(super) struct Syncer {
    pub(super) journal: File,
    pub(super) head: watch::Sender<Head>,
    pub(super) followed: Arc<Followed>,
}

/// The journal may or may not have been synced: nobody can say what is on disk.
#[derive(Debug)]
pub(super) struct SyncFailed;

impl Syncer {
    /// Syncs and answers the groups that come, until the writer ends or a sync fails. Each goes
    /// back empty to the writer, which begins none without.
    pub(super) fn run(&self, committed: &mpsc::Receiver<Group>, empty: &mpsc::Sender<Group>) {
        while let Ok(group) = committed.recv() {
            let Ok(group) = self.complete(group) else { return };
            // An error means that the writer has ended; what it handed over is still answered.
            empty.send(group).ok();
        }
    }

    /// Syncs the journal, then publishes the group and gives its answers; none of that when the
    /// sync fails. The group comes back empty. Groups must come in the order of their commits.
    pub(super) fn complete(&self, mut group: Group) -> Result<Group, SyncFailed> {
        let began = Instant::now();
        if let Err(error) = self.journal.sync_data() {
            tracing::error!(%error, "the event journal cannot be synced; nothing is promised about its end");
            return Err(SyncFailed);
        }
        metrics::histogram!("event_store_sync_seconds").record(began.elapsed());
        // Followers first: they read while the answers are still being handed out.
        if let Some(head) = group.head.take() {
            self.head.send_if_modified(|before| std::mem::replace(before, head) != head);
            self.followed.announce(head.seq, group.answers.iter().flat_map(|(job, _)| job.tasks()));
        }
        for (job, answer) in group.answers.drain(..) {
            // Who hung up finds the events when asking again.
            job.answer.send(answer).ok();
        }
        Ok(group)
    }
}
