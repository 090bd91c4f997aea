//! SQL of the audit.

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use wire::audit::AuditEntry;
use wire::id::TenantId;

use super::Entity;
use crate::{Result, Tx, execute, fetch_all};

crate::sql! {
    INSERT: "INSERT INTO audit_log (tenant_id, at, actor, action, entity_type, entity_id, old_values, new_values, reason) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    LIST: "SELECT seq, at, actor, action, entity_type, entity_id, old_values, new_values, reason FROM audit_log \
           WHERE (tenant_id = $1 OR tenant_id IS NULL) AND seq < $2 \
           AND (CAST($3 AS TEXT) IS NULL OR actor = $3) AND (CAST($4 AS TEXT) IS NULL OR entity_type = $4) \
           AND (CAST($5 AS TEXT) IS NULL OR entity_id = $5) AND at >= $6 AND at < $7 \
           ORDER BY seq DESC LIMIT $8";
}

/// A row to be written.
pub(super) struct New<'a> {
    pub(super) at: DateTime<Utc>,
    pub(super) actor: String,
    pub(super) action: &'a str,
    pub(super) entity: &'a Entity,
    pub(super) old: serde_json::Value,
    pub(super) new: serde_json::Value,
    pub(super) reason: Option<String>,
}

/// Which changes to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only those of this author, as an entry names one.
    pub actor: Option<String>,
    /// Only those of things of this kind.
    pub entity_type: Option<String>,
    /// Only those of this thing.
    pub entity_id: Option<String>,
    /// Only those from this moment on.
    pub since: Option<DateTime<Utc>>,
    /// Only those before this moment.
    pub until: Option<DateTime<Utc>>,
    /// Only those before this entry: the `next` of the page before.
    pub before: Option<i64>,
    /// At most this many.
    pub limit: Option<i64>,
}

#[derive(sqlx::FromRow)]
struct Row {
    seq: i64,
    at: DateTime<Utc>,
    actor: String,
    action: String,
    entity_type: String,
    entity_id: String,
    old_values: Json<serde_json::Value>,
    new_values: Json<serde_json::Value>,
    reason: Option<String>,
}

impl From<Row> for AuditEntry {
    fn from(row: Row) -> Self {
        Self {
            seq: row.seq,
            at: row.at,
            actor: row.actor,
            action: row.action,
            entity_type: row.entity_type,
            entity_id: row.entity_id,
            old_values: row.old_values.0,
            new_values: row.new_values.0,
            reason: row.reason,
        }
    }
}

pub(super) async fn insert(tx: &mut Tx, row: New<'_>) -> Result<()> {
    let Entity { tenant, kind, id } = row.entity;
    let tenant = tenant.map(TenantId::uuid);
    let (old, new) = (Json(row.old), Json(row.new));
    execute!(tx, INSERT, tenant, row.at, row.actor, row.action, *kind, id.as_str(), old, new, row.reason)?;
    Ok(())
}

pub(super) async fn list(tx: &mut Tx, tenant: TenantId, filter: &Filter, limit: i64) -> Result<Vec<AuditEntry>> {
    // Both ends of time, as far as Postgres counts it.
    let since = filter.since.unwrap_or(DateTime::UNIX_EPOCH);
    let until = filter.until.unwrap_or_else(|| DateTime::UNIX_EPOCH + chrono::TimeDelta::days(365 * 8_000));
    let (actor, kind, id) = (filter.actor.as_deref(), filter.entity_type.as_deref(), filter.entity_id.as_deref());
    let before = filter.before.unwrap_or(i64::MAX);
    let rows = fetch_all!(tx, Row, LIST, tenant.uuid(), before, actor, kind, id, since, until, limit)?;
    Ok(rows.into_iter().map(AuditEntry::from).collect())
}
