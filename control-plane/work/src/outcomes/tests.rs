//! Outcomes on both databases: what they let start, and what they do not.

use wire::dependency::NewDependency;
use wire::outcome::Condition;
use wire::task::{TaskChange, TaskStatus};

use super::*;
use crate::Settings;
use crate::tests::{code, migrations, note, submit, tenant};

async fn notes<const N: usize>(ctx: &Ctx, tenant: TenantId) -> [TaskId; N] {
    let mut ids = Vec::new();
    for number in 0..N {
        ids.push(submit(ctx, tenant, note(&format!("n{number}"))).await.id);
    }
    ids.try_into().expect("as many as asked for")
}

async fn depend(ctx: &Ctx, tenant: TenantId, task: TaskId, needed: TaskId, condition: &str, group: Option<&str>) {
    let condition: Condition = condition.parse().expect("a condition");
    let new = NewDependency { condition, group: group.map(Into::into), ..NewDependency::on(needed) };
    dependencies::add(ctx, tenant, task, new, None).await.expect("is added");
}

async fn note_down(ctx: &Ctx, tenant: TenantId, id: TaskId, name: &str) {
    set(ctx, tenant, id, name.parse().expect("a name"), NewOutcome::default()).await.expect("is set");
}

async fn take_back(ctx: &Ctx, tenant: TenantId, id: TaskId, name: &str) {
    withdraw(ctx, tenant, id, name.parse().expect("a name")).await.expect("is withdrawn");
}

async fn waits_for(ctx: &Ctx, tenant: TenantId, id: TaskId) -> i32 {
    tasks::get(ctx, tenant, id).await.expect("found").waits_for
}

async fn complete(ctx: &Ctx, tenant: TenantId, id: TaskId) {
    for status in [TaskStatus::Assigned, TaskStatus::InProgress, TaskStatus::Completed] {
        let change = TaskChange { status: Some(status), ..TaskChange::default() };
        tasks::update(ctx, &Settings::default(), tenant, id, change).await.expect("is allowed");
    }
}

kernel::on_both! { migrations();
    async fn what_needs_an_outcome_waits_for_it_and_not_for_completion(ctx) {
        let tenant = tenant(&ctx).await;
        let [task, needed] = notes(&ctx, tenant).await;
        depend(&ctx, tenant, task, needed, "merged", None).await;
        complete(&ctx, tenant, needed).await;
        assert_eq!(waits_for(&ctx, tenant, task).await, 1);
        note_down(&ctx, tenant, needed, "merged").await;
        note_down(&ctx, tenant, needed, "merged").await;
        assert_eq!(waits_for(&ctx, tenant, task).await, 0);
        take_back(&ctx, tenant, needed, "merged").await;
        assert_eq!(waits_for(&ctx, tenant, task).await, 1);
        let again = withdraw(&ctx, tenant, needed, OutcomeName::Merged).await;
        assert_eq!(code(again), "not_found");
    }

    async fn a_task_may_need_several_things_of_another(ctx) {
        let tenant = tenant(&ctx).await;
        let [task, needed] = notes(&ctx, tenant).await;
        for condition in ["completed", "ci_green", "artefact:dist.tgz"] {
            depend(&ctx, tenant, task, needed, condition, None).await;
        }
        assert_eq!(waits_for(&ctx, tenant, task).await, 3);
        note_down(&ctx, tenant, needed, "artefact:dist.tgz").await;
        note_down(&ctx, tenant, needed, "artefact:other.tgz").await;
        complete(&ctx, tenant, needed).await;
        assert_eq!(waits_for(&ctx, tenant, task).await, 1);
        assert_eq!(dependencies::readiness(&ctx, tenant, task).await.expect("found").unsatisfied, [needed]);
        assert_eq!(dependencies::of_task(&ctx, tenant, task).await.expect("lists").len(), 3);
        tasks::delete(&ctx, tenant, needed).await.expect("deletes");
        assert_eq!(waits_for(&ctx, tenant, task).await, 0);
    }

    async fn of_a_group_one_suffices(ctx) {
        let tenant = tenant(&ctx).await;
        let [task, a, b, c] = notes(&ctx, tenant).await;
        depend(&ctx, tenant, task, a, "completed", Some("either")).await;
        depend(&ctx, tenant, task, b, "approved", Some("either")).await;
        depend(&ctx, tenant, task, c, "completed", None).await;
        assert_eq!(waits_for(&ctx, tenant, task).await, 2);
        note_down(&ctx, tenant, b, "approved").await;
        assert_eq!(waits_for(&ctx, tenant, task).await, 1);
        complete(&ctx, tenant, a).await;
        take_back(&ctx, tenant, b, "approved").await;
        assert_eq!(waits_for(&ctx, tenant, task).await, 1, "the other one is true");
        tasks::delete(&ctx, tenant, a).await.expect("deletes");
        assert_eq!(waits_for(&ctx, tenant, task).await, 2);
        assert_eq!(dependencies::readiness(&ctx, tenant, task).await.expect("found").unsatisfied, [b, c]);
    }

    async fn why_names_the_condition_and_the_group(ctx) {
        let tenant = tenant(&ctx).await;
        let [task, needed] = notes(&ctx, tenant).await;
        depend(&ctx, tenant, task, needed, "merged", Some("either")).await;
        let why = crate::why(&ctx, &Settings::default(), &pool::Settings::default(), tenant, task).await.expect("says why");
        let expect = format!(
            "it needs merged of task {needed} (n1), which is ready; that is told with: \
             bifrost tasks outcomes set {needed} merged (or another of its group either)"
        );
        assert_eq!(why.reasons.into_iter().map(|reason| reason.message).collect::<Vec<_>>(), [expect]);
    }

    async fn an_outcome_that_is_there_counts_for_a_later_dependency(ctx) {
        let tenant = tenant(&ctx).await;
        let [task, needed] = notes(&ctx, tenant).await;
        note_down(&ctx, tenant, needed, "merged").await;
        depend(&ctx, tenant, task, needed, "merged", None).await;
        assert_eq!(waits_for(&ctx, tenant, task).await, 0);
        assert!(dependencies::of_task(&ctx, tenant, task).await.expect("lists")[0].dependency.satisfied);
    }

    async fn outcomes_are_bounded_and_another_tenants_do_not_exist(ctx) {
        let tenant = tenant(&ctx).await;
        let [task] = notes(&ctx, tenant).await;
        let long = NewOutcome { detail: Some("x".repeat(2_049)) };
        assert_eq!(code(set(&ctx, tenant, task, OutcomeName::Merged, long).await), "invalid");
        for number in 0..100 {
            note_down(&ctx, tenant, task, &format!("artefact:{number}")).await;
        }
        assert_eq!(code(set(&ctx, tenant, task, OutcomeName::Merged, NewOutcome::default()).await), "too_many_outcomes");
        let stranger = ctx.id(TenantId::mint);
        assert_eq!(code(set(&ctx, stranger, task, OutcomeName::Merged, NewOutcome::default()).await), "not_found");
        assert_eq!(code(withdraw(&ctx, stranger, task, OutcomeName::Artefact("0".into())).await), "not_found");
        assert_eq!(code(list(&ctx, stranger, task).await), "not_found");
        assert_eq!(list(&ctx, tenant, task).await.expect("lists").len(), 100);
    }
}
