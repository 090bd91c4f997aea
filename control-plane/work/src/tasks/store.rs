//! SQL of tasks.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use kernel::{Error, Result, Tx, execute, fetch_all, fetch_one, fetch_optional, hex, id_list, moment, rows};
use serde::Serialize;
use sqlx::types::{Json, Uuid};
use wire::bulk::TaskSelector;
use wire::id::{ExecutionId, MachineId, ScheduleId, TaskId, TenantId};
use wire::task::{NewTask, Priority, TaskChange, TaskSpec, TaskStatus};

use super::{Filter, LIST_MAX, Lifetime, Move, Spent, Task, Terms};
use crate::admission::{Lane, LaneId};

kernel::sql! {
    INSERT: "INSERT INTO tasks (id, tenant_id, title, description, status, priority, effort_estimate, spec, repository, \
                                attempts, losses, retry_count, created_at, updated_at, waits_for, folded_title, \
                                folded_description, project, task_keys, lane_id, not_before, deadline, parked_until, \
                                budget_micros, budget_machine_seconds, budget_tokens, budget_attempts) \
             SELECT unhex(value->>'id'), $2, value->>'title', value->>'description', 'ready', value->>'priority', \
                    value->>'effort_estimate', value->'spec', value->>'repository', 0, 0, 0, $3, $3, \
                    value->>'waits_for', value->>'folded_title', value->>'folded_description', value->>'project', \
                    value->'task_keys', unhex(value->>'lane_id'), value->>'not_before', value->>'deadline', \
                    value->>'parked_until', value->>'budget_micros', value->>'budget_machine_seconds', \
                    value->>'budget_tokens', value->>'budget_attempts' \
             FROM json_each($1) WHERE true RETURNING *",
        postgres "INSERT INTO tasks (id, tenant_id, title, description, status, priority, effort_estimate, spec, repository, \
                                     attempts, losses, retry_count, created_at, updated_at, waits_for, folded_title, \
                                     folded_description, project, task_keys, lane_id, not_before, deadline, parked_until, \
                                     budget_micros, budget_machine_seconds, budget_tokens, budget_attempts) \
                  SELECT id, $2, title, description, 'ready', priority, effort_estimate, spec, repository, 0, 0, 0, $3, $3, \
                         waits_for, folded_title, folded_description, project, task_keys, lane_id, not_before, deadline, \
                         parked_until, budget_micros, budget_machine_seconds, budget_tokens, budget_attempts \
                  FROM json_to_recordset(CAST($1 AS JSON)) \
                    AS new(id UUID, title TEXT, description TEXT, priority SMALLINT, effort_estimate INTEGER, spec JSONB, \
                           repository TEXT, waits_for INTEGER, folded_title TEXT, folded_description TEXT, project TEXT, \
                           task_keys JSONB, lane_id UUID, not_before TIMESTAMPTZ, deadline TIMESTAMPTZ, \
                           parked_until TIMESTAMPTZ, budget_micros BIGINT, budget_machine_seconds BIGINT, \
                           budget_tokens BIGINT, budget_attempts INTEGER) \
                  RETURNING *";
    SET_ADMISSION: "UPDATE tasks SET project = $2, task_keys = $3, lane_id = $4, not_before = $5, deadline = $6, \
                           overdue_at = $7, budget_micros = $8, budget_machine_seconds = $9, budget_tokens = $10, \
                           budget_attempts = $11 WHERE id = $1";
    SPEND: "UPDATE tasks SET spent_micros = spent_micros + $2, spent_machine_seconds = spent_machine_seconds + $3, \
                   spent_tokens = spent_tokens + $4 WHERE id = $1";
    SET_RESERVED: "UPDATE tasks SET has_reservation = $2 WHERE id = $1";
    SET_SPEC: "UPDATE tasks SET spec = $2, machine_id = $3, lane_id = $4 WHERE id = $1";
    SET_OCCURRENCE: "UPDATE tasks SET schedule_id = $2, occurrence_at = $3 WHERE id = $1";
    SET_OVERDUE: "UPDATE tasks SET overdue_at = $2, updated_at = $2 WHERE id = $1 AND overdue_at IS NULL";
    PAST_DEADLINE: "SELECT id FROM tasks WHERE deadline <= $1 AND deadline IS NOT NULL AND overdue_at IS NULL \
                    AND status IN ('ready', 'assigned', 'in_progress') ORDER BY deadline LIMIT $2";
    TAKE: "SELECT * FROM tasks WHERE id = $1",
        postgres "SELECT * FROM tasks WHERE id = $1 FOR UPDATE SKIP LOCKED";
    GET: "SELECT * FROM tasks WHERE tenant_id = $1 AND id = $2";
    BY_ID: "SELECT * FROM tasks WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3";
    OPEN: "SELECT * FROM tasks WHERE tenant_id = $1 AND status IN ('ready', 'assigned', 'in_progress', 'failed') \
           ORDER BY priority DESC, created_at, id LIMIT $2";
    TITLES: "SELECT id, title FROM tasks WHERE tenant_id = $1 AND id IN (SELECT unhex(value) FROM json_each($2))",
        postgres "SELECT id, title FROM tasks WHERE tenant_id = $1 \
                  AND id = ANY (ARRAY(SELECT CAST(value AS UUID) FROM json_array_elements_text(CAST($2 AS JSON))))";
    LOCK: "SELECT * FROM tasks WHERE tenant_id = $1 AND id = $2" + lock;
    LOCK_ANY: "SELECT * FROM tasks WHERE id = $1" + lock;
    // One statement for each index that a list can be read from in its order. No list counts beyond a bound.
    LIST: "SELECT * FROM tasks WHERE tenant_id = $1 \
           AND priority BETWEEN coalesce(CAST($2 AS SMALLINT), 1) AND coalesce(CAST($2 AS SMALLINT), 5) \
           AND (CAST($3 AS BOOLEAN) IS NULL OR (waits_for > 0) = $3) \
           ORDER BY priority DESC, created_at, id LIMIT $4 OFFSET $5";
    LIST_STATUS: "SELECT * FROM tasks WHERE status = $6 AND tenant_id = $1 \
                  AND priority BETWEEN coalesce(CAST($2 AS SMALLINT), 1) AND coalesce(CAST($2 AS SMALLINT), 5) \
                  AND (CAST($3 AS BOOLEAN) IS NULL OR (waits_for > 0) = $3) \
                  ORDER BY priority DESC, created_at, id LIMIT $4 OFFSET $5";
    // Else SQLite goes by the index of states, since that has a column more of those that are asked for.
    LIST_READY: "SELECT * FROM tasks INDEXED BY tasks_ready WHERE tenant_id = $1 AND status = 'ready' AND waits_for = 0 \
                 AND priority BETWEEN coalesce(CAST($2 AS SMALLINT), 1) AND coalesce(CAST($2 AS SMALLINT), 5) \
                 ORDER BY priority DESC, created_at, id LIMIT $3 OFFSET $4",
        postgres "SELECT * FROM tasks WHERE tenant_id = $1 AND status = 'ready' AND waits_for = 0 \
                  AND priority BETWEEN coalesce(CAST($2 AS SMALLINT), 1) AND coalesce(CAST($2 AS SMALLINT), 5) \
                  ORDER BY priority DESC, created_at, id LIMIT $3 OFFSET $4";
    LIST_BLOCKED: "SELECT * FROM tasks WHERE tenant_id = $1 AND waits_for > 0 \
                   AND priority BETWEEN coalesce(CAST($2 AS SMALLINT), 1) AND coalesce(CAST($2 AS SMALLINT), 5) \
                   AND (CAST($3 AS TEXT) IS NULL OR status = $3) \
                   ORDER BY priority DESC, created_at, id LIMIT $4 OFFSET $5";
    LIST_PROJECT: "SELECT * FROM tasks WHERE tenant_id = $1 AND project = $7 \
                   AND priority BETWEEN coalesce(CAST($2 AS SMALLINT), 1) AND coalesce(CAST($2 AS SMALLINT), 5) \
                   AND (CAST($3 AS BOOLEAN) IS NULL OR (waits_for > 0) = $3) AND (CAST($6 AS TEXT) IS NULL OR status = $6) \
                   ORDER BY priority DESC, created_at, id LIMIT $4 OFFSET $5";
    COUNT: "SELECT count(*) FROM (SELECT 1 FROM tasks WHERE tenant_id = $1 \
              AND priority BETWEEN coalesce(CAST($2 AS SMALLINT), 1) AND coalesce(CAST($2 AS SMALLINT), 5) \
              AND (CAST($3 AS BOOLEAN) IS NULL OR (waits_for > 0) = $3) LIMIT $4) counted";
    COUNT_STATUS: "SELECT count(*) FROM (SELECT 1 FROM tasks WHERE status = $5 AND tenant_id = $1 \
                     AND priority BETWEEN coalesce(CAST($2 AS SMALLINT), 1) AND coalesce(CAST($2 AS SMALLINT), 5) \
                     AND (CAST($3 AS BOOLEAN) IS NULL OR (waits_for > 0) = $3) LIMIT $4) counted";
    COUNT_READY: "SELECT count(*) FROM (SELECT 1 FROM tasks WHERE tenant_id = $1 AND status = 'ready' AND waits_for = 0 \
                    AND priority BETWEEN coalesce(CAST($2 AS SMALLINT), 1) AND coalesce(CAST($2 AS SMALLINT), 5) \
                    LIMIT $3) counted";
    COUNT_BLOCKED: "SELECT count(*) FROM (SELECT 1 FROM tasks WHERE tenant_id = $1 AND waits_for > 0 \
                      AND priority BETWEEN coalesce(CAST($2 AS SMALLINT), 1) AND coalesce(CAST($2 AS SMALLINT), 5) \
                      AND (CAST($3 AS TEXT) IS NULL OR status = $3) LIMIT $4) counted";
    COUNT_PROJECT: "SELECT count(*) FROM (SELECT 1 FROM tasks WHERE tenant_id = $1 AND project = $6 \
                      AND priority BETWEEN coalesce(CAST($2 AS SMALLINT), 1) AND coalesce(CAST($2 AS SMALLINT), 5) \
                      AND (CAST($3 AS BOOLEAN) IS NULL OR (waits_for > 0) = $3) AND (CAST($5 AS TEXT) IS NULL OR status = $5) \
                      LIMIT $4) counted";
    PARTS_OF: "SELECT * FROM tasks WHERE tenant_id = $1 AND id IN ( \
                 SELECT task_id FROM executions WHERE tenant_id = $1 AND parent_execution_id = $2 \
                 UNION SELECT task_id FROM task_metadata WHERE tenant_id = $1 AND metadata_key = 'parent_task_id' \
                         AND substr(metadata_value, 1, 36) = $3) ORDER BY created_at, id";
    OF_IDS: "SELECT * FROM tasks WHERE tenant_id = $1 AND id IN (SELECT unhex(value) FROM json_each($2))",
        postgres "SELECT * FROM tasks WHERE tenant_id = $1 \
                  AND id = ANY (ARRAY(SELECT CAST(value AS UUID) FROM json_array_elements_text(CAST($2 AS JSON))))";
    NEEDED_BY: "SELECT * FROM tasks WHERE tenant_id = $1 \
                AND id IN (SELECT depends_on_task_id FROM dependencies WHERE task_id = $2)";
    SPLIT_AND_DONE: "SELECT * FROM tasks WHERE tenant_id = $1 AND status = 'split' AND waits_for = 0 AND id IN \
                     (SELECT task_id FROM dependencies WHERE depends_on_task_id = $2 AND dependency_type = 'hard') \
                     ORDER BY id";
    SELECT: "SELECT id, count(*) OVER () FROM tasks WHERE tenant_id = $1 \
             AND status IN (SELECT value FROM json_each($2)) AND cancel_requested_at IS NULL \
             AND (CAST($3 AS SMALLINT) IS NULL OR priority = $3) \
             AND (CAST($4 AS TEXT) IS NULL OR id IN (SELECT m.task_id FROM task_metadata m \
                   WHERE m.tenant_id = $1 AND m.metadata_key = 'tags' \
                     AND EXISTS (SELECT 1 FROM json_each(m.metadata_value) tag WHERE tag.value = $4))) \
             ORDER BY priority DESC, created_at, id LIMIT $5",
        postgres "SELECT id, count(*) OVER () FROM tasks WHERE tenant_id = $1 \
                  AND status IN (SELECT jsonb_array_elements_text(CAST($2 AS JSONB))) AND cancel_requested_at IS NULL \
                  AND (CAST($3 AS SMALLINT) IS NULL OR priority = $3) \
                  AND (CAST($4 AS TEXT) IS NULL OR id IN (SELECT m.task_id FROM task_metadata m \
                        WHERE m.tenant_id = $1 AND m.metadata_key = 'tags' \
                          AND CASE WHEN m.metadata_key = 'tags' THEN CAST(m.metadata_value AS JSONB) ? $4 ELSE FALSE END)) \
                  ORDER BY priority DESC, created_at, id LIMIT $5";
    BLOCKED_BY: "SELECT * FROM tasks WHERE tenant_id = $1 AND id IN \
                 (SELECT task_id FROM dependencies WHERE depends_on_task_id = $2 AND dependency_type = 'hard') \
                 ORDER BY priority DESC, created_at, id";
    UPDATE: "UPDATE tasks SET title = coalesce($2, title), description = coalesce($3, description), \
                    status = coalesce($4, status), priority = coalesce($5, priority), \
                    effort_estimate = CASE WHEN $10 THEN $6 ELSE effort_estimate END, updated_at = $7, version = version + 1, \
                    losses = CASE WHEN $4 = 'ready' THEN 0 ELSE losses END, \
                    folded_title = coalesce($8, folded_title), \
                    folded_description = coalesce($9, folded_description) WHERE id = $1";
    LOCK_OF_EXECUTIONS: "SELECT * FROM tasks WHERE id IN (SELECT task_id FROM executions \
                           WHERE id IN (SELECT unhex(value) FROM json_each($1))) ORDER BY id",
        postgres "SELECT * FROM tasks WHERE id = ANY (ARRAY(SELECT task_id FROM executions \
                    WHERE id = ANY (ARRAY(SELECT CAST(value AS UUID) FROM json_array_elements_text(CAST($1 AS JSON)))))) \
                  ORDER BY id FOR UPDATE";
    MOVE: "UPDATE tasks SET status = new.value->>'status', updated_at = $2, version = new.value->>'version', \
                  cancel_requested_at = CASE WHEN new.value->>'status' = 'in_progress' THEN cancel_requested_at END, \
                  execution_id = unhex(new.value->>'execution_id'), attempts = new.value->>'attempts', \
                  losses = new.value->>'losses' \
           FROM json_each($1) new WHERE tasks.id = unhex(new.value->>'id') AND tasks.status = new.value->>'was'",
        postgres "UPDATE tasks SET status = new.status, updated_at = $2, version = new.version, \
                         cancel_requested_at = CASE WHEN new.status = 'in_progress' THEN cancel_requested_at END, \
                         execution_id = new.execution_id, attempts = new.attempts, losses = new.losses \
                  FROM json_to_recordset(CAST($1 AS JSON)) \
                    AS new(id UUID, was TEXT, status TEXT, execution_id UUID, attempts INTEGER, losses INTEGER, \
                           version BIGINT) \
                  WHERE tasks.id = new.id AND tasks.status = new.was";
    SET_STATUS: "UPDATE tasks SET status = $3, updated_at = $4, version = version + 1 WHERE id = $1 AND status = $2";
    FORGET_LOSSES: "UPDATE tasks SET losses = 0 WHERE id = $1";
    COUNT_RETRY: "UPDATE tasks SET retry_count = retry_count + 1, losses = 0 WHERE id = $1 RETURNING retry_count";
    REQUEST_CANCEL: "UPDATE tasks SET cancel_requested_at = coalesce(cancel_requested_at, $2), updated_at = $2, \
                            version = version + 1 WHERE id = $1";
    COUNT_BETWEEN: "SELECT count(*) FROM tasks WHERE id >= $1 AND id < $2 AND spec IS NOT NULL";
    // Two ranges of the index that the scheduler takes tasks from, each counted as far as a person wants to know.
    AHEAD: "SELECT (SELECT count(*) FROM (SELECT 1 FROM tasks WHERE status = 'ready' AND spec IS NOT NULL \
                      AND waits_for = 0 AND parked_until IS NULL AND priority > $1 LIMIT $4) more_urgent) \
                 + (SELECT count(*) FROM (SELECT 1 FROM tasks WHERE status = 'ready' AND spec IS NOT NULL \
                      AND waits_for = 0 AND parked_until IS NULL AND priority = $1 AND (created_at, id) < ($2, $3) \
                      LIMIT $4) older)";
    // Postgres may look at the conditions in any order, and only tags are sure to be JSON: hence the CASE.
    TAGGED: "SELECT * FROM tasks WHERE tenant_id = $1 AND id IN (SELECT m.task_id FROM task_metadata m \
               WHERE m.tenant_id = $1 AND m.metadata_key = 'tags' \
                 AND EXISTS (SELECT 1 FROM json_each(m.metadata_value) tag WHERE tag.value = $2)) \
             ORDER BY priority DESC, created_at, id LIMIT $3",
        postgres "SELECT * FROM tasks WHERE tenant_id = $1 AND id IN (SELECT m.task_id FROM task_metadata m \
                    WHERE m.tenant_id = $1 AND m.metadata_key = 'tags' \
                      AND CASE WHEN m.metadata_key = 'tags' THEN CAST(m.metadata_value AS JSONB) ? $2 ELSE FALSE END) \
                  ORDER BY priority DESC, created_at, id LIMIT $3";
    // Which of the two, a task without a spec or one with it, is in the text, so that its index serves. SQLite has to
    // be told: it goes by the index of states, which has a column more of those that are asked for.
    CLAIMABLE: "SELECT * FROM tasks INDEXED BY tasks_claimable WHERE tenant_id = $1 AND status = 'ready' AND spec IS NULL AND waits_for = 0 \
                AND parked_until IS NULL AND ($4 = '[]' OR lane_id NOT IN (SELECT unhex(value) FROM json_each($4))) \
                AND ($2 = '[]' OR EXISTS (SELECT 1 FROM task_metadata m WHERE m.task_id = tasks.id AND m.metadata_key = 'tags' \
                     AND NOT EXISTS (SELECT 1 FROM json_each($2) wanted WHERE wanted.value NOT IN \
                       (SELECT tag.value FROM json_each(m.metadata_value) tag)))) \
                AND NOT EXISTS (SELECT 1 FROM task_metadata a WHERE a.task_id = tasks.id AND a.metadata_key = 'agent_type' \
                                AND a.metadata_value NOT IN (SELECT value FROM json_each($5))) \
                ORDER BY priority DESC, created_at, id LIMIT $3",
        postgres "SELECT * FROM tasks WHERE tenant_id = $1 AND status = 'ready' AND spec IS NULL AND waits_for = 0 \
                  AND parked_until IS NULL AND ($4 = '[]' OR lane_id <> ALL \
                    (ARRAY(SELECT CAST(value AS UUID) FROM json_array_elements_text(CAST($4 AS JSON))))) \
                  AND ($2 = '[]' OR EXISTS (SELECT 1 FROM task_metadata m WHERE m.task_id = tasks.id \
                       AND CASE WHEN m.metadata_key = 'tags' THEN CAST(m.metadata_value AS JSONB) @> CAST($2 AS JSONB) \
                                ELSE FALSE END)) \
                  AND NOT EXISTS (SELECT 1 FROM task_metadata a WHERE a.task_id = tasks.id AND a.metadata_key = 'agent_type' \
                                  AND a.metadata_value <> ALL (ARRAY(SELECT json_array_elements_text(CAST($5 AS JSON))))) \
                  ORDER BY priority DESC, created_at, id LIMIT $3 FOR UPDATE SKIP LOCKED";
    CLAIMABLE_WITH_SPEC: "SELECT * FROM tasks INDEXED BY tasks_waiting WHERE tenant_id = $1 AND status = 'ready' AND spec IS NOT NULL AND waits_for = 0 \
                AND parked_until IS NULL AND ($4 = '[]' OR lane_id NOT IN (SELECT unhex(value) FROM json_each($4))) \
                AND ($2 = '[]' OR EXISTS (SELECT 1 FROM task_metadata m WHERE m.task_id = tasks.id AND m.metadata_key = 'tags' \
                     AND NOT EXISTS (SELECT 1 FROM json_each($2) wanted WHERE wanted.value NOT IN \
                       (SELECT tag.value FROM json_each(m.metadata_value) tag)))) \
                AND NOT EXISTS (SELECT 1 FROM task_metadata a WHERE a.task_id = tasks.id AND a.metadata_key = 'agent_type' \
                                AND a.metadata_value NOT IN (SELECT value FROM json_each($5))) \
                ORDER BY priority DESC, created_at, id LIMIT $3",
        postgres "SELECT * FROM tasks WHERE tenant_id = $1 AND status = 'ready' AND spec IS NOT NULL AND waits_for = 0 \
                  AND parked_until IS NULL AND ($4 = '[]' OR lane_id <> ALL \
                    (ARRAY(SELECT CAST(value AS UUID) FROM json_array_elements_text(CAST($4 AS JSON))))) \
                  AND ($2 = '[]' OR EXISTS (SELECT 1 FROM task_metadata m WHERE m.task_id = tasks.id \
                       AND CASE WHEN m.metadata_key = 'tags' THEN CAST(m.metadata_value AS JSONB) @> CAST($2 AS JSONB) \
                                ELSE FALSE END)) \
                  AND NOT EXISTS (SELECT 1 FROM task_metadata a WHERE a.task_id = tasks.id AND a.metadata_key = 'agent_type' \
                                  AND a.metadata_value <> ALL (ARRAY(SELECT json_array_elements_text(CAST($5 AS JSON))))) \
                  ORDER BY priority DESC, created_at, id LIMIT $3 FOR UPDATE SKIP LOCKED";
    DELETE: "DELETE FROM tasks WHERE tenant_id = $1 AND id = $2";
    CANCELLING: "SELECT execution_id FROM tasks WHERE cancel_requested_at IS NOT NULL AND status = 'in_progress'";
}

#[derive(sqlx::FromRow)]
pub(super) struct Row {
    id: Uuid,
    tenant_id: Uuid,
    title: String,
    description: String,
    #[sqlx(try_from = "String")]
    status: TaskStatus,
    #[sqlx(try_from = "i16")]
    priority: Priority,
    effort_estimate: Option<i32>,
    spec: Option<Json<TaskSpec>>,
    attempts: i32,
    losses: i32,
    waits_for: i32,
    cancel_requested_at: Option<DateTime<Utc>>,
    execution_id: Option<Uuid>,
    version: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    project: Option<String>,
    task_keys: Json<Vec<String>>,
    not_before: Option<DateTime<Utc>>,
    deadline: Option<DateTime<Utc>>,
    overdue_at: Option<DateTime<Utc>>,
    parked_until: Option<DateTime<Utc>>,
    budget_micros: Option<i64>,
    budget_machine_seconds: Option<i64>,
    budget_tokens: Option<i64>,
    budget_attempts: Option<i32>,
    spent_micros: i64,
    spent_machine_seconds: i64,
    spent_tokens: i64,
    has_reservation: bool,
    schedule_id: Option<Uuid>,
    machine_id: Option<Uuid>,
}

impl From<Row> for Task {
    fn from(row: Row) -> Self {
        Self {
            id: row.id.into(),
            tenant: row.tenant_id.into(),
            title: row.title,
            description: row.description,
            status: row.status,
            priority: row.priority,
            effort_estimate: row.effort_estimate,
            spec: row.spec.map(|json| json.0),
            attempts: row.attempts,
            losses: row.losses,
            waits_for: row.waits_for,
            cancel_requested_at: row.cancel_requested_at,
            execution_id: row.execution_id.map(ExecutionId::from),
            project: row.project,
            keys: row.task_keys.0,
            not_before: row.not_before,
            deadline: row.deadline,
            overdue_at: row.overdue_at,
            parked_until: row.parked_until,
            budget: Lifetime {
                micros: row.budget_micros,
                machine_seconds: row.budget_machine_seconds,
                tokens: row.budget_tokens,
                attempts: row.budget_attempts,
            },
            spent: Spent {
                micros: row.spent_micros,
                machine_seconds: row.spent_machine_seconds,
                tokens: row.spent_tokens,
            },
            has_reservation: row.has_reservation,
            schedule_id: row.schedule_id.map(ScheduleId::from),
            machine: row.machine_id.map(MachineId::from),
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

pub(super) fn tasks(rows: Vec<Row>) -> Vec<Task> {
    rows.into_iter().map(Task::from).collect()
}

/// A task that is not stored yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fresh<'a> {
    pub(crate) id: TaskId,
    pub(crate) task: &'a NewTask,
    /// How many things it needs that are not true.
    pub(crate) waits_for: i32,
}

/// As one row of the statement that stores them.
#[derive(Serialize)]
struct FreshRow<'a> {
    id: String,
    title: &'a str,
    description: &'a str,
    priority: i16,
    effort_estimate: Option<i32>,
    // Where there is none, SQLite must not see JSON's null instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    spec: Option<&'a TaskSpec>,
    repository: Option<String>,
    waits_for: i32,
    folded_title: String,
    folded_description: String,
    project: Option<String>,
    task_keys: Vec<String>,
    lane_id: String,
    not_before: Option<String>,
    deadline: Option<String>,
    parked_until: Option<String>,
    budget_micros: Option<i64>,
    budget_machine_seconds: Option<i64>,
    budget_tokens: Option<i64>,
    budget_attempts: Option<i32>,
}

impl<'a> FreshRow<'a> {
    fn of(tenant: TenantId, fresh: &Fresh<'a>, now: DateTime<Utc>) -> Self {
        let new = fresh.task;
        let terms = Terms::from(new);
        let lane = Lane::of(tenant, terms.project.as_deref(), &terms.keys);
        Self {
            id: hex(fresh.id.uuid()),
            title: &new.title,
            description: &new.description,
            priority: new.priority.get(),
            effort_estimate: new.effort_estimate,
            spec: new.spec.as_ref(),
            repository: new.spec.as_ref().map(|spec| wire::worker::repository_name(&spec.repository)),
            waits_for: fresh.waits_for,
            folded_title: fold(&new.title),
            folded_description: fold(&new.description),
            lane_id: hex(lane.id.0),
            not_before: terms.not_before.map(moment),
            deadline: terms.deadline.map(moment),
            parked_until: terms.not_before.filter(|time| *time > now).map(moment),
            budget_micros: terms.budget.micros,
            budget_machine_seconds: terms.budget.machine_seconds,
            budget_tokens: terms.budget.tokens,
            budget_attempts: terms.budget.attempts,
            project: terms.project,
            task_keys: terms.keys,
        }
    }
}

/// Stores tasks of one moment, and gives them as they are then, in the order of their ids.
pub(crate) async fn insert_all(
    tx: &mut Tx,
    tenant: TenantId,
    fresh: &[Fresh<'_>],
    now: DateTime<Utc>,
) -> Result<Vec<Task>> {
    let new: Vec<FreshRow<'_>> = fresh.iter().map(|fresh| FreshRow::of(tenant, fresh, now)).collect();
    let mut stored = tasks(fetch_all!(tx, Row, INSERT, &rows(&new)?, tenant.uuid(), now)?);
    stored.sort_unstable_by_key(|task| task.id);
    Ok(stored)
}

/// As [`insert_all`], of one that waits for nothing.
pub(crate) async fn insert(
    tx: &mut Tx,
    tenant: TenantId,
    id: TaskId,
    task: &NewTask,
    now: DateTime<Utc>,
) -> Result<Task> {
    let stored = insert_all(tx, tenant, &[Fresh { id, task, waits_for: 0 }], now).await?.pop();
    stored.ok_or(Error::NotFound { what: "task" })
}

/// Gives a task that is locked other terms.
pub(super) async fn set_terms(
    tx: &mut Tx,
    task: &Task,
    terms: &Terms,
    overdue_at: Option<DateTime<Utc>>,
) -> Result<()> {
    let lane = Lane::of(task.tenant, terms.project.as_deref(), &terms.keys).on(task.machine);
    execute!(
        tx,
        SET_ADMISSION,
        task.id.uuid(),
        terms.project.as_deref(),
        Json(&terms.keys),
        lane.id.0,
        terms.not_before,
        terms.deadline,
        overdue_at,
        terms.budget.micros,
        terms.budget.machine_seconds,
        terms.budget.tokens,
        terms.budget.attempts
    )?;
    Ok(())
}

/// Counts what an attempt at a task used.
pub(crate) async fn spend(tx: &mut Tx, id: TaskId, used: Spent) -> Result<()> {
    execute!(tx, SPEND, id.uuid(), used.micros, used.machine_seconds, used.tokens)?;
    Ok(())
}

/// Notes whether money is set aside for a task.
pub(crate) async fn set_reserved(tx: &mut Tx, id: TaskId, has_reservation: bool) -> Result<()> {
    execute!(tx, SET_RESERVED, id.uuid(), has_reservation)?;
    Ok(())
}

/// Gives a task that is locked another specification, which one machine alone can carry out, or any.
pub(crate) async fn set_spec(tx: &mut Tx, task: &Task, spec: &TaskSpec, machine: Option<MachineId>) -> Result<()> {
    let lane = Lane::of(task.tenant, task.project.as_deref(), &task.keys).on(machine);
    execute!(tx, SET_SPEC, task.id.uuid(), Json(spec), machine.map(MachineId::uuid), lane.id.0)?;
    Ok(())
}

/// Notes which occurrence of a schedule a task is for; a second one for the same is refused by the database.
pub(crate) async fn set_occurrence(tx: &mut Tx, id: TaskId, schedule: ScheduleId, at: DateTime<Utc>) -> Result<()> {
    execute!(tx, SET_OCCURRENCE, id.uuid(), schedule.uuid(), at)?;
    Ok(())
}

/// Notes that a task's deadline has passed; whether that was news.
pub(crate) async fn set_overdue(tx: &mut Tx, id: TaskId, now: DateTime<Utc>) -> Result<bool> {
    Ok(execute!(tx, SET_OVERDUE, id.uuid(), now)? == 1)
}

/// Unfinished tasks whose deadline has passed, unnoticed.
pub(crate) async fn past_deadline(tx: &mut Tx, now: DateTime<Utc>, limit: i64) -> Result<Vec<TaskId>> {
    Ok(fetch_all!(tx, (Uuid,), PAST_DEADLINE, now, limit)?.into_iter().map(|(id,)| id.into()).collect())
}

/// A task, locked, whatever tenant's it is; nothing where somebody else has it locked, for whom nobody waits.
pub(crate) async fn take(tx: &mut Tx, id: TaskId) -> Result<Option<Task>> {
    Ok(fetch_optional!(tx, Row, TAKE, id.uuid())?.map(Task::from))
}

/// As search compares: `A` is `a`, in every alphabet.
pub(super) fn fold(text: &str) -> String {
    text.to_lowercase()
}

pub(super) async fn get(tx: &mut Tx, tenant: TenantId, id: TaskId) -> Result<Option<Task>> {
    Ok(fetch_optional!(tx, Row, GET, tenant.uuid(), id.uuid())?.map(Task::from))
}

pub(crate) async fn lock(tx: &mut Tx, tenant: TenantId, id: TaskId) -> Result<Option<Task>> {
    Ok(fetch_optional!(tx, Row, LOCK, tenant.uuid(), id.uuid())?.map(Task::from))
}

/// Tasks behind the given one, in the order of their ids.
pub(super) async fn by_id(tx: &mut Tx, tenant: TenantId, after: Option<TaskId>, limit: i64) -> Result<Vec<Task>> {
    let after = after.map_or(Uuid::nil(), TaskId::uuid);
    Ok(tasks(fetch_all!(tx, Row, BY_ID, tenant.uuid(), after, limit)?))
}

/// Tasks that are neither completed nor called off nor split, most urgent and then oldest first.
pub(crate) async fn open(tx: &mut Tx, tenant: TenantId, limit: i64) -> Result<Vec<Task>> {
    Ok(tasks(fetch_all!(tx, Row, OPEN, tenant.uuid(), limit)?))
}

/// The titles of these tasks.
pub(crate) async fn titles(
    tx: &mut Tx,
    tenant: TenantId,
    ids: impl IntoIterator<Item = &TaskId>,
) -> Result<HashMap<TaskId, String>> {
    let ids = id_list(ids.into_iter().map(|id| id.uuid()));
    let rows = fetch_all!(tx, (Uuid, String), TITLES, tenant.uuid(), &ids)?;
    Ok(rows.into_iter().map(|(id, title)| (id.into(), title)).collect())
}

/// Whatever tenant's it is: for background work, which acts for all of them.
pub(crate) async fn lock_any(tx: &mut Tx, id: TaskId) -> Result<Option<Task>> {
    Ok(fetch_optional!(tx, Row, LOCK_ANY, id.uuid())?.map(Task::from))
}

pub(crate) async fn list(tx: &mut Tx, tenant: TenantId, filter: &Filter, limit: i64, offset: i64) -> Result<Vec<Task>> {
    let (tenant, priority, blocked) = (tenant.uuid(), filter.priority.map(Priority::get), filter.blocked);
    let status = filter.status.map(TaskStatus::as_str);
    if let Some(project) = &filter.project {
        let rows = fetch_all!(tx, Row, LIST_PROJECT, tenant, priority, blocked, limit, offset, status, project)?;
        return Ok(tasks(rows));
    }
    let rows = match (filter.status, blocked) {
        (Some(TaskStatus::Ready), Some(false)) => fetch_all!(tx, Row, LIST_READY, tenant, priority, limit, offset)?,
        (_, Some(true)) => fetch_all!(tx, Row, LIST_BLOCKED, tenant, priority, status, limit, offset)?,
        (Some(_), _) => fetch_all!(tx, Row, LIST_STATUS, tenant, priority, blocked, limit, offset, status)?,
        (None, _) => fetch_all!(tx, Row, LIST, tenant, priority, blocked, limit, offset)?,
    };
    Ok(tasks(rows))
}

/// How many there are, counted no further than `most`.
pub(crate) async fn count(tx: &mut Tx, tenant: TenantId, filter: &Filter, most: i64) -> Result<i64> {
    let (tenant, priority, blocked) = (tenant.uuid(), filter.priority.map(Priority::get), filter.blocked);
    let status = filter.status.map(TaskStatus::as_str);
    if let Some(project) = &filter.project {
        return Ok(fetch_one!(tx, (i64,), COUNT_PROJECT, tenant, priority, blocked, most, status, project)?.0);
    }
    let (count,) = match (filter.status, blocked) {
        (Some(TaskStatus::Ready), Some(false)) => fetch_one!(tx, (i64,), COUNT_READY, tenant, priority, most)?,
        (_, Some(true)) => fetch_one!(tx, (i64,), COUNT_BLOCKED, tenant, priority, status, most)?,
        (Some(_), _) => fetch_one!(tx, (i64,), COUNT_STATUS, tenant, priority, blocked, most, status)?,
        (None, _) => fetch_one!(tx, (i64,), COUNT, tenant, priority, blocked, most)?,
    };
    Ok(count)
}

/// The tasks that somebody works on in an execution's name, and those into which a task was split, oldest first.
pub(crate) async fn parts_of(tx: &mut Tx, tenant: TenantId, of: ExecutionId, split: TaskId) -> Result<Vec<Task>> {
    Ok(tasks(fetch_all!(tx, Row, PARTS_OF, tenant.uuid(), of.uuid(), split.to_string())?))
}

/// These tasks, in no order.
pub(crate) async fn of_ids(tx: &mut Tx, tenant: TenantId, ids: &[TaskId]) -> Result<Vec<Task>> {
    let ids = id_list(ids.iter().map(|id| id.uuid()));
    Ok(tasks(fetch_all!(tx, Row, OF_IDS, tenant.uuid(), &ids)?))
}

/// What a task needs, in no order.
pub(crate) async fn needed_by(tx: &mut Tx, tenant: TenantId, id: TaskId) -> Result<Vec<Task>> {
    Ok(tasks(fetch_all!(tx, Row, NEEDED_BY, tenant.uuid(), id.uuid())?))
}

/// What needs a task (hard), most urgent and then oldest first.
pub(crate) async fn blocked_by(tx: &mut Tx, tenant: TenantId, id: TaskId) -> Result<Vec<Task>> {
    Ok(tasks(fetch_all!(tx, Row, BLOCKED_BY, tenant.uuid(), id.uuid())?))
}

/// Split tasks that need a task (hard) and wait for nothing more.
pub(crate) async fn split_and_done(tx: &mut Tx, tenant: TenantId, part: TaskId) -> Result<Vec<Task>> {
    Ok(tasks(fetch_all!(tx, Row, SPLIT_AND_DONE, tenant.uuid(), part.uuid())?))
}

/// The first tasks that stand so and match, most urgent and then oldest first, and how many match besides. What is
/// being called off is left out.
pub(super) async fn select(
    tx: &mut Tx,
    tenant: TenantId,
    statuses: &[TaskStatus],
    filter: &TaskSelector,
    limit: i64,
) -> Result<(Vec<TaskId>, i64)> {
    let (statuses, priority) = (serde_json::json!(statuses).to_string(), filter.priority.map(Priority::get));
    let rows = fetch_all!(tx, (Uuid, i64), SELECT, tenant.uuid(), &statuses, priority, filter.tag.as_deref(), limit)?;
    let remaining = rows.first().map_or(0, |(_, total)| total - i64::try_from(rows.len()).unwrap_or(i64::MAX));
    Ok((rows.into_iter().map(|(id, _)| id.into()).collect(), remaining))
}

/// Changes what the change names, of a task that is locked.
pub(super) async fn update(tx: &mut Tx, id: TaskId, change: &TaskChange, now: DateTime<Utc>) -> Result<()> {
    execute!(
        tx,
        UPDATE,
        id.uuid(),
        change.title.as_deref(),
        change.description.as_deref(),
        change.status.map(TaskStatus::as_str),
        change.priority.map(Priority::get),
        change.effort_estimate.flatten(),
        now,
        change.title.as_deref().map(fold),
        change.description.as_deref().map(fold),
        change.effort_estimate.is_some()
    )?;
    Ok(())
}

/// The tasks of these executions, whatever tenant's they are, each locked, in the order of their ids.
pub(crate) async fn lock_of_executions(tx: &mut Tx, executions: &[ExecutionId]) -> Result<Vec<Task>> {
    let ids = id_list(executions.iter().map(|id| id.uuid()));
    Ok(tasks(fetch_all!(tx, Row, LOCK_OF_EXECUTIONS, &ids)?))
}

/// Says where a task stands that comes from elsewhere with a history of its own.
pub(super) async fn set_status(
    tx: &mut Tx,
    id: TaskId,
    from: TaskStatus,
    to: TaskStatus,
    now: DateTime<Utc>,
) -> Result<()> {
    execute!(tx, SET_STATUS, id.uuid(), from.as_str(), to.as_str(), now)?;
    Ok(())
}

#[derive(Serialize)]
struct MoveRow {
    id: String,
    was: &'static str,
    status: &'static str,
    execution_id: Option<String>,
    attempts: i32,
    losses: i32,
    version: i64,
}

/// Moves tasks on, each guarded by the status that was looked at; gives how many were still there.
pub(super) async fn move_all(tx: &mut Tx, moves: &[Move<'_>], now: DateTime<Utc>) -> Result<u64> {
    let row = |one: &Move<'_>| MoveRow {
        id: hex(one.task.id.uuid()),
        was: one.task.status.as_str(),
        status: one.after.status.as_str(),
        execution_id: one.after.execution_id.map(|id| hex(id.uuid())),
        attempts: one.after.attempts,
        losses: one.after.losses,
        version: one.after.version,
    };
    Ok(execute!(tx, MOVE, &rows(&moves.iter().map(row).collect::<Vec<_>>())?, now)?)
}

/// A task is tried anew: what it lost before counts no longer.
pub(crate) async fn forget_losses(tx: &mut Tx, id: TaskId) -> Result<()> {
    execute!(tx, FORGET_LOSSES, id.uuid())?;
    Ok(())
}

/// Counts a retry that somebody asked for; gives how many there have been.
pub(super) async fn count_retry(tx: &mut Tx, id: TaskId) -> Result<i32> {
    let (count,) = fetch_one!(tx, (i32,), COUNT_RETRY, id.uuid())?;
    Ok(count)
}

pub(super) async fn request_cancel(tx: &mut Tx, id: TaskId, now: DateTime<Utc>) -> Result<()> {
    execute!(tx, REQUEST_CANCEL, id.uuid(), now)?;
    Ok(())
}

/// Tasks that carry the tag, most urgent and then oldest first.
pub(crate) async fn tagged(tx: &mut Tx, tenant: TenantId, tag: &str) -> Result<Vec<Task>> {
    Ok(tasks(fetch_all!(tx, Row, TAGGED, tenant.uuid(), tag, LIST_MAX)?))
}

/// Removes the task's row; whatever hangs on it is gone already.
pub(super) async fn delete(tx: &mut Tx, tenant: TenantId, id: TaskId) -> Result<()> {
    execute!(tx, DELETE, tenant.uuid(), id.uuid())?;
    Ok(())
}

/// How many tasks that can be run were submitted between two moments, which ids stand for.
pub(crate) async fn count_between(tx: &mut Tx, from: TaskId, to: TaskId) -> Result<i64> {
    Ok(fetch_one!(tx, (i64,), COUNT_BETWEEN, from.uuid(), to.uuid())?.0)
}

/// What a claim asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Claimable<'a> {
    pub(crate) tenant: TenantId,
    /// The task has all of them.
    pub(crate) tags: &'a [String],
    /// A task that asks for an agent of some type asks for one of these.
    pub(crate) agent_types: &'a [String],
}

/// The next tasks that a claim may take, but of closed lanes, each locked; what somebody else has locked is passed
/// over.
pub(crate) async fn claimable(
    tx: &mut Tx,
    wanted: Claimable<'_>,
    closed: &[LaneId],
    with_spec: bool,
    limit: i64,
) -> Result<Vec<Task>> {
    let (tags, agent_types) = (rows(wanted.tags)?, rows(wanted.agent_types)?);
    let closed = id_list(closed.iter().map(|lane| lane.0));
    let sql = if with_spec { CLAIMABLE_WITH_SPEC } else { CLAIMABLE };
    Ok(tasks(fetch_all!(tx, Row, sql, wanted.tenant.uuid(), &tags, limit, &closed, &agent_types)?))
}

/// How many waiting tasks come before this one, counted up to `most` of the more urgent and of the older.
pub(crate) async fn ahead_of(tx: &mut Tx, task: &Task, most: i64) -> Result<i64> {
    let (count,) = fetch_one!(tx, (i64,), AHEAD, task.priority.get(), task.created_at, task.id.uuid(), most)?;
    Ok(count)
}

/// Executions whose task was called off.
pub(crate) async fn cancelling(tx: &mut Tx) -> Result<Vec<ExecutionId>> {
    let rows = fetch_all!(tx, (Option<Uuid>,), CANCELLING)?;
    Ok(rows.into_iter().filter_map(|(id,)| id).map(ExecutionId::from).collect())
}
