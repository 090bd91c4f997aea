//! SQL of checkpoints.

use chrono::{DateTime, Utc};
use kernel::{Result, Tx, execute, fetch_all, fetch_one, fetch_optional};
use sqlx::types::{Json, Uuid};
use wire::checkpoint::{CheckpointView, FileChange};
use wire::id::{CheckpointId, ExecutionId, MachineId, TaskId, TenantId};
use wire::limit::CHECKPOINTS_SHOWN;

use super::Checkpoint;

kernel::sql! {
    INSERT: "INSERT INTO checkpoints (id, tenant_id, task_id, execution_id, machine_id, repository, commit_sha, saved_at, \
                                      files, deleted, stored_bytes, unpushed, changes, pinned, pin_heard) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $14) ON CONFLICT (id) DO NOTHING";
    GET: "SELECT * FROM checkpoints WHERE tenant_id = $1 AND id = $2";
    LIST: "SELECT * FROM checkpoints WHERE tenant_id = $1 ORDER BY id DESC LIMIT $2";
    OF_TASK: "SELECT * FROM checkpoints WHERE tenant_id = $1 AND task_id = $2 ORDER BY id DESC LIMIT $3";
    OF_MACHINE: "SELECT id, pin_heard FROM checkpoints WHERE machine_id = $1 ORDER BY id";
    COUNT_OF_MACHINE: "SELECT count(*) FROM checkpoints WHERE machine_id = $1";
    COUNT_PINNED: "SELECT count(*) FROM checkpoints WHERE machine_id = $1 AND pinned = $2";
    PIN: "UPDATE checkpoints SET pinned = $3 WHERE tenant_id = $1 AND id = $2";
    HEAR: "UPDATE checkpoints SET pin_heard = $3 WHERE machine_id = $1 AND id = $2";
    UNHEARD: "SELECT id, pinned FROM checkpoints WHERE machine_id = $1 AND pinned <> pin_heard ORDER BY id LIMIT 1";
    FORGET: "DELETE FROM checkpoints WHERE machine_id = $1 AND id = $2";
    FORGET_MACHINE: "DELETE FROM checkpoints WHERE machine_id = $1 \
                     RETURNING id, tenant_id, task_id, execution_id, pinned, unpushed";
    MACHINES: "SELECT DISTINCT machine_id FROM checkpoints";
    MACHINES_WITH_WORK: "SELECT DISTINCT machine_id FROM checkpoints \
                         WHERE pinned OR (saved_at > $1 AND json_array_length(unpushed) > 0)",
        postgres "SELECT DISTINCT machine_id FROM checkpoints \
                  WHERE pinned OR (saved_at > $1 AND jsonb_array_length(unpushed) > 0)";
    COUNT_UNPUSHED: "SELECT count(*) FROM checkpoints \
                     WHERE machine_id = $1 AND saved_at > $2 AND json_array_length(unpushed) > 0",
        postgres "SELECT count(*) FROM checkpoints \
                  WHERE machine_id = $1 AND saved_at > $2 AND jsonb_array_length(unpushed) > 0";
    DELETE_OF_TASK: "DELETE FROM checkpoints WHERE tenant_id = $1 AND task_id = $2";
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    task_id: Uuid,
    execution_id: Uuid,
    machine_id: Uuid,
    repository: String,
    commit_sha: String,
    saved_at: DateTime<Utc>,
    files: i64,
    deleted: i64,
    stored_bytes: i64,
    unpushed: Json<Vec<String>>,
    changes: Json<Vec<FileChange>>,
    pinned: bool,
    pin_heard: bool,
}

impl From<Row> for Checkpoint {
    fn from(row: Row) -> Self {
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        let view = CheckpointView {
            id: row.id.into(),
            task_id: row.task_id.into(),
            execution_id: row.execution_id.into(),
            machine_id: row.machine_id.into(),
            repository: row.repository,
            commit: row.commit_sha,
            saved_at: row.saved_at,
            files: count(row.files),
            deleted: count(row.deleted),
            stored_bytes: count(row.stored_bytes),
            unpushed: row.unpushed.0,
            pinned: row.pinned,
            pin_is_heard: row.pinned == row.pin_heard,
        };
        Self { view, changes: row.changes.0 }
    }
}

fn views(rows: Vec<Row>) -> Vec<CheckpointView> {
    rows.into_iter().map(|row| Checkpoint::from(row).view).collect()
}

/// Writes a checkpoint down, once.
pub(super) async fn insert(tx: &mut Tx, tenant: TenantId, new: &Checkpoint) -> Result<()> {
    let view = &new.view;
    let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    execute!(
        tx,
        INSERT,
        view.id.uuid(),
        tenant.uuid(),
        view.task_id.uuid(),
        view.execution_id.uuid(),
        view.machine_id.uuid(),
        &view.repository,
        &view.commit,
        view.saved_at,
        count(view.files),
        count(view.deleted),
        count(view.stored_bytes),
        Json(&view.unpushed),
        Json(&new.changes),
        view.pinned
    )?;
    Ok(())
}

pub(super) async fn get(tx: &mut Tx, tenant: TenantId, id: CheckpointId) -> Result<Option<Checkpoint>> {
    Ok(fetch_optional!(tx, Row, GET, tenant.uuid(), id.uuid())?.map(Checkpoint::from))
}

/// The newest first.
pub(super) async fn list(tx: &mut Tx, tenant: TenantId) -> Result<Vec<CheckpointView>> {
    Ok(views(fetch_all!(tx, Row, LIST, tenant.uuid(), CHECKPOINTS_SHOWN)?))
}

/// Those of a task's executions, the newest first.
pub(super) async fn of_task(tx: &mut Tx, tenant: TenantId, task: TaskId) -> Result<Vec<CheckpointView>> {
    Ok(views(fetch_all!(tx, Row, OF_TASK, tenant.uuid(), task.uuid(), CHECKPOINTS_SHOWN)?))
}

/// Machines that have a pinned checkpoint, or one that was saved since then with work that was pushed nowhere.
pub(super) async fn machines_with_work(tx: &mut Tx, since: DateTime<Utc>) -> Result<Vec<MachineId>> {
    let rows = fetch_all!(tx, (Uuid,), MACHINES_WITH_WORK, since)?;
    Ok(rows.into_iter().map(|(id,)| id.into()).collect())
}

/// Those of a machine, with what it has heard of their pins.
pub(super) async fn of_machine(tx: &mut Tx, machine: MachineId) -> Result<Vec<(CheckpointId, bool)>> {
    let rows = fetch_all!(tx, (Uuid, bool), OF_MACHINE, machine.uuid())?;
    Ok(rows.into_iter().map(|(id, heard)| (id.into(), heard)).collect())
}

pub(super) async fn count_of_machine(tx: &mut Tx, machine: MachineId) -> Result<i64> {
    Ok(fetch_one!(tx, (i64,), COUNT_OF_MACHINE, machine.uuid())?.0)
}

pub(super) async fn count_pinned(tx: &mut Tx, machine: MachineId) -> Result<i64> {
    Ok(fetch_one!(tx, (i64,), COUNT_PINNED, machine.uuid(), true)?.0)
}

/// Those of a machine that were saved since then with work that was pushed nowhere.
pub(super) async fn count_unpushed(tx: &mut Tx, machine: MachineId, since: DateTime<Utc>) -> Result<i64> {
    Ok(fetch_one!(tx, (i64,), COUNT_UNPUSHED, machine.uuid(), since)?.0)
}

pub(super) async fn pin(tx: &mut Tx, tenant: TenantId, id: CheckpointId, pinned: bool) -> Result<()> {
    execute!(tx, PIN, tenant.uuid(), id.uuid(), pinned)?;
    Ok(())
}

/// Notes what a machine has heard.
pub(super) async fn hear(tx: &mut Tx, machine: MachineId, id: CheckpointId, pinned: bool) -> Result<()> {
    execute!(tx, HEAR, machine.uuid(), id.uuid(), pinned)?;
    Ok(())
}

/// A pin that a machine has not heard of.
pub(super) async fn unheard(tx: &mut Tx, machine: MachineId) -> Result<Option<(CheckpointId, bool)>> {
    let row = fetch_optional!(tx, (Uuid, bool), UNHEARD, machine.uuid())?;
    Ok(row.map(|(id, pinned)| (id.into(), pinned)))
}

pub(super) async fn forget(tx: &mut Tx, machine: MachineId, id: CheckpointId) -> Result<()> {
    execute!(tx, FORGET, machine.uuid(), id.uuid())?;
    Ok(())
}

/// A checkpoint that was forgotten, as far as somebody may miss it.
pub(super) struct Forgotten {
    pub(super) id: CheckpointId,
    pub(super) tenant: TenantId,
    pub(super) task: TaskId,
    pub(super) execution: ExecutionId,
    pub(super) pinned: bool,
    pub(super) unpushed: Vec<String>,
}

pub(super) async fn forget_machine(tx: &mut Tx, machine: MachineId) -> Result<Vec<Forgotten>> {
    let rows = fetch_all!(tx, (Uuid, Uuid, Uuid, Uuid, bool, Json<Vec<String>>), FORGET_MACHINE, machine.uuid())?;
    let forgotten = rows.into_iter().map(|(id, tenant, task, execution, pinned, Json(unpushed))| Forgotten {
        id: id.into(),
        tenant: tenant.into(),
        task: task.into(),
        execution: execution.into(),
        pinned,
        unpushed,
    });
    Ok(forgotten.collect())
}

/// Every machine that is noted to have a checkpoint.
pub(super) async fn machines(tx: &mut Tx) -> Result<Vec<MachineId>> {
    Ok(fetch_all!(tx, (Uuid,), MACHINES)?.into_iter().map(|(id,)| id.into()).collect())
}

pub(crate) async fn delete_of_task(tx: &mut Tx, tenant: TenantId, task: TaskId) -> Result<()> {
    execute!(tx, DELETE_OF_TASK, tenant.uuid(), task.uuid())?;
    Ok(())
}
