//! API keys: making the first one, and telling who a key belongs to.

pub(crate) mod store;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use kernel::audit::{self, Change, Entity};
use kernel::{Ctx, Error, Result};
use serde_json::json;
use sha2::{Digest, Sha256};
use wire::id::{ApiKeyId, TenantId};

use crate::permission::{Permission, Permissions};

/// The name of the tenant that exists from the start.
const FIRST_TENANT: &str = "default";
/// The shortest key that may be set as the first one.
const KEY_CHARS_MIN: usize = 20;

/// How long a caller counts as known without a look into the database.
const KNOWN_FOR: TimeDelta = TimeDelta::seconds(1);
/// The most keys that are known so at once.
const KNOWN_KEYS: usize = 1_024;

/// Somebody known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The key they hold.
    pub key: ApiKeyId,
    /// Whose things they see.
    pub tenant: TenantId,
    /// What they may do.
    pub permissions: Permissions,
}

impl Caller {
    /// Refuses unless the permission is held.
    pub fn require(&self, permission: Permission) -> Result<()> {
        if self.permissions.allow(permission) {
            Ok(())
        } else {
            Err(Error::Forbidden { permission: permission.as_str() })
        }
    }
}

/// Makes sure that the first tenant exists and that the given key may do everything in it.
/// An earlier first key stops working when another one is given.
pub async fn ensure_bootstrap_key(ctx: &Ctx, key: &str) -> Result<TenantId> {
    if key.len() < KEY_CHARS_MIN {
        return Err(Error::invalid("api key", format!("must have at least {KEY_CHARS_MIN} characters")));
    }
    let mut tx = ctx.begin("access.bootstrap").await?;
    let now = ctx.now();
    let tenant = store::ensure_tenant(&mut tx, ctx.id(TenantId::mint), FIRST_TENANT, now).await?;
    let hash = hash(key);
    let revoked = store::revoke_bootstrap_keys_except(&mut tx, &hash, now).await?;
    let before = store::find(&mut tx, &hash).await?;
    let all = Permissions::all();
    let words = all.to_words();
    let id = store::ensure_bootstrap_key(&mut tx, ctx.id(ApiKeyId::mint), tenant, &hash, &words, now).await?;
    // Each start sets the same key again, which changes nothing.
    if revoked > 0 || before.is_none_or(|key| key.permissions != all) {
        let new = json!({ "bootstrap": true, "permissions": words, "earlier_keys_revoked": revoked });
        let key = Entity::new(tenant, "api_key", id);
        audit::write(ctx, &mut tx, "api_key.set", &key, &Change::created(&new)?).await?;
    }
    tx.commit(tenant).await
}

/// The callers that were seen lately, so that not every request asks the database. Clones share them.
///
/// A key that is revoked is refused everywhere within a second: that is how long an answer counts.
#[derive(Debug, Clone, Default)]
pub struct KnownKeys(Arc<Mutex<Known>>);

/// Each key's hash, who holds it, and since when that is known.
type Known = HashMap<Vec<u8>, (Caller, DateTime<Utc>)>;

impl KnownKeys {
    /// Who holds the key.
    pub async fn authenticate(&self, ctx: &Ctx, key: &str) -> Result<Caller> {
        let (hash, now) = (hash(key), ctx.now());
        let known = self.lock().get(&hash).filter(|(_, since)| is_fresh(*since, now)).map(|(caller, _)| caller.clone());
        if let Some(caller) = known {
            return Ok(caller);
        }
        let caller = authenticate(ctx, key).await?;
        let mut known = self.lock();
        if known.len() >= KNOWN_KEYS {
            known.retain(|_, (_, since)| is_fresh(*since, now));
        }
        // Where so many are in use at once, the others ask the database.
        if known.len() < KNOWN_KEYS {
            known.insert(hash, (caller.clone(), now));
        }
        Ok(caller)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Also not when the clock was set back: nothing is known from the future.
fn is_fresh(since: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    since <= now && now - since < KNOWN_FOR
}

/// Who holds the key, as the database says now.
pub async fn authenticate(ctx: &Ctx, key: &str) -> Result<Caller> {
    let mut tx = ctx.read("access.authenticate").await?;
    let found = store::find(&mut tx, &hash(key)).await?;
    found.ok_or(Error::Unauthenticated(
        "the API key is not known; the server's is in the file api-key of its data directory",
    ))
}

/// Looking up a hash leaks nothing about the key by its timing.
fn hash(key: &str) -> Vec<u8> {
    Sha256::digest(key.as_bytes()).to_vec()
}

#[cfg(test)]
mod tests;
