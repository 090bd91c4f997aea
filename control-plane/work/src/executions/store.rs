//! SQL of executions.

use chrono::{DateTime, Utc};
use kernel::{Result, Tx, execute, fetch_all, fetch_one, fetch_optional};
use sqlx::types::{Json, Uuid};
use wire::execution::{Exit, Failure, Outcome, PhaseTiming};
use wire::id::{ExecutionId, TaskId, TenantId, WorkerId};

use super::{Ending, Execution};
use crate::tasks::Spent;

kernel::sql! {
    INSERT: "INSERT INTO executions (id, tenant_id, task_id, number, agent_type, worker_id, assigned_at, started_at, \
                                     lease_until, cost_micros, phases, parent_execution_id) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, $10, $11)";
    GET: "SELECT * FROM executions WHERE tenant_id = $1 AND id = $2";
    OF_WORKER: "SELECT * FROM executions WHERE worker_id = $1 AND id = $2";
    LOCK_OF_WORKER: "SELECT * FROM executions WHERE worker_id = $1 AND id = $2" + lock;
    OF_TASK: "SELECT * FROM executions WHERE tenant_id = $1 AND task_id = $2 \
              ORDER BY CASE WHEN started_at IS NULL THEN 0 ELSE 1 END, started_at DESC, number DESC";
    OF_IDS: "SELECT * FROM executions WHERE tenant_id = $1 AND id IN (SELECT unhex(value) FROM json_each($2))",
        postgres "SELECT * FROM executions WHERE tenant_id = $1 \
                  AND id IN (SELECT CAST(value AS UUID) FROM jsonb_array_elements_text(CAST($2 AS JSONB)))";
    STALE: "SELECT e.*, t.effort_estimate FROM executions e JOIN tasks t ON t.id = e.task_id \
            WHERE e.tenant_id = $1 AND e.completed_at IS NULL AND e.started_at < $2 ORDER BY e.started_at, e.id";
    DELETE_OF_TASK: "DELETE FROM executions WHERE tenant_id = $1 AND task_id = $2";
    COUNT_OF_TASK: "SELECT count(*) FROM executions WHERE task_id = $1";
    BUSY_BETWEEN: "SELECT CAST(coalesce(sum(duration_seconds), 0) AS BIGINT) FROM executions WHERE id >= $1 AND id < $2";
    COUNT_OPEN: "SELECT count(*) FROM executions WHERE worker_id = $1 AND completed_at IS NULL";
    OPEN_OF_WORKER: "SELECT * FROM executions WHERE worker_id = $1 AND completed_at IS NULL AND lease_until IS NOT NULL \
                     ORDER BY assigned_at, id";
    EXPIRED: "SELECT * FROM executions WHERE completed_at IS NULL AND lease_until < $1 ORDER BY lease_until, id LIMIT 100";
    RENEW: "UPDATE executions SET lease_until = $4 WHERE id = $1 AND worker_id = $2 AND number = $3 \
            AND completed_at IS NULL AND lease_until IS NOT NULL";
    RENEW_ALL: "UPDATE executions SET lease_until = $1 WHERE completed_at IS NULL AND lease_until < $1";
    PROMISED_TO_WORKER: "SELECT * FROM executions WHERE worker_id = $1 AND completed_at IS NULL AND lease_until IS NULL \
                           AND started_at IS NULL ORDER BY assigned_at, id";
    BEGIN: "UPDATE executions SET started_at = $2, agent_type = $3, parent_execution_id = $4 WHERE id = $1";
    START: "UPDATE executions SET started_at = $2 WHERE id = $1 AND started_at IS NULL AND completed_at IS NULL";
    COMPLETE: "UPDATE executions SET completed_at = $2, duration_seconds = $3, success = $4, outcome = $5, exit_code = $6, \
                      exit_signal = $7, failure = $8, error_message = $9, commit_sha = $10, phases = $11, cost_micros = $12, \
                      tokens = $13 \
               WHERE id = $1 AND completed_at IS NULL";
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    tenant_id: Uuid,
    task_id: Uuid,
    number: i32,
    agent_type: String,
    worker_id: Uuid,
    assigned_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    completed_at: Option<DateTime<Utc>>,
    lease_until: Option<DateTime<Utc>>,
    duration_seconds: Option<i64>,
    cost_micros: i64,
    tokens: i64,
    outcome: Option<String>,
    exit_code: Option<i32>,
    exit_signal: Option<i32>,
    failure: Option<String>,
    error_message: Option<String>,
    commit_sha: Option<String>,
    phases: Json<Vec<PhaseTiming>>,
    parent_execution_id: Option<Uuid>,
}

impl From<Row> for Execution {
    fn from(row: Row) -> Self {
        let exit = row.exit_code.map(Exit::Code).or(row.exit_signal.map(Exit::Signal));
        // A word of a newer version reads as a plain failure.
        let outcome = row.outcome.map(|word| word.parse::<Outcome>().unwrap_or(Outcome::Failed));
        let ending = outcome.map(|outcome| Ending {
            outcome,
            exit,
            failure: row.failure.and_then(|word| word.parse::<Failure>().ok()),
            message: row.error_message,
            commit: row.commit_sha,
            phases: row.phases.0,
        });
        Self {
            id: row.id.into(),
            tenant: row.tenant_id.into(),
            task: row.task_id.into(),
            number: row.number,
            agent_type: row.agent_type,
            worker: row.worker_id.into(),
            assigned_at: row.assigned_at,
            started_at: row.started_at,
            completed_at: row.completed_at,
            lease_until: row.lease_until,
            duration_seconds: row.duration_seconds,
            cost_micros: row.cost_micros,
            tokens: row.tokens,
            ending,
            parent: row.parent_execution_id.map(ExecutionId::from),
        }
    }
}

#[derive(sqlx::FromRow)]
struct StaleRow {
    #[sqlx(flatten)]
    execution: Row,
    effort_estimate: Option<i32>,
}

fn executions(rows: Vec<Row>) -> Vec<Execution> {
    rows.into_iter().map(Execution::from).collect()
}

pub(super) async fn insert(tx: &mut Tx, execution: &Execution) -> Result<()> {
    let none: Json<Vec<PhaseTiming>> = Json(Vec::new());
    execute!(
        tx,
        INSERT,
        execution.id.uuid(),
        execution.tenant.uuid(),
        execution.task.uuid(),
        execution.number,
        &execution.agent_type,
        execution.worker.uuid(),
        execution.assigned_at,
        execution.started_at,
        execution.lease_until,
        none,
        execution.parent.map(ExecutionId::uuid)
    )?;
    Ok(())
}

/// How many seconds executions took that were assigned between two moments, which ids stand for.
pub(crate) async fn busy_between(tx: &mut Tx, from: ExecutionId, to: ExecutionId) -> Result<i64> {
    Ok(fetch_one!(tx, (i64,), BUSY_BETWEEN, from.uuid(), to.uuid())?.0)
}

pub(crate) async fn get(tx: &mut Tx, tenant: TenantId, id: ExecutionId) -> Result<Option<Execution>> {
    Ok(fetch_optional!(tx, Row, GET, tenant.uuid(), id.uuid())?.map(Execution::from))
}

pub(crate) async fn of_worker(tx: &mut Tx, worker: WorkerId, id: ExecutionId) -> Result<Option<Execution>> {
    Ok(fetch_optional!(tx, Row, OF_WORKER, worker.uuid(), id.uuid())?.map(Execution::from))
}

pub(crate) async fn lock_of_worker(tx: &mut Tx, worker: WorkerId, id: ExecutionId) -> Result<Option<Execution>> {
    Ok(fetch_optional!(tx, Row, LOCK_OF_WORKER, worker.uuid(), id.uuid())?.map(Execution::from))
}

pub(super) async fn of_task(tx: &mut Tx, tenant: TenantId, task: TaskId) -> Result<Vec<Execution>> {
    Ok(executions(fetch_all!(tx, Row, OF_TASK, tenant.uuid(), task.uuid())?))
}

/// These executions, in no order.
pub(crate) async fn of_ids(tx: &mut Tx, tenant: TenantId, ids: &[ExecutionId]) -> Result<Vec<Execution>> {
    let ids = kernel::id_list(ids.iter().map(|id| id.uuid()));
    Ok(executions(fetch_all!(tx, Row, OF_IDS, tenant.uuid(), &ids)?))
}

/// Executions that began before then and have not ended, the longest first, each with its task's estimate.
pub(super) async fn stale(
    tx: &mut Tx,
    tenant: TenantId,
    before: DateTime<Utc>,
) -> Result<Vec<(Execution, Option<i32>)>> {
    let rows = fetch_all!(tx, StaleRow, STALE, tenant.uuid(), before)?;
    Ok(rows.into_iter().map(|row| (row.execution.into(), row.effort_estimate)).collect())
}

pub(crate) async fn delete_of_task(tx: &mut Tx, tenant: TenantId, task: TaskId) -> Result<()> {
    execute!(tx, DELETE_OF_TASK, tenant.uuid(), task.uuid())?;
    Ok(())
}

pub(super) async fn count_of_task(tx: &mut Tx, task: TaskId) -> Result<i32> {
    let (count,) = fetch_one!(tx, (i64,), COUNT_OF_TASK, task.uuid())?;
    Ok(i32::try_from(count).unwrap_or(i32::MAX - 1))
}

pub(super) async fn count_open_of_worker(tx: &mut Tx, worker: WorkerId) -> Result<i64> {
    let (count,) = fetch_one!(tx, (i64,), COUNT_OPEN, worker.uuid())?;
    Ok(count)
}

/// What a worker has been given under a lease and has not ended.
pub(crate) async fn open_of_worker(tx: &mut Tx, worker: WorkerId) -> Result<Vec<Execution>> {
    Ok(executions(fetch_all!(tx, Row, OPEN_OF_WORKER, worker.uuid())?))
}

/// What a worker was promised by hand and has not begun.
pub(crate) async fn promised_to_worker(tx: &mut Tx, worker: WorkerId) -> Result<Vec<Execution>> {
    Ok(executions(fetch_all!(tx, Row, PROMISED_TO_WORKER, worker.uuid())?))
}

/// Begins what was promised by hand.
pub(super) async fn begin(
    tx: &mut Tx,
    id: ExecutionId,
    agent_type: &str,
    parent: Option<ExecutionId>,
    now: DateTime<Utc>,
) -> Result<()> {
    execute!(tx, BEGIN, id.uuid(), now, agent_type, parent.map(ExecutionId::uuid))?;
    Ok(())
}

/// Executions whose lease has run out.
pub(crate) async fn expired(tx: &mut Tx, now: DateTime<Utc>) -> Result<Vec<Execution>> {
    Ok(executions(fetch_all!(tx, Row, EXPIRED, now)?))
}

pub(crate) async fn renew(
    tx: &mut Tx,
    worker: WorkerId,
    id: ExecutionId,
    number: i32,
    until: DateTime<Utc>,
) -> Result<bool> {
    Ok(execute!(tx, RENEW, id.uuid(), worker.uuid(), number, until)? == 1)
}

/// Gives every lease at least until then: after an outage of ours, nobody could renew.
pub(crate) async fn renew_all(tx: &mut Tx, until: DateTime<Utc>) -> Result<u64> {
    Ok(execute!(tx, RENEW_ALL, until)?)
}

pub(crate) async fn start(tx: &mut Tx, id: ExecutionId, now: DateTime<Utc>) -> Result<bool> {
    Ok(execute!(tx, START, id.uuid(), now)? == 1)
}

pub(super) async fn complete(
    tx: &mut Tx,
    id: ExecutionId,
    ending: &Ending,
    seconds: Option<i64>,
    used: Spent,
    now: DateTime<Utc>,
) -> Result<bool> {
    let (code, signal) = match ending.exit {
        Some(Exit::Code(code)) => (Some(code), None),
        Some(Exit::Signal(signal)) => (None, Some(signal)),
        None => (None, None),
    };
    let done = execute!(
        tx,
        COMPLETE,
        id.uuid(),
        now,
        seconds,
        ending.outcome == Outcome::Succeeded,
        ending.outcome.as_str(),
        code,
        signal,
        ending.failure.map(Failure::as_str),
        ending.message.as_deref(),
        ending.commit.as_deref(),
        Json(&ending.phases),
        used.micros,
        used.tokens
    )?;
    Ok(done == 1)
}
