//! The outbox (row T-7.9): what the outside must learn is written in the same
//! transaction as the fact itself, and delivered afterwards, at least once and
//! in order. The receiver knows an event by its id and drops repeats.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::types::{Json, Uuid};
use wire::event::{Event, SCHEMA_VERSION};
use wire::id::{EventId, ExecutionId, TaskId};

use crate::{Ctx, Error, Result, Tx, execute, fetch_all, fetch_one};

/// The name under which delivery is nudged.
pub const NUDGE: &str = "outbox-delivery";
/// Who the control plane's own events come from.
pub const PRODUCER: &str = "control-plane";

crate::sql! {
    PUSH: "INSERT INTO outbox (id, event_type, task_id, execution_id, payload, created_at, retry_count, dedup_key) \
           VALUES ($1, $2, $3, $4, $5, $6, 0, $7) ON CONFLICT (dedup_key) DO NOTHING";
    PENDING: "SELECT id, event_type, task_id, execution_id, payload, created_at FROM outbox \
              WHERE processed_at IS NULL ORDER BY seq LIMIT $1";
    PROCESSED: "UPDATE outbox SET processed_at = $2 WHERE id = $1 AND processed_at IS NULL";
    FAILED: "UPDATE outbox SET retry_count = retry_count + 1 WHERE processed_at IS NULL AND id = $1";
    PRUNE: "DELETE FROM outbox WHERE processed_at < $1";
    BACKLOG: "SELECT count(*) FROM outbox WHERE processed_at IS NULL";
}

/// What an event is about.
#[derive(Debug, Clone, Copy, Default)]
pub struct About {
    /// The task, if one.
    pub task: Option<TaskId>,
    /// The execution, if one.
    pub execution: Option<ExecutionId>,
}

impl About {
    /// About a task as a whole.
    pub fn task(id: TaskId) -> Self {
        Self { task: Some(id), execution: None }
    }

    /// About one attempt at a task.
    pub fn execution(task: TaskId, execution: ExecutionId) -> Self {
        Self { task: Some(task), execution: Some(execution) }
    }
}

/// Tells the outside, once this transaction is committed.
pub async fn push(ctx: &Ctx, tx: &mut Tx, kind: &str, about: About, payload: &impl Serialize) -> Result<()> {
    let id = ctx.id(EventId::mint);
    push_once(ctx, tx, kind, about, payload, &id.to_string()).await
}

/// As [`push`], but a second push with the same key says nothing more.
pub async fn push_once(
    ctx: &Ctx,
    tx: &mut Tx,
    kind: &str,
    about: About,
    payload: &impl Serialize,
    dedup_key: &str,
) -> Result<()> {
    let id = ctx.id(EventId::mint).uuid();
    let payload = serde_json::to_value(payload).map_err(|error| Error::Internal(error.into()))?;
    let (task, execution) = (about.task.map(TaskId::uuid), about.execution.map(ExecutionId::uuid));
    execute!(tx, PUSH, id, kind, task, execution, Json(payload), ctx.now(), dedup_key)?;
    tx.nudge(NUDGE);
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

/// Drops entries that were told before the given time.
pub async fn prune(tx: &mut Tx, before: DateTime<Utc>) -> Result<u64> {
    Ok(execute!(tx, PRUNE, before)?)
}

/// How many entries nobody has been told yet.
pub async fn backlog(tx: &mut Tx) -> Result<i64> {
    let (count,) = fetch_one!(tx, (i64,), BACKLOG)?;
    Ok(count)
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
