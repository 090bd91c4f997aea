//! The record over HTTP: what the private event store holds, for callers who may see it.

use access::permission::EventsRead;
use axum::Json;
use serde::Deserialize;
use wire::event::EventPage;
use wire::id::TaskId;
use wire::problem::Problem;

use super::body::{Id, Parameters};
use super::caller::Allowed;
use super::problem::ApiError;
use super::{App, State};

/// The most events of one page.
const PAGE_MAX: u32 = 1_000;

/// Which page.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct PageQuery {
    /// Behind this place in the log; 0 is its beginning.
    #[serde(default)]
    after: u64,
    /// At most this many, 1,000 when absent and at most.
    limit: Option<u32>,
}

impl PageQuery {
    fn limit(&self) -> u32 {
        self.limit.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX)
    }
}

/// A page of the whole record, oldest first; the end is reached when one is empty.
#[utoipa::path(
    get, path = "/events", tag = "record", params(PageQuery),
    responses((status = 200, description = "{\"events\": [...]}: events with their place `seq`"),
              (status = 401, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn feed(
    State(app): State<App>,
    Allowed(..): Allowed<EventsRead>,
    Parameters(query): Parameters<PageQuery>,
) -> Result<Json<EventPage>, ApiError> {
    app.events.feed(query.after, query.limit()).await.map(Json).map_err(unavailable)
}

/// A page of one task's record, oldest first; the end is reached when one is empty.
#[utoipa::path(
    get, path = "/events/{id}", tag = "record", params(("id" = TaskId, Path), PageQuery),
    responses((status = 200, description = "{\"events\": [...]}: events with their place `seq`"),
              (status = 401, body = Problem), (status = 404, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn of_task(
    State(app): State<App>,
    Allowed(caller, _): Allowed<EventsRead>,
    Id(id): Id<TaskId>,
    Parameters(query): Parameters<PageQuery>,
) -> Result<Json<EventPage>, ApiError> {
    // Another tenant's task does not exist, and so its events do not either.
    work::tasks::get(&app.ctx, caller.tenant, id).await?;
    app.events.task_events(id, query.after, query.limit()).await.map(Json).map_err(unavailable)
}

pub(super) fn unavailable(error: client::Error) -> ApiError {
    kernel::Error::Unavailable { dependency: "the event store", source: Box::new(error) }.into()
}
