//! Versions of tasks over HTTP: `ETag` says which one an answer shows, `If-Match`
//! for which one a change is meant.

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::header::{ETAG, IF_MATCH};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use kernel::Error;
use wire::task::TaskView;
use work::tasks::Target;

use super::body::Id;
use super::problem::ApiError;

/// The header that names a version, for the document.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "the document alone reads it")]
pub(crate) struct IfMatch {
    /// Only while the task is at this version, which is the `ETag` of an answer that shows it.
    #[param(rename = "if-match")]
    if_match: Option<String>,
}

/// The task that the path names, in the version that `If-Match` names.
pub(crate) struct Aimed(pub(crate) Target);

impl<S: Send + Sync> FromRequestParts<S> for Aimed {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Id(id) = Id::from_request_parts(parts, state).await?;
        let version = parts.headers.get(IF_MATCH).map(|value| version(value.to_str().unwrap_or(""))).transpose()?;
        Ok(Self(Target { id, version: version.flatten() }))
    }
}

/// One version as its `ETag` was, or `*` for any.
fn version(text: &str) -> Result<Option<i64>, Error> {
    let text = text.trim();
    if text == "*" {
        return Ok(None);
    }
    let digits = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = is_number.then(|| digits.parse().ok()).flatten();
    let wrong =
        || Error::invalid("if-match", "must be one version as the ETag of an answer gives it, such as \"7\", or *");
    number.map(Some).ok_or_else(wrong)
}

/// A task with its version as `ETag`.
pub(crate) struct Shown(pub(crate) TaskView);

impl IntoResponse for Shown {
    fn into_response(self) -> Response {
        ([(ETAG, format!("\"{}\"", self.0.version))], Json(self.0)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_version_is_read_and_nothing_else() {
        for (text, expect) in [("\"7\"", Some(7)), ("7", Some(7)), (" \"0\" ", Some(0)), ("*", None)] {
            assert_eq!(version(text).expect(text), expect);
        }
        for text in ["", "\"\"", "W/\"7\"", "\"7\", \"8\"", "-1", "+7", "seven", "99999999999999999999", "\"7"] {
            assert_eq!(version(text).expect_err(text).code(), "invalid");
        }
    }
}
