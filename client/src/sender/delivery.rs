//! The one task that takes events from the spool to the store, in order.

use std::sync::Arc;

use bytes::Bytes;
use kit::Chance;
use tokio::sync::{mpsc, oneshot, watch};
use wire::limit::{EVENT_BATCH_BYTES, EVENTS_PER_BATCH};

use super::spool::Batch;
use super::{Limits, RETRY, Shared};
use crate::Error;
use crate::course::{Course, Offered};
use crate::events::EventStore;

/// What stands around the events in a request's body, and to spare.
const ENVELOPE_BYTES: usize = 64;

/// An event that the disk refused.
pub(super) struct Loose {
    /// Without a line feed.
    pub(super) line: Vec<u8>,
    /// Told when the store has answered for it. Closed once nobody wants it delivered any more.
    pub(super) answer: oneshot::Sender<()>,
}

/// Where the delivery stands.
pub(super) struct Delivery {
    shared: Arc<Shared>,
    store: watch::Receiver<EventStore>,
    limits: Limits,
    chance: Chance,
    /// Everything before this place was acknowledged.
    acknowledged: u64,
    refused: mpsc::Receiver<Loose>,
    /// The one whose turn it is, once everything is delivered that was spooled before it.
    loose: Option<Loose>,
    course: Course,
}

impl Delivery {
    pub(super) fn new(
        shared: Arc<Shared>,
        store: watch::Receiver<EventStore>,
        refused: mpsc::Receiver<Loose>,
        limits: Limits,
        chance: Chance,
    ) -> Self {
        let limits = Limits {
            batch_events: limits.batch_events.clamp(1, EVENTS_PER_BATCH),
            batch_bytes: limits.batch_bytes.min(EVENT_BATCH_BYTES - ENVELOPE_BYTES),
            ..limits
        };
        let acknowledged = *shared.acknowledged.borrow();
        let course = Course::new(limits.batch_events);
        Self { shared, store, limits, chance, acknowledged, refused, loose: None, course }
    }

    /// Delivers for as long as the process runs.
    pub(super) async fn run(mut self) {
        loop {
            match self.shared.spool.read(self.acknowledged, self.course.most(), self.limits.batch_bytes) {
                Ok(Some(batch)) if batch.lines.is_empty() => self.acknowledge(batch.end),
                Ok(Some(batch)) => self.deliver(batch).await,
                Ok(None) => match self.loose.take() {
                    Some(loose) => self.deliver_loose(loose).await,
                    None => tokio::select! {
                        () = self.shared.written.notified() => (),
                        Some(loose) = self.refused.recv() => self.loose = Some(loose),
                    },
                },
                Err(error) => {
                    self.course.failed();
                    self.postponed(&error, "the event spool cannot be read");
                    self.back_off().await;
                }
            }
        }
    }

    async fn deliver(&mut self, batch: Batch) {
        self.back_off().await;
        let (fitting, grants) = self.shared.grants.of(&batch.lines);
        let batch = batch.first(fitting);
        if self.offer(&batch.lines, &grants).await {
            self.acknowledge(batch.end);
        }
    }

    async fn deliver_loose(&mut self, loose: Loose) {
        if loose.answer.is_closed() {
            return;
        }
        self.back_off().await;
        let lines = std::slice::from_ref(&loose.line);
        let (_, grants) = self.shared.grants.of(lines);
        match self.offer(lines, &grants).await {
            // Nobody waits for it any more where the disk took it meanwhile.
            true => drop(loose.answer.send(())),
            false => self.loose = Some(loose),
        }
    }

    /// Offers lines once. Whether the store has answered for them: that it took them, or that it never will.
    async fn offer(&mut self, lines: &[Vec<u8>], grants: &[String]) -> bool {
        let had_failed = self.course.failures() > 0;
        let store = self.store.borrow_and_update().clone();
        let offered = tokio::select! {
            offered = self.course.offer(&store, body(lines), grants, lines.len()) => offered,
            // A machine that slept has dead connections; do not wait for their deadline.
            Ok(()) = self.store.changed() => {
                self.course.forgive();
                return false;
            }
        };
        match offered {
            Offered::Taken => {
                if had_failed {
                    tracing::info!("the event store takes events again");
                }
                true
            }
            Offered::Away(error) | Offered::Later(error) => {
                self.postponed(&error, "the event store does not take events; they wait in the spool");
                false
            }
            Offered::Split => false,
            Offered::Refused(error) => {
                self.set_aside(&error, &lines[0]);
                true
            }
        }
    }

    /// Waits as long as the failures ask for, if there were any, or until there is another store to try.
    async fn back_off(&mut self) {
        if self.course.failures() == 0 {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(RETRY.wait(self.course.failures(), &self.chance)) => (),
            Ok(()) = self.store.changed() => self.course.forgive(),
        }
    }

    /// One event that the store will never take must not hold up the rest.
    fn set_aside(&self, error: &Error, line: &[u8]) {
        let kept = self.shared.spool.set_aside(&error.to_string(), line);
        let kept = kept.inspect_err(|error| tracing::warn!(%error, "the refused event cannot be kept"));
        tracing::error!(%error, code = error.code(), kept = kept.unwrap_or(false), "an event was refused for good");
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
