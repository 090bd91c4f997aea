//! SQL of metadata.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use kernel::{Result, Tx, execute, fetch_all, fetch_one, fetch_optional};
use sqlx::types::Uuid;
use wire::id::{MetadataId, TaskId, TenantId};
use wire::metadata::{CustomField, MetadataView};

kernel::sql! {
    SET: "INSERT INTO task_metadata (id, tenant_id, task_id, metadata_key, metadata_value, created_at) \
          VALUES ($1, $2, $3, $4, $5, $6) \
          ON CONFLICT (task_id, metadata_key) DO UPDATE SET metadata_value = excluded.metadata_value \
          RETURNING id, task_id, metadata_key, metadata_value, created_at";
    SET_MANY: "INSERT INTO task_metadata (id, tenant_id, task_id, metadata_key, metadata_value, created_at) \
               SELECT unhex(entry.value ->> 0), $1, unhex(entry.value ->> 1), entry.value ->> 2, entry.value ->> 3, $3 \
               FROM json_each($2) entry WHERE EXISTS (SELECT 1 FROM tasks t WHERE t.id = unhex(entry.value ->> 1)) \
               ON CONFLICT (task_id, metadata_key) DO UPDATE SET metadata_value = excluded.metadata_value",
        postgres "INSERT INTO task_metadata (id, tenant_id, task_id, metadata_key, metadata_value, created_at) \
                  SELECT CAST(entry ->> 0 AS UUID), CAST($1 AS UUID), t.id, entry ->> 2, entry ->> 3, CAST($3 AS TIMESTAMPTZ) \
                  FROM jsonb_array_elements(CAST($2 AS JSONB)) entry JOIN tasks t ON t.id = CAST(entry ->> 1 AS UUID) \
                  FOR KEY SHARE OF t \
                  ON CONFLICT (task_id, metadata_key) DO UPDATE SET metadata_value = excluded.metadata_value";
    GET: "SELECT metadata_value FROM task_metadata WHERE tenant_id = $1 AND task_id = $2 AND metadata_key = $3";
    OF_TASK: "SELECT metadata_key, metadata_value FROM task_metadata WHERE tenant_id = $1 AND task_id = $2";
    OF_TASKS: "SELECT t.id, m.metadata_key, m.metadata_value FROM tasks t LEFT JOIN task_metadata m ON m.task_id = t.id \
               WHERE t.tenant_id = $1 AND t.id IN (SELECT unhex(value) FROM json_each($2))",
        postgres "SELECT t.id, m.metadata_key, m.metadata_value FROM tasks t LEFT JOIN task_metadata m ON m.task_id = t.id \
                  WHERE t.tenant_id = $1 \
                    AND t.id = ANY (ARRAY(SELECT CAST(value AS UUID) FROM json_array_elements_text(CAST($2 AS JSON))))";
    KEYS: "SELECT metadata_key, count(*) FROM task_metadata WHERE tenant_id = $1 GROUP BY metadata_key ORDER BY metadata_key";
    UNSET: "DELETE FROM task_metadata WHERE tenant_id = $1 AND task_id = $2 AND metadata_key = $3";
    DELETE_OF_TASK: "DELETE FROM task_metadata WHERE tenant_id = $1 AND task_id = $2";
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    task_id: Uuid,
    metadata_key: String,
    metadata_value: String,
    created_at: DateTime<Utc>,
}

impl From<Row> for MetadataView {
    fn from(row: Row) -> Self {
        Self {
            id: row.id.into(),
            task_id: row.task_id.into(),
            key: row.metadata_key,
            value: row.metadata_value,
            created_at: row.created_at,
        }
    }
}

/// Gives a key of a task its value; what was there keeps its id.
pub(crate) async fn set(
    tx: &mut Tx,
    tenant: TenantId,
    task: TaskId,
    (id, now): (MetadataId, DateTime<Utc>),
    key: &str,
    value: &str,
) -> Result<MetadataView> {
    Ok(fetch_one!(tx, Row, SET, id.uuid(), tenant.uuid(), task.uuid(), key, value, now)?.into())
}

/// Gives many keys their values; what was there keeps its id, and what is no task any more is left out.
pub(super) async fn set_many(
    tx: &mut Tx,
    tenant: TenantId,
    entries: &[(MetadataId, TaskId, &str, &str)],
    now: DateTime<Utc>,
) -> Result<()> {
    let entry = |(id, task, key, value): &(MetadataId, TaskId, &str, &str)| {
        serde_json::json!([id.uuid().simple().to_string(), task.uuid().simple().to_string(), key, value])
    };
    let entries = serde_json::Value::Array(entries.iter().map(entry).collect()).to_string();
    execute!(tx, SET_MANY, tenant.uuid(), &entries, now)?;
    Ok(())
}

pub(crate) async fn get(tx: &mut Tx, tenant: TenantId, task: TaskId, key: &str) -> Result<Option<String>> {
    let row = fetch_optional!(tx, (String,), GET, tenant.uuid(), task.uuid(), key)?;
    Ok(row.map(|(value,)| value))
}

pub(super) async fn of_task(tx: &mut Tx, tenant: TenantId, task: TaskId) -> Result<BTreeMap<String, String>> {
    Ok(fetch_all!(tx, (String, String), OF_TASK, tenant.uuid(), task.uuid())?.into_iter().collect())
}

/// All metadata of several tasks, in one query (row CAIRN-33); a task without any has an empty entry.
pub(crate) async fn of_tasks(
    tx: &mut Tx,
    tenant: TenantId,
    tasks: &[TaskId],
) -> Result<BTreeMap<TaskId, BTreeMap<String, String>>> {
    let ids = kernel::id_list(tasks.iter().map(|id| id.uuid()));
    let rows = fetch_all!(tx, (Uuid, Option<String>, Option<String>), OF_TASKS, tenant.uuid(), &ids)?;
    let mut of_tasks: BTreeMap<TaskId, BTreeMap<String, String>> = BTreeMap::new();
    for (id, key, value) in rows {
        of_tasks.entry(id.into()).or_default().extend(key.zip(value));
    }
    Ok(of_tasks)
}

/// Every key in use and how many tasks have it.
pub(super) async fn keys(tx: &mut Tx, tenant: TenantId) -> Result<Vec<CustomField>> {
    let rows = fetch_all!(tx, (String, i64), KEYS, tenant.uuid())?;
    Ok(rows.into_iter().map(|(name, usage_count)| CustomField { name, usage_count }).collect())
}

pub(super) async fn unset(tx: &mut Tx, tenant: TenantId, task: TaskId, key: &str) -> Result<bool> {
    Ok(execute!(tx, UNSET, tenant.uuid(), task.uuid(), key)? == 1)
}

pub(crate) async fn delete_of_task(tx: &mut Tx, tenant: TenantId, task: TaskId) -> Result<()> {
    execute!(tx, DELETE_OF_TASK, tenant.uuid(), task.uuid())?;
    Ok(())
}
