//! SQL of limits, as people set and read them; admission reads them by itself.

use chrono::{DateTime, Utc};
use kernel::{Result, Tx, execute, fetch_all, fetch_one, fetch_optional};
use wire::admission::{NewLimit, RateLimit};
use wire::id::TenantId;

use crate::admission::policy::{Bucket, Limit};

kernel::sql! {
    SET: "INSERT INTO key_limits (tenant_id, limit_key, max_running, rate_tokens, rate_per_seconds, rate_burst, \
                                  level_micros, level_at, updated_at) \
          VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8) \
          ON CONFLICT (tenant_id, limit_key) DO UPDATE SET max_running = excluded.max_running, \
            rate_tokens = excluded.rate_tokens, rate_per_seconds = excluded.rate_per_seconds, \
            rate_burst = excluded.rate_burst, level_micros = excluded.level_micros, level_at = excluded.level_at, \
            updated_at = excluded.updated_at";
    LIST: "SELECT * FROM key_limits WHERE tenant_id = $1 ORDER BY limit_key";
    GET: "SELECT * FROM key_limits WHERE tenant_id = $1 AND limit_key = $2";
    LOCK: "SELECT * FROM key_limits WHERE tenant_id = $1 AND limit_key = $2" + lock;
    COUNT: "SELECT count(*) FROM key_limits WHERE tenant_id = $1";
    DELETE: "DELETE FROM key_limits WHERE tenant_id = $1 AND limit_key = $2";
}

/// A limit as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) key: String,
    pub(super) limit: Limit,
    pub(super) updated_at: DateTime<Utc>,
}

/// The columns that say what is allowed; admission reads the same.
#[derive(sqlx::FromRow)]
pub(crate) struct Allowed {
    max_running: Option<i32>,
    rate_tokens: Option<i64>,
    rate_per_seconds: Option<i64>,
    rate_burst: Option<i64>,
    level_micros: i64,
    level_at: DateTime<Utc>,
}

impl From<Allowed> for Limit {
    fn from(row: Allowed) -> Self {
        let rate = row.rate_tokens.zip(row.rate_per_seconds);
        let rate = rate.map(|(tokens, per_seconds)| RateLimit { tokens, per_seconds, burst: row.rate_burst });
        let bucket = |rate| Bucket { rate, level_micros: row.level_micros, level_at: row.level_at };
        Self { max_running: row.max_running.map(i64::from), bucket: rate.map(bucket) }
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    limit_key: String,
    #[sqlx(flatten)]
    allowed: Allowed,
    updated_at: DateTime<Utc>,
}

impl From<Row> for Kept {
    fn from(row: Row) -> Self {
        Self { key: row.limit_key, limit: row.allowed.into(), updated_at: row.updated_at }
    }
}

pub(super) async fn set(
    tx: &mut Tx,
    tenant: TenantId,
    key: &str,
    new: &NewLimit,
    level_micros: i64,
    now: DateTime<Utc>,
) -> Result<()> {
    let rate = new.rate;
    execute!(
        tx,
        SET,
        tenant.uuid(),
        key,
        new.max_running,
        rate.map(|rate| rate.tokens),
        rate.map(|rate| rate.per_seconds),
        rate.and_then(|rate| rate.burst),
        level_micros,
        now
    )?;
    Ok(())
}

pub(super) async fn list(tx: &mut Tx, tenant: TenantId) -> Result<Vec<Kept>> {
    Ok(fetch_all!(tx, Row, LIST, tenant.uuid())?.into_iter().map(Kept::from).collect())
}

pub(super) async fn get(tx: &mut Tx, tenant: TenantId, key: &str) -> Result<Option<Kept>> {
    Ok(fetch_optional!(tx, Row, GET, tenant.uuid(), key)?.map(Kept::from))
}

pub(super) async fn lock(tx: &mut Tx, tenant: TenantId, key: &str) -> Result<Option<Kept>> {
    Ok(fetch_optional!(tx, Row, LOCK, tenant.uuid(), key)?.map(Kept::from))
}

pub(super) async fn count(tx: &mut Tx, tenant: TenantId) -> Result<i64> {
    let (count,) = fetch_one!(tx, (i64,), COUNT, tenant.uuid())?;
    Ok(count)
}

pub(super) async fn delete(tx: &mut Tx, tenant: TenantId, key: &str) -> Result<()> {
    execute!(tx, DELETE, tenant.uuid(), key)?;
    Ok(())
}
