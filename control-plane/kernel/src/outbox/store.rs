//! SQL of the outbox.

use chrono::{DateTime, Utc};
use sqlx::types::{Json, Uuid};
use wire::event::{Event, SCHEMA_VERSION};
use wire::id::{EventId, ExecutionId, TaskId, TenantId};

use super::{About, PRODUCER};
use crate::{Error, Result, Tx, execute, fetch_all, fetch_one};

crate::sql! {
    PUSH: "INSERT INTO outbox (id, event_type, task_id, execution_id, payload, created_at, retry_count, dedup_key, \
                               tenant_id, snapshot) \
           VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8, $9) ON CONFLICT (dedup_key) DO NOTHING";
    PENDING: "SELECT id, event_type, task_id, execution_id, payload, created_at FROM outbox \
              WHERE processed_at IS NULL AND refused_at IS NULL ORDER BY seq LIMIT $1";
    PROCESSED: "UPDATE outbox SET processed_at = $2 WHERE id = $1 AND processed_at IS NULL";
    FAILED: "UPDATE outbox SET retry_count = retry_count + 1 WHERE processed_at IS NULL AND id = $1";
    PRUNE: "DELETE FROM outbox WHERE processed_at < $1";
    BACKLOG: "SELECT count(*), CAST(coalesce(max(retry_count), 0) AS BIGINT) FROM outbox \
              WHERE processed_at IS NULL AND refused_at IS NULL";
    REFUSED: "UPDATE outbox SET refused_at = $2 WHERE id = $1 AND processed_at IS NULL";
}

pub(super) async fn push(
    tx: &mut Tx,
    id: EventId,
    kind: &str,
    about: About,
    payload: serde_json::Value,
    now: DateTime<Utc>,
    dedup_key: &str,
) -> Result<()> {
    let (task, execution) = (about.task.map(TaskId::uuid), about.execution.map(ExecutionId::uuid));
    let (tenant, snapshot) = (about.tenant.map(TenantId::uuid), about.snapshot.map(Json));
    execute!(tx, PUSH, id.uuid(), kind, task, execution, Json(payload), now, dedup_key, tenant, snapshot)?;
    Ok(())
}

/// The oldest entries that nobody has been told yet.
pub async fn pending(tx: &mut Tx, limit: i64) -> Result<Vec<Event>> {
    let rows = fetch_all!(tx, Row, PENDING, limit)?;
    rows.into_iter().map(Row::into_event).collect()
}

/// Notes that these were told.
pub async fn processed(tx: &mut Tx, ids: &[EventId], now: DateTime<Utc>) -> Result<()> {
    for id in ids {
        execute!(tx, PROCESSED, id.uuid(), now)?;
    }
    Ok(())
}

/// Notes that telling these failed.
pub async fn failed(tx: &mut Tx, ids: &[EventId]) -> Result<()> {
    for id in ids {
        execute!(tx, FAILED, id.uuid())?;
    }
    Ok(())
}

/// Sets one aside that will never be taken: it must not stand in the way of those behind it.
pub async fn refused(tx: &mut Tx, id: EventId, now: DateTime<Utc>) -> Result<()> {
    execute!(tx, REFUSED, id.uuid(), now)?;
    Ok(())
}

/// Drops entries that were told before the given time.
pub async fn prune(tx: &mut Tx, before: DateTime<Utc>) -> Result<u64> {
    Ok(execute!(tx, PRUNE, before)?)
}

/// What nobody has been told yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// Entries.
    pub entries: i64,
    /// How often one of them was tried in vain, at most.
    pub retries: i64,
}

/// How much nobody has been told yet.
pub async fn backlog(tx: &mut Tx) -> Result<Backlog> {
    let (entries, retries) = fetch_one!(tx, (i64, i64), BACKLOG)?;
    Ok(Backlog { entries, retries })
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    event_type: String,
    task_id: Option<Uuid>,
    execution_id: Option<Uuid>,
    payload: Json<serde_json::Value>,
    created_at: DateTime<Utc>,
}

impl Row {
    fn into_event(self) -> Result<Event> {
        let payload = serde_json::value::to_raw_value(&self.payload.0).map_err(|e| Error::Internal(e.into()))?;
        Ok(Event {
            id: self.id.into(),
            kind: self.event_type,
            task_id: self.task_id.map(TaskId::from),
            execution_id: self.execution_id.map(ExecutionId::from),
            producer: PRODUCER.to_owned(),
            created_at: self.created_at,
            schema_version: SCHEMA_VERSION,
            payload,
        })
    }
}
