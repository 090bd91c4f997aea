//! Tasks and what they need of each other, what stands beside them, batches and
//! searches, as a client meets them over HTTP.

use super::*;

pub(super) async fn delete(app: &Router, path: &str) -> Answer {
    ask(app, Method::DELETE, path, Some(KEY), None).await
}

/// Submits notes and gives their ids.
pub(super) async fn notes<const N: usize>(app: &Router) -> [String; N] {
    let tasks: Vec<Value> = (0..N).map(|number| json!({ "title": format!("n{number}") })).collect();
    let answer = post(app, "/v1/tasks/batch", &json!(tasks)).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    let ids = answer.body.as_array().expect("a list").iter().map(|task| text(&task["id"])).collect::<Vec<_>>();
    ids.try_into().expect("as many as sent")
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

async fn depend(app: &Router, task: &str, needed: &str) -> Answer {
    let body = json!({ "depends_on_task_id": needed });
    post(app, &format!("/v1/tasks/{task}/dependencies"), &body).await
}

pub(super) async fn refuse(app: &Router, path: &str, body: &str, field: Option<&str>) {
    let answer = ask(app, Method::POST, path, Some(KEY), Some(body)).await;
    let start: String = body.chars().take(80).collect();
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path} {start}: {}", answer.body);
    if field.is_some() {
        assert_eq!(answer.body["field"].as_str(), field, "{path} {start}: {}", answer.body);
    }
}

kernel::on_both! { crate::migrations();
    async fn a_dependency_is_added_seen_from_both_ends_and_taken_back(ctx) {
        let app = app(&ctx).await;
        let [a, b] = notes(&app).await;
        let added = depend(&app, &a, &b).await;
        assert_eq!((added.status, &added.body["dependency_type"]), (StatusCode::CREATED, &json!("hard")));
        let listed = get(&app, &format!("/v1/tasks/{a}/dependencies")).await.body;
        let view = get(&app, &format!("/v1/tasks/{b}")).await.body;
        assert_eq!((&listed[0]["id"], &listed[0]["depends_on_task"]), (&added.body["id"], &view));
        let ready = get(&app, &format!("/v1/tasks/{a}/ready")).await.body;
        assert_eq!((&ready["ready"], &ready["unsatisfied"]), (&json!(false), &json!([b])));
        let blocks = get(&app, &format!("/v1/tasks/{b}/blocks")).await.body;
        assert_eq!((&blocks["count"], &blocks["tasks"][0]["id"]), (&json!(1), &json!(a)));
        let impact = get(&app, &format!("/v1/tasks/{b}/blocking-impact")).await.body;
        assert_eq!((&impact["blocking_count"], &impact["blocked_task_ids"]), (&json!(1), &json!([a])));
        let graph = get(&app, "/v1/tasks/dependency-graph").await.body;
        let edge = json!({ "id": added.body["id"], "source": b, "target": a, "dependency_type": "hard", "condition": "completed" });
        assert_eq!((graph["nodes"].as_array().map(Vec::len), &graph["edges"]), (Some(2), &json!([edge])));
        let why = get(&app, &format!("/v1/tasks/{a}/why")).await.body;
        assert_eq!((&why["reasons"][0]["code"], &why["reasons"][0]["task_id"]), (&json!("dependency"), &json!(b)));
        let path = |task: &str| format!("/v1/tasks/{task}/dependencies/{}", text(&added.body["id"]));
        assert_eq!(delete(&app, &path(&b)).await.status, StatusCode::NOT_FOUND, "it is not that task's");
        assert_eq!(delete(&app, &path(&a)).await.status, StatusCode::NO_CONTENT);
        assert_eq!(delete(&app, &path(&a)).await.status, StatusCode::NOT_FOUND);
        assert_eq!(get(&app, &format!("/v1/tasks/{a}/ready")).await.body["ready"], true);
    }

    async fn what_is_no_dependency_is_refused(ctx) {
        let app = app(&ctx).await;
        let [a, b] = notes(&app).await;
        depend(&app, &a, &b).await;
        let circle = depend(&app, &b, &a).await;
        assert_eq!((circle.status, &circle.body["code"]), (StatusCode::CONFLICT, &json!("dependency_cycle")));
        assert!(text(&circle.body["detail"]).contains(&format!("{b} (n1) → {a} (n0) → {b} (n1)")), "{}", circle.body);
        assert_eq!(depend(&app, &a, &b).await.body["code"], "dependency_exists");
        assert_eq!(depend(&app, &a, &uuid::Uuid::nil().to_string()).await.status, StatusCode::NOT_FOUND);
        let path = format!("/v1/tasks/{a}/dependencies");
        for (body, field) in [
            (json!({ "depends_on_task_id": a }), "depends_on_task_id"),
            (json!({ "depends_on_task_id": 7 }), "depends_on_task_id"),
            (json!({ "depends_on_task_id": b, "dependency_type": "firm" }), "dependency_type"),
            (json!({ "depends_on_task_id": b, "kind": "hard" }), "kind"),
            (json!({ "depends_on_task_id": b, "condition": "green" }), "condition"),
            (json!({ "depends_on_task_id": b, "group": " " }), "group"),
            (json!({ "depends_on_task_id": b, "group": "g", "dependency_type": "soft" }), "group"),
        ] {
            refuse(&app, &path, &body.to_string(), Some(field)).await;
        }
        refuse(&app, &path, "{}", None).await;
        let wrong = delete(&app, &format!("{path}/7")).await;
        assert_eq!((wrong.status, &wrong.body["field"]), (StatusCode::BAD_REQUEST, &json!("dependency_id")));
    }

    async fn outcomes_are_set_listed_and_withdrawn_and_what_waits_for_them_follows(ctx) {
        let app = app(&ctx).await;
        let [a, b] = notes(&app).await;
        let body = json!({ "depends_on_task_id": b, "condition": "artefact:dist/a b.tgz", "group": "either" });
        let added = post(&app, &format!("/v1/tasks/{a}/dependencies"), &body).await.body;
        assert_eq!((&added["condition"], &added["group"], &added["satisfied"]), (&body["condition"], &json!("either"), &json!(false)));
        let path = format!("/v1/tasks/{b}/outcomes/artefact:dist%2Fa%20b.tgz");
        let put = async |path: &str, body: &str| ask(&app, Method::PUT, path, Some(KEY), Some(body)).await;
        let set = put(&path, "{\"detail\": \"https://example.org/a\"}").await;
        assert_eq!((set.status, &set.body["name"]), (StatusCode::OK, &body["condition"]));
        assert_eq!(get(&app, &format!("/tasks/{b}/outcomes")).await.body, json!([set.body]));
        assert_eq!(get(&app, &format!("/v1/tasks/{a}/ready")).await.body["ready"], true);
        assert_eq!(delete(&app, &path).await.status, StatusCode::NO_CONTENT);
        assert_eq!(delete(&app, &path).await.status, StatusCode::NOT_FOUND);
        assert_eq!(get(&app, &format!("/v1/tasks/{a}/ready")).await.body["ready"], false);
        let wrong = put(&format!("/v1/tasks/{b}/outcomes/green"), "{}").await;
        assert_eq!((wrong.status, &wrong.body["field"]), (StatusCode::BAD_REQUEST, &json!("name")));
        let wrong = put(&format!("/v1/tasks/{b}/outcomes/merged"), "{\"details\": 7}").await;
        assert_eq!((wrong.status, &wrong.body["field"]), (StatusCode::BAD_REQUEST, &json!("details")));
    }

    async fn the_list_tells_the_tasks_that_wait_from_those_that_may_start(ctx) {
        let app = app(&ctx).await;
        let [a, b] = notes(&app).await;
        depend(&app, &a, &b).await;
        let listed = async |query: &str| {
            let answer = get(&app, &format!("/v1/tasks?{query}")).await;
            assert_eq!(answer.headers["x-total-count"], "1");
            text(&answer.body[0]["id"])
        };
        assert_eq!((listed("blocked=true").await, listed("status=ready&blocked=false").await), (a, b));
        assert_eq!(get(&app, "/v1/tasks?blocked=maybe").await.status, StatusCode::BAD_REQUEST);
    }

    async fn a_batch_is_all_or_nothing_and_refused_by_name(ctx) {
        let app = app(&ctx).await;
        let many = json!(vec![json!({ "title": "t" }); 101]).to_string();
        let million = json!([{ "title": "x".repeat(1_000_000) }]).to_string();
        for (body, field) in [
            (many.as_str(), Some("tasks")),
            (&million, Some("tasks[0].title")),
            ("[]", Some("tasks")),
            ("7", None),
            ("[{\"title\": \"a\"}, {\"title\": \"a\\u0000b\"}]", Some("tasks[1].title")),
            ("[{\"title\": \"a\"}, {\"title\": 7}]", Some("[1].title")),
            ("[{\"title\": \"a\", \"prority\": 1}]", Some("[0].prority")),
            ("{\"tasks\": [{\"title\": \"a\"}], \"dependancies\": []}", Some("dependancies")),
            ("{\"tasks\": [{\"title\": \"a\"}], \"dependencies\": [{\"task\": 0, \"depends_on\": 0}]}", Some("dependencies[0]")),
            ("{\"tasks\": [{\"title\": \"a\"}], \"dependencies\": [{\"task\": 0, \"depends_on\": -1}]}", Some("dependencies[0].depends_on")),
        ] {
            refuse(&app, "/v1/tasks/batch", body, field).await;
        }
        assert_eq!(get(&app, "/v1/tasks").await.body, json!([]), "nothing was half-done");
        let graph = json!({ "tasks": [{ "title": "a" }, { "title": "b" }], "dependencies": [{ "task": 1, "depends_on": 0 }] });
        let submitted = post(&app, "/tasks/batch", &graph).await;
        assert_eq!((submitted.status, &submitted.body[1]["waits_for"]), (StatusCode::CREATED, &json!(1)));
    }

    async fn odd_texts_come_back_as_they_were_sent_and_are_found(ctx) {
        let app = app(&ctx).await;
        for title in ["🙂👩‍👩‍👧", "مرحبا بالعالم", "'; DROP TABLE tasks; --", "$(rm -rf /) `id`", "a%b_c\\d"] {
            let submitted = post(&app, "/v1/tasks", &json!({ "title": title })).await;
            assert_eq!((submitted.status, &submitted.body["title"]), (StatusCode::CREATED, &json!(title)));
            let quoted: String = title.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let found = get(&app, &format!("/v1/tasks/search?q={quoted}")).await;
            assert_eq!(found.body, json!([submitted.body]));
        }
        for (query, status) in [("", StatusCode::BAD_REQUEST), ("?q=", StatusCode::BAD_REQUEST), ("?q=%00", StatusCode::BAD_REQUEST), ("?q=zzz", StatusCode::OK)] {
            assert_eq!(get(&app, &format!("/v1/tasks/search{query}")).await.status, status, "{query}");
        }
    }

    async fn a_task_is_deleted_once(ctx) {
        let app = app(&ctx).await;
        let [a, b] = notes(&app).await;
        depend(&app, &a, &b).await;
        assert_eq!(delete(&app, &format!("/v1/tasks/{b}")).await.status, StatusCode::NO_CONTENT);
        assert_eq!(delete(&app, &format!("/tasks/{b}")).await.status, StatusCode::NOT_FOUND);
        assert_eq!(get(&app, &format!("/v1/tasks/{a}/ready")).await.body["ready"], true);
    }

    async fn metadata_and_tags_are_written_and_read(ctx) {
        let app = app(&ctx).await;
        let [a, b] = notes(&app).await;
        let path = format!("/v1/tasks/{a}/metadata");
        let first = post(&app, &path, &json!({ "key": "branch", "value": "x" })).await;
        let second = post(&app, &path, &json!({ "key": "branch", "value": "y" })).await;
        assert_eq!((second.status, &second.body["id"]), (StatusCode::OK, &first.body["id"]));
        assert_eq!(get(&app, &path).await.body, json!({ "branch": "y" }));
        assert_eq!(get(&app, &format!("{path}?key=branch")).await.body, json!("y"));
        assert_eq!(get(&app, &format!("{path}?key=brunch")).await.status, StatusCode::NOT_FOUND);
        let both = post(&app, "/v1/tasks/metadata/batch", &json!([a, b])).await;
        assert_eq!(both.body, json!({ &a: { "branch": "y" }, &b: {} }));
        let tagged = post(&app, &format!("/tasks/{b}/tags"), &json!({ "tags": ["api/v1", "x"] })).await;
        assert_eq!((tagged.status, &tagged.body["tags"]), (StatusCode::OK, &json!(["api/v1", "x"])));
        assert_eq!(get(&app, "/v1/tasks/by-tag/api%2Fv1").await.body[0]["id"], json!(b));
        assert_eq!(get(&app, "/v1/tasks/by-tag/api").await.body, json!([]));
        let fields = json!([{ "name": "branch", "usage_count": 1 }, { "name": "tags", "usage_count": 1 }]);
        assert_eq!(get(&app, "/v1/schema/custom-fields").await.body, fields);
        refuse(&app, &path, "{\"key\": \"k\", \"value\": 7}", Some("value")).await;
        refuse(&app, &path, "{\"key\": \"\", \"value\": \"v\"}", Some("key")).await;
        refuse(&app, "/v1/tasks/metadata/batch", "[\"7\"]", Some("[0]")).await;
        refuse(&app, &format!("/v1/tasks/{a}/tags"), "{\"tags\": \"api\"}", Some("tags")).await;
    }

    async fn a_task_is_assigned_and_estimated_and_its_long_execution_is_listed(ctx) {
        let app = app(&ctx).await;
        let [a] = notes(&app).await;
        let worker = text(&post(&app, "/v1/workers", &json!({ "worker_type": "codex" })).await.body["id"]);
        let estimated = post(&app, &format!("/v1/tasks/{a}/estimate"), &json!({ "effort_minutes": 30 })).await;
        assert_eq!((estimated.status, &estimated.body["effort_estimate"]), (StatusCode::OK, &json!(30)));
        let assigned = post(&app, &format!("/v1/tasks/{a}/assign"), &json!({ "worker_id": worker })).await;
        assert_eq!((assigned.status, &assigned.body["status"]), (StatusCode::OK, &json!("assigned")));
        assert_eq!(get(&app, &format!("/v1/tasks/{a}/metadata")).await.body, json!({ "assigned_worker": worker }));
        let started = post(&app, &format!("/v1/tasks/{a}/executions"), &json!({ "agent_type": "codex", "worker_id": worker })).await;
        assert_eq!(get(&app, "/v1/executions/stale").await.body, json!([]));
        ctx.clock.advance(std::time::Duration::from_secs(7_201));
        let stale = get(&app, "/executions/stale").await.body;
        assert_eq!((&stale[0]["id"], &stale[0]["running_seconds"], &stale[0]["exceeds_estimate"]), (&started.body["id"], &json!(7_201), &json!(true)));
    }
}
