//! Many tasks at once, over HTTP.

use access::permission::TasksWrite;
use axum::Json;
use wire::bulk::{BulkAnswer, BulkResult, Selection};
use wire::problem::Problem;
use work::tasks::bulk::{self, Done};

use super::body::Body;
use super::caller::Allowed;
use super::problem::{self, ApiError};
use super::{App, State};

/// Calls up to 100 tasks off, or all that match a filter; each by itself, with a result for each.
#[utoipa::path(
    post, path = "/tasks/cancel", tag = "tasks", request_body = Selection,
    responses((status = 200, body = BulkAnswer), (status = 400, body = Problem), (status = 401, body = Problem)))]
pub(super) async fn cancel(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksWrite>,
    Body(selection): Body<Selection>,
) -> Result<Json<BulkAnswer>, ApiError> {
    Ok(Json(answer(bulk::cancel(&app.ctx, &app.work, caller.tenant, selection).await?)))
}

/// Makes up to 100 failed tasks ready again, or all that match a filter; each by itself, with a result for each.
#[utoipa::path(
    post, path = "/tasks/retry", tag = "tasks", request_body = Selection,
    responses((status = 200, body = BulkAnswer), (status = 400, body = Problem), (status = 401, body = Problem)))]
pub(super) async fn retry(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksWrite>,
    Body(selection): Body<Selection>,
) -> Result<Json<BulkAnswer>, ApiError> {
    Ok(Json(answer(bulk::retry(&app.ctx, caller.tenant, selection).await?)))
}

fn answer(done: Done) -> BulkAnswer {
    let results = done.results.into_iter().map(|(id, result)| match result {
        Ok(status) => BulkResult { id, status: Some(status), problem: None },
        Err(error) => BulkResult { id, status: None, problem: Some(problem::translate(&error)) },
    });
    BulkAnswer { results: results.collect(), remaining: done.remaining }
}
