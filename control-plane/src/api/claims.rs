//! Claims over HTTP; see [`wire::claim`].

use access::permission::TasksWrite;
use axum::Json;
use wire::claim::{Claim, CompletionView, Completions, LeaseView, NewClaim, ReleaseClaim, RenewClaim, StartClaim};
use wire::execution::ExecutionView;
use wire::id::ExecutionId;
use wire::problem::Problem;

use super::body::{Body, Id};
use super::caller::Allowed;
use super::problem::{ApiError, translate};
use super::{App, State};

/// Claims ready tasks for a worker outside the pool, the most urgent and then the oldest first; waits where there
/// are none, if asked to. Nothing to claim is an empty list.
#[utoipa::path(
    post, path = "/tasks/claim", tag = "claims", request_body = NewClaim,
    responses((status = 200, body = Vec<Claim>), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 403, body = Problem), (status = 409, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn claim(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksWrite>,
    Body(claim): Body<NewClaim>,
) -> Result<Json<Vec<Claim>>, ApiError> {
    Ok(Json(app.desk.claim(&app.ctx, caller.tenant, claim).await?))
}

/// Says that work on a claimed task has begun.
#[utoipa::path(
    post, path = "/executions/{id}/start", tag = "claims", params(("id" = ExecutionId, Path)), request_body = StartClaim,
    responses((status = 200, body = LeaseView), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem), (status = 409, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn start(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksWrite>,
    Id(id): Id<ExecutionId>,
    Body(start): Body<StartClaim>,
) -> Result<Json<LeaseView>, ApiError> {
    Ok(Json(app.desk.start(&app.ctx, caller.tenant, id, start).await?))
}

/// Renews the lease of a claimed task; the answer says whether the task was called off meanwhile.
#[utoipa::path(
    post, path = "/executions/{id}/heartbeat", tag = "claims", params(("id" = ExecutionId, Path)),
    request_body = RenewClaim,
    responses((status = 200, body = LeaseView), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem), (status = 409, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn heartbeat(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksWrite>,
    Id(id): Id<ExecutionId>,
    Body(renew): Body<RenewClaim>,
) -> Result<Json<LeaseView>, ApiError> {
    Ok(Json(app.desk.renew(&app.ctx, caller.tenant, id, renew).await?))
}

/// Gives a claimed task back: it is ready again, and that spends no attempt.
#[utoipa::path(
    post, path = "/executions/{id}/release", tag = "claims", params(("id" = ExecutionId, Path)),
    request_body = ReleaseClaim,
    responses((status = 200, body = ExecutionView), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem), (status = 409, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn release(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksWrite>,
    Id(id): Id<ExecutionId>,
    Body(release): Body<ReleaseClaim>,
) -> Result<Json<ExecutionView>, ApiError> {
    Ok(Json(app.desk.release(&app.ctx, caller.tenant, id, release).await?))
}

/// Ends up to 100 executions, each by itself: what became of each is in the answer, in the same order.
#[utoipa::path(
    post, path = "/executions/complete", tag = "claims", request_body = Completions,
    responses((status = 200, body = Vec<CompletionView>), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 403, body = Problem)))]
pub(super) async fn complete_all(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksWrite>,
    Body(all): Body<Completions>,
) -> Result<Json<Vec<CompletionView>>, ApiError> {
    let answers = app.desk.complete_all(&app.ctx, caller.tenant, all).await?;
    let view = |(execution_id, answer)| match answer {
        Ok(status) => CompletionView { execution_id, task_status: Some(status), problem: None },
        Err(error) => CompletionView { execution_id, task_status: None, problem: Some(translate(&error)) },
    };
    Ok(Json(answers.into_iter().map(view).collect()))
}
