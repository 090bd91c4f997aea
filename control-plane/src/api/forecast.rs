//! Looking ahead, over HTTP: the critical path and the dry run.

use access::permission::TasksRead;
use axum::Json;
use serde::Deserialize;
use wire::plan::{CriticalPath, Forecast, PlanRequest};
use wire::problem::Problem;

use super::body::{Body, Parameters};
use super::caller::Allowed;
use super::problem::ApiError;
use super::{App, State};

/// How much to show.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct CriticalPathQuery {
    /// Tasks with the least time to spare, 100 when absent, 10,000 at most.
    limit: Option<usize>,
}

/// The longest chain of open tasks, which decides how long all of it takes, and how much time others have to spare.
#[utoipa::path(
    get, path = "/tasks/critical-path", tag = "plan", params(CriticalPathQuery),
    responses((status = 200, body = CriticalPath), (status = 400, body = Problem), (status = 401, body = Problem)))]
pub(super) async fn critical_path(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksRead>,
    Parameters(query): Parameters<CriticalPathQuery>,
) -> Result<Json<CriticalPath>, ApiError> {
    Ok(Json(work::critical_path(&app.ctx, caller.tenant, query.limit).await?))
}

/// A dry run: how tasks would go on so many machines, what it would cost, and what would wait and why. Of the tasks
/// in the request, or of those that are stored and open. Nothing is stored or started.
#[utoipa::path(
    post, path = "/plan", tag = "plan", request_body = PlanRequest,
    responses((status = 200, body = Forecast), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 409, body = Problem)))]
pub(super) async fn plan(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksRead>,
    Body(request): Body<PlanRequest>,
) -> Result<Json<Forecast>, ApiError> {
    let price = work::micros_per_hour(app.pool.provider.dearest_rate());
    Ok(Json(work::forecast(&app.ctx, &app.work, price, caller.tenant, request).await?))
}
