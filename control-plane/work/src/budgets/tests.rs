//! Budgets on both databases: set aside, spent, at an end, and never exceeded.

use std::time::Duration;

use pool::workers::Worker;
use wire::budget::{Period, TaskBudget};
use wire::execution::{ExecutionResult, Failure, NewExecution, Outcome};
use wire::id::{TaskId, WorkerId};
use wire::metadata::Assignment;
use wire::task::{NewTask, TaskChange, TaskSpec, TaskStatus};
use wire::why::ReasonCode;
use wire::worker::{Instruction, Lease, Poll};

use super::*;
use crate::tests::{begun, code, ended, first_reason, leased, migrations, note, run, schedule, status, submit, tenant};
use crate::{Settings, claims, executions, leases};

fn new(project: Option<&str>, dollars: &str, reservation: Option<&str>) -> NewBudget {
    NewBudget {
        project: project.map(str::to_owned),
        period: Period::Day,
        allocated_dollars: dollars.into(),
        alert_threshold: Some("0.5".into()),
        reservation_dollars: reservation.map(str::to_owned),
    }
}

fn of_project(title: &str, project: &str) -> NewTask {
    NewTask { project: Some(project.into()), ..note(title) }
}

async fn person(ctx: &Ctx) -> WorkerId {
    pool::workers::add(ctx, crate::admission::tests::person(), None).await.expect("added").id
}

async fn assign(ctx: &Ctx, tenant: TenantId, worker_id: WorkerId, task: TaskId) -> Result<TaskStatus> {
    Ok(tasks::assign(ctx, tenant, task, Assignment { worker_id }).await?.status)
}

async fn start(ctx: &Ctx, tenant: TenantId, worker_id: WorkerId, task: TaskId) -> ExecutionId {
    let new = NewExecution { agent_type: "agent".into(), worker_id, parent_execution_id: None };
    executions::start_by_hand(ctx, tenant, task, new, None).await.expect("starts").id
}

async fn end(ctx: &Ctx, tenant: TenantId, execution: ExecutionId, dollars: &str) {
    let result = ExecutionResult {
        success: true,
        fence: None,
        cost_dollars: Some(dollars.into()),
        tokens: Some(7),
        error_message: None,
    };
    claims::complete(ctx, &Settings::default(), tenant, execution, result).await.expect("ends");
}

async fn standing(ctx: &Ctx, tenant: TenantId, id: BudgetId) -> (String, String, bool) {
    let view = get(ctx, tenant, id).await.expect("is there");
    (view.spent_dollars, view.reserved_dollars, view.alerted)
}

/// A task in the hands of a worker whose machine has this price, in picodollars a second.
async fn leased_on(ctx: &Ctx, worker: WorkerId, task: TaskId, machine_rate: Option<i64>) -> Lease {
    let worker = Worker { machine_rate, ..pool::workers::get(ctx, worker).await.expect("found") };
    let mut tx = ctx.begin("test").await.expect("begins");
    let task = tasks::store::lock_any(&mut tx, task).await.expect("reads").expect("is there");
    executions::assign(ctx, &mut tx, &Settings::default(), &task, &worker).await.expect("assigns");
    tx.commit(()).await.expect("commits");
    leased(ctx, worker.id).await
}

async fn alerts(ctx: &Ctx) -> usize {
    let mut tx = ctx.read("test").await.expect("begins");
    let events = outbox::pending(&mut tx, 1_000).await.expect("reads");
    events.iter().filter(|event| event.kind == kind::BUDGET_ALERT).count()
}

/// What the last event of a failed task says.
async fn told_of_failure(ctx: &Ctx) -> serde_json::Value {
    let mut tx = ctx.read("test").await.expect("begins");
    let events = outbox::pending(&mut tx, 1_000).await.expect("reads");
    let failed = events.iter().rfind(|event| event.kind == kind::TASK_FAILED).expect("one has failed");
    serde_json::from_str(failed.payload.get()).expect("JSON")
}

kernel::on_both! { migrations();
    async fn money_is_set_aside_at_the_start_and_spent_at_the_end(ctx) {
        let tenant = tenant(&ctx).await;
        let worker = person(&ctx).await;
        let budget = create(&ctx, tenant, new(Some("web"), "10", Some("4")), None).await.expect("made").id;
        let task = submit(&ctx, tenant, of_project("t", "web")).await.id;
        assign(&ctx, tenant, worker, task).await.expect("assigned");
        assert_eq!(standing(&ctx, tenant, budget).await, ("0.000000".into(), "4.000000".into(), false));
        let execution = start(&ctx, tenant, worker, task).await;
        end(&ctx, tenant, execution, "1.25").await;
        assert_eq!(standing(&ctx, tenant, budget).await, ("1.250000".into(), "0.000000".into(), false));
        assert_eq!(tasks::get(&ctx, tenant, task).await.expect("found").execution.expect("one").tokens, 7);
    }

    async fn what_is_set_aside_is_free_again_however_the_task_leaves_its_hands(ctx) {
        let tenant = tenant(&ctx).await;
        let worker = person(&ctx).await;
        let budget = create(&ctx, tenant, new(None, "10", Some("10")), None).await.expect("made").id;
        let free = ("0.000000".to_owned(), "0.000000".to_owned(), false);
        let set = |status| TaskChange { status: Some(status), ..TaskChange::default() };
        let cancelled = submit(&ctx, tenant, note("cancelled")).await.id;
        assign(&ctx, tenant, worker, cancelled).await.expect("assigned");
        tasks::cancel(&ctx, &Settings::default(), tenant, cancelled).await.expect("cancels");
        assert_eq!(standing(&ctx, tenant, budget).await, free);
        let by_word = submit(&ctx, tenant, note("by word")).await.id;
        for status in [TaskStatus::Assigned, TaskStatus::InProgress, TaskStatus::Failed] {
            tasks::update(&ctx, &Settings::default(), tenant, by_word, set(status)).await.expect("is set");
        }
        assert_eq!(standing(&ctx, tenant, budget).await, free);
        let started = submit(&ctx, tenant, note("started")).await.id;
        assign(&ctx, tenant, worker, started).await.expect("assigned");
        start(&ctx, tenant, worker, started).await;
        tasks::cancel(&ctx, &Settings::default(), tenant, started).await.expect("cancels");
        assert_eq!(standing(&ctx, tenant, budget).await, free);
    }

    async fn at_zero_work_waits_until_the_period_ends(ctx) {
        let tenant = tenant(&ctx).await;
        let worker = person(&ctx).await;
        let budget = create(&ctx, tenant, new(Some("web"), "5", Some("5")), None).await.expect("made");
        let (one, two) = (submit(&ctx, tenant, of_project("1", "web")).await.id, submit(&ctx, tenant, of_project("2", "web")).await.id);
        assign(&ctx, tenant, worker, one).await.expect("assigned");
        assert_eq!(code(assign(&ctx, tenant, worker, two).await), "over_budget");
        let execution = start(&ctx, tenant, worker, one).await;
        end(&ctx, tenant, execution, "5").await;
        assert_eq!(code(assign(&ctx, tenant, worker, two).await), "over_budget");
        ctx.clock.advance((budget.period_end - ctx.now()).to_std().expect("is to come"));
        assert_eq!(standing(&ctx, tenant, budget.id).await, ("0.000000".into(), "0.000000".into(), false));
        assign(&ctx, tenant, worker, two).await.expect("a new day");
    }

    async fn the_scheduler_keeps_to_a_budget_and_says_so(ctx) {
        let tenant = tenant(&ctx).await;
        // The estimate of a task with the usual timeout is 7910 millionths: half an hour of a machine.
        let budget = create(&ctx, tenant, new(None, "0.007909", None), None).await.expect("made").id;
        let task = submit(&ctx, tenant, run("t")).await.id;
        schedule(&ctx).await;
        assert_eq!(first_reason(&ctx, tenant, task).await, ReasonCode::Budget);
        assert_eq!(pool::machines::list(&ctx).await.expect("lists"), [], "and makes no machine for it");
        let more = BudgetChange { allocated_dollars: Some("0.00791".into()), ..BudgetChange::default() };
        update(&ctx, tenant, budget, more).await.expect("changes");
        schedule(&ctx).await;
        crate::tests::worker(&ctx, 1).await;
        schedule(&ctx).await;
        assert_eq!(status(&ctx, tenant, task).await, TaskStatus::Assigned);
        assert_eq!(standing(&ctx, tenant, budget).await.1, "0.007910");
    }

    async fn time_on_a_machine_of_the_pool_costs_its_price(ctx) {
        let tenant = tenant(&ctx).await;
        let budget = create(&ctx, tenant, new(None, "10", None), None).await.expect("made").id;
        let (task, worker, lease) = begun(&ctx, tenant).await;
        ctx.clock.advance(Duration::from_secs(36));
        let settings = Settings { machine_micros_per_hour: 1_000_000, ..Settings::default() };
        let word = wire::worker::Completion { cost_dollars: Some("0.5".into()), tokens: Some(3), ..ended(&lease, Outcome::Succeeded) };
        leases::complete(&ctx, &settings, worker, lease.execution_id, word).await.expect("ends");
        let execution = tasks::get(&ctx, tenant, task).await.expect("found").execution.expect("one");
        assert_eq!((execution.cost_dollars.as_str(), execution.tokens), ("0.510000", 3));
        // Row RU-34: a project's tokens are those of all its tasks.
        let (_, worker, lease) = begun(&ctx, tenant).await;
        let word = wire::worker::Completion { tokens: Some(39), ..ended(&lease, Outcome::Failed) };
        leases::complete(&ctx, &settings, worker, lease.execution_id, word).await.expect("completes");
        let projects = crate::projects::list(&ctx, tenant).await.expect("lists");
        assert_eq!(projects.iter().map(|one| (one.tokens, one.cost_micros)).collect::<Vec<_>>(), [(42, 510_000)]);
        assert_eq!(standing(&ctx, tenant, budget).await, ("0.510000".into(), "0.000000".into(), false));
    }

    async fn where_machines_cost_nothing_only_what_is_reported_counts_and_nothing_is_set_aside_but_by_a_reservation(ctx) {
        let tenant = tenant(&ctx).await;
        let settings = Settings { machine_micros_per_hour: 0, is_machine_price_fixed: true, ..Settings::default() };
        let limits = TaskBudget { dollars: Some("0.01".into()), ..TaskBudget::default() };
        let task = submit(&ctx, tenant, NewTask { budget: Some(limits), ..run("t") }).await.id;
        schedule(&ctx).await;
        let worker = crate::tests::worker(&ctx, 1).await;
        let budget = create(&ctx, tenant, new(None, "10", None), None).await.expect("made").id;
        let mut tx = ctx.begin("test").await.expect("begins");
        let given = tasks::store::lock_any(&mut tx, task).await.expect("reads").expect("is there");
        let to = pool::workers::get(&ctx, worker).await.expect("found");
        executions::assign(&ctx, &mut tx, &settings, &given, &to).await.expect("assigns");
        tx.commit(()).await.expect("commits");
        assert_eq!(standing(&ctx, tenant, budget).await, ("0.000000".into(), "0.000000".into(), false));
        let asked = leases::next(&ctx, &settings, worker, &Poll::default()).await;
        let Instruction::Execute(lease) = asked.expect("asks") else {
            panic!("it has a task");
        };
        assert_eq!(lease.spec.timeout_seconds, None, "its dollars bound no time");
        leases::start(&ctx, worker, lease.execution_id, lease.fence).await.expect("starts");
        ctx.clock.advance(Duration::from_secs(3_600));
        let word = wire::worker::Completion { cost_dollars: Some("0.5".into()), ..ended(&lease, Outcome::Succeeded) };
        leases::complete(&ctx, &settings, worker, lease.execution_id, word).await.expect("ends");
        assert_eq!(standing(&ctx, tenant, budget).await, ("0.500000".into(), "0.000000".into(), false));
        let used = tasks::get(&ctx, tenant, task).await.expect("found").budget.expect("has one");
        assert_eq!((used.spent_dollars.as_str(), used.spent_machine_seconds), ("0.500000", 3_600));
    }

    async fn each_machine_costs_its_own_price_unless_the_operator_names_one_for_all(ctx) {
        let tenant = tenant(&ctx).await;
        let mut task = submit(&ctx, tenant, run("first")).await.id;
        schedule(&ctx).await;
        let worker = crate::tests::worker(&ctx, 1).await;
        let mut costs = Vec::new();
        for (rate, is_machine_price_fixed) in
            [(Some(10_000_000), false), (Some(20_000_000), false), (Some(20_000_000), true), (None, false)]
        {
            let lease = leased_on(&ctx, worker, task, rate).await;
            leases::start(&ctx, worker, lease.execution_id, lease.fence).await.expect("starts");
            ctx.clock.advance(Duration::from_secs(36));
            let settings = Settings { machine_micros_per_hour: 1_000_000, is_machine_price_fixed, ..Settings::default() };
            let word = ended(&lease, Outcome::Succeeded);
            leases::complete(&ctx, &settings, worker, lease.execution_id, word).await.expect("ends");
            costs.push(tasks::get(&ctx, tenant, task).await.expect("found").execution.expect("one").cost_dollars);
            task = submit(&ctx, tenant, run("next")).await.id;
        }
        assert_eq!(costs, ["0.000360", "0.000720", "0.010000", "0.010000"], "the last one's is not known");
    }

    async fn what_a_tasks_dollars_pay_for_goes_by_the_machine_that_it_is_on(ctx) {
        let tenant = tenant(&ctx).await;
        let limits = TaskBudget { dollars: Some("0.01".into()), ..TaskBudget::default() };
        let task = submit(&ctx, tenant, NewTask { budget: Some(limits), ..run("t") }).await.id;
        schedule(&ctx).await;
        let worker = crate::tests::worker(&ctx, 1).await;
        assert_eq!(leased_on(&ctx, worker, task, Some(10_000_000)).await.spec.timeout_seconds, Some(1_000));
    }

    async fn a_lost_worker_frees_what_was_set_aside_and_a_retry_sets_it_aside_again(ctx) {
        let tenant = tenant(&ctx).await;
        let budget = create(&ctx, tenant, new(None, "10", Some("10")), None).await.expect("made").id;
        begun(&ctx, tenant).await;
        assert_eq!(standing(&ctx, tenant, budget).await.1, "10.000000");
        crate::tests::worker(&ctx, 2).await;
        assert_eq!(standing(&ctx, tenant, budget).await.1, "0.000000");
        schedule(&ctx).await;
        assert_eq!(standing(&ctx, tenant, budget).await.1, "10.000000");
    }

    async fn an_alert_is_written_once_for_each_crossing(ctx) {
        let tenant = tenant(&ctx).await;
        let worker = person(&ctx).await;
        let budget = create(&ctx, tenant, new(Some("web"), "10", Some("1")), None).await.expect("made").id;
        for (dollars, expect) in [("4.999999", 0), ("0.000001", 1), ("1", 1)] {
            let task = submit(&ctx, tenant, of_project(dollars, "web")).await.id;
            assign(&ctx, tenant, worker, task).await.expect("assigned");
            let execution = start(&ctx, tenant, worker, task).await;
            end(&ctx, tenant, execution, dollars).await;
            assert_eq!(alerts(&ctx).await, expect, "{dollars}");
        }
        let more = BudgetChange { allocated_dollars: Some("100".into()), ..BudgetChange::default() };
        assert!(!update(&ctx, tenant, budget, more).await.expect("changes").alerted, "the next crossing is news");
    }

    async fn a_lifetime_budget_outlives_retries(ctx) {
        let tenant = tenant(&ctx).await;
        let worker = person(&ctx).await;
        let limits = TaskBudget { attempts: Some(1), ..TaskBudget::default() };
        let task = submit(&ctx, tenant, NewTask { budget: Some(limits), ..note("t") }).await.id;
        assign(&ctx, tenant, worker, task).await.expect("assigned");
        let execution = start(&ctx, tenant, worker, task).await;
        let failed = ExecutionResult { success: false, fence: None, cost_dollars: Some("2".into()), tokens: None, error_message: None };
        claims::complete(&ctx, &Settings::default(), tenant, execution, failed).await.expect("ends");
        let view = tasks::retry(&ctx, tenant, task, None).await.expect("is ready again");
        let used = view.budget.expect("has one");
        assert_eq!((used.spent_attempts, used.spent_dollars.as_str()), (1, "2.000000"));
        assert_eq!(code(assign(&ctx, tenant, worker, task).await), "over_budget");
        let larger = TaskBudget { attempts: Some(2), ..TaskBudget::default() };
        let change = TaskChange { budget: Some(Some(larger)), ..TaskChange::default() };
        tasks::update(&ctx, &Settings::default(), tenant, task, change).await.expect("changes");
        assign(&ctx, tenant, worker, task).await.expect("may try once more");
    }

    async fn a_command_may_run_no_longer_than_its_tasks_budget_lets_it(ctx) {
        let tenant = tenant(&ctx).await;
        let limits = TaskBudget { machine_seconds: Some(100), ..TaskBudget::default() };
        let task = submit(&ctx, tenant, NewTask { budget: Some(limits), ..run("t") }).await.id;
        schedule(&ctx).await;
        let worker = crate::tests::worker(&ctx, 1).await;
        schedule(&ctx).await;
        let lease = leased(&ctx, worker).await;
        assert_eq!(lease.spec.timeout_seconds, Some(100));
        leases::start(&ctx, worker, lease.execution_id, lease.fence).await.expect("starts");
        ctx.clock.advance(Duration::from_secs(40));
        leases::complete(&ctx, &Settings::default(), worker, lease.execution_id, ended(&lease, Outcome::Failed)).await.expect("ends");
        tasks::retry(&ctx, tenant, task, None).await.expect("retries");
        schedule(&ctx).await;
        let spec: TaskSpec = leased(&ctx, worker).await.spec;
        assert_eq!(spec.timeout_seconds, Some(60));
    }

    async fn a_command_that_its_tasks_budget_ended_is_told_from_one_that_outran_its_timeout(ctx) {
        let tenant = tenant(&ctx).await;
        submit(&ctx, tenant, run("for a machine")).await;
        schedule(&ctx).await;
        let worker = crate::tests::worker(&ctx, 1).await;
        let seconds = |most| TaskBudget { machine_seconds: Some(most), ..TaskBudget::default() };
        let dollars = |seconds| TaskBudget { dollars: Some("0.01".into()), ..seconds };
        let of_time = Some("the task's budget of machine time is spent, and its command was ended");
        let of_dollars = Some("the task's budget of dollars is spent, and its command was ended");
        for (limits, outcome, failure, message) in [
            (seconds(100), Outcome::TimedOut, Some(Failure::MachineTimeSpent), of_time),
            (dollars(seconds(1_001)), Outcome::TimedOut, Some(Failure::DollarsSpent), of_dollars),
            (dollars(seconds(1_000)), Outcome::TimedOut, Some(Failure::MachineTimeSpent), of_time),
            (seconds(9_999), Outcome::TimedOut, None, None),
            (seconds(100), Outcome::IdleTimedOut, None, None),
        ] {
            let task = submit(&ctx, tenant, NewTask { budget: Some(limits), ..run("t") }).await.id;
            let lease = leased_on(&ctx, worker, task, Some(10_000_000)).await;
            leases::start(&ctx, worker, lease.execution_id, lease.fence).await.expect("starts");
            // What it may use is its own; that more is given now changes nothing of what has bounded this one.
            let change = TaskChange { budget: Some(None), ..TaskChange::default() };
            tasks::update(&ctx, &Settings::default(), tenant, task, change).await.expect("changes");
            let word = ended(&lease, outcome);
            leases::complete(&ctx, &Settings::default(), worker, lease.execution_id, word).await.expect("ends");
            let execution = tasks::get(&ctx, tenant, task).await.expect("found").execution.expect("has one");
            assert_eq!((execution.failure, execution.error_message.as_deref()), (failure, message), "{outcome}");
            assert_eq!(told_of_failure(&ctx).await["message"].as_str(), message, "whoever follows hears it as well");
        }
    }

    async fn a_budget_is_one_for_each_project_and_period_and_another_tenants_does_not_exist(ctx) {
        let tenant = tenant(&ctx).await;
        let budget = create(&ctx, tenant, new(Some("web"), "1", None), None).await.expect("made");
        assert_eq!(code(create(&ctx, tenant, new(Some("web"), "2", None), None).await), "budget_exists");
        assert_eq!(list(&ctx, tenant).await.expect("lists"), std::slice::from_ref(&budget));
        let stranger = ctx.id(TenantId::mint);
        assert_eq!(code(get(&ctx, stranger, budget.id).await), "not_found");
        assert_eq!(code(update(&ctx, stranger, budget.id, BudgetChange::default()).await), "not_found");
        assert_eq!(code(delete(&ctx, stranger, budget.id).await), "not_found");
        delete(&ctx, tenant, budget.id).await.expect("deletes");
    }

    async fn many_at_once_never_exceed_a_budget_nor_a_limit(ctx) {
        let tenant = tenant(&ctx).await;
        let worker = person(&ctx).await;
        let budget = create(&ctx, tenant, new(None, "7", Some("1")), None).await.expect("made").id;
        let limit = wire::admission::NewLimit { max_running: Some(5), rate: None };
        crate::limits::set(&ctx, tenant, "k", limit).await.expect("sets");
        let mut tasks = Vec::new();
        for number in 0..24 {
            let keys = if number % 2 == 0 { vec!["k".to_owned()] } else { vec![] };
            tasks.push(submit(&ctx, tenant, NewTask { keys, ..note(&number.to_string()) }).await.id);
        }
        let given = kit::Tasks::new();
        let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        for task in tasks {
            let (ctx, count) = (ctx.clone(), count.clone());
            given.spawn("assign", async move {
                if assign(&ctx, tenant, worker, task).await.is_ok() {
                    count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                }
            });
        }
        given.stop_within(Duration::from_secs(60)).await.expect("all end");
        let count = count.load(std::sync::atomic::Ordering::SeqCst);
        assert_eq!(count, 7);
        assert_eq!(standing(&ctx, tenant, budget).await.1, "7.000000");
        assert!(crate::limits::get(&ctx, tenant, "k").await.expect("is there").running <= 5);
    }
}
