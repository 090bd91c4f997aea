//! SQL of schedules.

use chrono::{DateTime, Utc};
use kernel::{Result, Tx, execute, fetch_all, fetch_one, fetch_optional};
use sqlx::types::{Json, Uuid};
use wire::id::{ScheduleId, TaskId, TenantId};
use wire::schedule::{CatchUp, Overlap, ScheduleView};
use wire::task::NewTask;

kernel::sql! {
    INSERT: "INSERT INTO schedules (id, tenant_id, name, cron, time_zone, template, overlap, catch_up, paused, next_at, \
                                    created_at, updated_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11)";
    LIST: "SELECT * FROM schedules WHERE tenant_id = $1 ORDER BY created_at, id";
    COUNT: "SELECT count(*) FROM schedules WHERE tenant_id = $1";
    GET: "SELECT * FROM schedules WHERE tenant_id = $1 AND id = $2";
    LOCK: "SELECT * FROM schedules WHERE tenant_id = $1 AND id = $2" + lock;
    SAVE: "UPDATE schedules SET name = $3, cron = $4, time_zone = $5, template = $6, overlap = $7, catch_up = $8, \
                  paused = $9, next_at = $10, last_at = $11, last_task_id = $12, updated_at = $13 \
           WHERE tenant_id = $1 AND id = $2";
    DELETE: "DELETE FROM schedules WHERE tenant_id = $1 AND id = $2";
    // Of all tenants: background work acts for everybody.
    DUE: "SELECT tenant_id, id FROM schedules WHERE next_at <= $1 AND next_at IS NOT NULL ORDER BY next_at, id LIMIT 100";
    UNFINISHED: "SELECT id FROM tasks WHERE tenant_id = $1 AND schedule_id = $2 AND schedule_id IS NOT NULL \
                 AND status IN ('ready', 'assigned', 'in_progress') ORDER BY created_at, id LIMIT 1000";
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    name: String,
    cron: String,
    time_zone: String,
    template: Json<NewTask>,
    #[sqlx(try_from = "String")]
    overlap: Overlap,
    #[sqlx(try_from = "String")]
    catch_up: CatchUp,
    paused: bool,
    next_at: Option<DateTime<Utc>>,
    last_at: Option<DateTime<Utc>>,
    last_task_id: Option<Uuid>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<Row> for ScheduleView {
    fn from(row: Row) -> Self {
        Self {
            id: row.id.into(),
            name: row.name,
            cron: row.cron,
            time_zone: row.time_zone,
            task: row.template.0,
            overlap: row.overlap,
            catch_up: row.catch_up,
            paused: row.paused,
            next_at: row.next_at,
            last_at: row.last_at,
            last_task_id: row.last_task_id.map(TaskId::from),
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

pub(super) async fn insert(tx: &mut Tx, tenant: TenantId, new: &ScheduleView) -> Result<()> {
    execute!(
        tx,
        INSERT,
        new.id.uuid(),
        tenant.uuid(),
        &new.name,
        &new.cron,
        &new.time_zone,
        Json(&new.task),
        new.overlap.as_str(),
        new.catch_up.as_str(),
        new.paused,
        new.next_at,
        new.created_at
    )?;
    Ok(())
}

pub(super) async fn list(tx: &mut Tx, tenant: TenantId) -> Result<Vec<ScheduleView>> {
    Ok(fetch_all!(tx, Row, LIST, tenant.uuid())?.into_iter().map(Into::into).collect())
}

pub(super) async fn count(tx: &mut Tx, tenant: TenantId) -> Result<i64> {
    let (count,) = fetch_one!(tx, (i64,), COUNT, tenant.uuid())?;
    Ok(count)
}

pub(super) async fn get(tx: &mut Tx, tenant: TenantId, id: ScheduleId) -> Result<Option<ScheduleView>> {
    Ok(fetch_optional!(tx, Row, GET, tenant.uuid(), id.uuid())?.map(Into::into))
}

pub(super) async fn lock(tx: &mut Tx, tenant: TenantId, id: ScheduleId) -> Result<Option<ScheduleView>> {
    Ok(fetch_optional!(tx, Row, LOCK, tenant.uuid(), id.uuid())?.map(Into::into))
}

/// Writes down a schedule that is locked.
pub(super) async fn save(tx: &mut Tx, tenant: TenantId, view: &ScheduleView) -> Result<()> {
    execute!(
        tx,
        SAVE,
        tenant.uuid(),
        view.id.uuid(),
        &view.name,
        &view.cron,
        &view.time_zone,
        Json(&view.task),
        view.overlap.as_str(),
        view.catch_up.as_str(),
        view.paused,
        view.next_at,
        view.last_at,
        view.last_task_id.map(TaskId::uuid),
        view.updated_at
    )?;
    Ok(())
}

pub(super) async fn delete(tx: &mut Tx, tenant: TenantId, id: ScheduleId) -> Result<()> {
    execute!(tx, DELETE, tenant.uuid(), id.uuid())?;
    Ok(())
}

/// Every tenant's schedules that are due.
pub(super) async fn due(tx: &mut Tx, now: DateTime<Utc>) -> Result<Vec<(TenantId, ScheduleId)>> {
    let rows = fetch_all!(tx, (Uuid, Uuid), DUE, now)?;
    Ok(rows.into_iter().map(|(tenant, id)| (tenant.into(), id.into())).collect())
}

/// A schedule's tasks that have not ended.
pub(super) async fn unfinished(tx: &mut Tx, tenant: TenantId, id: ScheduleId) -> Result<Vec<TaskId>> {
    let rows = fetch_all!(tx, (Uuid,), UNFINISHED, tenant.uuid(), id.uuid())?;
    Ok(rows.into_iter().map(|(id,)| id.into()).collect())
}
