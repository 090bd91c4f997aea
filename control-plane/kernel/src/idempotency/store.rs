//! SQL of repeated requests.

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use wire::id::TenantId;

use crate::{Result, Tx, execute, fetch_optional};

crate::sql! {
    FIND: "SELECT digest, answer FROM idempotency_keys WHERE tenant_id = $1 AND idempotency_key = $2";
    STORE: "INSERT INTO idempotency_keys (tenant_id, idempotency_key, digest, answer, created_at) \
            VALUES ($1, $2, $3, $4, $5)";
    PRUNE: "DELETE FROM idempotency_keys WHERE created_at < $1";
}

pub(super) async fn find(tx: &mut Tx, tenant: TenantId, key: &str) -> Result<Option<(Vec<u8>, serde_json::Value)>> {
    let row = fetch_optional!(tx, (Vec<u8>, Json<serde_json::Value>), FIND, tenant.uuid(), key)?;
    Ok(row.map(|(digest, Json(answer))| (digest, answer)))
}

pub(super) async fn insert(
    tx: &mut Tx,
    tenant: TenantId,
    key: &str,
    digest: &[u8],
    answer: serde_json::Value,
    now: DateTime<Utc>,
) -> Result<()> {
    execute!(tx, STORE, tenant.uuid(), key, digest, Json(answer), now)?;
    Ok(())
}

/// Forgets keys from before the given time.
pub async fn prune(tx: &mut Tx, before: DateTime<Utc>) -> Result<u64> {
    Ok(execute!(tx, PRUNE, before)?)
}
