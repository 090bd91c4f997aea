//! Metadata and tags over HTTP.

use std::collections::BTreeMap;

use access::permission::{TasksRead, TasksWrite};
use axum::Json;
use serde::Deserialize;
use wire::id::TaskId;
use wire::metadata::{CustomField, MetadataAnswer, MetadataView, NewMetadata, Tags};
use wire::problem::Problem;
use wire::task::TaskView;
use work::metadata;

use super::body::{Body, Id, Parameters, Word};
use super::caller::Allowed;
use super::problem::ApiError;
use super::{App, State};

/// Gives a key of a task its value, in place of an earlier one.
#[utoipa::path(
    post, path = "/tasks/{id}/metadata", tag = "metadata", params(("id" = TaskId, Path)), request_body = NewMetadata,
    responses((status = 200, body = MetadataView), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem)))]
pub(super) async fn set(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksWrite>,
    Id(id): Id<TaskId>,
    Body(new): Body<NewMetadata>,
) -> Result<Json<MetadataView>, ApiError> {
    Ok(Json(metadata::set(&app.ctx, caller.tenant, id, new).await?))
}

/// Which key.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyQuery {
    /// Only the value of this key.
    key: Option<String>,
}

/// Every key of a task with its value, or the value of one key.
#[utoipa::path(
    get, path = "/tasks/{id}/metadata", tag = "metadata", params(("id" = TaskId, Path), KeyQuery),
    responses((status = 200, body = MetadataAnswer), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn get(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksRead>,
    Id(id): Id<TaskId>,
    Parameters(query): Parameters<KeyQuery>,
) -> Result<Json<MetadataAnswer>, ApiError> {
    Ok(Json(metadata::get(&app.ctx, caller.tenant, id, query.key.as_deref()).await?))
}

/// Every key of up to 1,000 tasks, by the tasks' ids. A task that does not exist is left out.
#[utoipa::path(
    post, path = "/tasks/metadata/batch", tag = "metadata", request_body = Vec<TaskId>,
    responses((status = 200, body = BTreeMap<String, BTreeMap<String, String>>), (status = 400, body = Problem),
              (status = 401, body = Problem)))]
pub(super) async fn of_tasks(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksRead>,
    Body(tasks): Body<Vec<TaskId>>,
) -> Result<Json<BTreeMap<TaskId, BTreeMap<String, String>>>, ApiError> {
    Ok(Json(metadata::of_tasks(&app.ctx, caller.tenant, &tasks).await?))
}

/// Every key in use and on how many tasks.
#[utoipa::path(
    get, path = "/schema/custom-fields", tag = "metadata",
    responses((status = 200, body = Vec<CustomField>), (status = 401, body = Problem)))]
pub(super) async fn custom_fields(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksRead>,
) -> Result<Json<Vec<CustomField>>, ApiError> {
    Ok(Json(metadata::custom_fields(&app.ctx, caller.tenant).await?))
}

/// Gives a task these tags in place of those it has.
#[utoipa::path(
    post, path = "/tasks/{id}/tags", tag = "metadata", params(("id" = TaskId, Path)), request_body = Tags,
    responses((status = 200, body = Tags), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem)))]
pub(super) async fn tag(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksWrite>,
    Id(id): Id<TaskId>,
    Body(tags): Body<Tags>,
) -> Result<Json<Tags>, ApiError> {
    Ok(Json(metadata::tag(&app.ctx, caller.tenant, id, tags).await?))
}

/// Tasks that carry the tag, most urgent and then oldest first, up to 1,000.
#[utoipa::path(
    get, path = "/tasks/by-tag/{tag}", tag = "metadata", params(("tag" = String, Path)),
    responses((status = 200, body = Vec<TaskView>), (status = 401, body = Problem)))]
pub(super) async fn tagged(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksRead>,
    Word(tag): Word,
) -> Result<Json<Vec<TaskView>>, ApiError> {
    Ok(Json(metadata::tagged(&app.ctx, caller.tenant, &tag).await?))
}
