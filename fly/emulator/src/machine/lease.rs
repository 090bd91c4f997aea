//! Pure: the right of one caller to change a machine, for a while.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// A lease that was given.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lease {
    pub(crate) nonce: String,
    pub(crate) expires_at: DateTime<Utc>,
    pub(crate) description: String,
}

impl Lease {
    /// One that nobody stands in the way of, from now on.
    pub(crate) fn of_new_machine(nonce: String, ttl: TimeDelta, now: DateTime<Utc>) -> Self {
        Self { nonce, expires_at: now + ttl, description: String::new() }
    }
}

/// Everybody with the emulator's token is the same to it.
pub(crate) const OWNER: &str = "emulator@tokens.fly.io";

/// The lease that holds now.
pub(crate) fn current(lease: Option<&Lease>, now: DateTime<Utc>) -> Option<&Lease> {
    lease.filter(|lease| lease.expires_at > now)
}

/// Whether a caller with this nonce may change the machine; if not, the lease in its way.
pub(crate) fn guard<'a>(lease: Option<&'a Lease>, nonce: Option<&str>, now: DateTime<Utc>) -> Result<(), &'a Lease> {
    match current(lease, now) {
        Some(held) if nonce != Some(held.nonce.as_str()) => Err(held),
        Some(_) | None => Ok(()),
    }
}

/// A new lease, or the held one for longer if the nonce is its own.
pub(crate) fn acquire(
    lease: Option<&Lease>,
    nonce: Option<&str>,
    new_nonce: String,
    description: String,
    ttl: TimeDelta,
    now: DateTime<Utc>,
) -> Result<Lease, Lease> {
    guard(lease, nonce, now).map_err(Clone::clone)?;
    let nonce = current(lease, now).map_or(new_nonce, |held| held.nonce.clone());
    Ok(Lease { nonce, expires_at: now + ttl, description })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;
    const MINUTE: TimeDelta = TimeDelta::minutes(1);

    fn lease(nonce: &str) -> Lease {
        acquire(None, None, nonce.to_owned(), String::new(), MINUTE, NOW).map_err(|_| ()).expect("free")
    }

    #[test]
    fn a_held_machine_is_changed_by_its_holder_only_until_the_lease_ends() {
        let held = lease("a");
        assert!(guard(Some(&held), Some("a"), NOW).is_ok());
        assert!(guard(Some(&held), Some("b"), NOW).is_err());
        assert!(guard(Some(&held), None, NOW).is_err());
        assert!(guard(Some(&held), None, NOW + MINUTE).is_ok());
        assert!(guard(None, Some("stale"), NOW).is_ok());
    }

    #[test]
    fn the_holder_prolongs_and_others_are_refused() {
        let held = lease("a");
        let acquire = |nonce, now| acquire(Some(&held), nonce, "new".to_owned(), String::new(), MINUTE, now);
        let prolonged = acquire(Some("a"), NOW + MINUTE / 2).map_err(|_| ()).expect("its own");
        assert_eq!((prolonged.nonce.as_str(), prolonged.expires_at), ("a", NOW + MINUTE * 3 / 2));
        assert!(acquire(None, NOW).is_err());
        assert_eq!(acquire(None, NOW + MINUTE).map_err(|_| ()).expect("free again").nonce, "new");
    }
}
