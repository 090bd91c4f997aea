//! The scheduler: looks at what waits and what there is, decides purely, and
//! writes the assignments and the pool's intents down in one transaction. `why`
//! asks the same decision for its reasons.

mod plan;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use kernel::{Ctx, Reconciler, Result, Tx};
use pool::plan::Limits;
use pool::workers::Worker;
use wire::id::{TaskId, TenantId};
use wire::task::TaskStatus;
use wire::why::{Reason, ReasonCode, Why};

use crate::tasks::{self, Task};
use crate::{Settings, dependencies, executions};
use plan::{Plan, Room, Snapshot, Waiting};

/// Tasks looked at in one step; the rest only counts.
const BATCH: i64 = 500;
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
        let (snapshot, workers) = look(&mut tx, &self.pool, now).await?;
        let plan = plan::plan(&snapshot, now);
        let mut changed = pool::machines::apply(ctx, &mut tx, &self.pool, &plan.machines).await?;
        for (task, worker) in &plan.assignments {
            let Some(worker) = workers.iter().find(|known| known.id == *worker) else { continue };
            changed += usize::from(assign(ctx, &mut tx, &self.work, *task, worker).await?);
        }
        metrics::gauge!("tasks_waiting").set(waiting_after(&snapshot, &plan));
        if changed == 0 {
            // Nothing was written, so there is nothing to commit.
            return Ok(0);
        }
        tx.commit(()).await?;
        // The next look comes with the nudges of what was changed.
        Ok(0)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; no queue is near 2^52")]
fn waiting_after(snapshot: &Snapshot, plan: &Plan) -> f64 {
    (snapshot.waiting_total - plan.assignments.len()) as f64
}

async fn assign(ctx: &Ctx, tx: &mut Tx, settings: &Settings, task: TaskId, worker: &Worker) -> Result<bool> {
    let Some(task) = tasks::store::lock_any(tx, task).await? else { return Ok(false) };
    if task.status != TaskStatus::Ready || task.waits_for > 0 {
        return Ok(false);
    }
    executions::assign(ctx, tx, settings, &task, worker).await?;
    Ok(true)
}

async fn look(tx: &mut Tx, settings: &pool::Settings, now: DateTime<Utc>) -> Result<(Snapshot, Vec<Worker>)> {
    let waiting = tasks::store::waiting(tx, BATCH).await?;
    let waiting_total = tasks::store::count_waiting(tx).await?.max(waiting.len());
    let workers = pool::workers::available(tx, now, settings.worker_silence).await?;
    let snapshot = Snapshot {
        waiting: waiting.into_iter().map(|task| Waiting { task: task.id, repository: task.repository }).collect(),
        waiting_total,
        rooms: workers.iter().map(room).collect(),
        machines: pool::machines::view(tx, settings, now).await?,
        limits: Limits::from(settings),
    };
    Ok((snapshot, workers))
}

fn room(worker: &Worker) -> Room {
    let free = usize::try_from(worker.capacity - worker.current_load).unwrap_or(0);
    Room { worker: worker.id, machine: worker.machine_id, free, repositories: worker.repositories.clone() }
}

/// What a task waits for. Makes the scheduler's decision anew, on what is there now.
pub async fn why(ctx: &Ctx, settings: &pool::Settings, tenant: TenantId, id: TaskId) -> Result<Why> {
    let now = ctx.now();
    // What stands before it in the queue may be another tenant's; only how many they are is told.
    let mut tx = ctx.across_tenants().read("scheduler.why").await?;
    let task = tasks::load(&mut tx, tenant, id).await?;
    let reasons = match task.status {
        // A split task waits for its parts.
        TaskStatus::Ready | TaskStatus::Split if task.waits_for > 0 => {
            plan::blocked(&dependencies::in_the_way(&mut tx, &task).await?)
        }
        TaskStatus::Ready if task.spec.is_none() => vec![reason(
            ReasonCode::NothingToRun,
            "it has no spec, so there is nothing to run: it is a note for people",
        )],
        TaskStatus::Ready => {
            let (snapshot, _) = look(&mut tx, settings, now).await?;
            let plan = plan::plan(&snapshot, now);
            plan::reasons(&plan.outlook, tasks::store::ahead_of(&mut tx, &task).await?)
        }
        TaskStatus::Assigned | TaskStatus::InProgress => in_hand(&mut tx, &task).await?,
        TaskStatus::Completed | TaskStatus::Failed | TaskStatus::Split | TaskStatus::Cancelled => {
            finished(&mut tx, &task).await?
        }
    };
    Ok(Why { task_id: id, status: task.status, reasons })
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
    if let Some(why) = newest.and_then(|execution| execution.ending).and_then(|ending| ending.message) {
        message = format!("{message}: {why}");
    }
    if task.status == TaskStatus::Failed {
        message.push_str("; retry it with: bifrost tasks retry ID");
    }
    Ok(vec![reason(ReasonCode::Finished, &message)])
}

fn reason(code: ReasonCode, message: &str) -> Reason {
    Reason { code, message: message.to_owned(), until: None, task_id: None }
}
