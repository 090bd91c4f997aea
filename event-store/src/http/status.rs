//! `GET /v1/head` and `GET /v1/stats`: what the log has come to, and how the
//! store is. Both are cheap however long the log is.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use wire::event::{Link, Occupancy, SignedHead, Stats};

use super::problem::Refusal;
use super::read::target;
use super::{FOLLOWERS, Store};
use crate::log::SCHEMA_VERSION;

pub(super) async fn head(
    State(store): State<Store>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Json<SignedHead>, Refusal> {
    store.keys.may_read(&headers, target(&uri))?;
    let head = store.log.head();
    Ok(Json(store.keys.sign_head(head.seq, Link(*head.link.as_bytes()))))
}

pub(super) async fn stats(State(store): State<Store>, uri: Uri, headers: HeaderMap) -> Result<Json<Stats>, Refusal> {
    store.keys.may_read(&headers, target(&uri))?;
    let extent = store.log.extent().await?;
    let disk = store.volume.look().map_err(|error| Refusal::cannot_look(&error))?;
    let open = FOLLOWERS - store.followers.available_permits();
    Ok(Json(Stats {
        engine: store.engine.name().to_owned(),
        schema_version: SCHEMA_VERSION,
        uptime_seconds: store.started.elapsed().as_secs(),
        events: extent.map_or(0, |extent| extent.count()),
        oldest: extent.map(|extent| extent.oldest),
        newest: extent.map(|extent| extent.newest),
        disk,
        queue: store.log.queue(),
        followers: Occupancy { taken: open as u64, bound: FOLLOWERS as u64 },
    }))
}
