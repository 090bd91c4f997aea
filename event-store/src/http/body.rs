//! Request bodies: bounded in size, in time, and all together in memory, as
//! they were sent and as they are once unpacked.

mod encoding;

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wire::limit::EVENT_BATCH_BYTES;

use super::problem::Refusal;

pub(super) use encoding::Encoding;

/// What is read of a refused body and thrown away, and for how long.
const DISCARDED_BYTES: usize = 4 * EVENT_BATCH_BYTES;
const DISCARD_DEADLINE: Duration = Duration::from_secs(5);

/// A whole body and its claim on memory.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) bytes: Bytes,
    pub(super) claim: OwnedSemaphorePermit,
}

/// Reads the body, for which there is time until the deadline. `memory` has one permit for each
/// byte that all bodies may take together; they are claimed as the bytes come, so that a slow
/// sender holds no more than it sent.
pub(super) async fn read(body: Body, memory: &Arc<Semaphore>, deadline: Duration) -> Result<Received, Refusal> {
    let mut pieces = body.into_data_stream();
    let reading = tokio::time::timeout(deadline, collect(&mut pieces, memory)).await;
    let received = reading.unwrap_or_else(|_| Err(Refusal::too_slow()));
    if received.is_err() {
        // Over time is no worse than over the bound: the refusal goes out either way.
        tokio::time::timeout(DISCARD_DEADLINE, discard(&mut pieces)).await.ok();
    }
    received
}

/// Who is still sending when the connection closes gets a reset instead of the refusal.
async fn discard(pieces: &mut BodyDataStream) {
    let mut left = DISCARDED_BYTES;
    while let Some(Ok(piece)) = pieces.next().await {
        left = left.saturating_sub(piece.len());
        if left == 0 {
            return;
        }
    }
}

async fn collect(pieces: &mut BodyDataStream, memory: &Arc<Semaphore>) -> Result<Received, Refusal> {
    let mut claim = claim(memory, 0)?;
    // Most bodies come in one piece, which then need not be copied.
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    let mut length = 0;
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|_| Refusal::malformed("the body ended before it was whole; send it again"))?;
        if length + piece.len() > EVENT_BATCH_BYTES {
            return Err(Refusal::too_large());
        }
        claim.merge(self::claim(memory, piece.len())?);
        length += piece.len();
        if length == piece.len() {
            first = piece;
        } else {
            if joined.is_empty() {
                joined.extend_from_slice(&first);
            }
            joined.extend_from_slice(&piece);
        }
    }
    Ok(Received { bytes: if joined.is_empty() { first } else { joined.freeze() }, claim })
}

fn claim(memory: &Arc<Semaphore>, bytes: usize) -> Result<OwnedSemaphorePermit, Refusal> {
    let bytes = u32::try_from(bytes).map_err(|_| Refusal::too_large())?;
    let claimed = memory.clone().try_acquire_many_owned(bytes);
    claimed.map_err(|_| Refusal::busy("too many large requests at once; send again a little later"))
}

#[cfg(test)]
mod tests;
