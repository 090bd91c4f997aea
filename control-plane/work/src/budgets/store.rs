//! SQL of budgets. A row is of the period that it was last touched in; whoever
//! reads it gets it as it is in the period that lasts.

use chrono::{DateTime, Utc};
use kernel::{Result, Tx, execute, fetch_all, fetch_optional};
use sqlx::types::Uuid;
use wire::budget::Period;
use wire::id::{BudgetId, TenantId};

use super::Kept;
use crate::admission::policy::{Budget, period_of};
use crate::admission::store::Lock;
use crate::tasks::Task;

kernel::sql! {
    INSERT: "INSERT INTO budgets (id, tenant_id, project, period, allocated_micros, alert_threshold, reservation_micros, \
                                  period_start, spent_micros, reserved_micros, alerted, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, 0, FALSE, $9) ON CONFLICT (tenant_id, project, period) DO NOTHING";
    // Everybody locks them in this order.
    CURRENT: "SELECT * FROM budgets WHERE tenant_id = $1 OR $1 IS NULL ORDER BY tenant_id, project, period";
    LOCK_CURRENT: "SELECT * FROM budgets WHERE tenant_id = $1 OR $1 IS NULL ORDER BY tenant_id, project, period" + lock;
    LOCK_PAYING: "SELECT * FROM budgets WHERE tenant_id = $1 AND project IN ('', $2) ORDER BY tenant_id, project, period" + lock;
    GET: "SELECT * FROM budgets WHERE tenant_id = $1 AND id = $2";
    LOCK_ONE: "SELECT * FROM budgets WHERE tenant_id = $1 AND id = $2" + lock;
    SAVE: "UPDATE budgets SET allocated_micros = $3, alert_threshold = $4, reservation_micros = $5, period_start = $6, \
                  spent_micros = $7, reserved_micros = $8, alerted = $9 WHERE tenant_id = $1 AND id = $2";
    DELETE: "DELETE FROM budgets WHERE tenant_id = $1 AND id = $2";
    DELETE_RESERVATIONS: "DELETE FROM budget_reservations WHERE tenant_id = $1 AND budget_id = $2";
    RESERVE: "INSERT INTO budget_reservations (task_id, budget_id, tenant_id, micros) VALUES ($1, $2, $3, $4) \
              ON CONFLICT (task_id, budget_id) DO UPDATE SET micros = budget_reservations.micros + excluded.micros";
    LOCK_RESERVING: "SELECT id FROM budgets WHERE tenant_id = $1 \
                     AND id IN (SELECT budget_id FROM budget_reservations WHERE tenant_id = $1 AND task_id = $2) \
                     ORDER BY tenant_id, project, period" + lock;
    FREE: "UPDATE budgets SET reserved_micros = reserved_micros - \
             (SELECT r.micros FROM budget_reservations r WHERE r.budget_id = budgets.id AND r.task_id = $2) \
           WHERE tenant_id = $1 AND id IN (SELECT budget_id FROM budget_reservations WHERE tenant_id = $1 AND task_id = $2)";
    FORGET: "DELETE FROM budget_reservations WHERE tenant_id = $1 AND task_id = $2";
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    tenant_id: Uuid,
    project: String,
    #[sqlx(try_from = "String")]
    period: Period,
    allocated_micros: i64,
    alert_threshold: i32,
    reservation_micros: Option<i64>,
    period_start: DateTime<Utc>,
    spent_micros: i64,
    reserved_micros: i64,
    alerted: bool,
    created_at: DateTime<Utc>,
}

impl Row {
    fn at(self, now: DateTime<Utc>) -> Kept {
        let (period_start, ends_at) = period_of(self.period, now);
        let is_over = self.period_start < period_start;
        let budget = Budget {
            id: self.id.into(),
            tenant: self.tenant_id.into(),
            project: Some(self.project).filter(|name| !name.is_empty()),
            period: self.period,
            allocated_micros: self.allocated_micros,
            spent_micros: if is_over { 0 } else { self.spent_micros },
            reserved_micros: self.reserved_micros,
            reservation_micros: self.reservation_micros,
            ends_at,
        };
        Kept {
            budget,
            alert_threshold: self.alert_threshold,
            alerted: self.alerted && !is_over,
            period_start,
            created_at: self.created_at,
        }
    }
}

/// Whether it was made: there is one for each project and period.
pub(super) async fn insert(tx: &mut Tx, kept: &Kept) -> Result<bool> {
    let budget = &kept.budget;
    let made = execute!(
        tx,
        INSERT,
        budget.id.uuid(),
        budget.tenant.uuid(),
        budget.project.as_deref().unwrap_or(""),
        budget.period.as_str(),
        budget.allocated_micros,
        kept.alert_threshold,
        budget.reservation_micros,
        kept.period_start,
        kept.created_at
    )?;
    Ok(made == 1)
}

/// Every budget of a tenant, or of all.
pub(crate) async fn current(
    tx: &mut Tx,
    tenant: Option<TenantId>,
    lock: Lock,
    now: DateTime<Utc>,
) -> Result<Vec<Budget>> {
    let sql = if lock == Lock::Yes { LOCK_CURRENT } else { CURRENT };
    let rows = fetch_all!(tx, Row, sql, tenant.map(TenantId::uuid))?;
    Ok(rows.into_iter().map(|row| row.at(now).budget).collect())
}

pub(super) async fn list(tx: &mut Tx, tenant: TenantId, now: DateTime<Utc>) -> Result<Vec<Kept>> {
    let rows = fetch_all!(tx, Row, CURRENT, Some(tenant.uuid()))?;
    Ok(rows.into_iter().map(|row| row.at(now)).collect())
}

pub(super) async fn get(tx: &mut Tx, tenant: TenantId, id: BudgetId, now: DateTime<Utc>) -> Result<Option<Kept>> {
    Ok(fetch_optional!(tx, Row, GET, tenant.uuid(), id.uuid())?.map(|row| row.at(now)))
}

pub(super) async fn lock(tx: &mut Tx, tenant: TenantId, id: BudgetId, now: DateTime<Utc>) -> Result<Option<Kept>> {
    Ok(fetch_optional!(tx, Row, LOCK_ONE, tenant.uuid(), id.uuid())?.map(|row| row.at(now)))
}

/// The budgets that pay for a task, locked.
pub(super) async fn lock_paying(tx: &mut Tx, task: &Task, now: DateTime<Utc>) -> Result<Vec<Kept>> {
    let project = task.project.as_deref().unwrap_or("");
    let rows = fetch_all!(tx, Row, LOCK_PAYING, task.tenant.uuid(), project)?;
    Ok(rows.into_iter().map(|row| row.at(now)).collect())
}

/// Writes down a budget that is locked, as it is in its period.
pub(super) async fn save(tx: &mut Tx, kept: &Kept) -> Result<()> {
    let budget = &kept.budget;
    execute!(
        tx,
        SAVE,
        budget.tenant.uuid(),
        budget.id.uuid(),
        budget.allocated_micros,
        kept.alert_threshold,
        budget.reservation_micros,
        kept.period_start,
        budget.spent_micros,
        budget.reserved_micros,
        kept.alerted
    )?;
    Ok(())
}

pub(super) async fn delete(tx: &mut Tx, tenant: TenantId, id: BudgetId) -> Result<()> {
    execute!(tx, DELETE, tenant.uuid(), id.uuid())?;
    execute!(tx, DELETE_RESERVATIONS, tenant.uuid(), id.uuid())?;
    Ok(())
}

pub(super) async fn insert_reservation(tx: &mut Tx, task: &Task, id: BudgetId, micros: i64) -> Result<()> {
    execute!(tx, RESERVE, task.id.uuid(), id.uuid(), task.tenant.uuid(), micros)?;
    Ok(())
}

/// Frees what is set aside for a task.
pub(super) async fn release(tx: &mut Tx, task: &Task) -> Result<()> {
    let (tenant, task) = (task.tenant.uuid(), task.id.uuid());
    // Locked in the order in which everybody locks them.
    fetch_all!(tx, (Uuid,), LOCK_RESERVING, tenant, task)?;
    execute!(tx, FREE, tenant, task)?;
    execute!(tx, FORGET, tenant, task)?;
    Ok(())
}
