//! Events: the immutable records that the event store keeps, and the payloads
//! that Bifrost itself writes.

mod egress;
mod head;
pub mod kind;
mod stats;

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::execution::{Cache, Exit, Failure, Outcome, Phase, Wall};
use crate::id::{EventId, ExecutionId, ScheduleId, TaskId};
use crate::task::text_enum;

pub use egress::{EgressPayload, EgressVerdict};
pub use head::{Link, NotALink, SignedHead};
pub use stats::{DiskStats, Occupancy, Place, PrunedPayload, Stats, VolumeLevel, VolumePayload};

/// The version of the envelope that this build writes.
pub const SCHEMA_VERSION: u16 = 1;

/// One event, as its producer writes it. The payload's bytes are kept as they came.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// Made by the producer; the same id with the same content is the same event.
    pub id: EventId,
    /// What happened, in dotted words, such as `execution.log`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The task it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
    /// The execution it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<ExecutionId>,
    /// Who says so: `control-plane` or `machine/<id>`.
    pub producer: String,
    /// When it happened, by the producer's clock.
    pub created_at: DateTime<Utc>,
    /// The version of the payload's shape.
    pub schema_version: u16,
    /// What happened, in detail.
    pub payload: Box<RawValue>,
}

/// One event, as the store returns it: an [`Event`] and its place in the log.
///
/// The fields stand here again because serde cannot flatten a struct that holds raw JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoredEvent {
    /// Its place in the log, from 1, without gaps.
    pub seq: u64,
    /// See [`Event::id`].
    pub id: EventId,
    /// See [`Event::kind`].
    #[serde(rename = "type")]
    pub kind: String,
    /// See [`Event::task_id`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
    /// See [`Event::execution_id`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<ExecutionId>,
    /// See [`Event::producer`].
    pub producer: String,
    /// See [`Event::created_at`].
    pub created_at: DateTime<Utc>,
    /// See [`Event::schema_version`].
    pub schema_version: u16,
    /// See [`Event::payload`].
    pub payload: Box<RawValue>,
}

/// The answer to a write of one event or a batch, in the order of the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Appended {
    /// One for each event of the request.
    pub events: Vec<Receipt>,
}

/// What became of one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The event.
    pub id: EventId,
    /// Its place in the log.
    pub seq: u64,
    /// Whether it had been written before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub duplicate: bool,
}

/// A page of events, oldest first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EventPage {
    /// The events.
    pub events: Vec<StoredEvent>,
    /// Where to go on: the `after` of the next page. Absent where the page reached the newest
    /// event of its moment. With a filter, a page may be empty and yet not the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// What keeps a command apart from its machine and from other executions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IsolationPayload {
    /// The walls that stand.
    pub walls: Vec<Wall>,
    /// Those that the machine cannot build.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<MissingWall>,
    /// Directories for temporary files that are not its own although the files are, because its volume lies below.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shared: Vec<PathBuf>,
    /// The most memory that it and everything that it starts may use together; none where it is kept to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// The most processes and threads that it may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<u64>,
    /// The most bytes that its own files may take of the volume; none where only the volume's size bounds them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_bytes: Option<u64>,
}

/// A wall that cannot stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingWall {
    /// Which one.
    pub wall: Wall,
    /// Why, for a person.
    pub reason: String,
}

text_enum! {
    /// Where a piece of output came from.
    Stream, "stream" {
        /// Standard output.
        Stdout = "stdout",
        /// Standard error.
        Stderr = "stderr",
    }
}

/// A piece of a command's output. Pieces of one execution are in order, without loss.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPayload {
    /// From 0, without gaps, over both streams of an execution.
    pub seq: u64,
    /// Where it came from.
    pub stream: Stream,
    /// The output.
    #[serde(flatten)]
    pub data: LogData,
}

/// Output as text where it is UTF-8, and as base64 where it is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogData {
    /// Valid UTF-8.
    Text(String),
    /// Anything else, in standard base64.
    Base64(String),
}

impl LogData {
    /// Chooses the form that keeps every byte.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        use base64::Engine as _;
        match String::from_utf8(bytes) {
            Ok(text) => Self::Text(text),
            Err(error) => Self::Base64(base64::engine::general_purpose::STANDARD.encode(error.as_bytes())),
        }
    }

    /// The bytes the command wrote; damaged base64 gives none.
    pub fn to_bytes(&self) -> Vec<u8> {
        use base64::Engine as _;
        match self {
            Self::Text(text) => text.clone().into_bytes(),
            Self::Base64(text) => base64::engine::general_purpose::STANDARD.decode(text).unwrap_or_default(),
        }
    }
}

/// A phase of an execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhasePayload {
    /// Which one.
    pub phase: Phase,
    /// How long it took, in microseconds; absent when it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub micros: Option<u64>,
    /// Whether a cache served it; absent when it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Cache>,
    /// A word for a person, such as the commit or the package manager.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// A task was given to a worker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignedPayload {
    /// How much of the wait went into making or waking a machine, in microseconds; absent where one was there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_micros: Option<u64>,
}

/// A task is ready again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequeuedPayload {
    /// Why, such as `worker_lost` or `retried`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A schedule did not submit a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedPayload {
    /// The schedule.
    pub schedule_id: ScheduleId,
    /// The occurrence, the last one if several were missed.
    pub occurrence_at: DateTime<Utc>,
    /// `overlap`, or `missed`.
    pub reason: String,
}

text_enum! {
    /// On which rung of the ladder a machine's newest workspace stands (row FLY-035).
    Health, "state of a workspace" {
        /// It is as it was left.
        Good = "good",
        /// It is as the newest good checkpoint says.
        RolledBack = "rolled_back",
        /// Nothing of it could be used: the next execution clones afresh.
        Afresh = "afresh",
    }
}

/// What the look at a machine's newest workspace came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckedPayload {
    /// What it came to.
    pub health: Health,
}

/// The end of an execution, as its runner saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinishedPayload {
    /// How it ended.
    pub outcome: Outcome,
    /// How the command's process ended, if it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// Why the workspace could not be made ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// What went wrong, for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Bytes of output that the limit cut off.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub truncated_bytes: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_keeps_every_byte() {
        for bytes in [b"plain".to_vec(), vec![0xff, 0x00, 0xfe], "żółw".as_bytes()[..3].to_vec(), vec![]] {
            let json = serde_json::to_string(&LogData::from_bytes(bytes.clone())).expect("serializes");
            let back: LogData = serde_json::from_str(&json).expect("reads back");
            assert_eq!(back.to_bytes(), bytes);
        }
    }

    #[test]
    fn a_payload_is_returned_byte_for_byte() {
        let text = r#"{"seq":7,"id":"0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70","type":"x","producer":"p","created_at":"2026-11-21T00:00:00Z","schema_version":1,"payload":{"b": 1.10,  "a":[ ]}}"#;
        let stored: StoredEvent = serde_json::from_str(text).expect("reads");
        assert_eq!(stored.payload.get(), r#"{"b": 1.10,  "a":[ ]}"#);
    }
}
