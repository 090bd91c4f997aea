//! Sends events to the event store in order and loses none: not when the store
//! is away, not when this process is killed or stopped.
//!
//! An event is first written to a spool on disk; one background task
//! takes them from there, and whatever came in while a request was under way
//! goes with the next one. No event waits for a timer: whoever produces many small
//! ones gathers them (the runner does so with output), and only there is it known
//! what may wait. What was acknowledged just before a crash is sent again, which
//! its id makes harmless.
//!
//! The spool is written without a sync, since that would cost one per event: it
//! outlives the process, not the power. [`Sender::flush`] ends that: what the store
//! has not answered for by then is synced. So whoever lets something depend on its
//! events (a completed execution, say) flushes before.
//!
//! The spool has a bound, and whoever sends waits at it. A process that ends cannot
//! wait: [`Sender::lift_bound`] takes the bound away, and so does the stop. What is
//! then written over it is what the process had at hand and no more.
//!
//! Where the disk refuses an event, because it is full, say, the event goes to the store past the spool, in its turn,
//! and whoever sends it waits until the store has answered: else nothing that frees the disk could ever be told.
//!
//! An event can be lost in two ways, both while the disk refuses: the process stops, or the store refuses the event for
//! good and it cannot be kept aside. Each is logged as an error.

mod delivery;
mod grants;
mod spool;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kit::backoff::Backoff;
use kit::{Chance, Tasks};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use wire::event::Event;
use wire::id::ExecutionId;

use crate::events::EventStore;
use delivery::{Delivery, Loose};
use grants::Grants;
pub use grants::UnfitGrant;
use spool::Spool;

/// After a failure, of the disk or of the store.
const RETRY: Backoff = Backoff { first: Duration::from_millis(50), most: Duration::from_secs(5) };
/// Events that the disk refused and that wait for their delivery; another one waits for its turn at that.
const LOOSE: usize = 16;

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

/// How safe what was sent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flushed {
    /// The store has answered for all of it.
    Delivered,
    /// What the store has not answered for is on disk for good, and will be sent.
    OnDisk,
    /// It outlives this process, but perhaps not the power, or it is not even in the spool.
    Unsafe,
}

/// Takes events and sees to it that the event store gets them. Clones share one spool.
#[derive(Debug, Clone)]
pub struct Sender {
    shared: Arc<Shared>,
    store: Arc<watch::Sender<EventStore>>,
    /// Where an event goes that the disk refuses.
    loose: mpsc::Sender<Loose>,
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
    /// How many bytes may wait in the spool.
    bound: watch::Sender<u64>,
    /// Something was written.
    written: Notify,
    /// Whether the disk refused the last event.
    is_refused: AtomicBool,
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
        let (bound, _) = watch::channel(limits.spool_bytes);
        let shared = Arc::new(Shared {
            spool,
            grants,
            acknowledged,
            bound,
            written: Notify::new(),
            is_refused: AtomicBool::new(false),
        });
        let (store, current_store) = watch::channel(store);
        let (loose, refused) = mpsc::channel(LOOSE);
        let delivery = Delivery::new(shared.clone(), current_store, refused, limits, chance.clone());
        tasks.spawn_until_stopped("event sender", delivery.run());
        Ok(Self { shared, store: Arc::new(store), loose, chance, tasks: tasks.clone() })
    }

    /// Takes the grant that lets this machine write of an execution; it goes with every event of it
    /// that is sent from now on, also after a crash.
    pub fn grant(&self, execution: ExecutionId, grant: &str) -> Result<(), UnfitGrant> {
        let is_unsent = *self.shared.acknowledged.borrow() < self.shared.spool.end();
        self.shared.grants.take(execution, grant, is_unsent)
    }

    /// Takes one event; it is in the spool when this returns, or the store has answered for it. Waits while the spool
    /// is full, or while its disk refuses and the store is away.
    pub async fn send(&self, event: Event) {
        let line = line(&event);
        let mut acknowledged = self.shared.acknowledged.subscribe();
        let mut bound = self.shared.bound.subscribe();
        let mut failures = 0;
        let mut offered = None;
        loop {
            let is_stopping = self.tasks.is_stopping();
            let most = if is_stopping { u64::MAX } else { *bound.borrow_and_update() };
            let sent_before = *acknowledged.borrow_and_update();
            let retry = match self.shared.spool_line(&line, sent_before, most) {
                Ok(true) => {
                    self.shared.is_refused.store(false, Ordering::Relaxed);
                    return self.shared.written.notify_one();
                }
                Ok(false) => None,
                Err(error) if is_stopping => {
                    tracing::error!(%error, event.id = %event.id, event.kind, "stopping, and the disk refuses an event: it is lost");
                    return;
                }
                Err(error) => {
                    failures += 1;
                    // Once, and not of every event until the disk has room again.
                    if !self.shared.is_refused.swap(true, Ordering::Relaxed) {
                        tracing::error!(%error, "the event spool cannot be written; events go to the store past it");
                    }
                    offered = offered.or_else(|| self.offer(&line));
                    Some(RETRY.wait(failures, &self.chance))
                }
            };
            let room = async {
                match retry {
                    Some(wait) => tokio::time::sleep(wait).await,
                    // Neither can have closed: this sender holds the other ends.
                    None => tokio::select! {
                        _ = acknowledged.changed() => (),
                        _ = bound.changed() => (),
                    },
                }
            };
            tokio::select! {
                biased;
                () = answered(&mut offered) => return,
                () = room => (),
                () = self.tasks.stopping() => (),
            }
        }
    }

    /// Has a line delivered past the spool, unless too many are. What this gives resolves when the store has answered;
    /// dropping it calls the delivery off.
    fn offer(&self, line: &[u8]) -> Option<oneshot::Receiver<()>> {
        let (answer, answered) = oneshot::channel();
        let line = line.strip_suffix(b"\n").unwrap_or(line).to_vec();
        self.loose.try_send(Loose { line, answer }).is_ok().then_some(answered)
    }

    /// From now on nobody waits for room in the spool: for a process that is about to end, and
    /// sends only what it has at hand.
    pub fn lift_bound(&self) {
        self.shared.bound.send_replace(u64::MAX);
    }

    /// Waits until the store has answered for everything sent so far, at most so long and not past
    /// the stop. An event that the store refused for good counts as answered. What it has not
    /// answered for is then synced: no power cut takes it any more.
    pub async fn flush(&self, limit: Duration) -> Flushed {
        let target = self.shared.spool.end();
        let mut acknowledged = self.shared.acknowledged.subscribe();
        let answered = acknowledged.wait_for(|acknowledged| *acknowledged >= target);
        let is_delivered = tokio::select! {
            biased;
            answered = tokio::time::timeout(limit, answered) => answered.is_ok_and(|answered| answered.is_ok()),
            () = self.tasks.stopping() => false,
        };
        if is_delivered {
            return Flushed::Delivered;
        }
        let shared = self.shared.clone();
        let synced = tokio::task::spawn_blocking(move || shared.spool.sync()).await;
        match synced.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic())) {
            Ok(()) => Flushed::OnDisk,
            Err(error) => {
                tracing::error!(%error, "the event spool cannot be synced");
                Flushed::Unsafe
            }
        }
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

/// Resolves when the store has answered for what was offered to it; never where nothing was.
async fn answered(offered: &mut Option<oneshot::Receiver<()>>) {
    let Some(answer) = offered else { return std::future::pending().await };
    if answer.await.is_err() {
        // The delivery has ended, and with it soon the process.
        *offered = None;
        std::future::pending().await
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
