//! `POST /v1/events`: the events of the body are on disk before the 201.
//!
//! The signature is over the body as it was sent: of a compressed body, over the
//! compressed bytes. It is verified before anything is unpacked.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use wire::event::Appended;

use super::Store;
use super::body::{self, Encoding, Received};
use super::decode::{self, Format, Request, Shape};
use super::problem::Refusal;
use crate::log::{AppendError, Batch};

/// Larger bodies are checked beside the threads that serve everybody.
const INLINE_BYTES: usize = 64 * 1024;

pub(super) async fn append(
    State(store): State<Store>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Appended>), Refusal> {
    let received = body::read(body, &store.memory, store.body_deadline).await?;
    // How much a packed body will be, nobody can tell.
    let is_small = received.bytes.len() <= INLINE_BYTES && !headers.contains_key(header::CONTENT_ENCODING);
    let (batch, shape) = if is_small {
        check(&store, &headers, received)?
    } else {
        let store = store.clone();
        let checking = tokio::task::spawn_blocking(move || check(&store, &headers, received));
        checking.await.expect("checking a body does not panic")?
    };
    if !store.volume.admits(batch.bytes()) {
        return Err(AppendError::DiskFull.into());
    }
    let events = store.engine.append(batch).await.map_err(|error| {
        if matches!(error, AppendError::DiskFull | AppendError::Failed) {
            store.volume.distrust();
        }
        refusal(error, shape)
    })?;
    let duplicates = events.iter().filter(|receipt| receipt.duplicate).count();
    if duplicates > 0 {
        metrics::counter!("event_store_events_duplicate_total").increment(duplicates as u64);
    }
    Ok((StatusCode::CREATED, Json(Appended { events })))
}

/// Signature first: nothing that is unsigned is read.
fn check(store: &Store, headers: &HeaderMap, received: Received) -> Result<(Batch, Shape), Refusal> {
    let caller = store.keys.writer(headers, &received.bytes)?;
    let Received { bytes, claim } = Encoding::of(headers)?.unpack(received, &store.memory)?;
    let Request { events, shape } = decode::request(Format::of(headers)?, &bytes)?;
    caller.may_write(&events, shape)?;
    Ok((Batch::new(events, claim), shape))
}

fn refusal(error: AppendError, shape: Shape) -> Refusal {
    match error {
        AppendError::Conflict { index, .. } => Refusal::from(error).at(shape.field(index, "id")),
        other => other.into(),
    }
}
