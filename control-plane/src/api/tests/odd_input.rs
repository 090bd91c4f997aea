//! What no task API must stumble over: texts of every kind in every field, and the ids of
//! other tenants in every place that takes one.

use super::*;

/// A task of a tenant whom the key is not of.
async fn of_another_tenant(ctx: &Ctx) -> (String, String) {
    // No use-case makes a second tenant yet, so its row is written past `access`, whose table it is.
    const TENANT: &str = concat!("INSERT INTO ", "tenants (id, name, created_at) VALUES ($1, 'another', $2)");
    let tenant = ctx.id(wire::id::TenantId::mint);
    let mut tx = ctx.begin("test").await.expect("begins");
    let sql = kernel::Sql { sqlite: TENANT, postgres: TENANT };
    kernel::execute!(tx, sql, tenant.uuid(), ctx.now()).expect("inserts");
    tx.commit(()).await.expect("commits");
    let new = serde_json::from_value(json!({ "title": "theirs" })).expect("a task");
    let task = work::tasks::submit(ctx, &Default::default(), tenant, new, None).await.expect("submits").id;
    let other = serde_json::from_value(json!({ "title": "theirs too" })).expect("a task");
    let other = work::tasks::submit(ctx, &Default::default(), tenant, other, None).await.expect("submits").id;
    let on = wire::dependency::NewDependency::on(other);
    let dependency = work::dependencies::add(ctx, tenant, task, on, None).await.expect("adds").id;
    work::outcomes::set(ctx, tenant, task, wire::outcome::OutcomeName::Merged, Default::default()).await.expect("sets");
    (task.to_string(), dependency.to_string())
}

kernel::on_both! { crate::migrations();
    async fn texts_of_every_kind_are_kept_or_refused_by_name(ctx) {
        let app = app(&ctx).await;
        let task = post(&app, "/v1/tasks", &json!({ "title": "t" })).await.body["id"].as_str().expect("an id").to_owned();
        let million = "x".repeat(1_000_000);
        let texts = ["🙂👩‍👩‍👧", "مرحبا بالعالم", "\u{202e}abc", "'; DROP TABLE tasks; --", "$(rm -rf /) `id` | cat", "a%b_c\\d", "\"quoted\"", "line\nbreak\ttab", "a\0b", &million];
        for text in texts {
            let (is_long, has_nul) = (text.len() > 100_000, text.contains('\0'));
            let start: String = text.chars().take(20).collect();
            let calls = [
                (Method::POST, "/v1/tasks".to_owned(), json!({ "title": text }), "title"),
                (Method::POST, "/v1/tasks".to_owned(), json!({ "title": "t", "description": text }), "description"),
                (Method::PATCH, format!("/v1/tasks/{task}"), json!({ "title": text }), "title"),
                (Method::PATCH, format!("/v1/tasks/{task}"), json!({ "description": text }), "description"),
                (Method::POST, "/v1/tasks/batch".to_owned(), json!([{ "title": "a" }, { "title": text }]), "tasks[1].title"),
                (Method::POST, "/v1/tasks/import".to_owned(), json!({ "title": "a", "description": text }), "lines[1].description"),
                (Method::POST, "/v1/plan".to_owned(), json!({ "tasks": [{ "title": text }] }), "tasks[0].title"),
                (Method::POST, format!("/v1/tasks/{task}/metadata"), json!({ "key": text, "value": "v" }), "key"),
                (Method::POST, format!("/v1/tasks/{task}/metadata"), json!({ "key": "k", "value": text }), "value"),
                (Method::POST, format!("/v1/tasks/{task}/tags"), json!({ "tags": [text] }), "tags"),
                (Method::PUT, format!("/v1/tasks/{task}/outcomes/merged"), json!({ "detail": text }), "detail"),
            ];
            for (method, path, body, field) in calls {
                let answer = ask(&app, method.clone(), &path, Some(KEY), Some(&body.to_string())).await;
                // A title is one line.
                let has_lines = text.contains('\n') && field.ends_with("title");
                if is_long || has_nul || has_lines {
                    assert_eq!((answer.status, answer.body["field"].as_str()), (StatusCode::BAD_REQUEST, Some(field)), "{method} {path} {start:?}: {}", answer.body);
                } else {
                    assert!(answer.status.is_success(), "{method} {path} {start:?}: {}", answer.body);
                }
            }
        }
        let kept = get(&app, &format!("/v1/tasks/{task}/metadata?key=k")).await.body;
        assert_eq!(kept, "line\nbreak\ttab", "the last that could be kept");
    }

    async fn another_tenants_tasks_can_be_neither_seen_nor_named(ctx) {
        let app = app(&ctx).await;
        let (theirs, dependency) = of_another_tenant(&ctx).await;
        let ours = post(&app, "/v1/tasks", &json!({ "title": "ours" })).await.body["id"].as_str().expect("an id").to_owned();
        for (method, path) in operations_of_document() {
            let id = wire::id::TaskId::mint(DateTime::UNIX_EPOCH, [1; 10]).to_string();
            if !path.starts_with(&format!("/v1/tasks/{id}")) {
                continue;
            }
            let path = path.replacen(&id, &theirs, 1).replace(&id, &dependency);
            let body = json!({ "depends_on_task_id": ours, "key": "k", "value": "v", "tags": [], "worker_id": uuid::Uuid::nil(), "effort_minutes": 1, "agent_type": "a", "target_worker_id": uuid::Uuid::nil(), "subtasks": [{ "title": "part" }] });
            let fields: &[&str] = match path.rsplit('/').next().unwrap_or_default() {
                "dependencies" => &["depends_on_task_id"],
                "metadata" => &["key", "value"],
                "tags" => &["tags"],
                "assign" => &["worker_id"],
                "preempt" => &["target_worker_id"],
                "split" => &["subtasks"],
                "estimate" => &["effort_minutes"],
                "executions" => &["agent_type", "worker_id"],
                _ => &[],
            };
            let body: serde_json::Map<String, Value> = fields.iter().map(|field| ((*field).to_owned(), body[*field].clone())).collect();
            let answer = ask(&app, method.clone(), &path, Some(KEY), Some(&Value::Object(body).to_string())).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{method} {path}: {}", answer.body);
        }
        let depend = post(&app, &format!("/v1/tasks/{ours}/dependencies"), &json!({ "depends_on_task_id": theirs })).await;
        assert_eq!(depend.status, StatusCode::NOT_FOUND);
        let import = ask(&app, Method::POST, "/v1/tasks/import", Some(KEY), Some(&json!({ "title": "a", "needs": [theirs] }).to_string())).await;
        assert_eq!(import.body["field"], "lines[1].needs");
        assert_eq!(post(&app, "/v1/tasks/metadata/batch", &json!([theirs])).await.body, json!({}));
        for path in ["/v1/tasks/search?q=theirs", "/v1/tasks/by-tag/x"] {
            assert_eq!(get(&app, path).await.body, json!([]), "{path}");
        }
        assert_eq!(get(&app, "/v1/tasks").await.headers["x-total-count"], "1");
        assert_eq!(get(&app, "/v1/tasks/critical-path").await.body["open_tasks"], 1);
        assert_eq!(get(&app, "/v1/tasks/dependency-graph").await.body["nodes"].as_array().map(Vec::len), Some(1));
    }
}
