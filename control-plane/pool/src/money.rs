//! What machines and volumes cost: a ledger of what was observed, budgets that
//! admit a machine or not, and what it all comes to.
//!
//! A second counts as awake from the moment the provider made or was asked to wake
//! a machine until it was seen asleep, so for what has a row the ledger is not below
//! the bill. Nor is it for what has none, from when that was first seen; for the time
//! since the provider made it, it counts as it was seen first; where the price list does
//! not know its like, as one of this pool's. What came and went unseen, or is in a lost
//! database's ledger alone, is in none. It is written with each change of state, and every minute in between.

mod alerts;
pub mod policy;
mod report;
mod store;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use kernel::{Result, Sql, Tx};
use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};
use wire::cost::Period;
use wire::id::{MachineId, VolumeId};
use wire::machine::{MachineState, OrphanKind};

use crate::orphans::{Orphan, Size};
use crate::plan::is_active;
use crate::settings::stored_gb;
use crate::{Settings, machines};
use policy::{Allowance, Purse, TooSmall};
use store::{Accrued, Lone, Open, Standing};

pub use alerts::Ledger;
pub use report::report;

pub(crate) const STATEMENTS: &[(&str, Sql)] = store::STATEMENTS;

/// Writes down what a machine has cost until now; before it changes its state.
pub(crate) async fn settle_machine(tx: &mut Tx, id: MachineId, now: DateTime<Utc>) -> Result<()> {
    if let Some(open) = store::open_machine(tx, id).await? {
        settle(tx, &open, now).await?;
        store::accrued_machine(tx, id, now).await?;
    }
    Ok(())
}

/// Writes down what a volume has cost until now; before it is gone.
pub(crate) async fn settle_volume(tx: &mut Tx, id: VolumeId, now: DateTime<Utc>) -> Result<()> {
    if let Some(open) = store::open_volume(tx, id).await? {
        settle(tx, &open, now).await?;
        store::accrued_volume(tx, id, now).await?;
    }
    Ok(())
}

/// An orphan costs from now on, and has since the provider made it, but for what it was charged with already: by its
/// row, or as an orphan that a list has lacked since.
pub(crate) async fn charge_orphan(
    tx: &mut Tx,
    settings: &Settings,
    orphan: &Orphan,
    was_known: bool,
    now: DateTime<Utc>,
) -> Result<()> {
    let provider = &settings.provider;
    let subject = subject_of(&orphan.provider_id);
    let charged = TimeDelta::microseconds(store::charged(tx, subject).await?);
    let row_until = if was_known { store::row_until(tx, orphan).await? } else { None };
    let since = policy::costs_since(orphan.made_at, row_until, charged, now);
    let rates = match (orphan.kind, &orphan.size) {
        (OrphanKind::Machine, Some(Size::Guest(guest))) => provider.rates_of(guest, &orphan.region),
        (OrphanKind::Volume, Some(Size::Gigabytes(size))) => Some((0, stored_gb(*size))),
        (OrphanKind::Volume, _) => store::volume_rate(tx, &orphan.name).await?.map(|rate| (0, rate)),
        (OrphanKind::Machine, _) => None,
    };
    let rates = rates.unwrap_or_else(|| match orphan.kind {
        // It is taken for one of ours.
        OrphanKind::Machine => (provider.dearest_rate(), provider.rates(&orphan.region).1),
        OrphanKind::Volume => (0, provider.volume_rate()),
    });
    store::charge_orphan(tx, &orphan.provider_id, subject, since, rates).await
}

/// The id under which an orphan is in the ledger: always the same, so that it is found there again.
fn subject_of(provider_id: &str) -> Uuid {
    let digest: [u8; 32] = Sha256::digest(provider_id).into();
    let (id, _) = digest.split_first_chunk().unwrap_or((&[0; 16], &[]));
    Builder::from_custom_bytes(*id).into_uuid()
}

/// Writes down what all orphans have cost until now; before they are seen anew, or gone.
pub(crate) async fn settle_orphans(tx: &mut Tx, now: DateTime<Utc>) -> Result<()> {
    for open in store::open_orphans_to_settle(tx).await? {
        settle(tx, &open, now).await?;
    }
    store::accrued_orphans(tx, now).await
}

async fn settle(tx: &mut Tx, open: &Open, now: DateTime<Utc>) -> Result<()> {
    for (day, micros) in split_by_day(open.since, now) {
        let earlier = store::accrued(tx, open, day).await?.unwrap_or_default();
        let (awake, asleep) = if open.is_awake { (micros, 0) } else { (0, micros) };
        let accrued =
            Accrued { awake_micros: earlier.awake_micros + awake, asleep_micros: earlier.asleep_micros + asleep };
        store::put(tx, open, day, accrued).await?;
    }
    Ok(())
}

/// The microseconds of each day between two moments.
fn split_by_day(from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<(NaiveDate, i64)> {
    let mut parts = Vec::new();
    let mut begin = from;
    while begin < to {
        let end = policy::end(Period::Day, begin).min(to);
        parts.push((begin.date_naive(), (end - begin).num_microseconds().unwrap_or(0)));
        begin = end;
    }
    parts
}

/// What is open of a period: accrued since it was written down last.
fn open_micros(open: &Open, began: DateTime<Utc>, now: DateTime<Utc>) -> i64 {
    let since = open.since.max(began);
    let seconds = (now - since).to_std().unwrap_or_default().as_secs_f64();
    policy::cost_micros(u64::try_from(open.rate()).unwrap_or(0), seconds)
}

/// What a period has cost so far, to the present moment.
async fn spent(tx: &mut Tx, period: Period, now: DateTime<Utc>) -> Result<i64> {
    let began = policy::begin(period, now);
    let written = store::sum_since(tx, began.date_naive()).await?;
    let open = store::open(tx).await?;
    Ok(written + open.iter().map(|open| open_micros(open, began, now)).sum::<i64>())
}

fn budgets(settings: &Settings) -> Vec<(Period, i64)> {
    let day = settings.budget_day_micros.map(|budget| (Period::Day, budget));
    let month = settings.budget_month_micros.map(|budget| (Period::Month, budget));
    day.into_iter().chain(month).collect()
}

/// The budgets that never pay for a machine as they are made now.
pub fn too_small(settings: &Settings, now: DateTime<Utc>) -> Vec<TooSmall> {
    let provider = &settings.provider;
    let (_, asleep) = provider.rates(provider.first_region());
    let (awake_rate, new_storage_rate) = (provider.dearest_rate(), asleep + provider.volume_rate());
    let purse = Purse { awake_rate, new_storage_rate, ..Purse::default() };
    let fresh = |(period, budget_micros)| Allowance {
        period,
        budget_micros,
        spent_micros: 0,
        ends_at: policy::end(period, now),
    };
    budgets(settings).into_iter().filter_map(|budget| purse.lacks(&fresh(budget), settings.budget_reserve)).collect()
}

/// What the budgets allow, for the planner.
pub(crate) async fn purse(tx: &mut Tx, settings: &Settings, now: DateTime<Utc>) -> Result<Purse> {
    Ok(reckon(tx, settings, now).await?.map(|(purse, _)| purse).unwrap_or_default())
}

/// The same, and the machines that it was reckoned from; nothing where there is no budget.
async fn reckon(tx: &mut Tx, settings: &Settings, now: DateTime<Utc>) -> Result<Option<(Purse, Vec<Standing>)>> {
    let budgets = budgets(settings);
    if budgets.is_empty() {
        return Ok(None);
    }
    let provider = &settings.provider;
    let (_, asleep) = provider.rates(provider.first_region());
    let standing = store::standing(tx).await?;
    let lone = store::lone(tx).await?;
    let stays = |lone: &Lone| !lone.approved && (lone.needs_approval || !settings.reap_orphans);
    let going = lone.iter().filter(|lone| lone.is_awake && !stays(lone)).map(|lone| lone.awake_rate);
    let dearest = standing.iter().map(|machine| machine.awake_rate).chain(going).max().unwrap_or(0);
    let lone_rate = |lone: &Lone| if lone.is_awake && stays(lone) { lone.awake_rate } else { lone.asleep_rate };
    let destroying = standing.iter().filter(|machine| machine.state == MachineState::Destroying).count();
    let reaped = lone.iter().filter(|lone| lone.is_awake && !stays(lone)).count();
    let mut allowances = Vec::new();
    for (period, budget_micros) in budgets {
        let spent_micros = spent(tx, period, now).await?;
        allowances.push(Allowance { period, budget_micros, spent_micros, ends_at: policy::end(period, now) });
    }
    let purse = Purse {
        allowances,
        // What is there may be dearer than what would be made today.
        awake_rate: provider.dearest_rate().max(dearest),
        new_storage_rate: asleep + provider.volume_rate(),
        storage_rate: store::storage_rate(tx, asleep).await? + lone.iter().map(lone_rate).sum::<u64>(),
        going: destroying + reaped + machines::store::count_abandoned(tx, now).await?,
    };
    Ok(Some((purse, standing)))
}

/// Whether the budgets pay for one more machine awake, in the transaction that would have it: `new` is 1
/// where it would be made for that.
pub(crate) async fn pays_for_one_more(
    tx: &mut Tx,
    settings: &Settings,
    new: usize,
    now: DateTime<Utc>,
) -> Result<bool> {
    let Some((purse, standing)) = reckon(tx, settings, now).await? else { return Ok(true) };
    Ok(purse.pays_for(count_active(&standing) + 1, now, settings.budget_reserve, new))
}

/// Whether they pay for another disk of a machine that is awake or on its way, in the transaction that would have it.
pub(crate) async fn pays_for_disk(tx: &mut Tx, settings: &Settings, now: DateTime<Utc>) -> Result<bool> {
    let Some((purse, standing)) = reckon(tx, settings, now).await? else { return Ok(true) };
    let rate = settings.provider.volume_rate();
    Ok(purse.pays_for_disk(rate, count_active(&standing), now, settings.budget_reserve))
}

fn count_active(standing: &[Standing]) -> usize {
    standing.iter().filter(|machine| is_active(machine.state)).count()
}

#[cfg(test)]
mod tests;
