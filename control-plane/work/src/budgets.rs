//! Budgets of projects and of the whole tenant, by the day, the week or the month
//! (row CAIRN-58). Money is set aside when a task is given to somebody, and spent
//! when its execution ends, each in the transaction that does it. What is left
//! decides whether the next task may start ([`crate::admission`]); at zero, work
//! waits until the period ends.
//!
//! What is set aside is an estimate, so an execution that costs more can still
//! take a budget over its end: set `reservation_dollars` to the most that a task
//! may cost where that must not be. The lifetime budget of a task, which bounds
//! how long its command may run, is the task's own.

pub(crate) mod store;

use chrono::{DateTime, Utc};
use kernel::audit::{self, Change, Entity};
use kernel::idempotency::{self, Attempt};
use kernel::outbox::{self, About};
use kernel::{Ctx, Error, Result, Tx};
use wire::budget::{
    BudgetChange, BudgetView, NewBudget, THRESHOLD_DEFAULT, check_dollars, check_reservation, check_threshold,
};
use wire::event::kind;
use wire::id::{BudgetId, ExecutionId, TenantId};
use wire::money::dollars;

use crate::Scheduler;
use crate::admission::policy::{Budget, period_of};
use crate::tasks::{self, Spent, Task};

/// A budget as it is kept, in the period that lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) budget: Budget,
    /// Hundredths of a percent.
    pub(crate) alert_threshold: i32,
    pub(crate) alerted: bool,
    pub(crate) period_start: DateTime<Utc>,
    pub(crate) created_at: DateTime<Utc>,
}

impl Kept {
    /// Whether so much is spent that somebody should know.
    fn is_over_threshold(&self) -> bool {
        let part = i128::from(self.budget.allocated_micros) * i128::from(self.alert_threshold);
        i128::from(self.budget.spent_micros) * 10_000 >= part
    }
}

impl From<Kept> for BudgetView {
    fn from(kept: Kept) -> Self {
        let budget = kept.budget;
        let threshold = dollars(i64::from(kept.alert_threshold) * 100);
        Self {
            id: budget.id,
            project: budget.project,
            period: budget.period,
            allocated_dollars: dollars(budget.allocated_micros),
            spent_dollars: dollars(budget.spent_micros),
            reserved_dollars: dollars(budget.reserved_micros),
            alert_threshold: threshold.trim_end_matches('0').trim_end_matches('.').to_owned(),
            reservation_dollars: budget.reservation_micros.map(dollars),
            alerted: kept.alerted,
            period_start: kept.period_start,
            period_end: budget.ends_at,
            created_at: kept.created_at,
        }
    }
}

/// Makes a budget. The same attempt again gives the first answer.
#[tracing::instrument(skip_all)]
pub async fn create(ctx: &Ctx, tenant: TenantId, new: NewBudget, attempt: Option<&Attempt>) -> Result<BudgetView> {
    new.validate()?;
    let now = ctx.now();
    let mut tx = ctx.begin("budgets.create").await?;
    if let Some(first) = idempotency::replay_if(&mut tx, tenant, attempt).await? {
        return Ok(first);
    }
    let (period_start, ends_at) = period_of(new.period, now);
    let kept = Kept {
        budget: Budget {
            id: ctx.id(BudgetId::mint),
            tenant,
            project: new.project,
            period: new.period,
            allocated_micros: check_dollars("allocated_dollars", &new.allocated_dollars)?,
            spent_micros: 0,
            reserved_micros: 0,
            reservation_micros: reservation(new.reservation_dollars.as_deref())?,
            ends_at,
        },
        alert_threshold: new.alert_threshold.as_deref().map_or(Ok(THRESHOLD_DEFAULT), check_threshold)?,
        alerted: false,
        period_start,
        created_at: now,
    };
    if !store::insert(&mut tx, &kept).await? {
        let message = "there is a budget for this project and period already; change that one";
        return Err(Error::conflict("budget_exists", message));
    }
    let view = BudgetView::from(kept);
    audit::write(ctx, &mut tx, "budget.made", &entity(tenant, view.id), &Change::created(&view)?).await?;
    idempotency::remember_if(&mut tx, tenant, attempt, &view, now).await?;
    tx.nudge(Scheduler::NUDGE);
    tx.commit(view).await
}

fn reservation(dollars: Option<&str>) -> Result<Option<i64>> {
    Ok(dollars.map(|text| check_dollars("reservation_dollars", text)).transpose()?)
}

/// Every budget, in the period that lasts: the tenant's own first, then by project.
pub async fn list(ctx: &Ctx, tenant: TenantId) -> Result<Vec<BudgetView>> {
    let mut tx = ctx.read("budgets.list").await?;
    let kept = store::list(&mut tx, tenant, ctx.now()).await?;
    Ok(kept.into_iter().map(BudgetView::from).collect())
}

/// One budget.
pub async fn get(ctx: &Ctx, tenant: TenantId, id: BudgetId) -> Result<BudgetView> {
    let mut tx = ctx.read("budgets.get").await?;
    store::get(&mut tx, tenant, id, ctx.now()).await?.map(BudgetView::from).ok_or(MISSING)
}

fn entity(tenant: TenantId, id: BudgetId) -> Entity {
    Entity::new(tenant, "budget", id)
}

const MISSING: Error = Error::NotFound { what: "budget" };

/// Changes some fields of a budget.
#[tracing::instrument(skip_all, fields(budget.id = %id))]
pub async fn update(ctx: &Ctx, tenant: TenantId, id: BudgetId, change: BudgetChange) -> Result<BudgetView> {
    change.validate()?;
    let mut tx = ctx.begin("budgets.update").await?;
    let mut kept = store::lock(&mut tx, tenant, id, ctx.now()).await?.ok_or(MISSING)?;
    let before = BudgetView::from(kept.clone());
    if let Some(dollars) = &change.allocated_dollars {
        kept.budget.allocated_micros = check_dollars("allocated_dollars", dollars)?;
    }
    if let Some(part) = &change.alert_threshold {
        kept.alert_threshold = check_threshold(part)?;
    }
    if let Some(dollars) = reservation(change.reservation_dollars.as_deref())? {
        // Less than that in all is a way to have nothing start for a while, and may be wanted.
        check_reservation(kept.budget.allocated_micros, Some(dollars))?;
        kept.budget.reservation_micros = Some(dollars);
    }
    // Below the threshold again, the next crossing is news.
    kept.alerted = kept.alerted && kept.is_over_threshold();
    store::save(&mut tx, &kept).await?;
    let view = BudgetView::from(kept);
    audit::write(ctx, &mut tx, "budget.changed", &entity(tenant, id), &Change::between(&before, &view)?).await?;
    tx.nudge(Scheduler::NUDGE);
    tx.commit(view).await
}

/// Removes a budget. What it kept from starting starts.
#[tracing::instrument(skip_all, fields(budget.id = %id))]
pub async fn delete(ctx: &Ctx, tenant: TenantId, id: BudgetId) -> Result<()> {
    let mut tx = ctx.begin("budgets.delete").await?;
    let before = store::lock(&mut tx, tenant, id, ctx.now()).await?.map(BudgetView::from).ok_or(MISSING)?;
    store::delete(&mut tx, tenant, id).await?;
    audit::write(ctx, &mut tx, "budget.removed", &entity(tenant, id), &Change::removed(&before)?).await?;
    tx.nudge(Scheduler::NUDGE);
    tx.commit(()).await
}

/// Sets money aside for a task that is given to somebody; the budgets are locked.
pub(crate) async fn reserve(tx: &mut Tx, task: &Task, reserved: &[(BudgetId, i64)], now: DateTime<Utc>) -> Result<()> {
    for (id, micros) in reserved {
        let Some(mut kept) = store::lock(tx, task.tenant, *id, now).await? else { continue };
        kept.budget.reserved_micros += micros;
        store::save(tx, &kept).await?;
        store::insert_reservation(tx, task, *id, *micros).await?;
    }
    tasks::store::set_reserved(tx, task.id, true).await
}

/// Nobody has the task any longer: what was set aside for it is free again. The task is locked.
pub(crate) async fn release(tx: &mut Tx, task: &Task) -> Result<()> {
    if !task.has_reservation {
        return Ok(());
    }
    store::release(tx, task).await?;
    tasks::store::set_reserved(tx, task.id, false).await
}

/// Counts what an attempt used, in the transaction that ends it: for its task, and in every budget that pays
/// for it. Each alert is written once in a period.
pub(crate) async fn settle(ctx: &Ctx, tx: &mut Tx, task: &Task, execution: ExecutionId, used: Spent) -> Result<()> {
    if used == Spent::default() {
        return Ok(());
    }
    tasks::store::spend(tx, task.id, used).await?;
    if used.micros == 0 {
        return Ok(());
    }
    for mut kept in store::lock_paying(tx, task, ctx.now()).await? {
        kept.budget.spent_micros = kept.budget.spent_micros.saturating_add(used.micros);
        let is_news = !kept.alerted && kept.is_over_threshold();
        kept.alerted |= is_news;
        store::save(tx, &kept).await?;
        if is_news {
            let view = BudgetView::from(kept);
            outbox::push(ctx, tx, kind::BUDGET_ALERT, About::execution(task.tenant, task.id, execution), &view).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
