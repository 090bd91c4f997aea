//! Failure strategies over HTTP.

use access::permission::{TasksRead, TasksWrite};
use axum::Json;
use axum::http::{HeaderMap, StatusCode};
use wire::id::FailureStrategyId;
use wire::problem::Problem;
use wire::strategy::{FailureStrategyChange, FailureStrategyView, NewFailureStrategy};
use work::strategies;

use super::body::{Body, Id, attempt};
use super::caller::Allowed;
use super::problem::ApiError;
use super::{App, State};

/// Every failure strategy, by name.
#[utoipa::path(
    get, path = "/failure-strategies", tag = "failure strategies",
    responses((status = 200, body = Vec<FailureStrategyView>), (status = 401, body = Problem)))]
pub(super) async fn list(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksRead>,
) -> Result<Json<Vec<FailureStrategyView>>, ApiError> {
    Ok(Json(strategies::list(&app.ctx, caller.tenant).await?))
}

/// One failure strategy.
#[utoipa::path(
    get, path = "/failure-strategies/{id}", tag = "failure strategies", params(("id" = FailureStrategyId, Path)),
    responses((status = 200, body = FailureStrategyView), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn get(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksRead>,
    Id(id): Id<FailureStrategyId>,
) -> Result<Json<FailureStrategyView>, ApiError> {
    Ok(Json(strategies::get(&app.ctx, caller.tenant, id).await?))
}

/// Makes a failure strategy, which a task follows that has its id under the key `strategy_id` of its metadata.
#[utoipa::path(
    post, path = "/failure-strategies", tag = "failure strategies", request_body = NewFailureStrategy,
    params(("idempotency-key" = Option<String>, Header, description = "Makes a repeat give the first answer")),
    responses((status = 201, body = FailureStrategyView), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 409, body = Problem)))]
pub(super) async fn add(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksWrite>,
    headers: HeaderMap,
    Body(new): Body<NewFailureStrategy>,
) -> Result<(StatusCode, Json<FailureStrategyView>), ApiError> {
    let attempt = attempt(&headers, "failure_strategies.add", &new)?;
    let strategy = strategies::add(&app.ctx, &app.work, caller.tenant, new, attempt.as_ref()).await?;
    Ok((StatusCode::CREATED, Json(strategy)))
}

/// Changes a failure strategy; tasks follow it as it is when they fail.
#[utoipa::path(
    patch, path = "/failure-strategies/{id}", tag = "failure strategies", params(("id" = FailureStrategyId, Path)),
    request_body = FailureStrategyChange,
    responses((status = 200, body = FailureStrategyView), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem)))]
pub(super) async fn update(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksWrite>,
    Id(id): Id<FailureStrategyId>,
    Body(change): Body<FailureStrategyChange>,
) -> Result<Json<FailureStrategyView>, ApiError> {
    Ok(Json(strategies::update(&app.ctx, &app.work, caller.tenant, id, change).await?))
}

/// Deletes a failure strategy; tasks that name it fail without one.
#[utoipa::path(
    delete, path = "/failure-strategies/{id}", tag = "failure strategies", params(("id" = FailureStrategyId, Path)),
    responses((status = 204), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn delete(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksWrite>,
    Id(id): Id<FailureStrategyId>,
) -> Result<StatusCode, ApiError> {
    strategies::delete(&app.ctx, caller.tenant, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
