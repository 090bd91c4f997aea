//! What the pool's machines cost, over HTTP.

use access::permission::MachinesRead;
use axum::Json;
use wire::cost::CostView;
use wire::problem::Problem;

use super::caller::Allowed;
use super::problem::ApiError;
use super::{App, State};

/// What runs, what it costs, and what should not be there.
#[utoipa::path(
    get, path = "/cost", tag = "pool",
    responses((status = 200, body = CostView), (status = 401, body = Problem)))]
pub(super) async fn report(
    State(app): State<App>,
    Allowed(..): Allowed<MachinesRead>,
) -> Result<Json<CostView>, ApiError> {
    Ok(Json(pool::money::report(&app.ctx, &app.pool).await?))
}
