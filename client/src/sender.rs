//! Sends events to the event store in order and loses none: not when the store
//! is away, not when this process is killed.
//!
//! An event is first written to a spool on disk; one background task
//! takes them from there, and whatever came in while a request was under way
//! goes with the next one. No event waits for a timer. What was acknowledged
//! just before a crash is sent again, which its id makes harmless.
//!
//! The spool is written without a sync: it outlives the process, not the power.

mod delivery;
mod grants;
mod spool;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kit::backoff::Backoff;
use kit::{Chance, Tasks};
use tokio::sync::{Notify, watch};
use wire::event::Event;
use wire::id::ExecutionId;

use crate::events::EventStore;
use delivery::Delivery;
use grants::Grants;
pub use grants::UnfitGrant;
use spool::Spool;

/// After a failure, of the disk or of the store.
const RETRY: Backoff = Backoff { first: Duration::from_millis(50), most: Duration::from_secs(5) };

/// How much waits and how much goes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// When this much is unsent, [`Sender::send`] waits.
    pub spool_bytes: u64,
    /// Events in one request; the store's own limit is 1,000.
    pub batch_events: usize,
    /// Bytes in one request; the store's own limit is 8 MiB.
    pub batch_bytes: usize,
}

/// Takes events and sees to it that the event store gets them. Clones share one spool.
#[derive(Debug, Clone)]
pub struct Sender {
    shared: Arc<Shared>,
    store: Arc<watch::Sender<EventStore>>,
    limits: Limits,
    chance: Chance,
    tasks: Tasks,
}

/// What the senders and the delivery task both see.
#[derive(Debug)]
struct Shared {
    spool: Spool,
    grants: Grants,
    /// Up to where the store has answered for the spool.
    acknowledged: watch::Sender<u64>,
    /// Something was written.
    written: Notify,
}

impl Sender {
    /// Opens the spool in the directory, which is made if missing, and goes on with what an
    /// earlier process left unsent. Fails while another process holds the spool. Must be called
    /// inside the runtime.
    pub fn open(
        directory: &Path,
        store: EventStore,
        limits: Limits,
        chance: Chance,
        tasks: &Tasks,
    ) -> io::Result<Self> {
        let (spool, acknowledged) = Spool::open(directory)?;
        let (acknowledged, _) = watch::channel(acknowledged);
        let grants = Grants::open(directory)?;
        let shared = Arc::new(Shared { spool, grants, acknowledged, written: Notify::new() });
        let (store, current_store) = watch::channel(store);
        let delivery = Delivery::new(shared.clone(), current_store, limits, chance.clone());
        tasks.spawn_until_stopped("event sender", delivery.run());
        Ok(Self { shared, store: Arc::new(store), limits, chance, tasks: tasks.clone() })
    }

    /// Takes the grant that lets this machine write of an execution; it goes with every event of it
    /// that is sent from now on, also after a crash.
    pub fn grant(&self, execution: ExecutionId, grant: &str) -> Result<(), UnfitGrant> {
        let is_unsent = *self.shared.acknowledged.borrow() < self.shared.spool.end();
        self.shared.grants.take(execution, grant, is_unsent)
    }

    /// Takes one event; it is in the spool when this returns. Waits while the spool is full or
    /// its disk refuses, and gives up on that only when the process is stopping.
    pub async fn send(&self, event: Event) {
        let line = line(&event);
        let mut acknowledged = self.shared.acknowledged.subscribe();
        let mut failures = 0;
        loop {
            let sent_before = *acknowledged.borrow_and_update();
            let retry = match self.shared.spool_line(&line, sent_before, self.limits.spool_bytes) {
                Ok(true) => return self.shared.written.notify_one(),
                Ok(false) => None,
                Err(error) => {
                    failures += 1;
                    if failures == 1 {
                        tracing::error!(%error, "the event spool cannot be written; events wait until it can");
                    }
                    Some(RETRY.wait(failures, &self.chance))
                }
            };
            let room = async {
                match retry {
                    Some(wait) => tokio::time::sleep(wait).await,
                    // It cannot have closed: this sender holds the other end.
                    None => drop(acknowledged.changed().await),
                }
            };
            tokio::select! {
                () = room => (),
                () = self.tasks.stopping() => {
                    tracing::error!(event.id = %event.id, event.kind, "stopping with no room in the spool: an event is lost");
                    return;
                }
            }
        }
    }

    /// Waits until the store has answered for everything sent so far; whether it did in time.
    /// An event that the store refused for good counts as answered.
    pub async fn flush(&self, limit: Duration) -> bool {
        let target = self.shared.spool.end();
        let mut acknowledged = self.shared.acknowledged.subscribe();
        let answered = acknowledged.wait_for(|acknowledged| *acknowledged >= target);
        tokio::time::timeout(limit, answered).await.is_ok_and(|answered| answered.is_ok())
    }

    /// Sends to this store from now on; a request under way to the old one is given up and repeated.
    pub fn redirect(&self, store: EventStore) {
        self.store.send_replace(store);
    }
}

impl Shared {
    /// Puts a line into the spool if there is room, after the grant that it may need.
    fn spool_line(&self, line: &[u8], sent_before: u64, most: u64) -> io::Result<bool> {
        self.grants.save()?;
        self.spool.append(line, sent_before, most)
    }
}

/// The event as one line. Outside of strings, where JSON has none, a line feed is only
/// a blank that somebody's payload was laid out with.
fn line(event: &Event) -> Vec<u8> {
    let mut line = serde_json::to_vec(event).expect("an event is plain data");
    line.iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b' ');
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests;
