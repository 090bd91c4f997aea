//! Whether the process lives, whether it can work, its numbers, its document.
//! The first two and the document need no key (decision C-26).

use access::permission::MachinesRead;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use kernel::outbox::{self, Backlog};
use serde_json::json;

use super::caller::Allowed;
use super::problem::{problem, respond};
use super::{App, Edge, State};

pub(super) fn router() -> Router<Edge> {
    Router::new()
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/openapi.json", get(openapi))
}

/// The process is up.
async fn health() -> Response {
    Json(json!({ "status": "ok" })).into_response()
}

/// What the process depends on is up; 503 names what is not.
async fn ready(State(app): State<App>) -> Response {
    let (database, events) = tokio::join!(database(&app), app.events.ready());
    let mut missing = Vec::new();
    missing.extend(database.err().map(|_| "the database"));
    missing.extend(events.err().map(|_| "the event store"));
    if missing.is_empty() {
        return Json(json!({ "status": "ready" })).into_response();
    }
    let detail = format!("{} cannot be used", missing.join(" and "));
    respond(&problem(StatusCode::SERVICE_UNAVAILABLE, "not_ready", detail))
}

async fn database(app: &App) -> kernel::Result<Backlog> {
    let mut tx = app.ctx.read("api.ready").await?;
    outbox::backlog(&mut tx).await
}

/// Numbers for Prometheus; its scraper sends an API key as its bearer token.
async fn metrics(State(app): State<App>, Allowed(..): Allowed<MachinesRead>) -> Response {
    if let Ok(backlog) = database(&app).await {
        let number = |count: i64| f64::from(i32::try_from(count).unwrap_or(i32::MAX));
        metrics::gauge!("outbox_pending").set(number(backlog.entries));
        metrics::gauge!("outbox_retries").set(number(backlog.retries));
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], app.metrics.render()).into_response()
}

async fn openapi() -> Response {
    Json(super::openapi()).into_response()
}
