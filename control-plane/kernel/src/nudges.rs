//! Wake-up calls: "something may have changed for you". Losing one costs only time,
//! since every listener also looks by itself.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

/// Named wake-up calls. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Nudges(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    senders: Mutex<HashMap<&'static str, watch::Sender<()>>>,
    /// What other processes have not been told yet; nothing where there are none.
    abroad: Mutex<Option<BTreeSet<&'static str>>>,
    is_due: Notify,
}

impl Nudges {
    /// Wakes everybody in this process who listens for the name.
    pub fn nudge(&self, name: &'static str) {
        self.with(name, |sender| sender.send_replace(()));
    }

    /// Listens for the name, from now on: subscribe first, look second, wait third.
    pub fn subscribe(&self, name: &'static str) -> watch::Receiver<()> {
        self.with(name, watch::Sender::subscribe)
    }

    fn with<T>(&self, name: &'static str, act: impl FnOnce(&watch::Sender<()>) -> T) -> T {
        act(self.senders().entry(name).or_insert_with(|| watch::channel(()).0))
    }

    fn senders(&self) -> MutexGuard<'_, HashMap<&'static str, watch::Sender<()>>> {
        self.0.senders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes those who listen for the name here and in every other process.
    pub(crate) fn nudge_everywhere(&self, name: &'static str) {
        self.nudge(name);
        if let Some(due) = &mut *self.abroad() {
            due.insert(name);
            self.0.is_due.notify_one();
        }
    }

    /// Wakes those here, if anybody has ever listened for the name.
    pub(crate) fn wake(&self, name: &str) {
        if let Some(sender) = self.senders().get(name) {
            sender.send_replace(());
        }
    }

    /// Wakes everybody here.
    pub(crate) fn wake_all(&self) {
        for sender in self.senders().values() {
            sender.send_replace(());
        }
    }

    /// From now on other processes are to be told.
    pub(crate) fn go_abroad(&self) {
        self.abroad().get_or_insert_default();
    }

    /// Waits until other processes must be told something, and takes it.
    pub(crate) async fn due_abroad(&self) -> Vec<&'static str> {
        loop {
            let due: Vec<_> = self.abroad().as_mut().map(std::mem::take).into_iter().flatten().collect();
            if !due.is_empty() {
                return due;
            }
            self.0.is_due.notified().await;
        }
    }

    fn abroad(&self) -> MutexGuard<'_, Option<BTreeSet<&'static str>>> {
        self.0.abroad.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
