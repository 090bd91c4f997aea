//! The log behind HTTP: handlers translate, the log decides.

mod append;
mod auth;
mod body;
mod decode;
mod follow;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod grants;
mod problem;
mod read;
mod status;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use kit::{Clock, Tasks};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::Semaphore;

use crate::Config;
use crate::engine::Engine;
use crate::log::{AppendError, Log};
use crate::volume::Volume;
use auth::Keys;
pub use grants::Ungranted;
use problem::Refusal;

/// All bodies that are being read or wait for the writer, together.
const BODIES_BYTES: usize = 32 * 1024 * 1024;
/// Streams that are open at the same time.
const FOLLOWERS: usize = 1_024;

/// What handlers share.
#[derive(Clone)]
struct Store(Arc<Shared>);

struct Shared {
    /// What is read, and only read.
    log: Log,
    /// Where writes go.
    engine: Engine,
    volume: Arc<Volume>,
    keys: Keys,
    tasks: Tasks,
    metrics: Option<PrometheusHandle>,
    /// One permit for each byte of a body in memory.
    memory: Arc<Semaphore>,
    /// One permit for each open stream.
    followers: Arc<Semaphore>,
    started: Instant,
    /// How long a body may take to arrive.
    body_deadline: Duration,
}

impl std::ops::Deref for Store {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// Every route, under its canonical path and the backlog's.
pub(crate) fn router(
    config: Config,
    log: Log,
    engine: Engine,
    volume: Arc<Volume>,
    clock: Clock,
    metrics: Option<PrometheusHandle>,
    tasks: Tasks,
) -> Router {
    let store = Store(Arc::new(Shared {
        log,
        engine,
        volume,
        keys: Keys::new(config.secret, config.previous_secret, config.ungranted, clock),
        tasks,
        metrics,
        memory: Arc::new(Semaphore::new(BODIES_BYTES)),
        followers: Arc::new(Semaphore::new(FOLLOWERS)),
        started: Instant::now(),
        body_deadline: config.limits.body,
    }));
    let events = post(append::append).get(read::feed);
    Router::new()
        .route("/v1/events", events.clone())
        .route("/events", events)
        .route("/v1/events/{task_id}", get(read::of_task))
        .route("/events/{task_id}", get(read::of_task))
        .route("/v1/head", get(status::head))
        .route("/v1/stats", get(status::stats))
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/metrics", get(render_metrics))
        .fallback(async || Refusal::not_found())
        .method_not_allowed_fallback(async || Refusal::method_not_allowed())
        // Bodies are bounded where they are read.
        .layer(DefaultBodyLimit::disable())
        .with_state(store)
}

async fn health() -> StatusCode {
    StatusCode::OK
}

async fn ready(State(store): State<Store>) -> Result<StatusCode, Refusal> {
    if !store.volume.admits(0) {
        return Err(AppendError::DiskFull.into());
    }
    store.engine.probe().await.map(|()| StatusCode::OK).map_err(Refusal::from)
}

async fn render_metrics(State(store): State<Store>) -> Result<String, Refusal> {
    let metrics = store.metrics.as_ref().ok_or_else(Refusal::not_found)?;
    // Asked for here, so that no request pays for it.
    metrics::gauge!("event_store_queue_depth").set(store.log.queue().taken as f64);
    Ok(metrics.render())
}
