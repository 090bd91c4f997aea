//! `POST /v1/events`: the events of the body are on disk before the 201.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use wire::event::Appended;

use super::Store;
use super::auth::Keys;
use super::body::{self, Received};
use super::decode::{self, Request, Shape};
use super::problem::Refusal;
use crate::log::{AppendError, Batch};

/// Larger bodies are checked beside the threads that serve everybody.
const INLINE_BYTES: usize = 64 * 1024;

pub(super) async fn append(
    State(store): State<Store>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Appended>), Refusal> {
    let received = body::read(body, &store.memory).await?;
    let (batch, shape) = if received.bytes.len() <= INLINE_BYTES {
        check(&store.keys, &headers, received)?
    } else {
        let store = store.clone();
        let checking = tokio::task::spawn_blocking(move || check(&store.keys, &headers, received));
        checking.await.expect("checking a body does not panic")?
    };
    let events = store.engine.append(batch).await.map_err(|error| refusal(error, shape))?;
    Ok((StatusCode::CREATED, Json(Appended { events })))
}

/// Signature first: nothing that is unsigned is read.
fn check(keys: &Keys, headers: &HeaderMap, received: Received) -> Result<(Batch, Shape), Refusal> {
    let Received { bytes, claim } = received;
    let caller = keys.writer(headers, &bytes)?;
    let Request { events, shape } = decode::request(&bytes)?;
    caller.may_write(&events, |index| shape.field(index, "producer"))?;
    Ok((Batch::new(events, claim), shape))
}

fn refusal(error: AppendError, shape: Shape) -> Refusal {
    match error {
        AppendError::Conflict { index, .. } => Refusal::from(error).at(shape.field(index, "id")),
        other => other.into(),
    }
}
