//! Assignments on both databases: who gets what, that nobody gets more than they
//! take, and who makes way.

use std::time::Duration;

use kernel::Reconciler as _;
use wire::execution::ExecutionResult;
use wire::id::WorkerId;
use wire::metadata::{Assignment, NewMetadata};
use wire::prioritize::{Algorithm, Prioritize};
use wire::task::{NewTask, Priority, TaskStatus};
use wire::worker::{WorkerChange, WorkerStatus};

use super::*;
use crate::tests::{begins, code, hand, migrations, note, run, status, submit, tenant, worker as pooled};
use crate::{LostWork, claims, prioritize};

async fn load(ctx: &Ctx, worker: WorkerId) -> i32 {
    pool::workers::get(ctx, worker).await.expect("found").current_load
}

/// A note of this priority.
async fn task(ctx: &Ctx, tenant: TenantId, title: &str, priority: i16) -> TaskId {
    let priority = Priority::try_from(priority).expect("valid");
    submit(ctx, tenant, NewTask { priority, ..note(title) }).await.id
}

async fn say(ctx: &Ctx, tenant: TenantId, task: TaskId, key: &str, value: &str) {
    let new = NewMetadata { key: key.into(), value: value.into() };
    metadata::set(ctx, tenant, task, new).await.expect("is set");
}

async fn assign(ctx: &Ctx, tenant: TenantId, task: TaskId) -> Result<AssignedTask> {
    optimal(ctx, tenant, task.into()).await
}

async fn rows(ctx: &Ctx, tenant: TenantId, task: TaskId) -> usize {
    executions::history(ctx, tenant, task).await.expect("lists").executions.len()
}

async fn kinds(ctx: &Ctx, task: TaskId) -> Vec<String> {
    let mut tx = ctx.read("test").await.expect("begins");
    let events = outbox::pending(&mut tx, 1_000).await.expect("reads");
    events.into_iter().filter(|event| event.task_id == Some(task)).map(|event| event.kind).collect()
}

kernel::on_both! { migrations();
    async fn the_least_loaded_of_two_workers_is_given_the_task_and_its_execution_waits_for_its_word(ctx) {
        let tenant = tenant(&ctx).await;
        let (busy, free) = (hand(&ctx, "claude_code", 5).await, hand(&ctx, "claude_code", 5).await);
        for (worker, load) in [(busy, 3), (free, 1)] {
            pool::workers::heartbeat_by_hand(&ctx, worker, Some(load)).await.expect("heard");
        }
        let id = task(&ctx, tenant, "t", 3).await;
        say(&ctx, tenant, id, "agent_type", "claude_code").await;
        let assigned = assign(&ctx, tenant, id).await.expect("assigns");
        assert_eq!((assigned.worker.id, assigned.task_id), (free, id));
        let view = tasks::get(&ctx, tenant, id).await.expect("found");
        let execution = view.execution.expect("one");
        assert_eq!((view.status, execution.id, execution.started_at), (TaskStatus::Assigned, assigned.execution_id, None));
        assert_eq!(code(executions::start_by_hand(&ctx, tenant, id, begins(busy), None).await), "task_assigned_elsewhere");
        ctx.clock.advance(Duration::from_secs(9));
        let begun = executions::start_by_hand(&ctx, tenant, id, begins(free), None).await.expect("starts");
        assert_eq!((begun.id, begun.started_at, begun.number), (execution.id, Some(ctx.now()), 1));
        assert_eq!(code(executions::start_by_hand(&ctx, tenant, id, begins(free), None).await), "task_not_assigned");
    }

    async fn what_nobody_can_take_stays_as_it_is(ctx) {
        let tenant = tenant(&ctx).await;
        let [id, other] = [task(&ctx, tenant, "t", 3).await, task(&ctx, tenant, "u", 3).await];
        assert_eq!(code(assign(&ctx, tenant, id).await), "no_capable_worker");
        let worker = hand(&ctx, "codex", 1).await;
        say(&ctx, tenant, id, "agent_type", "claude_code").await;
        assert_eq!(code(assign(&ctx, tenant, id).await), "no_capable_worker", "of another type");
        assign(&ctx, tenant, other).await.expect("takes any");
        say(&ctx, tenant, id, "agent_type", "codex").await;
        assert_eq!(code(assign(&ctx, tenant, id).await), "no_capable_worker", "is full");
        assert_eq!((status(&ctx, tenant, id).await, rows(&ctx, tenant, id).await), (TaskStatus::Ready, 0));
        assert_eq!(load(&ctx, worker).await, 1);
        assert_eq!(code(assign(&ctx, ctx.id(TenantId::mint), id).await), "not_found");
        assert_eq!(code(assign(&ctx, tenant, other).await), "task_not_ready");
    }

    async fn a_task_with_a_spec_is_for_whoever_carries_out_commands(ctx) {
        let tenant = tenant(&ctx).await;
        hand(&ctx, "claude_code", 1).await;
        let id = submit(&ctx, tenant, run("make")).await.id;
        assert_eq!(code(assign(&ctx, tenant, id).await), "no_capable_worker");
        let commands = hand(&ctx, "command", 1).await;
        assert_eq!(assign(&ctx, tenant, id).await.expect("assigns").worker.id, commands);
    }

    async fn workers_of_the_pool_and_silent_ones_are_given_nothing(ctx) {
        let tenant = tenant(&ctx).await;
        submit(&ctx, tenant, run("make")).await;
        crate::tests::schedule(&ctx).await;
        pooled(&ctx, 1).await;
        let id = task(&ctx, tenant, "t", 3).await;
        assert_eq!(code(assign(&ctx, tenant, id).await), "no_capable_worker");
        hand(&ctx, "codex", 1).await;
        ctx.clock.advance(Duration::from_secs(301));
        assert_eq!(code(assign(&ctx, tenant, id).await), "no_capable_worker");
    }

    async fn a_batch_gives_the_most_urgent_tasks_to_whoever_has_room(ctx) {
        let tenant = tenant(&ctx).await;
        let (first, second) = (hand(&ctx, "codex", 2).await, hand(&ctx, "codex", 1).await);
        let ids = [task(&ctx, tenant, "low", 1).await, task(&ctx, tenant, "b", 4).await, task(&ctx, tenant, "a", 5).await, task(&ctx, tenant, "c", 4).await, task(&ctx, tenant, "d", 2).await];
        let assigned = batch(&ctx, tenant, AssignBatch { count: 5 }).await.expect("assigns");
        assert_eq!(assigned.iter().map(|one| one.task_id).collect::<Vec<_>>(), [ids[2], ids[1], ids[3]], "the low one came first and stays");
        assert_eq!((load(&ctx, first).await, load(&ctx, second).await), (2, 1));
        assert_eq!(batch(&ctx, tenant, AssignBatch { count: 5 }).await.expect("assigns"), []);
        for count in [0, 101] {
            assert_eq!(code(batch(&ctx, tenant, AssignBatch { count }).await), "invalid");
        }
    }

    async fn a_batch_follows_the_stored_scores_until_what_they_were_made_of_changes(ctx) {
        let tenant = tenant(&ctx).await;
        hand(&ctx, "codex", 100).await;
        let long = submit(&ctx, tenant, NewTask { effort_estimate: Some(600), ..note("long") }).await.id;
        let short = submit(&ctx, tenant, NewTask { effort_estimate: Some(5), priority: Priority::try_from(1).expect("valid"), ..note("short") }).await.id;
        let ask = Prioritize { algorithm: Algorithm::Effort, limit: None };
        prioritize::prioritize(&ctx, tenant, ask).await.expect("scores");
        let urgent = task(&ctx, tenant, "unscored", 5).await;
        let change = wire::task::TaskChange { priority: Priority::try_from(4).ok(), ..Default::default() };
        tasks::update(&ctx, &Settings::default(), tenant, long, change).await.expect("changes");
        let order: Vec<TaskId> = batch(&ctx, tenant, AssignBatch { count: 3 }).await.expect("assigns").iter().map(|one| one.task_id).collect();
        // 100 for an unscored task of priority 5, 92.31 for five minutes, 80 for priority 4: its score is forgotten.
        assert_eq!(order, [urgent, short, long]);
    }

    async fn a_batch_passes_over_what_waits_and_what_nobody_takes(ctx) {
        let tenant = tenant(&ctx).await;
        hand(&ctx, "codex", 5).await;
        let [needed, waiting, foreign] = [task(&ctx, tenant, "a", 1).await, task(&ctx, tenant, "b", 5).await, task(&ctx, tenant, "c", 5).await];
        let on = wire::dependency::NewDependency::on(needed);
        crate::dependencies::add(&ctx, tenant, waiting, on, None).await.expect("adds");
        say(&ctx, tenant, foreign, "agent_type", "claude_code").await;
        let assigned = batch(&ctx, tenant, AssignBatch { count: 5 }).await.expect("assigns");
        assert_eq!(assigned.iter().map(|one| one.task_id).collect::<Vec<_>>(), [needed]);
        assert_eq!(code(assign(&ctx, tenant, waiting).await), "task_blocked");
    }

    async fn however_many_assign_at_once_no_worker_is_given_more_than_it_takes(ctx) {
        let tenant = tenant(&ctx).await;
        let workers = [hand(&ctx, "codex", 3).await, hand(&ctx, "codex", 2).await];
        let mut assigning = tokio::task::JoinSet::new();
        for number in 0..12 {
            let id = task(&ctx, tenant, "t", 3).await;
            let (ctx, worker_id) = (ctx.clone(), workers[number % 2]);
            assigning.spawn(async move {
                match number % 3 {
                    0 => tasks::assign(&ctx, tenant, id, Assignment { worker_id }).await.map(drop),
                    _ => assign(&ctx, tenant, id).await.map(drop),
                }
            });
        }
        let results: Vec<Result<()>> = assigning.join_all().await;
        let done = results.iter().filter(|result| result.is_ok()).count();
        let refused: Vec<&str> = results.iter().filter_map(|result| result.as_ref().err()).map(Error::code).collect();
        assert!(refused.iter().all(|code| ["worker_full", "no_capable_worker"].contains(code)), "{refused:?}");
        let loads = [load(&ctx, workers[0]).await, load(&ctx, workers[1]).await];
        assert!(loads[0] <= 3 && loads[1] <= 2, "{loads:?}");
        assert_eq!(usize::try_from(loads[0] + loads[1]).expect("few"), done);
        let more = batch(&ctx, tenant, AssignBatch { count: 100 }).await.expect("assigns").len();
        assert_eq!(done + more, 5, "and what room there was is filled");
    }

    async fn a_worker_that_tells_of_less_than_it_was_given_is_given_no_more(ctx) {
        let tenant = tenant(&ctx).await;
        let worker = hand(&ctx, "codex", 1).await;
        let [a, b] = [task(&ctx, tenant, "a", 3).await, task(&ctx, tenant, "b", 3).await];
        assign(&ctx, tenant, a).await.expect("assigns");
        pool::workers::heartbeat_by_hand(&ctx, worker, Some(0)).await.expect("heard");
        assert_eq!(code(assign(&ctx, tenant, b).await), "no_capable_worker");
        let to = Assignment { worker_id: worker };
        assert_eq!(code(tasks::assign(&ctx, tenant, b, to).await), "worker_full");
        pool::workers::update(&ctx, worker, WorkerChange { capacity: Some(2), ..WorkerChange::default() }).await.expect("changes");
        assign(&ctx, tenant, b).await.expect("there is room now");
    }

    async fn what_a_silent_worker_was_promised_is_ready_again_and_what_it_has_begun_stays_its_own(ctx) {
        let tenant = tenant(&ctx).await;
        let worker = hand(&ctx, "codex", 2).await;
        let [begun, promised] = [task(&ctx, tenant, "a", 3).await, task(&ctx, tenant, "b", 3).await];
        for id in [begun, promised] {
            assign(&ctx, tenant, id).await.expect("assigns");
        }
        executions::start_by_hand(&ctx, tenant, begun, begins(worker), None).await.expect("starts");
        assert_eq!(executions::stale(&ctx, &Settings::default(), tenant).await.expect("lists"), []);
        for (seconds, expect) in [(299, TaskStatus::Assigned), (2, TaskStatus::Ready)] {
            ctx.clock.advance(Duration::from_secs(seconds));
            pool::workers::disable_stale(&ctx).await.expect("looks");
            LostWork::new(Default::default()).tick(&ctx).await.expect("takes back");
            assert_eq!(status(&ctx, tenant, promised).await, expect);
        }
        assert_eq!(status(&ctx, tenant, begun).await, TaskStatus::InProgress);
        let view = tasks::get(&ctx, tenant, promised).await.expect("found");
        assert_eq!((view.attempts, view.execution.and_then(|one| one.outcome)), (0, Some(Outcome::WorkerLost)));
        assert_eq!(pool::workers::get(&ctx, worker).await.expect("found").status, WorkerStatus::Disabled);
    }

    async fn only_what_has_begun_is_stale(ctx) {
        let tenant = tenant(&ctx).await;
        let worker = hand(&ctx, "codex", 2).await;
        let id = task(&ctx, tenant, "a", 3).await;
        assign(&ctx, tenant, id).await.expect("assigns");
        ctx.clock.advance(Duration::from_secs(7_201));
        assert_eq!(executions::stale(&ctx, &Settings::default(), tenant).await.expect("lists"), []);
        executions::start_by_hand(&ctx, tenant, id, begins(worker), None).await.expect("starts");
        ctx.clock.advance(Duration::from_secs(7_201));
        assert_eq!(executions::stale(&ctx, &Settings::default(), tenant).await.expect("lists").len(), 1);
    }

    async fn a_more_urgent_task_takes_the_worker_of_a_less_urgent_one(ctx) {
        let tenant = tenant(&ctx).await;
        let worker = hand(&ctx, "codex", 1).await;
        let [low, same, high] = [task(&ctx, tenant, "low", 2).await, task(&ctx, tenant, "same", 2).await, task(&ctx, tenant, "high", 5).await];
        assign(&ctx, tenant, low).await.expect("assigns");
        let running = executions::start_by_hand(&ctx, tenant, low, begins(worker), None).await.expect("starts");
        let to = Preempt { target_worker_id: worker };
        let preempt = async |id: TaskId| preempt(&ctx, &Settings::default(), tenant, id.into(), to).await;
        assert_eq!(code(preempt(same).await), "not_more_urgent");
        assert_eq!(code(preempt(low).await), "task_not_ready");
        assert_eq!(status(&ctx, tenant, low).await, TaskStatus::InProgress);
        let done = preempt(high).await.expect("preempts");
        assert_eq!((done.preempted_task_id, done.preempted_execution_id, done.assigned.worker.current_load), (Some(low), Some(running.id), 1));
        let view = tasks::get(&ctx, tenant, low).await.expect("found");
        assert_eq!((view.status, view.attempts, view.execution.and_then(|one| one.outcome)), (TaskStatus::Ready, 0, Some(Outcome::Preempted)));
        assert_eq!(status(&ctx, tenant, high).await, TaskStatus::Assigned);
        assert!(kinds(&ctx, low).await.contains(&"task.preempted".to_owned()));
        let late = ExecutionResult { success: true, fence: None, cost_dollars: None, tokens: None, error_message: None };
        assert_eq!(code(claims::complete(&ctx, &Settings::default(), tenant, running.id, late).await), "execution_finished");
        assert_eq!(code(preempt(low).await), "not_more_urgent", "nor the other way round");
    }

    async fn of_several_tasks_the_least_urgent_makes_way_and_none_where_there_is_room(ctx) {
        let tenant = tenant(&ctx).await;
        let worker = hand(&ctx, "codex", 2).await;
        let ids = [task(&ctx, tenant, "a", 3).await, task(&ctx, tenant, "b", 1).await, task(&ctx, tenant, "c", 4).await];
        let to = Preempt { target_worker_id: worker };
        let mut made_way = Vec::new();
        for id in ids {
            made_way.push(preempt(&ctx, &Settings::default(), tenant, id.into(), to).await.expect("gives").preempted_task_id);
        }
        assert_eq!(made_way, [None, None, Some(ids[1])]);
        let nobody = Preempt { target_worker_id: ctx.id(WorkerId::mint) };
        let refused = preempt(&ctx, &Settings::default(), tenant, ids[1].into(), nobody).await.expect_err("is refused");
        assert_eq!(refused.to_string(), "target_worker_id: names no registered worker");
    }

    async fn another_tenants_task_makes_no_way(ctx) {
        let tenant = tenant(&ctx).await;
        let worker = hand(&ctx, "codex", 1).await;
        let id = task(&ctx, tenant, "theirs", 1).await;
        assign(&ctx, tenant, id).await.expect("assigns");
        let mut tx = ctx.read("test").await.expect("begins");
        assert_eq!(store::least_urgent(&mut tx, ctx.id(TenantId::mint), worker).await.expect("looks"), None);
    }

    async fn a_planner_hands_what_it_has_planned_over_to_an_executor(ctx) {
        let tenant = tenant(&ctx).await;
        let (planner, executor) = (hand(&ctx, "planner", 1).await, hand(&ctx, "executor", 1).await);
        let result = |success| ExecutionResult { success, fence: None, cost_dollars: None, tokens: None, error_message: None };
        let end = async |id| claims::complete(&ctx, &Settings::default(), tenant, id, result(true)).await.expect("ends");
        let plan = task(&ctx, tenant, "Plan the login", 3).await;
        say(&ctx, tenant, plan, "agent_type", "planner").await;
        assert_eq!(assign(&ctx, tenant, plan).await.expect("assigns").worker.id, planner);
        let planning = executions::start_by_hand(&ctx, tenant, plan, begins(planner), None).await.expect("starts");
        // The planner's work is a task for an executor, which it waits for in its own name.
        let build = task(&ctx, tenant, "Build the login", 3).await;
        say(&ctx, tenant, build, "agent_type", "executor").await;
        end(planning.id).await;
        assert_eq!(assign(&ctx, tenant, build).await.expect("assigns").worker.id, executor);
        let new = wire::execution::NewExecution { parent_execution_id: Some(planning.id), ..begins(executor) };
        let building = executions::start_by_hand(&ctx, tenant, build, new, None).await.expect("starts");
        assert_eq!(executions::subtasks(&ctx, tenant, planning.id).await.expect("found").percentage, 0);
        end(building.id).await;
        assert_eq!(executions::subtasks(&ctx, tenant, planning.id).await.expect("found").percentage, 100);
        for id in [plan, build] {
            assert_eq!(status(&ctx, tenant, id).await, TaskStatus::Completed);
        }
    }
}
