//! The OpenAPI document: what the handlers say of themselves, and what all operations have in common.

use serde_json::{Map, Value, json};
use utoipa_axum::router::OpenApiRouter;

use super::operations;

/// The name under which the document speaks of the key that every operation asks for.
const BEARER: &str = "bearer";
const PROBLEM: &str = "#/components/schemas/Problem";

/// The document.
pub fn openapi() -> Value {
    let (_, mut document) = OpenApiRouter::new().nest("/v1", operations()).split_for_parts();
    document.info.title = "Bifrost".into();
    document.info.version = env!("CARGO_PKG_VERSION").into();
    document.info.description =
        Some("Runs coding agents and jobs on machines that cost nothing while they wait.".into());
    let mut document = serde_json::to_value(document).expect("plain data");
    document["components"]["securitySchemes"][BEARER] = json!({
        "type": "http", "scheme": "bearer",
        "description": "An API key; for the worker protocol, the token that the runner was given.",
    });
    for path in document["paths"].as_object_mut().into_iter().flat_map(Map::values_mut) {
        for (method, operation) in path.as_object_mut().into_iter().flatten() {
            complete(method, operation);
        }
    }
    document
}

fn complete(method: &str, operation: &mut Value) {
    operation["security"] = json!([{ BEARER: [] }]);
    let has_body = operation.get("requestBody").is_some();
    if method != "get" {
        let reason = json!({
            "name": "x-reason", "in": "header", "required": false, "schema": { "type": "string" },
            "description": "Why, in up to 500 characters: it is kept in the audit",
        });
        match operation["parameters"].as_array_mut() {
            Some(parameters) => parameters.push(reason),
            None => operation["parameters"] = json!([reason]),
        }
    }
    let Some(responses) = operation["responses"].as_object_mut() else { return };
    let of_all = [
        ("400", "Something that was sent is not what it has to be; `field` names it", true),
        ("401", "The key is missing, unknown or revoked", true),
        ("403", "The key may not do this", true),
        ("413", "The body is too large", has_body),
        ("500", "Something went wrong here; the server's log says what", true),
        ("503", "The database or another part does not answer; the same request may succeed later", true),
    ];
    for (status, description, _) in of_all.into_iter().filter(|(_, _, applies)| *applies) {
        let response = responses.entry(status).or_insert_with(|| problem(description));
        if response["description"].as_str().is_none_or(str::is_empty) {
            response["description"] = json!(description);
        }
    }
    for (_, response) in responses.iter_mut().filter(|(status, _)| status.as_str() >= "400") {
        speak_of_problems(response);
    }
}

fn problem(description: &str) -> Value {
    json!({ "description": description, "content": { wire::problem::CONTENT_TYPE: { "schema": { "$ref": PROBLEM } } } })
}

/// A problem has a type of content of its own (RFC 9457).
fn speak_of_problems(response: &mut Value) {
    let Some(content) = response.get_mut("content").and_then(Value::as_object_mut) else { return };
    if content.get("application/json").is_some_and(|content| content["schema"]["$ref"] == PROBLEM)
        && let Some(schema) = content.remove("application/json")
    {
        content.insert(wire::problem::CONTENT_TYPE.into(), schema);
    }
}
