//! Events on their way into the database and out of it.

use std::borrow::Cow;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use rusqlite::ToSql;
use rusqlite::types::{FromSqlError, ToSqlOutput, ValueRef};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;
use wire::id::{EventId, ExecutionId, TaskId};

use super::chain::{Content, Digest};

/// A checked event that is to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewEvent {
    pub(crate) id: EventId,
    pub(crate) kind: String,
    pub(crate) task_id: Option<TaskId>,
    pub(crate) execution_id: Option<ExecutionId>,
    pub(crate) producer: String,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) schema_version: u16,
    pub(crate) payload: Payload,
}

impl NewEvent {
    /// About what it takes on disk.
    pub(super) fn bytes(&self) -> usize {
        const COLUMNS: usize = 150;
        self.payload.0.len() + self.kind.len() + self.producer.len() + COLUMNS
    }

    fn digest(&self) -> Digest {
        Digest::of(&Content {
            id: self.id.uuid(),
            kind: &self.kind,
            task_id: self.task_id.map(TaskId::uuid),
            execution_id: self.execution_id.map(ExecutionId::uuid),
            producer: &self.producer,
            created_at_micros: self.created_at.timestamp_micros(),
            schema_version: self.schema_version,
            payload: &self.payload.0,
        })
    }

    /// Appends the form of [`wire::event::Event`]. The payload is copied, not read.
    #[cfg(feature = "jetstream")]
    pub(crate) fn write_json(&self, out: &mut Vec<u8>) {
        let fields = Fields {
            seq: None,
            id: self.id,
            kind: &self.kind,
            task_id: self.task_id,
            execution_id: self.execution_id,
            producer: &self.producer,
            created_at: self.created_at,
            schema_version: self.schema_version,
        };
        fields.write_json(&self.payload.0, out);
    }
}

/// JSON in UTF-8: a part of the request's body, not a copy of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Payload(Bytes);

impl Payload {
    /// The part of `body` that `text` is a slice of.
    pub(crate) fn within(body: &Bytes, text: &str) -> Self {
        Self(body.slice_ref(text.as_bytes()))
    }

    /// JSON that fills the bytes.
    pub(super) fn whole(json: Bytes) -> Self {
        Self(json)
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl ToSql for Payload {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Text(&self.0)))
    }
}

/// The events of one request.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(super) events: Vec<NewEvent>,
    /// Of each event, made where the writer does not wait for it.
    pub(super) digests: Vec<Digest>,
    /// Held, never read: the request's claim on memory, for as long as its payloads take it.
    _claim: OwnedSemaphorePermit,
}

impl Batch {
    pub(crate) fn new(events: Vec<NewEvent>, claim: OwnedSemaphorePermit) -> Self {
        let digests = events.iter().map(NewEvent::digest).collect();
        Self { events, digests, _claim: claim }
    }

    #[cfg(feature = "jetstream")]
    pub(crate) fn events(&self) -> &[NewEvent] {
        &self.events
    }

    /// About what it takes on disk.
    pub(crate) fn bytes(&self) -> usize {
        self.events.iter().map(NewEvent::bytes).sum()
    }
}

/// The columns that [`Row::read`] expects, in its order.
pub(crate) const COLUMNS: &str = "seq, id, type, task_id, execution_id, producer, created_at, schema_version, payload";

/// A stored event, borrowed from the statement that found it.
pub(crate) struct Row<'a> {
    pub(crate) seq: u64,
    id: EventId,
    kind: &'a str,
    task_id: Option<TaskId>,
    execution_id: Option<ExecutionId>,
    producer: &'a str,
    created_at: DateTime<Utc>,
    schema_version: u16,
    payload: &'a str,
}

impl<'a> Row<'a> {
    pub(crate) fn read(row: &'a rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        let text = |index| Ok::<_, rusqlite::Error>(row.get_ref(index)?.as_str()?);
        let micros: i64 = row.get(6)?;
        Ok(Self {
            seq: row.get(0)?,
            id: uuid(row.get_ref(1)?)?.into(),
            kind: text(2)?,
            task_id: optional_uuid(row.get_ref(3)?)?.map(TaskId::from),
            execution_id: optional_uuid(row.get_ref(4)?)?.map(ExecutionId::from),
            producer: text(5)?,
            created_at: DateTime::from_timestamp_micros(micros).ok_or(FromSqlError::OutOfRange(micros))?,
            schema_version: row.get(7)?,
            payload: text(8)?,
        })
    }

    /// What the chain makes of the row as it is stored.
    pub(crate) fn digest(&self) -> Digest {
        Digest::of(&Content {
            id: self.id.uuid(),
            kind: self.kind,
            task_id: self.task_id.map(TaskId::uuid),
            execution_id: self.execution_id.map(ExecutionId::uuid),
            producer: self.producer,
            created_at_micros: self.created_at.timestamp_micros(),
            schema_version: self.schema_version,
            payload: self.payload.as_bytes(),
        })
    }

    /// Whether the stored event is the new one, byte for byte.
    pub(super) fn is_same_as(&self, event: &NewEvent) -> bool {
        self.id == event.id
            && self.kind == event.kind
            && self.task_id == event.task_id
            && self.execution_id == event.execution_id
            && self.producer == event.producer
            && self.created_at == event.created_at
            && self.schema_version == event.schema_version
            && self.payload.as_bytes() == event.payload.0
    }

    /// Appends the form of [`wire::event::StoredEvent`]. The payload is copied, not read.
    pub(crate) fn write_json(&self, out: &mut Vec<u8>) {
        let Self { seq, id, kind, task_id, execution_id, producer, created_at, schema_version, payload } = *self;
        let seq = Some(seq);
        let fields = Fields { seq, id, kind, task_id, execution_id, producer, created_at, schema_version };
        fields.write_json(payload.as_bytes(), out);
    }

    /// Its columns as text, in their order; an absent one is empty.
    pub(crate) fn texts(&self) -> [Cow<'a, str>; 9] {
        [
            self.seq.to_string().into(),
            self.id.to_string().into(),
            self.kind.into(),
            self.task_id.map_or_else(String::new, |id| id.to_string()).into(),
            self.execution_id.map_or_else(String::new, |id| id.to_string()).into(),
            self.producer.into(),
            self.created_at.to_rfc3339_opts(SecondsFormat::AutoSi, true).into(),
            self.schema_version.to_string().into(),
            self.payload.into(),
        ]
    }
}

/// What JSON shows of an event before its payload.
#[derive(Serialize)]
struct Fields<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    id: EventId,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_id: Option<TaskId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    execution_id: Option<ExecutionId>,
    producer: &'a str,
    created_at: DateTime<Utc>,
    schema_version: u16,
}

impl Fields<'_> {
    fn write_json(&self, payload: &[u8], out: &mut Vec<u8>) {
        serde_json::to_writer(&mut *out, self).expect("memory can be written to");
        out.pop();
        out.extend_from_slice(b",\"payload\":");
        out.extend_from_slice(payload);
        out.push(b'}');
    }
}

pub(super) fn uuid(value: ValueRef<'_>) -> rusqlite::Result<Uuid> {
    Ok(Uuid::from_slice(value.as_blob()?).map_err(|error| FromSqlError::Other(Box::new(error)))?)
}

fn optional_uuid(value: ValueRef<'_>) -> rusqlite::Result<Option<Uuid>> {
    match value {
        ValueRef::Null => Ok(None),
        value => uuid(value).map(Some),
    }
}
