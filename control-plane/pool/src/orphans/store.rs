//! SQL of orphans, and of when the provider was looked at last.

use chrono::{DateTime, Utc};
use kernel::{Result, Tx, execute, fetch_all, fetch_one, fetch_optional};
use wire::machine::{OrphanKind, OrphanView};

use super::Orphan;

kernel::sql! {
    SEE: "INSERT INTO orphans (provider_id, kind, name, region, sightings, first_seen_at, last_seen_at, approved, needs_approval, \
                               is_awake) \
          VALUES ($1, $2, $3, $4, 1, $5, $5, $6, $7, $8) \
          ON CONFLICT (provider_id) DO UPDATE SET sightings = orphans.sightings + 1, last_seen_at = excluded.last_seen_at, \
            reaped_at = NULL, is_awake = excluded.is_awake \
          RETURNING sightings, first_seen_at, approved, needs_approval, failures, next_try_at, \
                    accrued_until IS NOT NULL AS is_charged";
    UNSEEN: "DELETE FROM orphans WHERE reaped_at IS NULL AND provider_id = $1";
    PRESENT: "SELECT provider_id FROM orphans WHERE reaped_at IS NULL";
    SEE_GOING: "UPDATE orphans SET last_seen_at = $2 WHERE provider_id = $1 AND reaped_at IS NOT NULL";
    MARKED: "SELECT count(*) FROM orphans \
             WHERE kind = 'machine' AND last_seen_at >= (SELECT watched_at FROM provider_observation WHERE id = 1)";
    PRUNE: "DELETE FROM orphans WHERE reaped_at < $1";
    APPROVE: "UPDATE orphans SET approved = $1, next_try_at = NULL WHERE reaped_at IS NULL";
    REAPED: "UPDATE orphans SET reaped_at = $2, error = NULL WHERE provider_id = $1";
    NOT_REAPED: "UPDATE orphans SET error = $2, failures = $3, next_try_at = $4 WHERE provider_id = $1";
    LIST: "SELECT provider_id, kind, name, region, sightings, first_seen_at, reaped_at, error, needs_approval FROM orphans \
           WHERE reaped_at IS NULL OR reaped_at > $1 ORDER BY first_seen_at DESC, provider_id LIMIT 1000";
    OBSERVE: "INSERT INTO provider_observation (id, watched_at, strangers) VALUES (1, $1, $2) \
              ON CONFLICT (id) DO UPDATE SET watched_at = excluded.watched_at, strangers = excluded.strangers, \
                void_since = CASE WHEN provider_observation.void_since > excluded.watched_at \
                                  THEN provider_observation.void_since END";
    BEGIN: "INSERT INTO provider_observation (id, watched_at, strangers) VALUES (1, $1, 0) ON CONFLICT (id) DO NOTHING";
    VOID: "UPDATE provider_observation SET void_since = $1 WHERE id = 1";
    OBSERVED: "SELECT watched_at, strangers, void_since IS NOT NULL AS is_void FROM provider_observation WHERE id = 1";
}

/// How often and since when an orphan was seen.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Sighting {
    pub(super) sightings: i32,
    pub(super) first_seen_at: DateTime<Utc>,
    pub(super) approved: bool,
    pub(super) needs_approval: bool,
    /// How often it could not be destroyed.
    pub(super) failures: i32,
    /// When that is tried next, if it could not be.
    pub(super) next_try_at: Option<DateTime<Utc>>,
    /// Whether it costs already.
    pub(super) is_charged: bool,
}

/// What was seen of the provider last.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Observation {
    /// When it was asked.
    pub(super) watched_at: DateTime<Utc>,
    strangers: i32,
    /// Whether it says nothing about what there is now.
    pub(super) is_void: bool,
}

impl Observation {
    /// Machines that no row knew.
    pub(super) fn strangers(&self) -> usize {
        usize::try_from(self.strangers).unwrap_or(0)
    }
}

/// An orphan as it is shown.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Row {
    provider_id: String,
    #[sqlx(try_from = "String")]
    kind: OrphanKind,
    name: String,
    region: String,
    sightings: i32,
    first_seen_at: DateTime<Utc>,
    reaped_at: Option<DateTime<Utc>>,
    error: Option<String>,
    needs_approval: bool,
}

impl From<Row> for OrphanView {
    fn from(row: Row) -> Self {
        Self {
            provider_id: row.provider_id,
            kind: row.kind,
            name: row.name,
            region: row.region,
            sightings: row.sightings,
            first_seen_at: row.first_seen_at,
            reaped_at: row.reaped_at,
            error: row.error,
            needs_approval: row.needs_approval,
        }
    }
}

/// Counts a sighting. Whether it needs an operator's approval is decided at the first.
pub(super) async fn see(tx: &mut Tx, orphan: &Orphan, needs_approval: bool, now: DateTime<Utc>) -> Result<Sighting> {
    let Orphan { kind, provider_id, name, region, is_awake, .. } = orphan;
    Ok(fetch_one!(tx, Sighting, SEE, provider_id, kind.as_str(), name, region, now, false, needs_approval, *is_awake)?)
}

/// Forgets those that are not seen any more, and reaped ones after a week.
pub(super) async fn forget_unseen(tx: &mut Tx, seen: &[Orphan], now: DateTime<Utc>) -> Result<()> {
    for (id,) in fetch_all!(tx, (String,), PRESENT)? {
        if !seen.iter().any(|orphan| orphan.provider_id == id) {
            execute!(tx, UNSEEN, id)?;
        }
    }
    execute!(tx, PRUNE, now - chrono::TimeDelta::days(7))?;
    Ok(())
}

/// Those of them that were reaped are still there.
pub(super) async fn see_going(tx: &mut Tx, going: &[&str], now: DateTime<Utc>) -> Result<()> {
    for id in going {
        execute!(tx, SEE_GOING, *id, now)?;
    }
    Ok(())
}

/// How many machines carried the pool's mark when the provider was looked at last.
pub(super) async fn marked(tx: &mut Tx) -> Result<usize> {
    let (count,) = fetch_one!(tx, (i64,), MARKED)?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Gives how many were approved.
pub(super) async fn approve(tx: &mut Tx) -> Result<u64> {
    Ok(execute!(tx, APPROVE, true)?)
}

pub(super) async fn reaped(tx: &mut Tx, provider_id: &str, now: DateTime<Utc>) -> Result<()> {
    execute!(tx, REAPED, provider_id, now)?;
    Ok(())
}

/// An orphan could not be destroyed; that is tried again at `next`.
pub(super) async fn not_reaped(
    tx: &mut Tx,
    provider_id: &str,
    failures: i32,
    error: &str,
    next: DateTime<Utc>,
) -> Result<()> {
    execute!(tx, NOT_REAPED, provider_id, error, failures, next)?;
    Ok(())
}

pub(super) async fn list(tx: &mut Tx, reaped_since: DateTime<Utc>) -> Result<Vec<Row>> {
    Ok(fetch_all!(tx, Row, LIST, reaped_since)?)
}

/// Notes what was seen when the provider was asked at `began`. What became void since then stays void.
pub(super) async fn observe(tx: &mut Tx, strangers: usize, began: DateTime<Utc>) -> Result<()> {
    execute!(tx, OBSERVE, began, i32::try_from(strangers).unwrap_or(i32::MAX))?;
    Ok(())
}

/// From now on there is something to go by, though it says nothing yet.
pub(super) async fn begin(tx: &mut Tx, now: DateTime<Utc>) -> Result<()> {
    execute!(tx, BEGIN, now)?;
    make_void(tx, now).await
}

/// What was seen says nothing any more.
pub(super) async fn make_void(tx: &mut Tx, now: DateTime<Utc>) -> Result<()> {
    execute!(tx, VOID, now)?;
    Ok(())
}

/// Whether nothing has changed since it was noted a moment ago: nobody writes every two seconds for that.
pub(super) async fn is_noted(tx: &mut Tx, strangers: usize, now: DateTime<Utc>) -> Result<bool> {
    let is_same = observed(tx).await?.is_some_and(|last| {
        !last.is_void && last.strangers() == strangers && now - last.watched_at < chrono::TimeDelta::seconds(30)
    });
    Ok(is_same && fetch_all!(tx, (String,), PRESENT)?.is_empty())
}

/// What was seen of the provider last.
pub(super) async fn observed(tx: &mut Tx) -> Result<Option<Observation>> {
    Ok(fetch_optional!(tx, Observation, OBSERVED)?)
}
