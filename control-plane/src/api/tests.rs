//! The API as a client meets it: every operation refuses strangers, and bad
//! input is refused by name before any work. Requests go through the whole
//! router; nothing listens.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use chrono::DateTime;
use kernel::{Address, Ctx, Reconciler as _};
use kit::Chance;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use wire::egress::Pass;
use wire::grant::{Grant, GrantKey};
use wire::signature::Key;

use super::*;
use crate::{Config, Events, MachinesApi, Provider};

mod admission;
mod audit;
mod claims;
mod files_of_tasks;
mod graph_of_tasks;
mod hands;
mod listeners;
mod model;
mod odd_input;
mod operations;
mod repeats;
mod replicas;
mod runtimes;
mod whole;

const KEY: &str = "bifrost_0123456789abcdef";

async fn app(ctx: &Ctx) -> Router {
    router(state(ctx).await)
}

pub(super) async fn state(ctx: &Ctx) -> App {
    access::ensure_bootstrap_key(ctx, KEY).await.expect("made");
    // Nobody listens there: what needs the event store says so.
    let url = String::from("http://127.0.0.1:1");
    let public_url = String::from("http://events.test:8080");
    let events = Events { public_url, url, secret: Key::from_bytes([1; 32]), app: None };
    let token = "t".parse().expect("a token");
    let config = Config {
        runtimes: ::runtimes::Settings::default(),
        database: Address::Sqlite("unused".into()),
        api_key: KEY.into(),
        secret: Key::from_bytes([2; 32]),
        provider: Provider::Fly(MachinesApi { url: "http://127.0.0.1:1".into(), token, pace: fly::Pace::Unlimited }),
        events: events.clone(),
        pool: Default::default(),
        work: Default::default(),
        webhooks_reach: signals::webhooks::Reach::Loopback,
    };
    let signer = client::events::Signer {
        key: events.secret.clone(),
        key_id: None,
        clock: ctx.clock.clone(),
        chance: Chance::seeded(1),
    };
    let store = client::events::EventStore::new(&events.url, signer);
    let metrics = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder().handle();
    let listeners = (signals::webhooks::Sender::new(&config.secret, config.webhooks_reach), Default::default());
    App::new(ctx.clone(), &config, store, listeners, metrics, kit::Tasks::new())
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

async fn ask(app: &Router, method: Method, path: &str, key: Option<&str>, body: Option<&str>) -> Answer {
    let mut request = Request::builder().method(method.clone()).uri(path);
    if let Some(key) = key {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    let body = body.map_or_else(Body::empty, |text| Body::from(text.to_owned()));
    let answer = answer(app, request.body(body).expect("a request")).await;
    let documented = documented(&method, path);
    let status = answer.status.as_str();
    assert!(
        documented.is_none_or(|all| all.contains(status)),
        "{method} {path} answers {status}, which the document does not say"
    );
    answer
}

/// The statuses that the document names for an operation, if it knows one by this path.
fn documented(method: &Method, path: &str) -> Option<&'static BTreeSet<String>> {
    type Operation = (String, Vec<String>, BTreeSet<String>);
    static OPERATIONS: LazyLock<Vec<Operation>> = LazyLock::new(|| {
        let document = openapi();
        let paths = document["paths"].as_object().expect("paths");
        let of_path = |(path, methods): (&String, &Value)| {
            let words: Vec<String> = path.trim_start_matches("/v1").split('/').map(str::to_owned).collect();
            let methods = methods.as_object().expect("methods").clone();
            methods.into_iter().map(move |(method, operation)| {
                let statuses = operation["responses"].as_object().expect("responses").keys().cloned().collect();
                (method.to_uppercase(), words.clone(), statuses)
            })
        };
        let mut operations: Vec<Operation> = paths.iter().flat_map(of_path).collect();
        // A word of its own comes before a parameter that could be that word.
        operations.sort_by_key(|(_, words, _)| words.iter().filter(|word| word.starts_with('{')).count());
        operations
    });
    let path = path.split('?').next().unwrap_or_default().trim_start_matches("/v1");
    let words: Vec<&str> = path.split('/').collect();
    let matches = |known: &[String]| {
        known.len() == words.len()
            && known.iter().zip(&words).all(|(known, word)| known.starts_with('{') || known == word)
    };
    let found = OPERATIONS.iter().find(|(known, words, _)| known == method.as_str() && matches(words));
    found.map(|(_, _, statuses)| statuses)
}

async fn answer(app: &Router, request: Request<Body>) -> Answer {
    let response = app.clone().oneshot(request).await.expect("answers");
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, 1 << 20).await.expect("reads");
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Answer { status: parts.status, headers: parts.headers, body }
}

async fn get(app: &Router, path: &str) -> Answer {
    ask(app, Method::GET, path, Some(KEY), None).await
}

async fn post(app: &Router, path: &str, body: &Value) -> Answer {
    ask(app, Method::POST, path, Some(KEY), Some(&body.to_string())).await
}

/// Every operation of the document as method and path, with an id in place of each parameter.
fn operations_of_document() -> Vec<(Method, String)> {
    let document = openapi();
    let paths = document["paths"].as_object().expect("paths").clone();
    let id = wire::id::TaskId::mint(DateTime::UNIX_EPOCH, [1; 10]).to_string();
    let mut found = Vec::new();
    for (path, methods) in paths {
        for method in methods.as_object().expect("methods").keys() {
            let Ok(method) = method.to_uppercase().parse() else { continue };
            let ids = ["{id}", "{execution_id}", "{dependency_id}", "{delivery_id}", "{checkpoint_id}", "{other_id}"];
            let path = ids
                .iter()
                .fold(path.clone(), |path, name| path.replace(name, &id))
                .replace("{tag}", "t")
                .replace("{key}", "k")
                .replace("{project}", "p")
                .replace("{name}", "merged");
            found.push((method, path));
        }
    }
    found
}

kernel::on_both! { crate::migrations();
    async fn every_operation_refuses_a_stranger(ctx) {
        let app = app(&ctx).await;
        let operations = operations_of_document();
        assert!(operations.len() > 20, "{operations:?}");
        let hello = json!({
            "machine_id": ctx.id(wire::id::MachineId::mint), "boot": uuid::Uuid::nil(), "protocol": 1,
            "version": "t", "capacity": 1,
        });
        for (method, path) in operations {
            for key in [None, Some("bifrost_not_the_right_key")] {
                // A well-formed body, so that nothing else can be the reason.
                let answer = ask(&app, method.clone(), &path, key, Some(&hello.to_string())).await;
                assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{method} {path} with {key:?}: {}", answer.body);
                assert_eq!(answer.body["code"], "unauthenticated");
                assert_eq!(answer.headers["content-type"], wire::problem::CONTENT_TYPE);
            }
        }
    }

    async fn what_does_not_exist_is_not_found_for_every_operation_on_one_thing(ctx) {
        let app = app(&ctx).await;
        for (method, path) in operations_of_document() {
            if !path.contains("00000000-0000-7") || path.contains("/workers/") {
                continue;
            }
            let body = match path.as_str() {
                path if path.ends_with("/abandon") || path.ends_with("/pause") => json!({ "reason": "r" }),
                path if path.ends_with("/triggers") => json!({ "text": "t" }),
                path if path.ends_with("/force") => json!({ "text": "t", "reason": "r" }),
                path if path.ends_with("/report") => json!({ "number": 1, "result": "written", "via": "terminal" }),
                path if path.ends_with("/executions") => json!({ "agent_type": "a", "worker_id": uuid::Uuid::nil() }),
                path if path.ends_with("/complete") => json!({ "success": true }),
                path if path.ends_with("/dependencies") => json!({ "depends_on_task_id": uuid::Uuid::nil() }),
                path if path.ends_with("/metadata") => json!({ "key": "k", "value": "v" }),
                path if path.ends_with("/tags") => json!({ "tags": ["t"] }),
                path if path.ends_with("/assign") => json!({ "worker_id": uuid::Uuid::nil() }),
                path if path.ends_with("/estimate") => json!({ "effort_minutes": 1 }),
                path if path.ends_with("/preempt") => json!({ "target_worker_id": uuid::Uuid::nil() }),
                path if path.ends_with("/split") => json!({ "subtasks": [{ "title": "t" }] }),
                _ => json!({}),
            };
            let answer = ask(&app, method.clone(), &path, Some(KEY), Some(&body.to_string())).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{method} {path}: {}", answer.body);
        }
    }

    async fn health_needs_no_key_and_readiness_names_what_is_missing(ctx) {
        let app = app(&ctx).await;
        assert_eq!(ask(&app, Method::GET, "/health", None, None).await.status, StatusCode::OK);
        assert_eq!(ask(&app, Method::GET, "/openapi.json", None, None).await.status, StatusCode::OK);
        let ready = ask(&app, Method::GET, "/ready", None, None).await;
        assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(ready.body["detail"], "the event store cannot be used");
        assert_eq!(ask(&app, Method::GET, "/metrics", None, None).await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(get(&app, "/metrics").await.status, StatusCode::OK);
    }

    async fn bad_input_is_refused_by_name_before_any_work(ctx) {
        let app = app(&ctx).await;
        let spec = |change: Value| {
            let mut spec = json!({ "repository": "https://example.org/a", "command": ["true"] });
            spec.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
            json!({ "title": "t", "spec": spec }).to_string()
        };
        let deep = format!("{{\"title\": \"t\", \"spec\": {}{}}}", "[".repeat(1_000), "]".repeat(1_000));
        let long = json!({ "title": "x".repeat(501) }).to_string();
        let cases: Vec<(&str, Option<&str>)> = vec![
            ("", None),
            ("[", None),
            ("{\"title\": \"a\"} trailing", None),
            (&deep, Some("spec[0]")),
            ("{}", None),
            ("{\"title\": \" \"}", Some("title")),
            (&long, Some("title")),
            ("{\"title\": \"a\\u0000b\"}", Some("title")),
            ("{\"title\": \"a\", \"priority\": 6}", Some("priority")),
            ("{\"title\": \"a\", \"priority\": \"high\"}", Some("priority")),
            ("{\"title\": \"a\", \"effort_estimate\": -1}", Some("effort_estimate")),
            ("{\"title\": \"a\", \"prority\": 1}", Some("prority")),
            ("{\"title\": \"a\", \"title\": \"b\"}", None),
        ];
        let specs = [
            (spec(json!({ "repository": "" })), "spec.repository"),
            (spec(json!({ "repository": "https://u:p@example.org/a" })), "spec.repository"),
            (spec(json!({ "repository": "file:///etc" })), "spec.repository"),
            (spec(json!({ "reference": "--upload-pack=x" })), "spec.reference"),
            (spec(json!({ "command": [] })), "spec.command"),
            (spec(json!({ "command": "make" })), "spec.command"),
            (spec(json!({ "env": { "A B": "c" } })), "spec.env"),
            (spec(json!({ "timeout_seconds": 0 })), "spec.timeout_seconds"),
            (spec(json!({ "comand": [] })), "spec.comand"),
        ];
        let specs = specs.iter().map(|(body, field)| (body.as_str(), Some(*field)));
        for (body, field) in cases.into_iter().chain(specs) {
            let answer = ask(&app, Method::POST, "/v1/tasks", Some(KEY), Some(body)).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}: {}", answer.body);
            if let Some(field) = field {
                assert_eq!(answer.body["field"], field, "{body}: {}", answer.body);
            }
        }
        assert_eq!(get(&app, "/v1/tasks").await.body, json!([]), "nothing was half-done");
    }

    async fn bad_paths_and_queries_are_refused_by_name(ctx) {
        let app = app(&ctx).await;
        let check = async |path: &str, status, field: Option<&str>| {
            let answer = get(&app, path).await;
            assert_eq!(answer.status, status, "{path}: {}", answer.body);
            assert_eq!(answer.body["field"].as_str(), field, "{path}: {}", answer.body);
        };
        check("/v1/tasks/7", StatusCode::BAD_REQUEST, Some("id")).await;
        check("/v1/tasks/{0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70}", StatusCode::BAD_REQUEST, Some("id")).await;
        check("/v1/tasks?limit=0", StatusCode::BAD_REQUEST, Some("limit")).await;
        check("/v1/tasks?offset=-1", StatusCode::BAD_REQUEST, Some("offset")).await;
        check("/v1/tasks?priority=9", StatusCode::BAD_REQUEST, Some("priority")).await;
        check("/v1/tasks?status=done", StatusCode::BAD_REQUEST, Some("status")).await;
        check("/v1/tasks?stauts=ready", StatusCode::BAD_REQUEST, Some("stauts")).await;
        check("/v1/tasks?blocked=maybe", StatusCode::BAD_REQUEST, Some("blocked")).await;
        check("/v1/tasks?project=%00", StatusCode::BAD_REQUEST, Some("project")).await;
        check("/v1/audit?since=yesterday", StatusCode::BAD_REQUEST, Some("since")).await;
        check("/v1/tasks/search", StatusCode::BAD_REQUEST, Some("q")).await;
        check("/v1/nothing", StatusCode::NOT_FOUND, None).await;
        assert_eq!(ask(&app, Method::DELETE, "/v1/tasks", Some(KEY), None).await.status, StatusCode::METHOD_NOT_ALLOWED);
        let large = format!("{{\"title\": \"{}\"}}", "x".repeat(wire::limit::BODY_BYTES));
        let answer = ask(&app, Method::POST, "/v1/tasks", Some(KEY), Some(&large)).await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    }

    async fn a_task_is_submitted_listed_changed_and_called_off_over_http(ctx) {
        let app = app(&ctx).await;
        let submitted = post(&app, "/v1/tasks", &json!({ "title": "t", "priority": 5 })).await;
        assert_eq!((submitted.status, &submitted.body["status"]), (StatusCode::CREATED, &json!("ready")));
        let path = format!("/v1/tasks/{}", submitted.body["id"].as_str().expect("an id"));
        assert_eq!(get(&app, &path).await.body, submitted.body);
        let listed = get(&app, "/v1/tasks").await;
        assert_eq!(listed.body, json!([submitted.body]));
        assert_eq!(listed.headers["x-total-count"], "1");
        let changed = ask(&app, Method::PATCH, &path, Some(KEY), Some("{\"title\": \"u\"}")).await;
        assert_eq!(changed.body["title"], "u");
        let why = get(&app, &format!("{path}/why")).await;
        assert_eq!(why.body["reasons"][0]["code"], "nothing_to_run");
        let cancelled = post(&app, &format!("{path}/cancel"), &Value::Null).await;
        assert_eq!(cancelled.body["status"], "cancelled");
        assert_eq!(post(&app, &format!("{path}/retry"), &Value::Null).await.status, StatusCode::CONFLICT);
    }

    async fn the_backlogs_literal_paths_lead_to_the_same_handlers(ctx) {
        let app = app(&ctx).await;
        let submitted = post(&app, "/tasks", &json!({ "title": "t" })).await;
        assert_eq!(submitted.status, StatusCode::CREATED);
        assert_eq!(get(&app, "/v1/tasks").await.body, json!([submitted.body]));
        let worker = post(&app, "/workers", &json!({ "worker_type": "codex" })).await;
        assert_eq!(worker.status, StatusCode::CREATED);
        let beat = format!("/workers/{}/heartbeat", worker.body["id"].as_str().expect("an id"));
        assert_eq!(post(&app, &beat, &json!({ "current_load": 1 })).await.body["status"], "active");
        assert_eq!(get(&app, "/workers/stale").await.body, json!([]));
    }

    async fn a_runner_learns_where_the_event_store_is_and_its_lease_comes_with_a_grant_and_a_pass_to_its_tasks_hosts(ctx) {
        let app = app(&ctx).await;
        let spec = json!({
            "repository": "https://example.org/a", "command": ["true"], "egress": ["Example.org", "*.example.net:8443"],
        });
        let task = post(&app, "/v1/tasks", &json!({ "title": "t", "spec": spec })).await.body;
        let scheduler = work::Scheduler::new(Default::default(), Default::default());
        scheduler.tick(&ctx).await.expect("asks for a machine");
        let machine = pool::machines::list(&ctx).await.expect("lists")[0].id;
        let token = pool::Credentials::new(&Key::from_bytes([2; 32])).machine_token(machine);
        let hello = json!({
            "machine_id": machine, "boot": uuid::Uuid::from_u128(1), "protocol": 1, "version": "t", "capacity": 1,
        });
        let registered = ask(&app, Method::POST, "/v1/workers/register", Some(&token), Some(&hello.to_string())).await;
        let key_id = wire::signature::machine_key_id(machine);
        // Where machines find the event store, and not where the control plane does.
        let events = json!({
            "url": "http://events.test:8080", "key": Key::from_bytes([1; 32]).derive(&key_id).reveal(), "key_id": key_id,
        });
        assert_eq!(registered.body["events"], events);
        scheduler.tick(&ctx).await.expect("assigns");
        let path = format!("/v1/workers/{}/next", registered.body["worker_id"].as_str().expect("an id"));
        let instruction = ask(&app, Method::POST, &path, registered.body["token"].as_str(), Some("{\"wait_seconds\": 0}"));
        let lease: wire::worker::Lease = serde_json::from_value(instruction.await.body).expect("a lease");
        let granted = Grant { machine, task: lease.task_id, execution: lease.execution_id };
        assert_eq!(lease.task_id.to_string(), task["id"]);
        // The event store knows nothing but the secret.
        let key = GrantKey::of(&Key::from_bytes([1; 32]));
        assert_eq!(key.open(&lease.grant.expect("a grant")), Ok(granted));
        // Nor does the egress proxy.
        let hosts = ["example.org:443", "*.example.net:8443"].map(|host| host.parse().expect("a host")).to_vec();
        assert_eq!(key.open_pass(&lease.egress_pass.expect("a pass")), Ok(Pass { grant: granted, hosts }));
    }

    async fn an_unreachable_event_store_is_said_and_breaks_nothing_else(ctx) {
        let app = app(&ctx).await;
        let answer = get(&app, "/v1/events").await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers["retry-after"], "1");
        let task = post(&app, "/v1/tasks", &json!({ "title": "t" })).await;
        assert_eq!(task.status, StatusCode::CREATED);
        let logs = format!("/v1/tasks/{}/logs", task.body["id"].as_str().expect("an id"));
        assert_eq!(get(&app, &logs).await.status, StatusCode::SERVICE_UNAVAILABLE);
        // Who wants the last lines of it waits for the rest of it, and hears before that that there is none.
        let last = get(&app, &format!("{logs}?lines=10000&follow=true")).await;
        assert_eq!(last.status, StatusCode::SERVICE_UNAVAILABLE);
    }

    async fn a_number_of_last_lines_that_cannot_be_meant_is_refused_by_name(ctx) {
        let app = app(&ctx).await;
        let task = post(&app, "/v1/tasks", &json!({ "title": "t" })).await;
        let logs = format!("/v1/tasks/{}/logs", task.body["id"].as_str().expect("an id"));
        for (lines, cure) in [
            ("0", "must be from 1 to 10000; leave it out for everything"),
            ("10001", "must be from 1 to 10000; leave it out for everything"),
            ("-1", "must be a whole number"),
            ("ten", "must be a whole number"),
        ] {
            let refused = get(&app, &format!("{logs}?lines={lines}")).await;
            assert_eq!((refused.status, &refused.body["field"]), (StatusCode::BAD_REQUEST, &json!("lines")), "{lines}");
            assert!(refused.body["detail"].as_str().is_some_and(|detail| detail.contains(cure)), "{}", refused.body);
        }
    }

    async fn a_page_of_another_origin_may_ask_and_still_needs_a_key(ctx) {
        let app = app(&ctx).await;
        let preflight = Request::builder().method(Method::OPTIONS).uri("/v1/tasks").header("origin", "https://a.example");
        let preflight = preflight.header("access-control-request-method", "POST").body(Body::empty());
        let answer = app.clone().oneshot(preflight.expect("a request")).await.expect("answers");
        assert_eq!((answer.status(), &answer.headers()["access-control-allow-origin"]), (StatusCode::OK, &"*".parse().expect("text")));
        assert_eq!(ask(&app, Method::GET, "/v1/tasks", None, None).await.status, StatusCode::UNAUTHORIZED);
    }

    async fn a_database_that_is_away_is_said_and_the_process_lives_on(ctx) {
        let app = app(&ctx).await;
        ctx.db.close().await;
        let answer = get(&app, "/v1/tasks").await;
        assert_eq!((answer.status, &answer.body["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("unavailable")));
        let ready = ask(&app, Method::GET, "/ready", None, None).await;
        assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(ready.body["detail"].as_str().is_some_and(|text| text.contains("the database")), "{}", ready.body);
        assert_eq!(ask(&app, Method::GET, "/health", None, None).await.status, StatusCode::OK);
    }

    async fn every_answer_carries_a_request_id(ctx) {
        let app = app(&ctx).await;
        assert!(!get(&app, "/health").await.headers["x-request-id"].is_empty());
        let request = Request::get("/health").header("x-request-id", "mine").body(Body::empty()).expect("a request");
        let response = app.oneshot(request).await.expect("answers");
        assert_eq!(response.headers()["x-request-id"], "mine");
    }
}

#[test]
fn every_operation_is_documented_with_its_refusal_of_strangers() {
    let document = openapi();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let refusal = &operation["responses"]["401"]["content"];
            assert!(
                refusal[wire::problem::CONTENT_TYPE].is_object(),
                "{method} {path} does not document 401: {refusal}"
            );
            assert!(operation["summary"].is_string(), "{method} {path} does not say what it does");
            assert_eq!(operation["security"], json!([{ "bearer": [] }]), "{method} {path}");
        }
    }
    let statuses = |path| documented(&Method::GET, path).expect("an operation");
    assert!(statuses("/v1/tasks/ready-or-not").contains("404") && !statuses("/tasks/search?q=x").contains("404"));
}
