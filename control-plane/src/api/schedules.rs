//! Schedules over HTTP.

use access::permission::{TasksRead, TasksWrite};
use axum::Json;
use axum::http::{HeaderMap, StatusCode};
use wire::id::ScheduleId;
use wire::problem::Problem;
use wire::schedule::{NewSchedule, ScheduleChange, ScheduleView};
use work::schedules;

use super::body::{Body, Id, attempt};
use super::caller::Allowed;
use super::problem::ApiError;
use super::{App, State};

/// Every schedule, the oldest first.
#[utoipa::path(
    get, path = "/schedules", tag = "schedules",
    responses((status = 200, body = Vec<ScheduleView>), (status = 401, body = Problem)))]
pub(super) async fn list(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksRead>,
) -> Result<Json<Vec<ScheduleView>>, ApiError> {
    Ok(Json(schedules::list(&app.ctx, caller.tenant).await?))
}

/// One schedule.
#[utoipa::path(
    get, path = "/schedules/{id}", tag = "schedules", params(("id" = ScheduleId, Path)),
    responses((status = 200, body = ScheduleView), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn get(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksRead>,
    Id(id): Id<ScheduleId>,
) -> Result<Json<ScheduleView>, ApiError> {
    Ok(Json(schedules::get(&app.ctx, caller.tenant, id).await?))
}

/// Makes a schedule: a task that is submitted again and again, by a cron expression in a time zone.
#[utoipa::path(
    post, path = "/schedules", tag = "schedules", request_body = NewSchedule,
    params(("idempotency-key" = Option<String>, Header, description = "Makes a repeat give the first answer")),
    responses((status = 201, body = ScheduleView), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 403, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn create(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksWrite>,
    headers: HeaderMap,
    Body(new): Body<NewSchedule>,
) -> Result<(StatusCode, Json<ScheduleView>), ApiError> {
    let attempt = attempt(&headers, "schedules.create", &new)?;
    let schedule = schedules::create(&app.ctx, &app.work, caller.tenant, new, attempt.as_ref()).await?;
    Ok((StatusCode::CREATED, Json(schedule)))
}

/// Changes some fields of a schedule. Another time, and the end of a rest, count from now.
#[utoipa::path(
    patch, path = "/schedules/{id}", tag = "schedules", params(("id" = ScheduleId, Path)), request_body = ScheduleChange,
    responses((status = 200, body = ScheduleView), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 403, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn update(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksWrite>,
    Id(id): Id<ScheduleId>,
    Body(change): Body<ScheduleChange>,
) -> Result<Json<ScheduleView>, ApiError> {
    Ok(Json(schedules::update(&app.ctx, &app.work, caller.tenant, id, change).await?))
}

/// Removes a schedule. The tasks that it made stay.
#[utoipa::path(
    delete, path = "/schedules/{id}", tag = "schedules", params(("id" = ScheduleId, Path)),
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem),
              (status = 404, body = Problem)))]
pub(super) async fn delete(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksWrite>,
    Id(id): Id<ScheduleId>,
) -> Result<StatusCode, ApiError> {
    schedules::delete(&app.ctx, caller.tenant, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
