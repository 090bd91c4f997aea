//! SQL of proposals.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use kernel::{Error, Result, Tx, execute, fetch_all, fetch_optional};
use sqlx::types::Uuid;
use wire::id::{HoldId, TaskId, TenantId};

kernel::sql! {
    INSERT: "INSERT INTO proposals (tenant_id, source, task_id, hold_id, created_at) VALUES ($1, $2, $3, $4, $5)";
    OF_SOURCES: "SELECT source, task_id FROM proposals WHERE tenant_id = $1 AND source IN (SELECT value FROM json_each($2))",
        postgres "SELECT source, task_id FROM proposals WHERE tenant_id = $1 \
                  AND source = ANY (ARRAY(SELECT json_array_elements_text(CAST($2 AS JSON))))";
    OF_HOLDS: "SELECT source, task_id, hold_id FROM proposals WHERE tenant_id = $1 \
               AND hold_id IN (SELECT unhex(value) FROM json_each($2)) ORDER BY created_at DESC, source LIMIT $3",
        postgres "SELECT source, task_id, hold_id FROM proposals WHERE tenant_id = $1 \
                  AND hold_id = ANY (ARRAY(SELECT CAST(value AS UUID) FROM json_array_elements_text(CAST($2 AS JSON)))) \
                  ORDER BY created_at DESC, source LIMIT $3";
    HOLD_OF_TASK: "SELECT hold_id FROM proposals WHERE tenant_id = $1 AND task_id = $2";
}

/// One that is held.
pub(super) struct Waiting {
    pub(super) source: String,
    pub(super) task: TaskId,
    pub(super) hold: HoldId,
}

pub(super) async fn insert(
    tx: &mut Tx,
    tenant: TenantId,
    source: &str,
    task: TaskId,
    hold: HoldId,
    now: DateTime<Utc>,
) -> Result<()> {
    execute!(tx, INSERT, tenant.uuid(), source, task.uuid(), hold.uuid(), now)?;
    Ok(())
}

/// The tasks of the sources that are known.
pub(super) async fn of_sources(tx: &mut Tx, tenant: TenantId, sources: &[&str]) -> Result<HashMap<String, TaskId>> {
    let sources = serde_json::to_string(sources).map_err(|error| Error::Internal(error.into()))?;
    let rows = fetch_all!(tx, (String, Uuid), OF_SOURCES, tenant.uuid(), &sources)?;
    Ok(rows.into_iter().map(|(source, task)| (source, task.into())).collect())
}

/// Those that one of these holds keeps, the newest first.
pub(super) async fn of_holds(tx: &mut Tx, tenant: TenantId, holds: &[HoldId], limit: i64) -> Result<Vec<Waiting>> {
    let ids = kernel::id_list(holds.iter().map(|id| id.uuid()));
    let rows = fetch_all!(tx, (String, Uuid, Uuid), OF_HOLDS, tenant.uuid(), &ids, limit)?;
    let waiting = |(source, task, hold): (String, Uuid, Uuid)| Waiting { source, task: task.into(), hold: hold.into() };
    Ok(rows.into_iter().map(waiting).collect())
}

pub(super) async fn hold_of_task(tx: &mut Tx, tenant: TenantId, task: TaskId) -> Result<Option<HoldId>> {
    let row = fetch_optional!(tx, (Uuid,), HOLD_OF_TASK, tenant.uuid(), task.uuid())?;
    Ok(row.map(|(hold,)| hold.into()))
}
