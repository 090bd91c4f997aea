//! The audit (row CAIRN-75): every operation that changes something writes one
//! row that names its caller, in the transaction of the change.

use wire::audit::AuditPage;

use super::*;

/// Operations that change nothing that lasts, or are no caller's decision.
const NO_DECISION: [(&str, &str); 5] = [
    ("POST", "/v1/executions/{id}/heartbeat"),
    ("POST", "/v1/tasks/metadata/batch"),
    ("POST", "/v1/workers/{id}/heartbeat"),
    ("POST", "/v1/workers/{id}/next"),
    // What a runner says of its executions is heard by the tests of `work`; here no machine has any.
    ("POST", "/v1/workers/register"),
];

async fn audit(app: &Router, query: &str) -> AuditPage {
    let answer = get(app, &format!("/v1/audit?{query}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    serde_json::from_value(answer.body).expect("a page")
}

async fn task(app: &Router) -> String {
    let answer = post(app, "/v1/tasks", &json!({ "title": "t" })).await;
    answer.body["id"].as_str().expect("an id").to_owned()
}

async fn worker(app: &Router) -> String {
    let answer = post(app, "/v1/workers", &json!({ "worker_type": "w", "capacity": 100 })).await;
    answer.body["id"].as_str().expect("an id").to_owned()
}

/// A task that a worker by hand has begun: the task, and the execution.
async fn begun(app: &Router) -> (String, String) {
    let (task, worker) = (task(app).await, worker(app).await);
    post(app, &format!("/v1/tasks/{task}/assign"), &json!({ "worker_id": worker })).await;
    let new = json!({ "agent_type": "a", "worker_id": worker });
    let execution = post(app, &format!("/v1/tasks/{task}/executions"), &new).await;
    (task, execution.body["id"].as_str().expect("an id").to_owned())
}

/// An execution of the next task, claimed by a worker of a name.
async fn claimed(app: &Router) -> String {
    task(app).await;
    let claims = post(app, "/v1/tasks/claim", &json!({ "worker": "w" })).await;
    claims.body[0]["execution_id"].as_str().expect("an id").to_owned()
}

/// Makes what the operation needs; gives its path and its body.
async fn prepare(app: &Router, method: &str, path: &str) -> Option<(String, Value)> {
    let of = |id: &str| path.replace("{id}", id);
    Some(match (method, path) {
        ("POST", "/v1/tasks") => (path.into(), json!({ "title": "t" })),
        ("POST", "/v1/tasks/batch") => (path.into(), json!([{ "title": "t" }])),
        ("PATCH", "/v1/tasks/{id}") => (of(&task(app).await), json!({ "title": "u" })),
        ("DELETE", "/v1/tasks/{id}") | ("POST", "/v1/tasks/{id}/cancel") => (of(&task(app).await), json!({})),
        ("POST", "/v1/tasks/{id}/assign") => {
            let (task, worker) = (task(app).await, worker(app).await);
            (of(&task), json!({ "worker_id": worker }))
        }
        ("POST", "/v1/tasks/{id}/estimate") => (of(&task(app).await), json!({ "effort_minutes": 1 })),
        ("POST", "/v1/tasks/{id}/retry") => {
            let (task, execution) = begun(app).await;
            post(app, &format!("/v1/executions/{execution}/complete"), &json!({ "success": false })).await;
            (of(&task), json!({}))
        }
        ("POST", "/v1/tasks/{id}/dependencies") => {
            let (task, needed) = (task(app).await, task(app).await);
            (of(&task), json!({ "depends_on_task_id": needed }))
        }
        ("DELETE", "/v1/tasks/{id}/dependencies/{dependency_id}") => {
            let (task, needed) = (task(app).await, task(app).await);
            let new = json!({ "depends_on_task_id": needed });
            let added = post(app, &format!("/v1/tasks/{task}/dependencies"), &new).await;
            let dependency = added.body["id"].as_str().expect("an id").to_owned();
            (of(&task).replace("{dependency_id}", &dependency), json!({}))
        }
        ("PUT", "/v1/tasks/{id}/outcomes/{name}") => (of(&task(app).await).replace("{name}", "merged"), json!({})),
        ("DELETE", "/v1/tasks/{id}/outcomes/{name}") => {
            let path = of(&task(app).await).replace("{name}", "merged");
            ask(app, Method::PUT, &path, Some(KEY), Some("{}")).await;
            (path, json!({}))
        }
        ("POST", "/v1/tasks/{id}/metadata") => (of(&task(app).await), json!({ "key": "k", "value": "v" })),
        ("POST", "/v1/tasks/{id}/tags") => (of(&task(app).await), json!({ "tags": ["t"] })),
        ("POST", "/v1/tasks/{id}/executions") => {
            let (task, worker) = (task(app).await, worker(app).await);
            post(app, &format!("/v1/tasks/{task}/assign"), &json!({ "worker_id": worker })).await;
            (of(&task), json!({ "agent_type": "a", "worker_id": worker }))
        }
        ("POST", "/v1/executions/{id}/complete") => (of(&begun(app).await.1), json!({ "success": true })),
        ("POST", "/v1/tasks/claim") => {
            // Its worker is known by then.
            claimed(app).await;
            task(app).await;
            (path.into(), json!({ "worker": "w" }))
        }
        ("POST", "/v1/executions/{id}/start" | "/v1/executions/{id}/release") => (of(&claimed(app).await), json!({})),
        ("POST", "/v1/executions/complete") => {
            let end = json!({ "execution_id": claimed(app).await, "success": true });
            (path.into(), json!({ "completions": [end] }))
        }
        ("POST", "/v1/workers") => (path.into(), json!({ "worker_type": "w" })),
        ("DELETE", "/v1/workers/{id}") => (of(&worker(app).await), json!({})),
        _ => return None,
    })
}

/// Every operation of the document that may change something.
fn changing() -> Vec<(String, String)> {
    let document = serde_json::to_value(openapi()).expect("plain data");
    let paths = document["paths"].as_object().expect("paths");
    let methods = |path: &String, item: &Value| -> Vec<(String, String)> {
        let methods = item.as_object().expect("methods").keys();
        methods.map(|method| (method.to_uppercase(), path.clone())).filter(|(method, _)| method != "GET").collect()
    };
    paths.iter().flat_map(|(path, item)| methods(path, item)).collect()
}

kernel::on_both! { crate::migrations();
    async fn every_operation_that_changes_something_writes_one_row_that_names_its_caller(ctx) {
        let app = app(&ctx).await;
        let key = access::authenticate(&ctx, KEY).await.expect("known").key;
        let mut walked = 0;
        for (method, path) in changing() {
            // A worker's own words about its execution carry its token, not a key.
            let is_workers = path.starts_with("/v1/workers/{id}/executions/");
            if is_workers || NO_DECISION.contains(&(method.as_str(), path.as_str())) {
                continue;
            }
            let prepared = prepare(&app, &method, &path).await;
            let (path, body) = prepared.unwrap_or_else(|| panic!("say here how {method} {path} is called, so that its row is looked for"));
            let before = audit(&app, "").await.entries.len();
            let answer = ask(&app, method.parse().expect("a method"), &path, Some(KEY), Some(&body.to_string())).await;
            assert!(answer.status.is_success(), "{method} {path}: {}", answer.body);
            let entries = audit(&app, "").await.entries;
            assert_eq!(entries.len(), before + 1, "{method} {path}: {entries:?}");
            assert_eq!(entries[0].actor, format!("api-key/{key}"), "{method} {path}");
            assert!(entries[0].old_values != entries[0].new_values, "{method} {path}: {:?}", entries[0]);
            walked += 1;
        }
        assert!(walked >= 16, "{walked}");
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
