//! Checkpoints as the control plane knows them (rows FLY-034, FLY-035): which machine has which, what is in
//! them, which are pinned, and the tasks that begin from one.
//!
//! The bytes are on the machines' volumes, and nobody connects to a machine. A runner tells of what it saves and
//! names with each poll what it still has; a pin waits in the row until the runner has heard of it; and a task that
//! begins from a checkpoint goes to the machine that has it (`scheduler::plan`), as part of its lease.

mod disks;
mod plan;
pub(crate) mod store;

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};

use kernel::audit::{self, Change, Entity};
use kernel::outbox::About;
use kernel::{Ctx, Error, Reconciler, Result, Tx};
use pool::workers::Worker;
use serde_json::json;
use wire::checkpoint::{
    CheckpointDetail, CheckpointDiff, CheckpointView, FileChange, HeldCheckpoint, Restore, SavedCheckpoint,
};
use wire::event::kind;
use wire::id::{CheckpointId, MachineId, TaskId, TenantId};
use wire::limit::{
    CHECKPOINT_PATH_CHARS, CHECKPOINT_PATHS, CHECKPOINT_REFERENCES, CHECKPOINTS_PER_MACHINE, PINS_PER_MACHINE,
};
use wire::task::{TaskSpec, TaskStatus, TaskView};
use wire::worker::Instruction;

use crate::Scheduler;
use crate::executions::{self, Execution};
use crate::kept;
use crate::tasks::{self, Named, Task, Turn};

pub use disks::OnDisks;

/// The longest id of a commit, in hexadecimal digits.
const COMMIT_CHARS: usize = 64;

/// A checkpoint and what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) view: CheckpointView,
    pub(crate) changes: Vec<FileChange>,
}

/// Every checkpoint that a machine has, or those of one task's executions, the newest first.
pub async fn list(ctx: &Ctx, tenant: TenantId, task: Option<TaskId>) -> Result<Vec<CheckpointView>> {
    let mut tx = ctx.read("checkpoints.list").await?;
    match task {
        Some(task) => {
            tasks::load(&mut tx, tenant, task).await?;
            store::of_task(&mut tx, tenant, task).await
        }
        None => store::list(&mut tx, tenant).await,
    }
}

/// One checkpoint, with what differs in it from its commit.
pub async fn get(ctx: &Ctx, tenant: TenantId, id: CheckpointId) -> Result<CheckpointDetail> {
    let mut tx = ctx.read("checkpoints.get").await?;
    let Checkpoint { view, changes } = load(&mut tx, tenant, id).await?;
    let unnamed = (view.files + view.deleted).saturating_sub(changes.len() as u64);
    Ok(CheckpointDetail { checkpoint: view, changes, unnamed })
}

/// What differs between two checkpoints.
pub async fn diff(ctx: &Ctx, tenant: TenantId, from: CheckpointId, to: CheckpointId) -> Result<CheckpointDiff> {
    let mut tx = ctx.read("checkpoints.diff").await?;
    let (from, to) = (load(&mut tx, tenant, from).await?, load(&mut tx, tenant, to).await?);
    if from.view.repository != to.view.repository {
        return Err(Error::invalid(
            "other_id",
            "is a checkpoint of another repository; only those of one are compared",
        ));
    }
    Ok(plan::diff(&from, &to))
}

/// Keeps a checkpoint whatever else is saved on its machine, or no longer. Twice is no error.
#[tracing::instrument(skip_all, fields(checkpoint.id = %id))]
pub async fn pin(ctx: &Ctx, tenant: TenantId, id: CheckpointId, pinned: bool) -> Result<CheckpointView> {
    let mut tx = ctx.begin("checkpoints.pin").await?;
    let view = load(&mut tx, tenant, id).await?.view;
    if view.pinned == pinned {
        return Ok(view);
    }
    let view = set_pin(ctx, &mut tx, tenant, view, pinned).await?;
    tx.commit(view).await
}

async fn set_pin(
    ctx: &Ctx,
    tx: &mut Tx,
    tenant: TenantId,
    view: CheckpointView,
    pinned: bool,
) -> Result<CheckpointView> {
    if pinned && store::count_pinned(tx, view.machine_id).await? >= PINS_PER_MACHINE {
        let message = format!(
            "the machine has {PINS_PER_MACHINE} pinned checkpoints, as many as its volume is trusted with; unpin one"
        );
        return Err(Error::conflict("too_many_pins", message));
    }
    store::pin(tx, tenant, view.id, pinned).await?;
    let change = Change::between(&json!({ "pinned": view.pinned }), &json!({ "pinned": pinned }))?;
    let action = if pinned { "checkpoint.pinned" } else { "checkpoint.unpinned" };
    audit::write(ctx, tx, action, &Entity::new(tenant, "checkpoint", view.id), &change).await?;
    // The runner hears of it with the poll that it holds.
    tx.nudge(pool::WORKERS_NUDGE);
    let pin_is_heard = !view.pin_is_heard;
    Ok(CheckpointView { pinned, pin_is_heard, ..view })
}

/// Has a task's next attempt begin as a checkpoint left the workspace: one that has failed is ready again.
#[tracing::instrument(skip_all)]
pub async fn restore(ctx: &Ctx, tenant: TenantId, id: impl Named, restore: Restore) -> Result<TaskView> {
    let mut tx = ctx.begin("checkpoints.restore").await?;
    let task = tasks::load_locked(&mut tx, tenant, id).await?;
    let view = match restore.checkpoint_id {
        Some(id) => load(&mut tx, tenant, id).await?.view,
        None => {
            let newest = store::of_task(&mut tx, tenant, task.id).await?.into_iter().next();
            newest.ok_or(Error::NotFound { what: "checkpoint of this task" })?
        }
    };
    if !matches!(task.status, TaskStatus::Ready | TaskStatus::Failed) {
        let message = format!(
            "the task is {}; only one that is ready or has failed begins anew. A new task from the checkpoint: \
             bifrost checkpoints fork {}",
            task.status, view.id
        );
        return Err(Error::conflict("task_not_failed", message));
    }
    check_there(&mut tx, &view).await?;
    let Some(spec) = task.spec.clone() else {
        return Err(Error::conflict("nothing_to_run", "the task has no spec, so no machine carries it out"));
    };
    let spec = TaskSpec { checkpoint: Some(view.id), ..spec };
    check_repository(&view, &spec, "checkpoint_id")?;
    let view = if view.pinned { view } else { set_pin(ctx, &mut tx, tenant, view, true).await? };
    tasks::store::set_spec(&mut tx, &task, &spec, Some(view.machine_id)).await?;
    let changed = Task { spec: Some(spec), machine: Some(view.machine_id), ..task.clone() };
    let view = if task.status == TaskStatus::Failed {
        tasks::requeue(ctx, &mut tx, &task, changed, "restore").await?
    } else {
        let about = About::task(tenant, task.id);
        tasks::tell(ctx, &mut tx, kind::TASK_UPDATED, about, Turn::Changed(&task, &changed), &json!({})).await?;
        tasks::view(&mut tx, changed).await?
    };
    tx.nudge(Scheduler::NUDGE);
    tx.commit(view).await
}

/// A machine that is going takes its checkpoints with it, and no other has them.
async fn check_there(tx: &mut Tx, view: &CheckpointView) -> Result<()> {
    if pool::machines::stays(tx, view.machine_id).await? {
        return Ok(());
    }
    let message = format!(
        "the checkpoint {} is gone with its machine {}; begin from another one (`bifrost checkpoints list`), or from \
         the repository",
        view.id, view.machine_id
    );
    Err(Error::conflict("checkpoint_gone", message))
}

fn check_repository(view: &CheckpointView, spec: &TaskSpec, field: &'static str) -> Result<()> {
    if view.repository == spec.repository {
        return Ok(());
    }
    Err(Error::invalid(field, format!("is a checkpoint of {}, which is not the task's repository", view.repository)))
}

/// Binds a new task to the machine that has the checkpoint it begins from, which is kept for it, or that alone has the
/// commit that it asks for; gives the task as it is then.
pub(crate) async fn bind_new(tx: &mut Tx, task: Task) -> Result<Task> {
    let (tenant, id) = (task.tenant, task.id);
    let Some(spec) = &task.spec else { return Ok(task) };
    let Some(checkpoint) = spec.checkpoint else {
        let Some(machine) = kept::machine_with(tx, tenant, spec).await? else { return Ok(task) };
        tasks::store::set_spec(tx, &task, spec, Some(machine)).await?;
        return tasks::load(tx, tenant, id).await;
    };
    let found = store::get(tx, tenant, checkpoint).await?;
    let view = found.map(|found| found.view).ok_or_else(|| {
        Error::invalid("spec.checkpoint", "names no checkpoint that a machine has; see `bifrost checkpoints list`")
    })?;
    check_repository(&view, spec, "spec.checkpoint")?;
    check_there(tx, &view).await?;
    if !view.pinned && store::count_pinned(tx, view.machine_id).await? < PINS_PER_MACHINE {
        store::pin(tx, tenant, view.id, true).await?;
        tx.nudge(pool::WORKERS_NUDGE);
    }
    tasks::store::set_spec(tx, &task, spec, Some(view.machine_id)).await?;
    tasks::load(tx, tenant, id).await
}

/// Hears of a checkpoint that a runner has saved. Of executions that are not its own, or no longer known, nothing
/// is kept.
pub async fn tell(ctx: &Ctx, worker: &Worker, saved: SavedCheckpoint) -> Result<()> {
    let mut tx = ctx.begin("checkpoints.tell").await?;
    let execution = executions::store::of_worker(&mut tx, worker.id, saved.execution_id).await?;
    if let Some(execution) = execution {
        note(&mut tx, worker, &execution, saved).await?;
    }
    tx.commit(()).await
}

/// As [`tell`], of an execution that is known to be the worker's.
pub(crate) async fn note(tx: &mut Tx, worker: &Worker, execution: &Execution, saved: SavedCheckpoint) -> Result<()> {
    let Some(machine) = worker.machine_id.filter(|_| saved.execution_id == execution.id) else { return Ok(()) };
    let Some(task) = tasks::store::lock_any(tx, execution.task).await? else { return Ok(()) };
    let Some(spec) = task.spec else { return Ok(()) };
    if store::count_of_machine(tx, machine).await? >= i64::try_from(CHECKPOINTS_PER_MACHINE).unwrap_or(i64::MAX) {
        tracing::warn!(machine.id = %machine, "a machine tells of more checkpoints than are kept in mind");
        return Ok(());
    }
    let saved = bounded(saved);
    let view = CheckpointView {
        id: saved.id,
        task_id: execution.task,
        execution_id: execution.id,
        machine_id: machine,
        repository: spec.repository,
        commit: saved.commit,
        saved_at: saved.saved_at,
        files: saved.files,
        deleted: saved.deleted,
        stored_bytes: saved.stored_bytes,
        unpushed: saved.unpushed,
        pinned: false,
        pin_is_heard: true,
    };
    store::insert(tx, execution.tenant, &Checkpoint { view, changes: saved.changes }).await
}

/// A machine that has run a task is not trusted: what it tells is cut to what anybody should have to keep.
fn bounded(saved: SavedCheckpoint) -> SavedCheckpoint {
    let cut = |text: String, chars: usize| text.chars().filter(|c| *c != '\0').take(chars).collect::<String>();
    let change = |change: FileChange| FileChange {
        path: cut(change.path, CHECKPOINT_PATH_CHARS),
        digest: change.digest.map(|digest| cut(digest, COMMIT_CHARS)),
        ..change
    };
    let count = |count: u64| count.min(i64::MAX.unsigned_abs());
    let unpushed = saved.unpushed.into_iter().take(CHECKPOINT_REFERENCES);
    SavedCheckpoint {
        commit: cut(saved.commit, COMMIT_CHARS),
        files: count(saved.files),
        deleted: count(saved.deleted),
        stored_bytes: count(saved.stored_bytes),
        unpushed: unpushed.map(|name| cut(name, CHECKPOINT_PATH_CHARS)).collect(),
        changes: saved.changes.into_iter().take(CHECKPOINT_PATHS).map(change).collect(),
        ..saved
    }
}

/// Compares what a machine says it has with what is known of it: what was pruned there is forgotten here.
pub(crate) async fn held(tx: &mut Tx, worker: &Worker, held: &[HeldCheckpoint]) -> Result<()> {
    let Some(machine) = worker.machine_id else { return Ok(()) };
    if held.len() > CHECKPOINTS_PER_MACHINE {
        // A poll that is refused would keep the machine from all work; a list that is not believed keeps rows.
        tracing::warn!(machine.id = %machine, "a machine names more checkpoints than are kept in mind");
        return Ok(());
    }
    let known = store::of_machine(tx, machine).await?;
    let plan::Comparison { gone, heard } = plan::compare(&known, held);
    for id in gone {
        store::forget(tx, machine, id).await?;
    }
    for (id, pinned) in heard {
        store::hear(tx, machine, id, pinned).await?;
    }
    Ok(())
}

/// A pin that a machine has not heard of.
pub(crate) async fn unheard(tx: &mut Tx, worker: &Worker) -> Result<Option<Instruction>> {
    let Some(machine) = worker.machine_id else { return Ok(None) };
    let pin = store::unheard(tx, machine).await?;
    Ok(pin.map(|(checkpoint_id, pinned)| Instruction::Pin { checkpoint_id, pinned }))
}

async fn load(tx: &mut Tx, tenant: TenantId, id: CheckpointId) -> Result<Checkpoint> {
    store::get(tx, tenant, id).await?.ok_or(Error::NotFound { what: "checkpoint" })
}

/// Machines that alone have somebody's work: a checkpoint that is pinned, or that was saved since then with commits or
/// changes that were pushed nowhere; or that work itself, which outlives its checkpoint.
pub(crate) async fn machines_with_work(tx: &mut Tx, since: DateTime<Utc>) -> Result<BTreeSet<MachineId>> {
    let of_checkpoints = store::machines_with_work(tx, since).await?;
    Ok(of_checkpoints.into_iter().chain(kept::machines(tx, since).await?).collect())
}

/// Forgets the checkpoints of machines that are gone, or going, with their volumes, and what else those alone had.
#[derive(Debug, Clone, Copy)]
pub struct LostCheckpoints;

impl Reconciler for LostCheckpoints {
    const NAME: &'static str = pool::DISKS_NUDGE;
    const EVERY: Duration = Duration::from_secs(30);

    async fn tick(&self, ctx: &Ctx) -> Result<usize> {
        // In this order: a machine that has a checkpoint was there before.
        let mut tx = ctx.read("checkpoints.machines").await?;
        let mut known: BTreeSet<MachineId> = store::machines(&mut tx).await?.into_iter().collect();
        known.extend(kept::known_machines(&mut tx).await?);
        drop(tx);
        if known.is_empty() {
            return Ok(0);
        }
        let there = pool::machines::list(ctx).await?.into_iter();
        let there = there.filter(|machine| !pool::machines::is_going(machine.state));
        let there: BTreeSet<_> = there.map(|machine| machine.id).collect();
        let gone: Vec<_> = known.into_iter().filter(|machine| !there.contains(machine)).collect();
        if gone.is_empty() {
            return Ok(0);
        }
        let mut tx = ctx.begin("checkpoints.lost").await?;
        for machine in &gone {
            disks::forget(ctx, &mut tx, *machine).await?;
        }
        tx.commit(gone.len()).await
    }
}

#[cfg(test)]
pub(crate) mod tests;
