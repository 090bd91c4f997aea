//! Signals: what the control plane tells the outside.
//!
//! It delivers the outbox to the event store, in order and at least once; the
//! store knows an event by its id and drops repeats.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use client::events::EventStore;
use kernel::{Ctx, Error, Reconciler, Result, outbox};
use wire::event::Event;
use wire::id::EventId;

/// Entries told in one request.
const BATCH: i64 = 100;
/// Payloads and envelopes of one request together; the store takes twice as much.
const BATCH_BYTES: usize = wire::limit::EVENT_BATCH_BYTES / 2;
/// What an event needs beside its payload, generously.
const ENVELOPE_BYTES: usize = 512;
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
    async fn send(&self, events: &[Event]) -> std::result::Result<(), client::Error> {
        if self.last_failed.load(Ordering::Relaxed) {
            self.store.health().await?;
        }
        self.store.append(events).await.map(drop)
    }

    /// The store will never take this batch: one of its events by itself is set aside, several are
    /// sent one by one, so that only the culprit is.
    async fn sort_out(&self, ctx: &Ctx, events: &[Event], refusal: &client::Error) -> Result<usize> {
        if let [event] = events {
            tracing::error!(event.id = %event.id, event.kind, error = %refusal, "the event store refuses an event");
            metrics::counter!("outbox_refused_total").increment(1);
            let mut tx = ctx.begin("signals.refused").await?;
            outbox::refused(&mut tx, event.id, ctx.now()).await?;
            return tx.commit(1).await;
        }
        for event in events {
            let one = std::slice::from_ref(event);
            match self.send(one).await {
                Ok(()) => record(ctx, one).await?,
                Err(error) if is_final(&error) => {
                    Box::pin(self.sort_out(ctx, one, &error)).await?;
                }
                Err(error) => return Err(unavailable(error)),
            }
        }
        Ok(events.len())
    }
}

/// Whether the same request can never succeed. A wrong signature may be a key that is being replaced.
fn is_final(error: &client::Error) -> bool {
    !error.is_transient() && error.status().is_some_and(|status| status != 401)
}

fn unavailable(error: client::Error) -> Error {
    Error::Unavailable { dependency: "the event store", source: Box::new(error) }
}

async fn record(ctx: &Ctx, events: &[Event]) -> Result<()> {
    let ids: Vec<EventId> = events.iter().map(|event| event.id).collect();
    let mut tx = ctx.begin("signals.record").await?;
    outbox::processed(&mut tx, &ids, ctx.now()).await?;
    metrics::counter!("outbox_delivered_total").increment(u64::try_from(ids.len()).unwrap_or(0));
    tx.commit(()).await
}

/// As many of the events, from the first on, as one request may carry; at least one.
fn fitting(mut events: Vec<Event>) -> Vec<Event> {
    let mut bytes = 0;
    let fits = |event: &&Event| {
        bytes += event.payload.get().len() + ENVELOPE_BYTES;
        bytes <= BATCH_BYTES
    };
    let count = events.iter().take_while(fits).count().max(1);
    events.truncate(count);
    events
}

impl Reconciler for OutboxDelivery {
    const NAME: &'static str = outbox::NUDGE;
    const EVERY: Duration = Duration::from_secs(1);

    async fn tick(&self, ctx: &Ctx) -> Result<usize> {
        let mut tx = ctx.read("signals.pending").await?;
        let events = fitting(outbox::pending(&mut tx, BATCH).await?);
        drop(tx);
        if events.is_empty() {
            return Ok(0);
        }
        let sent = self.send(&events).await;
        self.last_failed.store(sent.is_err(), Ordering::Relaxed);
        match sent {
            Ok(()) => {
                record(ctx, &events).await?;
                Ok(events.len())
            }
            Err(error) if is_final(&error) => self.sort_out(ctx, &events, &error).await,
            Err(error) => {
                let mut tx = ctx.begin("signals.failed").await?;
                outbox::failed(&mut tx, &[events[0].id]).await?;
                tx.commit(()).await?;
                Err(unavailable(error))
            }
        }
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

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use wire::problem::Problem;

    use super::*;

    fn event(bytes: usize) -> Event {
        let payload = format!("\"{}\"", "x".repeat(bytes));
        Event {
            id: EventId::mint(DateTime::UNIX_EPOCH, [1; 10]),
            kind: "x".into(),
            task_id: None,
            execution_id: None,
            producer: "p".into(),
            created_at: DateTime::UNIX_EPOCH,
            schema_version: 1,
            payload: serde_json::value::RawValue::from_string(payload).expect("JSON"),
        }
    }

    #[test]
    fn a_request_carries_what_fits_and_at_least_one() {
        let count = |sizes: &[usize]| fitting(sizes.iter().map(|bytes| event(*bytes)).collect()).len();
        assert_eq!(count(&[10; 100]), 100);
        assert_eq!(count(&[BATCH_BYTES / 3; 5]), 2);
        assert_eq!(count(&[BATCH_BYTES * 2, 10]), 1);
        assert_eq!(count(&[10, BATCH_BYTES * 2, 10]), 1);
    }

    #[test]
    fn only_a_refusal_that_can_never_turn_is_final() {
        let refused = |status| client::Error::Refused(Box::new(Problem::new(status, "t", "c", "d")));
        for (status, expect) in
            [(400, true), (409, true), (413, true), (401, false), (429, false), (503, false), (507, false)]
        {
            assert_eq!(is_final(&refused(status)), expect, "{status}");
        }
    }
}
