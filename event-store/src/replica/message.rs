//! A request as one message of the stream, and back. Pure.
//!
//! The body is the batch as a client may send it, `{"events":[…]}`. One message for one
//! request makes a batch all or nothing: NATS stores a message whole or not at all.
//!
//! The layout is part of every stream: whoever changes it counts [`FORMAT`] up, and a
//! program that meets a format it does not know stops instead of passing over events.

use std::fmt::Write as _;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use wire::id::{EventId, ExecutionId, TaskId};

use crate::log::{NewEvent, Payload};

/// The header that makes a message one of ours, and says how to read it.
pub(super) const HEADER_FORMAT: &str = "Bifrost-Format";
/// The layout that this program writes and reads.
pub(super) const FORMAT: &str = "1";

/// The messages's body.
pub(super) fn encode(events: &[NewEvent]) -> Bytes {
    let mut body = b"{\"events\":[".to_vec();
    for event in events {
        event.write_json(&mut body);
        body.push(b',');
    }
    body.pop();
    body.extend_from_slice(b"]}");
    body.into()
}

/// The events of a message. Their payloads stay where they are in it.
pub(super) fn decode(body: &Bytes) -> serde_json::Result<Vec<NewEvent>> {
    let message: Message<'_> = serde_json::from_slice(body)?;
    Ok(message.events.into_iter().map(|event| event.within(body)).collect())
}

/// The same for the same events: their content in hexadecimal SHA-256.
pub(super) fn id(body: &Bytes) -> String {
    Sha256::digest(body).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("memory can be written to");
        text
    })
}

/// `<stream>.<task>` where all events are of one task, else `<stream>._`.
pub(super) fn subject(stream: &str, events: &[NewEvent]) -> String {
    let first = events.first().and_then(|event| event.task_id);
    match first.filter(|_| events.iter().all(|event| event.task_id == first)) {
        Some(task) => format!("{stream}.{task}"),
        None => format!("{stream}._"),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Message<'a> {
    #[serde(borrow)]
    events: Vec<Fields<'a>>,
}

/// [`wire::event::Event`] with a payload that is not copied.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields<'a> {
    id: EventId,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    task_id: Option<TaskId>,
    #[serde(default)]
    execution_id: Option<ExecutionId>,
    producer: String,
    created_at: DateTime<Utc>,
    schema_version: u16,
    #[serde(borrow)]
    payload: &'a RawValue,
}

impl Fields<'_> {
    fn within(self, body: &Bytes) -> NewEvent {
        let Self { id, kind, task_id, execution_id, producer, created_at, schema_version, payload } = self;
        let payload = Payload::within(body, payload.get());
        NewEvent { id, kind, task_id, execution_id, producer, created_at, schema_version, payload }
    }
}

#[cfg(test)]
mod tests;
