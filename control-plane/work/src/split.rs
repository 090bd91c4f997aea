//! Splitting a task into smaller ones (row CAIRN-55).
//!
//! The task needs its parts (hard) from then on, so that what waits for it waits
//! for them, in the graph and in `why`. Once it waits for nothing more it is
//! completed. A part needs what the task needed, and of the other parts only what
//! it says.

use kernel::outbox::About;
use kernel::{Ctx, Error, Result, Tx};
use serde_json::json;
use wire::batch::{BatchDependency, NewGraph};
use wire::dependency::{DependencyType, DependencyView};
use wire::event::kind;
use wire::id::{DependencyId, TaskId, TenantId};
use wire::metadata::PARENT_TASK_KEY;
use wire::outcome::Condition;
use wire::split::{Split, SplitTask};
use wire::task::{Priority, TaskStatus};

use crate::tasks::{self, Event, Target, Task, Turn, batch};
use crate::{Settings, dependencies, metadata};

/// Replaces a task that is ready or has failed by its parts.
#[tracing::instrument(skip_all, fields(task.id = %target))]
pub async fn split(ctx: &Ctx, settings: &Settings, tenant: TenantId, target: Target, new: Split) -> Result<SplitTask> {
    check(settings, &new)?;
    let mut tx = ctx.begin("split").await?;
    dependencies::take_graph(&mut tx, tenant).await?;
    // What is needed is locked before what needs it.
    let needed = dependencies::lock_needed(&mut tx, tenant, target.id).await?;
    let task = tasks::load_locked(&mut tx, tenant, target).await?;
    let done = into_parts(ctx, &mut tx, &task, &needed, &new).await?;
    tx.commit(done).await
}

pub(crate) fn check(settings: &Settings, new: &Split) -> Result<()> {
    new.validate()?;
    let graph = graph(new, Priority::default());
    batch::check_tasks(settings, "subtasks", &graph.tasks)?;
    let needs = graph.dependencies.iter().map(|one| (format!("subtasks[{}].depends_on", one.task), one));
    batch::check_dependencies(&graph.tasks, needs)
}

/// The parts as tasks of their own.
fn graph(new: &Split, usual: Priority) -> NewGraph {
    let parts = new.subtasks.iter().enumerate();
    let dependencies =
        parts.flat_map(|(task, part)| part.depends_on.iter().map(move |on| BatchDependency::on(task, *on))).collect();
    NewGraph { tasks: new.subtasks.iter().map(|part| part.task(usual)).collect(), dependencies }
}

/// Replaces a task that has just failed, and is locked, by its parts. What it needed was true, or it would not have
/// been tried.
pub(crate) async fn failed(ctx: &Ctx, tx: &mut Tx, task: &Task, new: &Split) -> Result<()> {
    dependencies::take_graph(tx, task.tenant).await?;
    into_parts(ctx, tx, task, &[], new).await.map(drop)
}

/// Makes the parts of a task that is locked, as is all that it needs.
async fn into_parts(ctx: &Ctx, tx: &mut Tx, task: &Task, needed: &[DependencyView], new: &Split) -> Result<SplitTask> {
    let after = tasks::apply(ctx, tx, task, Event::Split).await?;
    let mut graph = graph(new, task.priority);
    for part in &mut graph.tasks {
        // What keeps the whole back keeps its parts back.
        (part.project, part.keys) = (task.project.clone(), task.keys.clone());
    }
    let parts = batch::insert(ctx, tx, task.tenant, &graph).await?;
    let subtask_ids: Vec<TaskId> = parts.iter().map(|part| part.id).collect();
    for part in &subtask_ids {
        metadata::write(ctx, tx, task.tenant, *part, PARENT_TASK_KEY, &task.id.to_string()).await?;
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
    let payload = json!({ "subtask_ids": subtask_ids });
    let about = About::task(task.tenant, task.id);
    tasks::tell(ctx, tx, kind::TASK_SPLIT, about, Turn::Changed(task, &after), &payload).await?;
    Ok(SplitTask { task_id: task.id, subtask_ids })
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
