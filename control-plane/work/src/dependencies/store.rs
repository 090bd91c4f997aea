//! SQL of dependencies, and of the count that each task keeps of its own.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use kernel::{Result, Tx, execute, fetch_all, fetch_optional};
use sqlx::types::Uuid;
use wire::dependency::{DependencyType, DependencyView, GraphEdge};
use wire::id::{DependencyId, TaskId, TenantId};
use wire::task::TaskStatus;

use super::Unsatisfied;
use super::graph::Needs;
use crate::tasks::Task;

kernel::sql! {
    INSERT: "INSERT INTO dependencies (id, tenant_id, task_id, depends_on_task_id, dependency_type, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6)";
    GET: "SELECT * FROM dependencies WHERE tenant_id = $1 AND task_id = $2 AND id = $3";
    BETWEEN: "SELECT * FROM dependencies WHERE tenant_id = $1 AND task_id = $2 AND depends_on_task_id = $3";
    OF_TASK: "SELECT * FROM dependencies WHERE tenant_id = $1 AND task_id = $2 ORDER BY created_at, id";
    UNSATISFIED: "SELECT t.id, t.title, t.status, d.dependency_type FROM dependencies d \
                  JOIN tasks t ON t.id = d.depends_on_task_id \
                  WHERE d.tenant_id = $1 AND d.task_id = $2 AND t.status <> 'completed' ORDER BY d.created_at, d.id";
    IS_NEEDED: "SELECT id FROM dependencies WHERE tenant_id = $1 AND depends_on_task_id = $2 LIMIT 1";
    NEEDED_OF: "SELECT DISTINCT depends_on_task_id FROM dependencies \
                WHERE depends_on_task_id IN (SELECT unhex(value) FROM json_each($1))",
        postgres "SELECT DISTINCT depends_on_task_id FROM dependencies WHERE depends_on_task_id IN \
                    (SELECT CAST(value AS UUID) FROM json_array_elements_text(CAST($1 AS JSON)))";
    UPSTREAM: "WITH RECURSIVE upstream (id) AS ( \
                 SELECT depends_on_task_id FROM dependencies WHERE tenant_id = $1 AND task_id = $2 \
                 UNION SELECT d.depends_on_task_id FROM dependencies d JOIN upstream u ON d.task_id = u.id) \
               SELECT task_id, depends_on_task_id FROM dependencies \
               WHERE tenant_id = $1 AND (task_id = $2 OR task_id IN (SELECT id FROM upstream)) ORDER BY created_at, id";
    DOWNSTREAM: "WITH RECURSIVE downstream (id) AS ( \
                   SELECT task_id FROM dependencies \
                   WHERE tenant_id = $1 AND depends_on_task_id = $2 AND dependency_type = 'hard' \
                   UNION SELECT d.task_id FROM dependencies d JOIN downstream s ON d.depends_on_task_id = s.id \
                   WHERE d.dependency_type = 'hard') \
                 SELECT id FROM downstream WHERE id <> $2 ORDER BY id";
    OF_GRAPH: "SELECT id, task_id, depends_on_task_id, dependency_type, created_at FROM dependencies \
               WHERE tenant_id = $1 \
                 AND task_id IN (SELECT id FROM tasks WHERE tenant_id = $1 ORDER BY priority DESC, created_at, id LIMIT $2) \
                 AND depends_on_task_id IN \
                   (SELECT id FROM tasks WHERE tenant_id = $1 ORDER BY priority DESC, created_at, id LIMIT $2) \
               ORDER BY created_at, id";
    DELETE: "DELETE FROM dependencies WHERE tenant_id = $1 AND id = $2";
    DELETE_OF_TASK: "DELETE FROM dependencies WHERE tenant_id = $1 AND (task_id = $2 OR depends_on_task_id = $2)";
    WAIT_FOR_MORE: "UPDATE tasks SET waits_for = waits_for + $3 WHERE tenant_id = $1 AND id = $2";
    LOCK_WAITING: "SELECT id FROM tasks WHERE id IN (SELECT task_id FROM dependencies \
                     WHERE tenant_id = $1 AND depends_on_task_id = $2 AND dependency_type = 'hard') ORDER BY id" + lock;
    RELEASE_WAITING: "UPDATE tasks SET waits_for = waits_for - 1 WHERE id IN (SELECT task_id FROM dependencies \
                        WHERE tenant_id = $1 AND depends_on_task_id = $2 AND dependency_type = 'hard')";
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    task_id: Uuid,
    depends_on_task_id: Uuid,
    #[sqlx(try_from = "String")]
    dependency_type: DependencyType,
    created_at: DateTime<Utc>,
}

impl From<Row> for DependencyView {
    fn from(row: Row) -> Self {
        Self {
            id: row.id.into(),
            task_id: row.task_id.into(),
            depends_on_task_id: row.depends_on_task_id.into(),
            dependency_type: row.dependency_type,
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
}

pub(crate) async fn insert(tx: &mut Tx, tenant: TenantId, new: &DependencyView) -> Result<()> {
    let (id, task, needed) = (new.id.uuid(), new.task_id.uuid(), new.depends_on_task_id.uuid());
    execute!(tx, INSERT, id, tenant.uuid(), task, needed, new.dependency_type.as_str(), new.created_at)?;
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

/// The dependency of one task on another.
pub(super) async fn between(
    tx: &mut Tx,
    tenant: TenantId,
    task: TaskId,
    needed: TaskId,
) -> Result<Option<DependencyView>> {
    Ok(fetch_optional!(tx, Row, BETWEEN, tenant.uuid(), task.uuid(), needed.uuid())?.map(Into::into))
}

pub(super) async fn of_task(tx: &mut Tx, tenant: TenantId, task: TaskId) -> Result<Vec<DependencyView>> {
    let rows = fetch_all!(tx, Row, OF_TASK, tenant.uuid(), task.uuid())?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// What a task needs, of either type, that is not completed.
pub(super) async fn unsatisfied(tx: &mut Tx, tenant: TenantId, task: TaskId) -> Result<Vec<Unsatisfied>> {
    let rows = fetch_all!(tx, UnsatisfiedRow, UNSATISFIED, tenant.uuid(), task.uuid())?;
    let unsatisfied = rows.into_iter().map(|row| Unsatisfied {
        task: row.id.into(),
        title: row.title,
        status: row.status,
        dependency_type: row.dependency_type,
    });
    Ok(unsatisfied.collect())
}

/// Whether any task needs this one.
pub(super) async fn is_needed(tx: &mut Tx, tenant: TenantId, task: TaskId) -> Result<bool> {
    Ok(fetch_optional!(tx, (Uuid,), IS_NEEDED, tenant.uuid(), task.uuid())?.is_some())
}

/// Those of the tasks that some task needs.
pub(super) async fn needed_of(tx: &mut Tx, tasks: &[&Task]) -> Result<HashSet<TaskId>> {
    let ids = kernel::id_list(tasks.iter().map(|task| task.id.uuid()));
    Ok(fetch_all!(tx, (Uuid,), NEEDED_OF, &ids)?.into_iter().map(|(id,)| id.into()).collect())
}

/// What a task needs, and what that needs in turn, and so on.
pub(super) async fn upstream(tx: &mut Tx, tenant: TenantId, task: TaskId) -> Result<Needs<TaskId>> {
    let rows = fetch_all!(tx, (Uuid, Uuid), UPSTREAM, tenant.uuid(), task.uuid())?;
    let mut needs = Needs::new();
    for (task, needed) in rows {
        needs.entry(TaskId::from(task)).or_default().push(TaskId::from(needed));
    }
    Ok(needs)
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

/// Changes by so much how many tasks a task waits for.
pub(super) async fn wait_for_more(tx: &mut Tx, tenant: TenantId, task: TaskId, by: i32) -> Result<()> {
    execute!(tx, WAIT_FOR_MORE, tenant.uuid(), task.uuid(), by)?;
    Ok(())
}

/// The tasks that need this one (hard) wait for one less.
pub(super) async fn release_waiting(tx: &mut Tx, tenant: TenantId, needed: TaskId) -> Result<()> {
    // In the order of their ids, so that two completions with the same tasks behind them do not wait in a circle.
    let waiting = fetch_all!(tx, (Uuid,), LOCK_WAITING, tenant.uuid(), needed.uuid())?;
    if !waiting.is_empty() {
        execute!(tx, RELEASE_WAITING, tenant.uuid(), needed.uuid())?;
    }
    Ok(())
}
