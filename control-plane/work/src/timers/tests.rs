//! Deadlines and the ends of holds, on both databases.

use std::time::Duration;

use chrono::TimeDelta;
use kernel::outbox;
use wire::id::TenantId;
use wire::task::{NewTask, TaskChange, TaskView};

use super::*;
use crate::admission::tests::by_hand;
use crate::tests::{code, migrations, note, submit, tenant};

async fn look(ctx: &Ctx) -> usize {
    Timers::new(Arc::default()).tick(ctx).await.expect("looks at the clock")
}

async fn view(ctx: &Ctx, tenant: TenantId, id: TaskId) -> TaskView {
    tasks::get(ctx, tenant, id).await.expect("found")
}

fn due(ctx: &Ctx) -> NewTask {
    NewTask { deadline: Some(ctx.now() + TimeDelta::seconds(60)), ..note("t") }
}

kernel::on_both! { migrations();
    async fn a_task_that_nobody_has_at_its_deadline_fails_and_one_that_somebody_has_is_marked(ctx) {
        let tenant = tenant(&ctx).await;
        let (waits, runs) = (submit(&ctx, tenant, due(&ctx)).await.id, submit(&ctx, tenant, due(&ctx)).await.id);
        by_hand(&ctx, tenant, runs).await.expect("is given");
        assert_eq!(look(&ctx).await, 0);
        ctx.clock.advance(Duration::from_secs(60));
        assert_eq!((look(&ctx).await, look(&ctx).await), (2, 0));
        let (waits, runs) = (view(&ctx, tenant, waits).await, view(&ctx, tenant, runs).await);
        assert_eq!((waits.status, waits.overdue), (TaskStatus::Failed, true));
        assert_eq!((runs.status, runs.overdue), (TaskStatus::Assigned, true));
        let mut tx = ctx.read("test").await.expect("begins");
        let told = outbox::pending(&mut tx, 100).await.expect("reads");
        let last = |task| told.iter().rfind(|event| event.task_id == Some(task)).map(|event| event.kind.clone());
        assert_eq!(last(waits.id).as_deref(), Some("task.failed"));
        assert_eq!(last(runs.id).as_deref(), Some("task.overdue"));
    }

    async fn a_late_task_is_retried_once_it_has_another_deadline(ctx) {
        let tenant = tenant(&ctx).await;
        let task = submit(&ctx, tenant, due(&ctx)).await.id;
        ctx.clock.advance(Duration::from_secs(60));
        look(&ctx).await;
        assert_eq!(code(tasks::retry(&ctx, tenant, task, None).await), "deadline_passed");
        let later = TaskChange { deadline: Some(Some(ctx.now() + TimeDelta::seconds(60))), ..TaskChange::default() };
        tasks::update(&ctx, &Settings::default(), tenant, task, later).await.expect("changes");
        let view = tasks::retry(&ctx, tenant, task, None).await.expect("is ready again");
        assert_eq!((view.status, view.overdue), (TaskStatus::Ready, false));
        ctx.clock.advance(Duration::from_secs(60));
        assert_eq!(look(&ctx).await, 1, "the new one counts");
    }

    async fn a_deadline_that_has_passed_is_refused(ctx) {
        let tenant = tenant(&ctx).await;
        let late = NewTask { deadline: Some(ctx.now()), ..note("t") };
        let error = tasks::submit(&ctx, &Settings::default(), tenant, late, None).await.expect_err("is refused");
        assert!(error.to_string().starts_with("deadline: "), "{error}");
    }

    async fn a_hold_whose_time_is_over_is_removed_and_that_is_told(ctx) {
        let tenant = tenant(&ctx).await;
        let until = ctx.now() + TimeDelta::seconds(60);
        let hold = wire::admission::NewHold { expires_at: Some(until), ..crate::admission::tests::held_project("p") };
        holds::set(&ctx, tenant, "me", hold, None).await.expect("holds");
        ctx.clock.advance(Duration::from_secs(60));
        assert_eq!((look(&ctx).await, look(&ctx).await), (1, 0));
        let mut tx = ctx.read("test").await.expect("begins");
        let told = outbox::pending(&mut tx, 100).await.expect("reads");
        assert_eq!(told.iter().filter(|event| event.kind == kind::HOLD_ENDED).count(), 1);
    }
}
