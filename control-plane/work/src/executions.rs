//! Executions: one attempt at a task on one worker, from the promise to the end.

pub(crate) mod lessons;
pub(crate) mod pull_requests;
pub(crate) mod store;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use chrono::{DateTime, Utc};
use kernel::idempotency::{self, Attempt};
use kernel::outbox::About;
use kernel::{Ctx, Error, Result, Tx};
use kit::backoff::Backoff;
use serde_json::json;
use wire::event::{AssignedPayload, kind};
use wire::execution::{
    Cache, ExecutionHistory, ExecutionSummary, ExecutionView, Exit, Failure, NewExecution, Outcome, PhaseTiming,
    StaleExecution, SubtaskProgress,
};
use wire::id::{ExecutionId, TaskId, TenantId, WorkerId};
use wire::limit::{BUDGET_MICROS_MAX, BUDGET_UNITS_MAX};
use wire::metadata::{AGENT_TYPE_KEY, ASSIGNED_WORKER_KEY};
use wire::money::{dollars, micros};
use wire::pull_request::PullRequest;
use wire::strategy::FailureClass;
use wire::task::TaskStatus;
use wire::test_report::TestReport;
use wire::worker::WorkerStatus;

use crate::admission::{self, policy};
use crate::tasks::{self, Event, Spent, Task, Turn};
use crate::{Settings, budgets, holds, kept, metadata, strategies};

/// What plain commands are carried out by.
pub(crate) const COMMAND_AGENT: &str = "command";

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
    /// What a second on its machine costs, in picodollars, where that was known when it was given.
    pub machine_rate: Option<i64>,
    /// Which budget of its task ends its command, where that leaves it less time than its timeout.
    pub bounded_by: Option<Failure>,
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
    /// Why the workspace could not be made ready, or what ended the command beside its own limits.
    pub failure: Option<Failure>,
    /// What went wrong, for a person.
    pub message: Option<String>,
    /// The commit that was checked out.
    pub commit: Option<String>,
    /// How long each phase took.
    pub phases: Vec<PhaseTiming>,
    /// What came of its tests.
    pub tests: Option<Box<TestReport>>,
    /// The pull request that its work is in.
    pub pull_request: Option<Box<PullRequest>>,
}

impl Ending {
    /// Nothing known but how.
    pub(crate) fn bare(outcome: Outcome) -> Self {
        Self {
            outcome,
            exit: None,
            failure: None,
            message: None,
            commit: None,
            phases: Vec::new(),
            tests: None,
            pull_request: None,
        }
    }

    /// A worker that was given less time than the task's timeout knows nothing of the budget that had no more.
    pub(crate) fn bounded(self, by: Option<Failure>) -> Self {
        let message = match by.filter(|_| self.outcome == Outcome::TimedOut) {
            Some(Failure::MachineTimeSpent) => "the task's budget of machine time is spent, and its command was ended",
            Some(Failure::DollarsSpent) => "the task's budget of dollars is spent, and its command was ended",
            _ => return self,
        };
        Self { failure: by, message: Some(message.into()), ..self }
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
            tests: ending.as_ref().and_then(|ending| ending.tests.as_deref().cloned()),
            pull_request: ending.as_ref().and_then(|ending| ending.pull_request.as_deref().cloned()),
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

/// What caches came to, so that somebody sees them get colder (row TEST-BIF-139).
fn count_caches(ending: &Ending) {
    for PhaseTiming { phase, cache, .. } in &ending.phases {
        if let Some(result @ (Cache::Hit | Cache::Miss)) = cache {
            let (phase, result) = (phase.as_str(), result.as_str());
            metrics::counter!("execution_caches_total", "phase" => phase, "result" => result).increment(1);
        }
    }
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
    let lease_until = Some(lease_until);
    let handing = Handing { lease_until, ..Handing::promise(ctx, task, worker, COMMAND_AGENT) };
    let execution = hand(ctx, tx, handing).await?;
    tx.nudge(pool::WORKERS_NUDGE);
    Ok(execution.id)
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
    let handing = Handing::promise(ctx, task, worker, agent_type);
    let execution = hand(ctx, tx, handing).await?;
    metadata::write(ctx, tx, task.tenant, task.id, ASSIGNED_WORKER_KEY, &worker.id.to_string()).await?;
    Ok(execution.id)
}

/// A task that goes to a worker, on whose behalf, and how far the execution is when its row is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Handing<'a> {
    pub(crate) by: &'a Ctx,
    pub(crate) task: &'a Task,
    pub(crate) worker: &'a pool::workers::Worker,
    pub(crate) agent_type: &'a str,
    pub(crate) started_at: Option<DateTime<Utc>>,
    pub(crate) lease_until: Option<DateTime<Utc>>,
    pub(crate) parent: Option<ExecutionId>,
}

impl<'a> Handing<'a> {
    /// A promise without a lease, to be begun when somebody says so.
    fn promise(by: &'a Ctx, task: &'a Task, worker: &'a pool::workers::Worker, agent_type: &'a str) -> Self {
        Self { by, task, worker, agent_type, started_at: None, lease_until: None, parent: None }
    }
}

/// A task in a worker's hands, and the execution of it.
#[derive(Debug)]
pub(crate) struct Handed {
    pub(crate) task: Task,
    pub(crate) execution: Execution,
}

/// The one place where executions come into being, and their tasks move on with them: a task that is ready is
/// assigned, and one whose execution begins at once is started. The tasks are locked, each is there once.
pub(crate) async fn hand_all(ctx: &Ctx, tx: &mut Tx, handings: &[Handing<'_>]) -> Result<Vec<Handed>> {
    let numbers = numbers(tx, handings).await?;
    let now = ctx.now();
    let execution = |handing: &Handing<'_>| Execution {
        id: ctx.id(ExecutionId::mint),
        tenant: handing.task.tenant,
        task: handing.task.id,
        number: numbers.get(&handing.task.id).copied().unwrap_or(0) + 1,
        agent_type: handing.agent_type.to_owned(),
        worker: handing.worker.id,
        assigned_at: now,
        started_at: handing.started_at,
        completed_at: None,
        machine_rate: handing.worker.machine_rate,
        bounded_by: None,
        lease_until: handing.lease_until,
        duration_seconds: None,
        cost_micros: 0,
        tokens: 0,
        ending: None,
        parent: handing.parent,
    };
    let executions: Vec<Execution> = handings.iter().map(execution).collect();
    if executions.is_empty() {
        return Ok(Vec::new());
    }
    store::insert_all(tx, &executions).await?;
    let mut moves = Vec::with_capacity(handings.len());
    for (handing, execution) in handings.iter().zip(&executions) {
        let after = handed(handing, execution)?.pop().unwrap_or_else(|| handing.task.clone());
        moves.push(tasks::Move { task: handing.task, after });
    }
    tasks::move_all(ctx, tx, &moves).await?;
    for (handing, execution) in handings.iter().zip(&executions) {
        tell_handed(tx, handing, execution).await?;
    }
    recount(ctx, tx, executions.iter().map(|execution| execution.worker)).await?;
    let handed = |(one, execution): (tasks::Move<'_>, Execution)| Handed { task: one.after, execution };
    Ok(moves.into_iter().zip(executions).map(handed).collect())
}

/// As [`hand_all`], of one.
async fn hand(ctx: &Ctx, tx: &mut Tx, handing: Handing<'_>) -> Result<Execution> {
    let handed = hand_all(ctx, tx, &[handing]).await?.pop();
    Ok(handed.ok_or(Error::NotFound { what: "task" })?.execution)
}

/// The numbers that the tasks' earlier executions came to.
async fn numbers(tx: &mut Tx, handings: &[Handing<'_>]) -> Result<HashMap<TaskId, i32>> {
    let tried = handings.iter().filter(|handing| handing.task.execution_id.is_some());
    let tried: Vec<TaskId> = tried.map(|handing| handing.task.id).collect();
    if tried.is_empty() { Ok(HashMap::new()) } else { store::numbers(tx, &tried).await }
}

/// The states that a task goes through which goes to a worker; one that was assigned by hand already only begins.
fn handed(handing: &Handing<'_>, execution: &Execution) -> Result<Vec<Task>> {
    let mut states: Vec<Task> = Vec::new();
    let mut task = Task { execution_id: Some(execution.id), ..handing.task.clone() };
    if handing.started_at.is_none() || task.status == TaskStatus::Ready {
        task = tasks::next(handing.by, &task, Event::Assign)?;
        states.push(task.clone());
    }
    if handing.started_at.is_some() {
        states.push(tasks::next(handing.by, &task, Event::Start)?);
    }
    Ok(states)
}

async fn tell_handed(tx: &mut Tx, handing: &Handing<'_>, execution: &Execution) -> Result<()> {
    let Handing { by, task, worker, .. } = *handing;
    let states = handed(handing, execution)?;
    let mut before = task;
    for after in &states {
        let about = About::execution(task.tenant, task.id, execution.id);
        let turn = Turn::Changed(before, after);
        if after.status == TaskStatus::Assigned {
            let payload = AssignedPayload { machine_micros: machine_micros(task, worker) };
            let newest = Execution { started_at: None, ..execution.clone() };
            tasks::tell_with(by, tx, kind::TASK_ASSIGNED, about, turn, Some(newest), &payload).await?;
            let waited = (execution.assigned_at - task.created_at).as_seconds_f64();
            metrics::histogram!("task_queue_seconds").record(waited);
        } else {
            tell_started(by, tx, about, turn, execution.clone()).await?;
        }
        before = after;
    }
    Ok(())
}

async fn tell_started(by: &Ctx, tx: &mut Tx, about: About, turn: Turn<'_>, execution: Execution) -> Result<()> {
    let payload = json!({ "worker_id": execution.worker });
    tasks::tell_with(by, tx, kind::TASK_STARTED, about, turn, Some(execution), &payload).await
}

/// An execution that begins, with its task, and on whose behalf.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Begin<'a> {
    pub(crate) by: &'a Ctx,
    pub(crate) task: &'a Task,
    pub(crate) execution: &'a Execution,
}

/// Notes that executions have begun, of which each had not, and starts their tasks; all of them are locked.
pub(crate) async fn start_all(ctx: &Ctx, tx: &mut Tx, begun: &[Begin<'_>]) -> Result<()> {
    if begun.is_empty() {
        return Ok(());
    }
    let now = ctx.now();
    let times: Vec<(ExecutionId, DateTime<Utc>)> = begun.iter().map(|one| (one.execution.id, now)).collect();
    if store::start_all(tx, &times).await? < begun.len() as u64 {
        return Err(Error::conflict("execution_started", "the execution has begun already"));
    }
    let moves = begun.iter().map(|one| tasks::Move::new(ctx, one.task, Event::Start));
    let moves: Vec<tasks::Move<'_>> = moves.collect::<Result<_>>()?;
    tasks::move_all(ctx, tx, &moves).await?;
    for (Begin { by, task, execution }, one) in begun.iter().zip(&moves) {
        let about = About::execution(task.tenant, task.id, execution.id);
        let started = Execution { started_at: Some(now), ..(*execution).clone() };
        tell_started(by, tx, about, Turn::Changed(task, &one.after), started).await?;
    }
    Ok(())
}

/// The word that these began was lost on the way, or never sent: as far as we know they did when they were given.
pub(crate) async fn began_unheard(tx: &mut Tx, executions: &mut [&mut Execution]) -> Result<()> {
    if executions.is_empty() {
        return Ok(());
    }
    for execution in executions.iter_mut() {
        execution.started_at = Some(execution.assigned_at);
    }
    let times: Vec<_> = executions.iter().map(|execution| (execution.id, execution.assigned_at)).collect();
    store::start_all(tx, &times).await?;
    Ok(())
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

/// How long a task waits after a fault of its machine, which may be put right meanwhile: the next attempt may be on it too.
const FAULT: Backoff = Backoff { first: Duration::from_secs(10), most: Duration::from_secs(600) };

/// An execution that ends, with its task, and on whose behalf.
#[derive(Debug)]
pub(crate) struct End<'a> {
    pub(crate) by: &'a Ctx,
    pub(crate) task: &'a Task,
    pub(crate) execution: Execution,
    pub(crate) ending: Ending,
    /// Whether a machine of the pool carried it, whose time has a price.
    pub(crate) is_on_machine: bool,
}

impl End<'_> {
    /// Whether the task has no later attempt.
    fn is_newest(&self) -> bool {
        self.task.execution_id == Some(self.execution.id)
    }

    fn blames_machine(&self) -> bool {
        self.ending.failure == Some(Failure::MachineFault)
    }

    /// A machine at fault is as good as a lost one: the task itself was not tried.
    fn judged(&self) -> Outcome {
        if self.blames_machine() { Outcome::WorkerLost } else { self.ending.outcome }
    }
}

/// What an end came to.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) task_status: TaskStatus,
    pub(crate) execution: Execution,
}

/// As [`finish_all`], of one.
pub(crate) async fn finish(
    ctx: &Ctx,
    tx: &mut Tx,
    settings: &Settings,
    task: &Task,
    execution: &Execution,
    ending: Ending,
) -> Result<TaskStatus> {
    let worker = pool::workers::find(tx, execution.worker).await?;
    let machine = worker.and_then(|worker| worker.machine_id);
    let is_lost = ending.outcome == Outcome::WorkerLost;
    let end = End { by: ctx, task, execution: execution.clone(), ending, is_on_machine: machine.is_some() };
    let ended = finish_all(ctx, tx, settings, vec![end]).await?;
    if let Some(machine) = machine.filter(|_| is_lost) {
        kept::lost(tx, machine, task, execution).await?;
    }
    Ok(ended.first().map_or(task.status, |ended| ended.task_status))
}

/// The one place where executions end, and their tasks move on as that says. The tasks and the executions are
/// locked, and each is there once.
pub(crate) async fn finish_all(
    ctx: &Ctx,
    tx: &mut Tx,
    settings: &Settings,
    mut ends: Vec<End<'_>>,
) -> Result<Vec<Ended>> {
    if ends.is_empty() {
        return Ok(Vec::new());
    }
    let now = ctx.now();
    let mut used = Vec::with_capacity(ends.len());
    for End { execution, is_on_machine, .. } in &mut ends {
        let spent = spent(settings, execution, *is_on_machine, now);
        execution.completed_at = Some(now);
        execution.duration_seconds = execution.started_at.map(|started| (now - started).num_seconds().max(0));
        execution.cost_micros = spent.micros;
        used.push(spent);
    }
    let rows: Vec<(&Execution, &Ending)> = ends.iter().map(|end| (&end.execution, &end.ending)).collect();
    if store::complete_all(tx, &rows, now).await? < ends.len() as u64 {
        return Err(Error::conflict("execution_finished", "the execution has ended already"));
    }
    let mut moves = Vec::with_capacity(ends.len());
    for end in ends.iter().filter(|end| end.is_newest()) {
        moves.push(moved(settings, end)?);
    }
    tasks::move_all(ctx, tx, &moves).await?;
    let mut moves = moves.iter();
    let mut statuses = Vec::with_capacity(ends.len());
    for (end, used) in ends.iter().zip(used) {
        metrics::counter!("executions_finished_total", "outcome" => end.ending.outcome.as_str()).increment(1);
        count_caches(&end.ending);
        // Where its task has another by now, it has gone on without this attempt.
        let one = if end.is_newest() { moves.next() } else { None };
        let status = match one {
            Some(one) => tell_ended(tx, end, &one.after).await?,
            None => end.task.status,
        };
        // Behind the tasks that need this one, and before the worker: the order in which locks are taken.
        budgets::settle(end.by, tx, end.task, end.execution.id, used).await?;
        // What a failure strategy makes of it begins at once.
        if let Some(tasks::Move { after, .. }) = one.filter(|one| one.after.status == TaskStatus::Ready)
            && end.blames_machine()
        {
            let reason = "its machine was at fault; it is tried again then, and longer after each such fault";
            let wait = FAULT.wait(u32::try_from(after.losses).unwrap_or(1), &ctx.chance);
            holds::wait(end.by, tx, end.task, reason, now + wait).await?;
        }
        if status == TaskStatus::Ready {
            admission::park(tx, end.task.tenant, end.task.id, now).await?;
        }
        statuses.push(status);
    }
    // Last, since the tasks that need these are locked before any worker.
    recount(ctx, tx, ends.iter().map(|end| end.execution.worker)).await?;
    let ended = |(End { execution, ending, .. }, task_status)| Ended {
        task_status,
        execution: Execution { ending: Some(ending), ..execution },
    };
    Ok(ends.into_iter().zip(statuses).map(ended).collect())
}

/// What an execution that ends now has used: what it was told to have cost, and its time on a machine of the
/// pool at the price of that one. What nobody's machine of ours carries, a claim or work by hand, has no such price.
fn spent(settings: &Settings, execution: &Execution, has_machine: bool, now: DateTime<Utc>) -> Spent {
    let micros = execution.started_at.and_then(|started| (now - started).num_microseconds()).unwrap_or(0).max(0);
    let machine_seconds = if has_machine { (micros + 999_999) / 1_000_000 } else { 0 };
    let machine = policy::machine_micros(machine_seconds, settings.micros_per_hour_of(execution.machine_rate));
    Spent { micros: execution.cost_micros.saturating_add(machine), machine_seconds, tokens: execution.tokens }
}

/// How a task moves on when its newest execution ends so.
fn moved<'a>(settings: &Settings, end: &End<'a>) -> Result<tasks::Move<'a>> {
    let (task, judged) = (end.task, end.judged());
    let losses = task.losses + i32::from(judged == Outcome::WorkerLost);
    let event = tasks::end_of(judged, task.cancel_requested_at.is_some(), losses, settings.losses_max);
    let applied = tasks::next(end.by, task, event)?;
    let after = if judged.spends_attempt() {
        Task { attempts: applied.attempts + 1, losses: 0, ..applied }
    } else {
        Task { losses, ..applied }
    };
    Ok(tasks::Move { task, after })
}

async fn tell_ended(tx: &mut Tx, end: &End<'_>, after: &Task) -> Result<TaskStatus> {
    let kind = match after.status {
        TaskStatus::Completed => kind::TASK_COMPLETED,
        TaskStatus::Cancelled => kind::TASK_CANCELLED,
        TaskStatus::Ready => kind::TASK_REQUEUED,
        TaskStatus::Failed | TaskStatus::Assigned | TaskStatus::InProgress | TaskStatus::Split => kind::TASK_FAILED,
    };
    if after.status == TaskStatus::Ready {
        metadata::clear(end.by, tx, end.task.tenant, end.task.id, ASSIGNED_WORKER_KEY).await?;
    }
    let Ending { outcome, exit, failure, message, .. } = &end.ending;
    let payload = json!({ "reason": outcome, "exit": exit, "failure": failure, "message": message });
    let about = About::execution(end.task.tenant, end.task.id, end.execution.id);
    let newest = Execution { ending: Some(end.ending.clone()), ..end.execution.clone() };
    tasks::tell_with(end.by, tx, kind, about, Turn::Changed(end.task, after), Some(newest), &payload).await?;
    match after.status {
        TaskStatus::Failed => strategies::after_failure(end.by, tx, after, class_of(end.judged())).await,
        status => Ok(status),
    }
}

/// How a task failed whose newest execution ended so.
fn class_of(outcome: Outcome) -> FailureClass {
    match outcome {
        Outcome::SetupFailed => FailureClass::SetupFailed,
        Outcome::TimedOut => FailureClass::TimedOut,
        Outcome::IdleTimedOut => FailureClass::IdleTimedOut,
        Outcome::Stalled => FailureClass::Stalled,
        Outcome::WorkerLost => FailureClass::WorkerLost,
        Outcome::Failed | Outcome::Succeeded | Outcome::Cancelled | Outcome::Preempted | Outcome::Released => {
            FailureClass::Failed
        }
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

/// Counts anew what each worker has, which is locked for that: two that count at once would both miss the other's.
async fn recount(ctx: &Ctx, tx: &mut Tx, workers: impl Iterator<Item = WorkerId>) -> Result<()> {
    let ids: Vec<WorkerId> = workers.collect::<BTreeSet<_>>().into_iter().collect();
    let workers = pool::workers::lock_all(tx, &ids).await?;
    let open = store::count_open(tx, &ids).await?;
    let load = |worker: &pool::workers::Worker| open.get(&worker.id).copied().unwrap_or(0);
    let loads: Vec<_> = workers.iter().map(|worker| (worker, load(worker))).collect();
    pool::workers::set_loads(tx, &loads, ctx.now()).await
}

/// Begins an execution that no runner of the pool carries out (row CAIRN-25).
#[tracing::instrument(skip_all, fields(task.id = %task))]
pub async fn start_by_hand(
    ctx: &Ctx,
    tenant: TenantId,
    task: TaskId,
    new: NewExecution,
    attempt: Option<&Attempt>,
) -> Result<ExecutionView> {
    if new.agent_type.trim().is_empty() || new.agent_type.len() > 100 || new.agent_type.contains('\0') {
        return Err(Error::invalid("agent_type", "must have 1 to 100 characters"));
    }
    let mut tx = ctx.begin("executions.start_by_hand").await?;
    if let Some(first) = idempotency::replay_if(&mut tx, tenant, attempt).await? {
        return Ok(first);
    }
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
    let (agent_type, now) = (new.agent_type.as_str(), ctx.now());
    let execution = match promised {
        Some(promised) => begin_promised(ctx, &mut tx, &task, promised, &new).await?,
        None => {
            let worker = load_worker_by_hand(&mut tx, new.worker_id).await?;
            let (started_at, parent) = (Some(now), new.parent_execution_id);
            let handing = Handing { started_at, parent, ..Handing::promise(ctx, &task, &worker, agent_type) };
            hand(ctx, &mut tx, handing).await?
        }
    };
    let view = ExecutionView::from(execution);
    idempotency::remember_if(&mut tx, tenant, attempt, &view, now).await?;
    tx.commit(view).await
}

/// Begins what was promised to the worker with the task (decision C-36).
async fn begin_promised(
    ctx: &Ctx,
    tx: &mut Tx,
    task: &Task,
    promised: Execution,
    new: &NewExecution,
) -> Result<Execution> {
    if promised.worker != new.worker_id {
        let message = format!("the task was given to worker {}; only that one can start it", promised.worker);
        return Err(Error::conflict("task_assigned_elsewhere", message));
    }
    let (agent_type, parent) = (new.agent_type.clone(), new.parent_execution_id);
    let begins = Execution { agent_type, parent, ..promised };
    store::describe(tx, begins.id, &begins.agent_type, begins.parent).await?;
    start_all(ctx, tx, &[Begin { by: ctx, task, execution: &begins }]).await?;
    Ok(Execution { started_at: Some(ctx.now()), ..begins })
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
    let open = store::count_open(tx, &[id]).await?.get(&id).copied().unwrap_or(0);
    if open.max(worker.current_load.into()) >= worker.capacity.into() {
        let message = format!("the worker has as much as it takes: {} at once", worker.capacity);
        return Err(Error::conflict("worker_full", message));
    }
    Ok(worker)
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
