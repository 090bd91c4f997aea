//! Workers over HTTP, for people and for workers that no machine of the pool carries.

use access::permission::{MachinesRead, WorkersWrite};
use axum::Json;
use axum::http::{HeaderMap, StatusCode};
use wire::id::WorkerId;
use wire::problem::Problem;
use wire::worker::{NewWorker, WorkerChange, WorkerView};

use super::body::{Body, Id, attempt};
use super::caller::Allowed;
use super::problem::ApiError;
use super::{App, State};

/// Every worker, the last heard first.
#[utoipa::path(
    get, path = "/workers", tag = "pool",
    responses((status = 200, body = Vec<WorkerView>), (status = 401, body = Problem)))]
pub(super) async fn list(
    State(app): State<App>,
    Allowed(..): Allowed<MachinesRead>,
) -> Result<Json<Vec<WorkerView>>, ApiError> {
    Ok(Json(views(pool::workers::list(&app.ctx).await?)))
}

/// Workers that were silent for five minutes, now disabled.
#[utoipa::path(
    get, path = "/workers/stale", tag = "pool",
    responses((status = 200, body = Vec<WorkerView>), (status = 401, body = Problem)))]
pub(super) async fn stale(
    State(app): State<App>,
    Allowed(..): Allowed<WorkersWrite>,
) -> Result<Json<Vec<WorkerView>>, ApiError> {
    Ok(Json(views(pool::workers::disable_stale(&app.ctx).await?)))
}

fn views(workers: Vec<pool::workers::Worker>) -> Vec<WorkerView> {
    workers.into_iter().map(Into::into).collect()
}

/// One worker.
#[utoipa::path(
    get, path = "/workers/{id}", tag = "pool", params(("id" = WorkerId, Path)),
    responses((status = 200, body = WorkerView), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn get(
    State(app): State<App>,
    Allowed(..): Allowed<MachinesRead>,
    Id(id): Id<WorkerId>,
) -> Result<Json<WorkerView>, ApiError> {
    Ok(Json(pool::workers::get(&app.ctx, id).await?.into()))
}

/// Registers a worker that no machine of the pool carries.
#[utoipa::path(
    post, path = "/workers", tag = "pool", request_body = NewWorker,
    params(("idempotency-key" = Option<String>, Header, description = "Makes a repeat give the first answer")),
    responses((status = 201, body = WorkerView), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 409, body = Problem)))]
pub(super) async fn add(
    State(app): State<App>,
    Allowed(caller, _): Allowed<WorkersWrite>,
    headers: HeaderMap,
    Body(new): Body<NewWorker>,
) -> Result<(StatusCode, Json<WorkerView>), ApiError> {
    let attempt = attempt(&headers, "workers.add", &new)?;
    let attempt = attempt.as_ref().map(|attempt| (caller.tenant, attempt));
    let worker = pool::workers::add(&app.ctx, new, attempt).await?;
    Ok((StatusCode::CREATED, Json(worker)))
}

/// Changes such a worker; what is absent stays.
#[utoipa::path(
    patch, path = "/workers/{id}", tag = "pool", params(("id" = WorkerId, Path)), request_body = WorkerChange,
    responses((status = 200, body = WorkerView), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn update(
    State(app): State<App>,
    Allowed(..): Allowed<WorkersWrite>,
    Id(id): Id<WorkerId>,
    Body(change): Body<WorkerChange>,
) -> Result<Json<WorkerView>, ApiError> {
    Ok(Json(pool::workers::update(&app.ctx, id, change).await?.into()))
}

/// Forgets such a worker.
#[utoipa::path(
    delete, path = "/workers/{id}", tag = "pool", params(("id" = WorkerId, Path)),
    responses((status = 204), (status = 401, body = Problem), (status = 404, body = Problem),
              (status = 409, body = Problem)))]
pub(super) async fn remove(
    State(app): State<App>,
    Allowed(..): Allowed<WorkersWrite>,
    Id(id): Id<WorkerId>,
) -> Result<StatusCode, ApiError> {
    pool::workers::remove(&app.ctx, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
