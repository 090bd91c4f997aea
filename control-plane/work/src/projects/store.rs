//! SQL of the shares that tenants and projects have in the workers.

use kernel::{Result, Tx, execute, fetch_all};
use sqlx::types::Uuid;
use wire::id::TenantId;

use crate::scheduler::order::{Owner, Share, Shares};

kernel::sql! {
    WEIGH: "INSERT INTO shares (tenant_id, scope, project, weight) VALUES ($1, 'project', $2, $3) \
            ON CONFLICT (tenant_id, scope, project) DO UPDATE SET weight = excluded.weight";
    WEIGHTS: "SELECT project, weight FROM shares WHERE tenant_id = $1 AND scope = 'project' ORDER BY project";
    IN_HAND: "SELECT coalesce(project, ''), count(*) FROM tasks \
              WHERE tenant_id = $1 AND status IN ('assigned', 'in_progress') GROUP BY coalesce(project, '')";
    SPENT: "SELECT coalesce(project, ''), CAST(sum(spent_tokens) AS BIGINT), CAST(sum(spent_micros) AS BIGINT) FROM tasks \
            WHERE tenant_id = $1 AND (spent_tokens > 0 OR spent_micros > 0) GROUP BY coalesce(project, '')";
    // Of all tenants: the scheduler decides for everybody.
    SHARES: "SELECT tenant_id, scope, project, weight, started FROM shares ORDER BY tenant_id, scope, project";
    START: "INSERT INTO shares (tenant_id, scope, project, weight, started) VALUES ($1, $2, $3, 1, $4) \
            ON CONFLICT (tenant_id, scope, project) DO UPDATE SET started = excluded.started";
}

pub(super) async fn weigh(tx: &mut Tx, tenant: TenantId, project: &str, weight: i32) -> Result<()> {
    execute!(tx, WEIGH, tenant.uuid(), project, weight)?;
    Ok(())
}

pub(super) async fn weights(tx: &mut Tx, tenant: TenantId) -> Result<Vec<(String, i32)>> {
    Ok(fetch_all!(tx, (String, i32), WEIGHTS, tenant.uuid())?)
}

pub(super) async fn in_hand(tx: &mut Tx, tenant: TenantId) -> Result<Vec<(String, i64)>> {
    Ok(fetch_all!(tx, (String, i64), IN_HAND, tenant.uuid())?)
}

/// Tokens and millionths of a dollar that the tasks of each project have used.
pub(super) async fn spent(tx: &mut Tx, tenant: TenantId) -> Result<Vec<(String, i64, i64)>> {
    Ok(fetch_all!(tx, (String, i64, i64), SPENT, tenant.uuid())?)
}

#[derive(sqlx::FromRow)]
struct Row {
    tenant_id: Uuid,
    scope: String,
    project: String,
    weight: i32,
    started: Option<i64>,
}

/// Every share of every tenant.
pub(crate) async fn shares(tx: &mut Tx) -> Result<Shares> {
    let rows = fetch_all!(tx, Row, SHARES)?;
    let share = |row: Row| {
        let tenant = row.tenant_id.into();
        let owner = if row.scope == "tenant" { Owner::Tenant(tenant) } else { Owner::Project(tenant, row.project) };
        (owner, Share { weight: row.weight, started: row.started })
    };
    Ok(rows.into_iter().map(share).collect())
}

/// Notes when somebody was served last.
pub(crate) async fn start(tx: &mut Tx, owner: &Owner, started: i64) -> Result<()> {
    let (tenant, scope, project) = match owner {
        Owner::Tenant(tenant) => (tenant, "tenant", ""),
        Owner::Project(tenant, project) => (tenant, "project", project.as_str()),
    };
    execute!(tx, START, tenant.uuid(), scope, project, started)?;
    Ok(())
}
