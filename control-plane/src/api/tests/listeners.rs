//! Who listens to what happens, over the API: webhooks, and the live stream.

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use kit::Tasks;
use signals::live::{Live, LiveFeed};
use signals::webhooks::{FanOut, Reach, Sender, WebhookDelivery};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;

async fn receiver() -> MockServer {
    let server = MockServer::start().await;
    Mock::given(wiremock::matchers::any()).respond_with(ResponseTemplate::new(204)).mount(&server).await;
    server
}

async fn webhook(app: &Router, server: &MockServer, types: &[&str]) -> String {
    let new = json!({ "url": server.uri(), "event_types": types });
    let added = post(app, "/v1/webhooks", &new).await;
    assert_eq!(added.status, StatusCode::CREATED, "{}", added.body);
    added.body["id"].as_str().expect("an id").to_owned()
}

/// Sends everything that is to be sent to the webhook, and gives what it got: types and bodies.
async fn told(ctx: &Ctx, webhook: &str, server: &MockServer) -> Vec<(String, Value)> {
    let sender = Sender::new(&Key::from_bytes([2; 32]), Reach::Loopback);
    let delivery = WebhookDelivery::new(sender, Tasks::new());
    while FanOut.tick(ctx).await.expect("fans out") > 0 {}
    delivery.serve(ctx, webhook.parse().expect("an id")).await.expect("serves");
    let requests = server.received_requests().await.expect("are kept");
    let bodies = requests.iter().map(|request| serde_json::from_slice::<Value>(&request.body).expect("JSON"));
    bodies.map(|body| (body["type"].as_str().expect("a type").to_owned(), body)).collect()
}

async fn task(app: &Router, title: &str) -> String {
    let created = post(app, "/v1/tasks", &json!({ "title": title })).await;
    created.body["id"].as_str().expect("an id").to_owned()
}

async fn patch(app: &Router, task: &str, change: &Value) {
    let answer = ask(app, Method::PATCH, &format!("/v1/tasks/{task}"), Some(KEY), Some(&change.to_string())).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
}

async fn set_status(app: &Router, task: &str, statuses: &[&str]) {
    for status in statuses {
        patch(app, task, &json!({ "status": status })).await;
    }
}

/// The next server-sent message that is no sign of life, as its name, id and data.
async fn next(stream: &mut BoxStream<'static, String>) -> (String, i64, Value) {
    let text = tokio::time::timeout(std::time::Duration::from_secs(30), stream.next()).await.expect("in time");
    let text = text.expect("the stream goes on");
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(&format!("{name}: "))).unwrap_or("");
    let (id, data) = (field("id").parse().expect("an id"), serde_json::from_str(field("data")).expect("JSON"));
    (field("event").to_owned(), id, data)
}

/// Opens a stream and cuts it into messages.
async fn open(app: &Router, path: &str, after: Option<i64>) -> BoxStream<'static, String> {
    let request = Request::builder().uri(path).header("authorization", format!("Bearer {KEY}"));
    let request = match after {
        Some(after) => request.header("last-event-id", after),
        None => request,
    };
    let response = app.clone().oneshot(request.body(Body::empty()).expect("a request")).await.expect("answers");
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    // Each message is written as one piece.
    let pieces = response.into_body().into_data_stream();
    pieces.map(|piece| String::from_utf8(piece.expect("a piece").to_vec()).expect("text")).boxed()
}

async fn app_with_live(ctx: &Ctx) -> (Router, Live) {
    let live = Live::default();
    (router(App { live: live.clone(), ..state(ctx).await }), live)
}

async fn pass_on(ctx: &Ctx, live: &Live) {
    while LiveFeed(live.clone()).tick(ctx).await.expect("reads") > 0 {}
}

kernel::on_both! { crate::migrations();
    async fn each_of_the_five_changes_of_a_task_is_told_as_exactly_itself(ctx) {
        let (app, server) = (app(&ctx).await, receiver().await);
        let webhook = webhook(&app, &server, &["*"]).await;
        let first = task(&app, "first").await;
        patch(&app, &first, &json!({ "title": "better", "priority": 5 })).await;
        set_status(&app, &first, &["assigned", "in_progress", "completed"]).await;
        let second = task(&app, "second").await;
        set_status(&app, &second, &["assigned", "in_progress", "failed"]).await;
        let deleted = ask(&app, Method::DELETE, &format!("/v1/tasks/{second}"), Some(KEY), None).await;
        assert_eq!(deleted.status, StatusCode::NO_CONTENT);
        let told = told(&ctx, &webhook, &server).await;
        let of_task = |id: &str| -> Vec<&(String, Value)> {
            told.iter().filter(|(_, body)| body["data"]["task"]["id"] == id).collect()
        };
        let types = |id: &str| of_task(id).iter().map(|(kind, _)| kind.clone()).collect::<Vec<_>>();
        assert_eq!(types(&first), ["task.created", "task.updated", "task.updated", "task.updated", "task.completed"]);
        assert_eq!(types(&second), ["task.created", "task.updated", "task.updated", "task.failed", "task.deleted"]);
        assert_eq!(told.len(), 10);
        let updated = &of_task(&first)[1].1["data"];
        assert_eq!(updated["old_values"], json!({ "title": "first", "priority": 3 }));
        assert_eq!((&updated["task"]["title"], &updated["task"]["priority"]), (&json!("better"), &json!(5)));
        let completed = &of_task(&first)[4].1["data"];
        assert_eq!((&completed["old_values"]["status"], &completed["task"]["status"]), (&json!("in_progress"), &json!("completed")));
        assert_eq!(of_task(&second)[4].1["data"]["task"]["title"], "second");
    }

    async fn work_done_by_hand_is_told_once_with_how_it_ended(ctx) {
        let (app, server) = (app(&ctx).await, receiver().await);
        let webhook = webhook(&app, &server, &["task.completed", "task.failed"]).await;
        let worker = post(&app, "/v1/workers", &json!({ "worker_type": "w", "capacity": 9 })).await.body["id"].clone();
        for success in [true, false] {
            let task = task(&app, "t").await;
            post(&app, &format!("/v1/tasks/{task}/assign"), &json!({ "worker_id": worker })).await;
            let new = json!({ "agent_type": "a", "worker_id": worker });
            let execution = post(&app, &format!("/v1/tasks/{task}/executions"), &new).await;
            let id = execution.body["id"].as_str().expect("an id");
            post(&app, &format!("/v1/executions/{id}/complete"), &json!({ "success": success })).await;
        }
        let told = told(&ctx, &webhook, &server).await;
        let success = |body: &Value| body["data"]["task"]["execution"]["success"].clone();
        let mut told: Vec<_> = told.iter().map(|(kind, body)| (kind.as_str(), success(body))).collect();
        // Messages of different tasks may overtake each other.
        told.sort_by_key(|(kind, _)| *kind);
        assert_eq!(told, [("task.completed", json!(true)), ("task.failed", json!(false))]);
    }

    async fn a_webhooks_secret_is_shown_once(ctx) {
        let app = app(&ctx).await;
        let added = post(&app, "/v1/webhooks", &json!({ "url": "http://127.0.0.1:1/" })).await;
        assert!(added.body["secret"].as_str().is_some_and(|secret| secret.starts_with("whsec_")), "{}", added.body);
        let id = added.body["id"].as_str().expect("an id");
        for path in [format!("/v1/webhooks/{id}"), "/webhooks".into(), "/v1/audit".into()] {
            let answer = get(&app, &path).await;
            assert_eq!(answer.status, StatusCode::OK);
            assert!(!answer.body.to_string().contains("whsec_"), "{path}: {}", answer.body);
            assert!(!answer.body.to_string().contains("secret\""), "{path}: {}", answer.body);
        }
        assert_eq!(get(&app, &format!("/webhooks/{id}/deliveries?limit=5")).await.body, json!([]));
        for (path, field) in [("limit=0", "limit"), ("before=x", "before")] {
            let answer = get(&app, &format!("/v1/webhooks/{id}/deliveries?{path}")).await;
            assert_eq!((answer.status, answer.body["field"].as_str()), (StatusCode::BAD_REQUEST, Some(field)));
        }
    }

    async fn the_stream_opens_with_its_place_and_goes_on_behind_any(ctx) {
        let (app, live) = app_with_live(&ctx).await;
        task(&app, "before").await;
        let mut stream = open(&app, "/v1/stream", None).await;
        let (name, place, _) = next(&mut stream).await;
        assert_eq!(name, "open");
        let id = task(&app, "after").await;
        pass_on(&ctx, &live).await;
        let (name, next_place, data) = next(&mut stream).await;
        assert_eq!((name.as_str(), next_place), ("task.submitted", place + 1));
        assert_eq!((&data["type"], &data["data"]["task"]["id"]), (&json!("task.submitted"), &json!(id)));
        drop(stream);
        patch(&app, &id, &json!({ "title": "while away" })).await;
        let mut stream = open(&app, "/stream?types=task.updated", Some(place)).await;
        assert_eq!(next(&mut stream).await.0, "open");
        pass_on(&ctx, &live).await;
        let (name, _, data) = next(&mut stream).await;
        assert_eq!((name.as_str(), &data["data"]["old_values"]), ("task.updated", &json!({ "title": "after" })));
    }

    async fn a_tasks_stream_begins_with_the_task_and_ends_with_its_deletion(ctx) {
        let (app, live) = app_with_live(&ctx).await;
        let (id, other) = (task(&app, "t").await, task(&app, "other").await);
        let mut stream = open(&app, &format!("/v1/tasks/{id}/events"), None).await;
        let (name, _, data) = next(&mut stream).await;
        assert_eq!((name.as_str(), &data["id"]), ("task", &json!(id)));
        patch(&app, &other, &json!({ "title": "no matter" })).await;
        set_status(&app, &id, &["assigned", "in_progress", "failed"]).await;
        ask(&app, Method::DELETE, &format!("/v1/tasks/{id}"), Some(KEY), None).await;
        pass_on(&ctx, &live).await;
        for expect in ["task.updated", "task.updated", "task.failed", "task.deleted"] {
            assert_eq!(next(&mut stream).await.0, expect);
        }
        assert_eq!(stream.next().await, None);
    }

    async fn a_stream_refuses_what_it_does_not_know_by_name(ctx) {
        let app = app(&ctx).await;
        let answer = get(&app, "/v1/stream?types=nonsense").await;
        assert_eq!((answer.status, answer.body["field"].as_str()), (StatusCode::BAD_REQUEST, Some("types")));
        for wrong in ["x", "-1", "1.5"] {
            let request = Request::builder().uri("/v1/stream").header("authorization", format!("Bearer {KEY}"));
            let request = request.header("last-event-id", wrong).body(Body::empty()).expect("a request");
            let response = app.clone().oneshot(request).await.expect("answers");
            assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{wrong}");
        }
    }
}
