//! Dependencies over HTTP.

use access::permission::{TasksRead, TasksWrite};
use axum::Json;
use axum::http::{HeaderMap, StatusCode};
use wire::dependency::{BlockingImpact, Blocks, DependencyGraph, DependencyView, NeededTask, NewDependency, Readiness};
use wire::id::{DependencyId, TaskId};
use wire::problem::Problem;
use work::dependencies;

use super::body::{Body, Id, Ids, attempt};
use super::caller::Allowed;
use super::problem::ApiError;
use super::{App, State};

/// Makes a task need another: that it is completed, or has an outcome. What would close a circle is refused, naming
/// its members in order.
#[utoipa::path(
    post, path = "/tasks/{id}/dependencies", tag = "dependencies",
    params(("id" = TaskId, Path),
           ("idempotency-key" = Option<String>, Header, description = "Makes a repeat give the first answer")),
    request_body = NewDependency,
    responses((status = 201, body = DependencyView), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn add(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksWrite>,
    Id(id): Id<TaskId>,
    headers: HeaderMap,
    Body(new): Body<NewDependency>,
) -> Result<(StatusCode, Json<DependencyView>), ApiError> {
    let attempt = attempt(&headers, "dependencies.add", &(id, &new))?;
    let dependency = dependencies::add(&app.ctx, caller.tenant, id, new, attempt.as_ref()).await?;
    Ok((StatusCode::CREATED, Json(dependency)))
}

/// What a task needs, each with the task that is needed.
#[utoipa::path(
    get, path = "/tasks/{id}/dependencies", tag = "dependencies", params(("id" = TaskId, Path)),
    responses((status = 200, body = Vec<NeededTask>), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn list(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksRead>,
    Id(id): Id<TaskId>,
) -> Result<Json<Vec<NeededTask>>, ApiError> {
    Ok(Json(dependencies::of_task(&app.ctx, caller.tenant, id).await?))
}

/// Takes a dependency of a task back.
#[utoipa::path(
    delete, path = "/tasks/{id}/dependencies/{dependency_id}", tag = "dependencies",
    params(("id" = TaskId, Path), ("dependency_id" = DependencyId, Path)),
    responses((status = 204), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem)))]
pub(super) async fn remove(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksWrite>,
    Ids(task, dependency): Ids<TaskId, DependencyId>,
) -> Result<StatusCode, ApiError> {
    dependencies::remove(&app.ctx, caller.tenant, task, dependency).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Whether what a task needs (hard) is true, and of which tasks it is not.
#[utoipa::path(
    get, path = "/tasks/{id}/ready", tag = "dependencies", params(("id" = TaskId, Path)),
    responses((status = 200, body = Readiness), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn ready(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksRead>,
    Id(id): Id<TaskId>,
) -> Result<Json<Readiness>, ApiError> {
    Ok(Json(dependencies::readiness(&app.ctx, caller.tenant, id).await?))
}

/// The tasks that need this one (hard), directly.
#[utoipa::path(
    get, path = "/tasks/{id}/blocks", tag = "dependencies", params(("id" = TaskId, Path)),
    responses((status = 200, body = Blocks), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn blocks(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksRead>,
    Id(id): Id<TaskId>,
) -> Result<Json<Blocks>, ApiError> {
    Ok(Json(dependencies::blocks(&app.ctx, caller.tenant, id).await?))
}

/// The tasks that need this one (hard), directly or through others, each once.
#[utoipa::path(
    get, path = "/tasks/{id}/blocking-impact", tag = "dependencies", params(("id" = TaskId, Path)),
    responses((status = 200, body = BlockingImpact), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn blocking_impact(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksRead>,
    Id(id): Id<TaskId>,
) -> Result<Json<BlockingImpact>, ApiError> {
    Ok(Json(dependencies::blocking_impact(&app.ctx, caller.tenant, id).await?))
}

/// The tasks as nodes and what they need of each other as edges, up to 10,000 tasks.
#[utoipa::path(
    get, path = "/tasks/dependency-graph", tag = "dependencies",
    responses((status = 200, body = DependencyGraph), (status = 401, body = Problem)))]
pub(super) async fn graph(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksRead>,
) -> Result<Json<DependencyGraph>, ApiError> {
    Ok(Json(dependencies::graph(&app.ctx, caller.tenant).await?))
}
