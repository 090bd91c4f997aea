//! Many tasks from a file (rows CAIRN-15, CAIRN-17): up to ten thousand, with what they
//! need of each other and of what is there, all or none; and the way back into a file.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use kernel::audit::{self, Change, Entity};
use kernel::idempotency::{self, Attempt};
use kernel::outbox::About;
use kernel::{Ctx, Error, Result, Tx};
use serde_json::json;
use wire::admission::is_own_key;
use wire::dependency::{DependencyType, DependencyView};
use wire::event::kind;
use wire::id::{DependencyId, MetadataId, TaskId, TenantId};
use wire::import::{Imported, ImportedId, ImportedTask, Need};
use wire::limit::{TASKS_PER_BATCH, TASKS_PER_IMPORT};
use wire::metadata::{ASSIGNED_WORKER_KEY, TAGS_KEY};
use wire::outcome::{Condition, OutcomeView};
use wire::task::{NewTask, TaskStatus};

use super::tell::{Turn, tell};
use super::{refuse_local, store};
use crate::dependencies::{self, graph};
use crate::{Scheduler, Settings, checkpoints, metadata, outcomes};

/// A task with the number of its line.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Line {
    /// From 1, as editors count.
    pub number: usize,
    /// What it says.
    pub task: ImportedTask,
}

/// What a line needs, with the names resolved.
#[derive(Debug, Clone)]
pub(crate) struct CheckedNeed {
    pub(crate) task: usize,
    pub(crate) on: On,
    pub(crate) how: Need,
}

/// What is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum On {
    /// Another line, by its place.
    Line(usize),
    /// A task that is there already.
    Stored(TaskId),
}

/// Lines that are well in themselves.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) needs: Vec<CheckedNeed>,
}

/// Refuses what is out of bounds, names that nobody has, and circles. `name` says how a line is called.
pub(crate) fn check(settings: &Settings, tasks: &[ImportedTask], name: &dyn Fn(usize) -> String) -> Result<Checked> {
    let wrong = |at: usize, field: &str, message: String| Error::invalid(format!("{}.{field}", name(at)), message);
    let mut keys: HashMap<&str, usize> = HashMap::new();
    for (at, task) in tasks.iter().enumerate() {
        task.validate().map_err(|error| wrong(at, error.field, error.message))?;
        refuse_local(settings, task.spec.as_ref()).map_err(|error| match error {
            Error::Invalid { field, message } => wrong(at, &field, message),
            other => other,
        })?;
        if let Some(key) = &task.key
            && let Some(other) = keys.insert(key, at)
        {
            return Err(wrong(at, "key", format!("is {key:?}, which is that of {} already", name(other))));
        }
    }
    let (mut needs, mut seen) = (Vec::new(), HashSet::new());
    for (at, task) in tasks.iter().enumerate() {
        for how in &task.needs {
            let on = match keys.get(how.key.as_str()) {
                Some(on) => On::Line(*on),
                None => how.key.parse().map(On::Stored).map_err(|_| {
                    wrong(at, "needs", format!("names {:?}, which is no other line's key and no task's id", how.key))
                })?,
            };
            if !seen.insert((at, on, &how.condition)) {
                return Err(wrong(at, "needs", format!("names {:?} twice", how.key)));
            }
            needs.push(CheckedNeed { task: at, on, how: how.clone() });
        }
    }
    refuse_circle(&needs, tasks, name)?;
    Ok(Checked { needs })
}

/// Refuses lines that would wait for each other, naming them in order.
pub(crate) fn refuse_circle(
    needs: &[CheckedNeed],
    tasks: &[ImportedTask],
    name: &dyn Fn(usize) -> String,
) -> Result<()> {
    let Some(circle) = graph::any_circle(&among_lines(needs)) else { return Ok(()) };
    let called = |at: &usize| {
        let ImportedTask { key, title, .. } = &tasks[*at];
        format!("{} ({title})", key.clone().unwrap_or_else(|| name(*at)))
    };
    let circle_in_words = graph::in_words(&circle, called);
    let message = format!("each of these tasks would wait for the next: {circle_in_words}");
    Err(Error::invalid(format!("{}.needs", name(circle[0])), message))
}

fn among_lines(needs: &[CheckedNeed]) -> graph::Needs<usize> {
    let mut among = graph::Needs::new();
    for need in needs {
        if let On::Line(on) = need.on {
            among.entry(need.task).or_insert_with(Vec::new).push(on);
        }
    }
    among
}

/// Whether a condition holds of a line as soon as it is a task.
pub(crate) fn is_true(task: &ImportedTask, condition: &Condition) -> bool {
    match condition {
        Condition::Completed => task.stands() == TaskStatus::Completed,
        Condition::Outcome(name) => task.outcomes.contains(name),
    }
}

/// Stores every line as a task, or none. The same attempt again gives the first answer.
#[tracing::instrument(skip_all)]
pub async fn import(
    ctx: &Ctx,
    settings: &Settings,
    tenant: TenantId,
    lines: Vec<Line>,
    attempt: Option<&Attempt>,
) -> Result<Imported> {
    if lines.is_empty() || lines.len() > TASKS_PER_IMPORT {
        let message = format!("must be 1 to {TASKS_PER_IMPORT}, and these are {}", lines.len());
        return Err(Error::invalid("lines", message));
    }
    let (numbers, mut tasks): (Vec<usize>, Vec<ImportedTask>) =
        lines.into_iter().map(|line| (line.number, line.task)).unzip();
    let name = |at: usize| format!("lines[{}]", numbers[at]);
    let Checked { needs } = check(settings, &tasks, &name)?;
    let mut tx = ctx.begin("tasks.import").await?;
    if let Some(attempt) = attempt
        && let Some(first) = idempotency::replay(&mut tx, tenant, attempt).await?
    {
        return Ok(first);
    }
    dependencies::take_graph(&mut tx, tenant).await?;
    let stored = stored_needs(&mut tx, tenant, &needs, &name).await?;
    for (at, task) in tasks.iter_mut().enumerate() {
        match task.status {
            None | Some(TaskStatus::Ready) => {
                super::refuse_past(&format!("{}.deadline", name(at)), task.deadline, ctx.now())?;
            }
            // It was begun in time, and would fail at once now that nobody has it.
            Some(TaskStatus::Assigned | TaskStatus::InProgress) => {
                task.deadline = task.deadline.filter(|deadline| *deadline > ctx.now());
            }
            Some(TaskStatus::Completed | TaskStatus::Failed | TaskStatus::Split | TaskStatus::Cancelled) => (),
        }
    }
    let imported = insert(ctx, &mut tx, tenant, &tasks, &needs, &stored).await?;
    if let Some(attempt) = attempt {
        idempotency::remember(&mut tx, tenant, attempt, &imported, ctx.now()).await?;
    }
    tx.nudge(Scheduler::NUDGE);
    metrics::counter!("tasks_submitted_total").increment(imported.tasks.len() as u64);
    tx.commit(imported).await
}

/// What is true of the tasks that are there already and needed, each locked.
async fn stored_needs(
    tx: &mut Tx,
    tenant: TenantId,
    needs: &[CheckedNeed],
    name: &(dyn Fn(usize) -> String + Sync),
) -> Result<HashSet<(TaskId, Condition)>> {
    let mut asked: BTreeMap<TaskId, (usize, BTreeSet<&Condition>)> = BTreeMap::new();
    for need in needs {
        if let On::Stored(id) = need.on {
            asked.entry(id).or_insert((need.task, BTreeSet::new())).1.insert(&need.how.condition);
        }
    }
    let mut found = HashSet::new();
    for (id, (line, conditions)) in asked {
        let task = store::lock(tx, tenant, id).await?;
        let missing = || Error::invalid(format!("{}.needs", name(line)), format!("names {id}, which is no task"));
        let task = task.ok_or_else(missing)?;
        for condition in conditions {
            if dependencies::is_true(tx, &task, condition).await? {
                found.insert((id, condition.clone()));
            }
        }
    }
    Ok(found)
}

/// Stores tasks that need nothing; gives their ids in the order given.
pub(crate) async fn insert_alone(
    ctx: &Ctx,
    tx: &mut Tx,
    tenant: TenantId,
    tasks: &[ImportedTask],
) -> Result<Vec<TaskId>> {
    let imported = insert(ctx, tx, tenant, tasks, &[], &HashSet::new()).await?;
    Ok(imported.tasks.into_iter().map(|one| one.id).collect())
}

async fn insert(
    ctx: &Ctx,
    tx: &mut Tx,
    tenant: TenantId,
    tasks: &[ImportedTask],
    needs: &[CheckedNeed],
    stored: &HashSet<(TaskId, Condition)>,
) -> Result<Imported> {
    let now = ctx.now();
    let mut ids: Vec<TaskId> = tasks.iter().map(|_| ctx.id(TaskId::mint)).collect();
    // Of one moment, and so listed in the order of their ids: let that be the order given.
    ids.sort_unstable();
    let mut of_task: Vec<Vec<DependencyView>> = vec![Vec::new(); tasks.len()];
    for need in needs {
        let (depends_on_task_id, satisfied) = match need.on {
            On::Line(on) => (ids[on], is_true(&tasks[on], &need.how.condition)),
            On::Stored(id) => (id, stored.contains(&(id, need.how.condition.clone()))),
        };
        of_task[need.task].push(DependencyView {
            id: ctx.id(DependencyId::mint),
            task_id: ids[need.task],
            depends_on_task_id,
            dependency_type: need.how.dependency_type,
            condition: need.how.condition.clone(),
            group: need.how.group.clone(),
            satisfied,
            created_at: now,
        });
    }
    let new: Vec<NewTask> = tasks.iter().map(ImportedTask::task).collect();
    let fresh = ids.iter().zip(&new).zip(&of_task).map(|((id, task), dependencies)| {
        let hard = dependencies.iter().filter(|needed| needed.dependency_type == DependencyType::Hard);
        let waits_for = graph::waits_for(hard.map(|needed| (needed.group.as_deref(), needed.satisfied)));
        store::Fresh { id: *id, task, waits_for }
    });
    let fresh: Vec<store::Fresh<'_>> = fresh.collect();
    let mut inserted = Vec::with_capacity(fresh.len());
    for some in fresh.chunks(TASKS_PER_BATCH) {
        inserted.extend(store::insert_all(tx, tenant, some, now).await?);
    }
    for ((task, line), dependencies) in inserted.into_iter().zip(tasks).zip(&of_task) {
        let mut task = checkpoints::bind_new(tx, task).await?;
        if line.stands() != TaskStatus::Ready {
            store::set_status(tx, task.id, TaskStatus::Ready, line.stands(), now).await?;
            task = super::load(tx, tenant, task.id).await?;
        }
        beside(ctx, tx, tenant, task.id, line).await?;
        let payload = json!({ "title": task.title, "needs": dependencies });
        tell(ctx, tx, kind::TASK_SUBMITTED, About::task(tenant, task.id), Turn::Created(&task), &payload).await?;
    }
    let dependencies: Vec<DependencyView> = of_task.into_iter().flatten().collect();
    if !dependencies.is_empty() {
        let mut ordered: Vec<TaskId> = graph::in_order(&among_lines(needs)).into_iter().map(|at| ids[at]).collect();
        let placed: HashSet<TaskId> = ordered.iter().copied().collect();
        // Those that need only what is there already.
        let rest: BTreeSet<TaskId> =
            dependencies.iter().map(|view| view.task_id).filter(|id| !placed.contains(id)).collect();
        ordered.splice(0..0, rest);
        let there = dependencies.iter().map(|view| view.depends_on_task_id).filter(|id| !placed.contains(id));
        dependencies::places::ensure(tx, tenant, there.collect()).await?;
        dependencies::places::append(tx, tenant, &ordered).await?;
        dependencies::store::insert_all(tx, tenant, &dependencies).await?;
        tell_needs(ctx, tx, tenant, &dependencies).await?;
    }
    let of_line = |(line, id): (&ImportedTask, &TaskId)| ImportedId { key: line.key.clone(), id: *id };
    Ok(Imported { dependencies: dependencies.len(), tasks: tasks.iter().zip(&ids).map(of_line).collect() })
}

/// What stands beside a task. Its own events would say no more than that it was imported.
async fn beside(ctx: &Ctx, tx: &mut Tx, tenant: TenantId, id: TaskId, line: &ImportedTask) -> Result<()> {
    let now = ctx.now();
    for (key, value) in &line.metadata {
        metadata::store::set(tx, tenant, id, (ctx.id(MetadataId::mint), now), key, value).await?;
    }
    if !line.tags.is_empty() {
        let tags: BTreeSet<&String> = line.tags.iter().collect();
        let value = serde_json::to_string(&tags).map_err(|error| Error::Internal(error.into()))?;
        metadata::store::set(tx, tenant, id, (ctx.id(MetadataId::mint), now), TAGS_KEY, &value).await?;
    }
    for name in &line.outcomes {
        let view = OutcomeView { task_id: id, name: name.clone(), detail: None, created_at: now };
        outcomes::store::set(tx, tenant, &view).await?;
    }
    Ok(())
}

/// One row of the audit for each task that needs others; the record has them with the task.
async fn tell_needs(ctx: &Ctx, tx: &mut Tx, tenant: TenantId, dependencies: &[DependencyView]) -> Result<()> {
    for of_task in dependencies.chunk_by(|one, next| one.task_id == next.task_id) {
        let needs: Vec<_> = of_task.iter().map(|view| json!([view.depends_on_task_id, view.condition])).collect();
        let change = Change::created(&json!({ "needs": needs }))?;
        let task = Entity::new(tenant, "task", of_task[0].task_id);
        audit::write(ctx, tx, kind::DEPENDENCY_ADDED, &task, &change).await?;
    }
    Ok(())
}

/// Tasks as lines that an import takes, in the order of their ids, behind the given one; each with its id as its key.
pub async fn export(ctx: &Ctx, tenant: TenantId, after: Option<TaskId>, limit: i64) -> Result<Vec<ImportedTask>> {
    let mut tx = ctx.read("tasks.export").await?;
    let tasks = store::by_id(&mut tx, tenant, after, limit).await?;
    let ids: Vec<TaskId> = tasks.iter().map(|task| task.id).collect();
    let mut metadata = metadata::store::of_tasks(&mut tx, tenant, &ids).await?;
    let mut needs: HashMap<TaskId, Vec<Need>> = HashMap::new();
    for view in dependencies::store::of_tasks(&mut tx, tenant, &ids).await? {
        let DependencyView { dependency_type, condition, group, .. } = view;
        let need = Need { key: view.depends_on_task_id.to_string(), dependency_type, condition, group };
        needs.entry(view.task_id).or_default().push(need);
    }
    let mut of_task: HashMap<TaskId, Vec<_>> = HashMap::new();
    for outcome in outcomes::store::of_tasks(&mut tx, tenant, &ids).await? {
        of_task.entry(outcome.task_id).or_default().push(outcome.name);
    }
    let line = |task: super::Task| {
        let mut metadata = metadata.remove(&task.id).unwrap_or_default();
        // Who had it is nobody's business elsewhere.
        metadata.remove(ASSIGNED_WORKER_KEY);
        let tags = metadata.remove(TAGS_KEY).and_then(|tags| serde_json::from_str(&tags).ok()).unwrap_or_default();
        ImportedTask {
            key: Some(task.id.to_string()),
            budget: task.budget_limits(),
            // An older version kept several lines.
            title: task.title.replace(char::is_control, " "),
            description: task.description,
            status: Some(task.status),
            priority: task.priority,
            effort_estimate: task.effort_estimate,
            spec: task.spec,
            project: task.project,
            keys: task.keys.into_iter().filter(|key| !is_own_key(key)).collect(),
            not_before: task.not_before,
            deadline: task.deadline,
            needs: needs.remove(&task.id).unwrap_or_default(),
            tags,
            outcomes: of_task.remove(&task.id).unwrap_or_default(),
            metadata,
        }
    };
    Ok(tasks.into_iter().map(line).collect())
}

#[cfg(test)]
mod tests;
