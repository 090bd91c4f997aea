//! Assignments to workers that no machine of the pool carries: the worker that
//! suits a task best (row CAIRN-51), the next tasks for whoever has room (row
//! CAIRN-52), and a worker for a task that cannot wait (row CAIRN-54).
//!
//! No worker is given more than it takes, whoever assigns at the same moment: its
//! row is locked and counted anew before it is given anything.

mod policy;
pub(crate) mod store;

use std::collections::BTreeSet;

use kernel::outbox::{self, About};
use kernel::{Ctx, Error, Result, Tx};
use pool::workers::Worker;
use serde_json::json;
use wire::assignment::{AssignBatch, AssignedTask, Preempt, Preempted};
use wire::event::kind;
use wire::execution::Outcome;
use wire::id::{ExecutionId, TaskId, TenantId, WorkerId};
use wire::limit::ASSIGNMENTS_PER_BATCH;
use wire::metadata::AGENT_TYPE_KEY;

use crate::executions::{self, COMMAND_AGENT, Ending, Execution};
use crate::tasks::{self, Target, Task};
use crate::{Settings, admission, metadata};
use policy::Requirement;

/// The tasks that a batch looks at, however few of them somebody can take.
const LOOKED_AT: i64 = 1_000;
/// Nobody can take the task now.
const NOBODY: &str = "no_capable_worker";

/// Gives a ready task to the capable worker that has the least to do.
#[tracing::instrument(skip_all, fields(task.id = %target))]
pub async fn optimal(ctx: &Ctx, tenant: TenantId, target: Target) -> Result<AssignedTask> {
    // One transaction for each worker that is tried: whoever held the row of one while it waits for another's would
    // wait in a circle with somebody who tries them the other way round.
    let mut passed_over = BTreeSet::new();
    loop {
        match attempt(ctx, tenant, target, &passed_over).await? {
            Tried::Given(assigned) => return Ok(assigned),
            Tried::Full(worker) => passed_over.insert(worker),
        };
    }
}

/// What came of looking for a worker.
enum Tried {
    /// One has the task.
    Given(AssignedTask),
    /// Somebody was faster with this one.
    Full(WorkerId),
}

async fn attempt(ctx: &Ctx, tenant: TenantId, target: Target, passed_over: &BTreeSet<WorkerId>) -> Result<Tried> {
    let mut tx = ctx.begin("assignments.optimal").await?;
    let task = tasks::load_locked(&mut tx, tenant, target).await?;
    tasks::check_assignable(&task)?;
    // Before any worker is locked: the order in which everybody takes locks.
    admission::check(&mut tx, &task, ctx.now()).await?;
    let requirement = requirement(&mut tx, &task).await?;
    let mut workers = pool::workers::by_hand(&mut tx, ctx.now()).await?;
    for worker in workers.iter_mut().filter(|worker| passed_over.contains(&worker.id)) {
        // It was full behind its row's lock, whatever it tells.
        worker.current_load = worker.capacity;
    }
    let nobody = || Error::conflict(NOBODY, policy::why_nobody(&workers, &requirement));
    let best = policy::best(&workers, &requirement).ok_or_else(nobody)?.id;
    match executions::load_worker_by_hand(&mut tx, best).await {
        Ok(worker) => {
            let assigned = give(ctx, &mut tx, &task, &worker).await?;
            tx.commit(Tried::Given(assigned)).await
        }
        Err(Error::Conflict { .. } | Error::Invalid { .. }) => Ok(Tried::Full(best)),
        Err(error) => Err(error),
    }
}

/// What a task asks of its worker. A spec is for whoever carries out plain commands, unless the task says
/// otherwise.
async fn requirement(tx: &mut Tx, task: &Task) -> Result<Requirement> {
    let named = metadata::store::get(tx, task.tenant, task.id, AGENT_TYPE_KEY).await?;
    let agent_type = named.or_else(|| task.spec.as_ref().map(|_| COMMAND_AGENT.to_owned()));
    Ok(Requirement { agent_type, effort_minutes: task.effort_estimate })
}

async fn give(ctx: &Ctx, tx: &mut Tx, task: &Task, worker: &Worker) -> Result<AssignedTask> {
    let execution_id = executions::reserve(ctx, tx, task, worker).await?;
    let worker = pool::workers::find(tx, worker.id).await?.ok_or(Error::NotFound { what: "worker" })?;
    Ok(AssignedTask { task_id: task.id, execution_id, worker: worker.into() })
}

/// Gives the next tasks, highest score first, each to the worker that suits it best, until there are as many as
/// asked for or nobody has room. A task without a score counts by its priority. Each is assigned by itself.
#[tracing::instrument(skip_all)]
pub async fn batch(ctx: &Ctx, tenant: TenantId, batch: AssignBatch) -> Result<Vec<AssignedTask>> {
    if !(1..=ASSIGNMENTS_PER_BATCH).contains(&batch.count) {
        return Err(Error::invalid("count", format!("must be from 1 to {ASSIGNMENTS_PER_BATCH}")));
    }
    let mut tx = ctx.read("assignments.batch").await?;
    let closed = admission::closed(&mut tx, tenant, ctx.now()).await?;
    let next = store::next(&mut tx, tenant, &closed, LOOKED_AT).await?;
    drop(tx);
    let mut hopeless: BTreeSet<Requirement> = BTreeSet::new();
    let mut assigned = Vec::new();
    for (task, requirement) in next {
        if assigned.len() == batch.count {
            break;
        }
        if hopeless.contains(&requirement) {
            continue;
        }
        match optimal(ctx, tenant, task.into()).await {
            Ok(done) => assigned.push(done),
            Err(error) if error.code() == NOBODY => {
                hopeless.insert(requirement);
            }
            // It has been started, called off or deleted meanwhile.
            Err(Error::Conflict { .. } | Error::NotFound { .. }) => (),
            Err(error) => return Err(error),
        }
    }
    Ok(assigned)
}

/// Gives a ready task to a worker that is on something less urgent, which becomes ready again and spends no
/// attempt. A worker that has room is given the task, and nothing makes way.
#[tracing::instrument(skip_all, fields(task.id = %target, worker.id = %to.target_worker_id))]
pub async fn preempt(
    ctx: &Ctx,
    settings: &Settings,
    tenant: TenantId,
    target: Target,
    to: Preempt,
) -> Result<Preempted> {
    let worker = to.target_worker_id;
    let mut tx = ctx.begin("assignments.preempt").await?;
    let seen = store::least_urgent(&mut tx, tenant, worker).await?;
    let (task, other) = lock_both(&mut tx, tenant, target, seen).await?;
    tasks::check_assignable(&task)?;
    admission::check(&mut tx, &task, ctx.now()).await?;
    let made_way = match executions::load_worker_by_hand(&mut tx, worker).await {
        Ok(_) => None,
        Err(Error::Conflict { code: "worker_full", .. }) => {
            let (other, execution) = other.ok_or_else(|| nothing_less_urgent(&task))?;
            Some(make_way(ctx, &mut tx, settings, &task, &other, &execution).await?)
        }
        Err(Error::Invalid { message, .. }) => return Err(Error::invalid("target_worker_id", message)),
        Err(error) => return Err(error),
    };
    let worker = executions::load_worker_by_hand(&mut tx, worker).await?;
    let assigned = give(ctx, &mut tx, &task, &worker).await?;
    let (preempted_task_id, preempted_execution_id) = made_way.unzip();
    tx.commit(Preempted { assigned, preempted_task_id, preempted_execution_id }).await
}

/// Both tasks in the order of their ids, so that two preemptions do not wait in a circle.
async fn lock_both(
    tx: &mut Tx,
    tenant: TenantId,
    target: Target,
    seen: Option<(TaskId, ExecutionId)>,
) -> Result<(Task, Option<(Task, Execution)>)> {
    let Some((other, execution)) = seen.filter(|(other, _)| *other != target.id) else {
        return Ok((tasks::load_locked(tx, tenant, target).await?, None));
    };
    let (task, other) = if other < target.id {
        let other = tasks::store::lock_any(tx, other).await?;
        (tasks::load_locked(tx, tenant, target).await?, other)
    } else {
        let task = tasks::load_locked(tx, tenant, target).await?;
        (task, tasks::store::lock_any(tx, other).await?)
    };
    let execution = executions::store::get(tx, tenant, execution).await?;
    // Locked, both are what they are now: an execution that has ended makes no way.
    let both = other.zip(execution).filter(|(_, execution)| execution.completed_at.is_none());
    Ok((task, both))
}

fn nothing_less_urgent(task: &Task) -> Error {
    let message =
        format!("the worker has no task that is less urgent than this one of priority {}", task.priority.get());
    Error::conflict("not_more_urgent", message)
}

/// Ends an execution for the sake of a more urgent task.
async fn make_way(
    ctx: &Ctx,
    tx: &mut Tx,
    settings: &Settings,
    task: &Task,
    other: &Task,
    execution: &Execution,
) -> Result<(TaskId, ExecutionId)> {
    if other.priority >= task.priority {
        return Err(nothing_less_urgent(task));
    }
    let mut ending = Ending::bare(Outcome::Preempted);
    ending.message = Some(format!("task {} of priority {} took its worker", task.id, task.priority.get()));
    executions::finish(ctx, tx, settings, other, execution, ending).await?;
    let payload = json!({ "by_task_id": task.id, "worker_id": execution.worker });
    outbox::push(ctx, tx, kind::TASK_PREEMPTED, About::execution(other.tenant, other.id, execution.id), &payload)
        .await?;
    tracing::info!(task.id = %other.id, by.task.id = %task.id, worker.id = %execution.worker, "a task made way for a more urgent one");
    Ok((other.id, execution.id))
}

#[cfg(test)]
mod tests;
