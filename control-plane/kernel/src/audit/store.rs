//! SQL of the audit.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::types::Json;
use wire::audit::AuditEntry;
use wire::id::TenantId;

use super::Entity;
use crate::{Result, Tx, execute, fetch_all, hex, moment, rows};

crate::sql! {
    INSERT: "INSERT INTO audit_log (tenant_id, at, actor, action, entity_type, entity_id, old_values, new_values, reason) \
             SELECT unhex(value->>'tenant_id'), value->>'at', value->>'actor', value->>'action', value->>'entity_type', \
                    value->>'entity_id', value->'old', value->'new', value->>'reason' FROM json_each($1)",
        postgres "INSERT INTO audit_log (tenant_id, at, actor, action, entity_type, entity_id, old_values, new_values, reason) \
                  SELECT tenant_id, at, actor, action, entity_type, entity_id, old, new, reason \
                  FROM json_to_recordset(CAST($1 AS JSON)) \
                    AS entry(tenant_id UUID, at TIMESTAMPTZ, actor TEXT, action TEXT, entity_type TEXT, entity_id TEXT, \
                           old JSONB, new JSONB, reason TEXT)";
    LIST: "SELECT seq, at, actor, action, entity_type, entity_id, old_values, new_values, reason FROM audit_log \
           WHERE (tenant_id = $1 OR tenant_id IS NULL) AND seq < $2 \
           AND (CAST($3 AS TEXT) IS NULL OR actor = $3) AND (CAST($4 AS TEXT) IS NULL OR entity_type = $4) \
           AND (CAST($5 AS TEXT) IS NULL OR entity_id = $5) AND at >= $6 AND at < $7 \
           ORDER BY seq DESC LIMIT $8";
}

/// A row to be written.
#[derive(Debug, Serialize)]
pub(crate) struct New {
    tenant_id: Option<String>,
    at: String,
    actor: String,
    action: String,
    entity_type: &'static str,
    entity_id: String,
    old: serde_json::Value,
    new: serde_json::Value,
    reason: Option<String>,
}

impl New {
    pub(super) fn of(entity: &Entity, action: &str, at: DateTime<Utc>, actor: String) -> Self {
        Self {
            tenant_id: entity.tenant.map(|id| hex(id.uuid())),
            at: moment(at),
            actor,
            action: action.to_owned(),
            entity_type: entity.kind,
            entity_id: entity.id.clone(),
            old: serde_json::Value::Null,
            new: serde_json::Value::Null,
            reason: None,
        }
    }

    pub(super) fn with(self, old: serde_json::Value, new: serde_json::Value, reason: Option<String>) -> Self {
        Self { old, new, reason, ..self }
    }
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

/// Writes rows in their order.
pub(crate) async fn insert_all(tx: &mut Tx, new: &[New]) -> Result<()> {
    if !new.is_empty() {
        execute!(tx, INSERT, &rows(new)?)?;
    }
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
