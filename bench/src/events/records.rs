//! The events that every system is given: unique ids in the order of time, one of
//! many tasks each, and 1 KiB of payload.

use chrono::{DateTime, Utc};
use kit::{Chance, Clock};
use serde_json::value::RawValue;
use wire::event::{Event, SCHEMA_VERSION, kind};
use wire::id::{EventId, ExecutionId, TaskId};

/// What every event's payload takes, as JSON.
pub(crate) const PAYLOAD_BYTES: usize = 1_024;
/// Who says to have written them.
pub(crate) const PRODUCER: &str = "bench";
/// What they say they are.
pub(crate) const KIND: &str = kind::EXECUTION_LOG;

/// What differs between two events.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record {
    pub(crate) id: EventId,
    pub(crate) task: TaskId,
    pub(crate) execution: ExecutionId,
    pub(crate) at: DateTime<Utc>,
}

/// Makes records, each of them once.
#[derive(Debug)]
pub(crate) struct Source {
    clock: Clock,
    chance: Chance,
    tasks: Vec<(TaskId, ExecutionId)>,
    made: usize,
    payload: Box<RawValue>,
}

impl Source {
    /// Records of so many tasks, which take turns.
    pub(crate) fn new(tasks: usize) -> Self {
        let (clock, chance) = (Clock::system(), Chance::system());
        let now = clock.now();
        let pair = |_| (TaskId::mint(now, chance.bytes()), ExecutionId::mint(now, chance.bytes()));
        let tasks = (0..tasks).map(pair).collect();
        Self { clock, chance, tasks, made: 0, payload: payload() }
    }

    /// The next records, newest last.
    pub(crate) fn records(&mut self, count: usize) -> Vec<Record> {
        let next = |_| {
            let (task, execution) = self.tasks[self.made % self.tasks.len()];
            self.made += 1;
            let at = self.clock.now();
            Record { id: EventId::mint(at, self.chance.bytes()), task, execution, at }
        };
        (0..count).map(next).collect()
    }

    /// The tasks that the records are of.
    pub(crate) fn tasks(&self) -> impl Iterator<Item = TaskId> {
        self.tasks.iter().map(|(task, _)| *task)
    }

    /// The payload of every record, as JSON.
    pub(crate) fn payload(&self) -> &str {
        self.payload.get()
    }

    /// The record as the API takes it.
    pub(crate) fn event(&self, record: Record) -> Event {
        Event {
            id: record.id,
            kind: KIND.into(),
            task_id: Some(record.task),
            execution_id: Some(record.execution),
            producer: PRODUCER.into(),
            created_at: record.at,
            schema_version: SCHEMA_VERSION,
            payload: self.payload.clone(),
        }
    }
}

/// A line of output, as a runner sends it, of exactly [`PAYLOAD_BYTES`].
fn payload() -> Box<RawValue> {
    let (head, tail) = (r#"{"seq":7,"stream":"stdout","text":""#, r#""}"#);
    let words = "   Compiling event-store v0.1.0 (/workspace/event-store) ".chars().cycle();
    let text: String = words.take(PAYLOAD_BYTES - head.len() - tail.len()).collect();
    RawValue::from_string(format!("{head}{text}{tail}")).expect("this is JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_differ_and_their_payloads_have_one_kibibyte() {
        let mut source = Source::new(3);
        let records = source.records(7);
        let mut ids: Vec<EventId> = records.iter().map(|record| record.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 7);
        assert_eq!(records[0].task, records[3].task);
        assert_ne!(records[0].task, records[1].task);
        assert_eq!(source.event(records[0]).payload.get().len(), PAYLOAD_BYTES);
    }
}
