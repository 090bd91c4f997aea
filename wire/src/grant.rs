//! Grants: what lets a machine write the events of one execution.
//!
//! The control plane signs one for each lease it hands out, the machine sends it
//! along with the events, and the event store checks it by itself: it asks nobody
//! and keeps no list. A grant is no secret. It names its machine and is worth
//! nothing without that machine's key.
//!
//! A grant has no end of its own, because a machine may deliver late what it
//! spooled while it held the lease. It ends when the master secret it comes from
//! is neither the store's current nor its previous one.
//!
//! **Old and new together.** Runners and event stores from before grants ignore
//! them. A store of today refuses a machine's events of an execution without one,
//! so the control plane and the runners are brought up to date before the store;
//! where that cannot be, the store takes ungranted events for as long as
//! `BIFROST_EVENTS_UNGRANTED` says so.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use crate::id::{ExecutionId, MachineId, TaskId};
use crate::signature::Key;

/// Carries one grant, or several separated by commas; it may be repeated. One request carries
/// at most [`crate::limit::GRANTS_PER_REQUEST`].
pub const HEADER: &str = "bifrost-grant";

const VERSION: &str = "v1";
const ID_BYTES: usize = 16;

/// That this machine may write the events of this execution of this task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// Who may write.
    pub machine: MachineId,
    /// The task the execution belongs to.
    pub task: TaskId,
    /// What the events are about.
    pub execution: ExecutionId,
}

/// Why a text is no grant of this key's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadGrant {
    /// It does not have the form of one.
    #[error("the grant is not of the form v1.<ids>.<signature>")]
    Malformed,
    /// Another key signed it, or it was changed since.
    #[error("the grant's signature is wrong")]
    WrongSignature,
}

/// What signs grants and checks them.
#[derive(Debug, Clone)]
pub struct GrantKey(Key);

impl GrantKey {
    /// The key that belongs to this master secret of the event store.
    pub fn of(master: &Key) -> Self {
        Self(master.derive("grants"))
    }

    /// The grant as text: `v1.<ids>.<signature>`, both in base64url.
    pub fn issue(&self, grant: &Grant) -> String {
        self.sign(format!("{VERSION}.{}", grant.ids()))
    }

    /// What the text grants. The signature is compared in constant time, and nothing is read before it is right.
    pub fn open(&self, text: &str) -> Result<Grant, BadGrant> {
        let ids = text.strip_prefix(VERSION).and_then(|rest| rest.strip_prefix('.')).ok_or(BadGrant::Malformed)?;
        let (ids, _) = ids.split_once('.').ok_or(BadGrant::Malformed)?;
        self.check(text)?;
        Grant::of_ids(ids)
    }

    pub(crate) fn sign(&self, text: String) -> String {
        let signature = self.0.token(&text);
        format!("{text}.{signature}")
    }

    /// Whether what stands before the last dot was signed with this key.
    pub(crate) fn check(&self, text: &str) -> Result<(), BadGrant> {
        let (signed, signature) = text.rsplit_once('.').ok_or(BadGrant::Malformed)?;
        if self.0.owns_token(signed, signature) { Ok(()) } else { Err(BadGrant::WrongSignature) }
    }
}

impl Grant {
    pub(crate) fn ids(&self) -> String {
        let ids = [self.machine.uuid(), self.task.uuid(), self.execution.uuid()].map(Uuid::into_bytes);
        URL_SAFE_NO_PAD.encode(ids.as_flattened())
    }

    pub(crate) fn of_ids(text: &str) -> Result<Self, BadGrant> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| BadGrant::Malformed)?;
        let (ids, []) = bytes.as_chunks::<ID_BYTES>() else { return Err(BadGrant::Malformed) };
        let &[machine, task, execution] = ids else { return Err(BadGrant::Malformed) };
        Ok(Self {
            machine: Uuid::from_bytes(machine).into(),
            task: Uuid::from_bytes(task).into(),
            execution: Uuid::from_bytes(execution).into(),
        })
    }
}

#[cfg(test)]
mod tests;
