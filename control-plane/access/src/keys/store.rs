//! SQL of tenants and API keys.

use chrono::{DateTime, Utc};
use kernel::{Result, Tx, execute, fetch_one, fetch_optional};
use sqlx::types::Uuid;
use wire::id::{ApiKeyId, TenantId};

use super::Caller;
use crate::permission::Permissions;

kernel::sql! {
    ADD_TENANT: "INSERT INTO tenants (id, name, created_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING";
    TENANT: "SELECT id FROM tenants WHERE name = $1";
    REVOKE_OTHERS: "UPDATE api_keys SET revoked_at = $2 WHERE bootstrap = $3 AND hash <> $1 AND revoked_at IS NULL";
    ADD_KEY: "INSERT INTO api_keys (id, tenant_id, hash, permissions, bootstrap, created_at) \
              VALUES ($1, $2, $3, $4, $5, $6) \
              ON CONFLICT (hash) DO UPDATE SET permissions = excluded.permissions, revoked_at = NULL RETURNING id";
    FIND: "SELECT id, tenant_id, permissions FROM api_keys WHERE hash = $1 AND revoked_at IS NULL";
}

pub(super) async fn ensure_tenant(tx: &mut Tx, id: TenantId, name: &str, now: DateTime<Utc>) -> Result<TenantId> {
    execute!(tx, ADD_TENANT, id.uuid(), name, now)?;
    let (id,) = fetch_one!(tx, (Uuid,), TENANT, name)?;
    Ok(id.into())
}

pub(super) async fn revoke_bootstrap_keys_except(tx: &mut Tx, hash: &[u8], now: DateTime<Utc>) -> Result<u64> {
    Ok(execute!(tx, REVOKE_OTHERS, hash, now, true)?)
}

pub(super) async fn ensure_bootstrap_key(
    tx: &mut Tx,
    id: ApiKeyId,
    tenant: TenantId,
    hash: &[u8],
    permissions: &str,
    now: DateTime<Utc>,
) -> Result<ApiKeyId> {
    let (id,) = fetch_one!(tx, (Uuid,), ADD_KEY, id.uuid(), tenant.uuid(), hash, permissions, true, now)?;
    Ok(id.into())
}

pub(super) async fn find(tx: &mut Tx, hash: &[u8]) -> Result<Option<Caller>> {
    let row = fetch_optional!(tx, (Uuid, Uuid, String), FIND, hash)?;
    Ok(row.map(|(key, tenant, permissions)| Caller {
        key: key.into(),
        tenant: tenant.into(),
        permissions: Permissions::from_words(&permissions),
    }))
}
