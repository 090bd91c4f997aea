//! Tasks over HTTP.

use access::permission::{TasksRead, TasksWrite};
use axum::Json;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use wire::batch::NewBatch;
use wire::id::TaskId;
use wire::metadata::{Assignment, Estimate};
use wire::problem::Problem;
use wire::task::{NewTask, Priority, TaskChange, TaskStatus, TaskView};
use wire::why::Why;
use work::tasks::{self, Filter, batch};

use super::body::{Body, Id, Parameters, attempt};
use super::caller::Allowed;
use super::problem::ApiError;
use super::version::{Aimed, IfMatch, Shown};
use super::{App, State};

/// Submits a task.
#[utoipa::path(
    post, path = "/tasks", tag = "tasks", request_body = NewTask,
    params(("idempotency-key" = Option<String>, Header, description = "Makes a repeat give the first answer")),
    responses((status = 201, body = TaskView), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 403, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn submit(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksWrite>,
    headers: HeaderMap,
    Body(new): Body<NewTask>,
) -> Result<(StatusCode, Shown), ApiError> {
    let attempt = attempt(&headers, "tasks.submit", &new)?;
    let task = tasks::submit(&app.ctx, &app.work, caller.tenant, new, attempt.as_ref()).await?;
    Ok((StatusCode::CREATED, Shown(task)))
}

/// Submits up to 100 tasks, and what they need of each other: all, or none.
#[utoipa::path(
    post, path = "/tasks/batch", tag = "tasks", request_body = NewBatch,
    params(("idempotency-key" = Option<String>, Header, description = "Makes a repeat give the first answer")),
    responses((status = 201, body = Vec<TaskView>), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 403, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn submit_batch(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksWrite>,
    headers: HeaderMap,
    Body(batch): Body<NewBatch>,
) -> Result<(StatusCode, Json<Vec<TaskView>>), ApiError> {
    let attempt = attempt(&headers, "tasks.batch", &batch)?;
    let tasks = batch::submit(&app.ctx, &app.work, caller.tenant, batch.into(), attempt.as_ref()).await?;
    Ok((StatusCode::CREATED, Json(tasks)))
}

/// What to search for.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct SearchQuery {
    /// 1 to 500 characters, taken as they are.
    q: String,
}

/// Up to 50 tasks that have the text in their title or description, in either case of letters; those that
/// are nothing but the text come first.
#[utoipa::path(
    get, path = "/tasks/search", tag = "tasks", params(SearchQuery),
    responses((status = 200, body = Vec<TaskView>), (status = 400, body = Problem), (status = 401, body = Problem)))]
pub(super) async fn search(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksRead>,
    Parameters(query): Parameters<SearchQuery>,
) -> Result<Json<Vec<TaskView>>, ApiError> {
    Ok(Json(tasks::search(&app.ctx, caller.tenant, &query.q).await?))
}

/// What to list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// Only tasks of this project.
    project: Option<String>,
    /// Only tasks that stand so.
    status: Option<TaskStatus>,
    /// Only tasks of this priority.
    priority: Option<i16>,
    /// Only tasks that wait for another (true), or only tasks that do not (false).
    blocked: Option<bool>,
    /// At most this many, 100 when absent, 1,000 at most.
    limit: Option<i64>,
    /// After so many.
    offset: Option<i64>,
}

/// Tasks, most urgent and then oldest first. `x-total-count` tells how many there are, counted no further than
/// 10,000; where there are more, `x-total-count-more` is `true`.
#[utoipa::path(
    get, path = "/tasks", tag = "tasks", params(ListQuery),
    responses((status = 200, body = Vec<TaskView>), (status = 400, body = Problem), (status = 401, body = Problem)))]
pub(super) async fn list(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksRead>,
    Parameters(query): Parameters<ListQuery>,
) -> Result<Response, ApiError> {
    let priority = query.priority.map(Priority::try_from).transpose();
    let priority = priority.map_err(|error| kernel::Error::invalid("priority", error.to_string()))?;
    let ListQuery { project, status, blocked, limit, offset, .. } = query;
    let filter = Filter { project, status, priority, blocked, limit, offset };
    let mut page = tasks::list(&app.ctx, caller.tenant, filter).await?;
    work::tell_waiting(&app.ctx, &app.work, &app.pool, caller.tenant, &mut page.tasks).await?;
    let more = page.is_cut.then_some([("x-total-count-more", "true")]);
    Ok(([("x-total-count", page.total.to_string())], more, Json(page.tasks)).into_response())
}

/// One task with its newest execution.
#[utoipa::path(
    get, path = "/tasks/{id}", tag = "tasks", params(("id" = TaskId, Path)),
    responses((status = 200, body = TaskView), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem)))]
pub(super) async fn get(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksRead>,
    Id(id): Id<TaskId>,
) -> Result<Shown, ApiError> {
    Ok(Shown(tasks::get(&app.ctx, caller.tenant, id).await?))
}

/// Changes some fields of a task.
#[utoipa::path(
    patch, path = "/tasks/{id}", tag = "tasks", params(("id" = TaskId, Path), IfMatch), request_body = TaskChange,
    responses((status = 200, body = TaskView), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem), (status = 412, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn update(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksWrite>,
    Aimed(task): Aimed,
    Body(change): Body<TaskChange>,
) -> Result<Shown, ApiError> {
    Ok(Shown(tasks::update(&app.ctx, &app.work, caller.tenant, task, change).await?))
}

/// Deletes a task that no worker has, with everything that hangs on it. The record keeps what was told of it.
#[utoipa::path(
    delete, path = "/tasks/{id}", tag = "tasks", params(("id" = TaskId, Path), IfMatch),
    responses((status = 204), (status = 401, body = Problem), (status = 404, body = Problem), (status = 412, body = Problem),
              (status = 409, body = Problem)))]
pub(super) async fn delete(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksWrite>,
    Aimed(task): Aimed,
) -> Result<StatusCode, ApiError> {
    tasks::delete(&app.ctx, caller.tenant, task).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives a ready task to a worker that no machine of the pool carries.
#[utoipa::path(
    post, path = "/tasks/{id}/assign", tag = "tasks", params(("id" = TaskId, Path), IfMatch), request_body = Assignment,
    responses((status = 200, body = TaskView), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem), (status = 412, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn assign(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksWrite>,
    Aimed(task): Aimed,
    Body(to): Body<Assignment>,
) -> Result<Shown, ApiError> {
    Ok(Shown(tasks::assign(&app.ctx, caller.tenant, task, to).await?))
}

/// Says how much work a task is.
#[utoipa::path(
    post, path = "/tasks/{id}/estimate", tag = "tasks", params(("id" = TaskId, Path), IfMatch), request_body = Estimate,
    responses((status = 200, body = TaskView), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem), (status = 412, body = Problem)))]
pub(super) async fn estimate(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksWrite>,
    Aimed(task): Aimed,
    Body(estimate): Body<Estimate>,
) -> Result<Shown, ApiError> {
    Ok(Shown(tasks::estimate(&app.ctx, &app.work, caller.tenant, task, estimate).await?))
}

/// Calls a task off; one that runs ends when its worker has ended it.
#[utoipa::path(
    post, path = "/tasks/{id}/cancel", tag = "tasks", params(("id" = TaskId, Path), IfMatch),
    responses((status = 200, body = TaskView), (status = 401, body = Problem), (status = 404, body = Problem), (status = 412, body = Problem),
              (status = 409, body = Problem)))]
pub(super) async fn cancel(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksWrite>,
    Aimed(task): Aimed,
) -> Result<Shown, ApiError> {
    Ok(Shown(tasks::cancel(&app.ctx, &app.work, caller.tenant, task).await?))
}

/// Makes a failed task ready again. What it has used of its budget stays counted.
#[utoipa::path(
    post, path = "/tasks/{id}/retry", tag = "tasks",
    params(("id" = TaskId, Path), IfMatch,
           ("idempotency-key" = Option<String>, Header, description = "Makes a repeat give the first answer")),
    responses((status = 200, body = TaskView), (status = 401, body = Problem), (status = 404, body = Problem), (status = 412, body = Problem),
              (status = 409, body = Problem)))]
pub(super) async fn retry(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksWrite>,
    Aimed(task): Aimed,
    headers: HeaderMap,
) -> Result<Shown, ApiError> {
    let attempt = attempt(&headers, "tasks.retry", &(task.id, task.version))?;
    Ok(Shown(tasks::retry(&app.ctx, caller.tenant, task, attempt.as_ref()).await?))
}

/// What a task waits for, the nearest obstacle first.
#[utoipa::path(
    get, path = "/tasks/{id}/why", tag = "tasks", params(("id" = TaskId, Path)),
    responses((status = 200, body = Why), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn why(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksRead>,
    Id(id): Id<TaskId>,
) -> Result<Json<Why>, ApiError> {
    Ok(Json(work::why(&app.ctx, &app.work, &app.pool, caller.tenant, id).await?))
}
