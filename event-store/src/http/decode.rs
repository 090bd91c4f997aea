//! Request bodies into checked events. Pure; nothing larger than the body is
//! ever built, and payloads stay where they are in it.
//!
//! A body is one event, an array of events, or `{"events": […]}`.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use chrono::{DateTime, SubsecRound, Utc};
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use wire::id::{ExecutionId, TaskId};
use wire::limit::EVENTS_PER_BATCH;

use super::problem::Refusal;
use crate::log::{NewEvent, Payload};

/// The longest type and the longest producer, in characters.
const NAME_CHARS: usize = 200;
/// The largest payload, in bytes.
const PAYLOAD_BYTES: usize = 1024 * 1024;
/// The deepest nesting of a payload.
const PAYLOAD_DEPTH: usize = 64;

/// The events of one request, in its order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) events: Vec<NewEvent>,
    pub(super) shape: Shape,
}

/// Whether the body was an event or held several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    One,
    Several,
}

impl Shape {
    /// The path of an event's field in the body, such as `events.3.type`.
    pub(super) fn field(self, index: usize, name: &str) -> String {
        match self {
            Self::One => name.to_owned(),
            Self::Several => format!("events.{index}.{name}"),
        }
    }

    fn event(self, index: usize) -> String {
        match self {
            Self::One => "the body".to_owned(),
            Self::Several => format!("events.{index}"),
        }
    }
}

/// Reads and checks the body of a write.
pub(super) fn request(body: &Bytes) -> Result<Request, Refusal> {
    let not_json = |error: serde_json::Error| Refusal::malformed(format!("the body is not the expected JSON: {error}"));
    let several = match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'[') => serde_json::from_slice::<Several<'_>>(body).map_err(not_json)?,
        _ => {
            let mut fields: Fields<'_> = serde_json::from_slice(body).map_err(not_json)?;
            match fields.events.take() {
                None => {
                    let events = vec![fields.event(body, Shape::One, 0)?];
                    return Ok(Request { events, shape: Shape::One });
                }
                Some(events) => {
                    fields.refuse_any("does not go with events")?;
                    let not_events = |_| Refusal::invalid("events", "must be an array of events");
                    serde_json::from_str(events.get()).map_err(not_events)?
                }
            }
        }
    };
    let shape = Shape::Several;
    if several.has_more {
        return Err(Refusal::too_many_events());
    }
    if several.events.is_empty() {
        return Err(Refusal::invalid("events", "must not be empty"));
    }
    let event = |(index, raw): (usize, &&RawValue)| {
        let fields: Fields<'_> = serde_json::from_str(raw.get())
            .map_err(|_| Refusal::invalid(shape.event(index), "must be an object with the fields of an event"))?;
        fields.event(body, shape, index)
    };
    let events = several.events.iter().enumerate().map(event).collect::<Result<_, _>>()?;
    Ok(Request { events, shape })
}

/// The values of an event's fields, not yet read, and the first thing that is wrong with its names.
#[derive(Default)]
struct Fields<'a> {
    id: Option<&'a RawValue>,
    kind: Option<&'a RawValue>,
    task_id: Option<&'a RawValue>,
    execution_id: Option<&'a RawValue>,
    producer: Option<&'a RawValue>,
    created_at: Option<&'a RawValue>,
    schema_version: Option<&'a RawValue>,
    payload: Option<&'a RawValue>,
    events: Option<&'a RawValue>,
    wrong_name: Option<(String, &'static str)>,
}

impl<'a> Fields<'a> {
    fn slot(&mut self, name: &str) -> Option<&mut Option<&'a RawValue>> {
        Some(match name {
            "id" => &mut self.id,
            "type" => &mut self.kind,
            "task_id" => &mut self.task_id,
            "execution_id" => &mut self.execution_id,
            "producer" => &mut self.producer,
            "created_at" => &mut self.created_at,
            "schema_version" => &mut self.schema_version,
            "payload" => &mut self.payload,
            "events" => &mut self.events,
            _ => return None,
        })
    }

    fn put(&mut self, name: &str, value: &'a RawValue) {
        let wrong = match self.slot(name) {
            None => "is not a field of an event",
            Some(slot) => match slot.replace(value) {
                None => return,
                Some(_) => "is given twice",
            },
        };
        let shown = || name.chars().take(NAME_CHARS).collect();
        self.wrong_name.get_or_insert_with(|| (shown(), wrong));
    }

    /// Refuses every field that stands beside `events`.
    fn refuse_any(mut self, detail: &str) -> Result<(), Refusal> {
        if let Some((name, wrong)) = self.wrong_name.take() {
            return Err(Refusal::invalid(name, wrong));
        }
        let names = ["id", "type", "task_id", "execution_id", "producer", "created_at", "schema_version", "payload"];
        match names.into_iter().find(|name| self.slot(name).is_some_and(|slot| slot.is_some())) {
            Some(name) => Err(Refusal::invalid(name, detail)),
            None => Ok(()),
        }
    }

    fn event(self, body: &Bytes, shape: Shape, index: usize) -> Result<NewEvent, Refusal> {
        let at = |name: &str| shape.field(index, name);
        if let Some((name, wrong)) = self.wrong_name {
            return Err(Refusal::invalid(at(&name), wrong));
        }
        if self.events.is_some() {
            return Err(Refusal::invalid(at("events"), "is not a field of an event"));
        }
        let kind = text(self.kind, at("type"))?;
        check_kind(&kind, at("type"))?;
        let producer = text(self.producer, at("producer"))?;
        check_producer(&producer, at("producer"))?;
        let time = "must be a time such as 2026-11-21T05:00:00Z (RFC 3339)";
        let created_at: DateTime<Utc> = required(self.created_at, at("created_at"), time)?;
        let version = "must be a whole number from 0 to 65535";
        let payload = present(self.payload, at("payload"))?;
        check_payload(payload.get(), at("payload"))?;
        Ok(NewEvent {
            id: id(present(self.id, at("id"))?, at("id"))?,
            kind: kind.into_owned(),
            task_id: optional_id::<TaskId>(self.task_id, at("task_id"))?,
            execution_id: optional_id::<ExecutionId>(self.execution_id, at("execution_id"))?,
            producer: producer.into_owned(),
            created_at: created_at.trunc_subsecs(6),
            schema_version: required(self.schema_version, at("schema_version"), version)?,
            payload: Payload::within(body, payload.get()),
        })
    }
}

fn present(value: Option<&RawValue>, field: String) -> Result<&RawValue, Refusal> {
    value.ok_or_else(|| Refusal::invalid(field, "is missing"))
}

fn required<T: DeserializeOwned>(value: Option<&RawValue>, field: String, expected: &str) -> Result<T, Refusal> {
    let value = present(value, field.clone())?;
    serde_json::from_str(value.get()).map_err(|_| Refusal::invalid(field, expected))
}

fn text<'a>(value: Option<&'a RawValue>, field: String) -> Result<Cow<'a, str>, Refusal> {
    string(present(value, field.clone())?).ok_or_else(|| Refusal::invalid(field, "must be a string"))
}

fn string(value: &RawValue) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_str(value.get()).ok().map(|Text(text)| text)
}

fn optional_id<I: std::str::FromStr>(value: Option<&RawValue>, field: String) -> Result<Option<I>, Refusal> {
    match value {
        None => Ok(None),
        Some(value) if value.get() == "null" => Ok(None),
        Some(value) => id(value, field).map(Some),
    }
}

fn id<I: std::str::FromStr>(value: &RawValue, field: String) -> Result<I, Refusal> {
    let id = string(value).and_then(|text| text.parse().ok());
    id.ok_or_else(|| Refusal::invalid(field, "must be a UUID such as 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70"))
}

/// Whether the text can be the type of an event.
pub(super) fn check_kind(kind: &str, field: String) -> Result<(), Refusal> {
    let allowed = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-');
    if (1..=NAME_CHARS).contains(&kind.len()) && kind.bytes().all(allowed) {
        return Ok(());
    }
    Err(Refusal::invalid(field, "must be 1 to 200 characters of a-z, 0-9, _, . and -"))
}

fn check_producer(producer: &str, field: String) -> Result<(), Refusal> {
    // Counting stops at the bound, however long the text is.
    let length = producer.chars().take(NAME_CHARS + 1).count();
    if (1..=NAME_CHARS).contains(&length) && !producer.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Refusal::invalid(field, "must be 1 to 200 characters without control characters"))
}

fn check_payload(payload: &str, field: String) -> Result<(), Refusal> {
    if payload.len() > PAYLOAD_BYTES {
        return Err(Refusal::invalid(field, "must have at most 1 MiB"));
    }
    if depth(payload) > PAYLOAD_DEPTH {
        return Err(Refusal::invalid(field, "must not be nested deeper than 64"));
    }
    Ok(())
}

/// How deep objects and arrays are nested in a JSON text.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut in_string) = (0_usize, 0, false);
    let mut bytes = json.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' if in_string => drop(bytes.next()),
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => (),
        }
    }
    deepest
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;
        #[derive(Deserialize)]
        struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an event, an array of events, or an object with events")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Fields::default();
                while let Some((Name(name), value)) = map.next_entry()? {
                    fields.put(&name, value);
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(FieldsVisitor)
    }
}

/// The first events of an array, not yet read. What is beyond the bound is only noticed, so
/// that an array of millions of nothings takes no memory.
struct Several<'a> {
    events: Vec<&'a RawValue>,
    has_more: bool,
}

impl<'de: 'a, 'a> Deserialize<'de> for Several<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SeveralVisitor;
        impl<'de> Visitor<'de> for SeveralVisitor {
            type Value = Several<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of events")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Several<'de>, A::Error> {
                let mut several = Several { events: Vec::new(), has_more: false };
                while several.events.len() < EVENTS_PER_BATCH {
                    match array.next_element()? {
                        Some(event) => several.events.push(event),
                        None => return Ok(several),
                    }
                }
                while array.next_element::<IgnoredAny>()?.is_some() {
                    several.has_more = true;
                }
                Ok(several)
            }
        }
        deserializer.deserialize_seq(SeveralVisitor)
    }
}

#[cfg(test)]
mod tests;
