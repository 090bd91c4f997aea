//! Tasks: submitting, looking, changing, calling off, trying again, deleting.

pub mod batch;
pub mod bulk;
pub mod import;
pub(crate) mod search;
mod state;
pub(crate) mod store;
mod target;
mod tell;

use std::collections::HashMap;

use chrono::{DateTime, SubsecRound as _, Utc};
use kernel::idempotency::{self, Attempt};
use kernel::outbox::About;
use kernel::{Ctx, Error, Result, Tx};
use serde_json::json;
use wire::admission::{check_name, is_own_key, session_key};
use wire::budget::{TaskBudget, TaskBudgetView};
use wire::event::kind;
use wire::execution::Outcome;
use wire::id::{ExecutionId, MachineId, ScheduleId, TaskId, TenantId};
use wire::limit::SEARCH_CHARS;
use wire::metadata::{ASSIGNED_WORKER_KEY, Assignment, Estimate, RETRY_COUNT_KEY, SCORE_KEY, SCORED_AT_KEY};
use wire::money::dollars;
use wire::strategy::FailureClass;
use wire::task::{NewTask, Priority, TaskChange, TaskSpec, TaskStatus, TaskView};

use crate::executions::{self, Ending, Execution};
use crate::{Scheduler, Settings, admission, budgets, checkpoints, dependencies, metadata, outcomes, strategies};
use state::step;
pub(crate) use state::{Event, end_of};
pub use target::{Named, Target};
pub(crate) use tell::{Turn, tell, tell_with, without_values};

/// The most tasks that one list gives.
const LIST_MAX: i64 = 1_000;
/// What a list gives where nothing else is asked (row CAIRN-11).
const LIST_DEFAULT: i64 = 100;
/// The most tasks that a search gives (row CAIRN-16).
const SEARCH_MAX: usize = 50;
/// How far tasks are counted: over a million of them a count would take longer than the answer.
pub(crate) const COUNTED_MOST: i64 = 10_000;

/// A task.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// Whose it is.
    pub tenant: TenantId,
    /// One line.
    pub title: String,
    /// The rest of the story.
    pub description: String,
    /// Where it stands.
    pub status: TaskStatus,
    /// How urgent.
    pub priority: Priority,
    /// Estimated minutes of work.
    pub effort_estimate: Option<i32>,
    /// What a runner does for it.
    pub spec: Option<TaskSpec>,
    /// Attempts that count.
    pub attempts: i32,
    /// Attempts that were lost with their worker, since the last one that counted.
    pub losses: i32,
    /// How many things that it needs (hard) are not true.
    pub waits_for: i32,
    /// When somebody called it off while a worker was on it.
    pub cancel_requested_at: Option<DateTime<Utc>>,
    /// Its newest execution.
    pub execution_id: Option<ExecutionId>,
    /// The project that it belongs to.
    pub project: Option<String>,
    /// What it uses and others use too, in order.
    pub keys: Vec<String>,
    /// It does not start before.
    pub not_before: Option<DateTime<Utc>>,
    /// By when it should have been started.
    pub deadline: Option<DateTime<Utc>>,
    /// When it was noted that its deadline has passed.
    pub overdue_at: Option<DateTime<Utc>>,
    /// Until when it cannot start for a reason of its own.
    pub parked_until: Option<DateTime<Utc>>,
    /// What it may use in its whole life.
    pub budget: Lifetime,
    /// What it has used.
    pub spent: Spent,
    /// Whether money is set aside for it in a budget.
    pub has_reservation: bool,
    /// The schedule that made it.
    pub schedule_id: Option<ScheduleId>,
    /// The only machine that can take it: it has the checkpoint that the task begins from.
    pub machine: Option<MachineId>,
    /// Moves with every change that a person could overwrite unseen.
    pub version: i64,
    /// When it was submitted.
    pub created_at: DateTime<Utc>,
    /// When anything of it last changed.
    pub updated_at: DateTime<Utc>,
}

/// What a task may use in its whole life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lifetime {
    /// Millionths of a dollar.
    pub micros: Option<i64>,
    /// Seconds on machines.
    pub machine_seconds: Option<i64>,
    /// Tokens of models.
    pub tokens: Option<i64>,
    /// Attempts that count.
    pub attempts: Option<i32>,
}

impl Lifetime {
    fn is_bounded(&self) -> bool {
        *self != Self::default()
    }
}

impl From<&TaskBudget> for Lifetime {
    fn from(budget: &TaskBudget) -> Self {
        let TaskBudget { machine_seconds, tokens, attempts, .. } = *budget;
        Self { micros: budget.micros(), machine_seconds, tokens, attempts }
    }
}

/// What attempts have used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// Millionths of a dollar.
    pub micros: i64,
    /// Seconds on machines.
    pub machine_seconds: i64,
    /// Tokens of models.
    pub tokens: i64,
}

/// On which terms a task is admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Terms {
    project: Option<String>,
    keys: Vec<String>,
    not_before: Option<DateTime<Utc>>,
    deadline: Option<DateTime<Utc>>,
    budget: Lifetime,
}

impl Terms {
    fn in_order(mut self) -> Self {
        self.keys.sort_unstable();
        // As precise as Postgres keeps it.
        self.not_before = self.not_before.map(|time| time.trunc_subsecs(6));
        self.deadline = self.deadline.map(|time| time.trunc_subsecs(6));
        self
    }

    /// What a task's terms are after a change.
    fn after(task: &Task, change: &TaskChange) -> Self {
        let terms = Self {
            project: change.project.clone().unwrap_or_else(|| task.project.clone()),
            keys: change.keys.as_ref().map_or_else(|| task.keys.clone(), |keys| with_own(keys, task)),
            not_before: change.not_before.unwrap_or(task.not_before),
            deadline: change.deadline.unwrap_or(task.deadline),
            budget: change
                .budget
                .as_ref()
                .map_or(task.budget, |budget| budget.as_ref().map(Lifetime::from).unwrap_or_default()),
        };
        terms.in_order()
    }
}

/// Other keys, and those of Bifrost's own that a task has whatever people give it.
fn with_own(keys: &[String], task: &Task) -> Vec<String> {
    let own = task.keys.iter().filter(|key| is_own_key(key));
    keys.iter().chain(own).cloned().collect()
}

/// Of the tasks that go on with one session of an agent, one is in hand at a time.
fn session_key_of(new: &NewTask) -> Option<String> {
    session_key(new.spec.as_ref()?.agent.as_ref()?)
}

impl From<&NewTask> for Terms {
    fn from(new: &NewTask) -> Self {
        let terms = Self {
            project: new.project.clone(),
            keys: new.keys.iter().cloned().chain(session_key_of(new)).collect(),
            not_before: new.not_before,
            deadline: new.deadline,
            budget: new.budget.as_ref().map(Lifetime::from).unwrap_or_default(),
        };
        terms.in_order()
    }
}

impl Task {
    /// What it may use, as it was said.
    fn budget_limits(&self) -> Option<TaskBudget> {
        let Lifetime { micros, machine_seconds, tokens, attempts } = self.budget;
        let limits = TaskBudget { dollars: micros.map(dollars), machine_seconds, tokens, attempts };
        self.budget.is_bounded().then_some(limits)
    }

    fn budget_view(&self) -> Option<TaskBudgetView> {
        self.budget_limits().map(|limits| TaskBudgetView {
            limits,
            spent_dollars: dollars(self.spent.micros),
            spent_machine_seconds: self.spent.machine_seconds,
            spent_tokens: self.spent.tokens,
            spent_attempts: self.attempts,
        })
    }

    /// As answers show it.
    pub fn into_view(self, execution: Option<Execution>) -> TaskView {
        TaskView {
            budget: self.budget_view(),
            id: self.id,
            title: self.title,
            description: self.description,
            status: self.status,
            priority: self.priority,
            effort_estimate: self.effort_estimate,
            spec: self.spec,
            attempts: self.attempts,
            waits_for: self.waits_for,
            execution: execution.map(Into::into),
            project: self.project,
            keys: self.keys.into_iter().filter(|key| !is_own_key(key)).collect(),
            not_before: self.not_before,
            deadline: self.deadline,
            overdue: self.overdue_at.is_some(),
            schedule_id: self.schedule_id,
            waiting: None,
            version: self.version,
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }
}

/// Which tasks to list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only these.
    pub project: Option<String>,
    /// Only these.
    pub status: Option<TaskStatus>,
    /// Only these.
    pub priority: Option<Priority>,
    /// Only those that wait for another task, or only those that do not.
    pub blocked: Option<bool>,
    /// At most this many; 100 when absent, 1,000 at most.
    pub limit: Option<i64>,
    /// After so many.
    pub offset: Option<i64>,
}

/// A page of a list.
#[derive(Debug, Clone)]
pub struct Page {
    /// The tasks, most urgent and then oldest first.
    pub tasks: Vec<TaskView>,
    /// How many there are on all pages; of more than ten thousand, ten thousand.
    pub total: i64,
    /// Whether there are more than that.
    pub is_cut: bool,
}

/// Submits a task. The same attempt again gives the first answer.
#[tracing::instrument(skip_all)]
pub async fn submit(
    ctx: &Ctx,
    settings: &Settings,
    tenant: TenantId,
    new: NewTask,
    attempt: Option<&Attempt>,
) -> Result<TaskView> {
    new.validate()?;
    refuse_local(settings, new.spec.as_ref())?;
    let mut tx = ctx.begin("tasks.submit").await?;
    if let Some(attempt) = attempt
        && let Some(first) = idempotency::replay(&mut tx, tenant, attempt).await?
    {
        return Ok(first);
    }
    let (id, now) = (ctx.id(TaskId::mint), ctx.now());
    refuse_past("deadline", new.deadline, now)?;
    let task = store::insert(&mut tx, tenant, id, &new, now).await?;
    let task = checkpoints::bind_new(&mut tx, task).await?;
    let payload = json!({ "title": task.title });
    tell(ctx, &mut tx, kind::TASK_SUBMITTED, About::task(tenant, id), Turn::Created(&task), &payload).await?;
    let task_has_spec = task.spec.is_some();
    let view = task.into_view(None);
    if let Some(attempt) = attempt {
        idempotency::remember(&mut tx, tenant, attempt, &view, now).await?;
    }
    tx.nudge(if task_has_spec { Scheduler::NUDGE } else { READY_NUDGE });
    metrics::counter!("tasks_submitted_total").increment(1);
    tx.commit(view).await
}

/// A task that is late before it is there is a mistake.
fn refuse_past(field: &str, deadline: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Result<()> {
    if deadline.is_some_and(|deadline| deadline <= now) {
        return Err(Error::invalid(field, "has passed already"));
    }
    Ok(())
}

pub(crate) fn refuse_local(settings: &Settings, spec: Option<&TaskSpec>) -> Result<()> {
    let is_local = spec.is_some_and(|spec| spec.repository.starts_with("file://"));
    if is_local && !settings.allow_local_repositories {
        let message = "is a path on a computer that the machines do not share; push the repository and give its URL";
        return Err(Error::invalid("spec.repository", message));
    }
    Ok(())
}

/// One task with its newest execution.
pub async fn get(ctx: &Ctx, tenant: TenantId, id: TaskId) -> Result<TaskView> {
    let mut tx = ctx.read("tasks.get").await?;
    let task = load(&mut tx, tenant, id).await?;
    view(&mut tx, task).await
}

/// Tasks, most urgent and then oldest first (row CAIRN-11).
pub async fn list(ctx: &Ctx, tenant: TenantId, filter: Filter) -> Result<Page> {
    let limit = filter.limit.unwrap_or(LIST_DEFAULT);
    if !(1..=LIST_MAX).contains(&limit) {
        return Err(Error::invalid("limit", format!("must be from 1 to {LIST_MAX}")));
    }
    filter.project.as_deref().map_or(Ok(()), |name| check_name("project", name))?;
    let offset = filter.offset.unwrap_or(0);
    if offset < 0 {
        return Err(Error::invalid("offset", "must be zero or more"));
    }
    let mut tx = ctx.read("tasks.list").await?;
    let tasks = store::list(&mut tx, tenant, &filter, limit, offset).await?;
    let total = store::count(&mut tx, tenant, &filter, COUNTED_MOST + 1).await?;
    let is_cut = total > COUNTED_MOST;
    Ok(Page { tasks: views(&mut tx, tenant, tasks).await?, total: total.min(COUNTED_MOST), is_cut })
}

/// Tasks that have the text in their title or description, in either case of letters: first those that
/// are nothing but the text, then those with it in the title (row CAIRN-16).
pub async fn search(ctx: &Ctx, tenant: TenantId, text: &str) -> Result<Vec<TaskView>> {
    if text.is_empty() || text.chars().count() > SEARCH_CHARS || text.contains('\0') {
        return Err(Error::invalid("q", format!("must have 1 to {SEARCH_CHARS} characters")));
    }
    let mut tx = ctx.read("tasks.search").await?;
    let found = search::search(&mut tx, tenant, &store::fold(text), SEARCH_MAX).await?;
    views(&mut tx, tenant, found).await
}

/// Changes some fields of a task (row CAIRN-12).
#[tracing::instrument(skip_all, fields(task.id = %id))]
pub async fn update(
    ctx: &Ctx,
    settings: &Settings,
    tenant: TenantId,
    id: impl Named,
    change: TaskChange,
) -> Result<TaskView> {
    change.validate()?;
    let mut tx = ctx.begin("tasks.update").await?;
    let task = load_locked(&mut tx, tenant, id).await?;
    let change = what_differs(&task, change);
    if change == TaskChange::default() {
        return view(&mut tx, task).await;
    }
    let by_hand = match change.status {
        Some(to) => check_set_by_hand(&mut tx, &task, to, ctx.now()).await?,
        None => None,
    };
    let outcome = change.status.and_then(outcome_of);
    let rest = match (&by_hand, outcome) {
        // The attempt ends with its task.
        (Some(execution), Some(outcome)) => {
            executions::finish(ctx, &mut tx, settings, &task, execution, Ending::bare(outcome)).await?;
            TaskChange { status: None, ..change.clone() }
        }
        _ => change.clone(),
    };
    let task = if rest == change {
        change_fields(ctx, &mut tx, &task, &rest).await?
    } else {
        let ended = load(&mut tx, tenant, task.id).await?;
        // Where the attempt's end was all there was to it, that was told.
        if rest == TaskChange::default() { ended } else { change_fields(ctx, &mut tx, &ended, &rest).await? }
    };
    if let (Some(TaskStatus::InProgress), Some(promised)) = (rest.status, &by_hand) {
        executions::store::start_all(&mut tx, &[(promised.id, ctx.now())]).await?;
    }
    tx.nudge(Scheduler::NUDGE);
    let view = view(&mut tx, task).await?;
    tx.commit(view).await
}

/// The part of a change that makes a difference. A status is left in: whether it may be set is to be judged.
fn what_differs(task: &Task, change: TaskChange) -> TaskChange {
    let has_new_terms = Terms::after(task, &change) != Terms::after(task, &TaskChange::default());
    let terms = if has_new_terms { change.clone() } else { TaskChange::default() };
    TaskChange {
        title: change.title.filter(|title| *title != task.title),
        description: change.description.filter(|description| *description != task.description),
        priority: change.priority.filter(|priority| *priority != task.priority),
        effort_estimate: change.effort_estimate.filter(|estimate| *estimate != task.effort_estimate),
        status: change.status,
        ..terms
    }
}

/// Gives a task that is locked the terms of the change.
async fn set_terms(tx: &mut Tx, task: &Task, change: &TaskChange, now: DateTime<Utc>) -> Result<()> {
    let terms = Terms::after(task, change);
    if change.deadline.is_some() {
        refuse_past("deadline", terms.deadline, now)?;
    }
    if terms.not_before.zip(terms.deadline).is_some_and(|(not_before, deadline)| deadline <= not_before) {
        return Err(Error::invalid("deadline", "must be later than `not_before`"));
    }
    let is_new = terms.deadline != task.deadline;
    store::set_terms(tx, task, &terms, task.overdue_at.filter(|_| !is_new)).await
}

/// Changes what the change names, of a task that is locked, and tells of it.
async fn change_fields(ctx: &Ctx, tx: &mut Tx, task: &Task, change: &TaskChange) -> Result<Task> {
    let now = ctx.now();
    store::update(tx, task.id, change, now).await?;
    if change.concerns_admission() {
        set_terms(tx, task, change, now).await?;
    }
    if change.concerns_admission() || change.status == Some(TaskStatus::Ready) {
        admission::park(tx, task.tenant, task.id, now).await?;
    }
    if change.status == Some(TaskStatus::Completed) {
        dependencies::satisfied(ctx, tx, &[task]).await?;
    }
    if change.priority.is_some() || change.effort_estimate.is_some() {
        // It was made of what has just changed.
        metadata::clear(ctx, tx, task.tenant, task.id, SCORE_KEY).await?;
        metadata::clear(ctx, tx, task.tenant, task.id, SCORED_AT_KEY).await?;
    }
    if change.status.is_some_and(TaskStatus::is_final) {
        budgets::release(tx, task).await?;
    }
    let kind = match change.status {
        Some(TaskStatus::Completed) => kind::TASK_COMPLETED,
        Some(TaskStatus::Failed) => kind::TASK_FAILED,
        _ => kind::TASK_UPDATED,
    };
    let after = load(tx, task.tenant, task.id).await?;
    tell(ctx, tx, kind, About::task(task.tenant, task.id), Turn::Changed(task, &after), change).await?;
    tx.nudge(CHANGED_NUDGE);
    match (task.status, after.status) {
        (TaskStatus::Failed, TaskStatus::Ready) => strategies::recovered(ctx, tx, task).await?,
        (TaskStatus::InProgress, TaskStatus::Failed) => {
            strategies::after_failure(ctx, tx, &after, FailureClass::Failed).await?;
            return load(tx, task.tenant, task.id).await;
        }
        _ => (),
    }
    Ok(after)
}

/// How an attempt ended whose task was set so.
fn outcome_of(status: TaskStatus) -> Option<Outcome> {
    match status {
        TaskStatus::Completed => Some(Outcome::Succeeded),
        TaskStatus::Failed => Some(Outcome::Failed),
        TaskStatus::Ready
        | TaskStatus::Assigned
        | TaskStatus::InProgress
        | TaskStatus::Split
        | TaskStatus::Cancelled => None,
    }
}

/// Refuses what may not be set by hand; gives the attempt that somebody makes by hand, if there is one.
async fn check_set_by_hand(tx: &mut Tx, task: &Task, to: TaskStatus, now: DateTime<Utc>) -> Result<Option<Execution>> {
    state::check_set(task.status, to).map_err(|message| Error::invalid("status", message))?;
    if to == TaskStatus::Assigned {
        refuse_blocked(task)?;
        admission::check(tx, task, now).await?;
    }
    if to == TaskStatus::Ready {
        refuse_late(task, now)?;
    }
    let open = executions::open_of(tx, task).await?;
    if open.as_ref().is_some_and(|execution| execution.lease_until.is_some()) {
        let message = "a worker has this task under a lease; cancel it, or wait for its end";
        return Err(Error::conflict("task_leased", message));
    }
    Ok(open)
}

/// A task that needs others first is given to nobody.
fn refuse_blocked(task: &Task) -> Result<()> {
    if task.waits_for == 0 {
        return Ok(());
    }
    let things = if task.waits_for == 1 { "one thing".to_owned() } else { format!("{} things", task.waits_for) };
    let message = format!("the task needs {things} of other tasks first; `why` names what it waits for");
    Err(Error::conflict("task_blocked", message))
}

/// Gives a task to a worker that no machine of the pool carries (row CAIRN-34).
#[tracing::instrument(skip_all, fields(task.id = %id))]
pub async fn assign(ctx: &Ctx, tenant: TenantId, id: impl Named, to: Assignment) -> Result<TaskView> {
    let mut tx = ctx.begin("tasks.assign").await?;
    let task = load_locked(&mut tx, tenant, id).await?;
    check_assignable(&task)?;
    admission::check(&mut tx, &task, ctx.now()).await?;
    let worker = executions::load_worker_by_hand(&mut tx, to.worker_id).await?;
    executions::reserve(ctx, &mut tx, &task, &worker).await?;
    let task = load(&mut tx, tenant, task.id).await?;
    let view = view(&mut tx, task).await?;
    tx.commit(view).await
}

/// Only a task that is ready and needs no other first is given to anybody.
pub(crate) fn check_assignable(task: &Task) -> Result<()> {
    if task.status != TaskStatus::Ready {
        let message = format!("only a ready task can be assigned; this one is {}", task.status);
        return Err(Error::conflict("task_not_ready", message));
    }
    refuse_blocked(task)
}

/// Says how much work a task is (row CAIRN-34).
pub async fn estimate(
    ctx: &Ctx,
    settings: &Settings,
    tenant: TenantId,
    id: impl Named,
    estimate: Estimate,
) -> Result<TaskView> {
    if estimate.effort_minutes < 0 {
        return Err(Error::invalid("effort_minutes", "must be a number of minutes, zero or more"));
    }
    let change = TaskChange { effort_estimate: Some(Some(estimate.effort_minutes)), ..TaskChange::default() };
    update(ctx, settings, tenant, id, change).await
}

/// Deletes a task with its executions, its metadata, what it needs and what needs it (row CAIRN-13). What was
/// told of it stays in the record.
#[tracing::instrument(skip_all, fields(task.id = %id))]
pub async fn delete(ctx: &Ctx, tenant: TenantId, id: impl Named) -> Result<()> {
    let mut tx = ctx.begin("tasks.delete").await?;
    let task = load_locked(&mut tx, tenant, id).await?;
    let id = task.id;
    if executions::open_of(&mut tx, &task).await?.is_some() {
        let message = format!("the task is {} and a worker has it; cancel it and wait for its end", task.status);
        return Err(Error::conflict("task_in_hand", message));
    }
    dependencies::forget(ctx, &mut tx, &task).await?;
    admission::forget(&mut tx, &task).await?;
    executions::store::delete_of_task(&mut tx, tenant, id).await?;
    checkpoints::store::delete_of_task(&mut tx, tenant, id).await?;
    metadata::store::delete_of_task(&mut tx, tenant, id).await?;
    outcomes::store::delete_of_task(&mut tx, tenant, id).await?;
    store::delete(&mut tx, tenant, id).await?;
    let payload = json!({ "title": task.title });
    tell(ctx, &mut tx, kind::TASK_DELETED, About::task(tenant, id), Turn::Deleted(&task), &payload).await?;
    tx.nudge(Scheduler::NUDGE);
    tx.nudge(CHANGED_NUDGE);
    tx.commit(()).await
}

/// Calls a task off. Where a worker is on it, the worker is told, and the task ends when the worker has.
/// Calling off twice is no error.
#[tracing::instrument(skip_all, fields(task.id = %id))]
pub async fn cancel(ctx: &Ctx, settings: &Settings, tenant: TenantId, id: impl Named) -> Result<TaskView> {
    let mut tx = ctx.begin("tasks.cancel").await?;
    let task = load_locked(&mut tx, tenant, id).await?;
    let id = task.id;
    match task.status {
        TaskStatus::Cancelled => (),
        TaskStatus::Completed | TaskStatus::Split => {
            let illegal =
                step(task.status, Event::Cancel).map_or_else(|illegal| illegal.to_string(), |_| String::new());
            return Err(Error::conflict("task_finished", illegal));
        }
        TaskStatus::InProgress
            if executions::open_of(&mut tx, &task).await?.is_some_and(|e| e.lease_until.is_some()) =>
        {
            if task.cancel_requested_at.is_none() {
                store::request_cancel(&mut tx, id, ctx.now()).await?;
                let after = Task { cancel_requested_at: Some(ctx.now()), version: task.version + 1, ..task.clone() };
                tell::note(ctx, &mut tx, "task.cancel_requested", Turn::Changed(&task, &after)).await?;
            }
            tx.nudge(pool::WORKERS_NUDGE);
        }
        TaskStatus::Assigned | TaskStatus::InProgress => {
            // Nobody has begun, or nobody of ours: what was promised is taken back.
            match executions::open_of(&mut tx, &task).await? {
                Some(execution) => {
                    executions::finish(ctx, &mut tx, settings, &task, &execution, Ending::bare(Outcome::Cancelled))
                        .await?;
                }
                None => set_cancelled(ctx, &mut tx, &task).await?,
            }
        }
        TaskStatus::Ready | TaskStatus::Failed => set_cancelled(ctx, &mut tx, &task).await?,
    }
    let task = load(&mut tx, tenant, id).await?;
    let view = view(&mut tx, task).await?;
    tx.commit(view).await
}

async fn set_cancelled(ctx: &Ctx, tx: &mut Tx, task: &Task) -> Result<()> {
    let after = apply(ctx, tx, task, Event::Cancel).await?;
    admission::let_go(tx, task).await?;
    let about = About::task(task.tenant, task.id);
    tell(ctx, tx, kind::TASK_CANCELLED, about, Turn::Changed(task, &after), &json!({})).await
}

/// A task whose deadline has passed would fail again at once.
fn refuse_late(task: &Task, now: DateTime<Utc>) -> Result<()> {
    if task.deadline.is_some_and(|deadline| deadline <= now) {
        let message = "the task's deadline has passed; change `deadline` first, or take it away with null";
        return Err(Error::conflict("deadline_passed", message));
    }
    Ok(())
}

/// Makes a failed task ready again (row CAIRN-29). What it has used of its budget stays counted.
#[tracing::instrument(skip_all, fields(task.id = %id))]
pub async fn retry(ctx: &Ctx, tenant: TenantId, id: impl Named, attempt: Option<&Attempt>) -> Result<TaskView> {
    let mut tx = ctx.begin("tasks.retry").await?;
    if let Some(first) = idempotency::replay_if(&mut tx, tenant, attempt).await? {
        return Ok(first);
    }
    let task = load_locked(&mut tx, tenant, id).await?;
    step(task.status, Event::Retry).map_err(|illegal| Error::conflict("task_not_failed", illegal.to_string()))?;
    let view = requeue(ctx, &mut tx, &task, task.clone(), "retry").await?;
    idempotency::remember_if(&mut tx, tenant, attempt, &view, ctx.now()).await?;
    tx.commit(view).await
}

/// Makes a failed task ready again that is locked, as `changed` has it now: a specification of it may be another.
pub(crate) async fn requeue(
    ctx: &Ctx,
    tx: &mut Tx,
    task: &Task,
    changed: Task,
    reason: &'static str,
) -> Result<TaskView> {
    let (tenant, id) = (task.tenant, task.id);
    refuse_late(task, ctx.now())?;
    let after = Task { losses: 0, ..apply(ctx, tx, &changed, Event::Retry).await? };
    let count = store::count_retry(tx, id).await?;
    metadata::write(ctx, tx, tenant, id, RETRY_COUNT_KEY, &count.to_string()).await?;
    admission::park(tx, tenant, id, ctx.now()).await?;
    metadata::clear(ctx, tx, tenant, id, ASSIGNED_WORKER_KEY).await?;
    let payload = json!({ "reason": reason });
    tell(ctx, tx, kind::TASK_REQUEUED, About::task(tenant, id), Turn::Changed(task, &after), &payload).await?;
    let task = load(tx, tenant, id).await?;
    view(tx, task).await
}

/// How a task moves on: what it was and what it is then.
#[derive(Debug)]
pub(crate) struct Move<'a> {
    pub(crate) task: &'a Task,
    pub(crate) after: Task,
}

impl<'a> Move<'a> {
    /// As the state machine says.
    pub(crate) fn new(ctx: &Ctx, task: &'a Task, event: Event) -> Result<Self> {
        Ok(Self { task, after: next(ctx, task, event)? })
    }
}

/// A task as it is after an event, as the state machine says.
pub(crate) fn next(ctx: &Ctx, task: &Task, event: Event) -> Result<Task> {
    let to = step(task.status, event).map_err(|illegal| Error::conflict("illegal_transition", illegal.to_string()))?;
    let cancel_requested_at = task.cancel_requested_at.filter(|_| to == TaskStatus::InProgress);
    Ok(Task { status: to, updated_at: ctx.now(), cancel_requested_at, version: task.version + 1, ..task.clone() })
}

/// Moves tasks on that are locked, each guarded by the state that was looked at: all of them, or it is an error.
/// The caller tells of them.
pub(crate) async fn move_all(ctx: &Ctx, tx: &mut Tx, moves: &[Move<'_>]) -> Result<()> {
    if moves.is_empty() {
        return Ok(());
    }
    if store::move_all(tx, moves, ctx.now()).await? < moves.len() as u64 {
        return Err(Error::conflict("task_changed", "the task has just changed; look again"));
    }
    let completed = moves.iter().filter(|one| one.after.status == TaskStatus::Completed).map(|one| one.task);
    dependencies::satisfied(ctx, tx, &completed.collect::<Vec<_>>()).await?;
    for one in moves {
        if one.task.status == TaskStatus::Failed {
            strategies::recovered(ctx, tx, one.task).await?;
        }
        if one.after.status == TaskStatus::Ready || one.after.status.is_final() {
            budgets::release(tx, one.task).await?;
        }
    }
    if moves.iter().any(|one| one.task.spec.is_some()) {
        tx.nudge(Scheduler::NUDGE);
    }
    if moves.iter().any(|one| one.after.status == TaskStatus::Ready) {
        tx.nudge(READY_NUDGE);
    }
    tx.nudge(CHANGED_NUDGE);
    Ok(())
}

/// Moves a task on as its state machine says, guarded by the state that was looked at; gives the task as it
/// is then, of which the caller tells.
pub(crate) async fn apply(ctx: &Ctx, tx: &mut Tx, task: &Task, event: Event) -> Result<Task> {
    let one = Move::new(ctx, task, event)?;
    move_all(ctx, tx, std::slice::from_ref(&one)).await?;
    Ok(one.after)
}

/// Nudged when a task that nobody of the pool takes may be there for a claim; whoever waits for one with a spec
/// listens to the scheduler's nudge too.
pub(crate) const READY_NUDGE: &str = "task-ready";

/// Nudged when a task may have changed its status, for whoever follows one.
pub const CHANGED_NUDGE: &str = "task-changed";

pub(crate) async fn load(tx: &mut Tx, tenant: TenantId, id: TaskId) -> Result<Task> {
    store::get(tx, tenant, id).await?.ok_or(Error::NotFound { what: "task" })
}

/// A task that nobody else changes until the transaction ends, in the version that was meant.
pub(crate) async fn load_locked(tx: &mut Tx, tenant: TenantId, target: impl Named) -> Result<Task> {
    let target = target.into();
    let task = store::lock(tx, tenant, target.id).await?.ok_or(Error::NotFound { what: "task" })?;
    target.check(task.version)?;
    Ok(task)
}

pub(crate) async fn view(tx: &mut Tx, task: Task) -> Result<TaskView> {
    let execution = match task.execution_id {
        Some(id) => executions::store::get(tx, task.tenant, id).await?,
        None => None,
    };
    Ok(task.into_view(execution))
}

/// Tasks with their newest executions, in the same order.
pub(crate) async fn views(tx: &mut Tx, tenant: TenantId, tasks: Vec<Task>) -> Result<Vec<TaskView>> {
    let newest: Vec<ExecutionId> = tasks.iter().filter_map(|task| task.execution_id).collect();
    let newest = executions::store::of_ids(tx, tenant, &newest).await?;
    let mut newest: HashMap<ExecutionId, Execution> = newest.into_iter().map(|one| (one.id, one)).collect();
    let view = |task: Task| {
        let execution = task.execution_id.and_then(|id| newest.remove(&id));
        task.into_view(execution)
    };
    Ok(tasks.into_iter().map(view).collect())
}

#[cfg(test)]
mod tests;
