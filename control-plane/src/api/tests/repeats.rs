//! Requests that are sent twice with one `Idempotency-Key`.

use super::*;

async fn send(app: &Router, path: &str, key: &str, body: &Value) -> (StatusCode, Vec<u8>) {
    let request = Request::builder().method(Method::POST).uri(path);
    let request = request.header("authorization", format!("Bearer {KEY}")).header("idempotency-key", key);
    let response = app.clone().oneshot(request.body(Body::from(body.to_string())).expect("a request")).await;
    let response = response.expect("answers");
    let status = response.status();
    (status, axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("reads").to_vec())
}

/// Sends it twice, sees that the answer is the same, and gives it.
async fn twice(app: &Router, path: &str, key: &str, body: &Value) -> Value {
    let first = send(app, path, key, body).await;
    assert!(first.0.is_success(), "{path}: {} {}", first.0, String::from_utf8_lossy(&first.1));
    assert_eq!(send(app, path, key, body).await, first, "{path}");
    serde_json::from_slice(&first.1).expect("is JSON")
}

async fn count(app: &Router, path: &str) -> Option<usize> {
    get(app, path).await.body.as_array().map(Vec::len)
}

kernel::on_both! { crate::migrations();
    async fn a_repeat_with_the_same_key_gives_the_first_answer_and_makes_nothing_more(ctx) {
        let app = app(&ctx).await;
        let strategy = json!({ "name": "n", "rules": [{ "on": "failed", "action": { "kind": "retry" } }] });
        for (path, body) in [
            ("/v1/holds", json!({ "key": "k", "reason": "r" })),
            ("/v1/budgets", json!({ "period": "day", "allocated_dollars": "1" })),
            ("/v1/schedules", json!({ "name": "n", "cron": "0 0 * * *", "task": { "title": "t" } })),
            ("/v1/workers", json!({ "worker_type": "person", "capacity": 1 })),
            ("/v1/failure-strategies", strategy),
            ("/v1/webhooks", json!({ "url": "https://example.org/hooks" })),
        ] {
            let before = count(&app, path).await.expect("a list");
            twice(&app, path, &format!("key-of-{}", path.replace('/', "-")), &body).await;
            assert_eq!(count(&app, path).await, Some(before + 1), "{path}");
        }
        let new = json!({ "title": "t" });
        let task = twice(&app, "/v1/tasks", "first", &new).await["id"].clone();
        let needed = twice(&app, "/v1/tasks", "second", &new).await["id"].clone();
        assert_ne!(task, needed);
        let path = format!("/v1/tasks/{}/dependencies", task.as_str().expect("an id"));
        twice(&app, &path, "needs", &json!({ "depends_on_task_id": needed })).await;
        assert_eq!(count(&app, &path).await, Some(1));
        let other = send(&app, "/v1/tasks", "needs", &new).await;
        assert_eq!(other.0, StatusCode::CONFLICT, "the key was another request's");
    }

    async fn a_task_that_is_begun_or_retried_twice_with_one_key_is_so_once(ctx) {
        let app = app(&ctx).await;
        let worker = post(&app, "/v1/workers", &json!({ "worker_type": "person", "capacity": 1 })).await.body["id"].clone();
        let task = post(&app, "/v1/tasks", &json!({ "title": "t" })).await.body["id"].clone();
        let path = format!("/v1/tasks/{}", task.as_str().expect("an id"));
        let assigned = post(&app, &format!("{path}/assign"), &json!({ "worker_id": worker })).await;
        assert_eq!(assigned.status, StatusCode::OK, "{}", assigned.body);
        let begins = json!({ "agent_type": "person", "worker_id": worker });
        let execution = twice(&app, &format!("{path}/executions"), "begin", &begins).await["id"].clone();
        let end = format!("/v1/executions/{}/complete", execution.as_str().expect("an id"));
        let ended = post(&app, &end, &json!({ "success": false })).await;
        assert_eq!(ended.status, StatusCode::OK, "{}", ended.body);
        let retry = format!("{path}/retry");
        let ready = twice(&app, &retry, "again", &json!({})).await;
        assert_eq!(ready["status"], "ready");
        assert_eq!(get(&app, &format!("{path}/metadata")).await.body["retry_count"], "1");
    }
}
