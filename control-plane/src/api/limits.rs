//! Limits of keys over HTTP.

use access::permission::{LimitsWrite, TasksRead};
use axum::Json;
use axum::http::StatusCode;
use wire::admission::{LimitView, NewLimit};
use wire::problem::Problem;
use work::limits;

use super::body::{Body, Word};
use super::caller::Allowed;
use super::problem::ApiError;
use super::{App, State};

/// Every limit and how it stands, by key.
#[utoipa::path(
    get, path = "/limits", tag = "admission",
    responses((status = 200, body = Vec<LimitView>), (status = 401, body = Problem)))]
pub(super) async fn list(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksRead>,
) -> Result<Json<Vec<LimitView>>, ApiError> {
    Ok(Json(limits::list(&app.ctx, caller.tenant).await?))
}

/// What one key allows and how it stands.
#[utoipa::path(
    get, path = "/limits/{key}", tag = "admission", params(("key" = String, Path)),
    responses((status = 200, body = LimitView), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn get(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksRead>,
    Word(key): Word,
) -> Result<Json<LimitView>, ApiError> {
    Ok(Json(limits::get(&app.ctx, caller.tenant, &key).await?))
}

/// Says how many tasks with a key may be in hand at once, and how often one may start; in place of what was said.
#[utoipa::path(
    put, path = "/limits/{key}", tag = "admission", params(("key" = String, Path)), request_body = NewLimit,
    responses((status = 200, body = LimitView), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 403, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn set(
    State(app): State<App>,
    Allowed(caller, _): Allowed<LimitsWrite>,
    Word(key): Word,
    Body(new): Body<NewLimit>,
) -> Result<Json<LimitView>, ApiError> {
    Ok(Json(limits::set(&app.ctx, caller.tenant, &key, new).await?))
}

/// Removes a limit. What it kept from starting may start.
#[utoipa::path(
    delete, path = "/limits/{key}", tag = "admission", params(("key" = String, Path)),
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem),
              (status = 404, body = Problem)))]
pub(super) async fn remove(
    State(app): State<App>,
    Allowed(caller, _): Allowed<LimitsWrite>,
    Word(key): Word,
) -> Result<StatusCode, ApiError> {
    limits::remove(&app.ctx, caller.tenant, &key).await?;
    Ok(StatusCode::NO_CONTENT)
}
