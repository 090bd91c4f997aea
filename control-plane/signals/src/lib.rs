//! Signals: what the control plane tells the outside.
//!
//! It delivers the outbox to the event store, in order and at least once; the
//! store knows an event by its id and drops repeats.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use client::events::EventStore;
use kernel::{Ctx, Error, Reconciler, Result, outbox};
use wire::id::EventId;

/// Entries told in one request.
const BATCH: i64 = 500;
/// How long told entries are kept for people to look at.
const KEEP: TimeDelta = TimeDelta::days(7);

/// The reconciler that empties the outbox into the event store.
#[derive(Debug)]
pub struct OutboxDelivery {
    store: EventStore,
    last_failed: AtomicBool,
}

impl OutboxDelivery {
    /// With the event store's client.
    pub fn new(store: EventStore) -> Self {
        Self { store, last_failed: AtomicBool::new(false) }
    }

    /// Sends a batch; after a failure the store is asked how it does first (row TEL-3a).
    async fn send(&self, events: &[wire::event::Event]) -> std::result::Result<(), client::Error> {
        if self.last_failed.load(Ordering::Relaxed) {
            self.store.health().await?;
        }
        self.store.append(events).await.map(drop)
    }
}

impl Reconciler for OutboxDelivery {
    const NAME: &'static str = outbox::NUDGE;
    const EVERY: Duration = Duration::from_secs(1);

    async fn tick(&self, ctx: &Ctx) -> Result<usize> {
        let mut tx = ctx.read("signals.pending").await?;
        let events = outbox::pending(&mut tx, BATCH).await?;
        drop(tx);
        if events.is_empty() {
            return Ok(0);
        }
        let ids: Vec<EventId> = events.iter().map(|event| event.id).collect();
        let sent = self.send(&events).await;
        self.last_failed.store(sent.is_err(), Ordering::Relaxed);
        let mut tx = ctx.begin("signals.record").await?;
        match sent {
            Ok(()) => outbox::processed(&mut tx, &ids, ctx.now()).await?,
            Err(error) => {
                outbox::failed(&mut tx, &ids).await?;
                tx.commit(()).await?;
                return Err(Error::Unavailable { dependency: "the event store", source: Box::new(error) });
            }
        }
        metrics::counter!("outbox_delivered_total").increment(u64::try_from(ids.len()).unwrap_or(0));
        tx.commit(ids.len()).await
    }
}

/// Forgets what was told long ago, and repeated requests nobody will repeat any more.
#[derive(Debug, Clone, Copy)]
pub struct Housekeeping;

impl Reconciler for Housekeeping {
    const NAME: &'static str = "housekeeping";
    const EVERY: Duration = Duration::from_secs(600);

    async fn tick(&self, ctx: &Ctx) -> Result<usize> {
        let mut tx = ctx.begin("signals.housekeeping").await?;
        let now = ctx.now();
        let gone = outbox::prune(&mut tx, now - KEEP).await?;
        let forgotten = kernel::idempotency::prune(&mut tx, now - TimeDelta::days(1)).await?;
        tracing::debug!(gone, forgotten, "kept house");
        tx.commit(0).await
    }
}
