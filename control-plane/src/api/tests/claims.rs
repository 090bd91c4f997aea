//! Claims over HTTP: what goes in, what comes out, and what is refused by name.

use super::*;

kernel::on_both! { crate::migrations();
    async fn a_task_is_claimed_and_completed(ctx) {
        let app = app(&ctx).await;
        post(&app, "/v1/tasks", &json!({ "title": "a" })).await;
        let claims = post(&app, "/v1/tasks/claim", &json!({ "worker": "ada", "start": true })).await;
        assert_eq!(claims.status, StatusCode::OK);
        let claim = &claims.body[0];
        assert_eq!((&claim["fence"], &claim["task"]["status"]), (&json!(1), &json!("in_progress")), "{claim}");
        let of = |what: &str| format!("/v1/executions/{}/{what}", claim["execution_id"].as_str().expect("an id"));
        let beat = post(&app, &of("heartbeat"), &json!({ "fence": 1, "lease_seconds": 600 })).await;
        assert_eq!((beat.status, &beat.body["is_called_off"]), (StatusCode::OK, &json!(false)));
        let wrong = post(&app, &of("start"), &json!({ "fence": 2 })).await;
        assert_eq!((wrong.status, &wrong.body["code"]), (StatusCode::CONFLICT, &json!("lease_lost")));
        let done = post(&app, &of("complete"), &json!({ "fence": 1, "success": true })).await;
        assert_eq!((done.status, &done.body["outcome"]), (StatusCode::OK, &json!("succeeded")));
        assert_eq!(post(&app, &of("release"), &json!({})).await.body["code"], "lease_lost");
        assert_eq!(post(&app, "/v1/tasks/claim", &json!({ "worker": "ada" })).await.body, json!([]));
        assert_eq!(get(&app, "/v1/workers").await.body[0]["name"], "ada");
    }

    async fn many_are_completed_and_each_has_its_own_answer(ctx) {
        let app = app(&ctx).await;
        post(&app, "/v1/tasks/batch", &json!([{ "title": "a" }, { "title": "b" }])).await;
        let claims = post(&app, "/v1/tasks/claim", &json!({ "worker": "ada", "limit": 2 })).await.body;
        let end = |claim: &Value, success: bool| json!({ "execution_id": claim["execution_id"], "success": success });
        let none = json!({ "execution_id": uuid::Uuid::nil(), "success": true });
        let all = json!({ "completions": [end(&claims[0], true), none, end(&claims[1], false)] });
        let answer = post(&app, "/v1/executions/complete", &all).await.body;
        assert_eq!(answer[0]["task_status"], "completed", "{answer}");
        assert_eq!(answer[1]["problem"]["status"], 404, "{answer}");
        assert_eq!(answer[2]["task_status"], "failed", "{answer}");
    }

    async fn a_claim_that_cannot_be_meant_is_refused_by_name(ctx) {
        let app = app(&ctx).await;
        post(&app, "/v1/tasks", &json!({ "title": "a" })).await;
        for (path, body, field) in [
            ("/v1/tasks/claim", json!({}), "worker"),
            ("/v1/tasks/claim", json!({ "worker": "" }), "worker"),
            ("/v1/tasks/claim", json!({ "worker": "a", "limit": 101 }), "limit"),
            ("/v1/tasks/claim", json!({ "worker": "a", "limit": -1 }), "limit"),
            ("/v1/tasks/claim", json!({ "worker": "a", "lease_seconds": 1 }), "lease_seconds"),
            ("/v1/tasks/claim", json!({ "worker": "a", "wait_seconds": 31 }), "wait_seconds"),
            ("/v1/tasks/claim", json!({ "worker": "a", "tags": [""] }), "tags"),
            ("/v1/tasks/claim", json!({ "worker": "a", "tasks": 1 }), "tasks"),
            ("/v1/tasks/claim", json!({ "worker_id": uuid::Uuid::nil() }), "worker_id"),
            ("/v1/executions/complete", json!({ "completions": [] }), "completions"),
        ] {
            let answer = post(&app, path, &body).await;
            assert_eq!((answer.status, &answer.body["field"]), (StatusCode::BAD_REQUEST, &json!(field)), "{body}: {}", answer.body);
        }
        assert_eq!(get(&app, "/v1/tasks?status=ready").await.body[0]["title"], "a", "nothing was half-done");
    }
}
