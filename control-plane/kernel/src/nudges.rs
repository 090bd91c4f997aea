//! Wake-up calls inside the process: "something may have changed for you".
//! Losing one costs only time, since every listener also looks by itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// Named wake-up calls. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Nudges(Arc<Mutex<HashMap<&'static str, watch::Sender<()>>>>);

impl Nudges {
    /// Wakes everybody who listens for the name.
    pub fn nudge(&self, name: &'static str) {
        self.with(name, |sender| sender.send_replace(()));
    }

    /// Listens for the name, from now on: subscribe first, look second, wait third.
    pub fn subscribe(&self, name: &'static str) -> watch::Receiver<()> {
        self.with(name, watch::Sender::subscribe)
    }

    fn with<T>(&self, name: &'static str, act: impl FnOnce(&watch::Sender<()>) -> T) -> T {
        let mut senders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        act(senders.entry(name).or_insert_with(|| watch::channel(()).0))
    }
}
