//! Server-sent events: everything behind a place, then everything that comes.
//!
//! A commit wakes those whom it concerns, and each reads what it lacks by sequence
//! number. So there are neither gaps nor repeats, and one that reads slowly keeps
//! nobody waiting: nothing is queued for it.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use wire::id::TaskId;

use super::Store;
use super::problem::Refusal;
use crate::log::{Filter, Row, Selection};

/// A comment is sent when nothing else was for so long.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);
/// A follower that was just told something looks again after so long: a burst comes in few reads,
/// however many commits it was, and many followers do not read faster than that.
const GATHER: Duration = Duration::from_millis(2);
/// What one follower is handed at a time.
const CHUNK_EVENTS: usize = 256;
const CHUNK_BYTES: usize = 64 * 1024;

pub(super) fn stream(store: Store, task: Option<TaskId>, filter: Filter, after: u64) -> Result<Response, Refusal> {
    let place = store.followers.clone().try_acquire_owned();
    let place = place.map_err(|_| Refusal::busy("too many streams are open; close one, or read pages"))?;
    let held = (place, Counted::new());
    let selection = Selection { task, filter, after, limit: CHUNK_EVENTS, bytes: CHUNK_BYTES };
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(chunks(store, selection, held))).into_response())
}

/// Ends when the store stops, or cannot be read; the follower resumes behind its last id.
/// What is `held` lives as long as the stream.
fn chunks(
    store: Store,
    mut selection: Selection,
    held: (OwnedSemaphorePermit, Counted),
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    async_stream::stream! {
        let _held = held;
        let mut news = store.log.news(selection.task);
        loop {
            let newest = news.newest();
            while selection.after < newest {
                metrics::counter!("event_store_follower_reads_total").increment(1);
                let Ok(page) = store.log.read(selection.clone(), message).await.inspect_err(|error| {
                    tracing::error!(%error, "a stream of events ends early");
                }) else { return };
                selection.after = page.seen;
                if !page.bytes.is_empty() {
                    yield Ok(page.bytes.into());
                }
                if store.tasks.is_stopping() {
                    return;
                }
            }
            let rested = Instant::now() + GATHER;
            tokio::select! {
                heard = news.wait() => if heard.is_none() { return },
                () = tokio::time::sleep(SIGN_OF_LIFE) => yield Ok(Bytes::from_static(b": alive\n\n")),
                () = store.tasks.stopping() => return,
            }
            tokio::time::sleep_until(rested).await;
        }
    }
}

/// One event as a message. A payload that was laid out in lines takes several of data.
fn message(out: &mut Vec<u8>, row: &Row<'_>) {
    out.extend_from_slice(format!("id: {}\nevent: event\ndata: ", row.seq).as_bytes());
    let start = out.len();
    row.write_json(out);
    if out[start..].iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        let json = out.split_off(start);
        out.extend_from_slice(&in_lines(&json));
    }
    out.extend_from_slice(b"\n\n");
}

/// Every line break, which in JSON stands only between values, begins a new line of data.
fn in_lines(json: &[u8]) -> Vec<u8> {
    let lines: Vec<&[u8]> = json.split(|byte| matches!(byte, b'\n' | b'\r')).collect();
    lines.join(&b"\ndata: "[..])
}

/// Shows in the metrics for as long as it lives.
struct Counted;

impl Counted {
    fn new() -> Self {
        metrics::gauge!("event_store_followers").increment(1.0);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        metrics::gauge!("event_store_followers").decrement(1.0);
    }
}
