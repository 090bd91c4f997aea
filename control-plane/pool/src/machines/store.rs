//! SQL of machines and volumes.

use chrono::{DateTime, Utc};
use kernel::{Result, Tx, execute, fetch_all, fetch_one, fetch_optional};
use sqlx::types::{Json, Uuid};
use wire::id::{MachineId, VolumeId};
use wire::machine::MachineState;

use super::Machine;
use crate::plan::{Facts, GivenUp};

kernel::sql! {
    LIST: "SELECT m.id, m.name, m.provider_id, m.region, m.state, m.state_since, m.next_try_at, m.failures, m.restarts, m.report_by, m.error, \
                  m.volume_id, v.name AS volume_name, v.provider_id AS volume_provider_id, m.batch, m.repositories, \
                  m.idle_since, m.created_at, w.last_heartbeat AS worker_heard_at \
           FROM machines m JOIN volumes v ON v.id = m.volume_id LEFT JOIN workers w ON w.machine_id = m.id WHERE m.state <> 'destroyed' ORDER BY m.created_at, m.id";
    FACTS: "SELECT m.id, m.state, m.state_since, m.idle_since, m.repositories, coalesce(w.current_load, 0) AS load \
            FROM machines m LEFT JOIN workers w ON w.machine_id = m.id \
            WHERE m.state <> 'destroyed' ORDER BY m.created_at, m.id";
    STATE: "SELECT state, batch FROM machines WHERE id = $1";
    COUNT: "SELECT count(*) FROM machines WHERE state <> 'destroyed'";
    GIVEN_UP: "SELECT count(*), max(state_since) FROM machines WHERE state = 'destroyed' AND given_up AND state_since > $1";
    GIVEN_UP_ERROR: "SELECT coalesce(error, 'unknown') FROM machines WHERE state = 'destroyed' AND given_up \
                     ORDER BY state_since DESC LIMIT 1";
    INSERT_VOLUME: "INSERT INTO volumes (id, name, region, state, created_at) VALUES ($1, $2, $3, 'creating', $4)";
    INSERT: "INSERT INTO machines (id, name, region, state, state_since, next_try_at, failures, restarts, volume_id, \
                                   repositories, batch, given_up, created_at) \
             VALUES ($1, $2, $3, 'creating', $4, $4, 0, 0, $5, $6, 0, $7, $4)";
    SET_STATE: "UPDATE machines SET state = $3, state_since = $5, next_try_at = $5, failures = 0, restarts = 0, report_by = NULL, \
                       error = coalesce($4, error) WHERE id = $1 AND state = $2";
    NEXT_BATCH: "UPDATE machines SET batch = batch + 1 WHERE id = $1";
    SET_VOLUME: "UPDATE volumes SET provider_id = $2, region = $3, state = 'ready' WHERE id = $1";
    SET_PROVIDER_ID: "UPDATE machines SET provider_id = $2, region = $3 WHERE id = $1";
    TRY_LATER: "UPDATE machines SET next_try_at = $3, failures = $4, error = coalesce($5, error) WHERE id = $1 AND state = $2";
    STARTED: "UPDATE machines SET next_try_at = $3, report_by = $3, restarts = restarts + $4, failures = 0, \
                     error = coalesce($5, error) WHERE id = $1 AND state = $2";
    OVERDUE: "UPDATE machines SET report_by = $2 WHERE id = $1";
    TRY_NOW: "UPDATE machines SET next_try_at = $2 WHERE id = $1 AND state IN ('starting', 'resuming') AND next_try_at > $2";
    GIVE_UP: "UPDATE machines SET given_up = $2 WHERE id = $1";
    VOLUME_DESTROYED: "UPDATE volumes SET state = 'destroyed' WHERE id = $1";
    SET_REPOSITORIES: "UPDATE machines SET repositories = $2 WHERE id = $1";
    SET_IDLE: "UPDATE machines SET idle_since = $2 WHERE id = $1";
    CLEAR_ERROR: "UPDATE machines SET error = NULL WHERE id = $1";
    KNOWN_VOLUMES: "SELECT provider_id FROM volumes WHERE state <> 'destroyed' AND provider_id IS NOT NULL";
    PENDING_VOLUMES: "SELECT name FROM volumes WHERE state = 'creating'";
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
    batch: i64,
    repositories: Json<Vec<String>>,
    idle_since: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    worker_heard_at: Option<DateTime<Utc>>,
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
            batch: row.batch,
            repositories: row.repositories.0,
            worker_heard_at: row.worker_heard_at,
            idle_since: row.idle_since,
            created_at: row.created_at,
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
    load: i32,
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

pub(super) async fn facts(tx: &mut Tx) -> Result<Vec<Facts>> {
    let rows = fetch_all!(tx, FactsRow, FACTS)?;
    let facts = rows.into_iter().map(|row| Facts {
        id: row.id.into(),
        state: row.state,
        state_since: row.state_since,
        load: row.load,
        idle_since: row.idle_since,
        repositories: row.repositories.0,
    });
    Ok(facts.collect())
}

/// Where a machine stands and the number of its batch.
pub(crate) async fn state(tx: &mut Tx, id: MachineId) -> Result<Option<(MachineState, i64)>> {
    let row = fetch_optional!(tx, StateRow, STATE, id.uuid())?;
    Ok(row.map(|row| (row.state, row.batch)))
}

pub(super) async fn count_existing(tx: &mut Tx) -> Result<usize> {
    let (count,) = fetch_one!(tx, (i64,), COUNT)?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

pub(super) async fn given_up_since(tx: &mut Tx, since: DateTime<Utc>) -> Result<Option<GivenUp>> {
    let (count, last) = fetch_one!(tx, (i64, Option<DateTime<Utc>>), GIVEN_UP, since)?;
    let Some(last) = last else { return Ok(None) };
    let (error,) = fetch_one!(tx, (String,), GIVEN_UP_ERROR)?;
    Ok(Some(GivenUp { count: u32::try_from(count).unwrap_or(u32::MAX), last, error }))
}

/// What a new machine and its volume are called at the provider.
pub(super) struct Names {
    pub(super) machine: String,
    pub(super) volume: String,
}

pub(super) async fn insert(
    tx: &mut Tx,
    id: MachineId,
    volume: VolumeId,
    names: &Names,
    region: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    execute!(tx, INSERT_VOLUME, volume.uuid(), &names.volume, region, now)?;
    let none: Json<Vec<String>> = Json(Vec::new());
    execute!(tx, INSERT, id.uuid(), &names.machine, region, now, volume.uuid(), none, false)?;
    Ok(())
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

pub(crate) async fn set_volume(tx: &mut Tx, id: VolumeId, provider_id: &str, region: &str) -> Result<()> {
    execute!(tx, SET_VOLUME, id.uuid(), provider_id, region)?;
    Ok(())
}

pub(crate) async fn set_provider_id(tx: &mut Tx, id: MachineId, provider_id: &str, region: &str) -> Result<()> {
    execute!(tx, SET_PROVIDER_ID, id.uuid(), provider_id, region)?;
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

/// Notes that a machine runs and by when its worker has to report in.
pub(crate) async fn started(
    tx: &mut Tx,
    machine: &Machine,
    report_by: DateTime<Utc>,
    restarts: i32,
    error: Option<&str>,
) -> Result<()> {
    execute!(tx, STARTED, machine.id.uuid(), machine.state.as_str(), report_by, restarts, error)?;
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
