//! Many tasks at once on both databases.

use wire::metadata::Tags;
use wire::task::{NewTask, Priority, TaskChange};

use super::*;
use crate::tasks;
use crate::tests::{begun, code, migrations, note, status, submit, tenant};

fn ids(ids: &[TaskId]) -> Selection {
    Selection { ids: Some(ids.to_vec()), ..Selection::default() }
}

fn like(filter: TaskSelector, all: bool) -> Selection {
    Selection { ids: None, filter: Some(filter), all }
}

/// What became of each, a refusal by its code.
fn told(done: &Done) -> Vec<(TaskId, std::result::Result<TaskStatus, &'static str>)> {
    done.results.iter().map(|(id, result)| (*id, result.as_ref().copied().map_err(Error::code))).collect()
}

async fn fail(ctx: &Ctx, tenant: TenantId, id: TaskId) {
    for to in [TaskStatus::Assigned, TaskStatus::InProgress, TaskStatus::Failed] {
        let change = TaskChange { status: Some(to), ..TaskChange::default() };
        tasks::update(ctx, &Settings::default(), tenant, id, change).await.expect("is allowed");
    }
}

async fn call_off(ctx: &Ctx, tenant: TenantId, selection: Selection) -> Result<Done> {
    cancel(ctx, &Settings::default(), tenant, selection).await
}

kernel::on_both! { migrations();
    async fn each_task_has_its_own_result_in_the_order_asked(ctx) {
        let tenant = tenant(&ctx).await;
        let [a, b, c] = [submit(&ctx, tenant, note("a")).await.id, submit(&ctx, tenant, note("b")).await.id, submit(&ctx, tenant, note("c")).await.id];
        let (running, ..) = begun(&ctx, tenant).await;
        fail(&ctx, tenant, b).await;
        let unknown = ctx.id(TaskId::mint);
        let done = retry(&ctx, tenant, ids(&[c, b, unknown, b])).await.expect("goes through");
        assert_eq!(told(&done), [(c, Err("task_not_failed")), (b, Ok(TaskStatus::Ready)), (unknown, Err("not_found"))]);
        let done = call_off(&ctx, tenant, ids(&[running, a, a])).await.expect("goes through");
        assert_eq!(told(&done), [(running, Ok(TaskStatus::InProgress)), (a, Ok(TaskStatus::Cancelled))]);
        let stranger = ctx.id(TenantId::mint);
        assert_eq!(told(&call_off(&ctx, stranger, ids(&[c])).await.expect("goes through")), [(c, Err("not_found"))]);
        assert_eq!(status(&ctx, tenant, c).await, TaskStatus::Ready);
    }

    async fn a_filter_means_the_first_hundred_unless_it_means_all(ctx) {
        let tenant = tenant(&ctx).await;
        for _ in 0..2 {
            let tasks = wire::batch::NewGraph { tasks: vec![note("n"); 60], dependencies: vec![] };
            tasks::batch::submit(&ctx, &Settings::default(), tenant, tasks, None).await.expect("submits");
        }
        let done = call_off(&ctx, tenant, like(TaskSelector::default(), false)).await.expect("goes through");
        assert_eq!((done.results.len(), done.remaining), (100, 20));
        let done = call_off(&ctx, tenant, like(TaskSelector::default(), true)).await.expect("goes through");
        assert_eq!((done.results.len(), done.remaining), (20, 0));
        assert!(told(&done).iter().all(|(_, result)| *result == Ok(TaskStatus::Cancelled)));
        let done = call_off(&ctx, tenant, like(TaskSelector::default(), true)).await.expect("goes through");
        assert_eq!((done.results.len(), done.remaining), (0, 0), "what is over is not called off again");
    }

    async fn a_filter_takes_what_matches_in_everything_it_names(ctx) {
        let tenant = tenant(&ctx).await;
        let five = Priority::try_from(5).expect("valid");
        let urgent = submit(&ctx, tenant, NewTask { priority: five, ..note("u") }).await.id;
        let tagged = submit(&ctx, tenant, NewTask { priority: five, ..note("t") }).await.id;
        let other = submit(&ctx, tenant, note("o")).await.id;
        for id in [tagged, other] {
            crate::metadata::tag(&ctx, tenant, id, Tags { tags: vec!["api".into()] }).await.expect("tags");
            fail(&ctx, tenant, id).await;
        }
        let filter = TaskSelector { priority: Some(five), tag: Some("api".into()), status: Some(TaskStatus::Failed) };
        let done = retry(&ctx, tenant, like(filter, false)).await.expect("goes through");
        assert_eq!(told(&done), [(tagged, Ok(TaskStatus::Ready))]);
        let done = retry(&ctx, tenant, like(TaskSelector::default(), true)).await.expect("goes through");
        assert_eq!(told(&done), [(other, Ok(TaskStatus::Ready))]);
        assert_eq!(status(&ctx, tenant, urgent).await, TaskStatus::Ready);
    }

    async fn a_task_that_is_being_called_off_is_not_called_off_again(ctx) {
        let tenant = tenant(&ctx).await;
        begun(&ctx, tenant).await;
        for expect in [1, 0] {
            let done = call_off(&ctx, tenant, like(TaskSelector::default(), true)).await.expect("goes through");
            assert_eq!(done.results.len(), expect);
        }
    }

    async fn what_says_not_which_tasks_are_meant_is_refused(ctx) {
        let tenant = tenant(&ctx).await;
        let id = ctx.id(TaskId::mint);
        let filter = TaskSelector { status: Some(TaskStatus::Completed), ..TaskSelector::default() };
        for (selection, field) in [
            (Selection::default(), "ids"),
            (ids(&[]), "ids"),
            (ids(&[id; 101]), "ids"),
            (Selection { all: true, ..ids(&[id]) }, "all"),
            (Selection { filter: Some(TaskSelector::default()), ..ids(&[id]) }, "filter"),
            (like(filter, true), "filter.status"),
            (like(TaskSelector { tag: Some("a\0".into()), ..TaskSelector::default() }, true), "filter.tag"),
        ] {
            let refused = call_off(&ctx, tenant, selection.clone()).await.expect_err(field).to_string();
            assert!(refused.starts_with(&format!("{field}: ")), "{refused}");
            assert_eq!(code(retry(&ctx, tenant, selection).await), "invalid");
        }
    }
}
