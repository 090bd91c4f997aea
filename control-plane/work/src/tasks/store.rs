//! SQL of tasks.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use kernel::{Error, Result, Tx, execute, fetch_all, fetch_one, fetch_optional, hex, id_list, rows};
use serde::Serialize;
use sqlx::types::{Json, Uuid};
use wire::bulk::TaskSelector;
use wire::id::{ExecutionId, TaskId, TenantId};
use wire::task::{NewTask, Priority, TaskChange, TaskSpec, TaskStatus};

use super::{Filter, LIST_MAX, Move, Task};

kernel::sql! {
    INSERT: "INSERT INTO tasks (id, tenant_id, title, description, status, priority, effort_estimate, spec, repository, \
                                attempts, losses, retry_count, created_at, updated_at, waits_for, folded_title, \
                                folded_description) \
             VALUES ($1, $2, $3, $4, 'ready', $5, $6, $7, $8, 0, 0, 0, $9, $9, $10, $11, $12)";
    GET: "SELECT * FROM tasks WHERE tenant_id = $1 AND id = $2";
    TITLES: "SELECT id, title FROM tasks WHERE tenant_id = $1 AND id IN (SELECT unhex(value) FROM json_each($2))",
        postgres "SELECT id, title FROM tasks WHERE tenant_id = $1 \
                  AND id IN (SELECT CAST(value AS UUID) FROM jsonb_array_elements_text(CAST($2 AS JSONB)))";
    LOCK: "SELECT * FROM tasks WHERE tenant_id = $1 AND id = $2" + lock;
    LOCK_ANY: "SELECT * FROM tasks WHERE id = $1" + lock;
    LIST: "SELECT * FROM tasks WHERE tenant_id = $1 AND (CAST($2 AS TEXT) IS NULL OR status = $2) \
           AND (CAST($3 AS SMALLINT) IS NULL OR priority = $3) \
           AND (CAST($4 AS BOOLEAN) IS NULL OR (waits_for > 0) = $4) \
           ORDER BY priority DESC, created_at, id LIMIT $5 OFFSET $6";
    COUNT: "SELECT count(*) FROM tasks WHERE tenant_id = $1 AND (CAST($2 AS TEXT) IS NULL OR status = $2) \
            AND (CAST($3 AS SMALLINT) IS NULL OR priority = $3) \
            AND (CAST($4 AS BOOLEAN) IS NULL OR (waits_for > 0) = $4)";
    SEARCH: "SELECT * FROM tasks WHERE tenant_id = $1 \
             AND (folded_title LIKE $3 ESCAPE '\\' OR folded_description LIKE $3 ESCAPE '\\') \
             ORDER BY CASE WHEN folded_title = $2 THEN 0 WHEN folded_description = $2 THEN 1 \
                           WHEN folded_title LIKE $3 ESCAPE '\\' THEN 2 ELSE 3 END, \
                      priority DESC, created_at, id LIMIT $4";
    PARTS_OF: "SELECT * FROM tasks WHERE tenant_id = $1 AND id IN ( \
                 SELECT task_id FROM executions WHERE tenant_id = $1 AND parent_execution_id = $2 \
                 UNION SELECT task_id FROM task_metadata WHERE tenant_id = $1 AND metadata_key = 'parent_task_id' \
                         AND substr(metadata_value, 1, 36) = $3) ORDER BY created_at, id";
    OF_IDS: "SELECT * FROM tasks WHERE tenant_id = $1 AND id IN (SELECT unhex(value) FROM json_each($2))",
        postgres "SELECT * FROM tasks WHERE tenant_id = $1 \
                  AND id IN (SELECT CAST(value AS UUID) FROM jsonb_array_elements_text(CAST($2 AS JSONB)))";
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
                    effort_estimate = coalesce($6, effort_estimate), updated_at = $7, version = version + 1, \
                    losses = CASE WHEN $4 = 'ready' THEN 0 ELSE losses END, \
                    folded_title = coalesce($8, folded_title), \
                    folded_description = coalesce($9, folded_description) WHERE id = $1";
    LOCK_OF_EXECUTIONS: "SELECT * FROM tasks WHERE id IN (SELECT task_id FROM executions \
                           WHERE id IN (SELECT unhex(value) FROM json_each($1))) ORDER BY id",
        postgres "SELECT * FROM tasks WHERE id IN (SELECT task_id FROM executions \
                    WHERE id IN (SELECT CAST(value AS UUID) FROM json_array_elements_text(CAST($1 AS JSON)))) \
                  ORDER BY id FOR UPDATE";
    MOVE: "UPDATE tasks SET status = new.value->>'status', updated_at = $2, version = tasks.version + 1, \
                  cancel_requested_at = CASE WHEN new.value->>'status' = 'in_progress' THEN cancel_requested_at END, \
                  execution_id = unhex(new.value->>'execution_id'), attempts = new.value->>'attempts', \
                  losses = new.value->>'losses' \
           FROM json_each($1) new WHERE tasks.id = unhex(new.value->>'id') AND tasks.status = new.value->>'was'",
        postgres "UPDATE tasks SET status = new.status, updated_at = $2, version = tasks.version + 1, \
                         cancel_requested_at = CASE WHEN new.status = 'in_progress' THEN cancel_requested_at END, \
                         execution_id = new.execution_id, attempts = new.attempts, losses = new.losses \
                  FROM json_to_recordset(CAST($1 AS JSON)) \
                    AS new(id UUID, was TEXT, status TEXT, execution_id UUID, attempts INTEGER, losses INTEGER) \
                  WHERE tasks.id = new.id AND tasks.status = new.was";
    COUNT_RETRY: "UPDATE tasks SET retry_count = retry_count + 1, losses = 0 WHERE id = $1 RETURNING retry_count";
    REQUEST_CANCEL: "UPDATE tasks SET cancel_requested_at = coalesce(cancel_requested_at, $2), updated_at = $2, \
                            version = version + 1 WHERE id = $1";
    WAITING: "SELECT id, tenant_id, repository, created_at FROM tasks \
              WHERE status = 'ready' AND spec IS NOT NULL AND waits_for = 0 ORDER BY priority DESC, created_at, id LIMIT $1";
    COUNT_WAITING: "SELECT count(*) FROM tasks WHERE status = 'ready' AND spec IS NOT NULL AND waits_for = 0";
    AHEAD: "SELECT count(*) FROM tasks t WHERE t.status = 'ready' AND t.spec IS NOT NULL AND t.waits_for = 0 \
            AND (t.priority > $1 OR (t.priority = $1 AND (t.created_at < $2 OR (t.created_at = $2 AND t.id < $3))))";
    // Postgres may look at the conditions in any order, and only tags are sure to be JSON: hence the CASE.
    TAGGED: "SELECT * FROM tasks WHERE tenant_id = $1 AND id IN (SELECT m.task_id FROM task_metadata m \
               WHERE m.tenant_id = $1 AND m.metadata_key = 'tags' \
                 AND EXISTS (SELECT 1 FROM json_each(m.metadata_value) tag WHERE tag.value = $2)) \
             ORDER BY priority DESC, created_at, id LIMIT $3",
        postgres "SELECT * FROM tasks WHERE tenant_id = $1 AND id IN (SELECT m.task_id FROM task_metadata m \
                    WHERE m.tenant_id = $1 AND m.metadata_key = 'tags' \
                      AND CASE WHEN m.metadata_key = 'tags' THEN CAST(m.metadata_value AS JSONB) ? $2 ELSE FALSE END) \
                  ORDER BY priority DESC, created_at, id LIMIT $3";
    // Which of the two, a task without a spec or one with it, is in the text, so that its index serves.
    CLAIMABLE: "SELECT * FROM tasks WHERE tenant_id = $1 AND status = 'ready' AND spec IS NULL AND waits_for = 0 \
                AND ($2 = '[]' OR EXISTS (SELECT 1 FROM task_metadata m WHERE m.task_id = tasks.id AND m.metadata_key = 'tags' \
                     AND NOT EXISTS (SELECT 1 FROM json_each($2) wanted WHERE wanted.value NOT IN \
                       (SELECT tag.value FROM json_each(m.metadata_value) tag)))) \
                ORDER BY priority DESC, created_at, id LIMIT $3",
        postgres "SELECT * FROM tasks WHERE tenant_id = $1 AND status = 'ready' AND spec IS NULL AND waits_for = 0 \
                  AND ($2 = '[]' OR EXISTS (SELECT 1 FROM task_metadata m WHERE m.task_id = tasks.id \
                       AND CASE WHEN m.metadata_key = 'tags' THEN CAST(m.metadata_value AS JSONB) @> CAST($2 AS JSONB) \
                                ELSE FALSE END)) \
                  ORDER BY priority DESC, created_at, id LIMIT $3 FOR UPDATE SKIP LOCKED";
    CLAIMABLE_WITH_SPEC: "SELECT * FROM tasks WHERE tenant_id = $1 AND status = 'ready' AND spec IS NOT NULL AND waits_for = 0 \
                AND ($2 = '[]' OR EXISTS (SELECT 1 FROM task_metadata m WHERE m.task_id = tasks.id AND m.metadata_key = 'tags' \
                     AND NOT EXISTS (SELECT 1 FROM json_each($2) wanted WHERE wanted.value NOT IN \
                       (SELECT tag.value FROM json_each(m.metadata_value) tag)))) \
                ORDER BY priority DESC, created_at, id LIMIT $3",
        postgres "SELECT * FROM tasks WHERE tenant_id = $1 AND status = 'ready' AND spec IS NOT NULL AND waits_for = 0 \
                  AND ($2 = '[]' OR EXISTS (SELECT 1 FROM task_metadata m WHERE m.task_id = tasks.id \
                       AND CASE WHEN m.metadata_key = 'tags' THEN CAST(m.metadata_value AS JSONB) @> CAST($2 AS JSONB) \
                                ELSE FALSE END)) \
                  ORDER BY priority DESC, created_at, id LIMIT $3 FOR UPDATE SKIP LOCKED";
    DELETE: "DELETE FROM tasks WHERE tenant_id = $1 AND id = $2";
    CANCELLING: "SELECT execution_id FROM tasks WHERE cancel_requested_at IS NOT NULL AND status = 'in_progress'";
}

#[derive(sqlx::FromRow)]
struct Row {
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
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

fn tasks(rows: Vec<Row>) -> Vec<Task> {
    rows.into_iter().map(Task::from).collect()
}

/// A task that waits for a worker, as far as the scheduler needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) id: TaskId,
    pub(crate) tenant: TenantId,
    pub(crate) repository: String,
}

#[derive(sqlx::FromRow)]
struct WaitingRow {
    id: Uuid,
    tenant_id: Uuid,
    repository: String,
}

pub(super) async fn insert(
    tx: &mut Tx,
    tenant: TenantId,
    id: TaskId,
    new: &NewTask,
    waits_for: i32,
    now: DateTime<Utc>,
) -> Result<()> {
    let repository = new.spec.as_ref().map(|spec| wire::worker::repository_name(&spec.repository));
    let spec = new.spec.as_ref().map(Json);
    let (priority, effort) = (new.priority.get(), new.effort_estimate);
    execute!(
        tx,
        INSERT,
        id.uuid(),
        tenant.uuid(),
        &new.title,
        &new.description,
        priority,
        effort,
        spec,
        repository,
        now,
        waits_for,
        fold(&new.title),
        fold(&new.description)
    )?;
    Ok(())
}

/// As search compares: `A` is `a`, in every alphabet.
fn fold(text: &str) -> String {
    text.to_lowercase()
}

pub(super) async fn get(tx: &mut Tx, tenant: TenantId, id: TaskId) -> Result<Option<Task>> {
    Ok(fetch_optional!(tx, Row, GET, tenant.uuid(), id.uuid())?.map(Task::from))
}

pub(crate) async fn lock(tx: &mut Tx, tenant: TenantId, id: TaskId) -> Result<Option<Task>> {
    Ok(fetch_optional!(tx, Row, LOCK, tenant.uuid(), id.uuid())?.map(Task::from))
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

pub(crate) async fn list(tx: &mut Tx, tenant: TenantId, filter: Filter, limit: i64, offset: i64) -> Result<Vec<Task>> {
    let (status, priority) = (filter.status.map(TaskStatus::as_str), filter.priority.map(Priority::get));
    let rows = fetch_all!(tx, Row, LIST, tenant.uuid(), status, priority, filter.blocked, limit, offset)?;
    Ok(tasks(rows))
}

pub(crate) async fn count(tx: &mut Tx, tenant: TenantId, filter: Filter) -> Result<i64> {
    let (status, priority) = (filter.status.map(TaskStatus::as_str), filter.priority.map(Priority::get));
    let (count,) = fetch_one!(tx, (i64,), COUNT, tenant.uuid(), status, priority, filter.blocked)?;
    Ok(count)
}

/// Tasks that have the text in their title or description, those that are nothing but the text first.
pub(super) async fn search(tx: &mut Tx, tenant: TenantId, text: &str, limit: i64) -> Result<Vec<Task>> {
    let text = fold(text);
    let pattern = format!("%{}%", literally(&text));
    Ok(tasks(fetch_all!(tx, Row, SEARCH, tenant.uuid(), &text, &pattern, limit)?))
}

/// The text as a pattern that matches only itself.
fn literally(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
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
        change.effort_estimate,
        now,
        change.title.as_deref().map(fold),
        change.description.as_deref().map(fold)
    )?;
    Ok(())
}

/// The tasks of these executions, whatever tenant's they are, each locked, in the order of their ids.
pub(crate) async fn lock_of_executions(tx: &mut Tx, executions: &[ExecutionId]) -> Result<Vec<Task>> {
    let ids = id_list(executions.iter().map(|id| id.uuid()));
    Ok(tasks(fetch_all!(tx, Row, LOCK_OF_EXECUTIONS, &ids)?))
}

#[derive(Serialize)]
struct MoveRow {
    id: String,
    was: &'static str,
    status: &'static str,
    execution_id: Option<String>,
    attempts: i32,
    losses: i32,
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
    };
    Ok(execute!(tx, MOVE, &rows(&moves.iter().map(row).collect::<Vec<_>>())?, now)?)
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

/// Tasks that wait for a worker and for no other task, the next first.
pub(crate) async fn waiting(tx: &mut Tx, limit: i64) -> Result<Vec<Waiting>> {
    let rows = fetch_all!(tx, WaitingRow, WAITING, limit)?;
    let waiting = rows.into_iter().map(|row| Waiting {
        id: row.id.into(),
        tenant: row.tenant_id.into(),
        repository: row.repository,
    });
    Ok(waiting.collect())
}

/// The next tasks that a claim may take, each locked; what somebody else has locked is passed over.
pub(crate) async fn claimable(
    tx: &mut Tx,
    tenant: TenantId,
    tags: &[String],
    with_spec: bool,
    limit: i64,
) -> Result<Vec<Task>> {
    let tags = serde_json::to_string(tags).map_err(|error| Error::Internal(error.into()))?;
    let sql = if with_spec { CLAIMABLE_WITH_SPEC } else { CLAIMABLE };
    Ok(tasks(fetch_all!(tx, Row, sql, tenant.uuid(), &tags, limit)?))
}

pub(crate) async fn count_waiting(tx: &mut Tx) -> Result<usize> {
    let (count,) = fetch_one!(tx, (i64,), COUNT_WAITING)?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// How many waiting tasks come before this one.
pub(crate) async fn ahead_of(tx: &mut Tx, task: &Task) -> Result<i64> {
    let (count,) = fetch_one!(tx, (i64,), AHEAD, task.priority.get(), task.created_at, task.id.uuid())?;
    Ok(count)
}

/// Executions whose task was called off.
pub(crate) async fn cancelling(tx: &mut Tx) -> Result<Vec<ExecutionId>> {
    let rows = fetch_all!(tx, (Option<Uuid>,), CANCELLING)?;
    Ok(rows.into_iter().filter_map(|(id,)| id).map(ExecutionId::from).collect())
}
