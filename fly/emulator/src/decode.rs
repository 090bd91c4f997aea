//! Pure: JSON as it is decoded, and what is wrong with it, told as Fly's decoder does: by
//! the field and what is wanted there. How this program spells its types is nobody's
//! business.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::refusal::Refusal;

/// Decodes a body.
pub(crate) fn body<T: DeserializeOwned>(json: &[u8]) -> Result<T, Refusal> {
    let mut from = serde_json::Deserializer::from_slice(json);
    let decoded = serde_path_to_error::deserialize(&mut from).map_err(|error| {
        let (field, error) = (field_of(error.path(), ""), error.into_inner());
        if error.is_data() { refusal(&field, &error.to_string()) } else { no_json(json, &error) }
    })?;
    from.end().map_err(|error| no_json(json, &error))?;
    Ok(decoded)
}

/// Decodes what was found in a field.
pub(crate) fn value<T: DeserializeOwned>(field: &str, value: Value) -> Result<T, Refusal> {
    serde_path_to_error::deserialize(value)
        .map_err(|error| refusal(&field_of(error.path(), field), &error.inner().to_string()))
}

/// What is wrong with a query that this is said about.
pub(crate) fn query(said: &str) -> Refusal {
    let said = said.rsplit("query string: ").next().unwrap_or(said);
    let (field, said) = said.split_once(": ").unwrap_or(("the query", said));
    let wanted = match said {
        _ if said.contains("`true` or `false`") => "must be true or false",
        _ if said.contains("digit") || said.contains("empty string") || said.contains("number too ") => {
            "must be a whole number"
        }
        said => said,
    };
    Refusal::invalid_argument(format!("{field}: {wanted}"))
}

fn no_json(json: &[u8], error: &serde_json::Error) -> Refusal {
    if error.is_eof() {
        return Refusal::malformed("json: unexpected end of JSON input");
    }
    let (line, column) = (error.line(), error.column());
    let text = String::from_utf8_lossy(json);
    let at = text.lines().nth(line.saturating_sub(1)).and_then(|line| line.chars().nth(column.saturating_sub(1)));
    let found = at.map_or_else(String::new, |found| format!(" {found:?}"));
    Refusal::malformed(format!("json: invalid character{found} at line {line}, column {column}"))
}

/// The name of a field, below the one in which it was looked for; empty where it is the whole.
fn field_of(path: &serde_path_to_error::Path, outer: &str) -> String {
    let inner = path.to_string();
    let inner = inner.trim_end_matches(".?");
    match (outer, inner) {
        (outer, "." | "?") => outer.to_owned(),
        ("", inner) => inner.to_owned(),
        (outer, inner) if inner.starts_with('[') => format!("{outer}{inner}"),
        (outer, inner) => format!("{outer}.{inner}"),
    }
}

/// From what the decoder says to what Fly's would.
fn refusal(field: &str, said: &str) -> Refusal {
    let said = said.rsplit_once(" at line ").map_or(said, |(said, _)| said);
    let place = if field.is_empty() { "the body" } else { field };
    if let Some(name) = said.strip_prefix("missing field ") {
        let dot = if field.is_empty() { "" } else { "." };
        return Refusal::invalid_argument(format!("{field}{dot}{} is required", name.replace('`', "")));
    }
    if let Some((word, known)) = said.strip_prefix("unknown variant ").and_then(|rest| rest.split_once(", expected ")) {
        let (word, known) = (word.trim_matches('`'), known.trim_start_matches("one of ").replace('`', ""));
        return Refusal::invalid_argument(format!("{place}: {word:?} is none of {}", known.replace(" or ", ", ")));
    }
    let wrong = said.strip_prefix("invalid type: ").or_else(|| said.strip_prefix("invalid value: "));
    match wrong.and_then(|rest| rest.rsplit_once(", expected ")) {
        Some((found, wanted)) => {
            let (found, wanted) = (found_as(found), wanted_as(wanted));
            Refusal::malformed(format!("json: cannot unmarshal {found} into {place} of type {wanted}"))
        }
        None => Refusal::invalid_argument(format!("{place}: {said}")),
    }
}

/// A value, by what JSON calls it.
fn found_as(found: &str) -> String {
    match found.split_once(' ').unwrap_or((found, "")) {
        ("integer" | "floating", number) => {
            format!("number {}", number.trim_start_matches("point ").trim_matches('`'))
        }
        ("boolean", _) => "bool".into(),
        ("sequence", _) => "array".into(),
        ("map", _) => "object".into(),
        (kind, _) => kind.into(),
    }
}

/// A type, by what the Machines API's decoder calls it.
fn wanted_as(wanted: &str) -> &str {
    match wanted {
        "i8" | "i16" | "i32" | "i64" | "isize" => "int",
        "u8" | "u16" | "u32" | "u64" | "usize" => "uint",
        "f32" | "f64" => "float64",
        "a boolean" => "bool",
        "a string" | "string" => "string",
        "a sequence" => "[]",
        "a map" => "map",
        wanted if wanted.starts_with("struct ") => "map",
        wanted if wanted.starts_with("enum ") => "string",
        wanted => wanted,
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only ever decoded")]
    struct Whole {
        name: String,
        parts: Vec<Part>,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only ever decoded")]
    struct Part {
        size: u32,
        kind: Option<Kind>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        Large,
        Small,
    }

    #[test]
    fn what_is_wrong_is_told_by_its_field_and_without_this_programs_types() {
        for (text, said) in [
            ("{", "json: unexpected end of JSON input"),
            ("{\n  name: 7}", "json: invalid character 'n' at line 2, column 3"),
            ("{} x", "invalid_argument: name is required"),
            (r#"{"name": "n", "parts": []} x"#, "json: invalid character 'x' at line 1, column 28"),
            ("7", "json: cannot unmarshal number 7 into the body of type map"),
            (r#"{"name": 7}"#, "json: cannot unmarshal number 7 into name of type string"),
            (r#"{"name": "n", "parts": "x"}"#, "json: cannot unmarshal string into parts of type []"),
            (r#"{"name": "n", "parts": ["x"]}"#, "json: cannot unmarshal string into parts[0] of type map"),
            (r#"{"name": "n", "parts": [{}]}"#, "invalid_argument: parts[0].size is required"),
            (
                r#"{"name": "n", "parts": [{"size": -1}]}"#,
                "json: cannot unmarshal number -1 into parts[0].size of type uint",
            ),
            (
                r#"{"name": "n", "parts": [{"size": 1.5}]}"#,
                "json: cannot unmarshal number 1.5 into parts[0].size of type uint",
            ),
            (
                r#"{"name": "n", "parts": [{"size": 1, "kind": "odd"}]}"#,
                "invalid_argument: parts[0].kind: \"odd\" is none of large, small",
            ),
        ] {
            let refusal = body::<Whole>(text.as_bytes()).expect_err(text);
            assert_eq!((refusal.status, refusal.error.as_str()), (400, said), "{text}");
        }
        for (said, told) in [
            (
                "Failed to deserialize query string: limit: invalid digit found in string",
                "limit: must be a whole number",
            ),
            (
                "Failed to deserialize query string: all: provided string was not `true` or `false`",
                "all: must be true or false",
            ),
        ] {
            assert_eq!(query(said).error, format!("invalid_argument: {told}"));
        }
        let inner = value::<Whole>("config", json!({ "name": "n", "parts": [{ "size": true }] })).expect_err("wrong");
        assert_eq!(inner.error, "json: cannot unmarshal bool into config.parts[0].size of type uint");
        let inner = value::<Vec<Part>>("config.parts", json!(["x"])).expect_err("wrong");
        assert_eq!(inner.error, "json: cannot unmarshal string into config.parts[0] of type map");
    }
}
