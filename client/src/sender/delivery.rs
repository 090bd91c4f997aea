//! The one task that takes events from the spool to the store, in order.

use std::sync::Arc;

use bytes::Bytes;
use kit::Chance;
use tokio::sync::watch;
use wire::limit::{EVENT_BATCH_BYTES, EVENTS_PER_BATCH};

use super::spool::Batch;
use super::{Limits, RETRY, Shared};
use crate::Error;
use crate::course::{Course, Offered};
use crate::events::EventStore;

/// What stands around the events in a request's body, and to spare.
const ENVELOPE_BYTES: usize = 64;

/// Where the delivery stands.
pub(super) struct Delivery {
    shared: Arc<Shared>,
    store: watch::Receiver<EventStore>,
    limits: Limits,
    chance: Chance,
    /// Everything before this place was acknowledged.
    acknowledged: u64,
    course: Course,
}

impl Delivery {
    pub(super) fn new(shared: Arc<Shared>, store: watch::Receiver<EventStore>, limits: Limits, chance: Chance) -> Self {
        let limits = Limits {
            batch_events: limits.batch_events.clamp(1, EVENTS_PER_BATCH),
            batch_bytes: limits.batch_bytes.min(EVENT_BATCH_BYTES - ENVELOPE_BYTES),
            ..limits
        };
        let acknowledged = *shared.acknowledged.borrow();
        Self { shared, store, limits, chance, acknowledged, course: Course::new(limits.batch_events) }
    }

    /// Delivers for as long as the process runs.
    pub(super) async fn run(mut self) {
        loop {
            match self.shared.spool.read(self.acknowledged, self.course.most(), self.limits.batch_bytes) {
                Ok(Some(batch)) if batch.lines.is_empty() => self.acknowledge(batch.end),
                Ok(Some(batch)) => self.deliver(batch).await,
                Ok(None) => self.shared.written.notified().await,
                Err(error) => {
                    self.course.failed();
                    self.postponed(&error, "the event spool cannot be read");
                    self.back_off().await;
                }
            }
        }
    }

    async fn deliver(&mut self, batch: Batch) {
        let had_failed = self.course.failures() > 0;
        if had_failed {
            self.back_off().await;
        }
        let store = self.store.borrow_and_update().clone();
        let (fitting, grants) = self.shared.grants.of(&batch.lines);
        let batch = batch.first(fitting);
        let offered = tokio::select! {
            offered = self.course.offer(&store, body(&batch.lines), &grants, batch.lines.len()) => offered,
            // A machine that slept has dead connections; do not wait for their deadline.
            Ok(()) = self.store.changed() => return self.course.forgive(),
        };
        match offered {
            Offered::Taken => {
                if had_failed {
                    tracing::info!("the event store takes events again");
                }
                self.acknowledge(batch.end);
            }
            Offered::Away(error) | Offered::Later(error) => {
                self.postponed(&error, "the event store does not take events; they wait in the spool");
            }
            Offered::Split => (),
            Offered::Refused(error) => self.refused(&error, batch),
        }
    }

    /// Waits as long as the failures ask for, or until there is another store to try.
    async fn back_off(&mut self) {
        tokio::select! {
            () = tokio::time::sleep(RETRY.wait(self.course.failures(), &self.chance)) => (),
            Ok(()) = self.store.changed() => self.course.forgive(),
        }
    }

    /// One event that the store will never take must not hold up the rest.
    fn refused(&mut self, error: &Error, batch: Batch) {
        let kept = self.shared.spool.set_aside(&error.to_string(), &batch.lines[0]);
        let kept = kept.inspect_err(|error| tracing::warn!(%error, "the refused event cannot be kept"));
        tracing::error!(%error, code = error.code(), kept = kept.unwrap_or(false), "an event was refused for good");
        self.acknowledge(batch.end);
    }

    fn acknowledge(&mut self, place: u64) {
        if let Err(error) = self.shared.spool.acknowledge(place) {
            // After a restart some events will be sent again, which their ids make harmless.
            tracing::warn!(%error, "the event spool's cursor cannot be written");
        }
        self.acknowledged = place;
        self.shared.acknowledged.send_replace(place);
    }

    fn postponed(&self, error: &dyn std::error::Error, what: &'static str) {
        match self.course.failures() {
            1 => tracing::warn!(error = kit::http::whole_story(error), "{what}"),
            failures => tracing::debug!(error = kit::http::whole_story(error), failures, "{what}"),
        }
    }
}

fn body(lines: &[Vec<u8>]) -> Bytes {
    let mut body = b"{\"events\":[".to_vec();
    for (index, line) in lines.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(line);
    }
    body.extend_from_slice(b"]}");
    body.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_the_lines_and_nothing_else() {
        assert_eq!(body(&[b"{\"a\":1}".to_vec(), b"{}".to_vec()]), &b"{\"events\":[{\"a\":1},{}]}"[..]);
    }
}
