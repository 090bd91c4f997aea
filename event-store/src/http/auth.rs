//! Who may do what: the master secret everything, a machine's key only the
//! writing of the events that it was granted.
//!
//! A repeat of a write with the same id and body is a retry and harmless, since
//! events have ids of their own; the same id with another body is refused. A
//! read's id is good for one read.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::{Mutex, PoisonError};

use axum::http::HeaderMap;
use kit::Clock;
use wire::event::{Link, SignedHead};
use wire::grant::GrantKey;
use wire::id::MachineId;
use wire::signature::{self, Key, Signed, machine_key_id};

use super::decode::Shape;
use super::grants::{Scribe, Ungranted};
use super::problem::Refusal;
use crate::log::NewEvent;

/// Ids that are remembered, for writes and for reads.
const REMEMBERED: usize = 65_536;

/// The secrets that are accepted, and what was signed with them lately.
pub(super) struct Keys {
    current: Key,
    previous: Option<Key>,
    /// Of both secrets, the current one's first.
    grants: Vec<GrantKey>,
    ungranted: Ungranted,
    clock: Clock,
    writes: Remembered,
    reads: Remembered,
}

/// Who has signed a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Caller {
    /// The holder of the master secret: an operator or the control plane.
    Operator,
    /// The holder of a machine's key.
    Machine(Scribe),
}

impl Keys {
    pub(super) fn new(current: Key, previous: Option<Key>, ungranted: Ungranted, clock: Clock) -> Self {
        let grants = std::iter::once(&current).chain(&previous).map(GrantKey::of).collect();
        let (writes, reads) = (Remembered::new(REMEMBERED), Remembered::new(REMEMBERED));
        Self { current, previous, grants, ungranted, clock, writes, reads }
    }

    /// Who wrote this body.
    pub(super) fn writer(&self, headers: &HeaderMap, body: &[u8]) -> Result<Caller, Refusal> {
        let request = SignedRequest::of(headers)?;
        let signer = self.verify(&request, body)?;
        match self.writes.see(&request, body) {
            Seen::Never | Seen::WithThisContent => (),
            Seen::WithOtherContent => return Err(Refusal::replayed()),
        }
        match signer {
            None => Ok(Caller::Operator),
            Some(machine) => Scribe::new(machine, headers, &self.grants, self.ungranted).map(Caller::Machine),
        }
    }

    /// Whether the signer may read this path and query, once.
    pub(super) fn may_read(&self, headers: &HeaderMap, target: &str) -> Result<(), Refusal> {
        let request = SignedRequest::of(headers)?;
        if self.verify(&request, target.as_bytes())?.is_some() {
            return Err(Refusal::write_only());
        }
        match self.reads.see(&request, target.as_bytes()) {
            Seen::Never => Ok(()),
            Seen::WithThisContent | Seen::WithOtherContent => Err(Refusal::replayed()),
        }
    }

    /// Signs the newest place of the log, for a client to keep.
    pub(super) fn sign_head(&self, seq: u64, link: Link) -> SignedHead {
        SignedHead::sign(&self.current, seq, link, self.clock.now())
    }

    /// The machine whose key has signed; none where it was the master secret itself.
    fn verify(&self, request: &SignedRequest<'_>, content: &[u8]) -> Result<Option<MachineId>, Refusal> {
        let now = self.clock.now();
        let machine = request.key_id.map(machine_of).transpose()?;
        let mut refusal = signature::Refusal::WrongSignature;
        for secret in std::iter::once(&self.current).chain(&self.previous) {
            let derived = machine.map(|machine| secret.derive(&machine_key_id(machine)));
            match derived.as_ref().unwrap_or(secret).verify(&request.signed, content, now) {
                Ok(()) => return Ok(machine),
                Err(signature::Refusal::WrongSignature) => (),
                Err(other) => refusal = other,
            }
        }
        Err(match refusal {
            signature::Refusal::ClockSkew => Refusal::clock_skew(now),
            signature::Refusal::Malformed => Refusal::signature_wrong("webhook-timestamp is not a number of seconds"),
            signature::Refusal::WrongSignature => Refusal::signature_wrong(
                "the signature is not of this secret over this content; check FLY_EVENT_SECRET on both sides",
            ),
        })
    }
}

impl Caller {
    /// Whether the caller may write these events, which came in a body of this shape.
    pub(super) fn may_write(&self, events: &[NewEvent], shape: Shape) -> Result<(), Refusal> {
        match self {
            Self::Operator => Ok(()),
            Self::Machine(scribe) => scribe.may_write(events, shape),
        }
    }
}

struct SignedRequest<'a> {
    signed: Signed<'a>,
    key_id: Option<&'a str>,
}

impl<'a> SignedRequest<'a> {
    fn of(headers: &'a HeaderMap) -> Result<Self, Refusal> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let needed = |name| text(name).ok_or_else(Refusal::signature_missing);
        let signed = Signed {
            id: needed(signature::HEADER_ID)?,
            timestamp: needed(signature::HEADER_TIMESTAMP)?,
            signature: needed(signature::HEADER_SIGNATURE)?,
        };
        // A key id that cannot be read must not turn into none.
        let key_id = headers.get(signature::HEADER_KEY_ID).map(|value| value.to_str().unwrap_or_default());
        Ok(Self { signed, key_id })
    }
}

fn machine_of(key_id: &str) -> Result<MachineId, Refusal> {
    key_id
        .strip_prefix("machine/")
        .and_then(|id| id.parse().ok())
        .ok_or_else(|| Refusal::signature_wrong("bifrost-key-id must be machine/ and the machine's id, or absent"))
}

/// Whether a message's id was used before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Never,
    WithThisContent,
    WithOtherContent,
}

/// The latest ids and what came with them, as keyed hashes. It is bounded and forgets the
/// oldest first.
struct Remembered {
    hasher: foldhash::quality::RandomState,
    halves: Mutex<Halves>,
}

impl Remembered {
    fn new(most: usize) -> Self {
        Self { hasher: foldhash::quality::RandomState::default(), halves: Mutex::new(Halves::new(most / 2)) }
    }

    /// Whether the verified message's id was used before. Ids of different keys do not meet.
    fn see(&self, request: &SignedRequest<'_>, content: &[u8]) -> Seen {
        let id = self.hasher.hash_one((request.key_id, request.signed.id));
        let content = self.hasher.hash_one(content);
        self.halves.lock().unwrap_or_else(PoisonError::into_inner).see(id, content)
    }
}

/// When the recent half is full it becomes the older one.
struct Halves {
    most: usize,
    recent: HashMap<u64, u64, foldhash::fast::RandomState>,
    older: HashMap<u64, u64, foldhash::fast::RandomState>,
}

impl Halves {
    fn new(most: usize) -> Self {
        // Room for all at once: growing would hold up everybody who comes in that moment.
        let empty = || HashMap::with_capacity_and_hasher(most, Default::default());
        Self { most, recent: empty(), older: empty() }
    }

    fn see(&mut self, id: u64, content: u64) -> Seen {
        match self.recent.get(&id).or_else(|| self.older.get(&id)) {
            Some(seen) if *seen == content => return Seen::WithThisContent,
            Some(_) => return Seen::WithOtherContent,
            None => (),
        }
        if self.recent.len() >= self.most {
            std::mem::swap(&mut self.recent, &mut self.older);
            self.recent.clear();
        }
        self.recent.insert(id, content);
        Seen::Never
    }
}

#[cfg(test)]
mod tests;
