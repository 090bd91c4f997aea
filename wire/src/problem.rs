//! Errors as other processes see them: RFC 9457 problem documents with a
//! stable `code`, the offending field where there is one, and what to do.

use serde::{Deserialize, Serialize};

/// The body of every answer that is not a success; content type `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// Always `about:blank`: `code` tells kinds apart.
    #[serde(rename = "type", default = "about_blank")]
    pub kind: String,
    /// The HTTP status text.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// Stable and made for programs, such as `not_found`.
    pub code: String,
    /// What is wrong and what to do about it, for a person.
    pub detail: String,
    /// The field or parameter at fault, as a dotted path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The server's time in microseconds since 1970, where the answer depends on clocks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_time_us: Option<i64>,
}

fn about_blank() -> String {
    "about:blank".into()
}

impl Problem {
    /// A problem without a field; `title` is the status's usual text.
    pub fn new(status: u16, title: &str, code: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: about_blank(),
            title: title.into(),
            status,
            code: code.into(),
            detail: detail.into(),
            field: None,
            server_time_us: None,
        }
    }

    /// The same problem, naming the field at fault.
    #[must_use]
    pub fn at(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }
}

/// The content type of a [`Problem`].
pub const CONTENT_TYPE: &str = "application/problem+json";
