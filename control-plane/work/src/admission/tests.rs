//! Admission on both databases: what holds and limits keep back, whoever asks.

use std::time::Duration;

use kernel::Ctx;
use wire::admission::{NewHold, NewLimit, RateLimit};
use wire::agent::AgentSpec;
use wire::execution::Outcome;
use wire::id::{TaskId, WorkerId};
use wire::metadata::Assignment;
use wire::task::{NewTask, Priority, TaskChange, TaskStatus};
use wire::why::ReasonCode;

use super::*;
use crate::tests::{
    code, ended, first_reason, leased, migrations, note, run, schedule, status, submit, tenant, worker,
};
use crate::{Settings, holds, leases, limits, tell_waiting, why};

fn with_keys(title: &str, keys: &[&str]) -> NewTask {
    NewTask { keys: keys.iter().map(|key| (*key).to_owned()).collect(), ..run(title) }
}

fn of_project(title: &str, project: &str) -> NewTask {
    NewTask { project: Some(project.into()), ..run(title) }
}

fn of_session(title: &str, agent: &str, session: &str) -> NewTask {
    let (name, prompt, session) = (agent.to_owned(), "Go on.".to_owned(), Some(session.to_owned()));
    let mut task = run(title);
    if let Some(spec) = &mut task.spec {
        (spec.command, spec.agent) = (Vec::new(), Some(AgentSpec { name, prompt, model: None, session }));
    }
    task
}

pub(crate) fn held_project(project: &str) -> NewHold {
    NewHold { project: Some(project.into()), reason: "r".into(), ..NewHold::default() }
}

/// A worker of the pool that has nothing to do.
async fn idle(ctx: &Ctx, tenant: TenantId) -> WorkerId {
    let first = submit(ctx, tenant, run("first")).await.id;
    schedule(ctx).await;
    let worker = worker(ctx, 1).await;
    schedule(ctx).await;
    finish_leased(ctx, worker).await;
    assert_eq!(status(ctx, tenant, first).await, TaskStatus::Completed);
    worker
}

async fn finish_leased(ctx: &Ctx, worker: WorkerId) -> TaskId {
    let lease = leased(ctx, worker).await;
    let word = ended(&lease, Outcome::Succeeded);
    leases::complete(ctx, &Settings::default(), worker, lease.execution_id, word).await.expect("ends");
    lease.task_id
}

pub(crate) fn person() -> wire::worker::NewWorker {
    let (worker_type, metadata) = ("person".into(), serde_json::Value::Null);
    wire::worker::NewWorker { worker_type, capacity: 100, agent_types: vec![], metadata }
}

pub(crate) async fn by_hand(ctx: &Ctx, tenant: TenantId, task: TaskId) -> Result<TaskStatus> {
    let worker = pool::workers::add(ctx, person(), None).await.expect("added");
    Ok(tasks::assign(ctx, tenant, task, Assignment { worker_id: worker.id }).await?.status)
}

async fn reasons(ctx: &Ctx, tenant: TenantId, task: TaskId) -> Vec<(ReasonCode, Option<DateTime<Utc>>)> {
    let why = why(ctx, &Settings::default(), &pool::Settings::default(), tenant, task).await.expect("says why");
    why.reasons.into_iter().map(|reason| (reason.code, reason.until)).collect()
}

kernel::on_both! { migrations();
    async fn what_is_held_waits_with_its_reason_whoever_asks_and_goes_on_when_it_is_let_go(ctx) {
        let tenant = tenant(&ctx).await;
        let worker = idle(&ctx, tenant).await;
        let task = submit(&ctx, tenant, of_project("t", "web")).await.id;
        let hold = holds::set(&ctx, tenant, "me", held_project("web"), None).await.expect("holds");
        schedule(&ctx).await;
        assert_eq!(status(&ctx, tenant, task).await, TaskStatus::Ready);
        assert_eq!(first_reason(&ctx, tenant, task).await, ReasonCode::Held);
        assert_eq!(code(by_hand(&ctx, tenant, task).await), "held");
        let set = TaskChange { status: Some(TaskStatus::Assigned), ..TaskChange::default() };
        assert_eq!(code(tasks::update(&ctx, &Settings::default(), tenant, task, set).await), "held");
        holds::remove(&ctx, tenant, hold.id).await.expect("lets go");
        schedule(&ctx).await;
        assert_eq!(finish_leased(&ctx, worker).await, task);
    }

    async fn a_held_task_is_parked_and_its_hold_may_end_by_itself(ctx) {
        let tenant = tenant(&ctx).await;
        let worker = idle(&ctx, tenant).await;
        let task = submit(&ctx, tenant, run("t")).await.id;
        let until = ctx.now() + chrono::TimeDelta::seconds(30);
        let hold = NewHold { task_id: Some(task), reason: "quota".into(), expires_at: Some(until), ..NewHold::default() };
        holds::set(&ctx, tenant, "me", hold, None).await.expect("holds");
        schedule(&ctx).await;
        assert_eq!(reasons(&ctx, tenant, task).await, [(ReasonCode::Held, Some(until))]);
        assert_eq!(code(by_hand(&ctx, tenant, task).await), "held");
        ctx.clock.advance(Duration::from_secs(30));
        schedule(&ctx).await;
        assert_eq!(finish_leased(&ctx, worker).await, task);
    }

    async fn everything_held_keeps_everything(ctx) {
        let tenant = tenant(&ctx).await;
        let worker = idle(&ctx, tenant).await;
        let task = submit(&ctx, tenant, with_keys("t", &["k"])).await.id;
        let hold = NewHold { everything: true, reason: "r".into(), ..NewHold::default() };
        let hold = holds::set(&ctx, tenant, "me", hold, None).await.expect("holds");
        schedule(&ctx).await;
        assert_eq!(first_reason(&ctx, tenant, task).await, ReasonCode::Held);
        holds::remove(&ctx, tenant, hold.id).await.expect("lets go");
        schedule(&ctx).await;
        assert_eq!(finish_leased(&ctx, worker).await, task);
    }

    async fn a_task_waits_for_its_time(ctx) {
        let tenant = tenant(&ctx).await;
        let worker = idle(&ctx, tenant).await;
        let not_before = ctx.now() + chrono::TimeDelta::seconds(30);
        let task = submit(&ctx, tenant, NewTask { not_before: Some(not_before), ..run("t") }).await.id;
        schedule(&ctx).await;
        assert_eq!(reasons(&ctx, tenant, task).await, [(ReasonCode::NotBefore, Some(not_before))]);
        assert_eq!(code(by_hand(&ctx, tenant, task).await), "not_before");
        ctx.clock.advance(Duration::from_secs(30));
        schedule(&ctx).await;
        assert_eq!(finish_leased(&ctx, worker).await, task);
    }

    async fn a_time_that_is_taken_away_keeps_nobody(ctx) {
        let tenant = tenant(&ctx).await;
        let not_before = ctx.now() + chrono::TimeDelta::days(60);
        let task = submit(&ctx, tenant, NewTask { not_before: Some(not_before), ..note("t") }).await.id;
        let change = TaskChange { not_before: Some(None), ..TaskChange::default() };
        let view = tasks::update(&ctx, &Settings::default(), tenant, task, change).await.expect("changes");
        assert_eq!(view.not_before, None);
        by_hand(&ctx, tenant, task).await.expect("is given");
    }

    async fn as_many_tasks_with_a_key_are_in_hand_as_its_limit_allows(ctx) {
        let tenant = tenant(&ctx).await;
        let worker = idle(&ctx, tenant).await;
        limits::set(&ctx, tenant, "db", NewLimit { max_running: Some(1), rate: None }).await.expect("sets");
        let one = submit(&ctx, tenant, with_keys("1", &["db"])).await.id;
        let two = submit(&ctx, tenant, with_keys("2", &["other", "db"])).await.id;
        assert_eq!(by_hand(&ctx, tenant, one).await.expect("the first"), TaskStatus::Assigned);
        schedule(&ctx).await;
        assert_eq!(first_reason(&ctx, tenant, two).await, ReasonCode::ConcurrencyLimit);
        assert_eq!(code(by_hand(&ctx, tenant, two).await), "concurrency_limit");
        assert_eq!(limits::get(&ctx, tenant, "db").await.expect("is there").running, 1);
        tasks::cancel(&ctx, &Settings::default(), tenant, one).await.expect("cancels");
        schedule(&ctx).await;
        assert_eq!(finish_leased(&ctx, worker).await, two);
    }

    async fn of_the_tasks_that_go_on_with_one_session_one_is_in_hand_and_the_next_waits_for_its_end(ctx) {
        let tenant = tenant(&ctx).await;
        let worker = idle(&ctx, tenant).await;
        let one = submit(&ctx, tenant, of_session("1", "claude_code", "s-1")).await;
        assert_eq!(one.keys, [""; 0], "people gave it none");
        let two = submit(&ctx, tenant, of_session("2", "claude_code", "s-1")).await.id;
        by_hand(&ctx, tenant, one.id).await.expect("the first");
        schedule(&ctx).await;
        let waits = why(&ctx, &Settings::default(), &pool::Settings::default(), tenant, two).await.expect("says why");
        let reason = waits.reasons.first().expect("it waits");
        assert_eq!((reason.code, reason.task_id), (ReasonCode::ConcurrencyLimit, Some(one.id)), "{reason:?}");
        let other_keys = TaskChange { keys: Some(vec!["k".into()]), ..TaskChange::default() };
        let view = tasks::update(&ctx, &Settings::default(), tenant, two, other_keys).await.expect("changes");
        assert_eq!(view.keys, ["k"]);
        let refused = by_hand(&ctx, tenant, two).await;
        assert!(format!("{refused:?}").contains(&one.id.to_string()), "{refused:?}");
        assert_eq!(code(refused), "session_in_use");
        for (title, agent, session) in [("3", "codex", "s-1"), ("4", "claude_code", "s-2")] {
            let other = submit(&ctx, tenant, of_session(title, agent, session)).await.id;
            by_hand(&ctx, tenant, other).await.expect("is another session");
        }
        tasks::cancel(&ctx, &Settings::default(), tenant, one.id).await.expect("cancels");
        schedule(&ctx).await;
        assert_eq!(finish_leased(&ctx, worker).await, two);
    }

    async fn two_that_ask_at_once_do_not_both_get_a_session(ctx) {
        let tenant = tenant(&ctx).await;
        for round in 0..5 {
            let session = format!("s-{round}");
            let one = submit(&ctx, tenant, of_session("1", "codex", &session)).await.id;
            let two = submit(&ctx, tenant, of_session("2", "codex", &session)).await.id;
            let (first, second) = tokio::join!(by_hand(&ctx, tenant, one), by_hand(&ctx, tenant, two));
            assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
            assert_eq!(code(if first.is_ok() { second } else { first }), "session_in_use");
        }
    }

    async fn a_step_of_the_scheduler_gives_away_one_of_a_session(ctx) {
        let tenant = tenant(&ctx).await;
        let mut ids = Vec::new();
        for title in ["1", "2", "3"] {
            ids.push(submit(&ctx, tenant, of_session(title, "codex", "s")).await.id);
        }
        schedule(&ctx).await;
        let worker = worker(&ctx, 3).await;
        for id in ids {
            schedule(&ctx).await;
            schedule(&ctx).await;
            assert_eq!(finish_leased(&ctx, worker).await, id);
        }
    }

    async fn tasks_with_a_key_start_as_often_as_its_bucket_has_tokens(ctx) {
        let tenant = tenant(&ctx).await;
        let rate = RateLimit { tokens: 1, per_seconds: 60, burst: Some(2) };
        limits::set(&ctx, tenant, "api", NewLimit { max_running: None, rate: Some(rate) }).await.expect("sets");
        let mut given = 0;
        let mut last = None;
        for title in ["1", "2", "3"] {
            let task = submit(&ctx, tenant, NewTask { spec: None, ..with_keys(title, &["api"]) }).await.id;
            given += i32::from(by_hand(&ctx, tenant, task).await.is_ok());
            last = Some(task);
        }
        let last = last.expect("three were");
        assert_eq!(given, 2, "as many as the burst");
        assert_eq!(code(by_hand(&ctx, tenant, last).await), "rate_limit");
        let limit = limits::get(&ctx, tenant, "api").await.expect("is there");
        let next = limit.next_token_at.expect("none is left");
        assert_eq!(limit.tokens_left, Some(0));
        ctx.clock.advance((next - ctx.now()).to_std().expect("is to come"));
        by_hand(&ctx, tenant, last).await.expect("the bucket has one again");
    }

    async fn a_thousand_held_urgent_tasks_keep_nobody_else_and_are_not_even_read(ctx) {
        let tenant = tenant(&ctx).await;
        let worker = idle(&ctx, tenant).await;
        holds::set(&ctx, tenant, "me", held_project("held"), None).await.expect("holds");
        let urgent = Priority::try_from(5).expect("valid");
        for batch in 0..12 {
            let tasks: Vec<NewTask> =
                (0..100).map(|number| NewTask { priority: urgent, ..of_project(&format!("{batch}-{number}"), "held") }).collect();
            let graph = wire::batch::NewGraph { tasks, dependencies: vec![] };
            tasks::batch::submit(&ctx, &Settings::default(), tenant, graph, None).await.expect("submits");
        }
        let task = submit(&ctx, tenant, NewTask { priority: Priority::try_from(1).expect("valid"), ..run("free") }).await.id;
        let mut tx = ctx.read("test").await.expect("begins");
        let heads = store::heads(&mut tx).await.expect("reads");
        assert_eq!(heads.len(), 2, "one for each lane, however many tasks wait");
        let lanes: Vec<LaneId> = heads.iter().map(|head| head.lane.id).collect();
        assert_eq!(store::next(&mut tx, &lanes, 7).await.expect("reads").len(), 8);
        drop(tx);
        schedule(&ctx).await;
        assert_eq!(finish_leased(&ctx, worker).await, task);
    }

    async fn a_list_says_what_each_ready_task_waits_for(ctx) {
        let tenant = tenant(&ctx).await;
        let held = submit(&ctx, tenant, of_project("a", "web")).await;
        let parked = submit(&ctx, tenant, NewTask { not_before: Some(ctx.now() + chrono::TimeDelta::days(1)), ..run("b") }).await;
        let plain = submit(&ctx, tenant, run("c")).await;
        let written = submit(&ctx, tenant, note("d")).await;
        holds::set(&ctx, tenant, "ada", held_project("web"), None).await.expect("holds");
        let mut views = vec![held, parked, plain, written];
        let (work, pool) = (Settings::default(), pool::Settings::default());
        tell_waiting(&ctx, &work, &pool, tenant, &mut views).await.expect("tells");
        let first = |view: &wire::task::TaskView| view.waiting.as_deref().and_then(|line| line.split(':').next().map(str::to_owned));
        let codes: Vec<_> = views.iter().filter_map(first).collect();
        assert_eq!(codes, ["held", "not_before", "machine_coming"]);
        assert_eq!(views[3].waiting, None, "a note waits for nothing but people");
        assert_eq!(views[0].waiting.as_deref(), Some("held: ada holds the project web: r"));
        assert!(views[1].waiting.as_deref().is_some_and(|line| line.contains("(until ")), "{:?}", views[1].waiting);
    }

    async fn a_deleted_task_leaves_no_hold(ctx) {
        let tenant = tenant(&ctx).await;
        let task = submit(&ctx, tenant, note("t")).await.id;
        let hold = NewHold { task_id: Some(task), reason: "r".into(), ..NewHold::default() };
        holds::set(&ctx, tenant, "me", hold, None).await.expect("holds");
        tasks::delete(&ctx, tenant, task).await.expect("deletes");
        assert_eq!(holds::list(&ctx, tenant).await.expect("lists"), []);
    }
}

/// The order of growth, by what SQLite says it does: a probe of an index for each lane, and no sorting.
#[tokio::test]
async fn looking_for_work_probes_an_index_for_each_lane_on_sqlite() {
    kernel::testing::with_sqlite(&migrations(), |ctx| async move {
        let mut tx = ctx.read("test").await.expect("begins");
        for (name, sql) in
            store::STATEMENTS.iter().filter(|(name, _)| name.ends_with("HEADS") || name.ends_with("::NEXT"))
        {
            let text: &'static str = Box::leak(format!("EXPLAIN QUERY PLAN {}", sql.sqlite).into_boxed_str());
            let explain = kernel::Sql { sqlite: text, postgres: text };
            let steps = if name.ends_with("NEXT") {
                kernel::fetch_all!(tx, (i64, i64, i64, String), explain, "[]", 1_i64)
            } else {
                kernel::fetch_all!(tx, (i64, i64, i64, String), explain)
            };
            let steps: Vec<String> = steps.expect("explains").into_iter().map(|(.., step)| step).collect();
            let of_tasks =
                steps.iter().filter(|step| step.contains(" tasks") || step.contains(" w ") || step.ends_with(" w"));
            for step in of_tasks {
                assert!(step.contains("USING") && step.contains("INDEX"), "{name}: {steps:#?}");
            }
        }
    })
    .await;
}
