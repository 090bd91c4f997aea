//! The critical path on both databases.

use wire::dependency::NewDependency;
use wire::outcome::{Condition, NewOutcome, OutcomeName};
use wire::task::NewTask;

use super::*;
use crate::tests::{code, migrations, note, submit, tenant};
use crate::{Settings, dependencies, outcomes};

async fn task(ctx: &Ctx, tenant: TenantId, title: &str, minutes: Option<i32>) -> TaskId {
    submit(ctx, tenant, NewTask { effort_estimate: minutes, ..note(title) }).await.id
}

async fn depend(ctx: &Ctx, tenant: TenantId, task: TaskId, new: NewDependency) {
    dependencies::add(ctx, tenant, task, new, None).await.expect("is added");
}

async fn shown(ctx: &Ctx, tenant: TenantId) -> (i64, Vec<String>, Vec<(String, i64)>) {
    let found = critical_path(ctx, tenant, None).await.expect("computes");
    assert_eq!(found.path_tasks, found.path.len());
    let path = found.path.into_iter().map(|task| task.title).collect();
    (found.length_minutes, path, found.tasks.into_iter().map(|task| (task.title, task.slack_minutes)).collect())
}

kernel::on_both! { migrations();
    async fn the_longest_chain_is_found_with_the_time_that_others_have(ctx) {
        let tenant = tenant(&ctx).await;
        let a = task(&ctx, tenant, "a", Some(10)).await;
        let b = task(&ctx, tenant, "b", None).await;
        let c = task(&ctx, tenant, "c", Some(5)).await;
        let d = task(&ctx, tenant, "d", Some(0)).await;
        for (task, needed) in [(b, a), (c, a), (d, b), (d, c)] {
            depend(&ctx, tenant, task, NewDependency::on(needed)).await;
        }
        let slack = |of: &[(&str, i64)]| of.iter().map(|(title, slack)| ((*title).to_owned(), *slack)).collect::<Vec<_>>();
        let (length, path, tasks) = shown(&ctx, tenant).await;
        assert_eq!((length, path), (40, vec!["a".to_owned(), "b".into(), "d".into()]), "an estimate is 30 minutes where there is none");
        assert_eq!(tasks, slack(&[("a", 0), ("b", 0), ("d", 0), ("c", 25)]));
        tasks::cancel(&ctx, &Settings::default(), tenant, b).await.expect("cancels");
        assert_eq!(shown(&ctx, tenant).await.0, 15, "what is called off takes no time");
        assert_eq!(critical_path(&ctx, tenant, Some(1)).await.expect("computes").tasks.len(), 1);
        assert_eq!(code(critical_path(&ctx, tenant, Some(0)).await), "invalid");
        let nothing = critical_path(&ctx, ctx.id(TenantId::mint), None).await.expect("computes");
        assert_eq!((nothing.length_minutes, nothing.path, nothing.open_tasks), (0, vec![], 0));
    }

    async fn of_a_group_the_first_decides_until_one_of_it_is_true(ctx) {
        let tenant = tenant(&ctx).await;
        let slow = task(&ctx, tenant, "slow", Some(60)).await;
        let quick = task(&ctx, tenant, "quick", Some(10)).await;
        let last = task(&ctx, tenant, "last", Some(55)).await;
        let merged = NewDependency { condition: Condition::Outcome(OutcomeName::Merged), ..NewDependency::on(slow) };
        for new in [merged, NewDependency::on(quick)] {
            depend(&ctx, tenant, last, NewDependency { group: Some("either".into()), ..new }).await;
        }
        assert_eq!(shown(&ctx, tenant).await.1, ["quick", "last"]);
        outcomes::set(&ctx, tenant, slow, OutcomeName::Merged, NewOutcome::default()).await.expect("sets");
        assert_eq!(shown(&ctx, tenant).await.1, ["slow"]);
    }

    async fn a_task_that_needs_more_than_a_page_is_read_whole(ctx) {
        let tenant = tenant(&ctx).await;
        let mut tx = ctx.begin("test").await.expect("begins");
        let ids: Vec<TaskId> = (0..20).map(|_| ctx.id(TaskId::mint)).collect();
        for id in &ids {
            tasks::store::insert(&mut tx, tenant, *id, &note("n"), ctx.now()).await.expect("inserts");
        }
        let needs: Vec<(TaskId, TaskId)> = ids.iter().skip(1).flat_map(|id| ids.iter().take(9).filter(move |needed| *needed < id).map(move |needed| (*id, *needed))).collect();
        for (task_id, depends_on_task_id) in &needs {
            let view = dependencies::tests::stored(&ctx, *task_id, *depends_on_task_id);
            dependencies::store::insert(&mut tx, tenant, &view).await.expect("inserts");
        }
        let mut found = Vec::new();
        store::each_page_of_needs(&mut tx, tenant, 4, |page| found.extend(page.iter().map(|(task, needed)| (TaskId::from(*task), TaskId::from(*needed))))).await.expect("reads");
        let mut expect = needs;
        expect.sort_unstable();
        assert_eq!(found, expect);
    }
}
