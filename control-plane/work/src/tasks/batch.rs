//! Many tasks at once (row CAIRN-15): all of them, with what they need of each
//! other, or none.

use std::collections::HashSet;

use kernel::idempotency::{self, Attempt};
use kernel::outbox::About;
use kernel::{Ctx, Error, Result, Tx};
use serde_json::json;
use wire::batch::{BatchDependency, NewGraph};
use wire::dependency::{DependencyType, DependencyView};
use wire::event::kind;
use wire::id::{DependencyId, TaskId, TenantId};
use wire::limit::{DEPENDENCIES_PER_BATCH, TASKS_PER_BATCH};
use wire::task::{NewTask, TaskView};

use super::{Turn, refuse_local, store, tell};
use crate::dependencies::{self, graph};
use crate::{Scheduler, Settings, checkpoints};

/// Submits tasks in the order given. The same attempt again gives the first answer.
#[tracing::instrument(skip_all)]
pub async fn submit(
    ctx: &Ctx,
    settings: &Settings,
    tenant: TenantId,
    new: NewGraph,
    attempt: Option<&Attempt>,
) -> Result<Vec<TaskView>> {
    check(settings, &new)?;
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

fn check(settings: &Settings, new: &NewGraph) -> Result<()> {
    if new.tasks.is_empty() || new.tasks.len() > TASKS_PER_BATCH {
        let message = format!("must be 1 to {TASKS_PER_BATCH} tasks, and these are {}", new.tasks.len());
        return Err(Error::invalid("tasks", message));
    }
    check_tasks(settings, "tasks", &new.tasks)?;
    if new.dependencies.len() > DEPENDENCIES_PER_BATCH {
        return Err(Error::invalid("dependencies", format!("must be at most {DEPENDENCIES_PER_BATCH}")));
    }
    for (number, dependency) in new.dependencies.iter().enumerate() {
        let checked = dependency.validate();
        checked.map_err(|error| Error::invalid(format!("dependencies[{number}].{}", error.field), error.message))?;
    }
    let needs = new.dependencies.iter().enumerate();
    let needs = needs.map(|(number, one)| (format!("dependencies[{number}]"), one));
    check_dependencies(&new.tasks, needs)
}

/// Refuses tasks of a list that break a bound, naming the place and the field.
pub(crate) fn check_tasks(settings: &Settings, list: &str, tasks: &[NewTask]) -> Result<()> {
    for (place, task) in tasks.iter().enumerate() {
        let checked = task.validate().map_err(Error::from).and_then(|()| refuse_local(settings, task.spec.as_ref()));
        checked.map_err(|error| match error {
            Error::Invalid { field, message } => Error::invalid(format!("{list}[{place}].{field}"), message),
            other => other,
        })?;
    }
    Ok(())
}

/// Refuses dependencies between tasks of a list that name no task of it, are there twice, or close a circle; each
/// goes with the field that it was in.
pub(crate) fn check_dependencies<'a>(
    tasks: &[NewTask],
    dependencies: impl Iterator<Item = (String, &'a BatchDependency)>,
) -> Result<()> {
    let (mut needs, mut seen) = (graph::Needs::new(), HashSet::new());
    let called = |place: &usize| format!("{place} ({})", tasks[*place].title);
    for (field, dependency) in dependencies {
        let BatchDependency { task, depends_on, condition, .. } = dependency;
        let wrong = |message: String| Err(Error::invalid(field, message));
        if let Some(place) = [task, depends_on].into_iter().find(|place| **place >= tasks.len()) {
            return wrong(format!("names the task {place}, and the last one is {}", tasks.len() - 1));
        }
        if let Some(circle) = graph::circle(&needs, *task, *depends_on) {
            return wrong(format!("each of these tasks would wait for the next: {}", graph::in_words(&circle, called)));
        }
        if !seen.insert((task, depends_on, condition)) {
            return wrong("is there already".into());
        }
        needs.entry(*task).or_default().push(*depends_on);
    }
    Ok(())
}

/// Writes tasks and what they need of each other, in the order given.
pub(crate) async fn insert(ctx: &Ctx, tx: &mut Tx, tenant: TenantId, new: &NewGraph) -> Result<Vec<TaskView>> {
    let now = ctx.now();
    let mut ids: Vec<TaskId> = new.tasks.iter().map(|_| ctx.id(TaskId::mint)).collect();
    // Of one moment, and so listed in the order of their ids: let that be the order given.
    ids.sort_unstable();
    let mut fresh = Vec::with_capacity(ids.len());
    for (place, (id, task)) in ids.iter().zip(&new.tasks).enumerate() {
        super::refuse_past(&format!("tasks[{place}].deadline"), task.deadline, now)?;
        fresh.push(store::Fresh { id: *id, task, waits_for: waits_for(new, place) });
    }
    let mut views = Vec::with_capacity(ids.len());
    for task in store::insert_all(tx, tenant, &fresh, now).await? {
        let task = checkpoints::bind_new(tx, task).await?;
        let payload = json!({ "title": task.title });
        tell(ctx, tx, kind::TASK_SUBMITTED, About::task(tenant, task.id), Turn::Created(&task), &payload).await?;
        views.push(task.into_view(None));
    }
    if !new.dependencies.is_empty() {
        dependencies::take_graph(tx, tenant).await?;
        let ordered: Vec<TaskId> = graph::in_order(&needs_of(new)).into_iter().map(|place| ids[place]).collect();
        dependencies::places::append(tx, tenant, &ordered).await?;
    }
    for dependency in &new.dependencies {
        let view = DependencyView {
            id: ctx.id(DependencyId::mint),
            task_id: ids[dependency.task],
            depends_on_task_id: ids[dependency.depends_on],
            dependency_type: dependency.dependency_type,
            condition: dependency.condition.clone(),
            group: dependency.group.clone(),
            satisfied: false,
            created_at: now,
        };
        dependencies::store::insert(tx, tenant, &view).await?;
        dependencies::tell_added(ctx, tx, tenant, &view).await?;
    }
    Ok(views)
}

/// What needs what, by their places in the batch.
fn needs_of(new: &NewGraph) -> graph::Needs<usize> {
    let mut needs = graph::Needs::new();
    for dependency in &new.dependencies {
        needs.entry(dependency.task).or_insert_with(Vec::new).push(dependency.depends_on);
    }
    needs
}

/// How many things a task of the batch waits for: none of them is true of a new task.
fn waits_for(new: &NewGraph, place: usize) -> i32 {
    let hard =
        |dependency: &&BatchDependency| dependency.task == place && dependency.dependency_type == DependencyType::Hard;
    graph::waits_for(new.dependencies.iter().filter(hard).map(|dependency| (dependency.group.as_deref(), false)))
}

#[cfg(test)]
mod tests;
