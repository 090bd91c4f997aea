//! Pure: requests held against Fly's OpenAPI document, and told what is wrong with
//! them as Fly's decoder does: wrong types are refused, `null` and unknown fields
//! are passed over, and a word outside a list is an invalid argument.

use std::sync::LazyLock;

use serde_json::Value;

use crate::refusal::Refusal;

/// The document, as Fly publishes it.
static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let text = include_str!("../../spec/machines-openapi.json");
    serde_json::from_str(text).expect("a test reads the same text")
});

/// Checks a body against what the document says of this route; `path` is the document's own name for it.
pub(crate) fn check_body(method: &str, path: &str, body: &Value) -> Result<(), Refusal> {
    let schema = &DOCUMENT["paths"][path][method]["requestBody"]["content"]["application/json"]["schema"];
    if schema.is_null() {
        return Ok(());
    }
    let name = type_name(schema);
    check(schema, body, &Place { name: &name, path: String::new() })
}

/// Where in a body something is.
struct Place<'a> {
    /// The type of the whole.
    name: &'a str,
    /// The fields on the way, each with a dot before it.
    path: String,
}

impl Place<'_> {
    fn below(&self, field: &str) -> Self {
        Self { name: self.name, path: format!("{}.{field}", self.path) }
    }

    fn wrong(&self, found: &Value, wanted: &str) -> Refusal {
        let found = match found {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        Refusal::malformed(match self.path.is_empty() {
            true => format!("json: cannot unmarshal {found} into Go value of type main.{}", self.name),
            false => format!(
                "json: cannot unmarshal {found} into Go struct field {}{} of type {wanted}",
                self.name, self.path
            ),
        })
    }
}

fn check(schema: &Value, value: &Value, place: &Place<'_>) -> Result<(), Refusal> {
    if let Some(reference) = schema["$ref"].as_str() {
        return check(resolve(reference), value, place);
    }
    if let Some(parts) = schema["allOf"].as_array() {
        return parts.iter().try_for_each(|part| check(part, value, place));
    }
    match (schema["type"].as_str(), value) {
        // Decoded, it leaves the field as it is.
        (_, Value::Null) if !place.path.is_empty() => Ok(()),
        (Some("object"), Value::Object(fields)) => fields.iter().try_for_each(|(name, value)| {
            let (known, others) = (&schema["properties"][name], &schema["additionalProperties"]);
            match (known.is_object(), others.is_object()) {
                (true, _) => check(known, value, &place.below(name)),
                (false, true) => check(others, value, &place.below(name)),
                (false, false) => Ok(()),
            }
        }),
        (Some("array"), Value::Array(items)) => items.iter().try_for_each(|item| check(&schema["items"], item, place)),
        (Some("string"), Value::String(word)) => check_word(&schema["enum"], word, place),
        // Durations are documented as text, and taken as nanoseconds too.
        (Some("string"), Value::Number(_)) if place.path.ends_with(".timeout") => Ok(()),
        // Said as a word or as a yes or no.
        (Some("string"), Value::Bool(_)) if place.path.ends_with(".autostop") => Ok(()),
        (Some("integer"), Value::Number(number)) if !number.is_f64() => Ok(()),
        (Some("number"), Value::Number(_)) | (Some("boolean"), Value::Bool(_)) => Ok(()),
        (Some("object"), other) => Err(place.wrong(other, "map")),
        (Some("array"), other) => Err(place.wrong(other, "[]string")),
        (Some("integer"), other) => Err(place.wrong(other, "int")),
        (Some("number"), other) => Err(place.wrong(other, "float64")),
        (Some("boolean"), other) => Err(place.wrong(other, "bool")),
        (Some("string"), other) => Err(place.wrong(other, "string")),
        (Some(_) | None, _) => Ok(()),
    }
}

fn check_word(words: &Value, word: &str, place: &Place<'_>) -> Result<(), Refusal> {
    match words.as_array() {
        // A text that was never set counts as none.
        Some(words) if !word.is_empty() && !words.iter().any(|known| known == word) => {
            let known: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
            let field = place.path.trim_start_matches('.');
            Err(Refusal::invalid_argument(format!("{field}: {word:?} is none of {}", known.join(", "))))
        }
        Some(_) | None => Ok(()),
    }
}

fn resolve(reference: &str) -> &'static Value {
    let name = reference.rsplit('/').next().unwrap_or_default();
    &DOCUMENT["components"]["schemas"][name]
}

/// `main.getPlacementsRequest` and `StopRequest` are both names in Fly's program, of `getPlacementsRequest`
/// and `stopRequest`.
fn type_name(schema: &Value) -> String {
    let name = schema["$ref"].as_str().and_then(|reference| reference.rsplit(['/', '.']).next()).unwrap_or("request");
    let (first, rest) = name.split_at(1);
    format!("{}{rest}", first.to_ascii_lowercase())
}

/// The document's name for a path, if it has that method.
pub(crate) fn template(method: &str, path: &str) -> Option<&'static str> {
    let paths = DOCUMENT["paths"].as_object()?;
    let (template, _) = paths.iter().find(|(template, route)| route[method].is_object() && matches(template, path))?;
    Some(template)
}

/// Whether a path is one that a template such as `/apps/{app_name}` stands for.
pub(crate) fn matches(template: &str, path: &str) -> bool {
    let (names, given) = (template.split('/'), path.split('/'));
    names.clone().count() == given.clone().count()
        && names.zip(given).all(|(name, given)| name.starts_with('{') || name == given)
}

/// Every route of the document: method and path.
#[cfg(test)]
pub(crate) fn routes() -> impl Iterator<Item = (&'static str, &'static str)> {
    let paths = DOCUMENT["paths"].as_object().expect("paths");
    let methods = |(path, route): (&'static String, &'static Value)| {
        let methods = route.as_object().expect("a route").keys().filter(|key| *key != "parameters");
        methods.map(|method| (method.as_str(), path.as_str()))
    };
    paths.iter().flat_map(methods)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MACHINES: &str = "/apps/{app_name}/machines";
    const STOP: &str = "/apps/{app_name}/machines/{machine_id}/stop";

    #[test]
    fn wrong_types_are_refused_as_flys_decoder_does() {
        for (method, path, body, said) in [
            ("post", STOP, json!([]), "json: cannot unmarshal array into Go value of type main.stopRequest"),
            ("post", STOP, json!({"signal": 9}), "Go struct field stopRequest.signal of type string"),
            ("post", STOP, json!({"signal": "SIGSTOP"}), "invalid_argument: signal: \"SIGSTOP\" is none of SIGHUP,"),
            ("post", MACHINES, json!({"name": 7}), "number into Go struct field createMachineRequest.name of type"),
            (
                "post",
                MACHINES,
                json!({"config": {"env": {"A": 1}}}),
                "createMachineRequest.config.env.A of type string",
            ),
            ("post", MACHINES, json!({"config": {"guest": {"cpus": "2"}}}), "config.guest.cpus of type int"),
            ("post", MACHINES, json!({"config": {"guest": {"cpus": 1.5}}}), "config.guest.cpus of type int"),
            ("post", MACHINES, json!({"config": {"mounts": {}}}), "object into Go struct field"),
            ("post", MACHINES, json!({"config": {"mounts": [{"path": false}]}}), "config.mounts.path of type string"),
            ("post", MACHINES, json!({"skip_launch": "yes"}), "skip_launch of type bool"),
            ("post", MACHINES, json!({"config": {"restart": {"policy": "sometimes"}}}), "config.restart.policy: "),
            ("post", "/platform/placements", json!(7), "Go value of type main.getPlacementsRequest"),
        ] {
            let refusal = check_body(method, path, &body).expect_err("wrong");
            assert_eq!(refusal.status, 400);
            assert!(refusal.error.contains(said), "{body}: {}", refusal.error);
        }
    }

    #[test]
    fn nulls_unknown_fields_and_nanoseconds_are_passed_over() {
        for (path, body) in [
            (MACHINES, json!({"name": null, "nmae": 7, "config": {"env": null, "restart": {"policy": ""}}})),
            (MACHINES, json!({"config": {"stop_config": {"timeout": 5_000_000_000_u64}}})),
            (STOP, json!({"timeout": 5_000_000_000_u64})),
            ("/nowhere", json!([])),
        ] {
            check_body("post", path, &body).expect("passed over");
        }
    }
}
