//! SQL of machines and volumes.

use chrono::{DateTime, Utc};
use kernel::{Result, Tx, execute, fetch_all, fetch_one, fetch_optional};
use sqlx::types::{Json, Uuid};
use wire::id::{MachineId, VolumeId};
use wire::machine::MachineState;

use super::Machine;
use crate::plan::{Closed, Facts, GivenUp, Wear};
use crate::recovery::Rung;

kernel::sql! {
    LIST: "SELECT m.id, m.name, m.provider_id, m.region, m.state, m.state_since, m.next_try_at, m.failures, m.restarts, m.report_by, m.error, \
                  m.volume_id, v.name AS volume_name, v.provider_id AS volume_provider_id, v.source_id AS volume_source_id, \
                  v.kept_work IS NOT NULL AS is_volume_kept, v.is_used AS is_volume_used, \
                  m.batch, m.repositories, m.idle_since, m.created_at, m.generation, m.former_provider_id, m.image, m.executions, \
                  m.cold_starts, m.rung, m.stuck_minutes, m.retiring, m.refusals, m.former_image, w.last_heartbeat AS worker_heard_at, \
                  coalesce(w.current_load, 0) AS load \
           FROM machines m JOIN volumes v ON v.id = m.volume_id LEFT JOIN workers w ON w.machine_id = m.id WHERE m.state <> 'destroyed' ORDER BY m.created_at, m.id";
    FACTS: "SELECT m.id, m.state, m.state_since, m.idle_since, m.repositories, m.made_at, m.executions, m.image, \
                   m.retiring IS NOT NULL AS is_retiring, m.refusals, m.region, m.rests_until, coalesce(m.error, 'unknown') AS error, \
                   coalesce(w.current_load, 0) AS load \
            FROM machines m LEFT JOIN workers w ON w.machine_id = m.id \
            WHERE m.state <> 'destroyed' ORDER BY m.created_at, m.id";
    STATE: "SELECT state, batch FROM machines WHERE id = $1";
    COUNT: "SELECT count(*) FROM machines WHERE state <> 'destroyed'";
    COUNT_ABANDONED: "SELECT count(*) FROM machines WHERE counts_until > $1";
    COUNT_ON: "UPDATE machines SET counts_until = $2 WHERE id = $1";
    GIVEN_UP: "SELECT count(*), max(state_since) FROM machines WHERE state = 'destroyed' AND given_up AND state_since > $1";
    GIVEN_UP_ERROR: "SELECT coalesce(error, 'unknown') FROM machines WHERE state = 'destroyed' AND given_up \
                     ORDER BY state_since DESC LIMIT 1";
    INSERT_VOLUME: "INSERT INTO volumes (id, name, region, state, created_at, source_id, size_gb, rate, is_used) \
                    VALUES ($1, $2, $3, 'creating', $4, $5, $6, $7, $8)";
    INSERT: "INSERT INTO machines (id, name, region, state, state_since, next_try_at, failures, restarts, volume_id, \
                                   repositories, batch, given_up, created_at, image) \
             VALUES ($1, $2, $3, 'creating', $4, $4, 0, 0, $5, $6, 0, $7, $4, $8)";
    SET_STATE: "UPDATE machines SET state = $3, state_since = $5, next_try_at = $5, failures = 0, restarts = 0, report_by = NULL, \
                       stuck_minutes = 0, rung = CASE WHEN $3 IN ('ready', 'suspended') THEN 0 ELSE rung END, \
                       rests_until = CASE WHEN $3 = 'resuming' THEN NULL ELSE rests_until END, \
                       error = coalesce($4, error) WHERE id = $1 AND state = $2";
    NEXT_BATCH: "UPDATE machines SET batch = batch + 1 WHERE id = $1";
    SET_VOLUME: "UPDATE volumes SET accrued_until = CASE WHEN provider_id = $2 THEN accrued_until ELSE $4 END, \
                        provider_id = $2, region = $3, state = 'ready' WHERE id = $1 AND state <> 'destroyed'";
    VOLUME_MOVED: "UPDATE volumes SET provider_id = $2 WHERE id = $1";
    FORGET_SOURCE: "UPDATE volumes SET source_id = NULL, is_used = $2 WHERE id = $1";
    SET_USED: "UPDATE volumes SET is_used = $2 WHERE id = (SELECT volume_id FROM machines WHERE id = $1)";
    SET_PROVIDER_ID: "UPDATE machines SET made_at = CASE WHEN provider_id = $2 THEN made_at ELSE $4 END, \
                             accrued_until = CASE WHEN provider_id = $2 THEN accrued_until ELSE $4 END, \
                             provider_id = $2, region = $3, awake_rate = $5, asleep_rate = $6 WHERE id = $1";
    FORGET_FORMER: "UPDATE machines SET former_provider_id = NULL WHERE id = $1";
    REPLACE: "UPDATE machines SET state = 'creating', state_since = $3, next_try_at = $3, failures = 0, restarts = 0, report_by = NULL, \
                     stuck_minutes = 0, generation = generation + 1, former_provider_id = coalesce(provider_id, former_provider_id), \
                     provider_id = NULL, made_at = NULL, executions = 0, name = $4, region = $5, image = $6, rung = $7, \
                     volume_id = $8, error = coalesce($9, error), former_image = $10 WHERE id = $1 AND state = $2";
    RELEASE_VOLUME: "UPDATE volumes SET released_at = $2 WHERE id = $1";
    RELEASED: "SELECT id, name, provider_id, failures FROM volumes v WHERE released_at <= $1 AND state <> 'destroyed' \
               AND kept_work IS NULL AND (next_try_at IS NULL OR next_try_at <= $2) \
               AND NOT EXISTS (SELECT 1 FROM machines m JOIN volumes c ON c.id = m.volume_id WHERE m.state <> 'destroyed' \
                               AND c.provider_id IS NULL AND c.source_id = v.provider_id) \
               ORDER BY released_at, id LIMIT 20";
    VOLUME_REFUSED: "UPDATE volumes SET failures = $2, error = $3, next_try_at = $4 WHERE id = $1";
    REST: "UPDATE machines SET rests_until = $3, next_try_at = $3, refusals = $4, error = $5, failures = 0 WHERE id = $1 AND state = $2";
    TRY_LATER: "UPDATE machines SET next_try_at = $3, failures = $4, error = coalesce($5, error) WHERE id = $1 AND state = $2";
    TELL: "UPDATE machines SET error = $3 WHERE id = $1 AND state = $2";
    STARTED: "UPDATE machines SET next_try_at = $3, report_by = $3, restarts = restarts + $4, failures = 0, rung = $6, \
                     error = coalesce($5, error) WHERE id = $1 AND state = $2";
    SET_RUNG: "UPDATE machines SET rung = $3, next_try_at = $4, report_by = $5, failures = 0 WHERE id = $1 AND state = $2";
    OVERDUE: "UPDATE machines SET report_by = $2 WHERE id = $1";
    TRY_NOW: "UPDATE machines SET next_try_at = $2 WHERE id = $1 AND state IN ('starting', 'resuming') AND next_try_at > $2";
    STUCK: "UPDATE machines SET stuck_minutes = $2 WHERE id = $1";
    ACT_NOW: "UPDATE machines SET next_try_at = $2, report_by = CASE WHEN report_by > $2 THEN $2 ELSE report_by END WHERE id = $1";
    GIVE_UP: "UPDATE machines SET given_up = $2 WHERE id = $1";
    RETIRE: "UPDATE machines SET retiring = $2 WHERE id = $1 AND retiring IS NULL";
    RETIRED: "UPDATE machines SET retiring = NULL WHERE id = $1";
    COLD_START: "UPDATE machines SET cold_starts = cold_starts + 1 WHERE id = $1";
    EXECUTED: "UPDATE machines SET executions = executions + $2 WHERE id = $1";
    VOLUME_DESTROYED: "UPDATE volumes SET state = 'destroyed' WHERE id = $1 AND kept_work IS NULL";
    SET_REPOSITORIES: "UPDATE machines SET repositories = $2 WHERE id = $1";
    SET_IDLE: "UPDATE machines SET idle_since = $2 WHERE id = $1";
    CLEAR_ERROR: "UPDATE machines SET error = NULL, retiring = NULL, rests_until = NULL, refusals = 0, former_image = '' \
                  WHERE id = $1";
    KNOWN_VOLUMES: "SELECT provider_id FROM volumes WHERE state <> 'destroyed' AND provider_id IS NOT NULL";
    PENDING_VOLUMES: "SELECT name FROM volumes WHERE state = 'creating' AND released_at IS NULL";
    GENERATION: "SELECT generation FROM machines WHERE id = $1";
    SLEEP_ANEW: "UPDATE machines SET state_since = $1 WHERE state = 'suspended' AND state <> 'destroyed'";
    KNEW_VOLUME: "SELECT count(*) FROM volumes WHERE name = $1";
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    name: String,
    provider_id: Option<String>,
    region: Option<String>,
    #[sqlx(try_from = "String")]
    state: MachineState,
    state_since: DateTime<Utc>,
    next_try_at: DateTime<Utc>,
    failures: i32,
    restarts: i32,
    report_by: Option<DateTime<Utc>>,
    error: Option<String>,
    volume_id: Uuid,
    volume_name: String,
    volume_provider_id: Option<String>,
    volume_source_id: Option<String>,
    is_volume_kept: bool,
    is_volume_used: bool,
    batch: i64,
    repositories: Json<Vec<String>>,
    idle_since: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    generation: i32,
    former_provider_id: Option<String>,
    image: String,
    executions: i32,
    cold_starts: i32,
    rung: i32,
    stuck_minutes: i32,
    retiring: Option<String>,
    refusals: i32,
    former_image: String,
    worker_heard_at: Option<DateTime<Utc>>,
    load: i32,
}

impl From<Row> for Machine {
    fn from(row: Row) -> Self {
        Self {
            id: row.id.into(),
            name: row.name,
            provider_id: row.provider_id,
            region: row.region,
            state: row.state,
            state_since: row.state_since,
            next_try_at: row.next_try_at,
            failures: row.failures,
            restarts: row.restarts,
            report_by: row.report_by,
            error: row.error,
            volume_id: row.volume_id.into(),
            volume_name: row.volume_name,
            volume_provider_id: row.volume_provider_id,
            volume_source_id: row.volume_source_id,
            is_volume_kept: row.is_volume_kept,
            is_volume_used: row.is_volume_used,
            batch: row.batch,
            repositories: row.repositories.0,
            worker_heard_at: row.worker_heard_at,
            idle_since: row.idle_since,
            created_at: row.created_at,
            generation: row.generation,
            former_provider_id: row.former_provider_id,
            image: row.image,
            executions: row.executions.into(),
            cold_starts: row.cold_starts,
            rung: Rung::from_number(row.rung),
            stuck_minutes: row.stuck_minutes,
            retiring: row.retiring,
            refusals: row.refusals,
            former_image: row.former_image,
            load: row.load,
        }
    }
}

#[derive(sqlx::FromRow)]
struct FactsRow {
    id: Uuid,
    #[sqlx(try_from = "String")]
    state: MachineState,
    state_since: DateTime<Utc>,
    idle_since: Option<DateTime<Utc>>,
    repositories: Json<Vec<String>>,
    made_at: Option<DateTime<Utc>>,
    executions: i32,
    image: String,
    is_retiring: bool,
    refusals: i32,
    region: Option<String>,
    rests_until: Option<DateTime<Utc>>,
    error: String,
    load: i32,
}

/// A machine for the planner, and what keeps it from being had.
pub(super) struct Seen {
    pub(super) facts: Facts,
    /// Where it is.
    pub(super) region: Option<String>,
    /// Until when it rests, and why.
    pub(super) rest: Option<Closed>,
}

#[derive(sqlx::FromRow)]
struct StateRow {
    #[sqlx(try_from = "String")]
    state: MachineState,
    batch: i64,
}

pub(crate) async fn list(tx: &mut Tx) -> Result<Vec<Machine>> {
    Ok(fetch_all!(tx, Row, LIST)?.into_iter().map(Machine::from).collect())
}

/// What the planner looks at; `image` is what machines should run, if there is one that they can.
pub(super) async fn facts(tx: &mut Tx, image: Option<&str>) -> Result<Vec<Seen>> {
    let rows = fetch_all!(tx, FactsRow, FACTS)?;
    let seen = rows.into_iter().map(|row| Seen {
        facts: Facts {
            id: row.id.into(),
            state: row.state,
            state_since: row.state_since,
            refusals: row.refusals,
            load: row.load,
            idle_since: row.idle_since,
            repositories: row.repositories.0,
            wear: Wear {
                made_at: row.made_at,
                executions: row.executions.into(),
                // A machine from before images were noted is taken as it is.
                is_outdated: !row.image.is_empty() && image.is_some_and(|image| row.image != image),
                is_retiring: row.is_retiring,
            },
        },
        region: row.region,
        rest: row.rests_until.map(|until| Closed { until, why: row.error }),
    });
    Ok(seen.collect())
}

/// Where a machine stands and the number of its batch.
pub(crate) async fn state(tx: &mut Tx, id: MachineId) -> Result<Option<(MachineState, i64)>> {
    let row = fetch_optional!(tx, StateRow, STATE, id.uuid())?;
    Ok(row.map(|row| (row.state, row.batch)))
}

/// How often a machine was made anew, also of one that is destroyed.
pub(super) async fn generation(tx: &mut Tx, id: MachineId) -> Result<Option<i32>> {
    Ok(fetch_optional!(tx, (i32,), GENERATION, id.uuid())?.map(|(generation,)| generation))
}

/// Machines that sleep do so since now.
pub(crate) async fn sleep_anew(tx: &mut Tx, now: DateTime<Utc>) -> Result<()> {
    execute!(tx, SLEEP_ANEW, now)?;
    Ok(())
}

/// Whether there is a row of a volume of this name, also of one that is destroyed.
pub(super) async fn knew_volume(tx: &mut Tx, name: &str) -> Result<bool> {
    Ok(fetch_one!(tx, (i64,), KNEW_VOLUME, name)?.0 > 0)
}

pub(crate) async fn count_existing(tx: &mut Tx) -> Result<usize> {
    let (count,) = fetch_one!(tx, (i64,), COUNT)?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

/// Machines that were abandoned while they were made, and may come yet.
pub(crate) async fn count_abandoned(tx: &mut Tx, now: DateTime<Utc>) -> Result<usize> {
    let (count,) = fetch_one!(tx, (i64,), COUNT_ABANDONED, now)?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

/// An abandoned machine may come yet, until then.
pub(crate) async fn count_on(tx: &mut Tx, id: MachineId, until: DateTime<Utc>) -> Result<()> {
    execute!(tx, COUNT_ON, id.uuid(), until)?;
    Ok(())
}

pub(super) async fn given_up_since(tx: &mut Tx, since: DateTime<Utc>) -> Result<Option<GivenUp>> {
    let (count, last) = fetch_one!(tx, (i64, Option<DateTime<Utc>>), GIVEN_UP, since)?;
    let Some(last) = last else { return Ok(None) };
    let (error,) = fetch_one!(tx, (String,), GIVEN_UP_ERROR)?;
    Ok(Some(GivenUp { count: u32::try_from(count).unwrap_or(u32::MAX), last, error }))
}

/// A volume that the pool has decided to have.
pub(super) struct VolumeRow<'a> {
    pub(super) id: VolumeId,
    pub(super) name: &'a str,
    pub(super) region: &'a str,
    /// The volume at the provider that it is to be a copy of.
    pub(super) source_id: Option<&'a str>,
    pub(super) size_gb: u32,
    /// Picodollars a second.
    pub(super) rate: u64,
    /// Whether a worker has had what it is to be a copy of.
    pub(super) is_used: bool,
}

pub(super) async fn insert_volume(tx: &mut Tx, volume: &VolumeRow<'_>, now: DateTime<Utc>) -> Result<()> {
    let VolumeRow { id, name, region, source_id, size_gb, rate, is_used } = *volume;
    let size_gb = i32::try_from(size_gb).unwrap_or(i32::MAX);
    execute!(tx, INSERT_VOLUME, id.uuid(), name, region, now, source_id, size_gb, as_i64(rate), is_used)?;
    Ok(())
}

/// A machine that the pool has decided to have.
pub(super) struct MachineRow<'a> {
    pub(super) id: MachineId,
    pub(super) name: &'a str,
    pub(super) region: &'a str,
    pub(super) volume: VolumeId,
    pub(super) image: &'a str,
    /// What it ran before, where that is another.
    pub(super) former_image: &'a str,
}

pub(super) async fn insert(tx: &mut Tx, machine: &MachineRow<'_>, now: DateTime<Utc>) -> Result<()> {
    let MachineRow { id, name, region, volume, image, .. } = *machine;
    let none: Json<Vec<String>> = Json(Vec::new());
    execute!(tx, INSERT, id.uuid(), name, region, now, volume.uuid(), none, false, image)?;
    Ok(())
}

/// Has the provider make the machine anew, in this row; says whether it still stood where it was seen.
pub(super) async fn replace(
    tx: &mut Tx,
    from: MachineState,
    machine: &MachineRow<'_>,
    rung: Rung,
    error: Option<&str>,
    now: DateTime<Utc>,
) -> Result<bool> {
    let MachineRow { id, name, region, volume, image, former_image } = *machine;
    let (id, volume, rung) = (id.uuid(), volume.uuid(), rung.number());
    Ok(execute!(tx, REPLACE, id, from.as_str(), now, name, region, image, rung, volume, error, former_image)? == 1)
}

/// Notes that no machine uses a volume any more.
pub(super) async fn release_volume(tx: &mut Tx, id: VolumeId, now: DateTime<Utc>) -> Result<()> {
    execute!(tx, RELEASE_VOLUME, id.uuid(), now)?;
    Ok(())
}

/// A volume that no machine uses any more.
pub(crate) struct Released {
    pub(crate) id: VolumeId,
    /// Its name at the provider.
    pub(crate) name: String,
    /// Its id there, once known.
    pub(crate) provider_id: Option<String>,
    /// How often it could not be destroyed.
    pub(crate) failures: i32,
}

/// Volumes that no machine has used since then, of which no copy is still to come, and whose destruction is due.
pub(crate) async fn released(tx: &mut Tx, since: DateTime<Utc>, now: DateTime<Utc>) -> Result<Vec<Released>> {
    let rows = fetch_all!(tx, (Uuid, String, Option<String>, i32), RELEASED, since, now)?;
    let released =
        |(id, name, provider_id, failures): (Uuid, _, _, _)| Released { id: id.into(), name, provider_id, failures };
    Ok(rows.into_iter().map(released).collect())
}

/// A volume could not be destroyed; that is tried again at `next`.
pub(crate) async fn volume_refused(
    tx: &mut Tx,
    id: VolumeId,
    failures: i32,
    error: &str,
    next: DateTime<Utc>,
) -> Result<()> {
    execute!(tx, VOLUME_REFUSED, id.uuid(), failures, error, next)?;
    Ok(())
}

fn as_i64(rate: u64) -> i64 {
    i64::try_from(rate).unwrap_or(i64::MAX)
}

pub(super) async fn set_state(
    tx: &mut Tx,
    id: MachineId,
    from: MachineState,
    to: MachineState,
    error: Option<&str>,
    now: DateTime<Utc>,
) -> Result<bool> {
    Ok(execute!(tx, SET_STATE, id.uuid(), from.as_str(), to.as_str(), error, now)? == 1)
}

pub(super) async fn begin_next_batch(tx: &mut Tx, id: MachineId) -> Result<()> {
    execute!(tx, NEXT_BATCH, id.uuid())?;
    Ok(())
}

/// The provider calls the volume otherwise now.
pub(crate) async fn volume_moved(tx: &mut Tx, id: VolumeId, provider_id: &str) -> Result<()> {
    execute!(tx, VOLUME_MOVED, id.uuid(), provider_id)?;
    Ok(())
}

/// The provider has made the volume, at that time: it costs since then.
pub(crate) async fn set_volume(
    tx: &mut Tx,
    id: VolumeId,
    provider_id: &str,
    region: &str,
    at: DateTime<Utc>,
) -> Result<()> {
    execute!(tx, SET_VOLUME, id.uuid(), provider_id, region, at)?;
    Ok(())
}

/// A volume is made empty after all: what it was to be a copy of cannot be copied.
pub(crate) async fn forget_source(tx: &mut Tx, id: VolumeId) -> Result<()> {
    execute!(tx, FORGET_SOURCE, id.uuid(), false)?;
    Ok(())
}

/// Notes whether something may be on a machine's disk.
pub(crate) async fn set_used(tx: &mut Tx, id: MachineId, is_used: bool) -> Result<()> {
    execute!(tx, SET_USED, id.uuid(), is_used)?;
    Ok(())
}

/// A machine as the provider made it: it costs since then, whenever that is learned.
pub(crate) struct Made<'a> {
    pub(crate) provider_id: &'a str,
    pub(crate) region: &'a str,
    pub(crate) at: DateTime<Utc>,
    /// Picodollars a second.
    pub(crate) awake_rate: u64,
    pub(crate) asleep_rate: u64,
}

pub(crate) async fn set_provider_id(tx: &mut Tx, id: MachineId, made: &Made<'_>) -> Result<()> {
    let Made { provider_id, region, at, awake_rate, asleep_rate } = *made;
    execute!(tx, SET_PROVIDER_ID, id.uuid(), provider_id, region, at, as_i64(awake_rate), as_i64(asleep_rate))?;
    Ok(())
}

/// The machine that this one replaces is gone.
pub(crate) async fn forget_former(tx: &mut Tx, id: MachineId) -> Result<()> {
    execute!(tx, FORGET_FORMER, id.uuid())?;
    Ok(())
}

/// A machine is not asked for until then, because it was refused.
pub(crate) async fn rest(tx: &mut Tx, machine: &Machine, until: DateTime<Utc>, refusals: i32, why: &str) -> Result<()> {
    execute!(tx, REST, machine.id.uuid(), machine.state.as_str(), until, refusals, why)?;
    Ok(())
}

pub(crate) async fn try_later(
    tx: &mut Tx,
    machine: &Machine,
    at: DateTime<Utc>,
    failures: i32,
    error: Option<&str>,
) -> Result<()> {
    execute!(tx, TRY_LATER, machine.id.uuid(), machine.state.as_str(), at, failures, error)?;
    Ok(())
}

/// Notes what a machine waits for, and nothing else.
pub(crate) async fn tell(tx: &mut Tx, machine: &Machine, why: &str) -> Result<()> {
    execute!(tx, TELL, machine.id.uuid(), machine.state.as_str(), why)?;
    Ok(())
}

/// Notes that a machine runs and by when its worker has to report in.
pub(crate) async fn started(
    tx: &mut Tx,
    machine: &Machine,
    report_by: DateTime<Utc>,
    restarts: i32,
    rung: Rung,
    error: Option<&str>,
) -> Result<()> {
    let (id, state) = (machine.id.uuid(), machine.state.as_str());
    execute!(tx, STARTED, id, state, report_by, restarts, error, rung.number())?;
    Ok(())
}

/// Notes how far a machine's recovery has come, when to look at it next, and how long that may take.
pub(crate) async fn set_rung(
    tx: &mut Tx,
    machine: &Machine,
    rung: Rung,
    at: DateTime<Utc>,
    report_by: DateTime<Utc>,
) -> Result<()> {
    execute!(tx, SET_RUNG, machine.id.uuid(), machine.state.as_str(), rung.number(), at, report_by)?;
    Ok(())
}

/// Notes for how long a machine has been on its way; with `acts`, provisioning acts on it now.
pub(crate) async fn stuck(tx: &mut Tx, id: MachineId, minutes: i32, acts: bool, now: DateTime<Utc>) -> Result<()> {
    execute!(tx, STUCK, id.uuid(), minutes)?;
    if acts {
        execute!(tx, ACT_NOW, id.uuid(), now)?;
    }
    Ok(())
}

/// Gives a machine no more work, and says whether it had been given any so far.
pub(super) async fn retire(tx: &mut Tx, id: MachineId, why: &str) -> Result<bool> {
    Ok(execute!(tx, RETIRE, id.uuid(), why)? == 1)
}

/// A machine is no longer being replaced.
pub(crate) async fn retired(tx: &mut Tx, id: MachineId) -> Result<()> {
    execute!(tx, RETIRED, id.uuid())?;
    Ok(())
}

pub(crate) async fn count_cold_start(tx: &mut Tx, id: MachineId) -> Result<()> {
    execute!(tx, COLD_START, id.uuid())?;
    Ok(())
}

/// Counts executions that a machine's worker was given.
pub(crate) async fn count_executions(tx: &mut Tx, id: MachineId, more: i32) -> Result<()> {
    execute!(tx, EXECUTED, id.uuid(), more)?;
    Ok(())
}

/// Notes that a machine's worker should have reported in already.
pub(crate) async fn overdue(tx: &mut Tx, id: MachineId, now: DateTime<Utc>) -> Result<()> {
    execute!(tx, OVERDUE, id.uuid(), now)?;
    Ok(())
}

/// Has provisioning look at a booting machine before its time.
pub(crate) async fn try_now(tx: &mut Tx, id: MachineId, now: DateTime<Utc>) -> Result<()> {
    execute!(tx, TRY_NOW, id.uuid(), now)?;
    Ok(())
}

pub(crate) async fn give_up(tx: &mut Tx, id: MachineId) -> Result<()> {
    execute!(tx, GIVE_UP, id.uuid(), true)?;
    Ok(())
}

/// Nothing of a volume is left; one that is kept stays.
pub(crate) async fn volume_destroyed(tx: &mut Tx, id: VolumeId) -> Result<()> {
    execute!(tx, VOLUME_DESTROYED, id.uuid())?;
    Ok(())
}

pub(crate) async fn set_repositories(tx: &mut Tx, id: MachineId, repositories: &[String]) -> Result<()> {
    execute!(tx, SET_REPOSITORIES, id.uuid(), Json(repositories))?;
    Ok(())
}

pub(crate) async fn set_idle_since(tx: &mut Tx, id: MachineId, since: Option<DateTime<Utc>>) -> Result<()> {
    execute!(tx, SET_IDLE, id.uuid(), since)?;
    Ok(())
}

pub(crate) async fn clear_error(tx: &mut Tx, id: MachineId) -> Result<()> {
    execute!(tx, CLEAR_ERROR, id.uuid())?;
    Ok(())
}

/// The provider's ids of volumes that have a row, and the names of those whose id is not known yet.
pub(crate) async fn known_volumes(tx: &mut Tx) -> Result<(Vec<String>, Vec<String>)> {
    let ids = fetch_all!(tx, (String,), KNOWN_VOLUMES)?.into_iter().map(|(id,)| id).collect();
    let names = fetch_all!(tx, (String,), PENDING_VOLUMES)?.into_iter().map(|(name,)| name).collect();
    Ok((ids, names))
}
