//! Splitting a task into smaller ones (row CAIRN-55).
//!
//! The task needs its parts (hard) from then on, so that what waits for it waits
//! for them, in the graph and in `why`. Once it waits for nothing more it is
//! completed. A part needs what the task needed, and of the other parts only what
//! it says. Whoever has claimed a task may split it: nobody else gets it in between.

use kernel::outbox::About;
use kernel::{Ctx, Error, Result, Tx};
use serde_json::json;
use wire::admission::SESSION_KEYS;
use wire::batch::{BatchDependency, NewGraph};
use wire::dependency::{DependencyType, DependencyView};
use wire::event::kind;
use wire::execution::Outcome;
use wire::id::{DependencyId, ExecutionId, TaskId, TenantId};
use wire::metadata::{AGENT_TYPE_KEY, PARENT_TASK_KEY};
use wire::outcome::Condition;
use wire::split::{NewSubtask, Split, SplitTask};
use wire::task::{Priority, TaskStatus};

use crate::executions::{self, Ending};
use crate::tasks::{self, Event, Target, Task, Turn, batch};
use crate::{Scheduler, Settings, dependencies, leases, metadata};

/// Replaces a task by its parts that is ready or has failed, or that the sender has claimed.
#[tracing::instrument(skip_all, fields(task.id = %target))]
pub async fn split(ctx: &Ctx, settings: &Settings, tenant: TenantId, target: Target, new: Split) -> Result<SplitTask> {
    new.validate()?;
    check(settings, &new.subtasks)?;
    let mut tx = ctx.begin("split").await?;
    dependencies::take_graph(&mut tx, tenant).await?;
    // What is needed is locked before what needs it.
    let needed = dependencies::lock_needed(&mut tx, tenant, target.id).await?;
    let mut task = tasks::load_locked(&mut tx, tenant, target).await?;
    if let Some(claim) = new.execution_id {
        give_back(ctx, &mut tx, settings, &task, claim).await?;
        task = tasks::load(&mut tx, tenant, task.id).await?;
    }
    let done = into_parts(ctx, &mut tx, &task, &needed, &new.subtasks).await?;
    tx.commit(done).await
}

pub(crate) fn check(settings: &Settings, parts: &[NewSubtask]) -> Result<()> {
    let graph = graph(parts, Priority::default());
    batch::check_tasks(settings, "subtasks", &graph.tasks)?;
    for (place, part) in parts.iter().enumerate() {
        let checked = part.validate();
        checked.map_err(|error| Error::invalid(format!("subtasks[{place}].{}", error.field), error.message))?;
    }
    let needs = graph.dependencies.iter().map(|one| (format!("subtasks[{}].depends_on", one.task), one));
    batch::check_dependencies(&graph.tasks, needs)
}

/// The parts as tasks of their own.
fn graph(parts: &[NewSubtask], usual: Priority) -> NewGraph {
    let needs = parts.iter().enumerate();
    let dependencies =
        needs.flat_map(|(task, part)| part.depends_on.iter().map(move |on| BatchDependency::on(task, *on))).collect();
    NewGraph { tasks: parts.iter().map(|part| part.task(usual)).collect(), dependencies }
}

/// Ends the claim under which the sender holds a task that is locked; the task is ready then, for nobody to see.
async fn give_back(ctx: &Ctx, tx: &mut Tx, settings: &Settings, task: &Task, claim: ExecutionId) -> Result<()> {
    let open = executions::open_of(tx, task).await?.filter(|open| open.id == claim).ok_or_else(leases::lease_lost)?;
    let worker = pool::workers::find(tx, open.worker).await?;
    if open.lease_until.is_none() || worker.is_some_and(|worker| worker.machine_id.is_some()) {
        let message = "the execution is no claim: a worker of the pool has it, or it was begun by hand";
        return Err(Error::conflict("execution_not_claimed", message));
    }
    let ending = Ending { message: Some("the task was split".into()), ..Ending::bare(Outcome::Released) };
    executions::finish(ctx, tx, settings, task, &open, ending).await.map(drop)
}

/// Replaces a task that has just failed, and is locked, by its parts. What it needed was true, or it would not have
/// been tried.
pub(crate) async fn failed(ctx: &Ctx, tx: &mut Tx, task: &Task, parts: &[NewSubtask]) -> Result<()> {
    dependencies::take_graph(tx, task.tenant).await?;
    into_parts(ctx, tx, task, &[], parts).await.map(drop)
}

/// Makes a task that has just failed, and is locked, need these; gives it as it is then.
pub(crate) async fn put_before(ctx: &Ctx, tx: &mut Tx, task: &Task, parts: &[NewSubtask]) -> Result<Task> {
    dependencies::take_graph(tx, task.tenant).await?;
    make(ctx, tx, task, &[], parts).await?;
    tasks::load(tx, task.tenant, task.id).await
}

/// Replaces a task by its parts that is locked, as is all that it needs.
async fn into_parts(
    ctx: &Ctx,
    tx: &mut Tx,
    task: &Task,
    needed: &[DependencyView],
    parts: &[NewSubtask],
) -> Result<SplitTask> {
    let after = tasks::apply(ctx, tx, task, Event::Split).await?;
    let subtask_ids = make(ctx, tx, task, needed, parts).await?;
    let payload = json!({ "subtask_ids": subtask_ids });
    let about = About::task(task.tenant, task.id);
    tasks::tell(ctx, tx, kind::TASK_SPLIT, about, Turn::Changed(task, &after), &payload).await?;
    Ok(SplitTask { task_id: task.id, subtask_ids })
}

/// Makes tasks that need what is given, and that a task needs from then on.
async fn make(
    ctx: &Ctx,
    tx: &mut Tx,
    task: &Task,
    needed: &[DependencyView],
    new: &[NewSubtask],
) -> Result<Vec<TaskId>> {
    let mut graph = graph(new, task.priority);
    for part in &mut graph.tasks {
        // What keeps the whole back keeps its parts back.
        // But a part goes on with no session but its own.
        let keys = task.keys.iter().filter(|key| !key.starts_with(SESSION_KEYS));
        (part.project, part.keys) = (task.project.clone(), keys.cloned().collect());
    }
    let parts = batch::insert(ctx, tx, task.tenant, &graph).await?;
    let subtask_ids: Vec<TaskId> = parts.iter().map(|part| part.id).collect();
    for (part, new) in subtask_ids.iter().zip(new) {
        metadata::write(ctx, tx, task.tenant, *part, PARENT_TASK_KEY, &task.id.to_string()).await?;
        if let Some(agent_type) = &new.agent_type {
            metadata::write(ctx, tx, task.tenant, *part, AGENT_TYPE_KEY, agent_type).await?;
        }
        for dependency in needed {
            let view = DependencyView { id: ctx.id(DependencyId::mint), task_id: *part, ..dependency.clone() };
            dependencies::add_to_part(ctx, tx, task.tenant, &view).await?;
        }
        let view = DependencyView {
            id: ctx.id(DependencyId::mint),
            task_id: task.id,
            depends_on_task_id: *part,
            dependency_type: DependencyType::Hard,
            condition: Condition::Completed,
            group: None,
            satisfied: false,
            created_at: ctx.now(),
        };
        dependencies::add_to_part(ctx, tx, task.tenant, &view).await?;
    }
    // Whoever waits for one of them, or plans, looks again.
    tx.nudge(Scheduler::NUDGE);
    Ok(subtask_ids)
}

/// A task was completed or is about to be deleted, and nothing waits for it any longer: whichever split task has
/// been waiting for nothing but that is completed.
pub(crate) async fn settle(ctx: &Ctx, tx: &mut Tx, part: &Task) -> Result<()> {
    for whole in tasks::store::split_and_done(tx, part.tenant, part.id).await? {
        complete(ctx, tx, &whole).await?;
    }
    Ok(())
}

/// A split task may wait for nothing more.
pub(crate) async fn settle_whole(ctx: &Ctx, tx: &mut Tx, tenant: TenantId, id: TaskId) -> Result<()> {
    let whole = tasks::store::lock(tx, tenant, id).await?.ok_or(Error::NotFound { what: "task" })?;
    if whole.status == TaskStatus::Split && whole.waits_for == 0 { complete(ctx, tx, &whole).await } else { Ok(()) }
}

async fn complete(ctx: &Ctx, tx: &mut Tx, whole: &Task) -> Result<()> {
    // What it completes may be a part in turn.
    let after = Box::pin(tasks::apply(ctx, tx, whole, Event::PartsDone)).await?;
    let (about, payload) = (About::task(whole.tenant, whole.id), json!({ "reason": "subtasks_completed" }));
    tasks::tell(ctx, tx, kind::TASK_COMPLETED, about, Turn::Changed(whole, &after), &payload).await
}

#[cfg(test)]
mod tests;
