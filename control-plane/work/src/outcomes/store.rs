//! SQL of outcomes.

use chrono::{DateTime, Utc};
use kernel::{Result, Tx, execute, fetch_all, fetch_one, fetch_optional};
use sqlx::types::Uuid;
use wire::id::{TaskId, TenantId};
use wire::outcome::{OutcomeName, OutcomeView};

kernel::sql! {
    GET: "SELECT task_id, name, detail, created_at FROM task_outcomes \
          WHERE tenant_id = $1 AND task_id = $2 AND name = $3";
    OF_TASK: "SELECT task_id, name, detail, created_at FROM task_outcomes WHERE tenant_id = $1 AND task_id = $2 \
              ORDER BY name";
    OF_TASKS: "SELECT task_id, name, detail, created_at FROM task_outcomes WHERE tenant_id = $1 \
               AND task_id IN (SELECT unhex(value) FROM json_each($2)) ORDER BY name",
        postgres "SELECT task_id, name, detail, created_at FROM task_outcomes WHERE tenant_id = $1 \
                  AND task_id = ANY (ARRAY(SELECT CAST(value AS UUID) FROM json_array_elements_text(CAST($2 AS JSON)))) \
                  ORDER BY name";
    COUNT: "SELECT count(*) FROM task_outcomes WHERE tenant_id = $1 AND task_id = $2";
    SET: "INSERT INTO task_outcomes (task_id, tenant_id, name, detail, created_at) VALUES ($1, $2, $3, $4, $5) \
          ON CONFLICT (task_id, name) DO UPDATE SET detail = $4";
    DELETE: "DELETE FROM task_outcomes WHERE tenant_id = $1 AND task_id = $2 AND name = $3";
    DELETE_OF_TASK: "DELETE FROM task_outcomes WHERE tenant_id = $1 AND task_id = $2";
}

#[derive(sqlx::FromRow)]
struct Row {
    task_id: Uuid,
    #[sqlx(try_from = "String")]
    name: OutcomeName,
    detail: Option<String>,
    created_at: DateTime<Utc>,
}

impl From<Row> for OutcomeView {
    fn from(row: Row) -> Self {
        Self { task_id: row.task_id.into(), name: row.name, detail: row.detail, created_at: row.created_at }
    }
}

pub(crate) async fn get(
    tx: &mut Tx,
    tenant: TenantId,
    task: TaskId,
    name: &OutcomeName,
) -> Result<Option<OutcomeView>> {
    Ok(fetch_optional!(tx, Row, GET, tenant.uuid(), task.uuid(), &name.to_string())?.map(Into::into))
}

pub(super) async fn of_task(tx: &mut Tx, tenant: TenantId, task: TaskId) -> Result<Vec<OutcomeView>> {
    let rows = fetch_all!(tx, Row, OF_TASK, tenant.uuid(), task.uuid())?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// What is true of these tasks.
pub(crate) async fn of_tasks(tx: &mut Tx, tenant: TenantId, tasks: &[TaskId]) -> Result<Vec<OutcomeView>> {
    let ids = kernel::id_list(tasks.iter().map(|id| id.uuid()));
    let rows = fetch_all!(tx, Row, OF_TASKS, tenant.uuid(), &ids)?;
    Ok(rows.into_iter().map(Into::into).collect())
}

pub(super) async fn count(tx: &mut Tx, tenant: TenantId, task: TaskId) -> Result<usize> {
    let (count,) = fetch_one!(tx, (i64,), COUNT, tenant.uuid(), task.uuid())?;
    Ok(usize::try_from(count).unwrap_or(0))
}

pub(crate) async fn set(tx: &mut Tx, tenant: TenantId, new: &OutcomeView) -> Result<()> {
    let (task, name, detail) = (new.task_id.uuid(), new.name.to_string(), new.detail.as_deref());
    execute!(tx, SET, task, tenant.uuid(), &name, detail, new.created_at)?;
    Ok(())
}

pub(super) async fn delete(tx: &mut Tx, tenant: TenantId, task: TaskId, name: &OutcomeName) -> Result<()> {
    execute!(tx, DELETE, tenant.uuid(), task.uuid(), &name.to_string())?;
    Ok(())
}

pub(crate) async fn delete_of_task(tx: &mut Tx, tenant: TenantId, task: TaskId) -> Result<()> {
    execute!(tx, DELETE_OF_TASK, tenant.uuid(), task.uuid())?;
    Ok(())
}
