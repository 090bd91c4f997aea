//! SQL of places.

use kernel::{Result, Tx, execute, fetch_all, fetch_one, fetch_optional};
use sqlx::types::Uuid;
use wire::id::{TaskId, TenantId};

use crate::dependencies::graph::Needs;

kernel::sql! {
    OF: "SELECT place FROM task_places WHERE task_id = $1";
    // Each by itself, so that each is the first entry at one end of the index.
    ENDS: "SELECT (SELECT min(place) FROM task_places WHERE tenant_id = $1), \
                  (SELECT max(place) FROM task_places WHERE tenant_id = $1)";
    LATER: "WITH RECURSIVE later (id, place) AS ( \
              SELECT task_id, place FROM task_places WHERE tenant_id = $1 AND task_id = $2 \
              UNION SELECT p.task_id, p.place FROM later l JOIN dependencies d ON d.depends_on_task_id = l.id \
                    JOIN task_places p ON p.task_id = d.task_id WHERE p.place <= $3) \
            SELECT id, place FROM later";
    EARLIER: "WITH RECURSIVE earlier (id, place) AS ( \
                SELECT task_id, place FROM task_places WHERE tenant_id = $1 AND task_id = $2 \
                UNION SELECT p.task_id, p.place FROM earlier e JOIN dependencies d ON d.task_id = e.id \
                      JOIN task_places p ON p.task_id = d.depends_on_task_id WHERE p.place >= $3) \
              SELECT id, place FROM earlier";
    NEEDS_AMONG_LATER: "WITH RECURSIVE later (id, place) AS ( \
                          SELECT task_id, place FROM task_places WHERE tenant_id = $1 AND task_id = $2 \
                          UNION SELECT p.task_id, p.place FROM later l JOIN dependencies d ON d.depends_on_task_id = l.id \
                                JOIN task_places p ON p.task_id = d.task_id WHERE p.place <= $3) \
                        SELECT d.task_id, d.depends_on_task_id FROM later l \
                        JOIN dependencies d ON d.depends_on_task_id = l.id";
    ALL_NEEDS: "SELECT task_id, depends_on_task_id FROM dependencies WHERE tenant_id = $1";
    INSERT: "INSERT INTO task_places (tenant_id, task_id, place) \
             SELECT $1, unhex(json_extract(value, '$[0]')), json_extract(value, '$[1]') FROM json_each($2) WHERE true \
             ON CONFLICT (task_id) DO NOTHING",
        postgres "INSERT INTO task_places (tenant_id, task_id, place) \
                  SELECT $1, CAST(value ->> 0 AS UUID), CAST(value ->> 1 AS BIGINT) \
                  FROM jsonb_array_elements(CAST($2 AS JSONB)) ON CONFLICT (task_id) DO NOTHING";
    UPDATE: "UPDATE task_places SET place = moved.place \
             FROM (SELECT unhex(json_extract(value, '$[0]')) AS id, json_extract(value, '$[1]') AS place \
                   FROM json_each($1)) moved WHERE task_id = moved.id",
        postgres "UPDATE task_places SET place = moved.place \
                  FROM (SELECT CAST(value ->> 0 AS UUID) AS id, CAST(value ->> 1 AS BIGINT) AS place \
                        FROM jsonb_array_elements(CAST($1 AS JSONB))) moved WHERE task_id = moved.id";
    DELETE: "DELETE FROM task_places WHERE tenant_id = $1 AND task_id = $2";
}

pub(super) async fn of(tx: &mut Tx, task: TaskId) -> Result<Option<i64>> {
    Ok(fetch_optional!(tx, (i64,), OF, task.uuid())?.map(|(place,)| place))
}

/// The first and the last place, if there is any.
pub(super) async fn ends(tx: &mut Tx, tenant: TenantId) -> Result<Option<(i64, i64)>> {
    let (first, last) = fetch_one!(tx, (Option<i64>, Option<i64>), ENDS, tenant.uuid())?;
    Ok(first.zip(last))
}

/// The task and those that need it, directly or through others, up to and with the place.
pub(super) async fn later(tx: &mut Tx, tenant: TenantId, task: TaskId, to: i64) -> Result<Vec<(TaskId, i64)>> {
    let rows = fetch_all!(tx, (Uuid, i64), LATER, tenant.uuid(), task.uuid(), to)?;
    Ok(rows.into_iter().map(|(id, place)| (id.into(), place)).collect())
}

/// The task and those it needs, directly or through others, down to and with the place.
pub(super) async fn earlier(tx: &mut Tx, tenant: TenantId, task: TaskId, from: i64) -> Result<Vec<(TaskId, i64)>> {
    let rows = fetch_all!(tx, (Uuid, i64), EARLIER, tenant.uuid(), task.uuid(), from)?;
    Ok(rows.into_iter().map(|(id, place)| (id.into(), place)).collect())
}

/// What those of [`later`] need of each other.
pub(super) async fn needs_among_later(tx: &mut Tx, tenant: TenantId, task: TaskId, to: i64) -> Result<Needs<TaskId>> {
    Ok(needs(fetch_all!(tx, (Uuid, Uuid), NEEDS_AMONG_LATER, tenant.uuid(), task.uuid(), to)?))
}

pub(super) async fn all_needs(tx: &mut Tx, tenant: TenantId) -> Result<Needs<TaskId>> {
    Ok(needs(fetch_all!(tx, (Uuid, Uuid), ALL_NEEDS, tenant.uuid())?))
}

fn needs(rows: Vec<(Uuid, Uuid)>) -> Needs<TaskId> {
    let mut needs = Needs::new();
    for (task, needed) in rows {
        needs.entry(TaskId::from(task)).or_default().push(TaskId::from(needed));
    }
    needs
}

pub(super) async fn insert(tx: &mut Tx, tenant: TenantId, places: &[(TaskId, i64)]) -> Result<()> {
    execute!(tx, INSERT, tenant.uuid(), &as_json(places))?;
    Ok(())
}

pub(super) async fn update(tx: &mut Tx, places: &[(TaskId, i64)]) -> Result<()> {
    execute!(tx, UPDATE, &as_json(places))?;
    Ok(())
}

pub(crate) async fn delete(tx: &mut Tx, tenant: TenantId, task: TaskId) -> Result<()> {
    execute!(tx, DELETE, tenant.uuid(), task.uuid())?;
    Ok(())
}

/// Pairs of an id and a place as one argument.
fn as_json(places: &[(TaskId, i64)]) -> String {
    let pairs: Vec<String> =
        places.iter().map(|(task, place)| format!("[\"{}\",{place}]", task.uuid().simple())).collect();
    format!("[{}]", pairs.join(","))
}
