//! What serde says against a text that was sent, as the field at fault and words for people (pure).

use serde_json::Value;

/// What times look like.
const TIME: &str = "must be a time such as 2026-01-31T12:00:00Z (RFC 3339)";
/// What chrono says of a text that is none.
const NO_TIME: [&str; 6] = [
    "input is out of range",
    "no possible date and time matching input",
    "input is not enough for unique date and time",
    "input contains invalid characters",
    "premature end of input",
    "trailing input",
];
/// What the standard library says of a text that is no number that fits.
const NO_NUMBER: [&str; 4] = [
    "invalid digit found in string",
    "cannot parse integer from empty string",
    "number too large to fit in target type",
    "number too small to fit in target type",
];

/// What is wrong.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Complaint {
    /// Where, as `tasks[1].title`; none where it is not of one field.
    pub(crate) field: Option<String>,
    /// What.
    pub(crate) message: String,
}

impl Complaint {
    /// Of a path as `serde_path_to_error` gives it, and what was said of it.
    pub(super) fn new(path: &str, said: &str) -> Self {
        // The path of the document itself is a dot, and one that is not known a question mark.
        let field = Some(path.trim_end_matches(".?")).filter(|path| !matches!(*path, "." | "?" | ""));
        let (field, message) = match quoted(said, "missing field ") {
            Some(missing) => (Some(join(field, missing)), "is missing, and has to be there".to_owned()),
            None => (field.map(str::to_owned), in_words(said)),
        };
        Self { field, message }
    }

    /// That a list stands where an object has to.
    pub(super) fn list(field: String) -> Self {
        Self { field: Some(field).filter(|field| !field.is_empty()), message: "must be an object, not a list".into() }
    }

    /// As one sentence that begins with the field, or with what it is all about.
    pub(crate) fn sentence(&self, whole: &str) -> String {
        format!("{}: {}", self.field.as_deref().unwrap_or(whole), self.message)
    }

    /// The same of a part of something larger.
    pub(super) fn within(self, whole: &str) -> Self {
        Self { field: Some(join(Some(whole), self.field.as_deref().unwrap_or_default())), ..self }
    }
}

fn join(outer: Option<&str>, inner: &str) -> String {
    match outer {
        Some(outer) if inner.is_empty() || inner.starts_with('[') => format!("{outer}{inner}"),
        Some(outer) => format!("{outer}.{inner}"),
        None => inner.to_owned(),
    }
}

/// What stands between backquotes after these words.
fn quoted<'a>(said: &'a str, words: &str) -> Option<&'a str> {
    said.strip_prefix(words)?.strip_prefix('`')?.split('`').next()
}

fn in_words(said: &str) -> String {
    // Where in the text it stands says less than the field.
    let said = said.rsplit_once(" at line ").map_or(said, |(said, _)| said);
    if NO_TIME.contains(&said) {
        return TIME.into();
    }
    if NO_NUMBER.contains(&said) {
        return "must be a whole number".into();
    }
    if said == "provided string was not `true` or `false`" {
        return "must be true or false".into();
    }
    if said.starts_with("invalid length") && said.contains("expected struct") {
        return "must be an object, not a list".into();
    }
    if let Some(rest) = said.strip_prefix("unknown field ") {
        let known = rest.split_once(", expected ").map(|(_, known)| format!("; known here: {}", names(known)));
        return format!("is not known here{}", known.unwrap_or_default());
    }
    if let Some((name, known)) = said.strip_prefix("unknown variant ").and_then(|rest| rest.split_once(", expected ")) {
        return format!("must be one of {}, not {}", names(known), name.replace('`', ""));
    }
    match said.strip_prefix("invalid type: ").and_then(|rest| rest.rsplit_once(", expected ")) {
        Some((found, expected)) => format!("must be {}, not {}", thing(expected), thing(found)),
        None => said.to_owned(),
    }
}

/// As serde lists names: ``one of `a`, `b` ``.
fn names(listed: &str) -> String {
    listed.trim_start_matches("one of ").replace('`', "").replace(" or ", ", ")
}

/// What serde calls a thing, as the rest of the world does.
fn thing(name: &str) -> String {
    match name {
        "i8" | "i16" | "i32" | "i64" | "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number".into(),
        "map" | "a map" => "an object".into(),
        "sequence" | "a sequence" => "a list".into(),
        "unit" => "null".into(),
        name if name.starts_with("struct ") || name.starts_with("internally tagged enum ") => "an object".into(),
        name if name.starts_with("enum ") || name.contains("identifier") => "a word".into(),
        name => name.replace('`', ""),
    }
}

/// Where a list was sent for what is an object. Serde takes one for the other and reads the list's values as the
/// fields in their order, so that a change of ours would give them other meanings.
pub(super) fn list_for_object(sent: &Value, read: &Value) -> Option<String> {
    match (sent, read) {
        (Value::Array(_), Value::Object(_)) => Some(String::new()),
        (Value::Array(sent), Value::Array(read)) => {
            sent.iter().zip(read).enumerate().find_map(|(place, (sent, read))| {
                Some(join(Some(&format!("[{place}]")), &list_for_object(sent, read)?))
            })
        }
        (Value::Object(sent), Value::Object(read)) => {
            sent.iter().find_map(|(name, sent)| Some(join(Some(name), &list_for_object(sent, read.get(name)?)?)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_serde_says_is_told_with_the_field_and_in_words() {
        for (path, said, field, message) in [
            (".", "missing field `title` at line 1 column 2", Some("title"), "is missing, and has to be there"),
            ("tasks[1]", "missing field `title`", Some("tasks[1].title"), "is missing, and has to be there"),
            (
                "till",
                "unknown field `till`, expected one of `a`, `b` at line 1 column 9",
                Some("till"),
                "is not known here; known here: a, b",
            ),
            ("x", "unknown field `x`, there are no fields", Some("x"), "is not known here"),
            (
                "status",
                "unknown variant `done`, expected `ready` or `failed`",
                Some("status"),
                "must be one of ready, failed, not done",
            ),
            ("limit", "invalid digit found in string", Some("limit"), "must be a whole number"),
            ("blocked", "provided string was not `true` or `false`", Some("blocked"), "must be true or false"),
            ("not_before", "premature end of input at line 1 column 30", Some("not_before"), TIME),
            (
                "priority",
                "invalid type: string \"x\", expected i16 at line 1 column 30",
                Some("priority"),
                "must be a whole number, not string \"x\"",
            ),
            (
                "budget",
                "invalid type: integer `7`, expected struct NewTaskBudget at line 1 column 3",
                Some("budget"),
                "must be an object, not integer 7",
            ),
            (
                ".",
                "invalid length 0, expected struct NewTask with 10 elements at line 1 column 2",
                None,
                "must be an object, not a list",
            ),
            (".", "expected value", None, "expected value"),
        ] {
            let complaint = Complaint::new(path, said);
            assert_eq!((complaint.field.as_deref(), complaint.message.as_str()), (field, message), "{path} {said}");
        }
    }

    #[test]
    fn a_list_is_no_object_however_deep_it_stands() {
        let read = json!({ "subtasks": [{ "title": "a" }], "tags": ["x"] });
        for (sent, place) in [
            (json!({ "subtasks": [["a"]], "tags": ["x"] }), Some("subtasks[0]")),
            (json!({ "subtasks": [{ "title": "a" }], "tags": ["x"] }), None),
            (json!([[], ["x"]]), Some("")),
        ] {
            assert_eq!(list_for_object(&sent, &read).as_deref(), place, "{sent}");
        }
    }
}
