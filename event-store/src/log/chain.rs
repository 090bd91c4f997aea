//! The hash chain over the stored events. Pure.
//!
//! ```text
//! digest(event) = SHA-256("bifrost event 1\n" ‖ the event's fields)
//! link(0)       = 32 zero bytes
//! link(seq)     = SHA-256(link(seq - 1) ‖ digest(event at seq))
//! ```
//! The fields stand in the order of [`Content`]. A text is its length in bytes as eight
//! bytes, then its bytes; an id is its 16 bytes; one that may be absent is a 0, or a 1 and
//! the id; numbers are big-endian. So no two different events have the same bytes, and
//! whoever knows a link can tell whether anything at or before it was changed since.
//!
//! This layout is part of every database: it never changes without a new migration.

use rusqlite::types::{FromSqlError, ValueRef};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// What is hashed of an event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Content<'a> {
    pub(super) id: Uuid,
    pub(super) kind: &'a str,
    pub(super) task_id: Option<Uuid>,
    pub(super) execution_id: Option<Uuid>,
    pub(super) producer: &'a str,
    pub(super) created_at_micros: i64,
    pub(super) schema_version: u16,
    pub(super) payload: &'a [u8],
}

/// Stands for one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Digest([u8; 32]);

impl Digest {
    pub(super) fn of(content: &Content<'_>) -> Self {
        let mut hash = Sha256::new_with_prefix(b"bifrost event 1\n");
        let text = |hash: &mut Sha256, bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        let optional = |hash: &mut Sha256, id: Option<Uuid>| match id {
            None => hash.update([0]),
            Some(id) => {
                hash.update([1]);
                hash.update(id.as_bytes());
            }
        };
        hash.update(content.id.as_bytes());
        text(&mut hash, content.kind.as_bytes());
        optional(&mut hash, content.task_id);
        optional(&mut hash, content.execution_id);
        text(&mut hash, content.producer.as_bytes());
        hash.update(content.created_at_micros.to_be_bytes());
        hash.update(content.schema_version.to_be_bytes());
        text(&mut hash, content.payload);
        Self(hash.finalize().into())
    }
}

/// Stands for an event and all before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link([u8; 32]);

impl From<wire::event::Link> for Link {
    fn from(link: wire::event::Link) -> Self {
        Self(link.0)
    }
}

impl From<Link> for wire::event::Link {
    fn from(link: Link) -> Self {
        Self(link.0)
    }
}

impl Link {
    /// Before the first event.
    pub(crate) const START: Self = Self([0; 32]);

    /// The link of the event that follows.
    pub(crate) fn then(self, event: Digest) -> Self {
        let mut hash = Sha256::new_with_prefix(self.0);
        hash.update(event.0);
        Self(hash.finalize().into())
    }

    pub(crate) fn read(value: ValueRef<'_>) -> rusqlite::Result<Self> {
        Ok(Self(value.as_blob()?.try_into().map_err(|error| FromSqlError::Other(Box::new(error)))?))
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The newest event's place, and its link: what a whole log comes down to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// 0 while there is no event.
    pub(crate) seq: u64,
    pub(crate) link: Link,
}

impl Head {
    /// Of a log that never had an event.
    pub(crate) const START: Self = Self { seq: 0, link: Link::START };

    /// The head once this event follows.
    pub(crate) fn then(self, event: Digest) -> Self {
        Self { seq: self.seq + 1, link: self.link.then(event) }
    }
}

#[cfg(test)]
mod tests;
