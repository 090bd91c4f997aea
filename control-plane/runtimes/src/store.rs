//! SQL of runtimes and triggers.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use kernel::{Result, Tx, execute, fetch_all, fetch_one, fetch_optional};
use sqlx::types::Uuid;
use wire::id::{RuntimeId, TaskId, TenantId, TriggerId};
use wire::runtime::{Backend, Management, NewRuntime, TriggerReason, TriggerState, TriggerView, Via};

use crate::policy::Settings;

kernel::sql! {
    INSERT: "INSERT INTO runtimes (id, tenant_id, session_id, agent, host, pid, backend, target, management, can_resume, \
                                   task_id, read_cursor, last_number, registered_at, last_heartbeat_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0, 0, $12, $12) \
             ON CONFLICT (tenant_id, session_id) DO NOTHING";
    REGISTER_AGAIN: "UPDATE runtimes SET agent = $2, host = $3, pid = $4, backend = $5, target = $6, management = $7, \
                            can_resume = $8, task_id = $9, last_heartbeat_at = $10, gone_at = NULL WHERE id = $1";
    LIST: "SELECT * FROM runtimes WHERE tenant_id = $1 \
           ORDER BY CASE WHEN gone_at IS NULL THEN 0 ELSE 1 END, last_heartbeat_at DESC, id LIMIT $2";
    COUNT: "SELECT count(*) FROM runtimes WHERE tenant_id = $1 AND gone_at IS NULL";
    GET: "SELECT * FROM runtimes WHERE tenant_id = $1 AND id = $2";
    LOCK: "SELECT * FROM runtimes WHERE tenant_id = $1 AND id = $2" + lock;
    LOCK_SESSION: "SELECT * FROM runtimes WHERE tenant_id = $1 AND session_id = $2" + lock;
    HEARTBEAT: "UPDATE runtimes SET last_heartbeat_at = $2, read_cursor = $3, pid = $4 WHERE id = $1";
    SET_PAUSED: "UPDATE runtimes SET paused = $2 WHERE id = $1";
    SET_GONE: "UPDATE runtimes SET gone_at = $2 WHERE id = $1";
    SET_NUMBER: "UPDATE runtimes SET last_number = $2 WHERE id = $1";
    FORGET: "DELETE FROM runtimes WHERE last_heartbeat_at < $1";
    FORGET_TRIGGERS: "DELETE FROM triggers WHERE id IN \
                      (SELECT id FROM triggers WHERE ended_at < $1 AND ended_at IS NOT NULL ORDER BY ended_at LIMIT $2)";
    INSERT_TRIGGER: "INSERT INTO triggers (id, tenant_id, runtime_id, number, content, dedupe_key, forced, state, reason, \
                                           attempts, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, $10)";
    WAITING: "SELECT count(*) FROM triggers WHERE runtime_id = $1 AND ended_at IS NULL";
    RECENT: "SELECT count(*), min(created_at) FROM triggers WHERE runtime_id = $1 AND created_at > $2";
    SAME_KEY: "SELECT * FROM triggers WHERE runtime_id = $1 AND dedupe_key = $2 AND dedupe_key IS NOT NULL \
               AND (ended_at IS NULL OR (state = 'delivered' AND ended_at > $3)) ORDER BY number DESC LIMIT 1";
    OF_RUNTIME: "SELECT * FROM triggers WHERE tenant_id = $1 AND runtime_id = $2 ORDER BY number DESC LIMIT $3";
    FIRST_OPEN: "SELECT * FROM triggers WHERE runtime_id = $1 AND ended_at IS NULL ORDER BY number LIMIT 1";
    FIRST_FORCED: "SELECT * FROM triggers WHERE runtime_id = $1 AND ended_at IS NULL AND forced AND written_at IS NULL \
                   ORDER BY number LIMIT 1";
    OVERTAKEN: "SELECT * FROM triggers WHERE runtime_id = $1 AND ended_at IS NULL AND written_at IS NULL AND number < $2 \
                ORDER BY number";
    UNWRITE: "UPDATE triggers SET state = 'pending', written_at = NULL WHERE runtime_id = $1 AND ended_at IS NULL \
              AND written_at IS NOT NULL AND number > $2 AND number <= $3";
    RENUMBER: "UPDATE triggers SET number = $2 WHERE id = $1";
    WAITING_OF_ALL: "SELECT runtime_id, count(*) FROM triggers WHERE tenant_id = $1 AND ended_at IS NULL \
                     GROUP BY runtime_id";
    NUMBERED: "SELECT * FROM triggers WHERE runtime_id = $1 AND number = $2";
    MOVE: "UPDATE triggers SET state = $2, reason = $3, via = $4, attempts = $5, not_before = $6, written_at = $7, \
                  ended_at = $8 WHERE id = $1";
    WITH_OPEN: "SELECT * FROM runtimes WHERE id IN (SELECT runtime_id FROM triggers WHERE ended_at IS NULL) \
                ORDER BY id LIMIT $1";
}

/// A runtime as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Runtime {
    pub(crate) id: RuntimeId,
    pub(crate) tenant: TenantId,
    pub(crate) registered: NewRuntime,
    pub(crate) paused: Option<String>,
    pub(crate) read_cursor: i64,
    pub(crate) last_number: i64,
    pub(crate) registered_at: DateTime<Utc>,
    pub(crate) last_heartbeat_at: DateTime<Utc>,
    pub(crate) gone_at: Option<DateTime<Utc>>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    tenant_id: Uuid,
    session_id: String,
    agent: String,
    host: String,
    pid: i64,
    #[sqlx(try_from = "String")]
    backend: Backend,
    target: String,
    #[sqlx(try_from = "String")]
    management: Management,
    can_resume: bool,
    task_id: Option<Uuid>,
    paused: Option<String>,
    read_cursor: i64,
    last_number: i64,
    registered_at: DateTime<Utc>,
    last_heartbeat_at: DateTime<Utc>,
    gone_at: Option<DateTime<Utc>>,
}

impl From<Row> for Runtime {
    fn from(row: Row) -> Self {
        Self {
            id: row.id.into(),
            tenant: row.tenant_id.into(),
            registered: NewRuntime {
                session_id: row.session_id,
                agent: row.agent,
                host: row.host,
                pid: row.pid,
                backend: row.backend,
                target: row.target,
                management: row.management,
                can_resume: row.can_resume,
                task_id: row.task_id.map(TaskId::from),
            },
            paused: row.paused,
            read_cursor: row.read_cursor,
            last_number: row.last_number,
            registered_at: row.registered_at,
            last_heartbeat_at: row.last_heartbeat_at,
            gone_at: row.gone_at,
        }
    }
}

#[derive(sqlx::FromRow)]
struct TriggerRow {
    id: Uuid,
    runtime_id: Uuid,
    number: i64,
    content: String,
    dedupe_key: Option<String>,
    forced: bool,
    #[sqlx(try_from = "String")]
    state: TriggerState,
    #[sqlx(try_from = "String")]
    reason: TriggerReason,
    via: Option<String>,
    attempts: i32,
    not_before: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    written_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
}

impl From<TriggerRow> for TriggerView {
    fn from(row: TriggerRow) -> Self {
        Self {
            id: row.id.into(),
            runtime_id: row.runtime_id.into(),
            number: row.number,
            text: row.content,
            dedupe_key: row.dedupe_key,
            forced: row.forced,
            state: row.state,
            reason: row.reason,
            via: row.via.and_then(|word| word.parse::<Via>().ok()),
            attempts: row.attempts,
            not_before: row.not_before,
            created_at: row.created_at,
            written_at: row.written_at,
            ended_at: row.ended_at,
        }
    }
}

/// Stores a runtime; nothing happens where somebody else was faster.
pub(crate) async fn insert(
    tx: &mut Tx,
    id: RuntimeId,
    tenant: TenantId,
    new: &NewRuntime,
    now: DateTime<Utc>,
) -> Result<()> {
    execute!(
        tx,
        INSERT,
        id.uuid(),
        tenant.uuid(),
        new.session_id.as_str(),
        new.agent.as_str(),
        new.host.as_str(),
        new.pid,
        new.backend.as_str(),
        new.target.as_str(),
        new.management.as_str(),
        new.can_resume,
        new.task_id.map(TaskId::uuid),
        now
    )?;
    Ok(())
}

pub(crate) async fn register_again(tx: &mut Tx, id: RuntimeId, new: &NewRuntime, now: DateTime<Utc>) -> Result<()> {
    execute!(
        tx,
        REGISTER_AGAIN,
        id.uuid(),
        new.agent.as_str(),
        new.host.as_str(),
        new.pid,
        new.backend.as_str(),
        new.target.as_str(),
        new.management.as_str(),
        new.can_resume,
        new.task_id.map(TaskId::uuid),
        now
    )?;
    Ok(())
}

pub(crate) async fn list(tx: &mut Tx, tenant: TenantId, limit: i64) -> Result<Vec<Runtime>> {
    Ok(fetch_all!(tx, Row, LIST, tenant.uuid(), limit)?.into_iter().map(Into::into).collect())
}

/// How many runtimes of a tenant have not ended.
pub(crate) async fn count(tx: &mut Tx, tenant: TenantId) -> Result<i64> {
    Ok(fetch_one!(tx, (i64,), COUNT, tenant.uuid())?.0)
}

/// How many triggers wait, by runtime.
pub(crate) async fn waiting_of_all(tx: &mut Tx, tenant: TenantId) -> Result<HashMap<RuntimeId, i64>> {
    let rows = fetch_all!(tx, (Uuid, i64), WAITING_OF_ALL, tenant.uuid())?;
    Ok(rows.into_iter().map(|(id, count)| (id.into(), count)).collect())
}

/// Removes triggers that have ended before then, at most so many.
pub(crate) async fn forget_triggers(tx: &mut Tx, before: DateTime<Utc>, most: i64) -> Result<u64> {
    Ok(execute!(tx, FORGET_TRIGGERS, before, most)?)
}

pub(crate) async fn get(tx: &mut Tx, tenant: TenantId, id: RuntimeId) -> Result<Option<Runtime>> {
    Ok(fetch_optional!(tx, Row, GET, tenant.uuid(), id.uuid())?.map(Into::into))
}

pub(crate) async fn lock(tx: &mut Tx, tenant: TenantId, id: RuntimeId) -> Result<Option<Runtime>> {
    Ok(fetch_optional!(tx, Row, LOCK, tenant.uuid(), id.uuid())?.map(Into::into))
}

pub(crate) async fn lock_session(tx: &mut Tx, tenant: TenantId, session: &str) -> Result<Option<Runtime>> {
    Ok(fetch_optional!(tx, Row, LOCK_SESSION, tenant.uuid(), session)?.map(Into::into))
}

pub(crate) async fn heartbeat(tx: &mut Tx, id: RuntimeId, now: DateTime<Utc>, cursor: i64, pid: i64) -> Result<()> {
    execute!(tx, HEARTBEAT, id.uuid(), now, cursor, pid)?;
    Ok(())
}

pub(crate) async fn set_paused(tx: &mut Tx, id: RuntimeId, reason: Option<&str>) -> Result<()> {
    execute!(tx, SET_PAUSED, id.uuid(), reason)?;
    Ok(())
}

pub(crate) async fn set_gone(tx: &mut Tx, id: RuntimeId, now: DateTime<Utc>) -> Result<()> {
    execute!(tx, SET_GONE, id.uuid(), now)?;
    Ok(())
}

/// Removes runtimes that were heard of last before then, with their triggers; gives how many.
pub(crate) async fn forget(tx: &mut Tx, before: DateTime<Utc>) -> Result<u64> {
    Ok(execute!(tx, FORGET, before)?)
}

pub(crate) async fn insert_trigger(
    tx: &mut Tx,
    tenant: TenantId,
    runtime: RuntimeId,
    trigger: &TriggerView,
) -> Result<()> {
    execute!(
        tx,
        INSERT_TRIGGER,
        TriggerId::uuid(trigger.id),
        tenant.uuid(),
        runtime.uuid(),
        trigger.number,
        trigger.text.as_str(),
        trigger.dedupe_key.as_deref(),
        trigger.forced,
        trigger.state.as_str(),
        trigger.reason.as_str(),
        trigger.created_at
    )?;
    Ok(())
}

/// The newest number that a runtime's triggers have.
pub(crate) async fn set_number(tx: &mut Tx, runtime: RuntimeId, number: i64) -> Result<()> {
    execute!(tx, SET_NUMBER, runtime.uuid(), number)?;
    Ok(())
}

pub(crate) async fn waiting(tx: &mut Tx, runtime: RuntimeId) -> Result<i64> {
    Ok(fetch_one!(tx, (i64,), WAITING, runtime.uuid())?.0)
}

/// How many triggers a runtime was asked for since then, and when the first of them.
pub(crate) async fn recent(
    tx: &mut Tx,
    runtime: RuntimeId,
    since: DateTime<Utc>,
) -> Result<(i64, Option<DateTime<Utc>>)> {
    Ok(fetch_one!(tx, (i64, Option<DateTime<Utc>>), RECENT, runtime.uuid(), since)?)
}

/// The trigger that one with this key would be.
pub(crate) async fn same_key(
    tx: &mut Tx,
    runtime: RuntimeId,
    key: &str,
    settings: &Settings,
    now: DateTime<Utc>,
) -> Result<Option<TriggerView>> {
    let since = now - settings.dedupe;
    Ok(fetch_optional!(tx, TriggerRow, SAME_KEY, runtime.uuid(), key, since)?.map(Into::into))
}

pub(crate) async fn of_runtime(
    tx: &mut Tx,
    tenant: TenantId,
    runtime: RuntimeId,
    limit: i64,
) -> Result<Vec<TriggerView>> {
    let rows = fetch_all!(tx, TriggerRow, OF_RUNTIME, tenant.uuid(), runtime.uuid(), limit)?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// The first trigger of a runtime that has not ended.
pub(crate) async fn first_open(tx: &mut Tx, runtime: RuntimeId) -> Result<Option<TriggerView>> {
    Ok(fetch_optional!(tx, TriggerRow, FIRST_OPEN, runtime.uuid())?.map(Into::into))
}

/// The first forced one that was not written yet.
pub(crate) async fn first_forced(tx: &mut Tx, runtime: RuntimeId) -> Result<Option<TriggerView>> {
    Ok(fetch_optional!(tx, TriggerRow, FIRST_FORCED, runtime.uuid())?.map(Into::into))
}

/// Notes of what was written between these numbers that it is nowhere any more: its terminal has ended.
pub(crate) async fn unwrite(tx: &mut Tx, runtime: RuntimeId, behind: i64, up_to: i64) -> Result<()> {
    execute!(tx, UNWRITE, runtime.uuid(), behind, up_to)?;
    Ok(())
}

/// Numbers what waits before this number behind everything else, in the same order.
pub(crate) async fn put_behind(tx: &mut Tx, runtime: &Runtime, number: i64) -> Result<()> {
    let overtaken = fetch_all!(tx, TriggerRow, OVERTAKEN, runtime.id.uuid(), number)?;
    let mut last = runtime.last_number;
    for trigger in overtaken.into_iter().map(TriggerView::from) {
        last += 1;
        execute!(tx, RENUMBER, TriggerId::uuid(trigger.id), last)?;
    }
    execute!(tx, SET_NUMBER, runtime.id.uuid(), last)?;
    Ok(())
}

pub(crate) async fn numbered(tx: &mut Tx, runtime: RuntimeId, number: i64) -> Result<Option<TriggerView>> {
    Ok(fetch_optional!(tx, TriggerRow, NUMBERED, runtime.uuid(), number)?.map(Into::into))
}

/// Stores where a trigger stands.
pub(crate) async fn put(tx: &mut Tx, trigger: &TriggerView) -> Result<()> {
    execute!(
        tx,
        MOVE,
        TriggerId::uuid(trigger.id),
        trigger.state.as_str(),
        trigger.reason.as_str(),
        trigger.via.map(Via::as_str),
        trigger.attempts,
        trigger.not_before,
        trigger.written_at,
        trigger.ended_at
    )?;
    Ok(())
}

/// Runtimes with triggers that have not ended, of all tenants.
pub(crate) async fn with_open(tx: &mut Tx, limit: i64) -> Result<Vec<Runtime>> {
    Ok(fetch_all!(tx, Row, WITH_OPEN, limit)?.into_iter().map(Into::into).collect())
}
