//! SQL of workers.

use chrono::{DateTime, Utc};
use kernel::{Result, Tx, execute, fetch_all, fetch_optional};
use sqlx::types::{Json, Uuid};
use wire::id::{MachineId, WorkerId};
use wire::worker::{NewWorker, WorkerStatus};

use super::Worker;

kernel::sql! {
    LIST: "SELECT w.*, m.repositories, m.state_since FROM workers w LEFT JOIN machines m ON m.id = w.machine_id \
           WHERE m.id IS NULL OR m.state <> 'destroyed' ORDER BY w.last_heartbeat DESC, w.id";
    FIND: "SELECT w.*, m.repositories, m.state_since FROM workers w LEFT JOIN machines m ON m.id = w.machine_id WHERE w.id = $1";
    FIND_BY_MACHINE: "SELECT w.*, m.repositories, m.state_since FROM workers w JOIN machines m ON m.id = w.machine_id \
                      WHERE w.machine_id = $1";
    AVAILABLE: "SELECT w.*, m.repositories, m.state_since FROM workers w JOIN machines m ON m.id = w.machine_id \
                WHERE m.state = 'ready' AND m.retiring IS NULL AND w.status <> 'disabled' AND w.current_load < w.capacity \
                  AND w.last_heartbeat >= $1 ORDER BY w.current_load, w.last_heartbeat DESC, w.id";
    DISABLED_WITH_WORK: "SELECT w.*, m.repositories, m.state_since FROM workers w LEFT JOIN machines m ON m.id = w.machine_id \
               WHERE w.status = 'disabled' AND w.current_load > 0 ORDER BY w.id";
    REGISTER: "INSERT INTO workers (id, machine_id, boot, worker_type, capacity, current_load, status, last_heartbeat, \
                                    registered_at, metadata, agent_types) \
               VALUES ($1, $2, $3, 'command', $4, 0, 'idle', $5, $5, $6, '[\"command\"]') \
               ON CONFLICT (machine_id) DO UPDATE SET boot = excluded.boot, capacity = excluded.capacity, \
                 status = 'idle', last_heartbeat = excluded.last_heartbeat, registered_at = excluded.registered_at, \
                 metadata = excluded.metadata";
    ADD: "INSERT INTO workers (id, worker_type, capacity, current_load, status, last_heartbeat, registered_at, metadata, \
                               agent_types) \
          VALUES ($1, $2, $3, 0, 'idle', $4, $4, $5, $6)";
    CHANGE: "UPDATE workers SET worker_type = $2, capacity = $3, metadata = $4, agent_types = $5 WHERE id = $1";
    LOCK: "SELECT id FROM workers WHERE id = $1" + lock;
    BY_HAND: "SELECT w.*, m.repositories, m.state_since FROM workers w LEFT JOIN machines m ON m.id = w.machine_id \
              WHERE w.machine_id IS NULL AND w.status <> 'disabled' AND w.last_heartbeat >= $1 \
              ORDER BY w.current_load, w.registered_at, w.id";
    TOUCH: "UPDATE workers SET last_heartbeat = $2 WHERE id = $1";
    REVIVE: "UPDATE workers SET last_heartbeat = $2, \
                    status = CASE WHEN status = 'disabled' THEN 'idle' ELSE status END WHERE id = $1";
    ENABLE: "UPDATE workers SET last_heartbeat = $2, \
                    status = CASE WHEN current_load > 0 THEN 'active' ELSE 'idle' END WHERE machine_id = $1";
    DISABLE: "UPDATE workers SET status = 'disabled' WHERE machine_id = $1";
    STALE: "SELECT w.*, m.repositories, m.state_since FROM workers w LEFT JOIN machines m ON m.id = w.machine_id \
            WHERE w.last_heartbeat < $1 AND (m.id IS NULL OR m.state = 'ready') ORDER BY w.last_heartbeat, w.id";
    DISABLE_ONE: "UPDATE workers SET status = 'disabled' WHERE id = $1";
    TOUCH_ALL: "UPDATE workers SET last_heartbeat = $1 WHERE last_heartbeat < $1 AND status <> 'disabled'";
    SET_LOAD: "UPDATE workers SET current_load = $2, status = CASE WHEN status = 'disabled' THEN status \
                      WHEN $2 > 0 THEN 'active' ELSE 'idle' END WHERE id = $1";
    REMOVE: "DELETE FROM workers WHERE id = $1";
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    machine_id: Option<Uuid>,
    boot: Option<Uuid>,
    worker_type: String,
    capacity: i32,
    current_load: i32,
    #[sqlx(try_from = "String")]
    status: WorkerStatus,
    last_heartbeat: DateTime<Utc>,
    registered_at: DateTime<Utc>,
    metadata: Json<serde_json::Value>,
    agent_types: Json<Vec<String>>,
    repositories: Option<Json<Vec<String>>>,
    state_since: Option<DateTime<Utc>>,
}

impl From<Row> for Worker {
    fn from(row: Row) -> Self {
        Self {
            id: row.id.into(),
            machine_id: row.machine_id.map(MachineId::from),
            boot: row.boot,
            worker_type: row.worker_type,
            capacity: row.capacity,
            current_load: row.current_load,
            status: row.status,
            last_heartbeat: row.last_heartbeat,
            registered_at: row.registered_at,
            repositories: row.repositories.map(|json| json.0).unwrap_or_default(),
            agent_types: row.agent_types.0,
            machine_since: row.state_since,
            metadata: row.metadata.0,
        }
    }
}

fn workers(rows: Vec<Row>) -> Vec<Worker> {
    rows.into_iter().map(Worker::from).collect()
}

pub(super) async fn list(tx: &mut Tx) -> Result<Vec<Worker>> {
    Ok(workers(fetch_all!(tx, Row, LIST)?))
}

pub(super) async fn find(tx: &mut Tx, id: WorkerId) -> Result<Option<Worker>> {
    Ok(fetch_optional!(tx, Row, FIND, id.uuid())?.map(Worker::from))
}

pub(super) async fn find_by_machine(tx: &mut Tx, machine: MachineId) -> Result<Option<Worker>> {
    Ok(fetch_optional!(tx, Row, FIND_BY_MACHINE, machine.uuid())?.map(Worker::from))
}

pub(super) async fn available(tx: &mut Tx, heard_since: DateTime<Utc>) -> Result<Vec<Worker>> {
    Ok(workers(fetch_all!(tx, Row, AVAILABLE, heard_since)?))
}

pub(super) async fn disabled_with_work(tx: &mut Tx) -> Result<Vec<Worker>> {
    Ok(workers(fetch_all!(tx, Row, DISABLED_WITH_WORK)?))
}

pub(super) async fn register(
    tx: &mut Tx,
    id: WorkerId,
    machine: MachineId,
    boot: Uuid,
    capacity: i32,
    metadata: &serde_json::Value,
    now: DateTime<Utc>,
) -> Result<()> {
    execute!(tx, REGISTER, id.uuid(), machine.uuid(), boot, capacity, now, Json(metadata))?;
    Ok(())
}

pub(super) async fn add(tx: &mut Tx, id: WorkerId, new: &NewWorker, now: DateTime<Utc>) -> Result<()> {
    let (metadata, agent_types) = (Json(&new.metadata), Json(&new.agent_types));
    execute!(tx, ADD, id.uuid(), &new.worker_type, new.capacity, now, metadata, agent_types)?;
    Ok(())
}

pub(super) async fn change(tx: &mut Tx, id: WorkerId, to: &NewWorker) -> Result<()> {
    let (metadata, agent_types) = (Json(&to.metadata), Json(&to.agent_types));
    execute!(tx, CHANGE, id.uuid(), &to.worker_type, to.capacity, metadata, agent_types)?;
    Ok(())
}

pub(super) async fn lock(tx: &mut Tx, id: WorkerId) -> Result<bool> {
    Ok(fetch_optional!(tx, (Uuid,), LOCK, id.uuid())?.is_some())
}

pub(super) async fn by_hand(tx: &mut Tx, heard_since: DateTime<Utc>) -> Result<Vec<Worker>> {
    Ok(workers(fetch_all!(tx, Row, BY_HAND, heard_since)?))
}

pub(super) async fn touch(tx: &mut Tx, id: WorkerId, now: DateTime<Utc>) -> Result<()> {
    execute!(tx, TOUCH, id.uuid(), now)?;
    Ok(())
}

pub(super) async fn revive(tx: &mut Tx, id: WorkerId, now: DateTime<Utc>) -> Result<()> {
    execute!(tx, REVIVE, id.uuid(), now)?;
    Ok(())
}

pub(super) async fn enable_of_machine(tx: &mut Tx, machine: MachineId, now: DateTime<Utc>) -> Result<()> {
    execute!(tx, ENABLE, machine.uuid(), now)?;
    Ok(())
}

pub(super) async fn disable_of_machine(tx: &mut Tx, machine: MachineId) -> Result<()> {
    execute!(tx, DISABLE, machine.uuid())?;
    Ok(())
}

/// Workers that were silent since then, though nobody put their machine to sleep.
pub(super) async fn stale(tx: &mut Tx, since: DateTime<Utc>) -> Result<Vec<Worker>> {
    Ok(workers(fetch_all!(tx, Row, STALE, since)?))
}

pub(super) async fn disable(tx: &mut Tx, id: WorkerId) -> Result<()> {
    execute!(tx, DISABLE_ONE, id.uuid())?;
    Ok(())
}

/// Counts everybody as heard at least then.
pub(super) async fn touch_all(tx: &mut Tx, at: DateTime<Utc>) -> Result<()> {
    execute!(tx, TOUCH_ALL, at)?;
    Ok(())
}

pub(super) async fn set_load(tx: &mut Tx, id: WorkerId, load: i32) -> Result<()> {
    execute!(tx, SET_LOAD, id.uuid(), load)?;
    Ok(())
}

pub(super) async fn remove(tx: &mut Tx, id: WorkerId) -> Result<()> {
    execute!(tx, REMOVE, id.uuid())?;
    Ok(())
}
