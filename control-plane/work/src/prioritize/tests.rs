//! Scores on both databases: what is stored, what is shown, and in which order.

use wire::dependency::NewDependency;
use wire::metadata::MetadataAnswer;
use wire::prioritize::Algorithm;
use wire::task::{NewTask, Priority, TaskView};

use super::*;
use crate::Settings;
use crate::tests::{code, migrations, note, submit, tenant};

async fn task(ctx: &Ctx, tenant: TenantId, title: &str, priority: i16, minutes: i32) -> TaskView {
    let priority = Priority::try_from(priority).expect("valid");
    submit(ctx, tenant, NewTask { priority, effort_estimate: Some(minutes), ..note(title) }).await
}

async fn depend(ctx: &Ctx, tenant: TenantId, task: &TaskView, needed: &TaskView) {
    let new = NewDependency::on(needed.id);
    crate::dependencies::add(ctx, tenant, task.id, new, None).await.expect("adds");
}

async fn score(ctx: &Ctx, tenant: TenantId, algorithm: Algorithm) -> Vec<(String, f64)> {
    let scores = prioritize(ctx, tenant, Prioritize { algorithm, limit: None }).await.expect("scores");
    assert_eq!(scores.total, scores.tasks.len());
    scores.tasks.into_iter().map(|task| (task.title, task.score)).collect()
}

async fn stored(ctx: &Ctx, tenant: TenantId, task: &TaskView) -> Vec<(String, String)> {
    match metadata::get(ctx, tenant, task.id, None).await.expect("found") {
        MetadataAnswer::All(all) => all.into_iter().collect(),
        MetadataAnswer::One(value) => panic!("{value}"),
    }
}

kernel::on_both! { migrations();
    async fn each_algorithm_orders_a_fixed_graph_in_its_own_way(ctx) {
        let tenant = tenant(&ctx).await;
        let base = task(&ctx, tenant, "base", 1, 30).await;
        let wide = task(&ctx, tenant, "wide", 2, 90).await;
        let top = task(&ctx, tenant, "top", 4, 0).await;
        let long = task(&ctx, tenant, "long", 5, 540).await;
        for (task, needed) in [(&wide, &base), (&top, &wide)] {
            depend(&ctx, tenant, task, needed).await;
        }
        for (algorithm, expect) in [
            (Algorithm::HighestPriority, [("long", 100.0), ("top", 80.0), ("wide", 40.0), ("base", 20.0)]),
            (Algorithm::BlockerImpact, [("base", 100.0), ("wide", 50.0), ("long", 0.0), ("top", 0.0)]),
            (Algorithm::Effort, [("top", 100.0), ("base", 66.67), ("wide", 40.0), ("long", 10.0)]),
            (Algorithm::Balanced, [("base", 61.33), ("top", 52.0), ("wide", 44.0), ("long", 42.0)]),
            (Algorithm::CriticalPath, [("long", 100.0), ("base", 22.22), ("wide", 16.67), ("top", 0.0)]),
        ] {
            let expect: Vec<(String, f64)> = expect.iter().map(|(title, score)| ((*title).to_owned(), *score)).collect();
            assert_eq!(score(&ctx, tenant, algorithm).await, expect, "{algorithm}");
        }
        let time = ctx.now().to_rfc3339_opts(SecondsFormat::Micros, true);
        let expect = [("priority_score", "22.22"), ("priority_scored_at", &time)].map(|(key, value)| (key.into(), value.into()));
        assert_eq!(stored(&ctx, tenant, &base).await, expect);
        let _ = long;
    }

    async fn a_task_that_is_not_ready_has_no_score_and_counts_in_the_graph(ctx) {
        let tenant = tenant(&ctx).await;
        let (a, b, over) = (task(&ctx, tenant, "a", 3, 10).await, task(&ctx, tenant, "b", 3, 10).await, task(&ctx, tenant, "over", 5, 10).await);
        depend(&ctx, tenant, &b, &a).await;
        tasks::cancel(&ctx, &Settings::default(), tenant, over.id).await.expect("cancels");
        depend(&ctx, tenant, &over, &b).await;
        assert_eq!(score(&ctx, tenant, Algorithm::BlockerImpact).await, [("a".to_owned(), 100.0), ("b".to_owned(), 0.0)]);
        assert_eq!(stored(&ctx, tenant, &over).await, []);
    }

    async fn a_new_score_replaces_the_old_one_and_a_change_of_what_it_was_made_of_forgets_it(ctx) {
        let tenant = tenant(&ctx).await;
        let (a, b) = (task(&ctx, tenant, "a", 3, 0).await, task(&ctx, tenant, "b", 4, 60).await);
        score(&ctx, tenant, Algorithm::HighestPriority).await;
        score(&ctx, tenant, Algorithm::Effort).await;
        assert_eq!(stored(&ctx, tenant, &a).await[0].1, "100.00");
        let change = wire::task::TaskChange { title: Some("c".into()), ..Default::default() };
        tasks::update(&ctx, &Settings::default(), tenant, a.id, change).await.expect("changes");
        assert_eq!(stored(&ctx, tenant, &a).await.len(), 2, "a title is no part of it");
        let estimate = wire::metadata::Estimate { effort_minutes: 5 };
        tasks::estimate(&ctx, &Settings::default(), tenant, a.id, estimate).await.expect("changes");
        assert_eq!((stored(&ctx, tenant, &a).await.len(), stored(&ctx, tenant, &b).await.len()), (0, 2));
    }

    async fn the_answer_shows_as_many_as_asked_for_and_all_are_scored(ctx) {
        let tenant = tenant(&ctx).await;
        for title in ["a", "b", "c"] {
            task(&ctx, tenant, title, 3, 0).await;
        }
        let ask = |limit| prioritize(&ctx, tenant, Prioritize { algorithm: Algorithm::Balanced, limit: Some(limit) });
        let scores = ask(2).await.expect("scores");
        assert_eq!((scores.tasks.iter().map(|task| task.title.as_str()).collect::<Vec<_>>(), scores.total), (vec!["a", "b"], 3));
        for limit in [0, 10_001] {
            assert_eq!(code(ask(limit).await), "invalid");
        }
        let stranger = ctx.id(TenantId::mint);
        assert_eq!(prioritize(&ctx, stranger, Prioritize { algorithm: Algorithm::Effort, limit: None }).await.expect("scores").total, 0);
    }
}
