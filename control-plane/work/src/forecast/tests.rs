//! Dry runs on both databases, of what is sent and of what is stored.

use serde_json::json;
use wire::dependency::NewDependency;
use wire::outcome::OutcomeName;
use wire::task::{NewTask, TaskChange};

use super::*;
use crate::dependencies;
use crate::tests::{migrations, note, submit, tenant};

fn request(value: serde_json::Value) -> PlanRequest {
    serde_json::from_value(value).expect("a request")
}

async fn play(ctx: &Ctx, tenant: TenantId, value: serde_json::Value) -> Forecast {
    forecast(ctx, &Settings::default(), 60_000, tenant, request(value)).await.expect("plays")
}

async fn refusal(ctx: &Ctx, tenant: TenantId, value: serde_json::Value) -> String {
    forecast(ctx, &Settings::default(), 60_000, tenant, request(value)).await.expect_err("is refused").to_string()
}

fn order(forecast: &Forecast) -> Vec<(&str, i64)> {
    let minutes = |task: &ForecastTask| (task.starts_at - forecast.starts_at).num_minutes();
    forecast.tasks.iter().map(|task| (task.key.as_str(), minutes(task))).collect()
}

kernel::on_both! { migrations();
    async fn a_graph_that_is_sent_is_played_and_nothing_is_stored(ctx) {
        let tenant = tenant(&ctx).await;
        let forecast = play(&ctx, tenant, json!({
            "machines": 2, "machine_hour_micros": 600_000,
            "tasks": [
                { "key": "a", "title": "A", "effort_estimate": 10 },
                { "key": "b", "title": "B", "needs": ["a"] },
                { "title": "C", "effort_estimate": 5, "priority": 5 },
                { "key": "done", "title": "D", "status": "completed" },
                { "key": "e", "title": "E", "needs": ["done", { "key": "done", "condition": "merged" }] },
                { "key": "f", "title": "F", "effort_estimate": 1 },
            ],
            "dependencies": [{ "task": 5, "depends_on": 2 }],
        })).await;
        assert_eq!(order(&forecast), [("2", 0), ("a", 0), ("f", 5), ("b", 10)]);
        assert_eq!((forecast.duration_minutes, forecast.machine_minutes, forecast.cost_dollars.as_str()), (40, 46, "0.460000"));
        assert_eq!((forecast.critical_path.join(" "), forecast.critical_path_minutes, forecast.waves), ("a b".into(), 40, 2));
        let reasons: Vec<_> = forecast.waiting.iter().map(|wait| (wait.key.as_str(), wait.reason.as_str())).collect();
        assert_eq!(reasons, [("e", "it needs merged of D, which is completed")]);
        assert_eq!(forecast.ends_at, ctx.now() + TimeDelta::minutes(40));
        assert_eq!(tasks::list(&ctx, tenant, tasks::Filter::default()).await.expect("lists").total, 0);
    }

    async fn what_is_stored_and_open_is_played(ctx) {
        let tenant = tenant(&ctx).await;
        let new = |title: &str, minutes| NewTask { effort_estimate: Some(minutes), ..note(title) };
        let first = submit(&ctx, tenant, new("first", 10)).await.id;
        let second = submit(&ctx, tenant, new("second", 20)).await.id;
        let gone = submit(&ctx, tenant, new("gone", 20)).await.id;
        let stuck = submit(&ctx, tenant, new("stuck", 1)).await.id;
        dependencies::add(&ctx, tenant, second, NewDependency::on(first), None).await.expect("adds");
        let merged = NewDependency { condition: Condition::Outcome(OutcomeName::Merged), ..NewDependency::on(first) };
        dependencies::add(&ctx, tenant, second, merged, None).await.expect("adds");
        dependencies::add(&ctx, tenant, stuck, NewDependency::on(gone), None).await.expect("adds");
        tasks::cancel(&ctx, &Settings::default(), tenant, gone).await.expect("cancels");
        let change = TaskChange { status: Some(TaskStatus::Assigned), ..TaskChange::default() };
        tasks::update(&ctx, &Settings::default(), tenant, first, change).await.expect("assigns");
        let forecast = play(&ctx, tenant, json!({})).await;
        assert_eq!((forecast.machine_minutes, forecast.cost_dollars.as_str()), (30, "0.030000"), "at the usual price");
        assert_eq!(order(&forecast), [(first.to_string().as_str(), 0), (second.to_string().as_str(), 10)]);
        assert_eq!(forecast.waiting, [ForecastWait { key: stuck.to_string(), title: "stuck".into(), reason: "it needs completed of gone, which is cancelled".into() }]);
        let nothing = forecast_of_nobody(&ctx).await;
        assert_eq!((nothing.tasks, nothing.critical_path, nothing.duration_minutes), (vec![], vec![], 0));
    }

    async fn what_cannot_be_played_is_refused_by_name(ctx) {
        let tenant = tenant(&ctx).await;
        for (wrong, said) in [
            (json!({ "machines": 0 }), "machines: "),
            (json!({ "tasks_per_machine": 101 }), "tasks_per_machine: "),
            (json!({ "machine_hour_micros": -1 }), "machine_hour_micros: "),
            (json!({ "tasks": [] }), "tasks: "),
            (json!({ "dependencies": [{ "task": 0, "depends_on": 0 }] }), "dependencies: "),
            (json!({ "tasks": [{ "title": "" }] }), "tasks[0].title: "),
            (json!({ "tasks": [{ "title": "a", "needs": ["b"] }] }), "tasks[0].needs: "),
            (json!({ "tasks": [{ "title": "a" }], "dependencies": [{ "task": 0, "depends_on": 1 }] }), "dependencies[0]: "),
            (json!({ "tasks": [{ "key": "a", "title": "A", "needs": ["b"] }, { "key": "b", "title": "B" }], "dependencies": [{ "task": 1, "depends_on": 0 }] }), "a (A) → b (B) → a (A)"),
        ] {
            let error = refusal(&ctx, tenant, wrong).await;
            assert!(error.contains(said), "{said}: {error}");
        }
    }
}

async fn forecast_of_nobody(ctx: &Ctx) -> Forecast {
    play(ctx, ctx.id(TenantId::mint), json!({})).await
}
