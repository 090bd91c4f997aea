//! Scores, and assignments to workers that no machine of the pool carries, over HTTP.

use access::permission::TasksWrite;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use wire::assignment::{AssignBatch, AssignedTask, Preempt, Preempted};
use wire::id::TaskId;
use wire::prioritize::{Prioritize, ScoredTask};
use wire::problem::Problem;
use wire::split::{Split, SplitTask};
use work::{assignments, prioritize, split};

use super::body::Body;
use super::caller::Allowed;
use super::problem::ApiError;
use super::version::{Aimed, IfMatch};
use super::{App, State};

/// Scores every task that is ready by the algorithm that is named, keeps the scores and their time beside the tasks,
/// and gives the tasks, highest score first. `x-total-count` tells how many were scored.
#[utoipa::path(
    post, path = "/tasks/prioritize", tag = "assignments", request_body = Prioritize,
    responses((status = 200, body = Vec<ScoredTask>), (status = 400, body = Problem), (status = 401, body = Problem)))]
pub(super) async fn prioritize(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksWrite>,
    Body(ask): Body<Prioritize>,
) -> Result<Response, ApiError> {
    let scores = prioritize::prioritize(&app.ctx, caller.tenant, ask).await?;
    Ok(([("x-total-count", scores.total.to_string())], Json(scores.tasks)).into_response())
}

/// Gives a ready task to the worker with the least to do of those that take its type of agent and have room.
#[utoipa::path(
    post, path = "/tasks/{id}/assign-optimal", tag = "assignments",
    params(("id" = TaskId, Path), IfMatch),
    responses((status = 200, body = AssignedTask), (status = 401, body = Problem), (status = 404, body = Problem),
              (status = 409, body = Problem), (status = 412, body = Problem)))]
pub(super) async fn assign_optimal(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksWrite>,
    Aimed(task): Aimed,
) -> Result<Json<AssignedTask>, ApiError> {
    Ok(Json(assignments::optimal(&app.ctx, caller.tenant, task).await?))
}

/// Gives the next tasks, highest score first, each to the worker that suits it best, until there are as many as
/// asked for or nobody has room. A task without a score counts 20 for each step of its priority.
#[utoipa::path(
    post, path = "/tasks/assign-batch", tag = "assignments", request_body = AssignBatch,
    responses((status = 200, body = Vec<AssignedTask>), (status = 400, body = Problem), (status = 401, body = Problem)))]
pub(super) async fn assign_batch(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksWrite>,
    Body(batch): Body<AssignBatch>,
) -> Result<Json<Vec<AssignedTask>>, ApiError> {
    Ok(Json(assignments::batch(&app.ctx, caller.tenant, batch).await?))
}

/// Gives a ready task to a worker whose least urgent task is less urgent; that one is ready again.
#[utoipa::path(
    post, path = "/tasks/{id}/preempt", tag = "assignments", request_body = Preempt,
    params(("id" = TaskId, Path), IfMatch),
    responses((status = 200, body = Preempted), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem), (status = 409, body = Problem), (status = 412, body = Problem)))]
pub(super) async fn preempt(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksWrite>,
    Aimed(task): Aimed,
    Body(to): Body<Preempt>,
) -> Result<Json<Preempted>, ApiError> {
    Ok(Json(assignments::preempt(&app.ctx, &app.work, caller.tenant, task, to).await?))
}

/// Replaces a task that is ready or has failed by its parts; it is completed once all of them are.
#[utoipa::path(
    post, path = "/tasks/{id}/split", tag = "tasks", request_body = Split,
    params(("id" = TaskId, Path), IfMatch),
    responses((status = 201, body = SplitTask), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem), (status = 409, body = Problem), (status = 412, body = Problem)))]
pub(super) async fn split(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksWrite>,
    Aimed(task): Aimed,
    Body(new): Body<Split>,
) -> Result<(StatusCode, Json<SplitTask>), ApiError> {
    Ok((StatusCode::CREATED, Json(split::split(&app.ctx, &app.work, caller.tenant, task, new).await?)))
}
