//! Refusals in the words of the Machines API (platform notes §1.3 to §1.7).

use std::io;

/// A refusal: its HTTP status, its text, and sometimes a word for programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) error: String,
    pub(crate) word: Option<String>,
}

impl Refusal {
    pub(crate) fn new(status: u16, error: impl Into<String>) -> Self {
        Self { status, error: error.into(), word: None }
    }

    pub(crate) fn malformed(error: impl Into<String>) -> Self {
        Self::new(400, error)
    }

    pub(crate) fn invalid_argument(error: impl AsRef<str>) -> Self {
        Self::new(400, format!("invalid_argument: {}", error.as_ref()))
    }

    pub(crate) fn unauthenticated() -> Self {
        Self::new(401, "Authenticate: token validation error")
    }

    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(404, format!("{what} not found"))
    }

    pub(crate) fn deadline_exceeded(error: impl AsRef<str>) -> Self {
        Self::new(408, format!("deadline_exceeded: {}", error.as_ref()))
    }

    pub(crate) fn name_violation(id: &str, name: &str) -> Self {
        let error = format!(
            "already_exists: unique machine name violation, machine ID {id} already exists with name \"{name}\""
        );
        Self::new(409, error)
    }

    pub(crate) fn lease_held(id: &str, owner: &str, expires_at: &str) -> Self {
        Self::new(409, format!("machine ID {id} lease currently held by {owner}, expires at {expires_at}"))
    }

    pub(crate) fn concurrent_update() -> Self {
        Self::new(409, "aborted: machine update failed due to concurrent update")
    }

    pub(crate) fn failed_precondition(error: impl AsRef<str>) -> Self {
        Self::new(412, format!("failed_precondition: {}", error.as_ref()))
    }

    pub(crate) fn unprocessable(error: impl Into<String>) -> Self {
        Self::new(422, error)
    }

    pub(crate) fn name_taken() -> Self {
        Self { word: Some("name_taken".to_owned()), ..Self::new(422, "Validation failed: Name has already been taken") }
    }

    pub(crate) fn rate_limited() -> Self {
        Self::new(429, "rate limit exceeded")
    }

    /// A failure on our side; the cause goes to the log, which its user reads.
    pub(crate) fn internal(doing: &str, error: &io::Error) -> Self {
        tracing::error!(%error, "the emulator could not {doing}");
        Self::new(500, format!("internal: the emulator could not {doing}: {error}"))
    }

    /// A step that no caller can cause.
    pub(crate) fn bug(what: String) -> Self {
        tracing::error!("the emulator has a bug: {what}");
        Self::new(500, format!("internal: {what}"))
    }

    /// A route of Fly's that is not served here.
    pub(crate) fn unserved(method: &str, template: &str) -> Self {
        let method = method.to_ascii_uppercase();
        Self::new(501, format!("unimplemented: this emulator does not serve {method} {template}; see docs/emulator.md"))
    }

    pub(crate) fn stopping() -> Self {
        Self::new(503, "unavailable: the emulator is stopping")
    }
}
