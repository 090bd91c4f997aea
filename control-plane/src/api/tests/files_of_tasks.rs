//! Files of tasks and looks ahead, as a client meets them over HTTP.

use super::*;

async fn send(app: &Router, body: &str) -> Answer {
    ask(app, Method::POST, "/v1/tasks/import", Some(KEY), Some(body)).await
}

async fn exported(app: &Router) -> String {
    let request = Request::builder().uri("/v1/tasks/export").header("authorization", format!("Bearer {KEY}"));
    let response = app.clone().oneshot(request.body(Body::empty()).expect("a request")).await.expect("answers");
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("reads");
    String::from_utf8(bytes.to_vec()).expect("text")
}

kernel::on_both! { crate::migrations();
    async fn a_file_of_lines_goes_in_whole_and_comes_out_again(ctx) {
        let app = app(&ctx).await;
        let many: String = (0..150).map(|at| format!("{{\"key\":\"{at}\",\"title\":\"t{at}\",\"needs\":[{}]}}\n", if at > 0 { format!("\"{}\"", at - 1) } else { String::new() })).collect();
        let imported = send(&app, &format!("\n{many}\r\n")).await;
        assert_eq!((imported.status, &imported.body["dependencies"]), (StatusCode::CREATED, &json!(149)), "{}", imported.body);
        assert_eq!(imported.body["tasks"][149]["key"], "149");
        let lines = exported(&app).await;
        assert_eq!(lines.lines().count(), 150);
        let again = send(&app, &lines).await;
        assert_eq!(again.status, StatusCode::CREATED, "what comes out goes in: {}", again.body);
        assert_eq!(exported(&app).await.lines().count(), 300);
        let path = get(&app, "/v1/tasks/critical-path?limit=2").await.body;
        assert_eq!((&path["length_minutes"], &path["path_tasks"], path["tasks"].as_array().map(Vec::len)), (&json!(4_500), &json!(150), Some(2)));
    }

    async fn a_line_that_is_wrong_is_named_with_its_field(ctx) {
        let app = app(&ctx).await;
        let good = "{\"title\":\"a\",\"key\":\"a\"}\n\n";
        for (wrong, field) in [
            ("{\"title\":7}", "lines[3].title"),
            ("{\"title\":\"b\",\"prority\":1}", "lines[3].prority"),
            ("{\"title\":\"b\",\"needs\":[\"z\"]}", "lines[3].needs"),
            ("{\"title\":\"b\",\"needs\":[{\"key\":\"a\",\"condition\":\"green\"}]}", "lines[3].needs[0].condition"),
            ("{\"title\":\"b\\u0000\"}", "lines[3].title"),
            ("{\"title\":\"b\"} {", "lines[3]"),
            ("[]", "lines[3]"),
            ("{", "lines[3]"),
        ] {
            let answer = send(&app, &format!("{good}{wrong}\n")).await;
            assert_eq!((answer.status, answer.body["field"].as_str()), (StatusCode::BAD_REQUEST, Some(field)), "{wrong}: {}", answer.body);
        }
        assert_eq!(send(&app, " \n").await.body["field"], "lines");
        assert_eq!(get(&app, "/v1/tasks").await.body, json!([]), "nothing was half-done");
    }

    async fn a_dry_run_over_http_stores_nothing(ctx) {
        let app = app(&ctx).await;
        let request = json!({ "machines": 1, "tasks": [{ "key": "a", "title": "A", "effort_estimate": 90 }, { "title": "B", "needs": ["a"] }] });
        let plan = post(&app, "/v1/plan", &request).await;
        assert_eq!((plan.status, &plan.body["duration_minutes"], &plan.body["critical_path"]), (StatusCode::OK, &json!(120), &json!(["a", "1"])), "{}", plan.body);
        assert_eq!(get(&app, "/v1/tasks").await.body, json!([]));
        let wrong = post(&app, "/v1/plan", &json!({ "tasks": [{ "title": "A", "needs": [7] }] })).await;
        assert_eq!((wrong.status, &wrong.body["field"]), (StatusCode::BAD_REQUEST, &json!("tasks[0].needs[0]")));
        assert_eq!(post(&app, "/v1/plan", &json!({})).await.body["tasks"], json!([]));
    }
}
