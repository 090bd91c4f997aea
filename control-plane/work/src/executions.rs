//! Executions: one attempt at a task on one worker, from the promise to the end.

pub(crate) mod store;

use chrono::{DateTime, Utc};
use kernel::outbox::About;
use kernel::{Ctx, Error, Result, Tx};
use serde_json::json;
use wire::event::{AssignedPayload, kind};
use wire::execution::{
    ExecutionHistory, ExecutionResult, ExecutionSummary, ExecutionView, Exit, Failure, NewExecution, Outcome,
    PhaseTiming, StaleExecution, SubtaskProgress,
};
use wire::id::{ExecutionId, TaskId, TenantId, WorkerId};
use wire::limit::{BUDGET_MICROS_MAX, BUDGET_UNITS_MAX};
use wire::metadata::{AGENT_TYPE_KEY, ASSIGNED_WORKER_KEY};
use wire::money::{dollars, micros};
use wire::strategy::FailureClass;
use wire::task::TaskStatus;
use wire::worker::WorkerStatus;

use crate::admission::{self, policy};
use crate::tasks::{self, Event, Spent, Task, Turn};
use crate::{Settings, budgets, metadata, strategies};

/// What plain commands are carried out by.
pub(crate) const COMMAND_AGENT: &str = "command";
/// What is kept of a message about what went wrong.
pub(crate) const MESSAGE_CHARS: usize = 4_096;

/// An execution.
#[derive(Debug, Clone, PartialEq)]
pub struct Execution {
    /// Its id.
    pub id: ExecutionId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The task it is an attempt at.
    pub task: TaskId,
    /// 1 for the first try, counting lost ones; also the fence of its lease.
    pub number: i32,
    /// Who carries it out.
    pub agent_type: String,
    /// The worker it was given to.
    pub worker: WorkerId,
    /// When it was given.
    pub assigned_at: DateTime<Utc>,
    /// When the worker began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub completed_at: Option<DateTime<Utc>>,
    /// Until when the worker owns it without another heartbeat; nothing for work done by hand.
    pub lease_until: Option<DateTime<Utc>>,
    /// From start to end, in whole seconds.
    pub duration_seconds: Option<i64>,
    /// What it cost, in millionths of a dollar.
    pub cost_micros: i64,
    /// Tokens of models that it used.
    pub tokens: i64,
    /// How it ended.
    pub ending: Option<Ending>,
    /// The execution whose work this is a part of.
    pub parent: Option<ExecutionId>,
}

/// How an execution ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// How.
    pub outcome: Outcome,
    /// How the command's process ended.
    pub exit: Option<Exit>,
    /// Why the workspace could not be made ready.
    pub failure: Option<Failure>,
    /// What went wrong, for a person.
    pub message: Option<String>,
    /// The commit that was checked out.
    pub commit: Option<String>,
    /// How long each phase took.
    pub phases: Vec<PhaseTiming>,
}

impl Ending {
    /// Nothing known but how.
    pub(crate) fn bare(outcome: Outcome) -> Self {
        Self { outcome, exit: None, failure: None, message: None, commit: None, phases: Vec::new() }
    }
}

impl From<Execution> for ExecutionView {
    fn from(execution: Execution) -> Self {
        let ending = execution.ending;
        Self {
            id: execution.id,
            task_id: execution.task,
            number: execution.number,
            agent_type: execution.agent_type,
            worker_id: Some(execution.worker),
            assigned_at: execution.assigned_at,
            started_at: execution.started_at,
            completed_at: execution.completed_at,
            duration_seconds: execution.duration_seconds,
            cost_dollars: dollars(execution.cost_micros),
            tokens: execution.tokens,
            success: ending.as_ref().map(|ending| ending.outcome == Outcome::Succeeded),
            outcome: ending.as_ref().map(|ending| ending.outcome),
            exit: ending.as_ref().and_then(|ending| ending.exit),
            failure: ending.as_ref().and_then(|ending| ending.failure),
            error_message: ending.as_ref().and_then(|ending| ending.message.clone()),
            commit: ending.as_ref().and_then(|ending| ending.commit.clone()),
            phases: ending.map(|ending| ending.phases).unwrap_or_default(),
            parent_execution_id: execution.parent,
        }
    }
}

/// All attempts at a task, the one that began last first, and what they come to (row CAIRN-27).
pub async fn history(ctx: &Ctx, tenant: TenantId, task: TaskId) -> Result<ExecutionHistory> {
    let mut tx = ctx.read("executions.history").await?;
    tasks::load(&mut tx, tenant, task).await?;
    let executions = store::of_task(&mut tx, tenant, task).await?;
    let summary = summary(&executions);
    Ok(ExecutionHistory { executions: executions.into_iter().map(Into::into).collect(), summary })
}

/// What attempts come to. One that was lost, preempted or called off is neither a success nor a failure.
fn summary(executions: &[Execution]) -> ExecutionSummary {
    let outcomes = || executions.iter().filter_map(|one| one.ending.as_ref()).map(|ending| ending.outcome);
    let durations: Vec<i64> = executions.iter().filter_map(|one| one.duration_seconds).collect();
    let ended = i64::try_from(durations.len()).unwrap_or(i64::MAX);
    ExecutionSummary {
        total_attempts: executions.len(),
        success_count: outcomes().filter(|outcome| *outcome == Outcome::Succeeded).count(),
        failure_count: outcomes().filter(|one| *one != Outcome::Succeeded && one.spends_attempt()).count(),
        total_cost_dollars: dollars(executions.iter().map(|one| one.cost_micros).sum()),
        average_duration_seconds: (ended > 0).then(|| durations.iter().sum::<i64>() / ended.max(1)),
    }
}

/// How far the parts of an execution's work are: the tasks that somebody works on in its name, and those into
/// which its task was split (row CAIRN-56).
pub async fn subtasks(ctx: &Ctx, tenant: TenantId, id: ExecutionId) -> Result<SubtaskProgress> {
    let mut tx = ctx.read("executions.subtasks").await?;
    let execution = store::get(&mut tx, tenant, id).await?.ok_or(Error::NotFound { what: "execution" })?;
    let parts = tasks::store::parts_of(&mut tx, tenant, id, execution.task).await?;
    let (total, completed) = (parts.len(), parts.iter().filter(|task| task.status == TaskStatus::Completed).count());
    let percentage = u8::try_from((100 * completed).checked_div(total).unwrap_or(0)).unwrap_or(100);
    let subtasks = tasks::views(&mut tx, tenant, parts).await?;
    Ok(SubtaskProgress { execution_id: id, total, completed, percentage, subtasks })
}

/// The task's execution that has not ended.
pub(crate) async fn open_of(tx: &mut Tx, task: &Task) -> Result<Option<Execution>> {
    let Some(id) = task.execution_id else { return Ok(None) };
    Ok(store::get(tx, task.tenant, id).await?.filter(|execution| execution.completed_at.is_none()))
}

/// Promises a waiting task to a worker, under a lease.
pub(crate) async fn assign(
    ctx: &Ctx,
    tx: &mut Tx,
    settings: &Settings,
    task: &Task,
    worker: &pool::workers::Worker,
) -> Result<ExecutionId> {
    let now = ctx.now();
    let lease_until = now + chrono::TimeDelta::from_std(settings.lease).unwrap_or(chrono::TimeDelta::minutes(1));
    let begun = Begun { lease_until: Some(lease_until), ..Begun::default() };
    let id = insert(ctx, tx, task, COMMAND_AGENT, worker, begun).await?;
    let after = Task { execution_id: Some(id), ..tasks::apply(ctx, tx, task, Event::Assign).await? };
    let payload = AssignedPayload { machine_micros: machine_micros(task, worker) };
    let about = About::execution(task.tenant, task.id, id);
    tasks::tell(ctx, tx, kind::TASK_ASSIGNED, about, Turn::Changed(task, &after), &payload).await?;
    metrics::histogram!("task_queue_seconds").record((now - task.created_at).as_seconds_f64());
    tx.nudge(pool::WORKERS_NUDGE);
    Ok(id)
}

/// How much of a task's wait went into making or waking the machine: until it was ready, if that was
/// after the task had come.
fn machine_micros(task: &Task, worker: &pool::workers::Worker) -> Option<u64> {
    let waited = (worker.machine_since? - task.created_at).num_microseconds()?;
    u64::try_from(waited).ok().filter(|micros| *micros > 0)
}

/// Promises a ready task to a worker that no machine of the pool carries. The execution begins when somebody says
/// so, and takes the worker's room from now on (decision C-36).
pub(crate) async fn reserve(
    ctx: &Ctx,
    tx: &mut Tx,
    task: &Task,
    worker: &pool::workers::Worker,
) -> Result<ExecutionId> {
    let wanted = metadata::store::get(tx, task.tenant, task.id, AGENT_TYPE_KEY).await?;
    let agent_type = wanted.filter(|wanted| worker.agent_types.contains(wanted));
    let agent_type = agent_type.as_ref().or(worker.agent_types.first()).unwrap_or(&worker.worker_type);
    let id = insert(ctx, tx, task, agent_type, worker, Begun::default()).await?;
    let after = Task { execution_id: Some(id), ..tasks::apply(ctx, tx, task, Event::Assign).await? };
    metadata::write(ctx, tx, task.tenant, task.id, ASSIGNED_WORKER_KEY, &worker.id.to_string()).await?;
    let (about, payload) = (About::execution(task.tenant, task.id, id), AssignedPayload::default());
    tasks::tell(ctx, tx, kind::TASK_ASSIGNED, about, Turn::Changed(task, &after), &payload).await?;
    Ok(id)
}

/// How far an execution is when its row is written.
#[derive(Default)]
struct Begun {
    started_at: Option<DateTime<Utc>>,
    lease_until: Option<DateTime<Utc>>,
    parent: Option<ExecutionId>,
}

async fn insert(
    ctx: &Ctx,
    tx: &mut Tx,
    task: &Task,
    agent_type: &str,
    worker: &pool::workers::Worker,
    begun: Begun,
) -> Result<ExecutionId> {
    let id = ctx.id(ExecutionId::mint);
    let execution = Execution {
        id,
        tenant: task.tenant,
        task: task.id,
        number: store::count_of_task(tx, task.id).await? + 1,
        agent_type: agent_type.to_owned(),
        worker: worker.id,
        assigned_at: ctx.now(),
        started_at: begun.started_at,
        completed_at: None,
        lease_until: begun.lease_until,
        duration_seconds: None,
        cost_micros: 0,
        tokens: 0,
        ending: None,
        parent: begun.parent,
    };
    store::insert(tx, &execution).await?;
    tasks::store::set_execution(tx, task.id, id).await?;
    recount(ctx, tx, worker).await?;
    Ok(id)
}

/// The worker was lost: its task is ready again, unless somebody has called it off or that has
/// happened too often.
pub(crate) async fn lose(ctx: &Ctx, tx: &mut Tx, settings: &Settings, execution: &Execution) -> Result<()> {
    let Some(task) = tasks::store::lock_any(tx, execution.task).await? else { return Ok(()) };
    let mut ending = Ending::bare(Outcome::WorkerLost);
    ending.message = Some("the worker was lost".into());
    finish(ctx, tx, settings, &task, execution, ending).await?;
    Ok(())
}

/// The one place where an execution ends, and its task moves on as that says.
pub(crate) async fn finish(
    ctx: &Ctx,
    tx: &mut Tx,
    settings: &Settings,
    task: &Task,
    execution: &Execution,
    ending: Ending,
) -> Result<TaskStatus> {
    let now = ctx.now();
    let seconds = execution.started_at.map(|started| (now - started).num_seconds().max(0));
    let used = used(settings, execution, now);
    if !store::complete(tx, execution.id, &ending, seconds, used, now).await? {
        return Err(Error::conflict("execution_finished", "the execution has ended already"));
    }
    metrics::counter!("executions_finished_total", "outcome" => ending.outcome.as_str()).increment(1);
    // Where that is another, the task has gone on without this attempt.
    let is_newest = task.execution_id == Some(execution.id);
    let status = if is_newest { move_on(ctx, tx, settings, task, execution, &ending).await? } else { task.status };
    // Behind the tasks that need this one, and before the worker: the order in which locks are taken.
    budgets::settle(ctx, tx, task, execution.id, used).await?;
    if status == TaskStatus::Ready {
        admission::park(tx, task.tenant, task.id, now).await?;
    }
    // Last, since the tasks that need this one are locked before any worker.
    if let Some(worker) = pool::workers::find(tx, execution.worker).await? {
        recount(ctx, tx, &worker).await?;
    }
    Ok(status)
}

/// What an execution that ends now has used: what it was told to have cost, and its time on a machine of the
/// pool at the price of one.
fn used(settings: &Settings, execution: &Execution, now: DateTime<Utc>) -> Spent {
    let micros = execution.started_at.and_then(|started| (now - started).num_microseconds()).unwrap_or(0).max(0);
    // Work by hand has no lease and is on nobody's machine that we pay for.
    let machine_seconds = if execution.lease_until.is_some() { (micros + 999_999) / 1_000_000 } else { 0 };
    let machine = policy::machine_micros(machine_seconds, settings.machine_micros_per_hour);
    Spent { micros: execution.cost_micros.saturating_add(machine), machine_seconds, tokens: execution.tokens }
}

/// Moves the task on as the end of its newest execution says.
async fn move_on(
    ctx: &Ctx,
    tx: &mut Tx,
    settings: &Settings,
    task: &Task,
    execution: &Execution,
    ending: &Ending,
) -> Result<TaskStatus> {
    let outcome = ending.outcome;
    // A machine at fault is as good as a lost one: the task itself was not tried.
    let judged = if ending.failure == Some(Failure::MachineFault) { Outcome::WorkerLost } else { outcome };
    if judged == Outcome::WorkerLost {
        tasks::store::count_loss(tx, task.id).await?;
    }
    if judged.spends_attempt() {
        tasks::store::count_attempt(tx, task.id).await?;
    }
    let losses = task.losses + i32::from(judged == Outcome::WorkerLost);
    let event = tasks::end_of(judged, task.cancel_requested_at.is_some(), losses, settings.losses_max);
    let applied = tasks::apply(ctx, tx, task, event).await?;
    let after = if judged.spends_attempt() {
        Task { attempts: applied.attempts + 1, losses: 0, ..applied }
    } else {
        Task { losses, ..applied }
    };
    let kind = match after.status {
        TaskStatus::Completed => kind::TASK_COMPLETED,
        TaskStatus::Cancelled => kind::TASK_CANCELLED,
        TaskStatus::Ready => kind::TASK_REQUEUED,
        TaskStatus::Failed | TaskStatus::Assigned | TaskStatus::InProgress | TaskStatus::Split => kind::TASK_FAILED,
    };
    if after.status == TaskStatus::Ready {
        metadata::clear(ctx, tx, task.tenant, task.id, ASSIGNED_WORKER_KEY).await?;
    }
    let payload =
        json!({ "reason": outcome, "exit": ending.exit, "failure": ending.failure, "message": ending.message });
    let about = About::execution(task.tenant, task.id, execution.id);
    tasks::tell(ctx, tx, kind, about, Turn::Changed(task, &after), &payload).await?;
    match after.status {
        TaskStatus::Failed => strategies::after_failure(ctx, tx, &after, class_of(judged)).await,
        status => Ok(status),
    }
}

/// How a task failed whose newest execution ended so.
fn class_of(outcome: Outcome) -> FailureClass {
    match outcome {
        Outcome::SetupFailed => FailureClass::SetupFailed,
        Outcome::TimedOut => FailureClass::TimedOut,
        Outcome::IdleTimedOut => FailureClass::IdleTimedOut,
        Outcome::WorkerLost => FailureClass::WorkerLost,
        Outcome::Failed | Outcome::Succeeded | Outcome::Cancelled | Outcome::Preempted => FailureClass::Failed,
    }
}

/// Executions that have run for long (row CAIRN-30), the longest first; each says whether it has run for
/// more than twice its task's estimate.
pub async fn stale(ctx: &Ctx, settings: &Settings, tenant: TenantId) -> Result<Vec<StaleExecution>> {
    let now = ctx.now();
    let before = now - chrono::TimeDelta::from_std(settings.stale_after).unwrap_or(chrono::TimeDelta::hours(2));
    let mut tx = ctx.read("executions.stale").await?;
    let stale = store::stale(&mut tx, tenant, before).await?;
    let view = |(execution, effort_estimate): (Execution, Option<i32>)| {
        let running_seconds = execution.started_at.map_or(0, |started| (now - started).num_seconds());
        let exceeds_estimate = effort_estimate.is_some_and(|minutes| running_seconds > 2 * 60 * i64::from(minutes));
        StaleExecution { execution: execution.into(), running_seconds, effort_estimate, exceeds_estimate }
    };
    Ok(stale.into_iter().map(view).collect())
}

async fn recount(ctx: &Ctx, tx: &mut Tx, worker: &pool::workers::Worker) -> Result<()> {
    let open = store::count_open_of_worker(tx, worker.id).await?;
    pool::workers::set_load(tx, worker, open, ctx.now()).await
}

/// Begins an execution that no runner of the pool carries out (row CAIRN-25).
#[tracing::instrument(skip_all, fields(task.id = %task))]
pub async fn start_by_hand(ctx: &Ctx, tenant: TenantId, task: TaskId, new: NewExecution) -> Result<ExecutionView> {
    if new.agent_type.trim().is_empty() || new.agent_type.len() > 100 || new.agent_type.contains('\0') {
        return Err(Error::invalid("agent_type", "must have 1 to 100 characters"));
    }
    let mut tx = ctx.begin("executions.start_by_hand").await?;
    let task = tasks::load_locked(&mut tx, tenant, task).await?;
    let promised = open_of(&mut tx, &task).await?;
    let has_begun = promised.as_ref().is_some_and(|open| open.lease_until.is_some() || open.started_at.is_some());
    if task.status != TaskStatus::Assigned || has_begun {
        let message = format!("the task is {}; only one that is assigned by hand can be started so", task.status);
        return Err(Error::conflict("task_not_assigned", message));
    }
    if let Some(parent) = new.parent_execution_id {
        let found = store::get(&mut tx, tenant, parent).await?;
        found.ok_or_else(|| Error::invalid("parent_execution_id", "names no execution"))?;
    }
    let id = match promised {
        Some(promised) => begin_promised(ctx, &mut tx, &promised, &new).await?,
        None => {
            let worker = load_worker_by_hand(&mut tx, new.worker_id).await?;
            let begun = Begun { started_at: Some(ctx.now()), lease_until: None, parent: new.parent_execution_id };
            insert(ctx, &mut tx, &task, &new.agent_type, &worker, begun).await?
        }
    };
    let after = Task { execution_id: Some(id), ..tasks::apply(ctx, &mut tx, &task, Event::Start).await? };
    let (about, payload) = (About::execution(tenant, task.id, id), json!({ "worker_id": new.worker_id }));
    tasks::tell(ctx, &mut tx, kind::TASK_STARTED, about, Turn::Changed(&task, &after), &payload).await?;
    let execution = store::get(&mut tx, tenant, id).await?.ok_or(Error::NotFound { what: "execution" })?;
    tx.commit(execution.into()).await
}

/// Begins what was promised to the worker with the task (decision C-36).
async fn begin_promised(ctx: &Ctx, tx: &mut Tx, promised: &Execution, new: &NewExecution) -> Result<ExecutionId> {
    if promised.worker != new.worker_id {
        let message = format!("the task was given to worker {}; only that one can start it", promised.worker);
        return Err(Error::conflict("task_assigned_elsewhere", message));
    }
    store::begin(tx, promised.id, &new.agent_type, new.parent_execution_id, ctx.now()).await?;
    Ok(promised.id)
}

/// A worker that takes work by hand and has room, which nobody else fills until the transaction ends: one of the
/// pool is given work by the scheduler alone, and nobody more than it takes (row CAIRN-50).
pub(crate) async fn load_worker_by_hand(tx: &mut Tx, id: WorkerId) -> Result<pool::workers::Worker> {
    let worker = pool::workers::lock(tx, id).await?;
    let worker = worker.ok_or_else(|| Error::invalid("worker_id", "names no registered worker"))?;
    if worker.machine_id.is_some() {
        return Err(Error::invalid("worker_id", "is a worker of the pool; the scheduler gives it work"));
    }
    if worker.status == WorkerStatus::Disabled {
        return Err(Error::conflict(
            "worker_disabled",
            "the worker has not been heard for five minutes; heartbeat first",
        ));
    }
    // A worker may tell of more than we gave it, and of less.
    let open = store::count_open_of_worker(tx, id).await?;
    if open.max(worker.current_load.into()) >= worker.capacity.into() {
        let message = format!("the worker has as much as it takes: {} at once", worker.capacity);
        return Err(Error::conflict("worker_full", message));
    }
    Ok(worker)
}

/// Ends such an execution (row CAIRN-26).
#[tracing::instrument(skip_all, fields(execution.id = %id))]
pub async fn complete_by_hand(
    ctx: &Ctx,
    settings: &Settings,
    tenant: TenantId,
    id: ExecutionId,
    result: ExecutionResult,
) -> Result<ExecutionView> {
    let cost = cost_micros(result.cost_dollars.as_deref())?;
    let tokens = tokens(result.tokens)?;
    let message = result.error_message.as_deref();
    if message.is_some_and(|text| text.chars().count() > MESSAGE_CHARS || text.contains('\0')) {
        return Err(Error::invalid(
            "error_message",
            format!("must have at most {MESSAGE_CHARS} characters and no NUL"),
        ));
    }
    let mut tx = ctx.begin("executions.complete_by_hand").await?;
    let found = store::get(&mut tx, tenant, id).await?.ok_or(Error::NotFound { what: "execution" })?;
    if found.lease_until.is_some() {
        return Err(Error::conflict(
            "execution_leased",
            "a worker of the pool has this execution; it reports its end itself",
        ));
    }
    let task = tasks::store::lock_any(&mut tx, found.task).await?.ok_or(Error::NotFound { what: "task" })?;
    let execution = Execution { cost_micros: cost, tokens, ..found };
    let mut ending = Ending::bare(if result.success { Outcome::Succeeded } else { Outcome::Failed });
    ending.message = result.error_message;
    finish(ctx, &mut tx, settings, &task, &execution, ending).await?;
    let execution = store::get(&mut tx, tenant, id).await?.ok_or(Error::NotFound { what: "execution" })?;
    tx.commit(execution.into()).await
}

/// What somebody says that an execution cost.
pub(crate) fn cost_micros(dollars: Option<&str>) -> Result<i64> {
    let cost = dollars.map_or(Some(0), micros).filter(|cost| *cost <= BUDGET_MICROS_MAX);
    cost.ok_or_else(|| Error::invalid("cost_dollars", "must be a decimal string of dollars such as \"0.125\""))
}

/// How many tokens somebody says that an execution used.
pub(crate) fn tokens(tokens: Option<i64>) -> Result<i64> {
    let tokens = Some(tokens.unwrap_or(0)).filter(|tokens| (0..=BUDGET_UNITS_MAX).contains(tokens));
    tokens.ok_or_else(|| Error::invalid("tokens", format!("must be from 0 to {BUDGET_UNITS_MAX}")))
}
