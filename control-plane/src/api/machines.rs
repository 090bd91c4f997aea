//! The pool's machines over HTTP.

use access::permission::{MachinesRead, MachinesWrite};
use axum::Json;
use serde::Deserialize;
use wire::id::{MachineId, VolumeId};
use wire::machine::{Abandonment, AppAbandonment, KeptVolumeView, MachineView, SweepOrder, SweepView};
use wire::problem::Problem;

use super::body::{Body, Id, Parameters};
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

/// One machine of the pool.
#[utoipa::path(
    get, path = "/machines/{id}", tag = "pool", params(("id" = MachineId, Path)),
    responses((status = 200, body = MachineView), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn get(
    State(app): State<App>,
    Allowed(..): Allowed<MachinesRead>,
    Id(id): Id<MachineId>,
) -> Result<Json<MachineView>, ApiError> {
    Ok(Json(pool::machines::get(&app.ctx, id).await?.into()))
}

/// Declares a machine's batch over: it saves a checkpoint and sleeps. Waiting work wakes it again.
#[utoipa::path(
    post, path = "/machines/{id}/suspend", tag = "pool", params(("id" = MachineId, Path)),
    responses((status = 200, body = MachineView), (status = 401, body = Problem), (status = 404, body = Problem),
              (status = 409, body = Problem)))]
pub(super) async fn suspend(
    State(app): State<App>,
    Allowed(..): Allowed<MachinesWrite>,
    Id(id): Id<MachineId>,
) -> Result<Json<MachineView>, ApiError> {
    Ok(Json(pool::machines::suspend(&app.ctx, id).await?.into()))
}

/// Wakes a machine that sleeps, if the budgets pay for that.
#[utoipa::path(
    post, path = "/machines/{id}/resume", tag = "pool", params(("id" = MachineId, Path)),
    responses((status = 200, body = MachineView), (status = 401, body = Problem), (status = 404, body = Problem),
              (status = 409, body = Problem)))]
pub(super) async fn resume(
    State(app): State<App>,
    Allowed(..): Allowed<MachinesWrite>,
    Id(id): Id<MachineId>,
) -> Result<Json<MachineView>, ApiError> {
    Ok(Json(pool::machines::resume(&app.ctx, &app.pool, id).await?.into()))
}

/// How to destroy a machine.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct HowToDestroy {
    /// Also one whose worker has work, which is then given to another, or whose volume alone has somebody's, which is
    /// then lost.
    #[serde(default)]
    force: bool,
}

/// Destroys a machine with its volume.
#[utoipa::path(
    delete, path = "/machines/{id}", tag = "pool", params(("id" = MachineId, Path), HowToDestroy),
    responses((status = 200, body = MachineView), (status = 401, body = Problem), (status = 404, body = Problem),
              (status = 409, body = Problem)))]
pub(super) async fn destroy(
    State(app): State<App>,
    Allowed(..): Allowed<MachinesWrite>,
    Id(id): Id<MachineId>,
    Parameters(how): Parameters<HowToDestroy>,
) -> Result<Json<MachineView>, ApiError> {
    Ok(Json(pool::machines::destroy(&app.ctx, &app.work_on_disks, id, how.force).await?.into()))
}

/// Gives a machine up without asking the provider; what is left of it is reaped as an orphan.
#[utoipa::path(
    post, path = "/machines/{id}/abandon", tag = "pool", params(("id" = MachineId, Path)), request_body = Abandonment,
    responses((status = 200, body = MachineView), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn abandon(
    State(app): State<App>,
    Allowed(..): Allowed<MachinesWrite>,
    Id(id): Id<MachineId>,
    Body(abandonment): Body<Abandonment>,
) -> Result<Json<MachineView>, ApiError> {
    let Abandonment { reason, force } = abandonment;
    let machine = pool::machines::abandon(&app.ctx, &app.work_on_disks, id, &reason, force).await?;
    Ok(Json(machine.into()))
}

/// Gives up all machines at once, where the provider does not know their app any more.
#[utoipa::path(
    post, path = "/machines/abandon", tag = "pool", request_body = AppAbandonment,
    responses((status = 200, body = Vec<MachineView>), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 409, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn abandon_app(
    State(app): State<App>,
    Allowed(..): Allowed<MachinesWrite>,
    Body(abandonment): Body<AppAbandonment>,
) -> Result<Json<Vec<MachineView>>, ApiError> {
    let machines = pool::machines::abandon_app(&app.ctx, &app.provider, &app.pool, &abandonment).await?;
    Ok(Json(machines.into_iter().map(Into::into).collect()))
}

/// Destroys a volume that was kept, when its machine was given up or moved, for the work that it alone has.
#[utoipa::path(
    delete, path = "/volumes/{id}", tag = "pool", params(("id" = VolumeId, Path)),
    responses((status = 200, body = KeptVolumeView), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn discard_volume(
    State(app): State<App>,
    Allowed(..): Allowed<MachinesWrite>,
    Id(id): Id<VolumeId>,
) -> Result<Json<KeptVolumeView>, ApiError> {
    Ok(Json(pool::kept::discard(&app.ctx, &app.pool, id).await?))
}

/// What the last comparison of registry and provider found.
#[utoipa::path(
    get, path = "/machines/sweep", tag = "pool",
    responses((status = 200, body = SweepView), (status = 401, body = Problem)))]
pub(super) async fn last_sweep(
    State(app): State<App>,
    Allowed(..): Allowed<MachinesRead>,
) -> Result<Json<SweepView>, ApiError> {
    Ok(Json(pool::orphans::last_sweep(&app.ctx).await?))
}

/// The same; with `reap`, what carries the pool's mark and has no row is destroyed now, whatever its age.
#[utoipa::path(
    post, path = "/machines/sweep", tag = "pool", request_body = SweepOrder,
    responses((status = 200, body = SweepView), (status = 400, body = Problem), (status = 401, body = Problem)))]
pub(super) async fn sweep(
    State(app): State<App>,
    Allowed(..): Allowed<MachinesWrite>,
    Body(order): Body<SweepOrder>,
) -> Result<Json<SweepView>, ApiError> {
    let found = match order.reap {
        true => pool::orphans::approve(&app.ctx).await?,
        false => pool::orphans::last_sweep(&app.ctx).await?,
    };
    Ok(Json(found))
}
