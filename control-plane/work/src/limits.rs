//! Limits of keys: how many tasks with a key may be in hand at once, and how often
//! one may start.

pub(crate) mod store;

use kernel::audit::{self, Change, Entity};
use kernel::{Ctx, Error, Result};
use wire::admission::{LimitView, NewLimit, check_key};
use wire::id::TenantId;

use crate::Scheduler;
use crate::admission::policy::TOKEN;
use crate::admission::store::in_hand;
use store::Kept;

/// The most limits of one tenant.
const LIMITS_MAX: i64 = 10_000;
const MISSING: Error = Error::NotFound { what: "limit" };

/// Sets what a key allows, in place of what it allowed. A bucket that there was keeps its level; a new one is full.
#[tracing::instrument(skip_all)]
pub async fn set(ctx: &Ctx, tenant: TenantId, key: &str, new: NewLimit) -> Result<LimitView> {
    check_key("key", key)?;
    new.validate()?;
    let now = ctx.now();
    let mut tx = ctx.begin("limits.set").await?;
    let earlier = store::lock(&mut tx, tenant, key).await?;
    if earlier.is_none() && store::count(&mut tx, tenant).await? >= LIMITS_MAX {
        return Err(Error::conflict("too_many_limits", format!("there are {LIMITS_MAX} limits already; remove some")));
    }
    let before = earlier.as_ref().map(what_was_set);
    let full = new.rate.map_or(0, |rate| rate.burst() * TOKEN);
    let bucket = earlier.and_then(|kept| kept.limit.bucket);
    let level = bucket.map_or(full, |bucket| bucket.level(now).min(full));
    store::set(&mut tx, tenant, key, &new, level, now).await?;
    let kept = store::get(&mut tx, tenant, key).await?.ok_or(MISSING)?;
    let running = in_hand(&mut tx, Some(tenant)).await?;
    let view = view(kept, running.get(&(tenant, key.to_owned())).copied().unwrap_or(0), now);
    let change = match &before {
        Some(before) => Change::between(before, &new)?,
        None => Change::created(&new)?,
    };
    audit::write(ctx, &mut tx, "limit.set", &Entity::new(tenant, "limit", key), &change).await?;
    tx.nudge(Scheduler::NUDGE);
    tx.commit(view).await
}

fn what_was_set(kept: &Kept) -> NewLimit {
    let max_running = kept.limit.max_running.and_then(|most| i32::try_from(most).ok());
    NewLimit { max_running, rate: kept.limit.bucket.map(|bucket| bucket.rate) }
}

fn view(kept: Kept, running: i64, now: chrono::DateTime<chrono::Utc>) -> LimitView {
    let bucket = kept.limit.bucket;
    LimitView {
        max_running: what_was_set(&kept).max_running,
        key: kept.key,
        running,
        rate: bucket.map(|bucket| bucket.rate),
        tokens_left: bucket.map(|bucket| bucket.level(now) / TOKEN),
        next_token_at: bucket.and_then(|bucket| bucket.next_token_at(now)),
        updated_at: kept.updated_at,
    }
}

/// Every limit and how it stands, by key.
pub async fn list(ctx: &Ctx, tenant: TenantId) -> Result<Vec<LimitView>> {
    let mut tx = ctx.read("limits.list").await?;
    let kept = store::list(&mut tx, tenant).await?;
    let running = in_hand(&mut tx, Some(tenant)).await?;
    let count = |key: &str| running.get(&(tenant, key.to_owned())).copied().unwrap_or(0);
    let view = |kept: Kept| {
        let running = count(&kept.key);
        view(kept, running, ctx.now())
    };
    Ok(kept.into_iter().map(view).collect())
}

/// What one key allows and how it stands.
pub async fn get(ctx: &Ctx, tenant: TenantId, key: &str) -> Result<LimitView> {
    let mut tx = ctx.read("limits.get").await?;
    let kept = store::get(&mut tx, tenant, key).await?.ok_or(MISSING)?;
    let running = in_hand(&mut tx, Some(tenant)).await?;
    Ok(view(kept, running.get(&(tenant, key.to_owned())).copied().unwrap_or(0), ctx.now()))
}

/// Removes a limit. What it kept from starting may start.
#[tracing::instrument(skip_all)]
pub async fn remove(ctx: &Ctx, tenant: TenantId, key: &str) -> Result<()> {
    let mut tx = ctx.begin("limits.remove").await?;
    let kept = store::lock(&mut tx, tenant, key).await?.ok_or(MISSING)?;
    store::delete(&mut tx, tenant, key).await?;
    let change = Change::removed(&what_was_set(&kept))?;
    audit::write(ctx, &mut tx, "limit.removed", &Entity::new(tenant, "limit", key), &change).await?;
    tx.nudge(Scheduler::NUDGE);
    tx.commit(()).await
}
