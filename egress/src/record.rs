//! What happened, as events of the tasks: bounded, so that a command that knocks on
//! a closed door for ever fills no log.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use client::sender::Sender;
use kit::{Chance, Clock};
use tokio::time::Instant;
use wire::event::{EgressPayload, Event, SCHEMA_VERSION, kind};
use wire::grant::Grant;
use wire::id::{EventId, TaskId};

const PRODUCER: &str = "egress";
/// Events of one task in one window; more are counted and told of by the next one.
const MOST: u32 = 300;
const WINDOW: Duration = Duration::from_secs(60);
/// Tasks that are remembered; the counts of all begin anew beyond that.
const TASKS: usize = 4_096;

/// Writes the record.
#[derive(Debug)]
pub(crate) struct Record {
    sender: Sender,
    clock: Clock,
    chance: Chance,
    counts: Mutex<BTreeMap<Option<TaskId>, Count>>,
}

#[derive(Debug, Clone, Copy)]
struct Count {
    since: Instant,
    events: u32,
    omitted: u64,
}

impl Record {
    pub(crate) fn new(sender: Sender, clock: Clock, chance: Chance) -> Self {
        Self { sender, clock, chance, counts: Mutex::default() }
    }

    /// Tells what became of a request.
    pub(crate) async fn tell(&self, grant: Option<Grant>, mut payload: EgressPayload) {
        let task = grant.map(|grant| grant.task);
        let Some(omitted) = self.count(task, Instant::now()) else { return };
        payload.omitted = omitted;
        let payload = serde_json::value::to_raw_value(&payload).expect("a payload is plain data");
        let now = self.clock.now();
        let event = Event {
            id: EventId::mint(now, self.chance.bytes()),
            kind: kind::EGRESS_REQUEST.to_owned(),
            task_id: task,
            execution_id: grant.map(|grant| grant.execution),
            producer: PRODUCER.to_owned(),
            created_at: now,
            schema_version: SCHEMA_VERSION,
            payload,
        };
        self.sender.send(event).await;
    }

    /// Counts one event; how many were left out before it, or nothing where it is to be left out.
    fn count(&self, task: Option<TaskId>, now: Instant) -> Option<u64> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= TASKS && !counts.contains_key(&task) {
            counts.clear();
        }
        let count = counts.entry(task).or_insert(Count { since: now, events: 0, omitted: 0 });
        if now.duration_since(count.since) >= WINDOW {
            *count = Count { since: now, events: 0, omitted: count.omitted };
        }
        if count.events >= MOST {
            count.omitted += 1;
            return None;
        }
        count.events += 1;
        Some(std::mem::take(&mut count.omitted))
    }
}

#[cfg(test)]
mod tests {
    use client::events::{EventStore, Signer};
    use client::sender::Limits;
    use kit::Tasks;
    use wire::signature::Key;

    use super::*;

    #[tokio::test]
    async fn a_flood_of_one_task_is_counted_and_hides_no_other() {
        let (directory, tasks) = (tempfile::tempdir().expect("a directory"), Tasks::new());
        let signer =
            Signer { key: Key::from_bytes([1; 32]), key_id: None, clock: Clock::system(), chance: Chance::system() };
        let limits = Limits { spool_bytes: 1 << 20, batch_events: 10, batch_bytes: 1 << 16 };
        let store = EventStore::new("http://127.0.0.1:9", signer);
        let sender = Sender::open(directory.path(), store, limits, Chance::system(), &tasks).expect("opens");
        let record = Record::new(sender, Clock::system(), Chance::system());
        let (now, one) = (Instant::now(), Some(TaskId::from(uuid::Uuid::nil())));
        let told = (0..MOST + 5).filter(|_| record.count(one, now).is_some()).count();
        assert_eq!(told, MOST as usize);
        assert_eq!(record.count(None, now), Some(0));
        assert_eq!(record.count(one, now + WINDOW), Some(5));
        assert_eq!(record.count(one, now + WINDOW), Some(0));
        tasks.stop_within(crate::STOP).await.expect("stops");
    }
}
