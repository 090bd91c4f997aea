//! The one task that takes events from the spool to the store, in order.

use std::sync::Arc;

use bytes::Bytes;
use kit::Chance;
use tokio::sync::watch;
use wire::limit::{EVENT_BATCH_BYTES, EVENTS_PER_BATCH};

use super::spool::Batch;
use super::{Limits, RETRY, Shared};
use crate::Error;
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
    /// Attempts in a row that failed.
    failures: u32,
    /// Events in the next request; fewer than the limit while looking for one that is refused.
    most: usize,
}

impl Delivery {
    pub(super) fn new(shared: Arc<Shared>, store: watch::Receiver<EventStore>, limits: Limits, chance: Chance) -> Self {
        let limits = Limits {
            batch_events: limits.batch_events.clamp(1, EVENTS_PER_BATCH),
            batch_bytes: limits.batch_bytes.min(EVENT_BATCH_BYTES - ENVELOPE_BYTES),
            ..limits
        };
        let acknowledged = *shared.acknowledged.borrow();
        Self { shared, store, limits, chance, acknowledged, failures: 0, most: limits.batch_events }
    }

    /// Delivers for as long as the process runs.
    pub(super) async fn run(mut self) {
        loop {
            match self.shared.spool.read(self.acknowledged, self.most, self.limits.batch_bytes) {
                Ok(Some(batch)) => self.deliver(batch).await,
                Ok(None) => self.shared.written.notified().await,
                Err(error) => {
                    self.failed(&error, "the event spool cannot be read");
                    self.back_off().await;
                }
            }
        }
    }

    async fn deliver(&mut self, batch: Batch) {
        if self.failures > 0 {
            self.back_off().await;
        }
        let store = self.store.borrow_and_update().clone();
        let (fitting, grants) = self.shared.grants.of(&batch.lines);
        let batch = batch.first(fitting);
        let answer = tokio::select! {
            answer = attempt(&store, body(&batch.lines), &grants, self.failures > 0) => answer,
            // A machine that slept has dead connections; do not wait for their deadline.
            Ok(()) = self.store.changed() => return self.redirected(),
        };
        match answer {
            Ok(()) => {
                if self.failures > 0 {
                    tracing::info!("the event store takes events again");
                }
                self.failures = 0;
                self.acknowledge(batch.end);
            }
            Err(error) if !is_final(&error) => {
                self.failed(&error, "the event store does not take events; they wait in the spool");
            }
            Err(error) => self.refused(&error, batch),
        }
    }

    /// Waits as long as the failures ask for, or until there is another store to try.
    async fn back_off(&mut self) {
        tokio::select! {
            () = tokio::time::sleep(RETRY.wait(self.failures, &self.chance)) => (),
            Ok(()) = self.store.changed() => self.redirected(),
        }
    }

    /// Another store need not wait for what the last one did, but is probed first all the same.
    fn redirected(&mut self) {
        self.failures = self.failures.min(1);
    }

    /// One event that the store will never take must not hold up the rest.
    fn refused(&mut self, error: &Error, batch: Batch) {
        self.failures = 0;
        if let [line] = batch.lines.as_slice() {
            let kept = self.shared.spool.set_aside(&error.to_string(), line);
            let kept = kept.inspect_err(|error| tracing::warn!(%error, "the refused event cannot be kept"));
            tracing::error!(%error, code = error.code(), kept = kept.unwrap_or(false), "an event was refused for good");
            self.acknowledge(batch.end);
        } else {
            self.most = batch.lines.len() / 2;
        }
    }

    fn acknowledge(&mut self, place: u64) {
        if let Err(error) = self.shared.spool.acknowledge(place) {
            // After a restart some events will be sent again, which their ids make harmless.
            tracing::warn!(%error, "the event spool's cursor cannot be written");
        }
        self.acknowledged = place;
        self.most = self.most.saturating_mul(2).min(self.limits.batch_events);
        self.shared.acknowledged.send_replace(place);
    }

    fn failed(&mut self, error: &dyn std::error::Error, what: &'static str) {
        self.failures = self.failures.saturating_add(1);
        match self.failures {
            1 => tracing::warn!(error = chain(error), "{what}"),
            failures => tracing::debug!(error = chain(error), failures, "{what}"),
        }
    }
}

/// Posts the batch; after a failure only to a store that answers its probe.
async fn attempt(store: &EventStore, body: Bytes, grants: &[String], probe: bool) -> Result<(), Error> {
    if probe {
        store.health().await?;
    }
    store.append_body(body, grants).await.map(drop)
}

/// Whether the store itself has said that it will never take these events as they are.
fn is_final(error: &Error) -> bool {
    let Error::Refused(problem) = error else { return false };
    // A proxy's refusal says nothing about the events.
    problem.code != "not_a_problem_document" && matches!(problem.status, 400 | 403 | 409 | 413 | 422)
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

/// The error and what lies beneath it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text.push_str(": ");
        text.push_str(&source.to_string());
        cause = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::problem::Problem;

    #[test]
    fn only_the_stores_own_word_about_the_events_is_final() {
        let refused = |status, code: &str| Error::Refused(Box::new(Problem::new(status, "", code, "")));
        for status in [400, 403, 409, 413, 422] {
            assert!(is_final(&refused(status, "invalid")), "{status}");
            assert!(!is_final(&refused(status, "not_a_problem_document")), "{status} of a proxy");
        }
        for status in [401, 404, 408, 429, 500, 503, 507] {
            assert!(!is_final(&refused(status, "x")), "{status}");
        }
    }

    #[test]
    fn a_body_is_the_lines_and_nothing_else() {
        assert_eq!(body(&[b"{\"a\":1}".to_vec(), b"{}".to_vec()]), &b"{\"events\":[{\"a\":1},{}]}"[..]);
    }
}
