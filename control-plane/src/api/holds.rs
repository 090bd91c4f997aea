//! Holds over HTTP.

use access::permission::{LimitsWrite, TasksRead};
use axum::Json;
use axum::http::{HeaderMap, StatusCode};
use wire::admission::{HoldView, NewHold};
use wire::id::HoldId;
use wire::problem::Problem;
use work::holds;

use super::body::{Body, Id, attempt};
use super::caller::Allowed;
use super::problem::ApiError;
use super::{App, State};

/// Every hold that lasts, the oldest first.
#[utoipa::path(
    get, path = "/holds", tag = "admission",
    responses((status = 200, body = Vec<HoldView>), (status = 401, body = Problem)))]
pub(super) async fn list(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksRead>,
) -> Result<Json<Vec<HoldView>>, ApiError> {
    Ok(Json(holds::list(&app.ctx, caller.tenant).await?))
}

/// Holds a task, a project, everything with a key, or all work. What is in hand goes on.
#[utoipa::path(
    post, path = "/holds", tag = "admission", request_body = NewHold,
    params(("idempotency-key" = Option<String>, Header, description = "Makes a repeat give the first answer")),
    responses((status = 201, body = HoldView), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn set(
    State(app): State<App>,
    Allowed(caller, _): Allowed<LimitsWrite>,
    headers: HeaderMap,
    Body(new): Body<NewHold>,
) -> Result<(StatusCode, Json<HoldView>), ApiError> {
    let attempt = attempt(&headers, "holds.set", &new)?;
    let hold = holds::set(&app.ctx, caller.tenant, &caller.key.to_string(), new, attempt.as_ref()).await?;
    Ok((StatusCode::CREATED, Json(hold)))
}

/// Removes a hold. What it kept from starting may start.
#[utoipa::path(
    delete, path = "/holds/{id}", tag = "admission", params(("id" = HoldId, Path)),
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem),
              (status = 404, body = Problem)))]
pub(super) async fn remove(
    State(app): State<App>,
    Allowed(caller, _): Allowed<LimitsWrite>,
    Id(id): Id<HoldId>,
) -> Result<StatusCode, ApiError> {
    holds::remove(&app.ctx, caller.tenant, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
