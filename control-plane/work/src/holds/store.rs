//! SQL of holds.

use chrono::{DateTime, Utc};
use kernel::{Result, Tx, execute, fetch_all, fetch_one, fetch_optional};
use sqlx::types::Uuid;
use wire::admission::HoldView;
use wire::id::{HoldId, TaskId, TenantId};

kernel::sql! {
    INSERT: "INSERT INTO holds (id, tenant_id, scope, task_id, target, owner, reason, expires_at, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    LIST: "SELECT * FROM holds WHERE tenant_id = $1 AND (expires_at IS NULL OR expires_at > $2) ORDER BY created_at, id";
    COUNT: "SELECT count(*) FROM holds WHERE tenant_id = $1";
    GET: "SELECT * FROM holds WHERE tenant_id = $1 AND id = $2";
    DELETE: "DELETE FROM holds WHERE tenant_id = $1 AND id = $2";
    EXPIRED: "SELECT * FROM holds WHERE expires_at <= $1 AND expires_at IS NOT NULL ORDER BY expires_at, id LIMIT 100";
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    tenant_id: Uuid,
    scope: String,
    task_id: Option<Uuid>,
    target: Option<String>,
    owner: String,
    reason: String,
    expires_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
}

impl From<Row> for HoldView {
    fn from(row: Row) -> Self {
        Self {
            id: row.id.into(),
            task_id: row.task_id.map(TaskId::from),
            project: row.target.clone().filter(|_| row.scope == "project"),
            key: row.target.filter(|_| row.scope == "key"),
            everything: row.scope == "everything",
            reason: row.reason,
            owner: row.owner,
            expires_at: row.expires_at,
            created_at: row.created_at,
        }
    }
}

pub(super) async fn insert(tx: &mut Tx, tenant: TenantId, hold: &HoldView) -> Result<()> {
    let (scope, target) = match hold {
        HoldView { project: Some(name), .. } => ("project", Some(name.as_str())),
        HoldView { key: Some(key), .. } => ("key", Some(key.as_str())),
        HoldView { task_id: Some(_), .. } => ("task", None),
        _ => ("everything", None),
    };
    execute!(
        tx,
        INSERT,
        hold.id.uuid(),
        tenant.uuid(),
        scope,
        hold.task_id.map(TaskId::uuid),
        target,
        &hold.owner,
        &hold.reason,
        hold.expires_at,
        hold.created_at
    )?;
    Ok(())
}

pub(crate) async fn list(tx: &mut Tx, tenant: TenantId, now: DateTime<Utc>) -> Result<Vec<HoldView>> {
    Ok(fetch_all!(tx, Row, LIST, tenant.uuid(), now)?.into_iter().map(HoldView::from).collect())
}

pub(super) async fn count(tx: &mut Tx, tenant: TenantId) -> Result<i64> {
    let (count,) = fetch_one!(tx, (i64,), COUNT, tenant.uuid())?;
    Ok(count)
}

pub(crate) async fn get(tx: &mut Tx, tenant: TenantId, id: HoldId) -> Result<Option<HoldView>> {
    Ok(fetch_optional!(tx, Row, GET, tenant.uuid(), id.uuid())?.map(HoldView::from))
}

/// Whether it was there.
pub(super) async fn delete(tx: &mut Tx, tenant: TenantId, id: HoldId) -> Result<bool> {
    Ok(execute!(tx, DELETE, tenant.uuid(), id.uuid())? == 1)
}

/// Every tenant's holds whose time is over.
pub(super) async fn expired(tx: &mut Tx, now: DateTime<Utc>) -> Result<Vec<(TenantId, HoldView)>> {
    let rows = fetch_all!(tx, Row, EXPIRED, now)?;
    Ok(rows.into_iter().map(|row| (row.tenant_id.into(), row.into())).collect())
}
