//! Empties the outbox into the event store (row T-7.9), oldest first.
//!
//! What was sent is noted afterwards, so a crash in between sends it again. After
//! a failure the store is left alone for a while that grows, and then probed
//! before anything is posted (row TEL-3a). A store that does not answer its probe
//! is away: that is said once, in the log, in a metric and in the outbox itself,
//! and its machine is started if it sleeps (row TEL-3b).

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use client::course::{Course, Offered};
use client::events::{self, EventStore};
use kernel::outbox::{self, About};
use kernel::{Ctx, Error, Reconciler, Result};
use kit::backoff::Backoff;
use serde_json::json;
use wire::event::{Event, kind};
use wire::id::EventId;

use crate::Waker;
use crate::contact::{Contact, Due};

/// Entries told in one request.
const BATCH: usize = 100;
/// Payloads and envelopes of one request together; the store takes twice as much.
const BATCH_BYTES: usize = wire::limit::EVENT_BATCH_BYTES / 2;
/// What an event needs beside its payload, generously.
const ENVELOPE_BYTES: usize = 512;
/// After a failure.
const RETRY: Backoff = Backoff { first: Duration::from_secs(1), most: Duration::from_secs(5) };

/// The reconciler that empties the outbox, and looks after the event store.
#[derive(Debug)]
pub struct OutboxDelivery {
    store: EventStore,
    waker: Option<Waker>,
    standing: Mutex<Standing>,
}

/// What earlier steps learnt about the store. Losing it, as a restart does, costs a request.
#[derive(Debug, Clone)]
struct Standing {
    course: Course,
    contact: Contact,
}

impl OutboxDelivery {
    /// With the event store's client, and what wakes it where there is a machine to wake.
    pub fn new(store: EventStore, waker: Option<Waker>) -> Self {
        let standing = Standing { course: Course::new(BATCH), contact: Contact::default() };
        Self { store, waker, standing: Mutex::new(standing) }
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn step(&self, ctx: &Ctx, standing: &mut Standing) -> Result<usize> {
        let events = pending(ctx, standing.course.most()).await?;
        match standing.contact.due(ctx.now(), !events.is_empty()) {
            Due::Rest => Ok(0),
            Due::Look => match standing.course.look(&self.store).await {
                Ok(()) => {
                    answered(ctx, standing);
                    Ok(0)
                }
                Err(error) => self.away(ctx, standing, error).await,
            },
            Due::Deliver => self.deliver(ctx, standing, &events).await,
        }
    }

    async fn deliver(&self, ctx: &Ctx, standing: &mut Standing, events: &[Event]) -> Result<usize> {
        let offered = standing.course.offer(&self.store, events::body(events), &[], events.len()).await;
        match offered {
            Offered::Taken => {
                answered(ctx, standing);
                record(ctx, events).await?;
                Ok(events.len())
            }
            Offered::Split => {
                answered(ctx, standing);
                Ok(1)
            }
            Offered::Refused(error) => {
                answered(ctx, standing);
                set_aside(ctx, &events[0], &error).await?;
                Ok(1)
            }
            Offered::Later(error) => {
                standing.contact.failed(ctx.now(), RETRY.wait(standing.course.failures(), &ctx.chance));
                note_attempt(ctx, &events[0]).await?;
                Err(unavailable(error))
            }
            Offered::Away(error) => {
                note_attempt(ctx, &events[0]).await?;
                self.away(ctx, standing, error).await
            }
        }
    }

    async fn away(&self, ctx: &Ctx, standing: &mut Standing, error: client::Error) -> Result<usize> {
        let failures = standing.course.failures();
        let measures = standing.contact.away(ctx.now(), failures, RETRY.wait(failures, &ctx.chance));
        if measures.alert {
            alert(ctx, &error).await?;
        }
        if measures.wake
            && let Some(waker) = &self.waker
        {
            waker.wake().await;
        }
        Err(unavailable(error))
    }
}

impl Reconciler for OutboxDelivery {
    const NAME: &'static str = outbox::NUDGE;
    const EVERY: Duration = Duration::from_secs(1);

    async fn tick(&self, ctx: &Ctx) -> Result<usize> {
        let mut standing = self.standing().clone();
        let changed = self.step(ctx, &mut standing).await;
        *self.standing() = standing;
        changed
    }
}

async fn pending(ctx: &Ctx, most: usize) -> Result<Vec<Event>> {
    let mut tx = ctx.read("signals.pending").await?;
    outbox::pending(&mut tx, i64::try_from(most).unwrap_or(i64::MAX)).await.map(fitting)
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

async fn record(ctx: &Ctx, events: &[Event]) -> Result<()> {
    let ids: Vec<EventId> = events.iter().map(|event| event.id).collect();
    let mut tx = ctx.begin("signals.record").await?;
    outbox::processed(&mut tx, &ids, ctx.now()).await?;
    metrics::counter!("outbox_delivered_total").increment(u64::try_from(ids.len()).unwrap_or(0));
    tx.commit(()).await
}

/// The store will never take this one: it must not stand in the way of those behind it.
async fn set_aside(ctx: &Ctx, event: &Event, refusal: &client::Error) -> Result<()> {
    tracing::error!(event.id = %event.id, event.kind, error = %refusal, "the event store refuses an event");
    metrics::counter!("outbox_refused_total").increment(1);
    let mut tx = ctx.begin("signals.refused").await?;
    outbox::refused(&mut tx, event.id, ctx.now()).await?;
    tx.commit(()).await
}

/// The first entry stands for those behind it, which wait for it.
async fn note_attempt(ctx: &Ctx, first: &Event) -> Result<()> {
    let mut tx = ctx.begin("signals.failed").await?;
    outbox::failed(&mut tx, &[first.id]).await?;
    tx.commit(()).await
}

fn answered(ctx: &Ctx, standing: &mut Standing) {
    let outage = standing.contact.answered(ctx.now());
    if let Some(lasted) = outage {
        tracing::info!(seconds = lasted.num_seconds(), "the event store answers again");
        metrics::gauge!("event_store_away").set(0.0);
    }
}

/// Says that the store is away. What is said in the outbox gets to the record when it is back.
async fn alert(ctx: &Ctx, error: &client::Error) -> Result<()> {
    tracing::error!(%error, "the event store is away: events wait in the outbox and on the machines' volumes");
    metrics::gauge!("event_store_away").set(1.0);
    metrics::counter!("event_store_outages_total").increment(1);
    let mut tx = ctx.begin("signals.away").await?;
    outbox::push(ctx, &mut tx, kind::EVENT_STORE_AWAY, About::default(), &json!({})).await?;
    tx.commit(()).await
}

fn unavailable(error: client::Error) -> Error {
    Error::Unavailable { dependency: "the event store", source: Box::new(error) }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

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
}
