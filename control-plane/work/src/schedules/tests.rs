//! Schedules on both databases: one task for each occurrence, whoever looks and
//! however often.

use std::time::Duration;

use kernel::Reconciler as _;
use wire::execution::Outcome;
use wire::task::{TaskStatus, TaskView};

use super::*;
use crate::tasks::Filter;
use crate::tests::{code, ended, first_reason, leased, migrations, run, schedule, status, tenant, worker};
use crate::{Timers, leases};

fn hourly(overlap: Overlap, catch_up: CatchUp) -> NewSchedule {
    NewSchedule {
        name: "hourly".into(),
        cron: "0 * * * *".into(),
        time_zone: "UTC".into(),
        task: run("t"),
        overlap,
        catch_up,
        paused: false,
    }
}

async fn made(ctx: &Ctx, tenant: TenantId, new: NewSchedule) -> ScheduleView {
    create(ctx, &Settings::default(), tenant, new, None).await.expect("is made")
}

async fn pass(ctx: &Ctx, minutes: u64) {
    ctx.clock.advance(Duration::from_secs(60 * minutes));
    Timers::new(std::sync::Arc::default()).tick(ctx).await.expect("looks at the clock");
}

async fn tasks_of(ctx: &Ctx, tenant: TenantId) -> Vec<TaskView> {
    tasks::list(ctx, tenant, Filter::default()).await.expect("lists").tasks
}

/// Moves on to half a minute after the next full hour.
async fn to_the_hour(ctx: &Ctx) {
    let seconds = u64::try_from(ctx.now().timestamp()).expect("is after 1970");
    ctx.clock.advance(Duration::from_secs(3_600 - seconds % 3_600 + 30));
    Timers::new(std::sync::Arc::default()).tick(ctx).await.expect("looks at the clock");
}

kernel::on_both! { migrations();
    async fn what_begins_from_a_checkpoint_is_not_scheduled(ctx) {
        let tenant = tenant(&ctx).await;
        let mut new = hourly(Overlap::Queue, CatchUp::One);
        new.task.spec.as_mut().expect("has one").checkpoint = Some(ctx.id(wire::id::CheckpointId::mint));
        let refused = create(&ctx, &Settings::default(), tenant, new, None).await.expect_err("refused").to_string();
        assert!(refused.contains("task.spec.checkpoint"), "{refused}");
    }

    async fn each_occurrence_submits_one_task_however_often_anybody_looks(ctx) {
        let tenant = tenant(&ctx).await;
        let schedule = made(&ctx, tenant, hourly(Overlap::Queue, CatchUp::One)).await;
        pass(&ctx, 0).await;
        assert_eq!(tasks_of(&ctx, tenant).await.len(), 0, "its time has not come");
        to_the_hour(&ctx).await;
        pass(&ctx, 1).await;
        let tasks = tasks_of(&ctx, tenant).await;
        assert_eq!((tasks.len(), tasks[0].schedule_id, tasks[0].title.as_str()), (1, Some(schedule.id), "t"));
        let after = get(&ctx, tenant, schedule.id).await.expect("is there");
        assert_eq!((after.last_task_id, after.last_at), (Some(tasks[0].id), schedule.next_at));
        pass(&ctx, 60).await;
        assert_eq!(tasks_of(&ctx, tenant).await.len(), 2);
    }

    async fn two_that_look_at_once_submit_one_task(ctx) {
        let tenant = tenant(&ctx).await;
        made(&ctx, tenant, hourly(Overlap::Queue, CatchUp::One)).await;
        ctx.clock.advance(Duration::from_secs(3_600));
        let settings = Settings::default();
        let (one, two) = tokio::join!(fire(&ctx, &settings), fire(&ctx, &settings));
        assert_eq!(one.expect("fires") + two.expect("fires"), 1);
        assert_eq!(tasks_of(&ctx, tenant).await.len(), 1);
    }

    async fn the_database_itself_refuses_a_second_task_for_an_occurrence(ctx) {
        let tenant = tenant(&ctx).await;
        let schedule = made(&ctx, tenant, hourly(Overlap::Queue, CatchUp::One)).await;
        to_the_hour(&ctx).await;
        let mut tx = ctx.begin("test").await.expect("begins");
        let at = schedule.next_at.expect("is to come");
        let due = Due { at, is_missed: false, next: None };
        assert_eq!(code(submit(&ctx, &mut tx, tenant, &schedule, due).await), "internal");
    }

    async fn an_outage_is_made_up_for_with_one_task_or_none(ctx) {
        let tenant = tenant(&ctx).await;
        made(&ctx, tenant, hourly(Overlap::Queue, CatchUp::One)).await;
        let none = made(&ctx, tenant, hourly(Overlap::Queue, CatchUp::None)).await;
        to_the_hour(&ctx).await;
        assert_eq!(tasks_of(&ctx, tenant).await.len(), 2, "on time both fire");
        // Half past the hour, five hours later.
        pass(&ctx, 5 * 60 + 30).await;
        assert_eq!(tasks_of(&ctx, tenant).await.len(), 3);
        let after = get(&ctx, tenant, none.id).await.expect("is there");
        assert!(after.next_at > Some(ctx.now()), "and goes on with the next");
    }

    async fn an_overlap_is_skipped_queued_or_ends_what_was_before(ctx) {
        let tenant = tenant(&ctx).await;
        for overlap in [Overlap::Skip, Overlap::Queue, Overlap::CancelPrevious] {
            let schedule = made(&ctx, tenant, hourly(overlap, CatchUp::One)).await;
            to_the_hour(&ctx).await;
            pass(&ctx, 60).await;
            let of_it = tasks_of(&ctx, tenant).await.into_iter().filter(|task| task.schedule_id == Some(schedule.id));
            let mut statuses: Vec<TaskStatus> = of_it.map(|task| task.status).collect();
            statuses.sort_unstable_by_key(|status| status.as_str());
            let expect: &[TaskStatus] = match overlap {
                Overlap::Skip => &[TaskStatus::Ready],
                Overlap::Queue => &[TaskStatus::Ready, TaskStatus::Ready],
                Overlap::CancelPrevious => &[TaskStatus::Cancelled, TaskStatus::Ready],
            };
            assert_eq!(statuses, expect, "{overlap}");
            delete(&ctx, tenant, schedule.id).await.expect("deletes");
        }
    }

    async fn queued_tasks_of_one_schedule_run_one_after_the_other(ctx) {
        let tenant = tenant(&ctx).await;
        made(&ctx, tenant, hourly(Overlap::Queue, CatchUp::One)).await;
        to_the_hour(&ctx).await;
        pass(&ctx, 60).await;
        let ids: Vec<TaskId> = tasks_of(&ctx, tenant).await.into_iter().map(|task| task.id).collect();
        schedule(&ctx).await;
        let worker = worker(&ctx, 1).await;
        schedule(&ctx).await;
        let lease = leased(&ctx, worker).await;
        let other = ids.into_iter().find(|id| *id != lease.task_id).expect("two were submitted");
        assert_eq!(first_reason(&ctx, tenant, other).await, wire::why::ReasonCode::ConcurrencyLimit);
        let word = ended(&lease, Outcome::Succeeded);
        leases::complete(&ctx, &Settings::default(), worker, lease.execution_id, word).await.expect("ends");
        schedule(&ctx).await;
        assert_eq!(status(&ctx, tenant, other).await, TaskStatus::Assigned);
    }

    async fn a_schedule_that_rested_goes_on_from_now(ctx) {
        let tenant = tenant(&ctx).await;
        let id = made(&ctx, tenant, NewSchedule { paused: true, ..hourly(Overlap::Queue, CatchUp::One) }).await.id;
        pass(&ctx, 180).await;
        let change = ScheduleChange { paused: Some(false), ..ScheduleChange::default() };
        update(&ctx, &Settings::default(), tenant, id, change).await.expect("changes");
        pass(&ctx, 0).await;
        assert_eq!(tasks_of(&ctx, tenant).await.len(), 0);
        to_the_hour(&ctx).await;
        assert_eq!(tasks_of(&ctx, tenant).await.len(), 1);
    }

    async fn what_cannot_be_read_is_refused_by_name_and_a_repeat_gives_the_first_answer(ctx) {
        let tenant = tenant(&ctx).await;
        let refused = async |new: NewSchedule| {
            create(&ctx, &Settings::default(), tenant, new, None).await.expect_err("is refused").to_string()
        };
        let usual = || hourly(Overlap::Skip, CatchUp::One);
        for (new, field) in [
            (NewSchedule { cron: "often".into(), ..usual() }, "cron"),
            (NewSchedule { cron: "0 0 30 2 *".into(), ..usual() }, "cron"),
            (NewSchedule { time_zone: "Mars/Olympus".into(), ..usual() }, "time_zone"),
            (NewSchedule { name: " ".into(), ..usual() }, "name"),
            (NewSchedule { task: NewTask { title: String::new(), ..run("t") }, ..usual() }, "task"),
        ] {
            let said = refused(new).await;
            assert!(said.starts_with(&format!("{field}: ")), "{said}");
        }
        let attempt = Attempt::new("k", "schedules.create", &usual()).expect("a key");
        let settings = Settings::default();
        let first = create(&ctx, &settings, tenant, usual(), Some(&attempt)).await.expect("is made");
        let again = create(&ctx, &settings, tenant, usual(), Some(&attempt)).await.expect("replays");
        assert_eq!((first, 1), (again, list(&ctx, tenant).await.expect("lists").len()));
        let stranger = ctx.id(TenantId::mint);
        assert_eq!(list(&ctx, stranger).await.expect("lists"), []);
    }
}
