//! Repeated requests (RFC draft "Idempotency-Key"): the same key and request
//! give the first answer again; the same key with another request is refused.

pub(crate) mod store;

use chrono::{DateTime, Utc};
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use wire::id::TenantId;

use crate::{Error, Result, Tx};
pub use store::prune;

/// The longest key that is accepted.
const KEY_CHARS: usize = 255;

/// A key together with the request it was sent with.
#[derive(Debug, Clone)]
pub struct Attempt {
    key: String,
    digest: Vec<u8>,
}

impl Attempt {
    /// Checks the key and remembers the request it stands for.
    pub fn new(key: &str, operation: &str, request: &impl Serialize) -> Result<Self> {
        if key.is_empty() || key.len() > KEY_CHARS || !key.chars().all(|c| c.is_ascii_graphic()) {
            return Err(Error::invalid("idempotency-key", "must be 1 to 255 visible ASCII characters"));
        }
        let text = serde_json::to_vec(request).map_err(|error| Error::Internal(error.into()))?;
        let digest = Sha256::new().chain_update(operation).chain_update([0]).chain_update(text).finalize();
        Ok(Self { key: key.to_owned(), digest: digest.to_vec() })
    }
}

impl Attempt {
    /// Two requests with one key at the same moment must not both find nothing.
    fn lock(&self, tenant: TenantId) -> i64 {
        let digest = Sha256::new().chain_update(tenant.uuid()).chain_update(&self.key).finalize();
        i64::from_le_bytes(*digest.first_chunk().expect("a digest has 32 bytes"))
    }
}

/// The first answer, if this was asked before.
pub async fn replay<T: DeserializeOwned>(tx: &mut Tx, tenant: TenantId, attempt: &Attempt) -> Result<Option<T>> {
    tx.alone(attempt.lock(tenant)).await?;
    let Some((digest, answer)) = store::find(tx, tenant, &attempt.key).await? else { return Ok(None) };
    if digest != attempt.digest {
        let message = "this Idempotency-Key was used for another request; use a new key for a new request";
        return Err(Error::conflict("idempotency_key_reused", message));
    }
    serde_json::from_value(answer).map(Some).map_err(|error| Error::Internal(error.into()))
}

/// Remembers the answer for the next time.
pub async fn remember(
    tx: &mut Tx,
    tenant: TenantId,
    attempt: &Attempt,
    answer: &impl Serialize,
    now: DateTime<Utc>,
) -> Result<()> {
    let answer = serde_json::to_value(answer).map_err(|error| Error::Internal(error.into()))?;
    store::insert(tx, tenant, &attempt.key, &attempt.digest, answer, now).await
}

/// As [`replay`], for requests that need not say that they may be repeated.
pub async fn replay_if<T: DeserializeOwned>(
    tx: &mut Tx,
    tenant: TenantId,
    attempt: Option<&Attempt>,
) -> Result<Option<T>> {
    match attempt {
        Some(attempt) => replay(tx, tenant, attempt).await,
        None => Ok(None),
    }
}

/// As [`remember`], for requests that need not say that they may be repeated.
pub async fn remember_if(
    tx: &mut Tx,
    tenant: TenantId,
    attempt: Option<&Attempt>,
    answer: &impl Serialize,
    now: DateTime<Utc>,
) -> Result<()> {
    match attempt {
        Some(attempt) => remember(tx, tenant, attempt, answer, now).await,
        None => Ok(()),
    }
}
