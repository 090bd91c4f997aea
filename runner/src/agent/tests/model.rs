//! A fake of the APIs of models, on the wires of their makers: Anthropic's Messages, OpenAI's Responses and Gemini's
//! `streamGenerateContent`, all of them streamed. It has a command run that writes a file, and ends its turn with
//! whether the conversation tells it a word.

use serde_json::{Value, json};
use wiremock::matchers::{header, method, path, path_regex};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

pub(super) const KEY: &str = "sk-fake-0123456789";
pub(super) const TOLD: &str = "The word is periwinkle. Write the file.";
pub(super) const REMEMBERED: &str = "I remember periwinkle.";
pub(super) const FILE: &str = "NOTES";
pub(super) const WRITTEN: &str = "written";

const COMMAND: &str = "echo written >> NOTES";

pub(super) struct Model(MockServer);

/// What it does next.
enum Turn {
    Calls,
    Says(&'static str),
}

impl Model {
    pub(super) async fn start() -> Self {
        let server = MockServer::start().await;
        let anthropic = Mock::given(method("POST")).and(path("/v1/messages")).and(header("x-api-key", KEY));
        anthropic.respond_with(|request: &Request| answer(request, &anthropic_turn)).mount(&server).await;
        let bearer = format!("Bearer {KEY}");
        let openai = Mock::given(method("POST")).and(path("/v1/responses")).and(header("authorization", &*bearer));
        openai.respond_with(|request: &Request| answer(request, &openai_turn)).mount(&server).await;
        // It may not be spoken to over a WebSocket.
        let socket = Mock::given(method("GET")).and(path("/v1/responses"));
        socket.respond_with(ResponseTemplate::new(426)).mount(&server).await;
        let gemini = Mock::given(method("POST")).and(path_regex("^/v1beta/models/[^:]+:streamGenerateContent$"));
        let gemini = gemini.and(header("x-goog-api-key", KEY));
        gemini.respond_with(|request: &Request| answer(request, &gemini_turn)).mount(&server).await;
        Self(server)
    }

    pub(super) fn url(&self) -> String {
        self.0.uri()
    }
}

fn answer(request: &Request, turn: &dyn Fn(&Value) -> Vec<Value>) -> ResponseTemplate {
    let body: Value = request.body_json().expect("JSON");
    if request.url.path().contains("nobody-has-it") || body["model"] == "nobody-has-it" {
        let message = "the model nobody-has-it does not exist";
        let error = json!({ "type": "not_found_error", "message": message, "code": 404, "status": "NOT_FOUND" });
        // OpenAI says 400.
        let status = if request.url.path().ends_with("/responses") { 400 } else { 404 };
        return ResponseTemplate::new(status).set_body_json(json!({ "type": "error", "error": error }));
    }
    let event = |event: Value| match event["type"].as_str() {
        Some(name) => format!("event: {name}\ndata: {event}\n\n"),
        None => format!("data: {event}\n\n"),
    };
    let events: String = turn(&body).into_iter().map(event).collect();
    ResponseTemplate::new(200).set_body_raw(events, "text/event-stream")
}

/// A command first, where it may and has not yet been run for the last prompt.
fn next(body: &Value, may_call: bool, has_called: bool) -> Turn {
    match may_call && !has_called {
        true => Turn::Calls,
        false if body.to_string().contains(TOLD) => Turn::Says(REMEMBERED),
        false => Turn::Says("I remember nothing."),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn anthropic_turn(body: &Value) -> Vec<Value> {
    let names = list(&body["tools"]).iter().filter_map(|tool| tool["name"].as_str());
    let shell = names.into_iter().find(|name| name.eq_ignore_ascii_case("bash"));
    let messages = list(&body["messages"]);
    // Two answers of one name are one to whoever asked.
    let number = messages.len();
    let last = messages.iter().rev().find(|message| message["role"] == "user").expect("a prompt");
    let has_called = list(&last["content"]).iter().any(|block| block["type"] == "tool_result");
    let (block, delta, reason) = match next(body, shell.is_some(), has_called) {
        Turn::Calls => {
            let input = json!({ "command": COMMAND, "description": "Write the file" }).to_string();
            (
                json!({ "type": "tool_use", "id": format!("toolu_{number}"), "name": shell, "input": {} }),
                json!({ "type": "input_json_delta", "partial_json": input }),
                "tool_use",
            )
        }
        Turn::Says(text) => {
            (json!({ "type": "text", "text": "" }), json!({ "type": "text_delta", "text": text }), "end_turn")
        }
    };
    let usage = json!({
        "input_tokens": 100, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 3, "output_tokens": 1
    });
    let message = json!({
        "id": format!("msg_{number}"), "type": "message", "role": "assistant", "model": body["model"], "content": [],
        "stop_reason": null, "stop_sequence": null, "usage": usage
    });
    vec![
        json!({ "type": "message_start", "message": message }),
        json!({ "type": "content_block_start", "index": 0, "content_block": block }),
        json!({ "type": "content_block_delta", "index": 0, "delta": delta }),
        json!({ "type": "content_block_stop", "index": 0 }),
        json!({ "type": "message_delta", "delta": { "stop_reason": reason, "stop_sequence": null },
                "usage": { "output_tokens": 7 } }),
        json!({ "type": "message_stop" }),
    ]
}

fn openai_turn(body: &Value) -> Vec<Value> {
    let input = list(&body["input"]);
    let number = input.len();
    let may_call = input.iter().any(|item| item["type"] == "additional_tools");
    let is_output = |item: &&Value| item["type"] == "custom_tool_call_output";
    let last = input.iter().rev().find(|item| is_output(item) || item["role"] == "user");
    let item = match next(body, may_call, last.is_some_and(|item| is_output(&item))) {
        Turn::Calls => json!({
            "type": "custom_tool_call", "id": format!("ctc_{number}"), "call_id": format!("call_{number}"), "namespace": "functions", "name": "exec",
            "input": format!("text(await tools.exec_command({{cmd: {COMMAND:?}}}))"), "status": "completed"
        }),
        Turn::Says(text) => json!({
            "type": "message", "id": format!("msg_{number}"), "role": "assistant", "status": "completed",
            "content": [{ "type": "output_text", "text": text, "annotations": [] }]
        }),
    };
    let usage = json!({
        "input_tokens": 100, "input_tokens_details": { "cached_tokens": 30 },
        "output_tokens": 7, "output_tokens_details": { "reasoning_tokens": 2 }, "total_tokens": 107
    });
    let response = |status: &str, output: &[&Value], usage: &Value| {
        json!({ "id": format!("resp_{number}"), "object": "response", "created_at": 1, "model": body["model"], "status": status,
                "output": output, "usage": usage })
    };
    vec![
        json!({ "type": "response.created", "response": response("in_progress", &[], &Value::Null) }),
        json!({ "type": "response.output_item.added", "output_index": 0, "item": item }),
        json!({ "type": "response.output_item.done", "output_index": 0, "item": item }),
        json!({ "type": "response.completed", "response": response("completed", &[&item], &usage) }),
    ]
}

fn gemini_turn(body: &Value) -> Vec<Value> {
    let declared = list(&body["tools"]).iter().flat_map(|tool| list(&tool["functionDeclarations"]));
    let may_call = declared.into_iter().any(|function| function["name"] == "run_shell_command");
    let last = list(&body["contents"]).last().expect("a prompt");
    let has_called = list(&last["parts"]).iter().any(|part| part.get("functionResponse").is_some());
    let part = match next(body, may_call, has_called) {
        Turn::Calls => json!({ "functionCall": { "name": "run_shell_command", "args": { "command": COMMAND } } }),
        Turn::Says(text) => json!({ "text": text }),
    };
    let usage = json!({
        "promptTokenCount": 100, "candidatesTokenCount": 7, "thoughtsTokenCount": 2, "totalTokenCount": 109,
        "cachedContentTokenCount": 30
    });
    let content = json!({ "role": "model", "parts": [part] });
    vec![json!({
        "candidates": [{ "index": 0, "content": content, "finishReason": "STOP" }],
        "usageMetadata": usage, "modelVersion": "fake"
    })]
}
