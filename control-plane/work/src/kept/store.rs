//! SQL of the work that machines alone have.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use kernel::{Result, Tx, execute, fetch_all, fetch_one, fetch_optional};
use sqlx::types::Uuid;
use wire::checkpoint::{KeptWork, KeptWorkView};
use wire::id::{ExecutionId, MachineId, TaskId, TenantId};
use wire::limit::KEPT_SHOWN;
use wire::worker::repository_name;

use super::Gone;

kernel::sql! {
    LIST: "SELECT k.machine_id, e.task_id, k.execution_id, k.repository, k.reference, k.commit_sha, \
                  t.spec ->> 'repository' AS url \
           FROM kept_work k JOIN executions e ON e.id = k.execution_id \
           LEFT JOIN tasks t ON t.id = e.task_id WHERE e.tenant_id = $1 \
           ORDER BY k.execution_id DESC, k.repository, k.reference LIMIT $2";
    OF_MACHINE: "SELECT execution_id, repository, reference, commit_sha FROM kept_work WHERE machine_id = $1";
    INSERT: "INSERT INTO kept_work (machine_id, execution_id, repository, reference, commit_sha) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
    INSERT_UNSAVED: "INSERT INTO kept_work (machine_id, execution_id, repository, reference, commit_sha) \
                     SELECT $1, $2, $3, $4, $5 \
                     WHERE NOT EXISTS (SELECT 1 FROM checkpoints WHERE task_id = $6 AND execution_id = $2) \
                     ON CONFLICT DO NOTHING";
    COUNT_UNSAVED: "SELECT count(*) FROM kept_work k JOIN executions e ON e.id = k.execution_id \
                    WHERE k.machine_id = $1 AND k.execution_id > $2 AND k.reference LIKE 'workspaces/%'";
    OF_TASKS: "SELECT e.tenant_id, e.task_id, k.execution_id, k.reference \
               FROM kept_work k JOIN executions e ON e.id = k.execution_id WHERE k.machine_id = $1 \
               ORDER BY k.execution_id, k.repository, k.reference";
    FORGET: "DELETE FROM kept_work WHERE machine_id = $1 AND repository = $2 AND reference = $3";
    FORGET_MACHINE: "DELETE FROM kept_work WHERE machine_id = $1";
    MACHINE_WITH: "SELECT k.machine_id FROM kept_work k JOIN executions e ON e.id = k.execution_id \
                   WHERE e.tenant_id = $1 AND k.repository = $2 AND k.commit_sha = $3 AND k.reference LIKE 'refs/%' \
                   ORDER BY k.execution_id DESC LIMIT 1";
    MACHINES: "SELECT DISTINCT k.machine_id FROM kept_work k JOIN executions e ON e.id = k.execution_id \
               WHERE k.execution_id > $1";
    KNOWN_MACHINES: "SELECT DISTINCT machine_id FROM kept_work";
}

#[derive(sqlx::FromRow)]
struct Row {
    execution_id: Uuid,
    repository: String,
    reference: String,
    commit_sha: String,
}

impl From<Row> for KeptWork {
    fn from(row: Row) -> Self {
        Self {
            execution_id: row.execution_id.into(),
            repository: row.repository,
            reference: row.reference,
            commit: row.commit_sha,
        }
    }
}

#[derive(sqlx::FromRow)]
struct ViewRow {
    machine_id: Uuid,
    task_id: Uuid,
    #[sqlx(flatten)]
    work: Row,
    url: Option<String>,
}

impl From<ViewRow> for KeptWorkView {
    fn from(row: ViewRow) -> Self {
        let work = KeptWork::from(row.work);
        let began_at = work.execution_id.minted_at();
        // It may be another one's, which was made for the task's: a submodule's.
        let is_of_it = |url: &String| work.repository == KeptWork::UNKNOWN || repository_name(url) == work.repository;
        let url = row.url.filter(is_of_it);
        Self { machine_id: row.machine_id.into(), task_id: row.task_id.into(), work, url, began_at }
    }
}

#[derive(sqlx::FromRow)]
struct GoneRow {
    tenant_id: Uuid,
    task_id: Uuid,
    execution_id: Uuid,
    reference: String,
}

impl From<GoneRow> for Gone {
    fn from(row: GoneRow) -> Self {
        Self {
            tenant: row.tenant_id.into(),
            task: row.task_id.into(),
            execution: row.execution_id.into(),
            reference: row.reference,
        }
    }
}

/// The newest first.
pub(super) async fn list(tx: &mut Tx, tenant: TenantId) -> Result<Vec<KeptWorkView>> {
    let rows = fetch_all!(tx, ViewRow, LIST, tenant.uuid(), KEPT_SHOWN)?;
    Ok(rows.into_iter().map(KeptWorkView::from).collect())
}

pub(super) async fn of_machine(tx: &mut Tx, machine: MachineId) -> Result<BTreeSet<KeptWork>> {
    Ok(fetch_all!(tx, Row, OF_MACHINE, machine.uuid())?.into_iter().map(KeptWork::from).collect())
}

pub(super) async fn insert(tx: &mut Tx, machine: MachineId, work: &KeptWork) -> Result<()> {
    let (execution, commit) = (work.execution_id.uuid(), &work.commit);
    execute!(tx, INSERT, machine.uuid(), execution, &work.repository, &work.reference, commit)?;
    Ok(())
}

/// Unless a checkpoint of its execution is known.
pub(super) async fn insert_unsaved(tx: &mut Tx, machine: MachineId, task: TaskId, work: &KeptWork) -> Result<()> {
    let (execution, commit) = (work.execution_id.uuid(), &work.commit);
    let (repository, reference) = (&work.repository, &work.reference);
    execute!(tx, INSERT_UNSAVED, machine.uuid(), execution, repository, reference, commit, task.uuid())?;
    Ok(())
}

/// Those of executions that were made since then, and that nobody deleted with their tasks.
pub(super) async fn count_unsaved(tx: &mut Tx, machine: MachineId, since: DateTime<Utc>) -> Result<i64> {
    Ok(fetch_one!(tx, (i64,), COUNT_UNSAVED, machine.uuid(), ExecutionId::mint(since, [0; 10]).uuid())?.0)
}

/// What a machine has, with whose it is.
pub(super) async fn of_tasks(tx: &mut Tx, machine: MachineId) -> Result<Vec<Gone>> {
    Ok(fetch_all!(tx, GoneRow, OF_TASKS, machine.uuid())?.into_iter().map(Gone::from).collect())
}

pub(super) async fn forget(tx: &mut Tx, machine: MachineId, work: &KeptWork) -> Result<()> {
    execute!(tx, FORGET, machine.uuid(), &work.repository, &work.reference)?;
    Ok(())
}

pub(super) async fn forget_machine(tx: &mut Tx, machine: MachineId) -> Result<()> {
    execute!(tx, FORGET_MACHINE, machine.uuid())?;
    Ok(())
}

/// The one whose execution is the newest.
pub(super) async fn machine_with(
    tx: &mut Tx,
    tenant: TenantId,
    repository: &str,
    commit: &str,
) -> Result<Option<MachineId>> {
    let row = fetch_optional!(tx, (Uuid,), MACHINE_WITH, tenant.uuid(), repository, commit)?;
    Ok(row.map(|(id,)| id.into()))
}

/// Ids sort by the time at which they were made.
pub(super) async fn machines(tx: &mut Tx, since: DateTime<Utc>) -> Result<Vec<MachineId>> {
    let rows = fetch_all!(tx, (Uuid,), MACHINES, ExecutionId::mint(since, [0; 10]).uuid())?;
    Ok(rows.into_iter().map(|(id,)| id.into()).collect())
}

pub(super) async fn known_machines(tx: &mut Tx) -> Result<Vec<MachineId>> {
    Ok(fetch_all!(tx, (Uuid,), KNOWN_MACHINES)?.into_iter().map(|(id,)| id.into()).collect())
}
