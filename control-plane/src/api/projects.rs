//! Projects over HTTP.

use access::permission::{LimitsWrite, TasksRead};
use axum::Json;
use wire::admission::{ProjectView, ProjectWeight};
use wire::problem::Problem;
use work::projects;

use super::body::{Body, Word};
use super::caller::Allowed;
use super::problem::ApiError;
use super::{App, State};

/// Every project that was weighed or has a task in hand or waiting, by name; the empty name is that of tasks in none.
#[utoipa::path(
    get, path = "/projects", tag = "admission",
    responses((status = 200, body = Vec<ProjectView>), (status = 401, body = Problem)))]
pub(super) async fn list(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksRead>,
) -> Result<Json<Vec<ProjectView>>, ApiError> {
    Ok(Json(projects::list(&app.ctx, caller.tenant).await?))
}

/// Says which share of the workers a project gets while others have work of the same priority.
#[utoipa::path(
    put, path = "/projects/{project}", tag = "admission", params(("project" = String, Path)), request_body = ProjectWeight,
    responses((status = 200, body = ProjectView), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 403, body = Problem)))]
pub(super) async fn weigh(
    State(app): State<App>,
    Allowed(caller, _): Allowed<LimitsWrite>,
    Word(project): Word,
    Body(new): Body<ProjectWeight>,
) -> Result<Json<ProjectView>, ApiError> {
    Ok(Json(projects::weigh(&app.ctx, caller.tenant, &project, new).await?))
}
