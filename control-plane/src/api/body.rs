//! Reading what was sent: bodies, path parameters and query strings, each
//! refused with the field at fault before any work.

mod complaint;

use std::str::FromStr;

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use kernel::idempotency::Attempt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::problem::{ApiError, problem};
use complaint::{Complaint, list_for_object};

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

impl<T: DeserializeOwned + Serialize, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let bytes = axum::body::Bytes::from_request(request, state).await.map_err(|rejection| {
            let detail = match rejection.status() {
                StatusCode::PAYLOAD_TOO_LARGE => format!("the body is larger than {} bytes", wire::limit::BODY_BYTES),
                _ => "the body could not be read".to_owned(),
            };
            problem(rejection.status(), "unreadable_body", detail)
        })?;
        read(&bytes).map(Self).map_err(|complaint| refuse(complaint, "the body"))
    }
}

/// One line of a body of many.
pub(super) fn parse_line<T: DeserializeOwned + Serialize>(text: &[u8], number: usize) -> Result<T, ApiError> {
    let line = format!("lines[{number}]");
    read(text).map_err(|complaint| refuse(complaint.within(&line), &line))
}

fn read<T: DeserializeOwned + Serialize>(text: &[u8]) -> Result<T, Complaint> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value: T = serde_path_to_error::deserialize(&mut reader)
        .map_err(|error| Complaint::new(&error.path().to_string(), &error.inner().to_string()))?;
    reader.end().map_err(|error| Complaint::new(".", &error.to_string()))?;
    // Without a list in it there is none where an object has to be.
    if text.contains(&b'[') {
        let whole = |error: serde_json::Error| Complaint::new(".", &error.to_string());
        let sent: Value = serde_json::from_slice(text).map_err(whole)?;
        let again = serde_json::to_value(&value).map_err(whole)?;
        if let Some(field) = list_for_object(&sent, &again) {
            return Err(Complaint::list(field));
        }
    }
    Ok(value)
}

fn refuse(complaint: Complaint, whole: &str) -> ApiError {
    let refused = problem(StatusCode::BAD_REQUEST, "invalid", complaint.sentence(whole));
    match complaint.field {
        Some(field) => refused.at(field).into(),
        None => refused.into(),
    }
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

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let pairs = url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
        let value = serde_path_to_error::deserialize(serde_urlencoded::Deserializer::new(pairs));
        let complaint = |error: serde_path_to_error::Error<serde_urlencoded::de::Error>| {
            Complaint::new(&error.path().to_string(), &error.inner().to_string())
        };
        value.map(Self).map_err(|error| refuse(complaint(error), "the query"))
    }
}
