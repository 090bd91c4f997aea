//! SQL of what machines, volumes and orphans cost. The columns of theirs that are
//! written here are this file's alone.

use chrono::{DateTime, NaiveDate, Utc};
use kernel::{Result, Tx, execute, fetch_all, fetch_one, fetch_optional};
use sqlx::types::Uuid;
use wire::id::{MachineId, VolumeId};
use wire::machine::{MachineState, OrphanKind};

use crate::orphans::Orphan;

kernel::sql! {
    OPEN_MACHINE: "SELECT id AS subject_id, id AS machine_id, generation, accrued_until AS since, state <> 'suspended' AS is_awake, \
                          awake_rate, asleep_rate FROM machines \
                   WHERE id = $1 AND state <> 'destroyed' AND accrued_until IS NOT NULL \
                     AND (provider_id IS NOT NULL OR former_provider_id IS NOT NULL)" + lock;
    OPEN_VOLUME: "SELECT v.id AS subject_id, coalesce(m.id, v.id) AS machine_id, 0 AS generation, v.accrued_until AS since, \
                         v.id IS NULL AS is_awake, CAST(0 AS BIGINT) AS awake_rate, v.rate AS asleep_rate \
                  FROM volumes v LEFT JOIN machines m ON m.volume_id = v.id \
                  WHERE v.id = $1 AND v.state = 'ready' AND v.accrued_until IS NOT NULL",
        postgres "SELECT v.id AS subject_id, coalesce(m.id, v.id) AS machine_id, 0 AS generation, v.accrued_until AS since, \
                         v.id IS NULL AS is_awake, CAST(0 AS BIGINT) AS awake_rate, v.rate AS asleep_rate \
                  FROM volumes v LEFT JOIN machines m ON m.volume_id = v.id \
                  WHERE v.id = $1 AND v.state = 'ready' AND v.accrued_until IS NOT NULL FOR UPDATE OF v";
    OPEN_ROWS: "SELECT id AS subject_id, id AS machine_id, generation, accrued_until AS since, state <> 'suspended' AS is_awake, \
                awake_rate, asleep_rate FROM machines \
                WHERE state <> 'destroyed' AND accrued_until IS NOT NULL AND (provider_id IS NOT NULL OR former_provider_id IS NOT NULL) \
                UNION ALL \
                SELECT v.id, coalesce(m.id, v.id), 0, v.accrued_until, v.id IS NULL, CAST(0 AS BIGINT), v.rate \
                FROM volumes v LEFT JOIN machines m ON m.volume_id = v.id \
                WHERE v.state = 'ready' AND v.accrued_until IS NOT NULL";
    OPEN_ORPHANS: "SELECT subject_id, subject_id AS machine_id, 0 AS generation, accrued_until AS since, is_awake, awake_rate, \
                          asleep_rate FROM orphans WHERE reaped_at IS NULL AND accrued_until IS NOT NULL ORDER BY provider_id";
    OPEN_ORPHANS_TO_SETTLE: "SELECT subject_id, subject_id AS machine_id, 0 AS generation, accrued_until AS since, is_awake, awake_rate, \
                                    asleep_rate FROM orphans WHERE reaped_at IS NULL AND accrued_until IS NOT NULL \
                             ORDER BY provider_id" + lock;
    MACHINE_UNTIL: "SELECT accrued_until FROM machines WHERE id = $1 AND accrued_until IS NOT NULL";
    VOLUME_UNTIL: "SELECT accrued_until FROM volumes WHERE name = $1 AND accrued_until IS NOT NULL";
    VOLUME_RATE: "SELECT rate FROM volumes WHERE name = $1 AND rate > 0";
    CHARGED: "SELECT CAST(coalesce(sum(awake_micros + asleep_micros), 0) AS BIGINT) FROM cost_ledger WHERE subject_id = $1";
    CHARGE_ORPHAN: "UPDATE orphans SET subject_id = $2, accrued_until = $3, awake_rate = $4, asleep_rate = $5 WHERE provider_id = $1";
    ACCRUED_ORPHANS: "UPDATE orphans SET accrued_until = $1 WHERE reaped_at IS NULL AND accrued_until < $1";
    LONE: "SELECT is_awake, approved, needs_approval, awake_rate, asleep_rate FROM orphans \
           WHERE reaped_at IS NULL AND accrued_until IS NOT NULL";
    ACCRUED_MACHINE: "UPDATE machines SET accrued_until = $2 WHERE id = $1 AND accrued_until < $2";
    ACCRUED_VOLUME: "UPDATE volumes SET accrued_until = $2 WHERE id = $1 AND accrued_until < $2";
    ACCRUED: "SELECT awake_micros, asleep_micros FROM cost_ledger WHERE subject_id = $1 AND generation = $2 AND day = $3";
    PUT: "INSERT INTO cost_ledger (subject_id, machine_id, generation, day, awake_micros, asleep_micros, awake_rate, asleep_rate, \
                                   cost_micros) \
          VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
          ON CONFLICT (subject_id, generation, day) DO UPDATE SET awake_micros = excluded.awake_micros, \
            asleep_micros = excluded.asleep_micros, cost_micros = excluded.cost_micros";
    SUM_SINCE: "SELECT CAST(coalesce(sum(cost_micros), 0) AS BIGINT) FROM cost_ledger WHERE day >= $1";
    SUMS_SINCE: "SELECT machine_id, CAST(sum(cost_micros) AS BIGINT) FROM cost_ledger WHERE day >= $1 GROUP BY machine_id";
    STORED: "SELECT (SELECT CAST(coalesce(sum(CASE WHEN asleep_rate < $1 THEN $1 ELSE asleep_rate END), 0) AS BIGINT) \
                     FROM machines WHERE state <> 'destroyed'), \
                    (SELECT CAST(coalesce(sum(rate), 0) AS BIGINT) FROM volumes WHERE state <> 'destroyed')";
    STANDING: "SELECT state, awake_rate FROM machines WHERE state <> 'destroyed'";
}

/// What costs at present, and what since it was written down last.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(super) struct Open {
    pub(super) subject_id: Uuid,
    pub(super) machine_id: Uuid,
    pub(super) generation: i32,
    pub(super) since: DateTime<Utc>,
    pub(super) is_awake: bool,
    pub(super) awake_rate: i64,
    pub(super) asleep_rate: i64,
}

impl Open {
    /// Picodollars a second.
    pub(super) fn rate(&self) -> i64 {
        if self.is_awake { self.awake_rate } else { self.asleep_rate }
    }
}

/// Microseconds of one day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, sqlx::FromRow)]
pub(super) struct Accrued {
    pub(super) awake_micros: i64,
    pub(super) asleep_micros: i64,
}

/// A machine that costs, to be settled: nobody else does so before this is committed, or the same time would be in the
/// ledger twice.
pub(super) async fn open_machine(tx: &mut Tx, id: MachineId) -> Result<Option<Open>> {
    Ok(fetch_optional!(tx, Open, OPEN_MACHINE, id.uuid())?)
}

/// The same of a volume.
pub(super) async fn open_volume(tx: &mut Tx, id: VolumeId) -> Result<Option<Open>> {
    Ok(fetch_optional!(tx, Open, OPEN_VOLUME, id.uuid())?)
}

/// Everything that costs at present.
pub(super) async fn open(tx: &mut Tx) -> Result<Vec<Open>> {
    Ok([open_rows(tx).await?, open_orphans(tx).await?].concat())
}

/// What of it has a row.
pub(super) async fn open_rows(tx: &mut Tx) -> Result<Vec<Open>> {
    Ok(fetch_all!(tx, Open, OPEN_ROWS)?)
}

/// What of it has none.
pub(super) async fn open_orphans(tx: &mut Tx) -> Result<Vec<Open>> {
    Ok(fetch_all!(tx, Open, OPEN_ORPHANS)?)
}

/// The same, to be settled, as [`open_machine`] has it.
pub(super) async fn open_orphans_to_settle(tx: &mut Tx) -> Result<Vec<Open>> {
    Ok(fetch_all!(tx, Open, OPEN_ORPHANS_TO_SETTLE)?)
}

/// Until when a machine or a volume was charged by its row, which may have ended.
pub(super) async fn row_until(tx: &mut Tx, orphan: &Orphan) -> Result<Option<DateTime<Utc>>> {
    let found = match (orphan.kind, orphan.row) {
        (OrphanKind::Volume, _) => fetch_optional!(tx, (DateTime<Utc>,), VOLUME_UNTIL, &orphan.name)?,
        (OrphanKind::Machine, Some(id)) => fetch_optional!(tx, (DateTime<Utc>,), MACHINE_UNTIL, id.uuid())?,
        (OrphanKind::Machine, None) => None,
    };
    Ok(found.map(|(until,)| until))
}

/// What a volume costs by its row, which may have ended, in picodollars a second.
pub(super) async fn volume_rate(tx: &mut Tx, name: &str) -> Result<Option<u64>> {
    let rate = fetch_optional!(tx, (i64,), VOLUME_RATE, name)?;
    Ok(rate.and_then(|(rate,)| u64::try_from(rate).ok()))
}

/// For how many microseconds the ledger has charged something.
pub(super) async fn charged(tx: &mut Tx, subject: Uuid) -> Result<i64> {
    Ok(fetch_one!(tx, (i64,), CHARGED, subject)?.0)
}

/// An orphan costs since then.
pub(super) async fn charge_orphan(
    tx: &mut Tx,
    provider_id: &str,
    subject: Uuid,
    since: DateTime<Utc>,
    (awake_rate, asleep_rate): (u64, u64),
) -> Result<()> {
    let rate = |rate| i64::try_from(rate).unwrap_or(i64::MAX);
    execute!(tx, CHARGE_ORPHAN, provider_id, subject, since, rate(awake_rate), rate(asleep_rate))?;
    Ok(())
}

pub(super) async fn accrued_orphans(tx: &mut Tx, now: DateTime<Utc>) -> Result<()> {
    execute!(tx, ACCRUED_ORPHANS, now)?;
    Ok(())
}

pub(super) async fn accrued_machine(tx: &mut Tx, id: MachineId, now: DateTime<Utc>) -> Result<()> {
    execute!(tx, ACCRUED_MACHINE, id.uuid(), now)?;
    Ok(())
}

pub(super) async fn accrued_volume(tx: &mut Tx, id: VolumeId, now: DateTime<Utc>) -> Result<()> {
    execute!(tx, ACCRUED_VOLUME, id.uuid(), now)?;
    Ok(())
}

pub(super) async fn accrued(tx: &mut Tx, open: &Open, day: NaiveDate) -> Result<Option<Accrued>> {
    Ok(fetch_optional!(tx, Accrued, ACCRUED, open.subject_id, open.generation, day.to_string())?)
}

pub(super) async fn put(tx: &mut Tx, open: &Open, day: NaiveDate, accrued: Accrued) -> Result<()> {
    let Open { subject_id, machine_id, generation, awake_rate, asleep_rate, .. } = *open;
    let Accrued { awake_micros, asleep_micros } = accrued;
    let cost = cost(awake_micros, awake_rate) + cost(asleep_micros, asleep_rate);
    // The whole is rounded, not each part.
    let cost = i64::try_from(cost.div_ceil(1_000_000_000_000)).unwrap_or(i64::MAX);
    let day = day.to_string();
    execute!(
        tx,
        PUT,
        subject_id,
        machine_id,
        generation,
        day,
        awake_micros,
        asleep_micros,
        awake_rate,
        asleep_rate,
        cost
    )?;
    Ok(())
}

/// Microseconds times picodollars a second.
fn cost(micros: i64, rate: i64) -> u128 {
    u128::try_from(micros).unwrap_or(0) * u128::try_from(rate).unwrap_or(0)
}

pub(super) async fn sum_since(tx: &mut Tx, day: NaiveDate) -> Result<i64> {
    Ok(fetch_one!(tx, (i64,), SUM_SINCE, day.to_string())?.0)
}

/// What each machine has cost since a day, its volumes included.
pub(super) async fn sums_since(tx: &mut Tx, day: NaiveDate) -> Result<Vec<(MachineId, i64)>> {
    let rows = fetch_all!(tx, (Uuid, i64), SUMS_SINCE, day.to_string())?;
    Ok(rows.into_iter().map(|(id, cost)| (id.into(), cost)).collect())
}

/// What storing all that exists costs: each volume at its own rate, and each machine at this one at least, also one
/// that was never asleep.
pub(super) async fn storage_rate(tx: &mut Tx, asleep: u64) -> Result<u64> {
    let asleep = i64::try_from(asleep).unwrap_or(i64::MAX);
    let (machines, volumes) = fetch_one!(tx, (i64, i64), STORED, asleep)?;
    Ok(u64::try_from(machines).unwrap_or(0) + u64::try_from(volumes).unwrap_or(0))
}

/// A machine that is not destroyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub(super) struct Standing {
    #[sqlx(try_from = "String")]
    pub(super) state: MachineState,
    /// Picodollars a second; none before the provider has made it.
    #[sqlx(try_from = "i64")]
    pub(super) awake_rate: u64,
}

/// Every machine that is not destroyed.
pub(super) async fn standing(tx: &mut Tx) -> Result<Vec<Standing>> {
    Ok(fetch_all!(tx, Standing, STANDING)?)
}

/// An orphan, as far as budgets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub(super) struct Lone {
    pub(super) is_awake: bool,
    pub(super) approved: bool,
    pub(super) needs_approval: bool,
    #[sqlx(try_from = "i64")]
    pub(super) awake_rate: u64,
    #[sqlx(try_from = "i64")]
    pub(super) asleep_rate: u64,
}

/// Every orphan.
pub(super) async fn lone(tx: &mut Tx) -> Result<Vec<Lone>> {
    Ok(fetch_all!(tx, Lone, LONE)?)
}
