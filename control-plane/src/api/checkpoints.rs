//! Checkpoints over HTTP: what machines have saved, and tasks that begin from it.

use access::permission::{TasksRead, TasksWrite};
use axum::Json;
use axum::http::StatusCode;
use serde::Deserialize;
use wire::checkpoint::{CheckpointDetail, CheckpointDiff, CheckpointView, KeptWorkView, Restore, SavedCheckpoint};
use wire::id::{CheckpointId, TaskId, WorkerId};
use wire::problem::Problem;
use wire::task::TaskView;
use work::checkpoints;

use super::body::{Body, Id, Ids, Parameters};
use super::caller::{Allowed, ThisWorker};
use super::problem::ApiError;
use super::{App, State};

/// Which checkpoints to list.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// Only those of this task's executions.
    #[serde(default)]
    task_id: Option<TaskId>,
}

/// The checkpoints that machines have, the newest first.
#[utoipa::path(
    get, path = "/checkpoints", tag = "checkpoints", params(Which),
    responses((status = 200, body = Vec<CheckpointView>), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem)))]
pub(super) async fn list(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksRead>,
    Parameters(which): Parameters<Which>,
) -> Result<Json<Vec<CheckpointView>>, ApiError> {
    Ok(Json(checkpoints::list(&app.ctx, caller.tenant, which.task_id).await?))
}

/// The work that nobody pushed and that machines alone have, the newest first. A task of its repository whose
/// `reference` is the commit of one that is under `refs/` runs on the machine that has it.
#[utoipa::path(
    get, path = "/kept-work", tag = "checkpoints",
    responses((status = 200, body = Vec<KeptWorkView>), (status = 401, body = Problem)))]
pub(super) async fn kept(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksRead>,
) -> Result<Json<Vec<KeptWorkView>>, ApiError> {
    Ok(Json(work::kept::list(&app.ctx, caller.tenant).await?))
}

/// One checkpoint, with the paths that differ from its commit.
#[utoipa::path(
    get, path = "/checkpoints/{id}", tag = "checkpoints", params(("id" = CheckpointId, Path)),
    responses((status = 200, body = CheckpointDetail), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn get(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksRead>,
    Id(id): Id<CheckpointId>,
) -> Result<Json<CheckpointDetail>, ApiError> {
    Ok(Json(checkpoints::get(&app.ctx, caller.tenant, id).await?))
}

/// The paths that are not the same in two checkpoints.
#[utoipa::path(
    get, path = "/checkpoints/{id}/diff/{other_id}", tag = "checkpoints",
    params(("id" = CheckpointId, Path), ("other_id" = CheckpointId, Path)),
    responses((status = 200, body = CheckpointDiff), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem)))]
pub(super) async fn diff(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksRead>,
    Ids(from, to): Ids<CheckpointId, CheckpointId>,
) -> Result<Json<CheckpointDiff>, ApiError> {
    Ok(Json(checkpoints::diff(&app.ctx, caller.tenant, from, to).await?))
}

/// Keeps a checkpoint whatever else is saved on its machine. Twice is no error.
#[utoipa::path(
    put, path = "/checkpoints/{id}/pin", tag = "checkpoints", params(("id" = CheckpointId, Path)),
    responses((status = 200, body = CheckpointView), (status = 401, body = Problem), (status = 404, body = Problem),
              (status = 409, body = Problem)))]
pub(super) async fn pin(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksWrite>,
    Id(id): Id<CheckpointId>,
) -> Result<Json<CheckpointView>, ApiError> {
    Ok(Json(checkpoints::pin(&app.ctx, caller.tenant, id, true).await?))
}

/// Lets a checkpoint go with the others of its age. Twice is no error.
#[utoipa::path(
    delete, path = "/checkpoints/{id}/pin", tag = "checkpoints", params(("id" = CheckpointId, Path)),
    responses((status = 200, body = CheckpointView), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn unpin(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksWrite>,
    Id(id): Id<CheckpointId>,
) -> Result<Json<CheckpointView>, ApiError> {
    Ok(Json(checkpoints::pin(&app.ctx, caller.tenant, id, false).await?))
}

/// Has the task's next attempt begin as a checkpoint left the workspace; one that has failed is ready again.
#[utoipa::path(
    post, path = "/tasks/{id}/restore", tag = "checkpoints", params(("id" = TaskId, Path)), request_body = Restore,
    responses((status = 200, body = TaskView), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn restore(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksWrite>,
    Id(id): Id<TaskId>,
    Body(restore): Body<Restore>,
) -> Result<Json<TaskView>, ApiError> {
    Ok(Json(checkpoints::restore(&app.ctx, caller.tenant, id, restore).await?))
}

/// Hears of a checkpoint that the worker has saved. Twice is no error.
#[utoipa::path(
    put, path = "/workers/{id}/checkpoints/{checkpoint_id}", tag = "worker protocol",
    params(("id" = WorkerId, Path), ("checkpoint_id" = CheckpointId, Path)), request_body = SavedCheckpoint,
    responses((status = 204), (status = 400, body = Problem), (status = 401, body = Problem)))]
pub(super) async fn tell(
    State(app): State<App>,
    ThisWorker(worker): ThisWorker,
    Ids(_, id): Ids<WorkerId, CheckpointId>,
    Body(saved): Body<SavedCheckpoint>,
) -> Result<StatusCode, ApiError> {
    if saved.id != id {
        return Err(kernel::Error::invalid("id", "is not the checkpoint that the path names").into());
    }
    checkpoints::tell(&app.ctx, &worker, saved).await?;
    Ok(StatusCode::NO_CONTENT)
}
