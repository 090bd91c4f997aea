//! SQL of executions.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use kernel::{Result, Tx, execute, fetch_all, fetch_one, fetch_optional, hex, id_list, moment, rows};
use serde::Serialize;
use sqlx::types::{Json, Uuid};
use wire::execution::{Exit, Failure, Outcome, PhaseTiming};
use wire::id::{ExecutionId, TaskId, TenantId, WorkerId};
use wire::pull_request::PullRequest;
use wire::test_report::TestReport;

use super::{Ending, Execution};

kernel::sql! {
    INSERT: "INSERT INTO executions (id, tenant_id, task_id, number, agent_type, worker_id, assigned_at, started_at, \
                                     lease_until, cost_micros, phases, parent_execution_id, machine_rate) \
             SELECT unhex(value->>'id'), unhex(value->>'tenant_id'), unhex(value->>'task_id'), value->>'number', \
                    value->>'agent_type', unhex(value->>'worker_id'), value->>'assigned_at', value->>'started_at', \
                    value->>'lease_until', 0, '[]', unhex(value->>'parent'), value->>'machine_rate' FROM json_each($1)",
        postgres "INSERT INTO executions (id, tenant_id, task_id, number, agent_type, worker_id, assigned_at, started_at, \
                                          lease_until, cost_micros, phases, parent_execution_id, machine_rate) \
                  SELECT id, tenant_id, task_id, number, agent_type, worker_id, assigned_at, started_at, lease_until, 0, '[]', \
                         parent, machine_rate \
                  FROM json_to_recordset(CAST($1 AS JSON)) \
                    AS new(id UUID, tenant_id UUID, task_id UUID, number INTEGER, agent_type TEXT, worker_id UUID, \
                           assigned_at TIMESTAMPTZ, started_at TIMESTAMPTZ, lease_until TIMESTAMPTZ, parent UUID, \
                           machine_rate BIGINT)";
    GET: "SELECT * FROM executions WHERE tenant_id = $1 AND id = $2";
    OF_WORKER: "SELECT * FROM executions WHERE worker_id = $1 AND id = $2";
    LOCK_OF_WORKER: "SELECT * FROM executions WHERE worker_id = $1 AND id = $2" + lock;
    OF_TASK: "SELECT * FROM executions WHERE tenant_id = $1 AND task_id = $2 \
              ORDER BY CASE WHEN started_at IS NULL THEN 0 ELSE 1 END, started_at DESC, number DESC";
    OF_IDS: "SELECT * FROM executions WHERE tenant_id = $1 AND id IN (SELECT unhex(value) FROM json_each($2))",
        postgres "SELECT * FROM executions WHERE tenant_id = $1 \
                  AND id = ANY (ARRAY(SELECT CAST(value AS UUID) FROM json_array_elements_text(CAST($2 AS JSON))))";
    LAST_TESTED: "SELECT * FROM executions WHERE tenant_id = $1 AND task_id = $2 AND tests IS NOT NULL \
                  ORDER BY number DESC LIMIT 1";
    STALE: "SELECT e.*, t.effort_estimate FROM executions e JOIN tasks t ON t.id = e.task_id \
            WHERE e.tenant_id = $1 AND e.completed_at IS NULL AND e.started_at < $2 ORDER BY e.started_at, e.id";
    DELETE_OF_TASK: "DELETE FROM executions WHERE tenant_id = $1 AND task_id = $2";
    LOCK_ALL: "SELECT * FROM executions WHERE id IN (SELECT unhex(value) FROM json_each($1)) ORDER BY id",
        postgres "SELECT * FROM executions \
                  WHERE id = ANY (ARRAY(SELECT CAST(value AS UUID) FROM json_array_elements_text(CAST($1 AS JSON)))) \
                  ORDER BY id FOR UPDATE";
    NUMBERS: "SELECT task_id, max(number) FROM executions \
              WHERE task_id IN (SELECT unhex(value) FROM json_each($1)) GROUP BY task_id",
        postgres "SELECT task_id, max(number) FROM executions WHERE task_id = ANY \
                    (ARRAY(SELECT CAST(value AS UUID) FROM json_array_elements_text(CAST($1 AS JSON)))) GROUP BY task_id";
    COUNT_OPEN: "SELECT worker_id, count(*) FROM executions WHERE completed_at IS NULL \
                 AND worker_id IN (SELECT unhex(value) FROM json_each($1)) GROUP BY worker_id",
        postgres "SELECT worker_id, count(*) FROM executions WHERE completed_at IS NULL AND worker_id = ANY \
                    (ARRAY(SELECT CAST(value AS UUID) FROM json_array_elements_text(CAST($1 AS JSON)))) GROUP BY worker_id";
    BUSY_BETWEEN: "SELECT CAST(coalesce(sum(duration_seconds), 0) AS BIGINT) FROM executions WHERE id >= $1 AND id < $2";
    OPEN_OF_WORKER: "SELECT * FROM executions WHERE worker_id = $1 AND completed_at IS NULL AND lease_until IS NOT NULL \
                     ORDER BY assigned_at, id";
    EXPIRED: "SELECT * FROM executions WHERE completed_at IS NULL AND lease_until < $1 ORDER BY lease_until, id LIMIT 100";
    RENEW: "UPDATE executions SET lease_until = $4 WHERE id = $1 AND worker_id = $2 AND number = $3 \
            AND completed_at IS NULL AND lease_until IS NOT NULL";
    BOUND: "UPDATE executions SET bounded_by = $2 WHERE id = $1";
    RENEW_ALL: "UPDATE executions SET lease_until = $1 WHERE completed_at IS NULL AND lease_until < $1";
    PROMISED_TO_WORKER: "SELECT * FROM executions WHERE worker_id = $1 AND completed_at IS NULL AND lease_until IS NULL \
                           AND started_at IS NULL ORDER BY assigned_at, id";
    DESCRIBE: "UPDATE executions SET agent_type = $2, parent_execution_id = $3 WHERE id = $1";
    EXTEND: "UPDATE executions SET lease_until = new.value->>'lease_until' FROM json_each($1) new \
             WHERE executions.id = unhex(new.value->>'id') AND completed_at IS NULL AND lease_until IS NOT NULL",
        postgres "UPDATE executions SET lease_until = new.lease_until \
                  FROM json_to_recordset(CAST($1 AS JSON)) AS new(id UUID, lease_until TIMESTAMPTZ) \
                  WHERE executions.id = new.id AND completed_at IS NULL AND executions.lease_until IS NOT NULL";
    START: "UPDATE executions SET started_at = new.value->>'started_at' FROM json_each($1) new \
            WHERE executions.id = unhex(new.value->>'id') AND started_at IS NULL AND completed_at IS NULL",
        postgres "UPDATE executions SET started_at = new.started_at \
                  FROM json_to_recordset(CAST($1 AS JSON)) AS new(id UUID, started_at TIMESTAMPTZ) \
                  WHERE executions.id = new.id AND executions.started_at IS NULL AND completed_at IS NULL";
    COMPLETE: "UPDATE executions SET completed_at = $2, duration_seconds = new.value->>'duration_seconds', \
                      success = new.value->>'success', outcome = new.value->>'outcome', \
                      exit_code = new.value->>'exit_code', exit_signal = new.value->>'exit_signal', \
                      failure = new.value->>'failure', error_message = new.value->>'error_message', \
                      commit_sha = new.value->>'commit_sha', phases = new.value->'phases', tests = new.value->'tests', \
                      pull_request = new.value->'pull_request', \
                      cost_micros = new.value->>'cost_micros', tokens = new.value->>'tokens' \
               FROM json_each($1) new WHERE executions.id = unhex(new.value->>'id') AND completed_at IS NULL",
        postgres "UPDATE executions SET completed_at = $2, duration_seconds = new.duration_seconds, success = new.success, \
                         outcome = new.outcome, exit_code = new.exit_code, exit_signal = new.exit_signal, \
                         failure = new.failure, error_message = new.error_message, commit_sha = new.commit_sha, \
                         phases = new.phases, tests = new.tests, pull_request = new.pull_request, \
                         cost_micros = new.cost_micros, tokens = new.tokens \
                  FROM json_to_recordset(CAST($1 AS JSON)) \
                    AS new(id UUID, duration_seconds BIGINT, success BOOLEAN, outcome TEXT, exit_code INTEGER, \
                           exit_signal INTEGER, failure TEXT, error_message TEXT, commit_sha TEXT, phases JSONB, tests JSONB, \
                           pull_request JSONB, \
                           cost_micros BIGINT, tokens BIGINT) \
                  WHERE executions.id = new.id AND completed_at IS NULL";
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
    tests: Option<Json<TestReport>>,
    pull_request: Option<Json<PullRequest>>,
    parent_execution_id: Option<Uuid>,
    machine_rate: Option<i64>,
    bounded_by: Option<String>,
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
            tests: row.tests.map(|tests| Box::new(tests.0)),
            pull_request: row.pull_request.map(|pull_request| Box::new(pull_request.0)),
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
            machine_rate: row.machine_rate,
            bounded_by: row.bounded_by.and_then(|word| word.parse::<Failure>().ok()),
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

#[derive(Serialize)]
struct NewRow<'a> {
    id: String,
    tenant_id: String,
    task_id: String,
    number: i32,
    agent_type: &'a str,
    worker_id: String,
    assigned_at: String,
    started_at: Option<String>,
    lease_until: Option<String>,
    parent: Option<String>,
    machine_rate: Option<i64>,
}

pub(super) async fn insert_all(tx: &mut Tx, executions: &[Execution]) -> Result<()> {
    let executions: Vec<NewRow<'_>> = executions.iter().map(new_row).collect();
    execute!(tx, INSERT, &rows(&executions)?)?;
    Ok(())
}

fn new_row(new: &Execution) -> NewRow<'_> {
    NewRow {
        id: hex(new.id.uuid()),
        tenant_id: hex(new.tenant.uuid()),
        task_id: hex(new.task.uuid()),
        number: new.number,
        agent_type: &new.agent_type,
        worker_id: hex(new.worker.uuid()),
        assigned_at: moment(new.assigned_at),
        started_at: new.started_at.map(moment),
        lease_until: new.lease_until.map(moment),
        parent: new.parent.map(|id| hex(id.uuid())),
        machine_rate: new.machine_rate,
    }
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

/// A task's newest attempt whose tests were run.
pub(crate) async fn last_tested(tx: &mut Tx, tenant: TenantId, task: TaskId) -> Result<Option<Execution>> {
    Ok(fetch_optional!(tx, Row, LAST_TESTED, tenant.uuid(), task.uuid())?.map(Execution::from))
}

/// These executions, in no order.
pub(crate) async fn of_ids(tx: &mut Tx, tenant: TenantId, ids: &[ExecutionId]) -> Result<Vec<Execution>> {
    let ids = id_list(ids.iter().map(|id| id.uuid()));
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

/// These executions, whatever tenant's they are, each locked, in the order of their ids.
pub(crate) async fn lock_all(tx: &mut Tx, ids: &[ExecutionId]) -> Result<Vec<Execution>> {
    Ok(executions(fetch_all!(tx, Row, LOCK_ALL, &id_list(ids.iter().map(|id| id.uuid())))?))
}

/// The number of each task's newest execution, where it has one.
pub(super) async fn numbers(tx: &mut Tx, tasks: &[TaskId]) -> Result<HashMap<TaskId, i32>> {
    let ids = id_list(tasks.iter().map(|id| id.uuid()));
    let numbers = fetch_all!(tx, (Uuid, i32), NUMBERS, &ids)?;
    Ok(numbers.into_iter().map(|(task, number)| (task.into(), number)).collect())
}

/// How many executions each of the workers has, where it has any.
pub(super) async fn count_open(tx: &mut Tx, workers: &[WorkerId]) -> Result<HashMap<WorkerId, i64>> {
    let ids = id_list(workers.iter().map(|id| id.uuid()));
    let counts = fetch_all!(tx, (Uuid, i64), COUNT_OPEN, &ids)?;
    Ok(counts.into_iter().map(|(worker, count)| (worker.into(), count)).collect())
}

/// What a worker has been given under a lease and has not ended.
pub(crate) async fn open_of_worker(tx: &mut Tx, worker: WorkerId) -> Result<Vec<Execution>> {
    Ok(executions(fetch_all!(tx, Row, OPEN_OF_WORKER, worker.uuid())?))
}

/// What a worker was promised by hand and has not begun.
pub(crate) async fn promised_to_worker(tx: &mut Tx, worker: WorkerId) -> Result<Vec<Execution>> {
    Ok(executions(fetch_all!(tx, Row, PROMISED_TO_WORKER, worker.uuid())?))
}

/// Says who is to carry out what was promised by hand, and of what it is a part.
pub(super) async fn describe(
    tx: &mut Tx,
    id: ExecutionId,
    agent_type: &str,
    parent: Option<ExecutionId>,
) -> Result<()> {
    execute!(tx, DESCRIBE, id.uuid(), agent_type, parent.map(ExecutionId::uuid))?;
    Ok(())
}

/// Executions whose lease has run out.
pub(crate) async fn expired(tx: &mut Tx, now: DateTime<Utc>) -> Result<Vec<Execution>> {
    Ok(executions(fetch_all!(tx, Row, EXPIRED, now)?))
}

/// Notes what bounds an execution's command, if anything does.
pub(crate) async fn bound(tx: &mut Tx, id: ExecutionId, by: Option<Failure>) -> Result<()> {
    execute!(tx, BOUND, id.uuid(), by.map(Failure::as_str))?;
    Ok(())
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

#[derive(Serialize)]
struct ExtendRow {
    id: String,
    lease_until: String,
}

/// Gives leases new ends.
pub(crate) async fn extend(tx: &mut Tx, leases: &[(ExecutionId, DateTime<Utc>)]) -> Result<()> {
    let row =
        |(id, until): &(ExecutionId, DateTime<Utc>)| ExtendRow { id: hex(id.uuid()), lease_until: moment(*until) };
    execute!(tx, EXTEND, &rows(&leases.iter().map(row).collect::<Vec<_>>())?)?;
    Ok(())
}

#[derive(Serialize)]
struct StartRow {
    id: String,
    started_at: String,
}

/// Notes when executions began; gives how many had not.
pub(crate) async fn start_all(tx: &mut Tx, begun: &[(ExecutionId, DateTime<Utc>)]) -> Result<u64> {
    let row = |(id, at): &(ExecutionId, DateTime<Utc>)| StartRow { id: hex(id.uuid()), started_at: moment(*at) };
    Ok(execute!(tx, START, &rows(&begun.iter().map(row).collect::<Vec<_>>())?)?)
}

#[derive(Serialize)]
struct EndRow<'a> {
    id: String,
    duration_seconds: Option<i64>,
    success: bool,
    outcome: &'static str,
    exit_code: Option<i32>,
    exit_signal: Option<i32>,
    failure: Option<&'static str>,
    error_message: Option<&'a str>,
    commit_sha: Option<&'a str>,
    phases: &'a [PhaseTiming],
    #[serde(skip_serializing_if = "Option::is_none")]
    tests: Option<&'a TestReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pull_request: Option<&'a PullRequest>,
    cost_micros: i64,
    tokens: i64,
}

/// Notes how executions ended; gives how many had not.
pub(super) async fn complete_all(tx: &mut Tx, ended: &[(&Execution, &Ending)], now: DateTime<Utc>) -> Result<u64> {
    let ended: Vec<EndRow<'_>> = ended.iter().map(|(execution, ending)| end_row(execution, ending)).collect();
    Ok(execute!(tx, COMPLETE, &rows(&ended)?, now)?)
}

fn end_row<'a>(execution: &Execution, ending: &'a Ending) -> EndRow<'a> {
    let (exit_code, exit_signal) = match ending.exit {
        Some(Exit::Code(code)) => (Some(code), None),
        Some(Exit::Signal(signal)) => (None, Some(signal)),
        None => (None, None),
    };
    EndRow {
        id: hex(execution.id.uuid()),
        duration_seconds: execution.duration_seconds,
        success: ending.outcome == Outcome::Succeeded,
        outcome: ending.outcome.as_str(),
        exit_code,
        exit_signal,
        failure: ending.failure.map(Failure::as_str),
        error_message: ending.message.as_deref(),
        commit_sha: ending.commit.as_deref(),
        phases: &ending.phases,
        tests: ending.tests.as_deref(),
        pull_request: ending.pull_request.as_deref(),
        cost_micros: execution.cost_micros,
        tokens: execution.tokens,
    }
}
