//! The fields of an event: found in one pass over the JSON, then checked.
//!
//! A value stays a slice of the body until its field is read, so that whatever
//! it is, the refusal can name the field.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use memchr::memchr;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use wire::limit::EVENTS_PER_BATCH;

use super::Shape;
use super::payload::check_payload;
use crate::http::problem::Refusal;
use crate::log::{NewEvent, Payload};

/// The longest type and the longest producer, in characters.
const NAME_CHARS: usize = 200;

/// The values of an event's fields, not yet read, and the first thing that is wrong with its names.
#[derive(Default)]
pub(super) struct Fields<'a> {
    id: Option<&'a RawValue>,
    kind: Option<&'a RawValue>,
    task_id: Option<&'a RawValue>,
    execution_id: Option<&'a RawValue>,
    producer: Option<&'a RawValue>,
    created_at: Option<&'a RawValue>,
    schema_version: Option<&'a RawValue>,
    payload: Option<&'a RawValue>,
    /// No field of an event, but of the object that may stand around events.
    pub(super) events: Option<Box<Found<'a>>>,
    wrong_name: Option<Box<Wrong>>,
}

/// A field of an event and what is wrong with it. Good events pay nothing for it.
struct Wrong {
    name: Cow<'static, str>,
    detail: &'static str,
}

impl<'a> Fields<'a> {
    /// Reads and checks every field; the payload becomes a part of `body`.
    pub(super) fn event(self, body: &Bytes, shape: Shape, index: usize) -> Result<NewEvent, Refusal> {
        self.checked(body).map_err(|wrong| Refusal::invalid(shape.field(index, &wrong.name), wrong.detail))
    }

    fn checked(self, body: &Bytes) -> Result<NewEvent, Wrong> {
        if let Some(wrong) = self.wrong_name {
            return Err(*wrong);
        }
        if self.events.is_some() {
            return Err(Wrong { name: "events".into(), detail: "is not a field of an event" });
        }
        let kind = of("type", required(self.kind).and_then(text).and_then(kind))?;
        let producer = of("producer", required(self.producer).and_then(text).and_then(producer))?;
        let created_at = of("created_at", required(self.created_at).and_then(time))?;
        let payload = of("payload", required(self.payload).and_then(|value| check_payload(value.get())))?;
        Ok(NewEvent {
            id: of("id", required(self.id).and_then(id))?,
            kind,
            task_id: of("task_id", optional_id(self.task_id))?,
            execution_id: of("execution_id", optional_id(self.execution_id))?,
            producer,
            created_at,
            schema_version: of("schema_version", required(self.schema_version).and_then(version))?,
            payload: Payload::within(body, payload),
        })
    }

    /// Refuses every field that stands beside `events`.
    pub(super) fn refuse_any(mut self, detail: &'static str) -> Result<(), Refusal> {
        if let Some(wrong) = self.wrong_name.take() {
            return Err(Refusal::invalid(wrong.name, wrong.detail));
        }
        let names = ["id", "type", "task_id", "execution_id", "producer", "created_at", "schema_version", "payload"];
        match names.into_iter().find(|name| self.slot(name).is_some_and(|slot| slot.is_some())) {
            Some(name) => Err(Refusal::invalid(name, detail)),
            None => Ok(()),
        }
    }

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
            _ => return None,
        })
    }

    fn put(&mut self, name: &str, value: &'a RawValue) {
        match self.slot(name) {
            None => self.wrong(name, "is not a field of an event"),
            Some(slot) => {
                if slot.replace(value).is_some() {
                    self.wrong(name, "is given twice");
                }
            }
        }
    }

    fn put_events(&mut self, found: Found<'a>) {
        if self.events.replace(Box::new(found)).is_some() {
            self.wrong("events", "is given twice");
        }
    }

    fn wrong(&mut self, name: &str, detail: &'static str) {
        let shown = || name.chars().take(NAME_CHARS).collect::<String>().into();
        self.wrong_name.get_or_insert_with(|| Box::new(Wrong { name: shown(), detail }));
    }
}

/// The value, or what is wrong with the field of this name.
fn of<T>(name: &'static str, value: Result<T, &'static str>) -> Result<T, Wrong> {
    value.map_err(|detail| Wrong { name: name.into(), detail })
}

fn required(value: Option<&RawValue>) -> Result<&RawValue, &'static str> {
    value.ok_or("is missing")
}

fn text(value: &RawValue) -> Result<Cow<'_, str>, &'static str> {
    string(value).ok_or("must be a string")
}

fn string(value: &RawValue) -> Option<Cow<'_, str>> {
    let quoted = value.get();
    match quoted.strip_prefix('"')?.strip_suffix('"') {
        // What holds no escape stands for itself.
        Some(plain) if memchr(b'\\', plain.as_bytes()).is_none() => Some(Cow::Borrowed(plain)),
        _ => serde_json::from_str(quoted).ok().map(Cow::Owned),
    }
}

fn kind(kind: Cow<'_, str>) -> Result<String, &'static str> {
    check_kind(&kind)?;
    Ok(kind.into_owned())
}

/// What is wrong with the text as the type of an event.
pub(in crate::http) fn check_kind(kind: &str) -> Result<(), &'static str> {
    let allowed = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-');
    if (1..=NAME_CHARS).contains(&kind.len()) && kind.bytes().all(allowed) {
        return Ok(());
    }
    Err("must be 1 to 200 characters of a-z, 0-9, _, . and -")
}

fn producer(producer: Cow<'_, str>) -> Result<String, &'static str> {
    // Counting stops at the bound, however long the text is.
    let is_long = producer.len() > NAME_CHARS && producer.chars().nth(NAME_CHARS).is_some();
    if producer.is_empty() || is_long || producer.chars().any(char::is_control) {
        return Err("must be 1 to 200 characters without control characters");
    }
    Ok(producer.into_owned())
}

fn time(value: &RawValue) -> Result<DateTime<Utc>, &'static str> {
    let time: Option<DateTime<Utc>> = string(value).and_then(|text| text.parse().ok());
    // Through the form that is stored, which has no leap seconds: a retry must equal what was read back.
    let stored = time.and_then(|time| DateTime::from_timestamp_micros(time.timestamp_micros()));
    stored.ok_or("must be a time such as 2026-11-21T05:00:00Z (RFC 3339)")
}

fn version(value: &RawValue) -> Result<u16, &'static str> {
    value.get().parse().map_err(|_| "must be a whole number from 0 to 65535")
}

fn optional_id<I: FromStr>(value: Option<&RawValue>) -> Result<Option<I>, &'static str> {
    match value {
        None => Ok(None),
        Some(value) if value.get() == "null" => Ok(None),
        Some(value) => id(value).map(Some),
    }
}

fn id<I: FromStr>(value: &RawValue) -> Result<I, &'static str> {
    let id = string(value).and_then(|text| text.parse().ok());
    id.ok_or("must be a UUID such as 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70")
}

/// What stands at a place in the body.
pub(super) enum Found<'a> {
    Fields(Fields<'a>),
    Several(Several<'a>),
    /// Nothing that may stand there.
    Other,
}

/// The first events of an array. What is beyond the bound is only noticed, so that an array
/// of millions of nothings takes no memory.
#[derive(Default)]
pub(super) struct Several<'a> {
    pub(super) events: Vec<Found<'a>>,
    pub(super) has_more: bool,
}

/// A place in the body, which says what may stand there. Whatever stands there is read to its
/// end, so that JSON of the wrong shape is told from what is no JSON.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// An event, an array of events, or an object with `events`.
    Body,
    /// The array in `events`.
    Events,
    /// One event.
    Event,
}

impl<'de> DeserializeSeed<'de> for Place {
    type Value = Found<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place {
    type Value = Found<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found<'de>, A::Error> {
        #[derive(Deserialize)]
        struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
        if self == Self::Events {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(Found::Other);
        }
        let mut fields = Fields::default();
        while let Some(Name(name)) = map.next_key()? {
            if name != "events" {
                fields.put(&name, map.next_value()?);
            } else if self == Self::Body {
                fields.put_events(map.next_value_seed(Self::Events)?);
            } else {
                map.next_value::<IgnoredAny>()?;
                fields.put_events(Found::Other);
            }
        }
        Ok(Found::Fields(fields))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Found<'de>, A::Error> {
        let mut several = Several::default();
        while self != Self::Event && several.events.len() < EVENTS_PER_BATCH {
            match array.next_element_seed(Self::Event)? {
                Some(event) => several.events.push(event),
                None => return Ok(Found::Several(several)),
            }
        }
        while array.next_element::<IgnoredAny>()?.is_some() {
            several.has_more = true;
        }
        Ok(if self == Self::Event { Found::Other } else { Found::Several(several) })
    }

    fn visit_bool<E>(self, _: bool) -> Result<Found<'de>, E> {
        Ok(Found::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Found<'de>, E> {
        Ok(Found::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Found<'de>, E> {
        Ok(Found::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Found<'de>, E> {
        Ok(Found::Other)
    }

    fn visit_str<E>(self, _: &str) -> Result<Found<'de>, E> {
        Ok(Found::Other)
    }

    fn visit_unit<E>(self) -> Result<Found<'de>, E> {
        Ok(Found::Other)
    }
}
