//! One value of one column, in the types that both databases have.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::types::{Json, Uuid};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Uuid,
    Time,
    Text,
    Int2,
    Int4,
    Int8,
    Bool,
    Json,
    Bytes,
    Float,
}

impl Kind {
    /// By the name of the type, Postgres' or, for a table of SQLite alone, as declared there.
    pub(super) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "uuid" => Self::Uuid,
            "timestamptz" => Self::Time,
            "text" | "varchar" | "TEXT" => Self::Text,
            "int2" => Self::Int2,
            "int4" => Self::Int4,
            "int8" | "INTEGER" => Self::Int8,
            "bool" => Self::Bool,
            "jsonb" | "json" => Self::Json,
            "bytea" | "BLOB" => Self::Bytes,
            "float8" | "REAL" => Self::Float,
            _ => return None,
        })
    }
}

/// A value, typed also where it is null.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    Uuid(Option<Uuid>),
    Time(Option<DateTime<Utc>>),
    Text(Option<String>),
    Int2(Option<i16>),
    Int4(Option<i32>),
    Int8(Option<i64>),
    Bool(Option<bool>),
    Json(Option<Json<Value>>),
    Bytes(Option<Vec<u8>>),
    Float(Option<f64>),
}

/// Reads a column of a row of either database.
macro_rules! read {
    ($row:expr, $index:expr, $kind:expr) => {
        match $kind {
            Kind::Uuid => $row.try_get_unchecked($index).map(Cell::Uuid),
            Kind::Time => $row.try_get_unchecked($index).map(Cell::Time),
            Kind::Text => $row.try_get_unchecked($index).map(Cell::Text),
            Kind::Int2 => $row.try_get_unchecked($index).map(Cell::Int2),
            Kind::Int4 => $row.try_get_unchecked($index).map(Cell::Int4),
            Kind::Int8 => $row.try_get_unchecked($index).map(Cell::Int8),
            Kind::Bool => $row.try_get_unchecked($index).map(Cell::Bool),
            Kind::Json => $row.try_get_unchecked($index).map(Cell::Json),
            Kind::Bytes => $row.try_get_unchecked($index).map(Cell::Bytes),
            Kind::Float => $row.try_get_unchecked($index).map(Cell::Float),
        }
    };
}

/// Binds a value to a statement of either database.
macro_rules! bind {
    ($query:expr, $cell:expr) => {
        match $cell {
            Cell::Uuid(value) => $query.bind(value),
            Cell::Time(value) => $query.bind(value),
            Cell::Text(value) => $query.bind(value),
            Cell::Int2(value) => $query.bind(value),
            Cell::Int4(value) => $query.bind(value),
            Cell::Int8(value) => $query.bind(value),
            Cell::Bool(value) => $query.bind(value),
            Cell::Json(value) => $query.bind(value),
            Cell::Bytes(value) => $query.bind(value),
            Cell::Float(value) => $query.bind(value),
        }
    };
}

pub(super) use {bind, read};

impl Cell {
    /// Adds the value to a row's digest: the same for the same value, whichever database it is from.
    pub(super) fn digest(&self, digest: &mut Sha256) {
        match self {
            Self::Uuid(value) => part(digest, value.as_ref().map(|id| id.as_bytes().as_slice())),
            Self::Time(value) => part(digest, value.map(|time| time.timestamp_micros().to_be_bytes())),
            Self::Text(value) => part(digest, value.as_deref()),
            Self::Int2(value) => part(digest, value.map(|number| i64::from(number).to_be_bytes())),
            Self::Int4(value) => part(digest, value.map(|number| i64::from(number).to_be_bytes())),
            Self::Int8(value) => part(digest, value.map(i64::to_be_bytes)),
            Self::Bool(value) => part(digest, value.map(|answer| [u8::from(answer)])),
            Self::Json(value) => part(digest, value.as_ref().map(|Json(value)| canonical(value))),
            Self::Bytes(value) => part(digest, value.as_deref()),
            Self::Float(value) => part(digest, value.map(|number| number.to_bits().to_be_bytes())),
        }
    }
}

fn part(digest: &mut Sha256, value: Option<impl AsRef<[u8]>>) {
    match value {
        None => digest.update([0]),
        Some(value) => {
            let bytes = value.as_ref();
            digest.update([1]);
            digest.update((bytes.len() as u64).to_be_bytes());
            digest.update(bytes);
        }
    }
}

/// JSON as text that does not depend on the order of keys or on how a number was written: Postgres keeps neither.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(key, _)| *key);
            let members = members.into_iter().map(|(key, value)| format!("{key:?}:{}", canonical(value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(number), ..) => number.to_string(),
            (_, Some(number), _) => number.to_string(),
            // Postgres knows no negative zero.
            (_, _, Some(number)) => format!("{}", if number == 0.0 { 0.0 } else { number }),
            (None, None, None) => number.to_string(),
        },
        Value::String(text) => format!("{text:?}"),
        Value::Bool(_) | Value::Null => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_is_the_same_however_it_was_written() {
        let same = |one: &str, other: &str| {
            let parse = |text| serde_json::from_str::<Value>(text).expect("is JSON");
            canonical(&parse(one)) == canonical(&parse(other))
        };
        assert!(same(r#"{"b": 1.0, "a": [1e2, "x", -0.0]}"#, r#"{"a": [100, "x", 0], "b": 1}"#));
        for (one, other) in [("1", "\"1\""), ("1", "2"), ("[1, 2]", "[2, 1]"), ("null", "false"), ("{}", "[]")] {
            assert!(!same(one, other), "{one} {other}");
        }
    }

    #[test]
    fn nothing_is_not_the_same_as_empty_and_parts_do_not_run_together() {
        let sum = |cells: &[Cell]| {
            let mut digest = Sha256::new();
            cells.iter().for_each(|cell| cell.digest(&mut digest));
            digest.finalize().to_vec()
        };
        let text = |text: &str| Cell::Text(Some(text.into()));
        assert_ne!(sum(&[Cell::Text(None)]), sum(&[text("")]));
        assert_ne!(sum(&[text("a"), text("b")]), sum(&[text("ab"), text("")]));
        assert_eq!(sum(&[Cell::Int2(Some(1))]), sum(&[Cell::Int8(Some(1))]));
        assert_eq!(sum(&[Cell::Json(Some(Json(json!(1.0))))]), sum(&[Cell::Json(Some(Json(json!(1))))]));
    }
}
