//! SQL of the outbox.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::types::{Json, Uuid};
use wire::event::{Event, SCHEMA_VERSION};
use wire::id::{EventId, ExecutionId, TaskId, TenantId};

use super::{About, PRODUCER, Snapshot};
use crate::{Error, Result, Tx, execute, fetch_all, fetch_one, fetch_optional, hex, id_list, moment, rows};

crate::sql! {
    PUSH: "INSERT INTO outbox (id, event_type, task_id, execution_id, payload, created_at, retry_count, dedup_key, \
                               tenant_id, snapshot) \
           SELECT unhex(value->>'id'), value->>'event_type', unhex(value->>'task_id'), unhex(value->>'execution_id'), \
                  value->'payload', value->>'created_at', 0, value->>'dedup_key', unhex(value->>'tenant_id'), \
                  nullif(value->'snapshot', 'null') \
           FROM json_each($1) WHERE true ON CONFLICT (dedup_key) DO NOTHING",
        postgres "INSERT INTO outbox (id, event_type, task_id, execution_id, payload, created_at, retry_count, dedup_key, \
                                      tenant_id, snapshot) \
                  SELECT id, event_type, task_id, execution_id, payload, created_at, 0, dedup_key, tenant_id, snapshot \
                  FROM json_to_recordset(CAST($1 AS JSON)) \
                    AS new(id UUID, event_type TEXT, task_id UUID, execution_id UUID, payload JSONB, \
                           created_at TIMESTAMPTZ, dedup_key TEXT, tenant_id UUID, snapshot JSONB) \
                  ON CONFLICT (dedup_key) DO NOTHING";
    PENDING: "SELECT id, event_type, task_id, execution_id, payload, created_at FROM outbox \
              WHERE processed_at IS NULL AND refused_at IS NULL ORDER BY seq LIMIT $1";
    PROCESSED: "UPDATE outbox SET processed_at = $2 \
                WHERE id IN (SELECT unhex(value) FROM json_each($1)) AND processed_at IS NULL",
        postgres "UPDATE outbox SET processed_at = $2 \
                  WHERE id = ANY (ARRAY(SELECT CAST(value AS UUID) FROM json_array_elements_text(CAST($1 AS JSON)))) \
                    AND processed_at IS NULL";
    FAILED: "UPDATE outbox SET retry_count = retry_count + 1 WHERE processed_at IS NULL AND id = $1";
    PRUNE: "DELETE FROM outbox WHERE processed_at < $1 AND (CAST($2 AS BIGINT) IS NULL OR position <= $2)";
    LOCK_PLACES: "INSERT INTO outbox_places (id, last_place) VALUES (1, 0) \
                  ON CONFLICT (id) DO UPDATE SET last_place = outbox_places.last_place RETURNING last_place";
    PLACE: "UPDATE outbox SET position = $1 + unplaced.number FROM \
              (SELECT seq, row_number() OVER (ORDER BY seq) AS number FROM \
                 (SELECT seq FROM outbox WHERE position IS NULL ORDER BY seq LIMIT $2) AS oldest) AS unplaced \
            WHERE outbox.seq = unplaced.seq";
    SET_LAST_PLACE: "UPDATE outbox_places SET last_place = $1";
    UNPLACED: "SELECT 1 FROM outbox WHERE position IS NULL LIMIT 1";
    LAST_PLACE: "SELECT last_place FROM outbox_places";
    FIRST_PLACE: "SELECT min(position) FROM outbox";
    BEHIND: "SELECT position, id, event_type, tenant_id, task_id, execution_id, payload, snapshot, created_at FROM outbox \
             WHERE position > $1 ORDER BY position LIMIT $2";
    BACKLOG: "SELECT count(*), CAST(coalesce(max(retry_count), 0) AS BIGINT) FROM outbox \
              WHERE processed_at IS NULL AND refused_at IS NULL";
    REFUSED: "UPDATE outbox SET refused_at = $2 WHERE id = $1 AND processed_at IS NULL";
}

/// What the outside must learn, not yet written.
#[derive(Debug, Serialize)]
pub(crate) struct Entry {
    id: String,
    event_type: String,
    task_id: Option<String>,
    execution_id: Option<String>,
    payload: Box<RawValue>,
    created_at: String,
    dedup_key: String,
    tenant_id: Option<String>,
    snapshot: Option<Snapshot>,
}

impl Entry {
    pub(super) fn new(
        id: EventId,
        kind: &str,
        about: About,
        payload: Box<RawValue>,
        now: DateTime<Utc>,
        dedup_key: &str,
    ) -> Self {
        Self {
            id: hex(id.uuid()),
            event_type: kind.to_owned(),
            task_id: about.task.map(|id| hex(id.uuid())),
            execution_id: about.execution.map(|id| hex(id.uuid())),
            payload,
            created_at: moment(now),
            dedup_key: dedup_key.to_owned(),
            tenant_id: about.tenant.map(|id| hex(id.uuid())),
            snapshot: about.snapshot,
        }
    }
}

/// Writes entries in their order; one whose key is there already says nothing more.
pub(crate) async fn push_all(tx: &mut Tx, entries: &[Entry]) -> Result<()> {
    if !entries.is_empty() {
        execute!(tx, PUSH, &rows(entries)?)?;
    }
    Ok(())
}

/// The oldest entries that nobody has been told yet.
pub async fn pending(tx: &mut Tx, limit: i64) -> Result<Vec<Event>> {
    let rows = fetch_all!(tx, Row, PENDING, limit)?;
    rows.into_iter().map(Row::into_event).collect()
}

/// Notes that these were told.
pub async fn processed(tx: &mut Tx, ids: &[EventId], now: DateTime<Utc>) -> Result<()> {
    execute!(tx, PROCESSED, &id_list(ids.iter().map(|id| id.uuid())), now)?;
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

/// Drops entries that were told before the given time; where somebody reads by place, only those up to its own.
pub async fn prune(tx: &mut Tx, before: DateTime<Utc>, up_to: Option<i64>) -> Result<u64> {
    Ok(execute!(tx, PRUNE, before, up_to)?)
}

/// An entry that has its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed {
    /// Its place, from 1.
    pub place: i64,
    /// The event's id.
    pub id: EventId,
    /// The event's type.
    pub kind: String,
    /// The tenant; none for what all of them share.
    pub tenant: Option<TenantId>,
    /// The task it is about.
    pub task: Option<TaskId>,
    /// The execution it is about.
    pub execution: Option<ExecutionId>,
    /// What happened, in detail.
    pub payload: serde_json::Value,
    /// The thing after the change.
    pub snapshot: Option<Snapshot>,
    /// When it happened.
    pub created_at: DateTime<Utc>,
}

/// Gives places to at most so many entries that have none; how many those were.
pub async fn place(tx: &mut Tx, limit: i64) -> Result<u64> {
    let (last,) = fetch_one!(tx, (i64,), LOCK_PLACES)?;
    let placed = execute!(tx, PLACE, last, limit)?;
    if placed > 0 {
        execute!(tx, SET_LAST_PLACE, last + i64::try_from(placed).unwrap_or(0))?;
    }
    Ok(placed)
}

/// The place that was given last, and whether an entry waits for the next.
pub async fn last_place(tx: &mut Tx) -> Result<(i64, bool)> {
    // Before the first place is given there is no row.
    let last = fetch_optional!(tx, (i64,), LAST_PLACE)?.map_or(0, |(last,)| last);
    Ok((last, fetch_optional!(tx, (i32,), UNPLACED)?.is_some()))
}

/// The first place whose entry is still kept.
pub async fn first_place(tx: &mut Tx) -> Result<Option<i64>> {
    let (first,) = fetch_one!(tx, (Option<i64>,), FIRST_PLACE)?;
    Ok(first)
}

/// Entries behind a place, in order.
pub async fn behind(tx: &mut Tx, place: i64, limit: i64) -> Result<Vec<Placed>> {
    Ok(fetch_all!(tx, PlacedRow, BEHIND, place, limit)?.into_iter().map(Placed::from).collect())
}

#[derive(sqlx::FromRow)]
struct PlacedRow {
    position: i64,
    id: Uuid,
    event_type: String,
    tenant_id: Option<Uuid>,
    task_id: Option<Uuid>,
    execution_id: Option<Uuid>,
    payload: Json<serde_json::Value>,
    snapshot: Option<Json<Snapshot>>,
    created_at: DateTime<Utc>,
}

impl From<PlacedRow> for Placed {
    fn from(row: PlacedRow) -> Self {
        Self {
            place: row.position,
            id: row.id.into(),
            kind: row.event_type,
            tenant: row.tenant_id.map(TenantId::from),
            task: row.task_id.map(TaskId::from),
            execution: row.execution_id.map(ExecutionId::from),
            payload: row.payload.0,
            snapshot: row.snapshot.map(|json| json.0),
            created_at: row.created_at,
        }
    }
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
