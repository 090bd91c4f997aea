//! Wakes those who follow the log, and nobody for nothing: a follower of one task
//! hears only of commits that hold events of that task.
//!
//! News carry no events. Whoever was away for many commits hears once, and reads
//! what there is in pages.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use wire::id::TaskId;

use super::chain::Head;

/// The tasks that somebody follows, so never more than there are followers.
#[derive(Debug, Default)]
pub(super) struct Followed(Mutex<HashMap<TaskId, Task>>);

#[derive(Debug)]
struct Task {
    /// The newest sequence number when an event of the task was last committed.
    committed: watch::Sender<u64>,
    followers: usize,
}

impl Followed {
    /// Says that events of these tasks are on disk, the last at `newest` or before. A reader
    /// must find them by now, and `newest` be what is known as the newest: who begins to
    /// follow in this moment may miss the news.
    pub(super) fn announce(&self, newest: u64, tasks: impl Iterator<Item = TaskId>) {
        let followed = self.lock();
        if followed.is_empty() {
            return;
        }
        for task in tasks.filter_map(|task| followed.get(&task)) {
            // A task that has many events in one commit is announced once.
            task.committed.send_if_modified(|before| std::mem::replace(before, newest) != newest);
        }
    }

    /// Hears of the task's commits from now on.
    pub(super) fn follow(self: &Arc<Self>, task: TaskId) -> Follower {
        let mut followed = self.lock();
        let entry = followed.entry(task).or_insert_with(|| Task { committed: watch::Sender::new(0), followers: 0 });
        entry.followers += 1;
        Follower { committed: entry.committed.subscribe(), task, followed: self.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TaskId, Task>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who follows a task, for as long as it lives.
#[derive(Debug)]
pub(super) struct Follower {
    committed: watch::Receiver<u64>,
    task: TaskId,
    followed: Arc<Followed>,
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut followed = self.followed.lock();
        if let Some(task) = followed.get_mut(&self.task) {
            task.followers -= 1;
            if task.followers == 0 {
                followed.remove(&self.task);
            }
        }
    }
}

/// What a follower of everything, or of one task, hears.
#[derive(Debug)]
pub(crate) struct News {
    head: watch::Receiver<Head>,
    of_task: Option<Follower>,
}

impl News {
    /// `of_task` was made before this, so that nothing is missed in between.
    pub(super) fn of(head: watch::Receiver<Head>, of_task: Option<Follower>) -> Self {
        Self { head, of_task }
    }

    /// The newest sequence number. [`News::wait`] then resolves for what is committed behind it.
    pub(crate) fn newest(&mut self) -> u64 {
        if let Some(follower) = &mut self.of_task {
            follower.committed.borrow_and_update();
        }
        self.head.borrow_and_update().seq
    }

    /// Resolves when there may be more to read. Nothing when there never will be.
    pub(crate) async fn wait(&mut self) -> Option<()> {
        let heard = match &mut self.of_task {
            Some(follower) => follower.committed.changed().await,
            None => self.head.changed().await,
        };
        heard.ok()
    }
}

#[cfg(test)]
mod tests;
