//! The scheduler: looks at what waits and what there is, decides purely, and
//! writes the assignments and the pool's intents down in one transaction. `why`
//! asks the same decision for its reasons.
//!
//! A step costs as much as there are lanes with work (one for each project and set
//! of keys) and places at workers, whatever number of tasks waits: of a lane that
//! is closed nothing is read, of an open one only what can be needed.

mod arrivals;
mod load;
pub(crate) mod order;
pub(crate) mod plan;
#[cfg(test)]
mod simulation;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use kernel::{Ctx, Reconciler, Result, Tx};
use pool::plan::Limits;
use pool::workers::Worker;
use wire::id::{TaskId, TenantId};
use wire::metadata::AGENT_TYPE_KEY;
use wire::task::{TaskStatus, TaskView};
use wire::why::{Reason, ReasonCode, Why};

use crate::admission::policy::{Obstacle, Rules, expected_seconds, machine_micros};
use crate::admission::store::{Head, Lock, Next};
use crate::admission::{self, Gate, Lane, LaneId};
use crate::tasks::{self, Task};
use crate::{Settings, checkpoints, dependencies, executions, metadata, projects};
use plan::{Assignment, Plan, Queue, Room, Snapshot, Waiting};

pub use arrivals::Arrivals;
pub use load::PlannerLoad;

/// Serializes decisions over the whole pool among replicas: two first inserts cannot see each other.
const LOCK: i64 = 7_601;

/// The reconciler that schedules.
#[derive(Debug, Clone)]
pub struct Scheduler {
    work: Arc<Settings>,
    pool: Arc<pool::Settings>,
}

impl Scheduler {
    /// The name under which it is nudged.
    pub const NUDGE: &'static str = pool::CAPACITY_NUDGE;

    /// With the operator's settings.
    pub fn new(work: Arc<Settings>, pool: Arc<pool::Settings>) -> Self {
        Self { work, pool }
    }
}

impl Reconciler for Scheduler {
    const NAME: &'static str = Self::NUDGE;
    const EVERY: Duration = Duration::from_secs(1);

    async fn tick(&self, ctx: &Ctx) -> Result<usize> {
        let now = ctx.now();
        let mut tx = ctx.begin("scheduler.tick").await?;
        tx.alone(LOCK).await?;
        let let_go = admission::store::unpark(&mut tx, now).await?;
        let mut gate = Gate::open(&mut tx, None, now).await?;
        let (snapshot, workers) = look(&mut tx, &self.work, &self.pool, gate.rules.clone(), now).await?;
        let plan = plan::plan(&snapshot, now);
        let mut changed = pool::machines::apply(ctx, &mut tx, &self.pool, &plan.machines).await?;
        let mut assigned = 0;
        for assignment in &plan.assignments {
            let Some(worker) = workers.iter().find(|known| known.id == assignment.worker) else { continue };
            assigned += usize::from(assign(ctx, &mut tx, &self.work, &mut gate, assignment, worker).await?);
        }
        if assigned > 0 {
            remember_turns(&mut tx, &snapshot, &plan).await?;
        }
        changed += assigned + usize::try_from(let_go).unwrap_or(usize::MAX);
        metrics::gauge!("tasks_waiting").set(u32::try_from(plan.left).unwrap_or(u32::MAX));
        if changed == 0 {
            // Nothing was written, so there is nothing to commit.
            return Ok(0);
        }
        tx.commit(()).await?;
        // The next look comes with the nudges of what was changed.
        Ok(0)
    }
}

/// Where only one project has work, nobody's turn is over.
async fn remember_turns(tx: &mut Tx, snapshot: &Snapshot, plan: &Plan) -> Result<()> {
    let mut owners = snapshot.queues.iter().map(|queue| (queue.lane.tenant, &queue.lane.project));
    let first = owners.next();
    if owners.all(|owner| Some(owner) == first) {
        return Ok(());
    }
    for (owner, started) in &plan.served {
        projects::store::start(tx, owner, *started).await?;
    }
    Ok(())
}

async fn assign(
    ctx: &Ctx,
    tx: &mut Tx,
    settings: &Settings,
    gate: &mut Gate,
    assignment: &Assignment,
    worker: &Worker,
) -> Result<bool> {
    // Whoever else has it locked decides; nobody is waited for with the gate in hand.
    let Some(task) = tasks::store::take(tx, assignment.task).await? else { return Ok(false) };
    if task.status != TaskStatus::Ready || task.waits_for > 0 {
        return Ok(false);
    }
    if gate.admit(tx, &task, assignment.estimate_micros).await?.is_err() {
        return Ok(false);
    }
    executions::assign(ctx, tx, settings, &task, worker).await?;
    Ok(true)
}

async fn look(
    tx: &mut Tx,
    work: &Settings,
    pool: &pool::Settings,
    rules: Rules,
    now: DateTime<Utc>,
) -> Result<(Snapshot, Vec<Worker>)> {
    let workers = pool::workers::available(tx, now, pool.worker_silence).await?;
    let rooms: Vec<Room> = workers.iter().map(room).collect();
    let limits = Limits::from(pool);
    let shares = projects::store::shares(tx).await?;
    let mut heads = admission::store::heads(tx).await?;
    heads.retain(|head| rules.obstacles(&head.lane, 0, now).is_empty());
    let enough = plan::enough(&rooms, limits);
    let lanes = order::foremost(heads, &shares, enough);
    let next = next(tx, &lanes, enough).await?;
    let queues = queues(lanes, next, work.machine_micros_per_hour);
    let mut machines = pool::machines::view(tx, pool, now).await?;
    // Asked only where the answer matters.
    if machines.asks_for_kept(limits, now) {
        machines.kept = checkpoints::machines_with_work(tx, now - work.keep_work).await?;
    }
    Ok((Snapshot { queues, rules, shares, rooms, machines, limits }, workers))
}

/// So many tasks of each lane that there are enough in all, and of none so many that one project would
/// have others read for nothing.
async fn next(tx: &mut Tx, lanes: &[Head], enough: usize) -> Result<Vec<Next>> {
    if lanes.is_empty() {
        return Ok(Vec::new());
    }
    let each = enough.min(2 * enough / lanes.len() + 8);
    let lanes: Vec<LaneId> = lanes.iter().map(|head| head.lane.id).collect();
    admission::store::next(tx, &lanes, i64::try_from(each).unwrap_or(i64::MAX)).await
}

fn queues(lanes: Vec<Head>, next: Vec<Next>, micros_per_hour: i64) -> Vec<Queue> {
    let mut tasks: HashMap<LaneId, Vec<Waiting>> = HashMap::new();
    for next in next {
        let seconds = expected_seconds(next.effort_estimate, next.timeout_seconds);
        let waiting = Waiting {
            task: next.id,
            priority: next.priority,
            created_at: next.created_at,
            repository: next.repository,
            machine: next.machine,
            estimate_micros: machine_micros(seconds, micros_per_hour),
        };
        tasks.entry(next.lane).or_default().push(waiting);
    }
    let queue = |head: Head| Queue { tasks: tasks.remove(&head.lane.id).unwrap_or_default(), lane: head.lane };
    lanes.into_iter().map(queue).collect()
}

fn room(worker: &Worker) -> Room {
    let free = usize::try_from(worker.capacity - worker.current_load).unwrap_or(0);
    Room { worker: worker.id, machine: worker.machine_id, free, repositories: worker.repositories.clone() }
}

/// What a task waits for. Makes the scheduler's decision anew, on what is there now.
pub async fn why(ctx: &Ctx, work: &Settings, pool: &pool::Settings, tenant: TenantId, id: TaskId) -> Result<Why> {
    // What stands before it in the queue may be another tenant's; only how many they are is told.
    let mut tx = ctx.across_tenants().read("scheduler.why").await?;
    let task = tasks::load(&mut tx, tenant, id).await?;
    let reasons = match task.status {
        // A split task waits for its parts.
        TaskStatus::Split if task.waits_for > 0 => plan::blocked(&dependencies::in_the_way(&mut tx, &task).await?),
        TaskStatus::Ready => waiting(&mut tx, work, pool, &task, ctx.now()).await?,
        TaskStatus::Assigned | TaskStatus::InProgress => in_hand(&mut tx, &task).await?,
        TaskStatus::Completed | TaskStatus::Failed | TaskStatus::Split | TaskStatus::Cancelled => {
            finished(&mut tx, &task).await?
        }
    };
    Ok(Why { task_id: id, status: task.status, reasons })
}

/// What a ready task waits for: what it needs, then what people have set, then a worker.
async fn waiting(
    tx: &mut Tx,
    work: &Settings,
    pool: &pool::Settings,
    task: &Task,
    now: DateTime<Utc>,
) -> Result<Vec<Reason>> {
    let rules = admission::store::rules(tx, None, Lock::No, now).await?;
    let mut reasons = match task.waits_for {
        0 => Vec::new(),
        _ => plan::blocked(&dependencies::in_the_way(tx, task).await?),
    };
    let obstacles = admission::obstacles(tx, &rules, task, estimate(work, task), now).await?;
    reasons.extend(obstacles.into_iter().map(Reason::from));
    if task.waits_for == 0 && task.spec.is_none() {
        let wanted = metadata::store::get(tx, task.tenant, task.id, AGENT_TYPE_KEY).await?;
        reasons.push(nothing_to_run(wanted.as_deref()));
    }
    if reasons.is_empty() {
        let (snapshot, _) = look(tx, work, pool, rules, now).await?;
        let plan = plan::plan(&snapshot, now);
        let ahead = tasks::store::ahead_of(tx, task, plan::AHEAD_MAX).await?;
        reasons.extend(closed(&plan, task).iter().cloned().map(Reason::from));
        reasons.extend(plan::reasons(&plan.outlook, ahead));
    }
    Ok(reasons)
}

/// What a task is expected to cost on a machine of the pool; by hand nothing is known of that.
fn estimate(work: &Settings, task: &Task) -> i64 {
    let timeout = task.spec.as_ref().and_then(|spec| spec.timeout_seconds).and_then(|it| i64::try_from(it).ok());
    let seconds = task.spec.as_ref().map_or(0, |_| expected_seconds(task.effort_estimate, timeout));
    machine_micros(seconds, work.machine_micros_per_hour)
}

/// What keeps the rest of a task's lane back whose first tasks may start.
fn closed<'a>(plan: &'a Plan, task: &Task) -> &'a [Obstacle] {
    plan.closed.get(&Lane::of_task(task).id).map_or(&[], Vec::as_slice)
}

fn nothing_to_run(agent_type: Option<&str>) -> Reason {
    let who = agent_type.map_or_else(|| "a worker".to_owned(), |wanted| format!("an agent of the type {wanted:?}"));
    let message = format!("it has no spec, so no machine takes it: it waits for {who} that claims it, or for a person");
    reason(ReasonCode::NothingToRun, &message)
}

/// Says of each ready task of a list what it waits for, in one line: the first of the reasons that `why` gives,
/// in as many queries for a page as for one task.
pub async fn tell_waiting(
    ctx: &Ctx,
    work: &Settings,
    pool: &pool::Settings,
    tenant: TenantId,
    views: &mut [TaskView],
) -> Result<()> {
    let ready: Vec<TaskId> = views.iter().filter(|view| view.status == TaskStatus::Ready).map(|view| view.id).collect();
    if ready.is_empty() {
        return Ok(());
    }
    let now = ctx.now();
    let mut tx = ctx.across_tenants().read("scheduler.tell_waiting").await?;
    let tasks = tasks::store::of_ids(&mut tx, tenant, &ready).await?;
    let holds = admission::store::holds_of_tasks(&mut tx, tenant, &ready).await?;
    let rules = admission::store::rules(&mut tx, None, Lock::No, now).await?;
    let mut lines: HashMap<TaskId, String> = HashMap::new();
    let mut free = Vec::new();
    for task in tasks {
        let own = admission::policy::own_obstacles(&task, holds.get(&task.id).map_or(&[], Vec::as_slice), now);
        let of_lane = || rules.obstacles(&Lane::of_task(&task), estimate(work, &task), now).into_iter().next();
        let first = match task.waits_for {
            0 => own.into_iter().next().or_else(of_lane).map(Reason::from),
            more => Some(plan::needs_more(more)),
        };
        match first {
            Some(reason) => drop(lines.insert(task.id, plan::in_a_line(&reason))),
            None if task.spec.is_some() => free.push(task),
            // A note waits for nothing but people.
            None => (),
        }
    }
    if !free.is_empty() {
        let (snapshot, _) = look(&mut tx, work, pool, rules, now).await?;
        let plan = plan::plan(&snapshot, now);
        let of_all = plan::pool_reasons(&plan.outlook).into_iter().next();
        let of_all = of_all.unwrap_or_else(|| reason(ReasonCode::Queued, "a worker is about to take it"));
        for task in free {
            let of_lane = closed(&plan, &task).first().cloned().map(Reason::from);
            lines.insert(task.id, plan::in_a_line(&of_lane.unwrap_or_else(|| of_all.clone())));
        }
    }
    for view in views {
        view.waiting = lines.remove(&view.id);
    }
    Ok(())
}

async fn in_hand(tx: &mut Tx, task: &Task) -> Result<Vec<Reason>> {
    let execution = executions::open_of(tx, task).await?;
    let worker = execution.as_ref().map_or_else(|| "somebody".to_owned(), |e| format!("worker {}", e.worker));
    let until = execution.and_then(|execution| execution.lease_until);
    let (code, message) = if task.cancel_requested_at.is_some() {
        (ReasonCode::Cancelling, format!("it was called off; {worker} is ending it"))
    } else if task.status == TaskStatus::Assigned {
        (ReasonCode::Assigned, format!("{worker} has it and has not begun"))
    } else {
        (ReasonCode::Running, format!("{worker} is on it"))
    };
    Ok(vec![Reason { code, message, until, task_id: None }])
}

async fn finished(tx: &mut Tx, task: &Task) -> Result<Vec<Reason>> {
    let mut message = format!("it is {}", task.status);
    let newest = match task.execution_id {
        Some(id) => executions::store::get(tx, task.tenant, id).await?,
        None => None,
    };
    let newest_is_none = newest.is_none();
    if let Some(why) = newest.and_then(|execution| execution.ending).and_then(|ending| ending.message) {
        message = format!("{message}: {why}");
    }
    if task.status == TaskStatus::Failed && newest_is_none && task.overdue_at.is_some() {
        message.push_str(": nobody had it when its deadline passed");
    }
    if task.status == TaskStatus::Failed {
        message.push_str("; retry it with: bifrost tasks retry ID");
    }
    Ok(vec![reason(ReasonCode::Finished, &message)])
}

fn reason(code: ReasonCode, message: &str) -> Reason {
    Reason { code, message: message.to_owned(), until: None, task_id: None }
}
