//! What people and programs do with tasks beyond submitting them, as a client
//! meets it over HTTP: workers of their own, scores, assignments, parts, many at
//! once, and versions.

use super::graph_of_tasks::{delete, notes, refuse, text};
use super::*;

async fn patch(app: &Router, path: &str, version: Option<&str>, body: &Value) -> Answer {
    let mut request =
        Request::builder().method(Method::PATCH).uri(path).header("authorization", format!("Bearer {KEY}"));
    if let Some(version) = version {
        request = request.header("if-match", version);
    }
    answer(app, request.body(Body::from(body.to_string())).expect("a request")).await
}

async fn worker(app: &Router, body: &Value) -> String {
    let added = post(app, "/v1/workers", body).await;
    assert_eq!(added.status, StatusCode::CREATED, "{}", added.body);
    text(&added.body["id"])
}

kernel::on_both! { crate::migrations();
    async fn a_worker_is_registered_read_changed_and_forgotten(ctx) {
        let app = app(&ctx).await;
        let id = worker(&app, &json!({ "worker_type": "codex", "metadata": { "team": "a" } })).await;
        let path = format!("/v1/workers/{id}");
        let read = get(&app, &path).await.body;
        assert_eq!((&read["capacity"], &read["agent_types"], &read["status"]), (&json!(1), &json!(["codex"]), &json!("idle")));
        let changed = patch(&app, &path, None, &json!({ "capacity": 3, "agent_types": ["codex", "reviewer"] })).await;
        assert_eq!((changed.status, &changed.body["agent_types"]), (StatusCode::OK, &json!(["codex", "reviewer"])));
        assert_eq!((&changed.body["worker_type"], &changed.body["metadata"]), (&read["worker_type"], &read["metadata"]));
        assert_eq!(get(&app, "/v1/workers").await.body, json!([changed.body]));
        for (body, field) in [
            (json!({ "capacity": 0 }), "capacity"),
            (json!({ "capacity": "many" }), "capacity"),
            (json!({ "agent_types": [" "] }), "agent_types"),
            (json!({ "colour": "red" }), "colour"),
        ] {
            let refused = patch(&app, &path, None, &body).await;
            assert_eq!((refused.status, refused.body["field"].as_str()), (StatusCode::BAD_REQUEST, Some(field)));
        }
        refuse(&app, "/v1/workers", "{\"worker_type\": \"\"}", Some("worker_type")).await;
        assert_eq!(delete(&app, &path).await.status, StatusCode::NO_CONTENT);
        for answer in [get(&app, &path).await, patch(&app, &path, None, &json!({})).await, delete(&app, &path).await] {
            assert_eq!(answer.status, StatusCode::NOT_FOUND);
        }
    }

    async fn a_silent_worker_is_stale_after_five_minutes_and_not_before(ctx) {
        let app = app(&ctx).await;
        let id = worker(&app, &json!({ "worker_type": "codex" })).await;
        ctx.clock.advance(std::time::Duration::from_secs(299));
        assert_eq!(get(&app, "/workers/stale").await.body, json!([]));
        ctx.clock.advance(std::time::Duration::from_secs(2));
        let stale = get(&app, "/workers/stale").await.body;
        assert_eq!((&stale[0]["id"], &stale[0]["status"]), (&json!(id), &json!("disabled")));
    }

    async fn a_stale_version_is_refused_with_both_versions_and_changes_nothing(ctx) {
        let app = app(&ctx).await;
        let submitted = post(&app, "/v1/tasks", &json!({ "title": "t" })).await;
        assert_eq!((&submitted.headers["etag"], &submitted.body["version"]), (&"\"1\"".parse().expect("text"), &json!(1)));
        let path = format!("/v1/tasks/{}", text(&submitted.body["id"]));
        let changed = patch(&app, &path, Some("\"1\""), &json!({ "title": "u" })).await;
        assert_eq!((changed.status, changed.headers["etag"].to_str().ok()), (StatusCode::OK, Some("\"2\"")));
        assert_eq!(get(&app, &path).await.headers["etag"], "\"2\"");
        let stale = patch(&app, &path, Some("\"1\""), &json!({ "title": "v" })).await;
        assert_eq!((stale.status, &stale.body["code"]), (StatusCode::PRECONDITION_FAILED, &json!("stale_version")));
        let detail = text(&stale.body["detail"]);
        assert!(detail.contains("at version 2") && detail.contains("for version 1"), "{detail}");
        for (method, what) in [(Method::DELETE, ""), (Method::POST, "/cancel"), (Method::POST, "/retry"), (Method::POST, "/assign-optimal")] {
            let request = Request::builder().method(method).uri(format!("{path}{what}")).header("authorization", format!("Bearer {KEY}"));
            let refused = answer(&app, request.header("if-match", "\"1\"").body(Body::empty()).expect("a request")).await;
            assert_eq!(refused.status, StatusCode::PRECONDITION_FAILED, "{what}: {}", refused.body);
        }
        let wrong = patch(&app, &path, Some("W/\"2\""), &json!({ "title": "v" })).await;
        assert_eq!((wrong.status, &wrong.body["field"]), (StatusCode::BAD_REQUEST, &json!("if-match")));
        assert_eq!(get(&app, &path).await.body["title"], "u");
        assert_eq!(patch(&app, &path, Some("*"), &json!({ "title": "v" })).await.status, StatusCode::OK);
    }

    async fn an_illegal_transition_is_told_with_from_to_and_what_is_legal(ctx) {
        let app = app(&ctx).await;
        let [id] = notes(&app).await;
        let refused = patch(&app, &format!("/v1/tasks/{id}"), None, &json!({ "status": "completed" })).await;
        assert_eq!((refused.status, &refused.body["field"]), (StatusCode::BAD_REQUEST, &json!("status")));
        let expect = "status: a task that is ready cannot be set to completed; it can be set to assigned";
        assert_eq!(refused.body["detail"], expect);
        let retried = post(&app, &format!("/v1/tasks/{id}/retry"), &Value::Null).await;
        assert_eq!(retried.status, StatusCode::CONFLICT);
        assert_eq!(retried.body["detail"], "a task that is ready cannot be retried; only one that is failed can");
    }

    async fn tasks_are_scored_and_given_to_workers(ctx) {
        let app = app(&ctx).await;
        let [a, b, c] = notes(&app).await;
        let scored = post(&app, "/tasks/prioritize", &json!({ "algorithm": "highest_priority", "limit": 2 })).await;
        assert_eq!((scored.status, scored.headers["x-total-count"].to_str().ok()), (StatusCode::OK, Some("3")));
        assert_eq!((&scored.body[0]["task_id"], &scored.body[0]["score"]), (&json!(a), &json!(60.0)));
        refuse(&app, "/v1/tasks/prioritize", "{\"algorithm\": \"alphabet\"}", Some("algorithm")).await;
        refuse(&app, "/v1/tasks/prioritize", "{\"algorithm\": \"effort\", \"limit\": 0}", Some("limit")).await;
        let nobody = post(&app, &format!("/v1/tasks/{a}/assign-optimal"), &Value::Null).await;
        assert_eq!((nobody.status, &nobody.body["code"]), (StatusCode::CONFLICT, &json!("no_capable_worker")));
        let codex = worker(&app, &json!({ "worker_type": "codex", "capacity": 2 })).await;
        let assigned = post(&app, &format!("/tasks/{a}/assign-optimal"), &Value::Null).await;
        assert_eq!((assigned.status, &assigned.body["worker"]["id"]), (StatusCode::OK, &json!(codex)));
        let batch = post(&app, "/tasks/assign-batch", &json!({ "count": 5 })).await;
        assert_eq!((batch.status, &batch.body[0]["task_id"], batch.body.as_array().map(Vec::len)), (StatusCode::OK, &json!(b), Some(1)));
        refuse(&app, "/v1/tasks/assign-batch", "{\"count\": 101}", Some("count")).await;
        let preempt = format!("/tasks/{c}/preempt");
        let equal = post(&app, &preempt, &json!({ "target_worker_id": codex })).await;
        assert_eq!((equal.status, &equal.body["code"]), (StatusCode::CONFLICT, &json!("not_more_urgent")));
        patch(&app, &format!("/v1/tasks/{c}"), None, &json!({ "priority": 5 })).await;
        let done = post(&app, &preempt, &json!({ "target_worker_id": codex })).await;
        assert_eq!((done.status, &done.body["task_id"], &done.body["preempted_task_id"]), (StatusCode::OK, &json!(c), &json!(b)));
        let history = get(&app, &format!("/v1/tasks/{b}/executions")).await.body;
        assert_eq!((&history["executions"][0]["outcome"], &history["summary"]["failure_count"]), (&json!("preempted"), &json!(0)));
    }

    async fn a_task_is_split_and_its_parts_are_followed(ctx) {
        let app = app(&ctx).await;
        let [whole] = notes(&app).await;
        let path = format!("/v1/tasks/{whole}/split");
        refuse(&app, &path, "{\"subtasks\": []}", Some("subtasks")).await;
        refuse(&app, &path, "{\"subtasks\": [{\"title\": \"a\", \"colour\": 1}]}", Some("subtasks[0].colour")).await;
        let parts = json!({ "subtasks": [{ "title": "a" }, { "title": "b", "effort_estimate": 5, "depends_on": [0] }] });
        let split = post(&app, &path, &parts).await;
        assert_eq!((split.status, split.body["subtask_ids"].as_array().map(Vec::len)), (StatusCode::CREATED, Some(2)));
        assert_eq!(get(&app, &format!("/v1/tasks/{whole}")).await.body["status"], "split");
        let part = text(&split.body["subtask_ids"][0]);
        let codex = worker(&app, &json!({ "worker_type": "codex" })).await;
        post(&app, &format!("/v1/tasks/{part}/assign"), &json!({ "worker_id": codex })).await;
        let started = post(&app, &format!("/v1/tasks/{part}/executions"), &json!({ "agent_type": "codex", "worker_id": codex })).await;
        let progress = get(&app, &format!("/executions/{}/subtasks", text(&started.body["id"]))).await;
        assert_eq!((progress.status, &progress.body["total"], &progress.body["percentage"]), (StatusCode::OK, &json!(0), &json!(0)));
        let unknown = get(&app, &format!("/v1/executions/{part}/subtasks")).await;
        assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    }

    async fn many_tasks_are_called_off_and_retried_with_a_result_for_each(ctx) {
        let app = app(&ctx).await;
        let [a, b] = notes(&app).await;
        let done = post(&app, "/v1/tasks/retry", &json!({ "ids": [a] })).await;
        assert_eq!((done.status, &done.body["results"][0]["problem"]["code"]), (StatusCode::OK, &json!("task_not_failed")));
        assert_eq!((&done.body["results"][0]["problem"]["status"], &done.body["remaining"]), (&json!(409), &json!(0)));
        let done = post(&app, "/tasks/cancel", &json!({ "filter": { "status": "ready" }, "all": true })).await;
        let expect = json!({ "results": [{ "id": a, "status": "cancelled" }, { "id": b, "status": "cancelled" }], "remaining": 0 });
        assert_eq!((done.status, &done.body), (StatusCode::OK, &expect));
        for (body, field) in [
            ("{}", "ids"),
            ("{\"ids\": []}", "ids"),
            ("{\"ids\": [\"7\"]}", "ids[0]"),
            ("{\"filter\": {\"status\": \"done\"}}", "filter.status"),
            ("{\"filter\": {\"status\": \"completed\"}}", "filter.status"),
            ("{\"filter\": {\"title\": \"t\"}}", "filter.title"),
        ] {
            refuse(&app, "/v1/tasks/cancel", body, Some(field)).await;
        }
    }

    async fn all_attempts_are_listed_with_what_they_come_to(ctx) {
        let app = app(&ctx).await;
        let [id] = notes(&app).await;
        let codex = worker(&app, &json!({ "worker_type": "codex" })).await;
        for (seconds, success, cost) in [(10, false, "0.25"), (20, true, "1.5")] {
            if success {
                post(&app, &format!("/v1/tasks/{id}/retry"), &Value::Null).await;
            }
            post(&app, &format!("/v1/tasks/{id}/assign"), &json!({ "worker_id": codex })).await;
            let start = json!({ "agent_type": "codex", "worker_id": codex });
            let started = post(&app, &format!("/v1/tasks/{id}/executions"), &start).await;
            assert_eq!((started.status, &started.body["success"]), (StatusCode::CREATED, &Value::Null));
            ctx.clock.advance(std::time::Duration::from_secs(seconds));
            let end = json!({ "success": success, "cost_dollars": cost });
            post(&app, &format!("/executions/{}/complete", text(&started.body["id"])), &end).await;
        }
        let history = get(&app, &format!("/tasks/{id}/executions")).await.body;
        let numbers: Vec<&Value> = history["executions"].as_array().expect("a list").iter().map(|one| &one["number"]).collect();
        assert_eq!(numbers, [&json!(2), &json!(1)]);
        let expect = json!({ "total_attempts": 2, "success_count": 1, "failure_count": 1, "total_cost_dollars": "1.750000", "average_duration_seconds": 15 });
        assert_eq!(history["summary"], expect);
    }

    async fn a_failure_strategy_is_made_followed_changed_and_deleted(ctx) {
        let app = app(&ctx).await;
        let new = json!({ "name": "careful", "max_attempts": 1, "rules": [{ "on": "any", "action": { "kind": "retry" } }] });
        let made = post(&app, "/v1/failure-strategies", &new).await;
        assert_eq!((made.status, &made.body["rules"]), (StatusCode::CREATED, &new["rules"]));
        let path = format!("/v1/failure-strategies/{}", text(&made.body["id"]));
        assert_eq!(get(&app, &path).await.body, made.body);
        assert_eq!(get(&app, "/failure-strategies").await.body, json!([made.body]));
        let [id] = notes(&app).await;
        let follow = json!({ "key": "strategy_id", "value": made.body["id"] });
        assert_eq!(post(&app, &format!("/v1/tasks/{id}/metadata"), &follow).await.status, StatusCode::OK);
        for (expect, attempts) in [("failed", 1), ("ready", 2)] {
            let codex = worker(&app, &json!({ "worker_type": "codex" })).await;
            post(&app, &format!("/v1/tasks/{id}/assign"), &json!({ "worker_id": codex })).await;
            let start = json!({ "agent_type": "codex", "worker_id": codex });
            let started = post(&app, &format!("/v1/tasks/{id}/executions"), &start).await;
            let end = json!({ "success": false, "error_message": "no" });
            post(&app, &format!("/v1/executions/{}/complete", text(&started.body["id"])), &end).await;
            let task = get(&app, &format!("/v1/tasks/{id}")).await.body;
            assert_eq!((&task["status"], &task["attempts"]), (&json!(expect), &json!(attempts)));
            let is_blocked = get(&app, "/tasks/by-tag/swarm%3Ablocked").await.body != json!([]);
            assert_eq!(is_blocked, expect == "failed");
            patch(&app, &path, None, &json!({ "max_attempts": 9 })).await;
            post(&app, &format!("/v1/tasks/{id}/retry"), &Value::Null).await;
        }
        for (body, field) in [
            (json!({ "name": "s", "rules": [] }), "rules"),
            (json!({ "name": "s", "rules": [{ "on": "never", "action": { "kind": "retry" } }] }), "rules[0].on"),
            (json!({ "name": "s", "rules": [{ "on": "any", "action": { "kind": "retry", "often": 3 } }] }), "rules[0].action"),
            (json!({ "name": "s", "rules": [{ "on": "any", "action": { "kind": "pray" } }] }), "rules[0].action"),
            (json!({ "name": "s", "colour": 1, "rules": [] }), "colour"),
        ] {
            refuse(&app, "/v1/failure-strategies", &body.to_string(), Some(field)).await;
        }
        assert_eq!(delete(&app, &path).await.status, StatusCode::NO_CONTENT);
        assert_eq!(get(&app, &path).await.status, StatusCode::NOT_FOUND);
    }
}
