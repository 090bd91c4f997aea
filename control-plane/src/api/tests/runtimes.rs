//! Runtimes over HTTP: how far each key goes, and what refusals say.

use super::*;

fn terminal(management: &str) -> Value {
    json!({ "session_id": management, "agent": "codex", "host": "h", "pid": 7, "backend": "tmux", "target": "fleet-1:0.0",
            "management": management })
}

kernel::on_both! { crate::migrations();
    async fn a_trigger_goes_its_way_over_http(ctx) {
        let app = app(&ctx).await;
        let runtime = post(&app, "/v1/runtimes", &terminal("managed")).await;
        let id = runtime.body["id"].as_str().expect("an id").to_owned();
        let listed = get(&app, "/v1/runtimes").await.body[0].clone();
        for (field, expect) in [("pid", json!(7)), ("backend", json!("tmux")), ("target", json!("fleet-1:0.0")),
                                ("session_id", json!("managed")), ("management", json!("managed")), ("state", json!("live"))] {
            assert_eq!(listed[field], expect, "{listed}");
        }
        let queued = post(&app, &format!("/v1/runtimes/{id}/triggers"), &json!({ "text": "hello" })).await;
        assert_eq!((queued.status, &queued.body["number"]), (StatusCode::OK, &json!(1)));
        let order = post(&app, &format!("/v1/runtimes/{id}/next"), &json!({})).await;
        assert_eq!((&order.body["trigger"]["text"], &order.body["trigger"]["via"]), (&json!("hello"), &json!("terminal")));
        let told = json!({ "number": 1, "result": "written", "via": "terminal" });
        assert_eq!(post(&app, &format!("/v1/runtimes/{id}/report"), &told).await.body["state"], "written");
        post(&app, &format!("/v1/runtimes/{id}/heartbeat"), &json!({ "read_cursor": 1 })).await;
        let all = get(&app, &format!("/v1/runtimes/{id}/triggers")).await;
        assert_eq!((&all.body[0]["state"], &all.body[0]["reason"]), (&json!("delivered"), &json!("acknowledged")));
    }

    async fn a_storm_is_told_when_to_come_again_and_an_unmanaged_runtime_how_to_get_a_managed_one(ctx) {
        let app = app(&ctx).await;
        let own = post(&app, "/v1/runtimes", &terminal("unmanaged")).await.body["id"].clone();
        let path = format!("/v1/runtimes/{}/triggers", own.as_str().expect("an id"));
        let refused = post(&app, &path, &json!({ "text": "hello" })).await;
        assert_eq!((refused.status, &refused.body["code"]), (StatusCode::CONFLICT, &json!("runtime_unmanaged")));
        assert!(refused.body["detail"].to_string().contains("bifrost agents start"), "{}", refused.body);

        let managed = post(&app, "/v1/runtimes", &terminal("managed")).await.body["id"].clone();
        let path = format!("/v1/runtimes/{}/triggers", managed.as_str().expect("an id"));
        for _ in 0..30 {
            assert_eq!(post(&app, &path, &json!({ "text": "hello" })).await.status, StatusCode::OK);
        }
        let refused = post(&app, &path, &json!({ "text": "hello" })).await;
        assert_eq!((refused.status, &refused.body["code"]), (StatusCode::TOO_MANY_REQUESTS, &json!("too_many_triggers")));
        assert_eq!(refused.headers["retry-after"], "61");
    }

    async fn what_is_wrong_is_named(ctx) {
        let app = app(&ctx).await;
        let id = post(&app, "/v1/runtimes", &terminal("managed")).await.body["id"].as_str().expect("an id").to_owned();
        let wrong = |field: &str, value: Value| {
            let mut runtime = terminal("managed");
            runtime[field] = value;
            runtime
        };
        let at = |rest: &str| format!("/v1/runtimes/{id}/{rest}");
        for (path, body, field) in [
            ("/v1/runtimes".to_owned(), wrong("pid", json!(0)), "pid"),
            ("/v1/runtimes".to_owned(), wrong("backend", json!("screen")), "backend"),
            ("/v1/runtimes".to_owned(), wrong("management", json!("mine")), "management"),
            ("/v1/runtimes".to_owned(), wrong("target", json!("a\nb")), "target"),
            ("/v1/runtimes".to_owned(), wrong("colour", json!("red")), "colour"),
            (at("triggers"), json!({ "text": "" }), "text"),
            (at("triggers"), json!({ "text": "\u{1b}[2J" }), "text"),
            (at("triggers"), json!({ "text": "x".repeat(16_385) }), "text"),
            (at("triggers"), json!({ "text": "a", "dedupe_key": "" }), "dedupe_key"),
            (at("force"), json!({ "text": "a" }), "reason"),
            (at("force"), json!({ "text": "a", "reason": " " }), "reason"),
            (at("pause"), json!({}), "reason"),
            (at("heartbeat"), json!({ "read_cursor": -1 }), "read_cursor"),
            (at("heartbeat"), json!({ "read_cursor": 1 }), "read_cursor"),
            (at("report"), json!({ "number": 1, "result": "deferred", "via": "terminal" }), "until"),
        ] {
            let refused = post(&app, &path, &body).await;
            assert_eq!((refused.status, &refused.body["field"]), (StatusCode::BAD_REQUEST, &json!(field)), "{path} {body} {}", refused.body);
        }
    }
}
