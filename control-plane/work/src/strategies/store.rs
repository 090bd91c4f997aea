//! SQL of failure strategies.

use chrono::{DateTime, Utc};
use kernel::{Result, Tx, execute, fetch_all, fetch_one, fetch_optional};
use sqlx::types::{Json, Uuid};
use wire::id::{FailureStrategyId, TenantId};
use wire::strategy::{FailureRule, FailureStrategyView};

kernel::sql! {
    INSERT: "INSERT INTO failure_strategies (id, tenant_id, name, rules, max_attempts, created_at, updated_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $6)";
    GET: "SELECT * FROM failure_strategies WHERE tenant_id = $1 AND id = $2";
    LIST: "SELECT * FROM failure_strategies WHERE tenant_id = $1 ORDER BY name, id";
    COUNT: "SELECT count(*) FROM failure_strategies WHERE tenant_id = $1";
    UPDATE: "UPDATE failure_strategies SET name = $3, rules = $4, max_attempts = $5, updated_at = $6 \
             WHERE tenant_id = $1 AND id = $2";
    DELETE: "DELETE FROM failure_strategies WHERE tenant_id = $1 AND id = $2";
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    name: String,
    rules: Json<Vec<FailureRule>>,
    max_attempts: i32,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<Row> for FailureStrategyView {
    fn from(row: Row) -> Self {
        Self {
            id: row.id.into(),
            name: row.name,
            rules: row.rules.0,
            max_attempts: row.max_attempts,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

pub(super) async fn insert(tx: &mut Tx, tenant: TenantId, new: &FailureStrategyView) -> Result<()> {
    let rules = Json(&new.rules);
    execute!(tx, INSERT, new.id.uuid(), tenant.uuid(), &new.name, rules, new.max_attempts, new.created_at)?;
    Ok(())
}

pub(super) async fn get(tx: &mut Tx, tenant: TenantId, id: FailureStrategyId) -> Result<Option<FailureStrategyView>> {
    Ok(fetch_optional!(tx, Row, GET, tenant.uuid(), id.uuid())?.map(Into::into))
}

pub(super) async fn list(tx: &mut Tx, tenant: TenantId) -> Result<Vec<FailureStrategyView>> {
    Ok(fetch_all!(tx, Row, LIST, tenant.uuid())?.into_iter().map(Into::into).collect())
}

pub(super) async fn count(tx: &mut Tx, tenant: TenantId) -> Result<i64> {
    let (count,) = fetch_one!(tx, (i64,), COUNT, tenant.uuid())?;
    Ok(count)
}

pub(super) async fn update(tx: &mut Tx, tenant: TenantId, to: &FailureStrategyView) -> Result<()> {
    let rules = Json(&to.rules);
    execute!(tx, UPDATE, tenant.uuid(), to.id.uuid(), &to.name, rules, to.max_attempts, to.updated_at)?;
    Ok(())
}

pub(super) async fn delete(tx: &mut Tx, tenant: TenantId, id: FailureStrategyId) -> Result<()> {
    execute!(tx, DELETE, tenant.uuid(), id.uuid())?;
    Ok(())
}
