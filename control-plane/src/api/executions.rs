//! Executions over HTTP, for work that no runner of the pool carries out.

use access::permission::{TasksRead, TasksWrite};
use axum::Json;
use axum::http::{HeaderMap, StatusCode};
use wire::execution::{
    ExecutionHistory, ExecutionResult, ExecutionView, NewExecution, StaleExecution, SubtaskProgress,
};
use wire::id::{ExecutionId, TaskId};
use wire::problem::Problem;
use work::executions;

use super::body::{Body, Id, attempt};
use super::caller::Allowed;
use super::problem::ApiError;
use super::{App, State};

/// All attempts at a task, the one that began last first, and what they come to.
#[utoipa::path(
    get, path = "/tasks/{id}/executions", tag = "executions", params(("id" = TaskId, Path)),
    responses((status = 200, body = ExecutionHistory), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn list(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksRead>,
    Id(id): Id<TaskId>,
) -> Result<Json<ExecutionHistory>, ApiError> {
    Ok(Json(executions::history(&app.ctx, caller.tenant, id).await?))
}

/// Executions that have run for more than two hours (BIFROST_EXECUTION_STALE_SECONDS), the longest first.
#[utoipa::path(
    get, path = "/executions/stale", tag = "executions",
    responses((status = 200, body = Vec<StaleExecution>), (status = 401, body = Problem)))]
pub(super) async fn stale(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksRead>,
) -> Result<Json<Vec<StaleExecution>>, ApiError> {
    Ok(Json(executions::stale(&app.ctx, &app.work, caller.tenant).await?))
}

/// Begins an execution of a task that was assigned by hand.
#[utoipa::path(
    post, path = "/tasks/{id}/executions", tag = "executions", request_body = NewExecution,
    params(("id" = TaskId, Path),
           ("idempotency-key" = Option<String>, Header, description = "Makes a repeat give the first answer")),
    responses((status = 201, body = ExecutionView), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn start(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksWrite>,
    Id(id): Id<TaskId>,
    headers: HeaderMap,
    Body(new): Body<NewExecution>,
) -> Result<(StatusCode, Json<ExecutionView>), ApiError> {
    let attempt = attempt(&headers, "executions.start", &(id, &new))?;
    let execution = executions::start_by_hand(&app.ctx, caller.tenant, id, new, attempt.as_ref()).await?;
    Ok((StatusCode::CREATED, Json(execution)))
}

/// Ends an execution that was claimed or begun by hand, and its task with it. The same end twice is no error where
/// it was claimed.
#[utoipa::path(
    post, path = "/executions/{id}/complete", tag = "executions", params(("id" = ExecutionId, Path)),
    request_body = ExecutionResult,
    responses((status = 200, body = ExecutionView), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn complete(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksWrite>,
    Id(id): Id<ExecutionId>,
    Body(result): Body<ExecutionResult>,
) -> Result<Json<ExecutionView>, ApiError> {
    Ok(Json(app.desk.complete(&app.ctx, caller.tenant, id, result).await?))
}

/// How far the parts of an execution's work are, with the completed share in percent.
#[utoipa::path(
    get, path = "/executions/{id}/subtasks", tag = "executions", params(("id" = ExecutionId, Path)),
    responses((status = 200, body = SubtaskProgress), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn subtasks(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksRead>,
    Id(id): Id<ExecutionId>,
) -> Result<Json<SubtaskProgress>, ApiError> {
    Ok(Json(executions::subtasks(&app.ctx, caller.tenant, id).await?))
}
