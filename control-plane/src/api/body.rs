//! Reading what was sent: bodies, path parameters and query strings, each
//! refused with the field at fault before any work.

use std::str::FromStr;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::problem::{ApiError, problem};

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
