//! Request bodies into checked events. Pure; nothing larger than the body is
//! ever built, and payloads stay where they are in it.
//!
//! A JSON body is one event, an array of events, or `{"events": […]}`. A body of
//! newline-delimited JSON has one event on each line; blank lines are nothing.
//! In both, `events.3` is the fourth event.
//!
//! The envelope is strict: an unknown or repeated field, a type or producer with
//! control characters, or a number out of range is refused. A payload is the
//! producer's own: any JSON, returned byte for byte, with `\u0000`, repeated keys
//! and numbers of any size in it. Three things are refused in a payload, since
//! readers fail on them: more than 1 MiB, nesting deeper than 64, and half of a
//! surrogate pair.

mod fields;
mod payload;

use axum::http::{HeaderMap, header};
use bytes::Bytes;
use serde::de::DeserializeSeed;
use wire::limit::EVENTS_PER_BATCH;

use super::problem::Refusal;
use crate::log::NewEvent;
use fields::{Found, Place, Several};

pub(super) use fields::check_kind;

/// How the events stand in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Lines,
}

impl Format {
    /// What `content-type` says; without one, JSON.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(Self::Json) };
        let value = value.to_str().unwrap_or_default();
        let kind = value.split_once(';').map_or(value, |(kind, _parameters)| kind).trim();
        let is = |kinds: &[&str]| kinds.iter().any(|known| kind.eq_ignore_ascii_case(known));
        if is(&["application/json", "text/json"]) {
            Ok(Self::Json)
        } else if is(&["application/x-ndjson", "application/ndjson"]) {
            Ok(Self::Lines)
        } else {
            Err(Refusal::unknown_type())
        }
    }
}

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
            Self::Several => format!("{}.{name}", event(index)),
        }
    }
}

/// The path of one of several events.
fn event(index: usize) -> String {
    format!("events.{index}")
}

/// Reads and checks the body of a write.
pub(super) fn request(format: Format, body: &Bytes) -> Result<Request, Refusal> {
    let text = utf8(body)?;
    let several = match format {
        Format::Lines => lines(text)?,
        Format::Json => match json(text)? {
            Found::Several(several) => several,
            Found::Fields(mut fields) => match fields.events.take() {
                None => {
                    let events = vec![fields.event(body, Shape::One, 0)?];
                    return Ok(Request { events, shape: Shape::One });
                }
                Some(events) => {
                    fields.refuse_any("does not go with events")?;
                    let Found::Several(several) = *events else {
                        return Err(Refusal::invalid("events", "must be an array of events"));
                    };
                    several
                }
            },
            Found::Other => {
                let expected = "expected an event, an array of events, or an object with events";
                return Err(Refusal::malformed(format!("the body is not the expected JSON: {expected}")));
            }
        },
    };
    let events = checked(several, body)?;
    Ok(Request { events, shape: Shape::Several })
}

fn utf8(body: &[u8]) -> Result<&str, Refusal> {
    let text = str::from_utf8(body).map_err(|error| {
        let place = error.valid_up_to();
        Refusal::malformed(format!(
            "the body is not UTF-8 at byte {place}; encode bytes that are no text, as in base64"
        ))
    })?;
    if text.starts_with('\u{feff}') {
        return Err(Refusal::malformed("the body begins with a byte order mark; leave it out"));
    }
    Ok(text)
}

fn json(text: &str) -> Result<Found<'_>, Refusal> {
    read(Place::Body, text).map_err(|error| Refusal::malformed(format!("the body is not the expected JSON: {error}")))
}

fn lines(text: &str) -> Result<Several<'_>, Refusal> {
    let mut several = Several::default();
    for line in text.split('\n').filter(|line| !line.trim_ascii().is_empty()) {
        let index = several.events.len();
        if index == EVENTS_PER_BATCH {
            return Err(Refusal::too_many_events());
        }
        let found = read(Place::Event, line).map_err(|error| {
            let event = event(index);
            let detail = format!("{event} is not JSON on one line, counted from its own beginning: {error}");
            Refusal::malformed(detail).at(event)
        })?;
        several.events.push(found);
    }
    Ok(several)
}

fn read(place: Place, text: &str) -> serde_json::Result<Found<'_>> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let found = place.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(found)
}

fn checked(several: Several<'_>, body: &Bytes) -> Result<Vec<NewEvent>, Refusal> {
    if several.has_more {
        return Err(Refusal::too_many_events());
    }
    if several.events.is_empty() {
        return Err(Refusal::invalid("events", "must not be empty"));
    }
    let check = |(index, found)| match found {
        Found::Fields(fields) => fields.event(body, Shape::Several, index),
        Found::Several(_) | Found::Other => {
            Err(Refusal::invalid(event(index), "must be an object with the fields of an event"))
        }
    };
    several.events.into_iter().enumerate().map(check).collect()
}

#[cfg(test)]
mod tests;
