//! SQL of workers.

use chrono::{DateTime, Utc};
use kernel::{Result, Tx, execute, fetch_all, fetch_optional, hex, id_list, rows};
use serde::Serialize;
use sqlx::types::{Json, Uuid};
use wire::id::{MachineId, TenantId, WorkerId};
use wire::worker::{NewWorker, WorkerStatus};

use super::{Named, Worker};

kernel::sql! {
    LIST: "SELECT w.*, m.repositories, m.state_since, m.awake_rate FROM workers w LEFT JOIN machines m ON m.id = w.machine_id \
           WHERE m.id IS NULL OR m.state <> 'destroyed' ORDER BY w.last_heartbeat DESC, w.id";
    FIND: "SELECT w.*, m.repositories, m.state_since, m.awake_rate FROM workers w LEFT JOIN machines m ON m.id = w.machine_id WHERE w.id = $1";
    FIND_ALL: "SELECT w.*, m.repositories, m.state_since, m.awake_rate FROM workers w LEFT JOIN machines m ON m.id = w.machine_id \
               WHERE w.id IN (SELECT unhex(value) FROM json_each($1))",
        postgres "SELECT w.*, m.repositories, m.state_since, m.awake_rate FROM workers w LEFT JOIN machines m ON m.id = w.machine_id \
                  WHERE w.id = ANY (ARRAY(SELECT CAST(value AS UUID) FROM json_array_elements_text(CAST($1 AS JSON))))";
    LOCK_ALL: "SELECT w.*, m.repositories, m.state_since, m.awake_rate FROM workers w LEFT JOIN machines m ON m.id = w.machine_id \
               WHERE w.id IN (SELECT unhex(value) FROM json_each($1)) ORDER BY w.id",
        postgres "SELECT w.*, m.repositories, m.state_since, m.awake_rate FROM workers w LEFT JOIN machines m ON m.id = w.machine_id \
                  WHERE w.id = ANY (ARRAY(SELECT CAST(value AS UUID) FROM json_array_elements_text(CAST($1 AS JSON)))) \
                  ORDER BY w.id FOR UPDATE OF w";
    FIND_NAMED: "SELECT w.id, w.tenant_id, w.name FROM json_each($1) new \
                 JOIN workers w ON w.tenant_id = unhex(new.value->>'tenant_id') AND w.name = new.value->>'name'",
        postgres "SELECT w.id, w.tenant_id, w.name \
                  FROM json_to_recordset(CAST($1 AS JSON)) AS new(tenant_id UUID, name TEXT) \
                  JOIN workers w ON w.tenant_id = new.tenant_id AND w.name = new.name";
    ADD_NAMED: "INSERT INTO workers (id, tenant_id, name, worker_type, capacity, current_load, status, last_heartbeat, \
                                     registered_at, metadata, agent_types) \
                SELECT unhex(value->>'id'), unhex(value->>'tenant_id'), value->>'name', value->>'worker_type', $3, 0, \
                       'idle', $2, $2, '{}', json_array(value->>'worker_type') \
                FROM json_each($1) WHERE true ON CONFLICT (tenant_id, name) DO NOTHING",
        postgres "INSERT INTO workers (id, tenant_id, name, worker_type, capacity, current_load, status, last_heartbeat, \
                                       registered_at, metadata, agent_types) \
                  SELECT id, tenant_id, name, worker_type, $3, 0, 'idle', $2, $2, '{}', jsonb_build_array(worker_type) \
                  FROM json_to_recordset(CAST($1 AS JSON)) AS new(id UUID, tenant_id UUID, name TEXT, worker_type TEXT) \
                  ON CONFLICT (tenant_id, name) DO NOTHING";
    FORGET_NAMED: "DELETE FROM workers WHERE name IS NOT NULL AND current_load = 0 AND last_heartbeat < $1 \
                   RETURNING id, name";
    FIND_BY_MACHINE: "SELECT w.*, m.repositories, m.state_since, m.awake_rate FROM workers w JOIN machines m ON m.id = w.machine_id \
                      WHERE w.machine_id = $1";
    AVAILABLE: "SELECT w.*, m.repositories, m.state_since, m.awake_rate FROM workers w JOIN machines m ON m.id = w.machine_id \
                WHERE m.state = 'ready' AND m.retiring IS NULL AND w.status <> 'disabled' AND w.current_load < w.capacity \
                  AND w.last_heartbeat >= $1 ORDER BY w.current_load, w.last_heartbeat DESC, w.id";
    DISABLED_WITH_WORK: "SELECT w.*, m.repositories, m.state_since, m.awake_rate FROM workers w LEFT JOIN machines m ON m.id = w.machine_id \
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
    BY_HAND: "SELECT w.*, m.repositories, m.state_since, m.awake_rate FROM workers w LEFT JOIN machines m ON m.id = w.machine_id \
              WHERE w.machine_id IS NULL AND w.status <> 'disabled' AND w.last_heartbeat >= $1 \
              ORDER BY w.current_load, w.registered_at, w.id";
    TOUCH: "UPDATE workers SET last_heartbeat = $2 WHERE id = $1";
    REVIVE: "UPDATE workers SET last_heartbeat = $2, \
                    status = CASE WHEN status = 'disabled' THEN 'idle' ELSE status END WHERE id = $1";
    ENABLE: "UPDATE workers SET last_heartbeat = $2, \
                    status = CASE WHEN current_load > 0 THEN 'active' ELSE 'idle' END WHERE machine_id = $1";
    DISABLE: "UPDATE workers SET status = 'disabled' WHERE machine_id = $1";
    STALE: "SELECT w.*, m.repositories, m.state_since, m.awake_rate FROM workers w LEFT JOIN machines m ON m.id = w.machine_id \
            WHERE w.last_heartbeat < $1 AND (m.id IS NULL OR m.state = 'ready') ORDER BY w.last_heartbeat, w.id";
    DISABLE_ONE: "UPDATE workers SET status = 'disabled' WHERE id = $1";
    TOUCH_ALL: "UPDATE workers SET last_heartbeat = $1 WHERE last_heartbeat < $1 AND status <> 'disabled'";
    SET_LOADS: "UPDATE workers SET current_load = new.value->>'load', status = CASE WHEN status = 'disabled' THEN status \
                       WHEN new.value->>'load' > 0 THEN 'active' ELSE 'idle' END \
                FROM json_each($1) new WHERE workers.id = unhex(new.value->>'id')",
        postgres "UPDATE workers SET current_load = new.load, status = CASE WHEN status = 'disabled' THEN status \
                         WHEN new.load > 0 THEN 'active' ELSE 'idle' END \
                  FROM json_to_recordset(CAST($1 AS JSON)) AS new(id UUID, load INTEGER) WHERE workers.id = new.id";
    REVIVE_ALL: "UPDATE workers SET last_heartbeat = $2, status = CASE WHEN current_load > 0 THEN 'active' ELSE 'idle' END \
                 WHERE id IN (SELECT unhex(value) FROM json_each($1))",
        postgres "UPDATE workers SET last_heartbeat = $2, \
                         status = CASE WHEN current_load > 0 THEN 'active' ELSE 'idle' END \
                  WHERE id = ANY (ARRAY(SELECT CAST(value AS UUID) FROM json_array_elements_text(CAST($1 AS JSON))))";
    REMOVE: "DELETE FROM workers WHERE id = $1";
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    machine_id: Option<Uuid>,
    tenant_id: Option<Uuid>,
    name: Option<String>,
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
    awake_rate: Option<i64>,
}

impl From<Row> for Worker {
    fn from(row: Row) -> Self {
        Self {
            id: row.id.into(),
            machine_id: row.machine_id.map(MachineId::from),
            tenant: row.tenant_id.map(TenantId::from),
            name: row.name,
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
            machine_rate: row.awake_rate.filter(|rate| *rate > 0),
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

pub(super) async fn find_all(tx: &mut Tx, ids: &[WorkerId]) -> Result<Vec<Worker>> {
    Ok(workers(fetch_all!(tx, Row, FIND_ALL, &id_list(ids.iter().map(|id| id.uuid())))?))
}

/// In the order of their ids, so that two who lock several do not wait in a circle.
pub(super) async fn lock_all(tx: &mut Tx, ids: &[WorkerId]) -> Result<Vec<Worker>> {
    Ok(workers(fetch_all!(tx, Row, LOCK_ALL, &id_list(ids.iter().map(|id| id.uuid())))?))
}

#[derive(Serialize)]
struct NamedRow<'a> {
    id: Option<String>,
    tenant_id: String,
    name: &'a str,
    worker_type: &'a str,
}

fn named_row<'a>(id: Option<WorkerId>, named: &Named<'a>) -> NamedRow<'a> {
    let id = id.map(|id| hex(id.uuid()));
    NamedRow { id, tenant_id: hex(named.tenant.uuid()), name: named.name, worker_type: named.worker_type }
}

/// Of these, who is there: whose they are, their names and their ids.
pub(super) async fn find_named<'a>(
    tx: &mut Tx,
    named: impl Iterator<Item = &'a Named<'a>>,
) -> Result<Vec<(TenantId, String, WorkerId)>> {
    let sought: Vec<NamedRow<'_>> = named.map(|named| named_row(None, named)).collect();
    let found = fetch_all!(tx, (Uuid, Uuid, String), FIND_NAMED, &rows(&sought)?)?;
    Ok(found.into_iter().map(|(id, tenant, name)| (tenant.into(), name, id.into())).collect())
}

/// Adds those who are not there.
pub(super) async fn add_named(
    tx: &mut Tx,
    new: &[(WorkerId, &Named<'_>)],
    capacity: i32,
    now: DateTime<Utc>,
) -> Result<()> {
    let new: Vec<NamedRow<'_>> = new.iter().map(|(id, named)| named_row(Some(*id), named)).collect();
    execute!(tx, ADD_NAMED, &rows(&new)?, now, capacity)?;
    Ok(())
}

/// Removes who came by a name alone, has nothing and was silent since then; gives their ids and names.
pub(super) async fn forget_named(tx: &mut Tx, since: DateTime<Utc>) -> Result<Vec<(WorkerId, String)>> {
    let gone = fetch_all!(tx, (Uuid, String), FORGET_NAMED, since)?;
    Ok(gone.into_iter().map(|(id, name)| (id.into(), name)).collect())
}

#[derive(Serialize)]
struct LoadRow {
    id: String,
    load: i64,
}

pub(super) async fn set_loads(tx: &mut Tx, loads: &[(WorkerId, i64)]) -> Result<()> {
    let loads: Vec<LoadRow> = loads.iter().map(|(id, load)| LoadRow { id: hex(id.uuid()), load: *load }).collect();
    execute!(tx, SET_LOADS, &rows(&loads)?)?;
    Ok(())
}

/// Notes that these were heard, and counts on them again.
pub(super) async fn revive_all(tx: &mut Tx, ids: &[WorkerId], now: DateTime<Utc>) -> Result<()> {
    execute!(tx, REVIVE_ALL, &id_list(ids.iter().map(|id| id.uuid())), now)?;
    Ok(())
}

pub(super) async fn remove(tx: &mut Tx, id: WorkerId) -> Result<()> {
    execute!(tx, REMOVE, id.uuid())?;
    Ok(())
}
