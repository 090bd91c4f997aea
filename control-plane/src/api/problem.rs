//! The one place where errors become answers: status, problem document, and,
//! for failures of ours, one log line.

use std::any::Any;

use axum::extract::OriginalUri;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use kernel::Error;
use wire::problem::{CONTENT_TYPE, Problem};

/// An error on its way out.
#[derive(Debug)]
pub(crate) enum ApiError {
    /// A use-case's.
    Use(Error),
    /// One that the edge itself found.
    Edge(Box<Problem>),
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        Self::Use(error)
    }
}

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        Self::Edge(Box::new(problem))
    }
}

/// A problem with the status's usual title.
pub(crate) fn problem(status: StatusCode, code: &str, detail: impl Into<String>) -> Problem {
    Problem::new(status.as_u16(), status.canonical_reason().unwrap_or("Error"), code, detail)
}

pub(super) fn translate(error: &Error) -> Problem {
    let code = error.code();
    match error {
        Error::NotFound { .. } => problem(StatusCode::NOT_FOUND, code, error.to_string()),
        Error::Conflict { message, .. } => problem(StatusCode::CONFLICT, code, message),
        Error::TooMany { message, .. } => problem(StatusCode::TOO_MANY_REQUESTS, code, message),
        Error::Stale { message } => problem(StatusCode::PRECONDITION_FAILED, code, message),
        Error::Invalid { field, .. } => problem(StatusCode::BAD_REQUEST, code, error.to_string()).at(field),
        Error::Unauthenticated(message) => problem(StatusCode::UNAUTHORIZED, code, *message),
        Error::Forbidden { .. } => problem(StatusCode::FORBIDDEN, code, error.to_string()),
        Error::Unavailable { dependency, .. } => {
            // A conflict is made good at the edge, and is no news.
            if !error.is_transaction_conflict() {
                tracing::warn!(code, dependency, cause = error.causes(), "a dependency is unavailable");
            }
            problem(
                StatusCode::SERVICE_UNAVAILABLE,
                code,
                format!("{error}; the same request may succeed a little later"),
            )
        }
        Error::Internal(_) => {
            tracing::error!(code, cause = error.causes(), "a request failed");
            problem(StatusCode::INTERNAL_SERVER_ERROR, code, "something went wrong here; the server's log says what")
        }
    }
}

/// Marks an answer: the transaction gave way to another and left nothing, so that the request may be made again.
#[derive(Debug, Clone, Copy)]
pub(super) struct GaveWay;

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let gave_way = matches!(&self, Self::Use(error) if error.is_transaction_conflict());
        let after = match &self {
            Self::Use(Error::TooMany { seconds, .. }) => Some(*seconds),
            _ => None,
        };
        let problem = match self {
            Self::Use(error) => translate(&error),
            Self::Edge(problem) => *problem,
        };
        let mut response = respond(&problem);
        if let Some(seconds) = after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        if gave_way {
            response.extensions_mut().insert(GaveWay);
        }
        response
    }
}

pub(crate) fn respond(problem: &Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = serde_json::to_string(problem).expect("a problem is plain data");
    let mut response = (status, [(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response();
    let headers = response.headers_mut();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

pub(super) async fn no_such_route(OriginalUri(uri): OriginalUri) -> ApiError {
    let detail = format!("there is nothing at {}; /openapi.json lists what there is", uri.path());
    problem(StatusCode::NOT_FOUND, "no_such_route", detail).into()
}

pub(super) async fn no_such_method(OriginalUri(uri): OriginalUri) -> ApiError {
    let detail = format!("{} does not take this method; /openapi.json lists what it takes", uri.path());
    problem(StatusCode::METHOD_NOT_ALLOWED, "no_such_method", detail).into()
}

/// A bug: the request gets an answer, the process goes on.
pub(super) fn from_panic(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("unknown");
    ApiError::Use(Error::Internal(anyhow::anyhow!("a handler panicked: {text}"))).into_response()
}
