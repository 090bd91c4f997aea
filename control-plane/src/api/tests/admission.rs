//! Holds, limits, projects, budgets and schedules as a client meets them.

use super::*;

async fn put(app: &Router, path: &str, body: &Value) -> Answer {
    ask(app, Method::PUT, path, Some(KEY), Some(&body.to_string())).await
}

async fn patch(app: &Router, path: &str, body: &Value) -> Answer {
    ask(app, Method::PATCH, path, Some(KEY), Some(&body.to_string())).await
}

async fn delete(app: &Router, path: &str) -> StatusCode {
    ask(app, Method::DELETE, path, Some(KEY), None).await.status
}

/// Submits a task with these fields beside its title and gives its path.
async fn task(app: &Router, fields: Value) -> String {
    let mut new = json!({ "title": "t" });
    new.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
    let submitted = post(app, "/v1/tasks", &new).await;
    assert_eq!(submitted.status, StatusCode::CREATED, "{}", submitted.body);
    format!("/v1/tasks/{}", submitted.body["id"].as_str().expect("an id"))
}

async fn person(app: &Router) -> Value {
    let worker = post(app, "/v1/workers", &json!({ "worker_type": "person", "capacity": 10 })).await;
    json!({ "worker_id": worker.body["id"] })
}

kernel::on_both! { crate::migrations();
    async fn a_hold_is_set_seen_in_lists_and_in_why_refuses_by_hand_and_is_removed(ctx) {
        let app = app(&ctx).await;
        let path = task(&app, json!({ "project": "web" })).await;
        let until = (ctx.now() + chrono::TimeDelta::hours(1)).to_rfc3339();
        let new = json!({ "project": "web", "reason": "release", "owner": "ada", "expires_at": until });
        let hold = post(&app, "/v1/holds", &new).await;
        assert_eq!((hold.status, &hold.body["owner"]), (StatusCode::CREATED, &json!("ada")));
        assert_eq!(get(&app, "/holds").await.body, json!([hold.body]));
        let why = get(&app, &format!("{path}/why")).await.body;
        assert_eq!(why["reasons"][0]["code"], "held");
        assert_eq!(why["reasons"][0]["until"], hold.body["expires_at"]);
        assert_eq!(why["reasons"][1]["code"], "nothing_to_run", "what a machine would wait for comes last: it can be claimed");
        let refused = post(&app, &format!("{path}/assign"), &person(&app).await).await;
        assert_eq!((refused.status, &refused.body["code"]), (StatusCode::CONFLICT, &json!("held")));
        let id = hold.body["id"].as_str().expect("an id");
        assert_eq!(delete(&app, &format!("/v1/holds/{id}")).await, StatusCode::NO_CONTENT);
        assert_eq!(delete(&app, &format!("/v1/holds/{id}")).await, StatusCode::NOT_FOUND);
        assert_eq!(post(&app, &format!("{path}/assign"), &person(&app).await).await.status, StatusCode::OK);
        let owner = post(&app, "/v1/holds", &json!({ "everything": true, "reason": "r" })).await.body["owner"].clone();
        assert!(owner.as_str().is_some_and(|owner| owner.len() == 36), "the key's id: {owner}");
    }

    async fn a_limit_is_set_seen_and_removed(ctx) {
        let app = app(&ctx).await;
        let limit = put(&app, "/v1/limits/db%2Fmain", &json!({ "max_running": 1 })).await;
        assert_eq!((limit.status, &limit.body["key"]), (StatusCode::OK, &json!("db/main")));
        let (one, two) = (task(&app, json!({ "keys": ["db/main"] })).await, task(&app, json!({ "keys": ["db/main"] })).await);
        assert_eq!(post(&app, &format!("{one}/assign"), &person(&app).await).await.status, StatusCode::OK);
        let refused = post(&app, &format!("{two}/assign"), &person(&app).await).await;
        assert_eq!((refused.status, &refused.body["code"]), (StatusCode::CONFLICT, &json!("concurrency_limit")));
        assert_eq!(get(&app, "/v1/limits/db%2Fmain").await.body["running"], 1);
        assert_eq!(get(&app, "/v1/limits").await.body.as_array().map(Vec::len), Some(1));
        assert_eq!(delete(&app, "/v1/limits/db%2Fmain").await, StatusCode::NO_CONTENT);
        assert_eq!(get(&app, "/v1/limits/db%2Fmain").await.status, StatusCode::NOT_FOUND);
    }

    async fn a_project_is_weighed_and_listed(ctx) {
        let app = app(&ctx).await;
        task(&app, json!({ "project": "a" })).await;
        let weighed = put(&app, "/v1/projects/b", &json!({ "weight": 3 })).await;
        assert_eq!((weighed.status, &weighed.body["weight"]), (StatusCode::OK, &json!(3)));
        let projects = get(&app, "/v1/projects").await.body;
        let row = |name: &str, weight: i32, has_waiting: bool| json!({ "name": name, "weight": weight, "in_hand": 0, "has_waiting": has_waiting, "tokens": 0, "cost_micros": 0 });
        assert_eq!(projects, json!([row("a", 1, true), row("b", 3, false)]));
    }

    async fn a_budget_is_made_changed_kept_to_and_removed(ctx) {
        let app = app(&ctx).await;
        let new = json!({ "project": "web", "period": "month", "allocated_dollars": "1", "reservation_dollars": "1" });
        let budget = post(&app, "/v1/budgets", &new).await;
        assert_eq!((budget.status, &budget.body["alert_threshold"]), (StatusCode::CREATED, &json!("0.8")));
        let again = post(&app, "/v1/budgets", &new).await;
        assert_eq!((again.status, &again.body["code"]), (StatusCode::CONFLICT, &json!("budget_exists")));
        let (one, two) = (task(&app, json!({ "project": "web" })).await, task(&app, json!({ "project": "web" })).await);
        assert_eq!(post(&app, &format!("{one}/assign"), &person(&app).await).await.status, StatusCode::OK);
        let refused = post(&app, &format!("{two}/assign"), &person(&app).await).await;
        assert_eq!((refused.status, &refused.body["code"]), (StatusCode::CONFLICT, &json!("over_budget")));
        let path = format!("/v1/budgets/{}", budget.body["id"].as_str().expect("an id"));
        let changed = patch(&app, &path, &json!({ "allocated_dollars": "2" })).await;
        assert_eq!((&changed.body["allocated_dollars"], &changed.body["reserved_dollars"]), (&json!("2.000000"), &json!("1.000000")));
        assert_eq!(get(&app, &path).await.body, changed.body);
        assert_eq!(post(&app, &format!("{two}/assign"), &person(&app).await).await.status, StatusCode::OK);
        assert_eq!(delete(&app, &path).await, StatusCode::NO_CONTENT);
        assert_eq!(get(&app, "/v1/budgets").await.body, json!([]));
    }

    async fn a_schedule_is_made_changed_and_removed(ctx) {
        let app = app(&ctx).await;
        let new = json!({ "name": "nightly", "cron": "30 2 * * *", "time_zone": "Europe/Berlin", "task": { "title": "t" } });
        let schedule = post(&app, "/v1/schedules", &new).await;
        assert_eq!((schedule.status, &schedule.body["overlap"]), (StatusCode::CREATED, &json!("skip")));
        let path = format!("/v1/schedules/{}", schedule.body["id"].as_str().expect("an id"));
        assert_eq!(get(&app, &path).await.body, schedule.body);
        let paused = patch(&app, &path, &json!({ "paused": true })).await.body;
        assert_eq!((&paused["paused"], &paused["next_at"]), (&json!(true), &Value::Null));
        assert_eq!(delete(&app, &path).await, StatusCode::NO_CONTENT);
        assert_eq!(get(&app, &path).await.status, StatusCode::NOT_FOUND);
    }

    async fn what_is_set_on_a_task_is_shown_and_null_takes_it_away(ctx) {
        let app = app(&ctx).await;
        let not_before = ctx.now() + chrono::TimeDelta::hours(1);
        let fields = json!({
            "project": "web", "keys": ["b", "a"], "not_before": not_before, "deadline": not_before + chrono::TimeDelta::hours(1),
            "budget": { "dollars": "2.5", "attempts": 3 },
        });
        let path = task(&app, fields).await;
        let view = get(&app, &path).await.body;
        assert_eq!((&view["project"], &view["keys"], &view["budget"]["spent_dollars"]), (&json!("web"), &json!(["a", "b"]), &json!("0.000000")));
        assert_eq!(view["budget"]["attempts"], 3);
        let bare = json!({ "project": null, "keys": [], "not_before": null, "deadline": null, "budget": null });
        let view = patch(&app, &path, &bare).await.body;
        for field in ["project", "keys", "not_before", "deadline", "budget"] {
            assert_eq!(view.get(field), None, "{field}: {view}");
        }
        // Told as it was sent.
        let told = &get(&app, "/v1/audit?limit=1").await.body["entries"][0]["old_values"]["budget"];
        assert_eq!(told, &json!({ "dollars": "2.500000", "attempts": 3 }));
    }

    async fn what_cannot_be_meant_is_refused_by_name(ctx) {
        let app = app(&ctx).await;
        let path = task(&app, json!({})).await;
        let check = async |method: Method, path: &str, body: Value, field: &str| {
            let answer = ask(&app, method, path, Some(KEY), Some(&body.to_string())).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path} {body}: {}", answer.body);
            assert_eq!(answer.body["field"], field, "{path} {body}: {}", answer.body);
        };
        let long = "x".repeat(101);
        let now = ctx.now();
        for (body, field) in [
            (json!({ "title": "t", "project": "" }), "project"),
            (json!({ "title": "t", "project": long }), "project"),
            (json!({ "title": "t", "keys": ["a", "a"] }), "keys"),
            (json!({ "title": "t", "keys": ["a b"] }), "keys"),
            (json!({ "title": "t", "keys": ["schedule:x"] }), "keys"),
            (json!({ "title": "t", "keys": (0..11).map(|n| n.to_string()).collect::<Vec<_>>() }), "keys"),
            (json!({ "title": "t", "deadline": now }), "deadline"),
            (json!({ "title": "t", "not_before": "tomorrow" }), "not_before"),
            (json!({ "title": "t", "not_before": "9500-01-01T00:00:00Z" }), "not_before"),
            (json!({ "title": "t", "not_before": "2100-01-02T00:00:00Z", "deadline": "2100-01-01T00:00:00Z" }), "deadline"),
            (json!({ "title": "t", "budget": { "dollars": "-1" } }), "budget.dollars"),
            (json!({ "title": "t", "budget": { "euros": "1" } }), "budget.euros"),
        ] {
            check(Method::POST, "/v1/tasks", body, field).await;
        }
        check(Method::PATCH, &path, json!({ "keys": [""] }), "keys").await;
        for (body, field) in [
            (json!({ "reason": "r" }), "task_id"),
            (json!({ "reason": " ", "everything": true }), "reason"),
            (json!({ "reason": "r", "everything": true, "expires_at": now }), "expires_at"),
            (json!({ "reason": "r", "everything": true, "till": now }), "till"),
        ] {
            check(Method::POST, "/v1/holds", body, field).await;
        }
        check(Method::PUT, "/v1/limits/k", json!({}), "max_running").await;
        check(Method::PUT, "/v1/limits/a%20b", json!({ "max_running": 1 }), "key").await;
        check(Method::PUT, "/v1/projects/p", json!({ "weight": 0 }), "weight").await;
        check(Method::POST, "/v1/budgets", json!({ "period": "year", "allocated_dollars": "1" }), "period").await;
        check(Method::POST, "/v1/budgets", json!({ "period": "day", "allocated_dollars": "lots" }), "allocated_dollars").await;
        check(Method::POST, "/v1/schedules", json!({ "name": "n", "cron": "* * *", "task": { "title": "t" } }), "cron").await;
    }
}
