//! Files of tasks over HTTP: lines of JSON in, all or none; and out again.

use access::permission::{TasksRead, TasksWrite};
use axum::Json;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use kernel::Error;
use wire::id::TaskId;
use wire::import::{Imported, ImportedTask};
use wire::limit::{IMPORT_BYTES, TASKS_PER_IMPORT};
use wire::problem::Problem;
use work::tasks::import::{self, Line};

use super::body::{attempt, parse_line};
use super::caller::Allowed;
use super::problem::{ApiError, problem};
use super::{App, State};

/// Lines of JSON.
const NDJSON: &str = "application/x-ndjson";
/// Tasks that are read at once for an export.
const EXPORT_PAGE: i64 = 500;

/// Submits up to 10,000 tasks, a line of JSON each, with what they need of each other and of what is there: all, or
/// none. A refusal names the line, counted from 1, and its field.
#[utoipa::path(
    post, path = "/tasks/import", tag = "tasks",
    request_body(content = ImportedTask, content_type = "application/x-ndjson"),
    params(("idempotency-key" = Option<String>, Header, description = "Makes a repeat give the first answer")),
    responses((status = 201, body = Imported), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 409, body = Problem), (status = 413, body = Problem)))]
pub(super) async fn import(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksWrite>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Imported>), ApiError> {
    let lines = read(body).await?;
    let attempt = attempt(&headers, "tasks.import", &lines)?;
    let imported = import::import(&app.ctx, &app.work, caller.tenant, lines, attempt.as_ref()).await?;
    Ok((StatusCode::CREATED, Json(imported)))
}

/// The lines, each read as soon as it is whole: what is wrong ends the upload.
async fn read(body: Body) -> Result<Vec<Line>, ApiError> {
    let (mut lines, mut rest, mut bytes, mut number) = (Vec::new(), Vec::new(), 0, 0);
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk: Bytes =
            chunk.map_err(|_| problem(StatusCode::BAD_REQUEST, "unreadable_body", "the body could not be read"))?;
        bytes += chunk.len();
        if bytes > IMPORT_BYTES {
            let detail = format!("the body is larger than {IMPORT_BYTES} bytes; part the file");
            return Err(problem(StatusCode::PAYLOAD_TOO_LARGE, "unreadable_body", detail).into());
        }
        let mut pieces = chunk.split(|byte| *byte == b'\n');
        rest.extend_from_slice(pieces.next().unwrap_or_default());
        for piece in pieces {
            number += 1;
            take(&mut lines, &rest, number)?;
            rest.clear();
            rest.extend_from_slice(piece);
        }
    }
    take(&mut lines, &rest, number + 1)?;
    Ok(lines)
}

fn take(lines: &mut Vec<Line>, text: &[u8], number: usize) -> Result<(), ApiError> {
    if text.trim_ascii().is_empty() {
        return Ok(());
    }
    if lines.len() == TASKS_PER_IMPORT {
        let message = format!("is one more than the {TASKS_PER_IMPORT} tasks of one import; part the file");
        return Err(Error::invalid(format!("lines[{number}]"), message).into());
    }
    lines.push(Line { number, task: parse_line(text, number)? });
    Ok(())
}

/// Every task as a line of JSON that an import takes, in the order of their submission; each with its id as its key.
#[utoipa::path(
    get, path = "/tasks/export", tag = "tasks",
    responses((status = 200, body = ImportedTask, content_type = "application/x-ndjson"),
              (status = 401, body = Problem)))]
pub(super) async fn export(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksRead>,
) -> Result<Response, ApiError> {
    let tenant = caller.tenant;
    let page = async move |after: Option<TaskId>| import::export(&app.ctx, tenant, after, EXPORT_PAGE).await;
    // The first page before the answer begins, so that a failure is told as one.
    let first = page(None).await?;
    let lines = async_stream::stream! {
        let mut tasks = first;
        while let Some(last) = tasks.last().and_then(|task| task.key.as_deref()?.parse().ok()) {
            yield as_lines(&tasks);
            match page(Some(last)).await {
                Ok(next) => tasks = next,
                Err(error) => {
                    // The connection breaks, so that nobody takes the part for the whole.
                    tracing::warn!(cause = error.causes(), "an export was broken off");
                    yield Err(std::io::Error::other("the export was broken off"));
                    return;
                }
            }
        }
    };
    Ok(([(header::CONTENT_TYPE, NDJSON)], Body::from_stream(lines)).into_response())
}

fn as_lines(tasks: &[ImportedTask]) -> std::io::Result<String> {
    let mut text = String::new();
    for task in tasks {
        text.push_str(&serde_json::to_string(task)?);
        text.push('\n');
    }
    Ok(text)
}
