//! What the provider has that no row knows: found by comparing, reported first,
//! and destroyed by rule, or, where it may be what another database knows, only when
//! an operator says so. Only what carries the pool's own mark is ever touched.

mod policy;
pub(crate) mod store;

use chrono::{DateTime, TimeDelta, Utc};
use kernel::audit::{self, Change, Entity};
use kernel::outbox::{self, About};
use kernel::{Ctx, Result, Tx};
use serde_json::json;
use wire::event::kind;
use wire::id::MachineId;
use wire::machine::{MachineView, OrphanKind, OrphanView, SweepView};

use crate::{CAPACITY_NUDGE, Settings, Watch, ever_later, kept, machines, money};

/// A control plane that begins after so long may have another database than the last one.
const LONG_AGO: TimeDelta = TimeDelta::minutes(10);
/// No machine is made by what was seen of the provider longer ago.
const OBSERVATION_AGE_MAX: TimeDelta = TimeDelta::seconds(90);

/// An orphan that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Orphan {
    /// What it is.
    pub(crate) kind: OrphanKind,
    /// Its id at the provider.
    pub(crate) provider_id: String,
    /// Its name there.
    pub(crate) name: String,
    /// Where it is.
    pub(crate) region: String,
    /// The row that it says it belongs to, where it is a machine.
    pub(crate) row: Option<MachineId>,
    /// Whether it runs.
    pub(crate) is_awake: bool,
    /// When the provider made it, if it says so.
    pub(crate) made_at: Option<DateTime<Utc>>,
    /// How large it is, if the provider says so.
    pub(crate) size: Option<Size>,
}

/// How large something is that no row knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Size {
    /// Of a machine.
    Guest(fly::Guest),
    /// Of a volume.
    Gigabytes(u32),
}

/// What the last comparison with the provider found.
pub async fn last_sweep(ctx: &Ctx) -> Result<SweepView> {
    let mut tx = ctx.read("pool.orphans.last_sweep").await?;
    view(&mut tx, ctx.now()).await
}

/// Has the next comparison, which comes at once, reap what carries the pool's mark, whatever its age and origin.
pub async fn approve(ctx: &Ctx) -> Result<SweepView> {
    let mut tx = ctx.begin("pool.orphans.approve").await?;
    let approved = store::approve(&mut tx).await?;
    if approved > 0 {
        let change = Change::created(&json!({ "orphans": approved }))?;
        audit::write(ctx, &mut tx, "orphans.approved", &Entity::shared("sweep", "last"), &change).await?;
    }
    tx.nudge(Watch::NUDGE);
    let view = view(&mut tx, ctx.now()).await?;
    tx.commit(view).await
}

pub(crate) async fn view(tx: &mut Tx, now: DateTime<Utc>) -> Result<SweepView> {
    let observed = store::observed(tx).await?;
    let orphans = store::list(tx, now - TimeDelta::days(1)).await?;
    let astray = machines::store::list(tx).await?.into_iter().filter(|machine| machine.error.is_some());
    Ok(SweepView {
        compared_at: observed.as_ref().filter(|last| !last.is_void).map(|last| last.watched_at),
        strangers: observed.map_or(0, |last| i32::try_from(last.strangers()).unwrap_or(i32::MAX)),
        orphans: orphans.into_iter().map(OrphanView::from).collect(),
        astray: astray.map(MachineView::from).collect(),
        kept: kept::store::list(tx).await?,
    })
}

/// A control plane begins: what an earlier one saw of the provider says nothing about what is there now, and no machine
/// is made until it was looked at. Where that was long ago, the database may have been restored, and what sleeps may
/// have been used since: it sleeps anew before it is destroyed for that.
pub async fn begin(ctx: &Ctx) -> Result<()> {
    let (mut tx, now) = (ctx.begin("pool.orphans.begin").await?, ctx.now());
    if store::observed(&mut tx).await?.is_some_and(|last| now - last.watched_at > LONG_AGO) {
        machines::store::sleep_anew(&mut tx, now).await?;
    }
    store::begin(&mut tx, now).await?;
    tx.nudge(Watch::NUDGE);
    tx.commit(()).await
}

/// Something is there from now on that was not counted: no machine is made until the provider was looked at.
pub(crate) async fn look_again(tx: &mut Tx, now: DateTime<Utc>) -> Result<()> {
    store::make_void(tx, now).await?;
    tx.nudge(Watch::NUDGE);
    Ok(())
}

/// Machines that the provider listed last and no row knows.
pub(crate) async fn strangers(tx: &mut Tx) -> Result<usize> {
    Ok(store::observed(tx).await?.map_or(0, |last| last.strangers()))
}

/// The same, to make another machine by; none if that cannot be said, until the provider was looked at, which is asked
/// for. Nobody has to look before the first control plane has begun.
pub(crate) async fn strangers_for_sure(tx: &mut Tx, now: DateTime<Utc>) -> Result<Option<usize>> {
    let Some(last) = store::observed(tx).await? else { return Ok(Some(0)) };
    if is_sure(&last, now) {
        return Ok(Some(last.strangers()));
    }
    tx.nudge(Watch::NUDGE);
    Ok(None)
}

/// How many of those machines carried the pool's mark: they are orphans, or were reaped and are going.
pub(crate) async fn marked(tx: &mut Tx) -> Result<usize> {
    store::marked(tx).await
}

/// Whether the provider could not be looked at since that was asked for.
pub(crate) async fn is_look_missing(tx: &mut Tx) -> Result<bool> {
    Ok(store::observed(tx).await?.is_some_and(|last| last.is_void))
}

fn is_sure(last: &store::Observation, now: DateTime<Utc>) -> bool {
    !last.is_void && now - last.watched_at <= OBSERVATION_AGE_MAX
}

/// One look at the provider.
#[derive(Clone, Copy)]
pub(crate) struct Look<'a> {
    /// When it began.
    pub(crate) began: DateTime<Utc>,
    /// When this process first looked, if that was not now.
    pub(crate) since: Option<DateTime<Utc>>,
    /// What carries the pool's mark and no row knows.
    pub(crate) seen: &'a [Orphan],
    /// Machines of which the same is true, and that are going: the provider's ids.
    pub(crate) going: &'a [&'a str],
    /// Machines that no row knows.
    pub(crate) strangers: usize,
}

/// An orphan that is to be reaped now.
pub(crate) struct Due {
    /// What it is.
    pub(crate) kind: OrphanKind,
    /// Its id at the provider.
    pub(crate) provider_id: String,
    /// How often it could not be destroyed.
    failures: i32,
}

/// Notes what was seen; gives what is to be reaped now.
pub(crate) async fn note(ctx: &Ctx, settings: &Settings, look: &Look<'_>) -> Result<Vec<Due>> {
    let (Look { began, since, seen, going, strangers }, now) = (*look, ctx.now());
    if seen.is_empty() && store::is_noted(&mut ctx.read("pool.orphans.noted").await?, strangers, now).await? {
        return Ok(Vec::new());
    }
    let mut tx = ctx.begin("pool.orphans.note").await?;
    let last = store::observed(&mut tx).await?;
    store::observe(&mut tx, strangers, began).await?;
    if last.is_none_or(|last| !is_sure(&last, now) || last.strangers() != strangers) {
        // Whoever was refused a machine may have one now.
        tx.nudge(CAPACITY_NUDGE);
    }
    // Until now each has cost what it costs as it was seen last.
    money::settle_orphans(&mut tx, now).await?;
    store::forget_unseen(&mut tx, seen, now).await?;
    store::see_going(&mut tx, going, now).await?;
    let mut due = Vec::new();
    for orphan in seen {
        let was_known = machines::was_known(&mut tx, orphan).await?;
        let is_unforeseen = policy::is_unforeseen(was_known, orphan.made_at, since);
        let row = store::see(&mut tx, orphan, is_unforeseen, now).await?;
        if !row.is_charged {
            money::charge_orphan(&mut tx, settings, orphan, was_known, now).await?;
        }
        if row.sightings == 1 {
            if let Some(abandoned) = orphan.row {
                // It has come, and counts as what it is.
                machines::store::count_on(&mut tx, abandoned, now).await?;
            }
            tracing::warn!(provider.id = orphan.provider_id, kind = %orphan.kind, needs_approval = row.needs_approval, "the provider has something of this pool that no row knows");
            metrics::counter!("orphans_found_total", "kind" => orphan.kind.as_str()).increment(1);
            tell(ctx, &mut tx, orphan.kind, &orphan.provider_id, "found").await?;
        }
        let age = (now - row.first_seen_at).to_std().unwrap_or_default();
        let case = policy::Case { kind: orphan.kind, is_awake: orphan.is_awake, was_known };
        let is_old = settings.reap_orphans && age >= policy::reported_for(case, settings);
        let is_time = row.next_try_at.is_none_or(|next| next <= now);
        if row.sightings >= 2 && is_time && (row.approved || (is_old && !row.needs_approval)) {
            let provider_id = orphan.provider_id.clone();
            due.push(Due { kind: orphan.kind, provider_id, failures: row.failures });
        }
    }
    tx.commit(due).await
}

/// Notes that an orphan was destroyed, or why not: then that is tried again, ever more seldom.
pub(crate) async fn reaped(ctx: &Ctx, orphan: &Due, error: Option<&str>) -> Result<()> {
    let Due { kind, provider_id, failures } = orphan;
    let mut tx = ctx.begin("pool.orphans.reaped").await?;
    if let Some(error) = error {
        let failures = failures.saturating_add(1);
        store::not_reaped(&mut tx, provider_id, failures, error, ctx.now() + ever_later(ctx, failures)).await?;
        return tx.commit(()).await;
    }
    money::settle_orphans(&mut tx, ctx.now()).await?;
    store::reaped(&mut tx, provider_id, ctx.now()).await?;
    metrics::counter!("orphans_reaped_total", "kind" => kind.as_str()).increment(1);
    let change = Change::removed(&json!({ "kind": kind, "provider_id": provider_id }))?;
    audit::write(ctx, &mut tx, "orphan.reaped", &Entity::shared("orphan", provider_id), &change).await?;
    tell(ctx, &mut tx, *kind, provider_id, "reaped").await?;
    tx.commit(()).await
}

async fn tell(ctx: &Ctx, tx: &mut Tx, of: OrphanKind, provider_id: &str, what: &str) -> Result<()> {
    let payload = json!({ "kind": of, "provider_id": provider_id, "what": what });
    outbox::push(ctx, tx, kind::MACHINE_ORPHAN, About::default(), &payload).await
}

#[cfg(test)]
mod tests;
