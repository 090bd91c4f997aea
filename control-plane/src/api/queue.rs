//! The queue over HTTP.

use access::permission::TasksRead;
use axum::Json;
use wire::problem::Problem;
use wire::queue::QueueView;

use super::caller::Allowed;
use super::problem::ApiError;
use super::{App, State};

/// How many tasks wait, and for what, and how much the workers could take at once.
#[utoipa::path(
    get, path = "/queue", tag = "pool",
    responses((status = 200, body = QueueView), (status = 401, body = Problem)))]
pub(super) async fn look(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksRead>,
) -> Result<Json<QueueView>, ApiError> {
    Ok(Json(work::queue::look(&app.ctx, caller.tenant).await?))
}
