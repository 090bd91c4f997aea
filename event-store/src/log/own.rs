//! What the store records of itself, in the log like everything else.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, SubsecRound, Utc};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use wire::event::SCHEMA_VERSION;
use wire::id::EventId;

use super::chain::Head;
use super::entry::{Batch, NewEvent, Payload};

/// Who says so.
const PRODUCER: &str = "event-store";

/// One event of the store's own. Its id is made of what it says and of the log before it, so
/// that it is like no other.
pub(super) fn batch(kind: &str, payload: &impl Serialize, before: Head, now: DateTime<Utc>) -> Batch {
    let payload = Bytes::from(serde_json::to_vec(payload).expect("a payload is plain data"));
    let mut hash = Sha256::new_with_prefix(before.link.as_bytes());
    hash.update(kind);
    hash.update(&payload);
    let random = *hash.finalize().first_chunk().expect("a SHA-256 has 32 bytes");
    let event = NewEvent {
        id: EventId::mint(now, random),
        kind: kind.to_owned(),
        task_id: None,
        execution_id: None,
        producer: PRODUCER.to_owned(),
        created_at: now.trunc_subsecs(6),
        schema_version: SCHEMA_VERSION,
        payload: Payload::whole(payload),
    };
    // It is small and rare, and came in no request whose memory is counted.
    let claim = Arc::new(Semaphore::new(0)).try_acquire_many_owned(0).expect("nothing is always free");
    Batch::new(vec![event], claim)
}
