//! Outcomes of tasks over HTTP.

use access::permission::{TasksRead, TasksWrite};
use axum::Json;
use axum::http::StatusCode;
use wire::id::TaskId;
use wire::outcome::{NewOutcome, OutcomeName, OutcomeView};
use wire::problem::Problem;
use work::outcomes;

use super::body::{Body, Id, IdAndWord};
use super::caller::Allowed;
use super::problem::ApiError;
use super::{App, State};

/// What is true of a task besides its status, by name.
#[utoipa::path(
    get, path = "/tasks/{id}/outcomes", tag = "outcomes", params(("id" = TaskId, Path)),
    responses((status = 200, body = Vec<OutcomeView>), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn list(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksRead>,
    Id(id): Id<TaskId>,
) -> Result<Json<Vec<OutcomeView>>, ApiError> {
    Ok(Json(outcomes::list(&app.ctx, caller.tenant, id).await?))
}

/// Notes that something is true of a task: `merged`, `ci_green`, `approved` or `artefact:NAME`. What waits for
/// it may start. Twice is no error.
#[utoipa::path(
    put, path = "/tasks/{id}/outcomes/{name}", tag = "outcomes",
    params(("id" = TaskId, Path), ("name" = String, Path)), request_body = NewOutcome,
    responses((status = 200, body = OutcomeView), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn set(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksWrite>,
    IdAndWord(id, name): IdAndWord<TaskId>,
    Body(new): Body<NewOutcome>,
) -> Result<Json<OutcomeView>, ApiError> {
    Ok(Json(outcomes::set(&app.ctx, caller.tenant, id, outcome(&name)?, new).await?))
}

/// Withdraws it: what needs it and has not begun waits again.
#[utoipa::path(
    delete, path = "/tasks/{id}/outcomes/{name}", tag = "outcomes",
    params(("id" = TaskId, Path), ("name" = String, Path)),
    responses((status = 204), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem)))]
pub(super) async fn withdraw(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksWrite>,
    IdAndWord(id, name): IdAndWord<TaskId>,
) -> Result<StatusCode, ApiError> {
    outcomes::withdraw(&app.ctx, caller.tenant, id, outcome(&name)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn outcome(name: &str) -> Result<OutcomeName, ApiError> {
    name.parse().map_err(|error: wire::outcome::NotAnOutcome| kernel::Error::invalid("name", error.to_string()).into())
}
