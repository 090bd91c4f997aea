//! `GET /v1/events` and `GET /v1/events/{task_id}`: a page, or a stream that goes
//! on. A page ends at `limit`, or earlier where it would be too large or take too
//! long to find; `next` then says where to go on. A stream has no limit.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Uri, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use wire::id::TaskId;

use super::problem::Refusal;
use super::{Store, decode, follow};
use crate::log::{Filter, Row, Selection};

const LIMIT_DEFAULT: usize = 1_000;
const LIMIT_MAX: usize = 10_000;
/// A page ends early rather than be larger than this by more than one event.
const PAGE_BYTES: usize = 2 * 1024 * 1024;

pub(super) async fn feed(State(store): State<Store>, uri: Uri, headers: HeaderMap) -> Result<Response, Refusal> {
    store.keys.may_read(&headers, target(&uri))?;
    answer(store, None, &uri, &headers).await
}

pub(super) async fn of_task(
    State(store): State<Store>,
    task: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    store.keys.may_read(&headers, target(&uri))?;
    let task: Option<TaskId> = task.ok().and_then(|Path(task)| task.parse().ok());
    let not_an_id = "must be a UUID such as 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70";
    let task = task.ok_or_else(|| Refusal::invalid("task_id", not_an_id))?;
    answer(store, Some(task), &uri, &headers).await
}

async fn answer(store: Store, task: Option<TaskId>, uri: &Uri, headers: &HeaderMap) -> Result<Response, Refusal> {
    let Wanted { after, limit, filter, follow } = Wanted::of(uri, headers)?;
    if follow {
        return follow::stream(store, task, filter, after);
    }
    let selection = Selection { task, filter, after, limit, bytes: PAGE_BYTES };
    let page = store.log.read(selection, comma_and_json).await?;
    let mut body = b"{\"events\":[".to_vec();
    body.extend_from_slice(page.bytes.strip_prefix(b",").unwrap_or_default());
    body.push(b']');
    if page.is_full {
        body.extend_from_slice(format!(",\"next\":{}", page.seen).as_bytes());
    }
    body.push(b'}');
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

fn comma_and_json(out: &mut Vec<u8>, row: &Row<'_>) {
    out.push(b',');
    row.write_json(out);
}

/// What a read signs.
pub(super) fn target(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", |target| target.as_str())
}

/// What a read asks for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    after: u64,
    limit: usize,
    filter: Filter,
    follow: bool,
}

impl Wanted {
    fn of(uri: &Uri, headers: &HeaderMap) -> Result<Self, Refusal> {
        let Query(parameters) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|_| Refusal::malformed("the query cannot be read; escape it as a URL demands"))?;
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let accepts_stream = header("accept").is_some_and(|accept| accept.contains("text/event-stream"));
        let mut wanted = Self { after: 0, limit: LIMIT_DEFAULT, filter: Filter::default(), follow: accepts_stream };
        for (name, value) in parameters {
            match name.as_str() {
                "after" => wanted.after = sequence_number(&value, "after")?,
                "limit" => wanted.limit = limit(&value)?,
                "type" => {
                    decode::check_kind(&value).map_err(|detail| Refusal::invalid("type", detail))?;
                    wanted.filter.kind = Some(value);
                }
                "since" => wanted.filter.since = Some(time(&value)?),
                "follow" => {
                    let not_a_truth_value = |_| Refusal::invalid("follow", "must be true or false");
                    wanted.follow |= value.parse::<bool>().map_err(not_a_truth_value)?;
                }
                _ => {
                    return Err(Refusal::invalid(
                        name,
                        "is not a parameter; there are after, limit, type, since, follow",
                    ));
                }
            }
        }
        if let Some(last) = header("last-event-id") {
            wanted.after = sequence_number(last, "last-event-id")?;
        }
        Ok(wanted)
    }
}

fn sequence_number(text: &str, name: &str) -> Result<u64, Refusal> {
    let number = text.parse().ok().filter(|number| i64::try_from(*number).is_ok());
    number.ok_or_else(|| Refusal::invalid(name, "must be the sequence number of an event, or 0"))
}

fn time(text: &str) -> Result<DateTime<Utc>, Refusal> {
    let time = text.parse().ok().filter(|time: &DateTime<Utc>| time.timestamp_micros() >= 0);
    time.ok_or_else(|| Refusal::invalid("since", "must be a time such as 2026-11-21T05:00:00Z (RFC 3339)"))
}

fn limit(text: &str) -> Result<usize, Refusal> {
    let limit = text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
    limit.ok_or_else(|| Refusal::invalid("limit", "must be a whole number from 1 to 10000"))
}
