//! What the event store holds of one task, and whether it is whole.

use chrono::DateTime;
use serde_json::value::RawValue;
use wire::event::{Event, LogPayload, SCHEMA_VERSION, StoredEvent, Stream, kind};
use wire::id::{EventId, ExecutionId};

/// A task's events, in the order of the log.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// The events.
    pub events: Vec<StoredEvent>,
}

/// What a command wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Streams {
    /// To standard output.
    pub stdout: String,
    /// To standard error.
    pub stderr: String,
}

impl Record {
    /// How many events of this kind there are.
    pub fn count(&self, kind: &str) -> usize {
        self.events.iter().filter(|event| event.kind == kind).count()
    }

    /// What the execution's command wrote. Panics unless every piece is there, once and in order.
    pub fn output_of(&self, execution: ExecutionId) -> Streams {
        let of_execution = self.events.iter().filter(|event| event.execution_id == Some(execution));
        let pieces = of_execution.filter(|event| event.kind == kind::EXECUTION_LOG);
        let mut streams = Streams::default();
        for (place, event) in pieces.enumerate() {
            let piece: LogPayload = serde_json::from_str(event.payload.get()).expect("a log event has a log payload");
            assert_eq!(piece.seq, place as u64, "the log of {execution} has a gap or is out of order");
            let text = String::from_utf8(piece.data.to_bytes()).expect("the tests' commands write text");
            match piece.stream {
                Stream::Stdout => streams.stdout.push_str(&text),
                Stream::Stderr => streams.stderr.push_str(&text),
            }
        }
        streams
    }
}

/// An event that means nothing to anybody, for a test that asks only whether it is kept.
pub fn note(id: EventId) -> Event {
    Event {
        id,
        kind: "test.noted".into(),
        task_id: None,
        execution_id: None,
        producer: "test".into(),
        created_at: DateTime::UNIX_EPOCH,
        schema_version: SCHEMA_VERSION,
        payload: RawValue::from_string("{}".into()).expect("is JSON"),
    }
}
