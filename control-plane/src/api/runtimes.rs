//! Runtimes and the words for their agents, over HTTP.

use access::permission::{RuntimesOperate, RuntimesRead, RuntimesWrite};
use axum::Json;
use axum::http::StatusCode;
use wire::id::RuntimeId;
use wire::problem::Problem;
use wire::runtime::{
    ForcedTrigger, NewRuntime, NewTrigger, NextTrigger, Pause, RuntimeHeartbeat, RuntimeView, ToWrite, TriggerReport,
    TriggerView,
};

use super::body::{Body, Id};
use super::caller::Allowed;
use super::problem::ApiError;
use super::{App, State};

/// Registers an agent's terminal, for its supervisor. The same session again is the same runtime.
#[utoipa::path(
    post, path = "/runtimes", tag = "runtimes", request_body = NewRuntime,
    responses((status = 200, body = RuntimeView), (status = 400, body = Problem), (status = 401, body = Problem)))]
pub(super) async fn register(
    State(app): State<App>,
    Allowed(caller, _): Allowed<RuntimesWrite>,
    Body(new): Body<NewRuntime>,
) -> Result<Json<RuntimeView>, ApiError> {
    Ok(Json(::runtimes::register(&app.ctx, &app.runtimes, caller.tenant, &new).await?))
}

/// Every runtime, those that live and were heard of last first; 1,000 at most.
#[utoipa::path(
    get, path = "/runtimes", tag = "runtimes",
    responses((status = 200, body = Vec<RuntimeView>), (status = 401, body = Problem)))]
pub(super) async fn list(
    State(app): State<App>,
    Allowed(caller, _): Allowed<RuntimesRead>,
) -> Result<Json<Vec<RuntimeView>>, ApiError> {
    Ok(Json(::runtimes::list(&app.ctx, &app.runtimes, caller.tenant).await?))
}

/// One runtime.
#[utoipa::path(
    get, path = "/runtimes/{id}", tag = "runtimes", params(("id" = RuntimeId, Path)),
    responses((status = 200, body = RuntimeView), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn get(
    State(app): State<App>,
    Allowed(caller, _): Allowed<RuntimesRead>,
    Id(id): Id<RuntimeId>,
) -> Result<Json<RuntimeView>, ApiError> {
    Ok(Json(::runtimes::get(&app.ctx, &app.runtimes, caller.tenant, id).await?))
}

/// Says that a runtime has ended. What waits for it fails.
#[utoipa::path(
    delete, path = "/runtimes/{id}", tag = "runtimes", params(("id" = RuntimeId, Path)),
    responses((status = 204), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn deregister(
    State(app): State<App>,
    Allowed(caller, _): Allowed<RuntimesWrite>,
    Id(id): Id<RuntimeId>,
) -> Result<StatusCode, ApiError> {
    ::runtimes::deregister(&app.ctx, &app.runtimes, caller.tenant, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Says that a runtime's supervisor is there, and how far its agent has read. What was written and is read is delivered.
#[utoipa::path(
    post, path = "/runtimes/{id}/heartbeat", tag = "runtimes", params(("id" = RuntimeId, Path)),
    request_body = RuntimeHeartbeat,
    responses((status = 200, body = RuntimeView), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn heartbeat(
    State(app): State<App>,
    Allowed(caller, _): Allowed<RuntimesWrite>,
    Id(id): Id<RuntimeId>,
    Body(beat): Body<RuntimeHeartbeat>,
) -> Result<Json<RuntimeView>, ApiError> {
    Ok(Json(::runtimes::heartbeat(&app.ctx, &app.runtimes, caller.tenant, id, beat).await?))
}

/// Has nothing written to a runtime until it is resumed; triggers wait.
#[utoipa::path(
    post, path = "/runtimes/{id}/pause", tag = "runtimes", params(("id" = RuntimeId, Path)), request_body = Pause,
    responses((status = 200, body = RuntimeView), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem)))]
pub(super) async fn pause(
    State(app): State<App>,
    Allowed(caller, _): Allowed<RuntimesOperate>,
    Id(id): Id<RuntimeId>,
    Body(pause): Body<Pause>,
) -> Result<Json<RuntimeView>, ApiError> {
    Ok(Json(::runtimes::pause(&app.ctx, &app.runtimes, caller.tenant, id, &pause).await?))
}

/// Has what waits for a runtime written.
#[utoipa::path(
    post, path = "/runtimes/{id}/resume", tag = "runtimes", params(("id" = RuntimeId, Path)),
    responses((status = 200, body = RuntimeView), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn resume(
    State(app): State<App>,
    Allowed(caller, _): Allowed<RuntimesOperate>,
    Id(id): Id<RuntimeId>,
) -> Result<Json<RuntimeView>, ApiError> {
    Ok(Json(::runtimes::resume(&app.ctx, &app.runtimes, caller.tenant, id).await?))
}

/// A runtime's triggers, the newest first; 200 at most.
#[utoipa::path(
    get, path = "/runtimes/{id}/triggers", tag = "runtimes", params(("id" = RuntimeId, Path)),
    responses((status = 200, body = Vec<TriggerView>), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn triggers(
    State(app): State<App>,
    Allowed(caller, _): Allowed<RuntimesRead>,
    Id(id): Id<RuntimeId>,
) -> Result<Json<Vec<TriggerView>>, ApiError> {
    Ok(Json(::runtimes::triggers(&app.ctx, caller.tenant, id).await?))
}

/// Asks for words to be typed to an agent, when nobody else types there. The answer to the key of another trigger that
/// waits, or was delivered in the last ten minutes, is that one. A runtime takes 30 in a minute.
#[utoipa::path(
    post, path = "/runtimes/{id}/triggers", tag = "runtimes", params(("id" = RuntimeId, Path)), request_body = NewTrigger,
    responses((status = 200, body = TriggerView), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem), (status = 409, body = Problem), (status = 429, body = Problem)))]
pub(super) async fn trigger(
    State(app): State<App>,
    Allowed(caller, _): Allowed<RuntimesWrite>,
    Id(id): Id<RuntimeId>,
    Body(new): Body<NewTrigger>,
) -> Result<Json<TriggerView>, ApiError> {
    Ok(Json(::runtimes::trigger(&app.ctx, &app.runtimes, caller.tenant, id, &new).await?))
}

/// Asks for words to be typed to an agent whoever types there, and although the runtime is paused.
#[utoipa::path(
    post, path = "/runtimes/{id}/force", tag = "runtimes", params(("id" = RuntimeId, Path)), request_body = ForcedTrigger,
    responses((status = 200, body = TriggerView), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem), (status = 409, body = Problem), (status = 429, body = Problem)))]
pub(super) async fn force(
    State(app): State<App>,
    Allowed(caller, _): Allowed<RuntimesOperate>,
    Id(id): Id<RuntimeId>,
    Body(forced): Body<ForcedTrigger>,
) -> Result<Json<TriggerView>, ApiError> {
    Ok(Json(::runtimes::force(&app.ctx, &app.runtimes, caller.tenant, id, &forced).await?))
}

/// Waits until a supervisor has something to write, at most as long as is asked.
#[utoipa::path(
    post, path = "/runtimes/{id}/next", tag = "runtimes", params(("id" = RuntimeId, Path)), request_body = NextTrigger,
    responses((status = 200, body = ToWrite), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn next(
    State(app): State<App>,
    Allowed(caller, _): Allowed<RuntimesWrite>,
    Id(id): Id<RuntimeId>,
    Body(asked): Body<NextTrigger>,
) -> Result<Json<ToWrite>, ApiError> {
    tokio::select! {
        next = ::runtimes::next(&app.ctx, &app.runtimes, caller.tenant, id, asked) => Ok(Json(next?)),
        // A server that stops must not wait for those who wait for it.
        () = app.serving.stopping() => Ok(Json(ToWrite::default())),
    }
}

/// Says what became of what a supervisor was to write.
#[utoipa::path(
    post, path = "/runtimes/{id}/report", tag = "runtimes", params(("id" = RuntimeId, Path)),
    request_body = TriggerReport,
    responses((status = 200, body = TriggerView), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem)))]
pub(super) async fn report(
    State(app): State<App>,
    Allowed(caller, _): Allowed<RuntimesWrite>,
    Id(id): Id<RuntimeId>,
    Body(told): Body<TriggerReport>,
) -> Result<Json<TriggerView>, ApiError> {
    Ok(Json(::runtimes::report(&app.ctx, &app.runtimes, caller.tenant, id, &told).await?))
}
