//! The life of a task on both databases: the scheduler's steps are called by
//! hand, and workers speak through the protocol's use-cases.

use std::sync::Arc;
use std::time::Duration;

use kernel::{Ctx, Migration, Reconciler};
use wire::execution::{ExecutionResult, Exit, Failure, NewExecution, Outcome};
use wire::id::{ExecutionId, MachineId, TaskId, TenantId, WorkerId};
use wire::machine::MachineState;
use wire::task::{NewTask, Priority, TaskChange, TaskSpec, TaskStatus, TaskView};
use wire::why::ReasonCode;
use wire::worker::{Completion, Heartbeat, Instruction, Lease, NewWorker, PROTOCOL, Poll, Register, Running};

use crate::tasks::{self, Filter};
use crate::{LostWork, Scheduler, Settings, claims, executions, holds, leases, why};

mod audit;

pub(crate) fn migrations() -> Vec<Migration> {
    [kernel::MIGRATIONS, access::MIGRATIONS, pool::MIGRATIONS, crate::MIGRATIONS].concat()
}

pub(crate) async fn tenant(ctx: &Ctx) -> TenantId {
    access::ensure_bootstrap_key(ctx, "bifrost_0123456789abcdef").await.expect("made")
}

pub(crate) fn run(title: &str) -> NewTask {
    let spec = TaskSpec {
        repository: "https://example.org/a".into(),
        command: vec!["true".into()],
        env: Default::default(),
        ..TaskSpec::default()
    };
    NewTask {
        title: title.into(),
        description: String::new(),
        priority: Priority::default(),
        effort_estimate: None,
        spec: Some(spec),
        ..NewTask::default()
    }
}

pub(crate) fn note(title: &str) -> NewTask {
    NewTask { spec: None, ..run(title) }
}

pub(crate) async fn submit(ctx: &Ctx, tenant: TenantId, new: NewTask) -> TaskView {
    ctx.clock.advance(Duration::from_millis(1));
    tasks::submit(ctx, &Settings::default(), tenant, new, None).await.expect("submitted")
}

pub(crate) async fn schedule(ctx: &Ctx) {
    let scheduler = Scheduler::new(Arc::default(), Arc::default());
    scheduler.tick(ctx).await.expect("schedules");
}

pub(crate) async fn take_back(ctx: &Ctx) {
    LostWork::new(Arc::default()).tick(ctx).await.expect("takes back");
}

pub(crate) async fn status(ctx: &Ctx, tenant: TenantId, id: TaskId) -> TaskStatus {
    tasks::get(ctx, tenant, id).await.expect("found").status
}

/// A machine that the scheduler asked for, and its worker after the given start of its runner.
pub(crate) async fn worker(ctx: &Ctx, boot: u128) -> WorkerId {
    let machines = pool::machines::list(ctx).await.expect("lists");
    let hello = Register {
        machine_id: machines.first().expect("the scheduler asked for one").id,
        boot: uuid::Uuid::from_u128(boot),
        protocol: PROTOCOL,
        version: "t".into(),
        capacity: 1,
        repositories: vec![],
    };
    leases::register(ctx, &Settings::default(), &hello).await.expect("registers").worker
}

/// A worker that no machine of the pool carries, for its own type of agent.
pub(crate) async fn hand(ctx: &Ctx, worker_type: &str, capacity: i32) -> WorkerId {
    let new =
        NewWorker { worker_type: worker_type.into(), capacity, agent_types: vec![], metadata: Default::default() };
    ctx.clock.advance(Duration::from_millis(1));
    pool::workers::add(ctx, new, None).await.expect("adds").id
}

/// What such a worker says when it begins.
pub(crate) fn begins(worker_id: WorkerId) -> NewExecution {
    NewExecution { agent_type: "claude_code".into(), worker_id, parent_execution_id: None }
}

async fn poll(ctx: &Ctx, worker: WorkerId, running: Vec<Running>) -> Instruction {
    let poll = Poll { running, ..Poll::default() };
    leases::next(ctx, &Settings::default(), worker, &poll).await.expect("polls")
}

pub(crate) async fn leased(ctx: &Ctx, worker: WorkerId) -> Lease {
    match poll(ctx, worker, vec![]).await {
        Instruction::Execute(lease) => *lease,
        other => panic!("nothing to execute: {other:?}"),
    }
}

/// A task in the hands of a worker that has begun.
pub(crate) async fn begun(ctx: &Ctx, tenant: TenantId) -> (TaskId, WorkerId, Lease) {
    let task = submit(ctx, tenant, run("a")).await.id;
    schedule(ctx).await;
    let worker = worker(ctx, 1).await;
    schedule(ctx).await;
    let lease = leased(ctx, worker).await;
    leases::start(ctx, worker, lease.execution_id, lease.fence).await.expect("starts");
    (task, worker, lease)
}

pub(crate) fn ended(lease: &Lease, outcome: Outcome) -> Completion {
    let exit = Some(Exit::Code(i32::from(outcome != Outcome::Succeeded)));
    Completion {
        fence: lease.fence,
        outcome,
        exit,
        failure: None,
        message: None,
        commit: None,
        phases: vec![],
        tokens: None,
        cost_dollars: None,
        checkpoint: None,
        tests: None,
        pull_request: None,
        busy_seconds: None,
    }
}

pub(crate) fn holding(lease: &Lease) -> Running {
    Running { execution_id: lease.execution_id, fence: lease.fence, cancelling: false }
}

pub(crate) async fn titles(ctx: &Ctx, tenant: TenantId, filter: Filter) -> Vec<String> {
    tasks::list(ctx, tenant, filter).await.expect("lists").tasks.into_iter().map(|task| task.title).collect()
}

pub(crate) async fn first_reason(ctx: &Ctx, tenant: TenantId, id: TaskId) -> ReasonCode {
    why(ctx, &Settings::default(), &pool::Settings::default(), tenant, id).await.expect("says why").reasons[0].code
}

pub(crate) fn code<T: std::fmt::Debug>(result: kernel::Result<T>) -> &'static str {
    result.expect_err("refused").code()
}

kernel::on_both! { migrations();
    async fn a_submitted_task_reads_back_whole(ctx) {
        let tenant = tenant(&ctx).await;
        let new = NewTask { priority: Priority::try_from(5).expect("valid"), effort_estimate: Some(30), description: "d".into(), ..run("t") };
        let task = submit(&ctx, tenant, new.clone()).await;
        assert_eq!(tasks::get(&ctx, tenant, task.id).await.expect("found"), task);
        assert_eq!((task.status, task.spec, task.created_at), (TaskStatus::Ready, new.spec, task.updated_at));
    }

    async fn another_tenants_task_does_not_exist(ctx) {
        let task = submit(&ctx, tenant(&ctx).await, run("t")).await;
        let stranger = ctx.id(TenantId::mint);
        assert_eq!(code(tasks::get(&ctx, stranger, task.id).await), "not_found");
        assert_eq!(code(tasks::cancel(&ctx, &Settings::default(), stranger, task.id).await), "not_found");
        assert!(titles(&ctx, stranger, Filter::default()).await.is_empty());
    }

    async fn a_list_is_ordered_by_urgency_then_age_and_pages(ctx) {
        let tenant = tenant(&ctx).await;
        for (title, priority) in [("c", 1), ("a", 5), ("d", 1), ("b", 5)] {
            submit(&ctx, tenant, NewTask { priority: Priority::try_from(priority).expect("valid"), ..note(title) }).await;
        }
        assert_eq!(titles(&ctx, tenant, Filter::default()).await, ["a", "b", "c", "d"]);
        assert_eq!(titles(&ctx, tenant, Filter { limit: Some(2), offset: Some(1), ..Filter::default() }).await, ["b", "c"]);
        assert_eq!(titles(&ctx, tenant, Filter { priority: Priority::try_from(5).ok(), ..Filter::default() }).await, ["a", "b"]);
        assert_eq!(titles(&ctx, tenant, Filter { status: Some(TaskStatus::Failed), ..Filter::default() }).await, [""; 0]);
        let of_web = Filter { project: Some("web".into()), ..Filter::default() };
        assert_eq!(titles(&ctx, tenant, of_web.clone()).await, [""; 0]);
        for (title, priority) in [("w3", 3), ("w5", 5)] {
            let new = NewTask { project: Some("web".into()), priority: Priority::try_from(priority).expect("1 to 5"), ..note(title) };
            submit(&ctx, tenant, new).await;
        }
        assert_eq!(titles(&ctx, tenant, of_web.clone()).await, ["w5", "w3"]);
        assert_eq!(titles(&ctx, tenant, Filter { priority: Priority::try_from(3).ok(), ..of_web.clone() }).await, ["w3"]);
        assert_eq!(titles(&ctx, tenant, Filter { blocked: Some(true), ..of_web.clone() }).await, [""; 0]);
        assert_eq!(titles(&ctx, tenant, Filter { status: Some(TaskStatus::Ready), blocked: Some(false), ..of_web.clone() }).await, ["w5", "w3"]);
        assert_eq!(tasks::list(&ctx, tenant, Filter { limit: Some(1), ..of_web }).await.expect("lists").total, 2);
        assert_eq!(tasks::list(&ctx, tenant, Filter { limit: Some(1), ..Filter::default() }).await.expect("lists").total, 6);
        assert_eq!(code(tasks::list(&ctx, tenant, Filter { limit: Some(0), ..Filter::default() }).await), "invalid");
    }

    async fn a_change_leaves_what_it_does_not_name(ctx) {
        let tenant = tenant(&ctx).await;
        let task = submit(&ctx, tenant, note("old")).await;
        ctx.clock.advance(Duration::from_secs(1));
        let change = TaskChange { title: Some("new".into()), ..TaskChange::default() };
        let changed = tasks::update(&ctx, &Settings::default(), tenant, task.id, change).await.expect("changes");
        assert_eq!(changed, TaskView { title: "new".into(), updated_at: ctx.now(), version: 2, ..task });
    }

    async fn by_hand_only_allowed_transitions_can_be_set(ctx) {
        let tenant = tenant(&ctx).await;
        let task = submit(&ctx, tenant, note("n")).await.id;
        let set = |status| TaskChange { status: Some(status), ..TaskChange::default() };
        assert_eq!(code(tasks::update(&ctx, &Settings::default(), tenant, task, set(TaskStatus::Completed)).await), "invalid");
        for to in [TaskStatus::Assigned, TaskStatus::InProgress, TaskStatus::Completed] {
            assert_eq!(tasks::update(&ctx, &Settings::default(), tenant, task, set(to)).await.expect("allowed").status, to);
        }
    }

    async fn a_repeated_submission_gives_the_first_answer_and_a_changed_one_is_refused(ctx) {
        let tenant = tenant(&ctx).await;
        let attempt = |new: &NewTask| kernel::idempotency::Attempt::new("k1", "tasks.submit", new).expect("a key");
        let settings = Settings::default();
        let first = tasks::submit(&ctx, &settings, tenant, run("a"), Some(&attempt(&run("a")))).await.expect("submits");
        let again = tasks::submit(&ctx, &settings, tenant, run("a"), Some(&attempt(&run("a")))).await.expect("replays");
        assert_eq!(first, again);
        let other = tasks::submit(&ctx, &settings, tenant, run("b"), Some(&attempt(&run("b")))).await;
        assert_eq!(code(other), "idempotency_key_reused");
        assert_eq!(titles(&ctx, tenant, Filter::default()).await, ["a"]);
    }

    async fn a_path_of_this_computer_is_refused_unless_the_machines_share_it(ctx) {
        let tenant = tenant(&ctx).await;
        let mut new = run("a");
        new.spec.as_mut().expect("has one").repository = "file:///srv/a".into();
        let error = tasks::submit(&ctx, &Settings::default(), tenant, new.clone(), None).await.expect_err("refused");
        assert!(error.to_string().starts_with("spec.repository: "), "{error}");
        let shared = Settings { allow_local_repositories: true, ..Settings::default() };
        tasks::submit(&ctx, &shared, tenant, new, None).await.expect("accepted");
    }

    async fn a_task_goes_from_submission_to_its_end(ctx) {
        let tenant = tenant(&ctx).await;
        let task = submit(&ctx, tenant, run("a")).await.id;
        assert_eq!(first_reason(&ctx, tenant, task).await, ReasonCode::MachineComing, "the decision is to make one");
        schedule(&ctx).await;
        let worker = worker(&ctx, 1).await;
        schedule(&ctx).await;
        assert_eq!(status(&ctx, tenant, task).await, TaskStatus::Assigned);
        let lease = leased(&ctx, worker).await;
        assert_eq!(first_reason(&ctx, tenant, task).await, ReasonCode::Assigned);
        leases::start(&ctx, worker, lease.execution_id, lease.fence).await.expect("starts");
        assert_eq!(first_reason(&ctx, tenant, task).await, ReasonCode::Running);
        ctx.clock.advance(Duration::from_secs(7));
        leases::complete(&ctx, &Settings::default(), worker, lease.execution_id, ended(&lease, Outcome::Succeeded)).await.expect("ends");
        let task = tasks::get(&ctx, tenant, task).await.expect("found");
        let execution = task.execution.expect("one");
        assert_eq!((task.status, task.attempts), (TaskStatus::Completed, 1));
        assert_eq!((execution.success, execution.duration_seconds, execution.exit), (Some(true), Some(7), Some(Exit::Code(0))));
    }

    async fn an_urgent_task_is_checked_out_before_an_earlier_one(ctx) {
        let tenant = tenant(&ctx).await;
        submit(&ctx, tenant, NewTask { priority: Priority::try_from(1).expect("valid"), ..run("low") }).await;
        let high = submit(&ctx, tenant, NewTask { priority: Priority::try_from(5).expect("valid"), ..run("high") }).await.id;
        schedule(&ctx).await;
        let worker = worker(&ctx, 1).await;
        schedule(&ctx).await;
        assert_eq!(leased(&ctx, worker).await.task_id, high);
    }

    async fn an_execution_is_handed_out_again_until_the_worker_has_it(ctx) {
        let tenant = tenant(&ctx).await;
        let (_, worker, lease) = begun(&ctx, tenant).await;
        assert_eq!(leased(&ctx, worker).await, lease, "the answer was lost");
        assert_eq!(poll(&ctx, worker, vec![holding(&lease)]).await, Instruction::Wait);
    }

    async fn a_second_word_of_the_same_end_counts_once_and_another_end_is_refused(ctx) {
        let tenant = tenant(&ctx).await;
        let (task, worker, lease) = begun(&ctx, tenant).await;
        let settings = Settings::default();
        let end = |outcome| leases::complete(&ctx, &settings, worker, lease.execution_id, ended(&lease, outcome));
        end(Outcome::Failed).await.expect("ends");
        end(Outcome::Failed).await.expect("the answer was lost");
        assert_eq!(code(end(Outcome::Succeeded).await), "lease_lost");
        assert_eq!(status(&ctx, tenant, task).await, TaskStatus::Failed);
        assert_eq!(tasks::get(&ctx, tenant, task).await.expect("found").attempts, 1);
    }

    async fn a_lost_lease_cannot_complete_and_the_task_is_ready_again_without_spending_an_attempt(ctx) {
        let tenant = tenant(&ctx).await;
        let (task, worker, lease) = begun(&ctx, tenant).await;
        ctx.clock.advance(Duration::from_secs(59));
        take_back(&ctx).await;
        assert_eq!(status(&ctx, tenant, task).await, TaskStatus::InProgress);
        ctx.clock.advance(Duration::from_secs(2));
        take_back(&ctx).await;
        let view = tasks::get(&ctx, tenant, task).await.expect("found");
        assert_eq!((view.status, view.attempts), (TaskStatus::Ready, 0));
        assert_eq!(view.execution.and_then(|e| e.outcome), Some(Outcome::WorkerLost));
        let late = leases::complete(&ctx, &Settings::default(), worker, lease.execution_id, ended(&lease, Outcome::Succeeded)).await;
        assert_eq!(code(late), "lease_lost");
        let beat = Heartbeat { running: vec![holding(&lease)] };
        let reply = leases::heartbeat(&ctx, &Settings::default(), worker, &beat).await.expect("answers");
        assert_eq!(reply.lost, [lease.execution_id]);
    }

    async fn heartbeats_keep_a_lease(ctx) {
        let tenant = tenant(&ctx).await;
        let (task, worker, lease) = begun(&ctx, tenant).await;
        for _ in 0..10 {
            ctx.clock.advance(Duration::from_secs(45));
            let beat = Heartbeat { running: vec![holding(&lease)] };
            assert!(leases::heartbeat(&ctx, &Settings::default(), worker, &beat).await.expect("answers").lost.is_empty());
            take_back(&ctx).await;
        }
        assert_eq!(status(&ctx, tenant, task).await, TaskStatus::InProgress);
    }

    async fn after_an_outage_of_ours_every_lease_gets_another_term(ctx) {
        let tenant = tenant(&ctx).await;
        let (task, ..) = begun(&ctx, tenant).await;
        ctx.clock.advance(Duration::from_secs(3_600));
        leases::grant_grace(&ctx, &Settings::default()).await.expect("granted");
        take_back(&ctx).await;
        assert_eq!(status(&ctx, tenant, task).await, TaskStatus::InProgress);
    }

    async fn a_runner_that_starts_anew_gives_its_work_back(ctx) {
        let tenant = tenant(&ctx).await;
        let (task, worker_id, lease) = begun(&ctx, tenant).await;
        assert_eq!(worker(&ctx, 2).await, worker_id);
        assert_eq!(status(&ctx, tenant, task).await, TaskStatus::Ready);
        schedule(&ctx).await;
        let second = leased(&ctx, worker_id).await;
        assert_eq!((second.task_id, second.fence), (task, lease.fence + 1));
    }

    async fn a_task_that_keeps_losing_its_worker_fails_in_the_end(ctx) {
        let tenant = tenant(&ctx).await;
        let (task, ..) = begun(&ctx, tenant).await;
        for boot in 2..=11 {
            worker(&ctx, boot).await;
            schedule(&ctx).await;
        }
        let view = tasks::get(&ctx, tenant, task).await.expect("found");
        assert_eq!((view.status, view.attempts), (TaskStatus::Failed, 0));
    }

    async fn cancelling_what_waits_is_the_end_of_it_and_twice_is_no_error(ctx) {
        let tenant = tenant(&ctx).await;
        let task = submit(&ctx, tenant, run("a")).await.id;
        for _ in 0..2 {
            assert_eq!(tasks::cancel(&ctx, &Settings::default(), tenant, task).await.expect("cancels").status, TaskStatus::Cancelled);
        }
        schedule(&ctx).await;
        assert!(pool::machines::list(&ctx).await.expect("lists").is_empty(), "no machine for nothing");
    }

    async fn cancelling_what_runs_tells_the_worker_once_and_waits_for_its_word(ctx) {
        let tenant = tenant(&ctx).await;
        let (task, worker, lease) = begun(&ctx, tenant).await;
        assert_eq!(tasks::cancel(&ctx, &Settings::default(), tenant, task).await.expect("cancels").status, TaskStatus::InProgress);
        assert_eq!(first_reason(&ctx, tenant, task).await, ReasonCode::Cancelling);
        let told = poll(&ctx, worker, vec![holding(&lease)]).await;
        assert_eq!(told, Instruction::Cancel { execution_id: lease.execution_id });
        let ending = Running { cancelling: true, ..holding(&lease) };
        assert_eq!(poll(&ctx, worker, vec![ending]).await, Instruction::Wait);
        leases::complete(&ctx, &Settings::default(), worker, lease.execution_id, ended(&lease, Outcome::Cancelled)).await.expect("ends");
        assert_eq!(status(&ctx, tenant, task).await, TaskStatus::Cancelled);
    }

    async fn a_lost_worker_does_not_bring_back_what_was_called_off(ctx) {
        let tenant = tenant(&ctx).await;
        let (task, ..) = begun(&ctx, tenant).await;
        tasks::cancel(&ctx, &Settings::default(), tenant, task).await.expect("cancels");
        ctx.clock.advance(Duration::from_secs(61));
        take_back(&ctx).await;
        assert_eq!(status(&ctx, tenant, task).await, TaskStatus::Cancelled);
    }

    async fn only_a_failed_task_can_be_retried(ctx) {
        let tenant = tenant(&ctx).await;
        let (task, worker, lease) = begun(&ctx, tenant).await;
        assert_eq!(code(tasks::retry(&ctx, tenant, task, None).await), "task_not_failed");
        leases::complete(&ctx, &Settings::default(), worker, lease.execution_id, ended(&lease, Outcome::Failed)).await.expect("ends");
        assert_eq!(tasks::retry(&ctx, tenant, task, None).await.expect("retries").status, TaskStatus::Ready);
        schedule(&ctx).await;
        assert_eq!(leased(&ctx, worker).await.fence, 2);
    }

    async fn work_done_by_hand_starts_when_assigned_and_ends_once(ctx) {
        let tenant = tenant(&ctx).await;
        let worker = hand(&ctx, "claude_code", 1).await;
        let task = submit(&ctx, tenant, note("n")).await.id;
        let new = || begins(worker);
        assert_eq!(code(executions::start_by_hand(&ctx, tenant, task, new(), None).await), "task_not_assigned");
        let assign = TaskChange { status: Some(TaskStatus::Assigned), ..TaskChange::default() };
        tasks::update(&ctx, &Settings::default(), tenant, task, assign).await.expect("assigns");
        let execution = executions::start_by_hand(&ctx, tenant, task, new(), None).await.expect("starts");
        assert_eq!((execution.success, status(&ctx, tenant, task).await), (None, TaskStatus::InProgress));
        ctx.clock.advance(Duration::from_secs(90));
        let result = || ExecutionResult { success: true, fence: None, cost_dollars: Some("0.25".into()), tokens: None, error_message: None };
        let done = claims::complete(&ctx, &Settings::default(), tenant, execution.id, result()).await.expect("ends");
        assert_eq!((done.success, done.duration_seconds, done.cost_dollars.as_str()), (Some(true), Some(90), "0.250000"));
        assert_eq!(code(claims::complete(&ctx, &Settings::default(), tenant, execution.id, result()).await), "execution_finished");
        assert_eq!(executions::history(&ctx, tenant, task).await.expect("lists").executions, [done]);
    }

    async fn an_execution_is_stale_after_two_hours_and_says_when_it_takes_twice_its_estimate(ctx) {
        let tenant = tenant(&ctx).await;
        let hand = hand(&ctx, "claude_code", 1).await;
        let task = submit(&ctx, tenant, NewTask { effort_estimate: Some(70), ..note("n") }).await.id;
        let assign = TaskChange { status: Some(TaskStatus::Assigned), ..TaskChange::default() };
        tasks::update(&ctx, &Settings::default(), tenant, task, assign).await.expect("assigns");
        let new = begins(hand);
        let execution = executions::start_by_hand(&ctx, tenant, task, new, None).await.expect("starts");
        for (minutes, expect) in [(119, None), (2, Some(false)), (19, Some(false)), (1, Some(true))] {
            ctx.clock.advance(Duration::from_secs(60 * minutes));
            let stale = executions::stale(&ctx, &Settings::default(), tenant).await.expect("lists");
            let found = stale.first().map(|stale| (stale.execution.id, stale.exceeds_estimate));
            assert_eq!(found, expect.map(|exceeds| (execution.id, exceeds)), "after {minutes} more minutes");
        }
        assert_eq!(executions::stale(&ctx, &Settings::default(), ctx.id(TenantId::mint)).await.expect("lists"), []);
        let result = ExecutionResult { success: true, fence: None, cost_dollars: None, tokens: None, error_message: None };
        claims::complete(&ctx, &Settings::default(), tenant, execution.id, result).await.expect("ends");
        assert_eq!(executions::stale(&ctx, &Settings::default(), tenant).await.expect("lists"), []);
    }

    async fn a_leased_execution_is_not_ended_by_hand(ctx) {
        let tenant = tenant(&ctx).await;
        let (task, _, lease) = begun(&ctx, tenant).await;
        let result = ExecutionResult { success: true, fence: None, cost_dollars: None, tokens: None, error_message: None };
        assert_eq!(code(claims::complete(&ctx, &Settings::default(), tenant, lease.execution_id, result).await), "execution_leased");
        let change = TaskChange { status: Some(TaskStatus::Completed), ..TaskChange::default() };
        assert_eq!(code(tasks::update(&ctx, &Settings::default(), tenant, task, change).await), "task_leased");
    }

    async fn a_task_set_to_its_end_by_hand_takes_its_attempt_along_and_a_late_word_of_it_changes_nothing(ctx) {
        let tenant = tenant(&ctx).await;
        let hand = hand(&ctx, "claude_code", 1).await;
        let task = submit(&ctx, tenant, run("a")).await.id;
        let set = |status| TaskChange { status: Some(status), ..TaskChange::default() };
        tasks::update(&ctx, &Settings::default(), tenant, task, set(TaskStatus::Assigned)).await.expect("assigns");
        let new = begins(hand);
        let first = executions::start_by_hand(&ctx, tenant, task, new, None).await.expect("starts");
        let failed = tasks::update(&ctx, &Settings::default(), tenant, task, set(TaskStatus::Failed)).await.expect("sets");
        assert_eq!(failed.execution.and_then(|execution| execution.success), Some(false));
        let result = ExecutionResult { success: true, fence: None, cost_dollars: None, tokens: None, error_message: None };
        let late = claims::complete(&ctx, &Settings::default(), tenant, first.id, result).await;
        assert_eq!(code(late), "execution_finished");
        assert_eq!(status(&ctx, tenant, task).await, TaskStatus::Failed);
    }

    async fn a_worker_of_the_pool_is_not_given_work_by_hand_and_nobody_more_than_it_takes(ctx) {
        let tenant = tenant(&ctx).await;
        let (_, pooled, _) = begun(&ctx, tenant).await;
        let hand = hand(&ctx, "claude_code", 1).await;
        let assigned = async || {
            let task = submit(&ctx, tenant, note("n")).await.id;
            let assign = TaskChange { status: Some(TaskStatus::Assigned), ..TaskChange::default() };
            tasks::update(&ctx, &Settings::default(), tenant, task, assign).await.expect("assigns").id
        };
        let start = async |task, worker_id| {
            executions::start_by_hand(&ctx, tenant, task, begins(worker_id), None).await
        };
        assert_eq!(code(start(assigned().await, pooled).await), "invalid");
        start(assigned().await, hand).await.expect("there is room");
        assert_eq!(code(start(assigned().await, hand).await), "worker_full");
    }

    async fn a_runner_that_stops_does_not_bring_back_what_was_called_off(ctx) {
        let tenant = tenant(&ctx).await;
        let (task, worker, lease) = begun(&ctx, tenant).await;
        tasks::cancel(&ctx, &Settings::default(), tenant, task).await.expect("cancels");
        let word = ended(&lease, Outcome::WorkerLost);
        leases::complete(&ctx, &Settings::default(), worker, lease.execution_id, word).await.expect("ends");
        assert_eq!(status(&ctx, tenant, task).await, TaskStatus::Cancelled);
    }

    async fn a_fault_of_the_machine_spends_no_attempt(ctx) {
        let tenant = tenant(&ctx).await;
        let (task, worker, lease) = begun(&ctx, tenant).await;
        let fault = Completion { failure: Some(Failure::MachineFault), exit: None, ..ended(&lease, Outcome::SetupFailed) };
        leases::complete(&ctx, &Settings::default(), worker, lease.execution_id, fault).await.expect("ends");
        let view = tasks::get(&ctx, tenant, task).await.expect("found");
        assert_eq!((view.status, view.attempts), (TaskStatus::Ready, 0));
        assert_eq!(view.execution.and_then(|e| e.outcome), Some(Outcome::SetupFailed), "the record says what happened");
    }

    async fn after_each_fault_of_its_machine_a_task_waits_longer_and_says_so(ctx) {
        let tenant = tenant(&ctx).await;
        let (task, worker, mut lease) = begun(&ctx, tenant).await;
        for seconds in [10, 20, 40] {
            let fault =
                Completion { failure: Some(Failure::MachineFault), exit: None, ..ended(&lease, Outcome::SetupFailed) };
            leases::complete(&ctx, &Settings::default(), worker, lease.execution_id, fault).await.expect("ends");
            schedule(&ctx).await;
            assert_eq!(status(&ctx, tenant, task).await, TaskStatus::Ready, "it waits");
            let held = holds::list(&ctx, tenant).await.expect("lists");
            let [hold] = &held[..] else { panic!("{held:?}") };
            let wait = (hold.expires_at.expect("it ends") - ctx.now()).num_seconds();
            assert!((seconds / 2..=seconds).contains(&wait), "{wait}");
            assert_eq!((hold.task_id, hold.owner.as_str()), (Some(task), "bifrost"));
            ctx.clock.advance(Duration::from_secs(seconds.unsigned_abs()));
            holds::expire(&ctx, ctx.now()).await.expect("ends it");
            schedule(&ctx).await;
            lease = leased(&ctx, worker).await;
        }
    }

    async fn a_machine_stays_awake_for_as_long_as_its_command_asked(ctx) {
        let tenant = tenant(&ctx).await;
        let (_, worker, lease) = begun(&ctx, tenant).await;
        let wish = Completion { busy_seconds: Some(600), ..ended(&lease, Outcome::Succeeded) };
        leases::complete(&ctx, &Settings::default(), worker, lease.execution_id, wish).await.expect("ends");
        for (seconds, expect) in [(590, MachineState::Ready), (60, MachineState::Draining)] {
            ctx.clock.advance(Duration::from_secs(seconds));
            schedule(&ctx).await;
            assert_eq!(pool::machines::list(&ctx).await.expect("lists")[0].state, expect);
        }
    }

    async fn an_end_that_overtakes_its_beginning_has_one_all_the_same(ctx) {
        let tenant = tenant(&ctx).await;
        let task = submit(&ctx, tenant, run("a")).await.id;
        schedule(&ctx).await;
        let worker = worker(&ctx, 1).await;
        schedule(&ctx).await;
        let lease = leased(&ctx, worker).await;
        ctx.clock.advance(Duration::from_secs(3));
        let word = ended(&lease, Outcome::Succeeded);
        leases::complete(&ctx, &Settings::default(), worker, lease.execution_id, word).await.expect("ends");
        let execution = tasks::get(&ctx, tenant, task).await.expect("found").execution.expect("one");
        assert_eq!((execution.started_at, execution.duration_seconds), (Some(execution.assigned_at), Some(3)));
    }

    async fn after_a_long_outage_no_silent_worker_loses_its_work(ctx) {
        let tenant = tenant(&ctx).await;
        let (task, ..) = begun(&ctx, tenant).await;
        ctx.clock.advance(Duration::from_secs(3_600));
        leases::grant_grace(&ctx, &Settings::default()).await.expect("granted");
        pool::StaleWorkers::default().tick(&ctx).await.expect("looks");
        take_back(&ctx).await;
        assert_eq!(status(&ctx, tenant, task).await, TaskStatus::InProgress);
    }

    async fn after_a_sleep_of_this_computer_nobody_is_judged_by_our_silence(ctx) {
        let tenant = tenant(&ctx).await;
        let (task, ..) = begun(&ctx, tenant).await;
        let lost = LostWork::new(Arc::default());
        lost.tick(&ctx).await.expect("looks");
        ctx.clock.advance(Duration::from_secs(3_600));
        lost.tick(&ctx).await.expect("looks");
        lost.tick(&ctx).await.expect("looks");
        assert_eq!(status(&ctx, tenant, task).await, TaskStatus::InProgress);
    }

    async fn a_note_is_never_scheduled(ctx) {
        let tenant = tenant(&ctx).await;
        let task = submit(&ctx, tenant, note("n")).await.id;
        schedule(&ctx).await;
        assert!(pool::machines::list(&ctx).await.expect("lists").is_empty());
        assert_eq!(first_reason(&ctx, tenant, task).await, ReasonCode::NothingToRun);
    }

    async fn six_waiting_tasks_bring_a_second_machine_and_five_do_not(ctx) {
        let tenant = tenant(&ctx).await;
        for number in 0..6 {
            submit(&ctx, tenant, run(&number.to_string())).await;
        }
        schedule(&ctx).await;
        assert_eq!(pool::machines::list(&ctx).await.expect("lists").len(), 2);
        schedule(&ctx).await;
        assert_eq!(pool::machines::list(&ctx).await.expect("lists").len(), 2);
    }

    async fn the_news_of_a_task_go_out_with_it(ctx) {
        let tenant = tenant(&ctx).await;
        let (task, worker, lease) = begun(&ctx, tenant).await;
        leases::complete(&ctx, &Settings::default(), worker, lease.execution_id, ended(&lease, Outcome::Succeeded)).await.expect("ends");
        let mut tx = ctx.read("test").await.expect("begins");
        let events = kernel::outbox::pending(&mut tx, 100).await.expect("reads");
        let kinds: Vec<_> = events.iter().filter(|event| event.task_id == Some(task)).map(|event| event.kind.as_str()).collect();
        assert_eq!(kinds, ["task.submitted", "task.assigned", "task.started", "task.completed"]);
        assert_eq!(events.iter().filter_map(|event| event.execution_id).collect::<Vec<ExecutionId>>(), [lease.execution_id; 3]);
    }

    async fn a_forged_fence_or_worker_is_refused(ctx) {
        let tenant = tenant(&ctx).await;
        let (_, worker, lease) = begun(&ctx, tenant).await;
        let forged = Lease { fence: lease.fence + 1, ..lease.clone() };
        assert_eq!(code(leases::complete(&ctx, &Settings::default(), worker, lease.execution_id, ended(&forged, Outcome::Succeeded)).await), "lease_lost");
        let stranger = ctx.id(WorkerId::mint);
        assert_eq!(code(leases::complete(&ctx, &Settings::default(), stranger, lease.execution_id, ended(&lease, Outcome::Succeeded)).await), "lease_lost");
        let unknown = Register { machine_id: ctx.id(MachineId::mint), boot: uuid::Uuid::nil(), protocol: PROTOCOL, version: "t".into(), capacity: 1, repositories: vec![] };
        assert_eq!(code(leases::register(&ctx, &Settings::default(), &unknown).await), "unauthenticated");
    }

    async fn every_step_has_a_way_back(ctx) {
        let tenant = tenant(&ctx).await;
        submit(&ctx, tenant, run("Ärger")).await;
        let first = crate::MIGRATIONS[0].name;
        let later = migrations().iter().filter(|migration| migration.name > first).count();
        assert_eq!(kernel::revert(&ctx, &migrations(), first).await.expect("reverts"), later);
        kernel::migrate(&ctx, &migrations()).await.expect("migrates again");
        assert_eq!(titles(&ctx, tenant, Filter::default()).await, ["Ärger"]);
        schedule(&ctx).await;
    }

    async fn the_tables_have_the_columns_and_the_indexes_that_the_rows_ask_for(ctx) {
        const COLUMNS: &str = "SELECT name FROM pragma_table_info($1)";
        const COLUMNS_POSTGRES: &str = "SELECT CAST(column_name AS TEXT) FROM information_schema.columns WHERE table_name = $1";
        const INDEXES: &str = "SELECT group_concat(c.name) FROM pragma_index_list($1) i, pragma_index_info(i.name) c GROUP BY i.name";
        const INDEXES_POSTGRES: &str = "SELECT replace(substring(indexdef FROM '[(](.*)[)]'), ' DESC', '') FROM pg_indexes WHERE tablename = $1";
        const KEYS: &str = "SELECT \"from\" || '>' || \"table\" FROM pragma_foreign_key_list($1)";
        const KEYS_POSTGRES: &str = "SELECT a.attname || '>' || CAST(c.confrelid AS REGCLASS) FROM pg_constraint c \
                                     JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1] \
                                     WHERE c.contype = 'f' AND c.conrelid = CAST($1 AS REGCLASS)";
        for (table, columns, indexes, keys) in [
            ("tasks", "id title description status priority effort_estimate created_at updated_at", &["status", "tenant_id,priority"][..], &[][..]),
            ("dependencies", "id task_id depends_on_task_id dependency_type created_at", &["task_id,depends_on_task_id"], &["task_id>tasks", "depends_on_task_id>tasks"]),
            ("executions", "id task_id agent_type worker_id started_at completed_at duration_seconds cost_micros success error_message parent_execution_id", &["task_id"], &["task_id>tasks"]),
            ("task_metadata", "id task_id metadata_key metadata_value created_at", &["task_id,metadata_key"], &["task_id>tasks"]),
        ] {
            let mut tx = ctx.read("test").await.expect("begins");
            let mut ask = async |sqlite, postgres| {
                let sql = kernel::Sql { sqlite, postgres };
                let rows = kernel::fetch_all!(tx, (Option<String>,), sql, table).expect("reads");
                rows.into_iter().filter_map(|(text,)| text).map(|text| text.replace(", ", ",")).collect::<Vec<_>>()
            };
            let has = ask(COLUMNS, COLUMNS_POSTGRES).await;
            assert!(columns.split(' ').all(|name| has.iter().any(|column| column == name)), "{table}: {has:?}");
            let has = ask(INDEXES, INDEXES_POSTGRES).await;
            assert!(indexes.iter().all(|index| has.iter().any(|text| text.starts_with(index))), "{table}: {has:?}");
            let has = ask(KEYS, KEYS_POSTGRES).await;
            assert!(keys.iter().all(|key| has.iter().any(|text| text == key)), "{table}: {has:?}");
        }
    }

    async fn the_database_itself_refuses_a_priority_out_of_range_and_takes_a_task_of_the_row(ctx) {
        let tenant = tenant(&ctx).await;
        const TEXT: &str = "INSERT INTO tasks (id, tenant_id, title, description, status, priority, attempts, losses, retry_count, \
                              created_at, updated_at) VALUES ($1, $2, 't', 'd', 'ready', $3, 0, 0, 0, $4, $4)";
        let sql = kernel::Sql { sqlite: TEXT, postgres: TEXT };
        for (priority, is_fine) in [(0_i16, false), (1, true), (5, true), (6, false)] {
            let mut tx = ctx.begin("test").await.expect("begins");
            let done = kernel::execute!(tx, sql, ctx.id(TaskId::mint).uuid(), tenant.uuid(), priority, ctx.now());
            assert_eq!(done.is_ok(), is_fine, "{priority}");
        }
    }

    async fn every_statement_is_understood(ctx) {
        kernel::testing::prepare_all(&ctx, &crate::statements()).await;
    }
}
