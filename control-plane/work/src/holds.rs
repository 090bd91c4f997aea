//! Holds: visible reasons why a task, a project, everything with a key, or all
//! work must not proceed. Each has an owner, a reason, and an end if one was
//! given; a provider's exhausted quota is such a hold with the time at which it
//! is filled again. What is in hand already goes on.

pub(crate) mod store;

use chrono::{DateTime, SubsecRound as _, Utc};
use kernel::audit::{self, Change, Entity};
use kernel::idempotency::{self, Attempt};
use kernel::outbox::{self, About};
use kernel::{Ctx, Error, Result, Tx};
use wire::admission::{HoldView, NewHold};
use wire::event::kind;
use wire::id::{HoldId, TenantId};

use crate::tasks::{self, Task};
use crate::{Scheduler, admission};

/// Whose a hold is that nobody asked for.
const OWNER: &str = "bifrost";
/// The most holds of one tenant.
const HOLDS_MAX: i64 = 10_000;

/// Holds something. The same attempt again gives the first answer. `caller` owns the hold where it names nobody.
#[tracing::instrument(skip_all)]
pub async fn set(
    ctx: &Ctx,
    tenant: TenantId,
    caller: &str,
    new: NewHold,
    attempt: Option<&Attempt>,
) -> Result<HoldView> {
    new.validate()?;
    let now = ctx.now();
    if new.expires_at.is_some_and(|time| time <= now || time >= admission::policy::FOR_EVER) {
        return Err(Error::invalid("expires_at", "must be a time to come, before the year 9000"));
    }
    let mut tx = ctx.begin("holds.set").await?;
    if let Some(first) = idempotency::replay_if(&mut tx, tenant, attempt).await? {
        return Ok(first);
    }
    if let Some(task) = new.task_id {
        tasks::load_locked(&mut tx, tenant, task).await?;
    }
    let hold = HoldView {
        id: ctx.id(HoldId::mint),
        task_id: new.task_id,
        project: new.project,
        key: new.key,
        everything: new.everything,
        reason: new.reason,
        owner: new.owner.unwrap_or_else(|| caller.to_owned()),
        expires_at: new.expires_at.map(|time| time.trunc_subsecs(6)),
        created_at: now,
    };
    place(ctx, &mut tx, tenant, &hold).await?;
    idempotency::remember_if(&mut tx, tenant, attempt, &hold, now).await?;
    tx.commit(hold).await
}

/// Sets a hold; the task, where it is one of a task, is locked.
pub(crate) async fn place(ctx: &Ctx, tx: &mut Tx, tenant: TenantId, hold: &HoldView) -> Result<()> {
    if store::count(tx, tenant).await? >= HOLDS_MAX {
        return Err(Error::conflict("too_many_holds", format!("there are {HOLDS_MAX} holds already; remove some")));
    }
    store::insert(tx, tenant, hold).await?;
    if let Some(task) = hold.task_id {
        admission::park(tx, tenant, task, hold.created_at).await?;
    }
    outbox::push(ctx, tx, kind::HOLD_SET, about(tenant, hold), hold).await?;
    audit::write(ctx, tx, kind::HOLD_SET, &entity(tenant, hold), &Change::created(hold)?).await
}

/// Has a task that is locked wait until then, for a reason of our own. Where the tenant has as many holds as it may
/// have, it does not wait.
pub(crate) async fn wait(ctx: &Ctx, tx: &mut Tx, task: &Task, reason: &str, until: DateTime<Utc>) -> Result<()> {
    if store::count(tx, task.tenant).await? >= HOLDS_MAX {
        return Ok(());
    }
    let hold = HoldView {
        id: ctx.id(HoldId::mint),
        task_id: Some(task.id),
        project: None,
        key: None,
        everything: false,
        reason: reason.into(),
        owner: OWNER.into(),
        expires_at: Some(until),
        created_at: ctx.now(),
    };
    place(ctx, tx, task.tenant, &hold).await
}

fn about(tenant: TenantId, hold: &HoldView) -> About {
    About { tenant: Some(tenant), task: hold.task_id, ..About::default() }
}

fn entity(tenant: TenantId, hold: &HoldView) -> Entity {
    Entity::new(tenant, "hold", hold.id)
}

/// Every hold that lasts, the oldest first.
pub async fn list(ctx: &Ctx, tenant: TenantId) -> Result<Vec<HoldView>> {
    let mut tx = ctx.read("holds.list").await?;
    store::list(&mut tx, tenant, ctx.now()).await
}

/// Removes a hold. What it kept from starting may start.
#[tracing::instrument(skip_all, fields(hold.id = %id))]
pub async fn remove(ctx: &Ctx, tenant: TenantId, id: HoldId) -> Result<()> {
    const MISSING: Error = Error::NotFound { what: "hold" };
    let mut tx = ctx.begin("holds.remove").await?;
    let hold = store::get(&mut tx, tenant, id).await?.ok_or(MISSING)?;
    if !end(ctx, &mut tx, tenant, &hold).await? {
        return Err(MISSING);
    }
    tx.commit(()).await
}

/// Ends a hold; whether it was there still.
pub(crate) async fn end(ctx: &Ctx, tx: &mut Tx, tenant: TenantId, hold: &HoldView) -> Result<bool> {
    if let Some(task) = hold.task_id {
        // Before the hold itself: whoever deletes the task removes its holds.
        tasks::store::lock_any(tx, task).await?;
    }
    if !store::delete(tx, tenant, hold.id).await? {
        return Ok(false);
    }
    if let Some(task) = hold.task_id {
        admission::park(tx, tenant, task, ctx.now()).await?;
    }
    outbox::push(ctx, tx, kind::HOLD_ENDED, about(tenant, hold), hold).await?;
    audit::write(ctx, tx, kind::HOLD_ENDED, &entity(tenant, hold), &Change::removed(hold)?).await?;
    tx.nudge(Scheduler::NUDGE);
    Ok(true)
}

/// Ends holds whose time is over; gives how many.
pub(crate) async fn expire(ctx: &Ctx, now: DateTime<Utc>) -> Result<usize> {
    let mut tx = ctx.read("holds.expired").await?;
    let expired = store::expired(&mut tx, now).await?;
    drop(tx);
    let mut ended = 0;
    for (tenant, hold) in expired {
        let mut tx = ctx.begin("holds.expire").await?;
        let is_news = end(ctx, &mut tx, tenant, &hold).await?;
        tx.commit(()).await?;
        ended += usize::from(is_news);
    }
    Ok(ended)
}
