//! The pool's machines over HTTP.

use access::permission::MachinesRead;
use axum::Json;
use wire::machine::MachineView;
use wire::problem::Problem;

use super::caller::Allowed;
use super::problem::ApiError;
use super::{App, State};

/// Every machine of the pool that is not destroyed, oldest first.
#[utoipa::path(
    get, path = "/machines", tag = "pool",
    responses((status = 200, body = Vec<MachineView>), (status = 401, body = Problem)))]
pub(super) async fn list(
    State(app): State<App>,
    Allowed(..): Allowed<MachinesRead>,
) -> Result<Json<Vec<MachineView>>, ApiError> {
    let machines = pool::machines::list(&app.ctx).await?;
    Ok(Json(machines.into_iter().map(Into::into).collect()))
}
