//! What every request goes through between the socket and its handler: its transactions know each other, one
//! that gave way to another is made again, and no answer leaves before what it rests on is on disk.

use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use kernel::RequestScope;
use kit::backoff::Backoff;
use tokio::time::Instant;

use super::App;
use super::problem::{ApiError, GaveWay, problem};

/// How often a request is made again whose transaction gave way to another's.
const TRIES: u32 = 8;
/// Whoever asks is told rather than kept waiting for longer.
const TRY_LIMIT: Duration = Duration::from_secs(10);
/// Waits in between.
const PAUSE: Backoff = Backoff { first: Duration::from_millis(4), most: Duration::from_millis(250) };

pub(super) async fn edge(State(app): State<App>, request: Request, next: Next) -> Response {
    match kept(request).await {
        Ok(Kept::Whole(request)) => again_while_it_gives_way(&app, &request, &next).await,
        Ok(Kept::Stream(request)) => answered(&app, request, next).await.0,
        Err(refusal) => refusal.into_response(),
    }
}

/// A request as it can be handed on.
enum Kept {
    /// More than once: its body is at hand.
    Whole(Request<Bytes>),
    /// Once: it is longer than an ordinary body, or does not say how long it is.
    Stream(Request),
}

async fn kept(request: Request) -> Result<Kept, ApiError> {
    let length = request.body().size_hint().exact().and_then(|length| usize::try_from(length).ok());
    if length.is_none_or(|length| length > wire::limit::BODY_BYTES) {
        return Ok(Kept::Stream(request));
    }
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, wire::limit::BODY_BYTES).await;
    let body = body.map_err(|_| problem(StatusCode::BAD_REQUEST, "unreadable_body", "the body could not be read"))?;
    Ok(Kept::Whole(Request::from_parts(parts, body)))
}

/// A transaction that gave way (a deadlock, a serialization failure) has left nothing, so the whole request is
/// made again. One that has already changed something is not: its client knows whether it may be repeated.
async fn again_while_it_gives_way(app: &App, request: &Request<Bytes>, next: &Next) -> Response {
    let began = Instant::now();
    let mut tries = 1;
    loop {
        let (response, scope) = answered(app, request.clone().map(Body::from), next.clone()).await;
        let gave_way = response.extensions().get::<GaveWay>().is_some() && !scope.has_committed();
        if !gave_way || tries == TRIES || began.elapsed() > TRY_LIMIT {
            return response;
        }
        metrics::counter!("db_conflicts_total").increment(1);
        tokio::time::sleep(PAUSE.wait(tries, &app.ctx.chance)).await;
        tries += 1;
    }
}

/// The handler's answer, once what it saw is on disk.
async fn answered(app: &App, request: Request, next: Next) -> (Response, RequestScope) {
    let scope = RequestScope::default();
    let response = scope.run(next.run(request)).await;
    if scope.has_seen()
        && let Err(error) = app.ctx.db.settle().await
    {
        return (ApiError::from(error).into_response(), scope);
    }
    (response, scope)
}

#[cfg(test)]
mod tests;
