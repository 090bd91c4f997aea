//! Dependencies: one task needs another. A hard one blocks a task until what it
//! asks of the other is true: that it is completed, or has an outcome; a soft one is
//! shown only (gap G-14). Of those with the same group one suffices. There is never a circle.
//!
//! The ready set is kept, not computed: each task counts what it needs (hard) and
//! is not true, and the count changes in the transaction that adds or removes a
//! dependency, completes a task, sets or withdraws an outcome, or deletes a task. What
//! needs a task that has failed or was called off waits, and `why` says for what.
//!
//! Locks: a task that is needed before the tasks that need it, and the lock of the
//! tenant's graph, which all have to take who add to it, before both.

pub(crate) mod graph;
pub(crate) mod places;
pub(crate) mod store;

use std::collections::{BTreeSet, HashMap, HashSet};

use kernel::audit::{self, Change, Entity};
use kernel::idempotency::{self, Attempt};
use kernel::outbox::{self, About};
use kernel::{Ctx, Error, Result, Tx};
use serde_json::json;
use wire::dependency::{
    BlockingImpact, Blocks, DependencyGraph, DependencyType, DependencyView, GraphNode, NeededTask, NewDependency,
    Readiness,
};
use wire::event::kind;
use wire::id::{DependencyId, TaskId, TenantId};
use wire::outcome::{Condition, OutcomeName};
use wire::task::{TaskStatus, TaskView};

use crate::tasks::{self, Filter, Task};
use crate::{Scheduler, outcomes, split};

/// The most tasks that one graph shows.
const GRAPH_TASKS: i64 = 10_000;

/// A task of which another needs what is not true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unsatisfied {
    pub(crate) task: TaskId,
    pub(crate) title: String,
    pub(crate) status: TaskStatus,
    pub(crate) dependency_type: DependencyType,
    pub(crate) condition: Condition,
    pub(crate) group: Option<String>,
}

impl Unsatisfied {
    fn is_hard(&self) -> bool {
        self.dependency_type == DependencyType::Hard
    }
}

/// Makes a task need another (row CAIRN-17). What would close a circle is refused with its members.
#[tracing::instrument(skip_all, fields(task.id = %task))]
pub async fn add(
    ctx: &Ctx,
    tenant: TenantId,
    task: TaskId,
    new: NewDependency,
    attempt: Option<&Attempt>,
) -> Result<DependencyView> {
    let needed = new.depends_on_task_id;
    if task == needed {
        return Err(Error::invalid("depends_on_task_id", "is the task itself, which cannot wait for its own end"));
    }
    new.validate()?;
    let mut tx = ctx.begin("dependencies.add").await?;
    if let Some(first) = idempotency::replay_if(&mut tx, tenant, attempt).await? {
        return Ok(first);
    }
    take_graph(&mut tx, tenant).await?;
    tasks::load(&mut tx, tenant, task).await?;
    tasks::load(&mut tx, tenant, needed).await?;
    if let Some(there) = store::between(&mut tx, tenant, task, needed, &new.condition).await? {
        let message =
            format!("the task needs that of that one already ({}); remove it to change it", there.dependency_type);
        return Err(Error::conflict("dependency_exists", message));
    }
    if let Some(circle) = places::put_behind(&mut tx, tenant, task, needed).await? {
        return Err(refuse_circle(&mut tx, tenant, &circle).await?);
    }
    let needed_task = tasks::load_locked(&mut tx, tenant, needed).await?;
    tasks::load_locked(&mut tx, tenant, task).await?;
    let view = DependencyView {
        id: ctx.id(DependencyId::mint),
        task_id: task,
        depends_on_task_id: needed,
        dependency_type: new.dependency_type,
        satisfied: is_true(&mut tx, &needed_task, &new.condition).await?,
        condition: new.condition,
        group: new.group,
        created_at: ctx.now(),
    };
    link(ctx, &mut tx, tenant, &view).await?;
    // One of a group may be true already, and let the task start.
    tx.nudge(Scheduler::NUDGE);
    idempotency::remember_if(&mut tx, tenant, attempt, &view, ctx.now()).await?;
    tx.commit(view).await
}

/// Writes a dependency that closes no circle, of a task that is locked.
async fn link(ctx: &Ctx, tx: &mut Tx, tenant: TenantId, view: &DependencyView) -> Result<()> {
    store::insert(tx, tenant, view).await?;
    store::recount(tx, tenant, view.task_id).await?;
    tell_added(ctx, tx, tenant, view).await
}

/// Adds a dependency of or on a part of a task, while nobody else adds one.
pub(crate) async fn add_to_part(ctx: &Ctx, tx: &mut Tx, tenant: TenantId, view: &DependencyView) -> Result<()> {
    match places::put_behind(tx, tenant, view.task_id, view.depends_on_task_id).await? {
        Some(circle) => Err(refuse_circle(tx, tenant, &circle).await?),
        None => link(ctx, tx, tenant, view).await,
    }
}

/// Locks what a task needs; gives what it needs of them.
pub(crate) async fn lock_needed(tx: &mut Tx, tenant: TenantId, task: TaskId) -> Result<Vec<DependencyView>> {
    let seen = store::of_task(tx, tenant, task).await?;
    let needed: BTreeSet<TaskId> = seen.into_iter().map(|dependency| dependency.depends_on_task_id).collect();
    for id in needed {
        tasks::load_locked(tx, tenant, id).await?;
    }
    store::of_task(tx, tenant, task).await
}

/// Tells of a new dependency, in the record and in the audit.
pub(crate) async fn tell_added(ctx: &Ctx, tx: &mut Tx, tenant: TenantId, view: &DependencyView) -> Result<()> {
    outbox::push(ctx, tx, kind::DEPENDENCY_ADDED, About::task(tenant, view.task_id), view).await?;
    let dependency = Entity::new(tenant, "dependency", view.id);
    audit::write(ctx, tx, kind::DEPENDENCY_ADDED, &dependency, &Change::created(&audited(view))?).await
}

async fn tell_removed(ctx: &Ctx, tx: &mut Tx, tenant: TenantId, view: &DependencyView) -> Result<()> {
    outbox::push(ctx, tx, kind::DEPENDENCY_REMOVED, About::task(tenant, view.task_id), view).await?;
    let dependency = Entity::new(tenant, "dependency", view.id);
    audit::write(ctx, tx, kind::DEPENDENCY_REMOVED, &dependency, &Change::removed(&audited(view))?).await
}

fn audited(view: &DependencyView) -> serde_json::Value {
    json!({
        "task_id": view.task_id,
        "depends_on_task_id": view.depends_on_task_id,
        "dependency_type": view.dependency_type,
        "condition": view.condition,
        "group": view.group,
    })
}

/// Of two dependencies that close a circle together, neither would see the other: whoever adds one is alone.
pub(crate) async fn take_graph(tx: &mut Tx, tenant: TenantId) -> Result<()> {
    let bytes = tenant.uuid().into_bytes();
    // Any number that is the tenant's own and hardly another's.
    tx.alone(i64::from_le_bytes(*bytes.last_chunk().expect("an id has 16 bytes"))).await
}

/// The refusal of a circle, with the titles of its members.
async fn refuse_circle(tx: &mut Tx, tenant: TenantId, circle: &[TaskId]) -> Result<Error> {
    let [first, last] = graph::shown(circle);
    let titles = tasks::store::titles(tx, tenant, first.iter().chain(last)).await?;
    let named = graph::in_words(circle, |id| match titles.get(id) {
        Some(title) => format!("{id} ({title})"),
        None => id.to_string(),
    });
    Ok(Error::conflict("dependency_cycle", format!("each of these tasks would wait for the next: {named}")))
}

/// Whether what is asked of a task is true.
pub(crate) async fn is_true(tx: &mut Tx, task: &Task, condition: &Condition) -> Result<bool> {
    match condition {
        Condition::Completed => Ok(task.status == TaskStatus::Completed),
        Condition::Outcome(name) => Ok(outcomes::store::get(tx, task.tenant, task.id, name).await?.is_some()),
    }
}

/// What a task needs, each with the task (row CAIRN-18), oldest dependency first.
pub async fn of_task(ctx: &Ctx, tenant: TenantId, task: TaskId) -> Result<Vec<NeededTask>> {
    let mut tx = ctx.read("dependencies.of_task").await?;
    tasks::load(&mut tx, tenant, task).await?;
    let dependencies = store::of_task(&mut tx, tenant, task).await?;
    let needed = tasks::store::needed_by(&mut tx, tenant, task).await?;
    let views = tasks::views(&mut tx, tenant, needed).await?;
    let views: HashMap<TaskId, TaskView> = views.into_iter().map(|view| (view.id, view)).collect();
    let with_task = |dependency: DependencyView| {
        let depends_on_task = views.get(&dependency.depends_on_task_id)?.clone();
        Some(NeededTask { dependency, depends_on_task })
    };
    Ok(dependencies.into_iter().filter_map(with_task).collect())
}

/// Whether what a task needs lets it start, and what does not (row CAIRN-19).
pub async fn readiness(ctx: &Ctx, tenant: TenantId, id: TaskId) -> Result<Readiness> {
    let mut tx = ctx.read("dependencies.readiness").await?;
    let task = tasks::load(&mut tx, tenant, id).await?;
    let (hard, soft): (Vec<_>, Vec<_>) =
        store::unsatisfied(&mut tx, tenant, id).await?.into_iter().partition(Unsatisfied::is_hard);
    let ids = |unsatisfied: Vec<Unsatisfied>| {
        let mut seen = HashSet::new();
        unsatisfied.into_iter().map(|needed| needed.task).filter(|task| seen.insert(*task)).collect()
    };
    Ok(Readiness { task_id: id, ready: task.waits_for == 0, unsatisfied: ids(hard), unsatisfied_soft: ids(soft) })
}

/// The tasks that keep one from starting, for `why`.
pub(crate) async fn in_the_way(tx: &mut Tx, task: &Task) -> Result<Vec<Unsatisfied>> {
    let unsatisfied = store::unsatisfied(tx, task.tenant, task.id).await?;
    Ok(unsatisfied.into_iter().filter(Unsatisfied::is_hard).collect())
}

/// The tasks that need a task (hard), directly (row CAIRN-20).
pub async fn blocks(ctx: &Ctx, tenant: TenantId, id: TaskId) -> Result<Blocks> {
    let mut tx = ctx.read("dependencies.blocks").await?;
    tasks::load(&mut tx, tenant, id).await?;
    let blocked = tasks::store::blocked_by(&mut tx, tenant, id).await?;
    let tasks = tasks::views(&mut tx, tenant, blocked).await?;
    Ok(Blocks { task_id: id, count: tasks.len(), tasks })
}

/// The tasks that need a task (hard), directly or through others (row CAIRN-22).
pub async fn blocking_impact(ctx: &Ctx, tenant: TenantId, id: TaskId) -> Result<BlockingImpact> {
    let mut tx = ctx.read("dependencies.blocking_impact").await?;
    tasks::load(&mut tx, tenant, id).await?;
    let blocked = store::downstream(&mut tx, tenant, id).await?;
    Ok(BlockingImpact { task_id: id, blocking_count: blocked.len(), blocked_task_ids: blocked })
}

/// All tasks and what they need of each other (row CAIRN-23).
pub async fn graph(ctx: &Ctx, tenant: TenantId) -> Result<DependencyGraph> {
    let mut tx = ctx.read("dependencies.graph").await?;
    let tasks = tasks::store::list(&mut tx, tenant, &Filter::default(), GRAPH_TASKS, 0).await?;
    let total = tasks::store::count(&mut tx, tenant, &Filter::default(), GRAPH_TASKS + 1).await?;
    let edges = store::of_graph(&mut tx, tenant, GRAPH_TASKS).await?;
    let node = |task: Task| GraphNode { id: task.id, label: task.title, status: task.status, priority: task.priority };
    Ok(DependencyGraph { nodes: tasks.into_iter().map(node).collect(), edges, truncated: total > GRAPH_TASKS })
}

/// Takes a dependency back (row CAIRN-21).
#[tracing::instrument(skip_all, fields(task.id = %task))]
pub async fn remove(ctx: &Ctx, tenant: TenantId, task: TaskId, id: DependencyId) -> Result<()> {
    let missing = Error::NotFound { what: "dependency of this task" };
    let mut tx = ctx.begin("dependencies.remove").await?;
    let Some(view) = store::get(&mut tx, tenant, task, id).await? else { return Err(missing) };
    tasks::load_locked(&mut tx, tenant, view.depends_on_task_id).await?;
    tasks::load_locked(&mut tx, tenant, task).await?;
    if !store::delete(&mut tx, tenant, id).await? {
        return Err(missing);
    }
    store::recount(&mut tx, tenant, task).await?;
    split::settle_whole(ctx, &mut tx, tenant, task).await?;
    tell_removed(ctx, &mut tx, tenant, &view).await?;
    tx.nudge(Scheduler::NUDGE);
    tx.commit(()).await
}

/// Tasks were completed: what waits for that waits for so many less.
pub(crate) async fn satisfied(ctx: &Ctx, tx: &mut Tx, tasks: &[&Task]) -> Result<()> {
    if tasks.is_empty() {
        return Ok(());
    }
    // Most are needed by nobody, which one look tells of all.
    let needed = store::needed_of(tx, tasks).await?;
    for task in tasks.iter().filter(|task| needed.contains(&task.id)) {
        changed(ctx, tx, task, &Condition::Completed, true).await?;
        tx.nudge(Scheduler::NUDGE);
    }
    Ok(())
}

/// A task that is locked has an outcome from now on, or no longer.
pub(crate) async fn outcome_changed(
    ctx: &Ctx,
    tx: &mut Tx,
    task: &Task,
    name: OutcomeName,
    is_true: bool,
) -> Result<()> {
    changed(ctx, tx, task, &Condition::Outcome(name), is_true).await
}

async fn changed(ctx: &Ctx, tx: &mut Tx, task: &Task, condition: &Condition, is_true: bool) -> Result<()> {
    if store::lock_needing(tx, task.tenant, task.id).await? {
        store::change(tx, task.tenant, task.id, condition, is_true).await?;
        split::settle(ctx, tx, task).await?;
    }
    Ok(())
}

/// A task is about to be deleted: nothing needs it any longer, and it needs nothing.
pub(crate) async fn forget(ctx: &Ctx, tx: &mut Tx, task: &Task) -> Result<()> {
    store::lock_needing(tx, task.tenant, task.id).await?;
    let needing = store::needing(tx, task.tenant, task.id).await?;
    store::delete_of_task(tx, task.tenant, task.id).await?;
    for waiting in needing {
        store::recount(tx, task.tenant, waiting).await?;
        split::settle_whole(ctx, tx, task.tenant, waiting).await?;
    }
    places::store::delete(tx, task.tenant, task.id).await
}

#[cfg(test)]
pub(crate) mod tests;
