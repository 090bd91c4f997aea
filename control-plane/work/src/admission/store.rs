//! SQL of admission: lanes, what people have set, and what is in hand.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use kernel::{Result, Tx, execute, fetch_all, fetch_one};
use sqlx::types::{Json, Uuid};
use wire::admission::is_own_key;
use wire::id::{MachineId, TaskId, TenantId};
use wire::task::Priority;

use super::policy::{Bucket, Hold, Rules, Target};
use super::{Lane, LaneId};
use crate::budgets;
use crate::limits::store::Allowed;

kernel::sql! {
    // Of all tenants where none is named: the scheduler decides for everybody.
    IS_SET: "SELECT EXISTS (SELECT 1 FROM holds WHERE scope <> 'task' AND (tenant_id = $1 OR $1 IS NULL)), \
                    EXISTS (SELECT 1 FROM key_limits WHERE tenant_id = $1 OR $1 IS NULL), \
                    EXISTS (SELECT 1 FROM budgets WHERE tenant_id = $1 OR $1 IS NULL), \
                    EXISTS (SELECT 1 FROM tasks INDEXED BY tasks_own_keys WHERE status IN ('assigned', 'in_progress') \
                      AND (CAST(task_keys AS TEXT) LIKE '%\"schedule:%' OR CAST(task_keys AS TEXT) LIKE '%\"agent-session:%') \
                      AND (tenant_id = $1 OR $1 IS NULL))",
        postgres "SELECT EXISTS (SELECT 1 FROM holds WHERE scope <> 'task' AND (tenant_id = $1 OR $1 IS NULL)), \
                    EXISTS (SELECT 1 FROM key_limits WHERE tenant_id = $1 OR $1 IS NULL), \
                    EXISTS (SELECT 1 FROM budgets WHERE tenant_id = $1 OR $1 IS NULL), \
                    EXISTS (SELECT 1 FROM tasks WHERE status IN ('assigned', 'in_progress') \
                      AND (CAST(task_keys AS TEXT) LIKE '%\"schedule:%' OR CAST(task_keys AS TEXT) LIKE '%\"agent-session:%') \
                      AND (tenant_id = $1 OR $1 IS NULL))";
    // Tasks that are in hand with keys of Bifrost's own; in the words of their index.
    HOLDERS: "SELECT tenant_id, id, task_keys FROM tasks INDEXED BY tasks_own_keys WHERE status IN ('assigned', 'in_progress') \
                AND (CAST(task_keys AS TEXT) LIKE '%\"schedule:%' OR CAST(task_keys AS TEXT) LIKE '%\"agent-session:%') \
                AND (tenant_id = $1 OR $1 IS NULL)",
        postgres "SELECT tenant_id, id, task_keys FROM tasks WHERE status IN ('assigned', 'in_progress') \
                AND (CAST(task_keys AS TEXT) LIKE '%\"schedule:%' OR CAST(task_keys AS TEXT) LIKE '%\"agent-session:%') \
                AND (tenant_id = $1 OR $1 IS NULL)";
    WIDE_HOLDS: "SELECT tenant_id, scope, target, owner, reason, expires_at FROM holds \
                 WHERE scope <> 'task' AND (tenant_id = $1 OR $1 IS NULL) AND (expires_at IS NULL OR expires_at > $2) \
                 ORDER BY created_at, id";
    HOLDS_OF_TASK: "SELECT owner, reason, expires_at FROM holds WHERE tenant_id = $1 AND task_id = $2 ORDER BY created_at, id";
    HOLDS_OF_TASKS: "SELECT task_id, owner, reason, expires_at FROM holds \
                     WHERE tenant_id = $1 AND task_id IN (SELECT unhex(value) FROM json_each($2)) ORDER BY created_at, id",
        postgres "SELECT task_id, owner, reason, expires_at FROM holds WHERE tenant_id = $1 \
                    AND task_id = ANY (ARRAY(SELECT CAST(value AS UUID) FROM json_array_elements_text(CAST($2 AS JSON)))) \
                  ORDER BY created_at, id";
    DELETE_HOLDS_OF_TASK: "DELETE FROM holds WHERE tenant_id = $1 AND task_id = $2";
    LIMITS: "SELECT tenant_id, limit_key, max_running, rate_tokens, rate_per_seconds, rate_burst, level_micros, level_at \
             FROM key_limits WHERE tenant_id = $1 OR $1 IS NULL ORDER BY tenant_id, limit_key";
    LOCK_LIMITS: "SELECT tenant_id, limit_key, max_running, rate_tokens, rate_per_seconds, rate_burst, level_micros, level_at \
                  FROM key_limits WHERE tenant_id = $1 OR $1 IS NULL ORDER BY tenant_id, limit_key" + lock;
    SET_LEVEL: "UPDATE key_limits SET level_micros = $3, level_at = $4 WHERE tenant_id = $1 AND limit_key = $2";
    IN_HAND: "SELECT tenant_id, task_keys, count(*) FROM tasks \
              WHERE status IN ('assigned', 'in_progress') AND (tenant_id = $1 OR $1 IS NULL) \
              GROUP BY lane_id, tenant_id, task_keys";
    // Each lane with the next of its tasks: two probes of an index for each lane, however many tasks there are. The
    // first lane is the one after none.
    HEADS: "WITH RECURSIVE lanes (lane_id) AS ( \
              SELECT (SELECT lane_id FROM tasks \
                      WHERE status = 'ready' AND spec IS NOT NULL AND waits_for = 0 AND parked_until IS NULL \
                        AND lane_id > $1 ORDER BY lane_id LIMIT 1) \
              UNION ALL SELECT (SELECT w.lane_id FROM tasks w \
                      WHERE w.status = 'ready' AND w.spec IS NOT NULL AND w.waits_for = 0 AND w.parked_until IS NULL \
                        AND w.lane_id > l.lane_id ORDER BY w.lane_id LIMIT 1) \
                FROM lanes l WHERE l.lane_id IS NOT NULL) \
            SELECT t.tenant_id, t.project, t.task_keys, t.machine_id, t.priority, t.created_at, t.id \
            FROM lanes l JOIN tasks t ON t.id = ( \
              SELECT w.id FROM tasks w WHERE w.lane_id = l.lane_id AND w.status = 'ready' AND w.spec IS NOT NULL \
                AND w.waits_for = 0 AND w.parked_until IS NULL ORDER BY w.priority DESC, w.created_at, w.id LIMIT 1)";
    HEADS_OF_NOTES: "WITH RECURSIVE lanes (lane_id) AS ( \
              SELECT (SELECT lane_id FROM tasks \
                      WHERE status = 'ready' AND spec IS NULL AND waits_for = 0 AND parked_until IS NULL \
                        AND lane_id > $1 ORDER BY lane_id LIMIT 1) \
              UNION ALL SELECT (SELECT w.lane_id FROM tasks w \
                      WHERE w.status = 'ready' AND w.spec IS NULL AND w.waits_for = 0 AND w.parked_until IS NULL \
                        AND w.lane_id > l.lane_id ORDER BY w.lane_id LIMIT 1) \
                FROM lanes l WHERE l.lane_id IS NOT NULL) \
            SELECT t.tenant_id, t.project, t.task_keys, t.machine_id, t.priority, t.created_at, t.id \
            FROM lanes l JOIN tasks t ON t.id = ( \
              SELECT w.id FROM tasks w WHERE w.lane_id = l.lane_id AND w.status = 'ready' AND w.spec IS NULL \
                AND w.waits_for = 0 AND w.parked_until IS NULL ORDER BY w.priority DESC, w.created_at, w.id LIMIT 1)";
    // The next tasks of each lane that is named, which the two take apart differently.
    NEXT: "SELECT t.id, t.lane_id, t.priority, t.created_at, t.repository, t.machine_id, t.effort_estimate, \
                  CAST(t.spec ->> '$.timeout_seconds' AS INTEGER) AS timeout_seconds \
           FROM json_each($1) l \
           JOIN json_each((SELECT json_group_array(hex(n.id)) FROM ( \
             SELECT w.id FROM tasks w WHERE w.lane_id = unhex(l.value) AND w.status = 'ready' AND w.spec IS NOT NULL \
               AND w.waits_for = 0 AND w.parked_until IS NULL \
             ORDER BY w.priority DESC, w.created_at, w.id LIMIT $2) n)) h \
           JOIN tasks t ON t.id = unhex(h.value) \
           ORDER BY t.priority DESC, t.created_at, t.id",
        postgres "SELECT t.id, t.lane_id, t.priority, t.created_at, t.repository, t.machine_id, t.effort_estimate, \
                         CAST(t.spec ->> 'timeout_seconds' AS BIGINT) AS timeout_seconds \
                  FROM (SELECT CAST(value AS UUID) AS id FROM jsonb_array_elements_text(CAST($1 AS JSONB))) l \
                  CROSS JOIN LATERAL (SELECT w.* FROM tasks w WHERE w.lane_id = l.id AND w.status = 'ready' \
                    AND w.spec IS NOT NULL AND w.waits_for = 0 AND w.parked_until IS NULL \
                    ORDER BY w.priority DESC, w.created_at, w.id LIMIT $2) t \
                  ORDER BY t.priority DESC, t.created_at, t.id";
    SET_PARKED: "UPDATE tasks SET parked_until = $2 WHERE id = $1";
    UNPARK: "UPDATE tasks SET parked_until = NULL WHERE parked_until <= $1 AND parked_until IS NOT NULL AND status = 'ready'";
}

/// Whose turn it is to decide about tasks with keys of Bifrost's own, which no row stands for. Taken after the locks of
/// limits and budgets.
const OWN_KEYS: i64 = 7_602;

/// Whether others are kept from deciding on the same things until the transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lock {
    Yes,
    No,
}

#[derive(sqlx::FromRow)]
struct HoldRow {
    tenant_id: Uuid,
    scope: String,
    target: Option<String>,
    owner: String,
    reason: String,
    expires_at: Option<DateTime<Utc>>,
}

#[derive(sqlx::FromRow)]
struct LimitRow {
    tenant_id: Uuid,
    limit_key: String,
    #[sqlx(flatten)]
    allowed: Allowed,
}

/// What people have set, and what is in hand as far as that counts.
pub(crate) async fn rules(tx: &mut Tx, tenant: Option<TenantId>, lock: Lock, now: DateTime<Utc>) -> Result<Rules> {
    let named = tenant.map(TenantId::uuid);
    let (holds, limits, budgets, own_keys) = fetch_one!(tx, (bool, bool, bool, bool), IS_SET, named)?;
    let mut rules = Rules::default();
    if holds {
        for row in fetch_all!(tx, HoldRow, WIDE_HOLDS, named, now)? {
            let hold = Hold { owner: row.owner, reason: row.reason, until: row.expires_at };
            let target = match (row.scope.as_str(), row.target) {
                ("project", Some(name)) => Target::Project(name),
                ("key", Some(key)) => Target::Key(key),
                _ => Target::Everything,
            };
            rules.holds.entry((row.tenant_id.into(), target)).or_default().push(hold);
        }
    }
    if limits {
        let sql = if lock == Lock::Yes { LOCK_LIMITS } else { LIMITS };
        for row in fetch_all!(tx, LimitRow, sql, named)? {
            rules.limits.insert((row.tenant_id.into(), row.limit_key), row.allowed.into());
        }
    }
    if budgets {
        rules.budgets = budgets::store::current(tx, tenant, lock, now).await?;
    }
    // The scheduler decides for everybody, and so about some of those; whoever decides about one task asks when it has
    // such a key.
    if lock == Lock::Yes && tenant.is_none() {
        tx.alone(OWN_KEYS).await?;
    }
    // Counted last: what was decided while we waited for a lock counts in.
    if limits {
        rules.running = in_hand(tx, tenant).await?;
    }
    if own_keys {
        rules.hold_own_keys(holders(tx, tenant).await?);
    }
    Ok(rules)
}

/// Keeps everybody else from deciding about tasks with keys of Bifrost's own until the transaction ends, and tells which
/// of the tenant's are in hand.
pub(super) async fn take_own_keys(tx: &mut Tx, tenant: TenantId) -> Result<HashMap<(TenantId, String), TaskId>> {
    tx.alone(OWN_KEYS).await?;
    holders(tx, Some(tenant)).await
}

async fn holders(tx: &mut Tx, tenant: Option<TenantId>) -> Result<HashMap<(TenantId, String), TaskId>> {
    let rows = fetch_all!(tx, (Uuid, Uuid, Json<Vec<String>>), HOLDERS, tenant.map(TenantId::uuid))?;
    let mut holders = HashMap::new();
    for (tenant, task, Json(keys)) in rows {
        for key in keys.into_iter().filter(|key| is_own_key(key)) {
            holders.insert((tenant.into(), key), task.into());
        }
    }
    Ok(holders)
}

/// How many tasks with each key are in hand.
pub(crate) async fn in_hand(tx: &mut Tx, tenant: Option<TenantId>) -> Result<HashMap<(TenantId, String), i64>> {
    let rows = fetch_all!(tx, (Uuid, Json<Vec<String>>, i64), IN_HAND, tenant.map(TenantId::uuid))?;
    let mut running = HashMap::new();
    for (tenant, Json(keys), count) in rows {
        for key in keys {
            *running.entry((tenant.into(), key)).or_default() += count;
        }
    }
    Ok(running)
}

pub(super) async fn set_level(tx: &mut Tx, tenant: TenantId, key: &str, bucket: &Bucket) -> Result<()> {
    execute!(tx, SET_LEVEL, tenant.uuid(), key, bucket.level_micros, bucket.level_at)?;
    Ok(())
}

pub(crate) async fn holds_of_task(tx: &mut Tx, tenant: TenantId, task: TaskId) -> Result<Vec<Hold>> {
    let rows = fetch_all!(tx, (String, String, Option<DateTime<Utc>>), HOLDS_OF_TASK, tenant.uuid(), task.uuid())?;
    Ok(rows.into_iter().map(|(owner, reason, until)| Hold { owner, reason, until }).collect())
}

/// The holds on each of these tasks.
pub(crate) async fn holds_of_tasks(
    tx: &mut Tx,
    tenant: TenantId,
    tasks: &[TaskId],
) -> Result<HashMap<TaskId, Vec<Hold>>> {
    let ids = kernel::id_list(tasks.iter().map(|id| id.uuid()));
    let rows = fetch_all!(tx, (Uuid, String, String, Option<DateTime<Utc>>), HOLDS_OF_TASKS, tenant.uuid(), &ids)?;
    let mut holds: HashMap<TaskId, Vec<Hold>> = HashMap::new();
    for (task, owner, reason, until) in rows {
        holds.entry(task.into()).or_default().push(Hold { owner, reason, until });
    }
    Ok(holds)
}

pub(super) async fn delete_holds_of_task(tx: &mut Tx, tenant: TenantId, task: TaskId) -> Result<()> {
    execute!(tx, DELETE_HOLDS_OF_TASK, tenant.uuid(), task.uuid())?;
    Ok(())
}

/// A lane that has a task to give to a worker, and the next of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) lane: Lane,
    pub(crate) priority: Priority,
    pub(crate) since: (DateTime<Utc>, TaskId),
}

#[derive(sqlx::FromRow)]
struct HeadRow {
    tenant_id: Uuid,
    project: Option<String>,
    task_keys: Json<Vec<String>>,
    machine_id: Option<Uuid>,
    #[sqlx(try_from = "i16")]
    priority: Priority,
    created_at: DateTime<Utc>,
    id: Uuid,
}

fn heads_of(rows: Vec<HeadRow>) -> Vec<Head> {
    let head = |row: HeadRow| Head {
        lane: Lane::of(row.tenant_id.into(), row.project.as_deref(), &row.task_keys.0)
            .on(row.machine_id.map(MachineId::from)),
        priority: row.priority,
        since: (row.created_at, row.id.into()),
    };
    rows.into_iter().map(head).collect()
}

/// Every tenant's lanes that have a task to give to a worker of the pool.
pub(crate) async fn heads(tx: &mut Tx) -> Result<Vec<Head>> {
    Ok(heads_of(fetch_all!(tx, HeadRow, HEADS, Uuid::nil())?))
}

/// Every tenant's lanes that have a task for people, and for workers that claim.
pub(crate) async fn heads_of_notes(tx: &mut Tx) -> Result<Vec<Head>> {
    Ok(heads_of(fetch_all!(tx, HeadRow, HEADS_OF_NOTES, Uuid::nil())?))
}

/// A task that waits for a worker, as far as the scheduler needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Next {
    pub(crate) id: TaskId,
    pub(crate) lane: LaneId,
    pub(crate) priority: Priority,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) repository: String,
    /// The only machine that can take it, if it is for one alone.
    pub(crate) machine: Option<MachineId>,
    pub(crate) effort_estimate: Option<i32>,
    pub(crate) timeout_seconds: Option<i64>,
}

#[derive(sqlx::FromRow)]
struct NextRow {
    id: Uuid,
    lane_id: Uuid,
    #[sqlx(try_from = "i16")]
    priority: Priority,
    created_at: DateTime<Utc>,
    repository: String,
    machine_id: Option<Uuid>,
    effort_estimate: Option<i32>,
    timeout_seconds: Option<i64>,
}

/// So many of the next tasks of each of the lanes, in the order of priority and age.
pub(crate) async fn next(tx: &mut Tx, lanes: &[LaneId], each: i64) -> Result<Vec<Next>> {
    let lanes = kernel::id_list(lanes.iter().map(|lane| lane.0));
    let next = |row: NextRow| Next {
        id: row.id.into(),
        lane: LaneId(row.lane_id),
        priority: row.priority,
        created_at: row.created_at,
        repository: row.repository,
        machine: row.machine_id.map(MachineId::from),
        effort_estimate: row.effort_estimate,
        timeout_seconds: row.timeout_seconds,
    };
    Ok(fetch_all!(tx, NextRow, NEXT, &lanes, each)?.into_iter().map(next).collect())
}

pub(super) async fn set_parked(tx: &mut Tx, task: TaskId, until: Option<DateTime<Utc>>) -> Result<()> {
    execute!(tx, SET_PARKED, task.uuid(), until)?;
    Ok(())
}

/// Lets go whatever was parked until now.
pub(crate) async fn unpark(tx: &mut Tx, now: DateTime<Utc>) -> Result<u64> {
    Ok(execute!(tx, UNPARK, now)?)
}
