//! The live stream over HTTP, as server-sent events: what happens, while it
//! happens. Each message's id is its place; a reader that comes back with the last
//! one it saw misses nothing, also across a restart of ours. A comment every few
//! seconds shows that the connection lives.

use std::convert::Infallible;
use std::time::Duration;

use access::permission::{Permission, TasksRead};
use axum::http::HeaderMap;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::Stream;
use kernel::Error;
use serde::Deserialize;
use serde_json::json;
use signals::live::{Follower, News, Wanted};
use wire::event::kind;
use wire::id::TaskId;
use wire::problem::Problem;

use super::body::{Id, Parameters};
use super::caller::Allowed;
use super::logs::message;
use super::problem::ApiError;
use super::{App, State};

/// How often a reader that nothing happens for is told that somebody is there.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);
/// The header in which a reader says how far it came.
const LAST_EVENT_ID: &str = "last-event-id";

/// What to follow.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct StreamQuery {
    /// Only events of these types, with commas between: `task.started`, or `task.*` for all of a kind.
    types: Option<String>,
}

/// Everything that happens: first `open`, whose id is the place now; then each event under its type. `gap` says
/// that what lies between two places is no longer kept: look at what you follow anew.
#[utoipa::path(
    get, path = "/stream", tag = "live",
    params(StreamQuery, ("last-event-id" = Option<i64>, Header, description = "Resume behind it")),
    responses((status = 200, description = "text/event-stream of open, gap and events by their type"),
              (status = 400, body = Problem), (status = 401, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn all(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksRead>,
    Parameters(query): Parameters<StreamQuery>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let wanted = Wanted {
        tenant: caller.tenant,
        is_shared_wanted: caller.permissions.allow(Permission::MachinesRead),
        task: None,
        types: query.types.as_deref().map_or(Ok(Vec::new()), Wanted::types)?,
    };
    let follower = app.live.follow(&app.ctx, last_event_id(&headers)?, wanted).await?;
    let open = open(&follower);
    Ok(followed(app, follower, open))
}

/// What happens to one task: first `task`, the task as it is, or where the stream is resumed `open`; then each event
/// under its type, until it is deleted.
#[utoipa::path(
    get, path = "/tasks/{id}/events", tag = "live",
    params(("id" = TaskId, Path), ("last-event-id" = Option<i64>, Header, description = "Resume behind it")),
    responses((status = 200, description = "text/event-stream of task or open, gap and events by their type"),
              (status = 400, body = Problem), (status = 401, body = Problem), (status = 404, body = Problem),
              (status = 503, body = Problem)))]
pub(super) async fn of_task(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksRead>,
    Id(id): Id<TaskId>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let wanted = Wanted { tenant: caller.tenant, is_shared_wanted: false, task: Some(id), types: Vec::new() };
    let after = last_event_id(&headers)?;
    let follower = app.live.follow(&app.ctx, after, wanted).await?;
    // Looked at behind the place: what happens in between is told twice rather than not.
    let task = work::tasks::get(&app.ctx, caller.tenant, id).await?;
    let first = match after {
        None => message("task", &task).id(follower.place().to_string()),
        Some(_) => open(&follower),
    };
    Ok(followed(app, follower, first))
}

fn open(follower: &Follower) -> Event {
    message("open", &json!({})).id(follower.place().to_string())
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<i64>, Error> {
    let Some(value) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    let place = value.to_str().ok().and_then(|text| text.parse().ok()).filter(|place| *place >= 0);
    place.map(Some).ok_or_else(|| Error::invalid(LAST_EVENT_ID, "must be the id of a message of this stream"))
}

fn followed(app: App, mut follower: Follower, first: Event) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let stream = async_stream::stream! {
        yield Ok(first);
        loop {
            let news = tokio::select! {
                news = follower.next() => news,
                () = app.serving.stopping() => return,
            };
            match news {
                Ok(Some(News::Happened(place, happening))) => {
                    let is_last = follower.is_of_one_task() && happening.kind == kind::TASK_DELETED;
                    yield Ok(message(&happening.kind, &happening).id(place.to_string()));
                    if is_last {
                        return;
                    }
                }
                Ok(Some(News::Gap { after, before })) => {
                    yield Ok(message("gap", &json!({ "after": after, "before": before })).id((before - 1).to_string()));
                }
                Ok(None) => return,
                // The reader comes back behind what it has, when the database does.
                Err(error) => {
                    tracing::warn!(%error, cause = error.causes(), "a live stream was broken off");
                    return;
                }
            }
        }
    };
    Sse::new(stream).keep_alive(KeepAlive::new().interval(SIGN_OF_LIFE))
}
