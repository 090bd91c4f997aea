//! Proposals over HTTP.

use access::permission::{LimitsWrite, TasksRead, TasksWrite};
use axum::Json;
use wire::id::TaskId;
use wire::problem::Problem;
use wire::proposal::{NewProposals, ProposalView, Proposed};
use wire::task::TaskView;
use work::proposals;

use super::body::{Body, Id};
use super::caller::Allowed;
use super::problem::ApiError;
use super::{App, State};

/// The proposals that wait for a person, the newest first; 1,000 at most.
#[utoipa::path(
    get, path = "/proposals", tag = "proposals",
    responses((status = 200, body = Vec<ProposalView>), (status = 401, body = Problem)))]
pub(super) async fn list(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksRead>,
) -> Result<Json<Vec<ProposalView>>, ApiError> {
    Ok(Json(proposals::list(&app.ctx, caller.tenant).await?))
}

/// Makes a task for each thing that was found and is new, held until somebody accepts it. What is known by its source
/// already is answered with the task that it became, so this may be repeated at any time.
#[utoipa::path(
    post, path = "/proposals", tag = "proposals", request_body = NewProposals,
    responses((status = 200, body = Vec<Proposed>), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 403, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn propose(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksWrite>,
    Body(new): Body<NewProposals>,
) -> Result<Json<Vec<Proposed>>, ApiError> {
    let key = caller.key.to_string();
    Ok(Json(proposals::propose(&app.ctx, &app.work, caller.tenant, &key, &new.proposals).await?))
}

/// Lets a proposed task start. Whoever wants it not to cancels it.
#[utoipa::path(
    post, path = "/tasks/{id}/accept", tag = "proposals", params(("id" = TaskId, Path)),
    responses((status = 200, body = TaskView), (status = 401, body = Problem), (status = 403, body = Problem),
              (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn accept(
    State(app): State<App>,
    Allowed(caller, _): Allowed<LimitsWrite>,
    Id(id): Id<TaskId>,
) -> Result<Json<TaskView>, ApiError> {
    Ok(Json(proposals::accept(&app.ctx, caller.tenant, id).await?))
}
