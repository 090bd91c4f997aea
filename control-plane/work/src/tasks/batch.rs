//! Many tasks at once (row CAIRN-15): all of them, with what they need of each
//! other, or none.

use kernel::idempotency::{self, Attempt};
use kernel::outbox::About;
use kernel::{Ctx, Error, Result, Tx};
use serde_json::json;
use wire::batch::{BatchDependency, NewGraph};
use wire::dependency::{DependencyType, DependencyView};
use wire::event::kind;
use wire::id::{DependencyId, TaskId, TenantId};
use wire::limit::{DEPENDENCIES_PER_BATCH, TASKS_PER_BATCH};
use wire::task::TaskView;

use super::{Turn, refuse_local, store, tell};
use crate::dependencies::{self, graph};
use crate::{Scheduler, Settings};

/// Submits tasks in the order given. The same attempt again gives the first answer.
#[tracing::instrument(skip_all)]
pub async fn submit(
    ctx: &Ctx,
    settings: &Settings,
    tenant: TenantId,
    new: NewGraph,
    attempt: Option<&Attempt>,
) -> Result<Vec<TaskView>> {
    check_tasks(settings, &new)?;
    check_dependencies(&new)?;
    let mut tx = ctx.begin("tasks.batch").await?;
    if let Some(attempt) = attempt
        && let Some(first) = idempotency::replay(&mut tx, tenant, attempt).await?
    {
        return Ok(first);
    }
    let views = insert(ctx, &mut tx, tenant, &new).await?;
    if let Some(attempt) = attempt {
        idempotency::remember(&mut tx, tenant, attempt, &views, ctx.now()).await?;
    }
    tx.nudge(Scheduler::NUDGE);
    metrics::counter!("tasks_submitted_total").increment(views.len() as u64);
    tx.commit(views).await
}

fn check_tasks(settings: &Settings, new: &NewGraph) -> Result<()> {
    if new.tasks.is_empty() || new.tasks.len() > TASKS_PER_BATCH {
        let message = format!("must be 1 to {TASKS_PER_BATCH} tasks, and these are {}", new.tasks.len());
        return Err(Error::invalid("tasks", message));
    }
    for (place, task) in new.tasks.iter().enumerate() {
        let checked = task.validate().map_err(Error::from).and_then(|()| refuse_local(settings, task.spec.as_ref()));
        checked.map_err(|error| at(place, error))?;
    }
    Ok(())
}

/// The same refusal, naming the task of the list.
fn at(place: usize, error: Error) -> Error {
    match error {
        Error::Invalid { field, message } => Error::invalid(format!("tasks[{place}].{field}"), message),
        other => other,
    }
}

fn check_dependencies(new: &NewGraph) -> Result<()> {
    if new.dependencies.len() > DEPENDENCIES_PER_BATCH {
        return Err(Error::invalid("dependencies", format!("must be at most {DEPENDENCIES_PER_BATCH}")));
    }
    let mut needs = graph::Needs::new();
    for (number, BatchDependency { task, depends_on, .. }) in new.dependencies.iter().enumerate() {
        let wrong = |message: String| Err(Error::invalid(format!("dependencies[{number}]"), message));
        if let Some(place) = [task, depends_on].into_iter().find(|place| **place >= new.tasks.len()) {
            return wrong(format!("names the task {place}, and the last one is {}", new.tasks.len() - 1));
        }
        if let Some(circle) = graph::circle(&needs, *task, *depends_on) {
            return wrong(format!("each of these tasks would wait for the next: {}", graph::in_words(&circle)));
        }
        let needed: &mut Vec<usize> = needs.entry(*task).or_default();
        if needed.contains(depends_on) {
            return wrong("is there already".into());
        }
        needed.push(*depends_on);
    }
    Ok(())
}

async fn insert(ctx: &Ctx, tx: &mut Tx, tenant: TenantId, new: &NewGraph) -> Result<Vec<TaskView>> {
    let now = ctx.now();
    let mut ids: Vec<TaskId> = new.tasks.iter().map(|_| ctx.id(TaskId::mint)).collect();
    // Of one moment, and so listed in the order of their ids: let that be the order given.
    ids.sort_unstable();
    let mut views = Vec::with_capacity(ids.len());
    for (place, (id, task)) in ids.iter().zip(&new.tasks).enumerate() {
        store::insert(tx, tenant, *id, task, waits_for(new, place), now).await?;
        let task = super::load(tx, tenant, *id).await?;
        let payload = json!({ "title": task.title });
        tell(ctx, tx, kind::TASK_SUBMITTED, About::task(tenant, *id), Turn::Created(&task), &payload).await?;
        views.push(task.into_view(None));
    }
    for dependency in &new.dependencies {
        let view = DependencyView {
            id: ctx.id(DependencyId::mint),
            task_id: ids[dependency.task],
            depends_on_task_id: ids[dependency.depends_on],
            dependency_type: dependency.dependency_type,
            created_at: now,
        };
        dependencies::store::insert(tx, tenant, &view).await?;
        dependencies::tell_added(ctx, tx, tenant, &view).await?;
    }
    Ok(views)
}

/// How many of the others a task of the batch waits for: none of them is completed.
fn waits_for(new: &NewGraph, place: usize) -> i32 {
    let hard =
        |dependency: &&BatchDependency| dependency.task == place && dependency.dependency_type == DependencyType::Hard;
    i32::try_from(new.dependencies.iter().filter(hard).count()).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
