//! SQL of dependencies, and of the count that each task keeps of its own.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use kernel::{Result, Tx, execute, fetch_all, fetch_optional};
use serde_json::json;
use sqlx::types::Uuid;
use wire::dependency::{DependencyType, DependencyView, GraphEdge};
use wire::id::{DependencyId, TaskId, TenantId};
use wire::outcome::Condition;
use wire::task::TaskStatus;

use super::Unsatisfied;
use crate::tasks::Task;

kernel::sql! {
    INSERT: "INSERT INTO dependencies (id, tenant_id, task_id, depends_on_task_id, dependency_type, condition, \
                                       group_label, is_satisfied, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    INSERT_ALL: "INSERT INTO dependencies (tenant_id, created_at, id, task_id, depends_on_task_id, dependency_type, \
                                           condition, group_label, is_satisfied) \
                 SELECT $1, $2, unhex(value ->> 0), unhex(value ->> 1), unhex(value ->> 2), value ->> 3, value ->> 4, \
                        value ->> 5, value ->> 6 FROM json_each($3)",
        postgres "INSERT INTO dependencies (tenant_id, created_at, id, task_id, depends_on_task_id, dependency_type, \
                                            condition, group_label, is_satisfied) \
                  SELECT $1, $2, CAST(value ->> 0 AS UUID), CAST(value ->> 1 AS UUID), CAST(value ->> 2 AS UUID), \
                         value ->> 3, value ->> 4, value ->> 5, CAST(value ->> 6 AS BOOLEAN) \
                  FROM jsonb_array_elements(CAST($3 AS JSONB))";
    GET: "SELECT * FROM dependencies WHERE tenant_id = $1 AND task_id = $2 AND id = $3";
    BETWEEN: "SELECT * FROM dependencies WHERE tenant_id = $1 AND task_id = $2 AND depends_on_task_id = $3 \
              AND condition = $4";
    OF_TASK: "SELECT * FROM dependencies WHERE tenant_id = $1 AND task_id = $2 ORDER BY created_at, id";
    OF_TASKS: "SELECT * FROM dependencies WHERE tenant_id = $1 \
               AND task_id IN (SELECT unhex(value) FROM json_each($2)) ORDER BY created_at, id",
        postgres "SELECT * FROM dependencies WHERE tenant_id = $1 \
                  AND task_id = ANY (ARRAY(SELECT CAST(value AS UUID) FROM json_array_elements_text(CAST($2 AS JSON)))) \
                  ORDER BY created_at, id";
    // Of a group that has one that is true, the others stand in nobody's way.
    UNSATISFIED: "SELECT t.id, t.title, t.status, d.dependency_type, d.condition, d.group_label FROM dependencies d \
                  JOIN tasks t ON t.id = d.depends_on_task_id \
                  WHERE d.tenant_id = $1 AND d.task_id = $2 AND d.is_satisfied = FALSE \
                    AND NOT EXISTS (SELECT 1 FROM dependencies o WHERE o.task_id = d.task_id \
                                    AND o.group_label = d.group_label AND o.is_satisfied = TRUE) \
                  ORDER BY d.created_at, d.id";
    NEEDED_OF: "SELECT DISTINCT depends_on_task_id FROM dependencies \
                WHERE depends_on_task_id IN (SELECT unhex(value) FROM json_each($1))",
        postgres "SELECT DISTINCT depends_on_task_id FROM dependencies WHERE depends_on_task_id = ANY \
                    (ARRAY(SELECT CAST(value AS UUID) FROM json_array_elements_text(CAST($1 AS JSON))))";
    DOWNSTREAM: "WITH RECURSIVE downstream (id) AS ( \
                   SELECT task_id FROM dependencies \
                   WHERE tenant_id = $1 AND depends_on_task_id = $2 AND dependency_type = 'hard' \
                   UNION SELECT d.task_id FROM dependencies d JOIN downstream s ON d.depends_on_task_id = s.id \
                   WHERE d.dependency_type = 'hard') \
                 SELECT id FROM downstream WHERE id <> $2 ORDER BY id";
    OF_GRAPH: "WITH shown AS (SELECT id FROM tasks WHERE tenant_id = $1 ORDER BY priority DESC, created_at, id LIMIT $2) \
               SELECT d.* FROM shown s JOIN dependencies d ON d.task_id = s.id \
               WHERE d.tenant_id = $1 AND d.depends_on_task_id IN (SELECT id FROM shown) ORDER BY d.created_at, d.id";
    DELETE: "DELETE FROM dependencies WHERE tenant_id = $1 AND id = $2";
    DELETE_OF_TASK: "DELETE FROM dependencies WHERE tenant_id = $1 AND (task_id = $2 OR depends_on_task_id = $2)";
    RECOUNT: "UPDATE tasks SET waits_for = \
                (SELECT count(*) FROM dependencies d WHERE d.task_id = tasks.id AND d.dependency_type = 'hard' \
                   AND d.group_label IS NULL AND d.is_satisfied = FALSE) + \
                (SELECT count(*) FROM (SELECT d.group_label FROM dependencies d \
                   WHERE d.task_id = tasks.id AND d.dependency_type = 'hard' AND d.group_label IS NOT NULL \
                   GROUP BY d.group_label HAVING max(CASE WHEN d.is_satisfied = TRUE THEN 1 ELSE 0 END) = 0) closed) \
              WHERE tenant_id = $1 AND id = $2";
    LOCK_NEEDING: "SELECT id FROM tasks WHERE id IN (SELECT task_id FROM dependencies \
                     WHERE tenant_id = $1 AND depends_on_task_id = $2 AND dependency_type = 'hard') ORDER BY id" + lock;
    NEEDING: "SELECT DISTINCT task_id FROM dependencies WHERE tenant_id = $1 AND depends_on_task_id = $2 \
              AND dependency_type = 'hard'";
    // A task has one dependency at most on one thing of another, so each of them counts by one. A member of a
    // group changes the count only where none of the others is true.
    COUNT_CHANGED: "UPDATE tasks SET waits_for = waits_for + $5 WHERE id IN (SELECT d.task_id FROM dependencies d \
                      WHERE d.tenant_id = $1 AND d.depends_on_task_id = $2 AND d.condition = $3 \
                        AND d.dependency_type = 'hard' AND d.is_satisfied <> $4 \
                        AND (d.group_label IS NULL OR NOT EXISTS (SELECT 1 FROM dependencies o \
                             WHERE o.task_id = d.task_id AND o.group_label = d.group_label AND o.is_satisfied = TRUE \
                               AND o.id <> d.id)))";
    MARK_CHANGED: "UPDATE dependencies SET is_satisfied = $4 \
                   WHERE tenant_id = $1 AND depends_on_task_id = $2 AND condition = $3 AND is_satisfied <> $4";
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    task_id: Uuid,
    depends_on_task_id: Uuid,
    #[sqlx(try_from = "String")]
    dependency_type: DependencyType,
    #[sqlx(try_from = "String")]
    condition: Condition,
    group_label: Option<String>,
    is_satisfied: bool,
    created_at: DateTime<Utc>,
}

impl From<Row> for DependencyView {
    fn from(row: Row) -> Self {
        Self {
            id: row.id.into(),
            task_id: row.task_id.into(),
            depends_on_task_id: row.depends_on_task_id.into(),
            dependency_type: row.dependency_type,
            condition: row.condition,
            group: row.group_label,
            satisfied: row.is_satisfied,
            created_at: row.created_at,
        }
    }
}

#[derive(sqlx::FromRow)]
struct UnsatisfiedRow {
    id: Uuid,
    title: String,
    #[sqlx(try_from = "String")]
    status: TaskStatus,
    #[sqlx(try_from = "String")]
    dependency_type: DependencyType,
    #[sqlx(try_from = "String")]
    condition: Condition,
    group_label: Option<String>,
}

pub(crate) async fn insert(tx: &mut Tx, tenant: TenantId, new: &DependencyView) -> Result<()> {
    let (id, task, needed) = (new.id.uuid(), new.task_id.uuid(), new.depends_on_task_id.uuid());
    let (word, condition) = (new.dependency_type.as_str(), new.condition.to_string());
    let group = new.group.as_deref();
    execute!(tx, INSERT, id, tenant.uuid(), task, needed, word, &condition, group, new.satisfied, new.created_at)?;
    Ok(())
}

/// As many as are inserted by one statement.
const AT_ONCE: usize = 1_000;

/// Dependencies of one moment.
pub(crate) async fn insert_all(tx: &mut Tx, tenant: TenantId, new: &[DependencyView]) -> Result<()> {
    for some in new.chunks(AT_ONCE) {
        let row = |view: &DependencyView| {
            let [id, task, needed] = [view.id.uuid(), view.task_id.uuid(), view.depends_on_task_id.uuid()];
            let ids = [id, task, needed].map(|id| id.simple().to_string());
            let DependencyView { dependency_type, condition, group, satisfied, .. } = view;
            json!([ids[0], ids[1], ids[2], dependency_type, condition, group, satisfied])
        };
        let rows = serde_json::Value::Array(some.iter().map(row).collect()).to_string();
        execute!(tx, INSERT_ALL, tenant.uuid(), some[0].created_at, &rows)?;
    }
    Ok(())
}

pub(super) async fn get(
    tx: &mut Tx,
    tenant: TenantId,
    task: TaskId,
    id: DependencyId,
) -> Result<Option<DependencyView>> {
    Ok(fetch_optional!(tx, Row, GET, tenant.uuid(), task.uuid(), id.uuid())?.map(Into::into))
}

/// The dependency of one task on that of another.
pub(super) async fn between(
    tx: &mut Tx,
    tenant: TenantId,
    task: TaskId,
    needed: TaskId,
    condition: &Condition,
) -> Result<Option<DependencyView>> {
    let condition = condition.to_string();
    Ok(fetch_optional!(tx, Row, BETWEEN, tenant.uuid(), task.uuid(), needed.uuid(), &condition)?.map(Into::into))
}

pub(super) async fn of_task(tx: &mut Tx, tenant: TenantId, task: TaskId) -> Result<Vec<DependencyView>> {
    let rows = fetch_all!(tx, Row, OF_TASK, tenant.uuid(), task.uuid())?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// What these tasks need.
pub(crate) async fn of_tasks(tx: &mut Tx, tenant: TenantId, tasks: &[TaskId]) -> Result<Vec<DependencyView>> {
    let ids = kernel::id_list(tasks.iter().map(|id| id.uuid()));
    let rows = fetch_all!(tx, Row, OF_TASKS, tenant.uuid(), &ids)?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// What a task needs, of either type, that is not true.
pub(super) async fn unsatisfied(tx: &mut Tx, tenant: TenantId, task: TaskId) -> Result<Vec<Unsatisfied>> {
    let rows = fetch_all!(tx, UnsatisfiedRow, UNSATISFIED, tenant.uuid(), task.uuid())?;
    let unsatisfied = rows.into_iter().map(|row| Unsatisfied {
        task: row.id.into(),
        title: row.title,
        status: row.status,
        dependency_type: row.dependency_type,
        condition: row.condition,
        group: row.group_label,
    });
    Ok(unsatisfied.collect())
}

/// Those of the tasks that some task needs.
pub(super) async fn needed_of(tx: &mut Tx, tasks: &[&Task]) -> Result<HashSet<TaskId>> {
    let ids = kernel::id_list(tasks.iter().map(|task| task.id.uuid()));
    Ok(fetch_all!(tx, (Uuid,), NEEDED_OF, &ids)?.into_iter().map(|(id,)| id.into()).collect())
}

/// The tasks that need this one (hard), directly or through others.
pub(super) async fn downstream(tx: &mut Tx, tenant: TenantId, task: TaskId) -> Result<Vec<TaskId>> {
    let rows = fetch_all!(tx, (Uuid,), DOWNSTREAM, tenant.uuid(), task.uuid())?;
    Ok(rows.into_iter().map(|(id,)| id.into()).collect())
}

/// The dependencies between the first so many tasks of a list without a filter.
pub(super) async fn of_graph(tx: &mut Tx, tenant: TenantId, tasks: i64) -> Result<Vec<GraphEdge>> {
    let rows = fetch_all!(tx, Row, OF_GRAPH, tenant.uuid(), tasks)?;
    let edge = |row: Row| GraphEdge {
        id: row.id.into(),
        source: row.depends_on_task_id.into(),
        target: row.task_id.into(),
        dependency_type: row.dependency_type,
        condition: row.condition,
        group: row.group_label,
    };
    Ok(rows.into_iter().map(edge).collect())
}

pub(super) async fn delete(tx: &mut Tx, tenant: TenantId, id: DependencyId) -> Result<bool> {
    Ok(execute!(tx, DELETE, tenant.uuid(), id.uuid())? == 1)
}

/// Removes what a task needs and what needs it.
pub(super) async fn delete_of_task(tx: &mut Tx, tenant: TenantId, task: TaskId) -> Result<()> {
    execute!(tx, DELETE_OF_TASK, tenant.uuid(), task.uuid())?;
    Ok(())
}

/// Counts anew how many things a task waits for.
pub(super) async fn recount(tx: &mut Tx, tenant: TenantId, task: TaskId) -> Result<()> {
    execute!(tx, RECOUNT, tenant.uuid(), task.uuid())?;
    Ok(())
}

/// Locks the tasks that need this one (hard), in the order of their ids, so that two completions with the same
/// tasks behind them do not wait in a circle. Says whether there are any.
pub(super) async fn lock_needing(tx: &mut Tx, tenant: TenantId, needed: TaskId) -> Result<bool> {
    Ok(!fetch_all!(tx, (Uuid,), LOCK_NEEDING, tenant.uuid(), needed.uuid())?.is_empty())
}

/// The tasks that need this one (hard), directly.
pub(super) async fn needing(tx: &mut Tx, tenant: TenantId, needed: TaskId) -> Result<Vec<TaskId>> {
    let rows = fetch_all!(tx, (Uuid,), NEEDING, tenant.uuid(), needed.uuid())?;
    Ok(rows.into_iter().map(|(id,)| id.into()).collect())
}

/// What those that need this task wait for of it is true from now on, or no longer.
pub(super) async fn change(
    tx: &mut Tx,
    tenant: TenantId,
    needed: TaskId,
    condition: &Condition,
    is_true: bool,
) -> Result<()> {
    let (tenant, needed, condition) = (tenant.uuid(), needed.uuid(), condition.to_string());
    let by = if is_true { -1 } else { 1 };
    execute!(tx, COUNT_CHANGED, tenant, needed, &condition, is_true, by)?;
    execute!(tx, MARK_CHANGED, tenant, needed, &condition, is_true)?;
    Ok(())
}
