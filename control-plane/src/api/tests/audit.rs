//! The audit (row CAIRN-75): every operation that changes something writes one
//! row that names its caller, in the transaction of the change.

use wire::audit::AuditPage;

use super::*;

async fn audit(app: &Router, query: &str) -> AuditPage {
    let answer = get(app, &format!("/v1/audit?{query}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    serde_json::from_value(answer.body).expect("a page")
}

/// How many things an operation changes: a split makes a task, and a dependency on it; a proposal is held.
fn rows(method: &str, path: &str) -> usize {
    match (method, path) {
        (_, path) if path.ends_with("/split") => 3,
        ("POST", "/v1/proposals") => 2,
        _ => 1,
    }
}

kernel::on_both! { crate::migrations();
    async fn every_operation_that_changes_something_writes_one_row_that_names_its_caller(ctx) {
        let app = app(&ctx).await;
        let key = access::authenticate(&ctx, KEY).await.expect("known").key;
        operations::each_change(&ctx, &app, async |method, pattern, path, body| {
            let before = audit(&app, "").await.entries.len();
            let answer = ask(&app, method.parse().expect("a method"), path, Some(KEY), Some(body)).await;
            assert!(answer.status.is_success(), "{method} {path}: {}", answer.body);
            let entries = audit(&app, "").await.entries;
            assert_eq!(entries.len(), before + rows(method, pattern), "{method} {path}: {entries:?}");
            assert_eq!(entries[0].actor, format!("api-key/{key}"), "{method} {path}");
            assert!(entries[0].old_values != entries[0].new_values, "{method} {path}: {:?}", entries[0]);
        })
        .await;
    }

    async fn a_deleted_tasks_history_stays_and_holds_no_values_of_variables(ctx) {
        let app = app(&ctx).await;
        let spec = json!({ "repository": "https://example.org/a", "command": ["true"], "env": { "TOKEN": "hunter2" } });
        let created = post(&app, "/v1/tasks", &json!({ "title": "t", "spec": spec })).await;
        let id = created.body["id"].as_str().expect("an id").to_owned();
        ask(&app, Method::PATCH, &format!("/v1/tasks/{id}"), Some(KEY), Some(&json!({ "priority": 5 }).to_string())).await;
        let deleted = ask(&app, Method::DELETE, &format!("/v1/tasks/{id}"), Some(KEY), None).await;
        assert_eq!(deleted.status, StatusCode::NO_CONTENT);
        let entries = audit(&app, &format!("entity_type=task&entity_id={id}")).await.entries;
        let actions: Vec<&str> = entries.iter().map(|entry| entry.action.as_str()).collect();
        assert_eq!(actions, ["task.deleted", "task.updated", "task.submitted"]);
        assert_eq!((&entries[1].old_values, &entries[1].new_values), (&json!({ "priority": 3 }), &json!({ "priority": 5 })));
        assert_eq!(entries[2].new_values["spec"]["env"]["TOKEN"], "[withheld]");
        assert!(!serde_json::to_string(&entries).expect("plain data").contains("hunter2"));
    }

    async fn a_reason_is_kept_with_the_change_and_a_bad_one_is_refused_by_name(ctx) {
        let app = app(&ctx).await;
        let send = async |reason: &[u8]| {
            let request = Request::builder().method(Method::POST).uri("/v1/tasks");
            let request = request.header("authorization", format!("Bearer {KEY}")).header("x-reason", reason);
            let body = Body::from(json!({ "title": "t" }).to_string());
            let response = app.clone().oneshot(request.body(body).expect("a request")).await.expect("answers");
            let status = response.status();
            let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("reads");
            (status, String::from_utf8_lossy(&bytes).into_owned())
        };
        assert_eq!(send("weil es brennt – żółw".as_bytes()).await.0, StatusCode::CREATED);
        assert_eq!(audit(&app, "limit=1").await.entries[0].reason.as_deref(), Some("weil es brennt – żółw"));
        for wrong in [b"".as_slice(), b" ", b"\xff\xfe", "x".repeat(501).as_bytes()] {
            let (status, body) = send(wrong).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
            assert!(body.contains("\"field\":\"x-reason\""), "{body}");
        }
    }

    async fn the_audit_refuses_what_it_does_not_know_by_name(ctx) {
        let app = app(&ctx).await;
        for wrong in ["limit=0", "limit=x", "since=yesterday", "colour=red", "before=-x"] {
            let answer = get(&app, &format!("/v1/audit?{wrong}")).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{wrong}: {}", answer.body);
            let name = wrong.split('=').next().expect("a name");
            assert!(answer.body["detail"].as_str().is_some_and(|detail| detail.contains(name)), "{wrong}: {}", answer.body);
        }
        assert_eq!(get(&app, "/audit?user=nobody").await.body, json!({ "entries": [] }));
    }
}
