//! Reading what was sent: bodies, path parameters and query strings, each
//! refused with the field at fault before any work.

use std::str::FromStr;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use kernel::idempotency::Attempt;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::problem::{ApiError, problem};

/// The header that makes a write safe to repeat.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// What the request says of its being repeated.
pub(crate) fn attempt(
    headers: &HeaderMap,
    operation: &str,
    request: &impl Serialize,
) -> Result<Option<Attempt>, ApiError> {
    let key = headers.get(IDEMPOTENCY_KEY).map(|value| value.to_str().unwrap_or(""));
    Ok(key.map(|key| Attempt::new(key, operation, request)).transpose()?)
}

/// A JSON body.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let bytes = axum::body::Bytes::from_request(request, state).await.map_err(|rejection| {
            let detail = match rejection.status() {
                StatusCode::PAYLOAD_TOO_LARGE => format!("the body is larger than {} bytes", wire::limit::BODY_BYTES),
                _ => "the body could not be read".to_owned(),
            };
            problem(rejection.status(), "unreadable_body", detail)
        })?;
        parse(&bytes).map(Self)
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let refused = problem(StatusCode::BAD_REQUEST, "invalid", format!("the body: {}", error.inner()));
        // The path of the document itself is a dot.
        if path == "." { refused } else { refused.at(path) }
    })?;
    reader.end().map_err(|error| problem(StatusCode::BAD_REQUEST, "invalid", format!("the body: {error}")))?;
    Ok(value)
}

/// One line of a body of many.
pub(super) fn parse_line<T: DeserializeOwned>(text: &[u8], number: usize) -> Result<T, ApiError> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let read = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { format!("lines[{number}]") } else { format!("lines[{number}].{path}") };
        (field, error.into_inner().to_string())
    });
    let read = read.and_then(|value| match reader.end() {
        Ok(()) => Ok(value),
        Err(error) => Err((format!("lines[{number}]"), error.to_string())),
    });
    read.map_err(|(field, message)| {
        problem(StatusCode::BAD_REQUEST, "invalid", format!("{field}: {message}")).at(field).into()
    })
}

/// A path parameter that is an id.
pub(crate) struct Id<T>(pub(crate) T);

impl<T, S> FromRequestParts<S> for Id<T>
where
    T: FromStr<Err = wire::id::NotAnId>,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path(text) = Path::<String>::from_request_parts(parts, state).await.map_err(unreadable_path)?;
        id(&text, "id").map(Self)
    }
}

/// Two path parameters that are ids.
pub(crate) struct Ids<A, B>(pub(crate) A, pub(crate) B);

impl<A, B, S> FromRequestParts<S> for Ids<A, B>
where
    A: FromStr<Err = wire::id::NotAnId>,
    B: FromStr<Err = wire::id::NotAnId>,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path(names) =
            Path::<Vec<(String, String)>>::from_request_parts(parts, state).await.map_err(unreadable_path)?;
        let [(first, first_text), (second, second_text)] = names.as_slice() else {
            let detail = "the path: it names two things by their ids";
            return Err(problem(StatusCode::BAD_REQUEST, "invalid", detail).into());
        };
        Ok(Self(id(first_text, first)?, id(second_text, second)?))
    }
}

/// A path parameter that is an id, and another that is a word.
pub(crate) struct IdAndWord<T>(pub(crate) T, pub(crate) String);

impl<T, S> FromRequestParts<S> for IdAndWord<T>
where
    T: FromStr<Err = wire::id::NotAnId>,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path((text, word)) =
            Path::<(String, String)>::from_request_parts(parts, state).await.map_err(unreadable_path)?;
        Ok(Self(id(&text, "id")?, word))
    }
}

/// A path parameter that is a word of people's own.
pub(crate) struct Word(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Word {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path(text) = Path::<String>::from_request_parts(parts, state).await.map_err(unreadable_path)?;
        Ok(Self(text))
    }
}

fn id<T: FromStr<Err = wire::id::NotAnId>>(text: &str, field: &str) -> Result<T, ApiError> {
    text.parse().map_err(|error: wire::id::NotAnId| {
        problem(StatusCode::BAD_REQUEST, "invalid", format!("{field}: {error}")).at(field).into()
    })
}

fn unreadable_path(rejection: PathRejection) -> ApiError {
    problem(StatusCode::BAD_REQUEST, "invalid", format!("the path: {}", rejection.body_text())).into()
}

/// A query string.
pub(crate) struct Parameters<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Query(value) =
            Query::<T>::from_request_parts(parts, state).await.map_err(|rejection: QueryRejection| {
                problem(StatusCode::BAD_REQUEST, "invalid", format!("the query: {}", rejection.body_text()))
            })?;
        Ok(Self(value))
    }
}
