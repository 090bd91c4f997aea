//! One call of the Machines API, or of the Sprites API: its turn under the rate limit, its deadline, a
//! bounded repeat where that is safe and not before the API wants to be asked again, and the answer told
//! from a refusal.

use std::sync::Arc;
use std::time::Duration;

use kit::Chance;
use kit::backoff::Backoff;
use reqwest::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::Token;
use crate::error::{Action, Error};
use crate::pace::{Limiter, Pace};

/// No call takes longer where nothing else is said, repeats included; waiting for a turn comes before it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);
const ATTEMPTS: u32 = 3;
const BETWEEN_ATTEMPTS: Backoff = Backoff { first: Duration::from_millis(200), most: Duration::from_secs(2) };
/// More of a refusal that is not JSON does not help anybody.
const REFUSAL_CHARS: usize = 300;
/// So much shows what a body is that is not for us.
const BEGINNING_CHARS: usize = 80;

/// Whether the same call twice is the same as once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    Safe,
    Never,
}

/// Where and as whom to call.
#[derive(Clone)]
pub(crate) struct Api {
    base: String,
    http: reqwest::Client,
    authorization: HeaderValue,
    limiter: Arc<Limiter>,
    deadline: Duration,
    chance: Chance,
}

/// A call that has been described and not made.
pub(crate) struct Call<'a> {
    api: &'a Api,
    action: Action,
    /// Whose rate limit it falls under: a machine's or an app's.
    subject: &'a str,
    repeat: Repeat,
    deadline: Duration,
    request: RequestBuilder,
}

impl Api {
    pub(crate) fn new(base: &str, token: &Token, pace: Pace) -> Self {
        let mut authorization =
            HeaderValue::try_from(token.authorization()).expect("a token is printable ASCII, and so a header");
        authorization.set_sensitive(true);
        Self {
            base: base.trim_end_matches('/').to_owned(),
            http: kit::http::client(DEADLINE),
            authorization,
            limiter: Arc::new(Limiter::new(pace)),
            deadline: DEADLINE,
            chance: Chance::system(),
        }
    }

    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    pub(crate) fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// How long to wait before the next attempt.
    pub(crate) fn pause(&self, failures: u32) -> Duration {
        BETWEEN_ATTEMPTS.wait(failures, &self.chance)
    }

    /// The same after this failure, which may have said how long the API wants to be left alone.
    pub(crate) fn pause_after(&self, error: &Error, failures: u32) -> Duration {
        self.pause(failures).max(error.retry_after().unwrap_or_default())
    }

    /// Describes a call; `path` are the segments behind `/v1`, each as it is.
    pub(crate) fn call<'a>(&'a self, action: Action, subject: &'a str, method: Method, path: &[&str]) -> Call<'a> {
        let repeat = if method == Method::GET { Repeat::Safe } else { Repeat::Never };
        let path: String = path.iter().map(|segment| format!("/{}", encode(segment))).collect();
        let request =
            self.http.request(method, format!("{}/v1{path}", self.base)).header(AUTHORIZATION, &self.authorization);
        Call { api: self, action, subject, repeat, deadline: self.deadline, request }
    }

    fn no_answer(&self, action: Action, source: reqwest::Error) -> Error {
        let never_sent = source.is_connect() || source.is_builder();
        Error::NoAnswer { action, url: self.base.clone(), never_sent, source: source.without_url() }
    }
}

impl Call<'_> {
    pub(crate) fn repeat(self, repeat: Repeat) -> Self {
        Self { repeat, ..self }
    }

    pub(crate) fn deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    pub(crate) fn with(self, change: impl FnOnce(RequestBuilder) -> RequestBuilder) -> Self {
        Self { request: change(self.request), ..self }
    }

    /// Makes the call and reads the answer's JSON.
    pub(crate) async fn json<T: DeserializeOwned>(self) -> Result<T, Error> {
        let action = self.action;
        let body = self.bytes().await?;
        serde_json::from_slice(&body).map_err(|error| Error::Unexpected { action, detail: not_read(&body, &error) })
    }

    /// The same where Fly may write `null` for nothing.
    pub(crate) async fn json_or_default<T: DeserializeOwned + Default>(self) -> Result<T, Error> {
        self.json().await.map(Option::unwrap_or_default)
    }

    /// Makes the call; what a success says does not matter.
    pub(crate) async fn done(self) -> Result<(), Error> {
        self.bytes().await.map(drop)
    }

    /// Makes the call and gives back what a success says, as it is.
    pub(crate) async fn bytes(self) -> Result<Vec<u8>, Error> {
        let Self { api, action, subject, repeat, deadline, request } = self;
        let mut until = None;
        let mut failures = 0;
        loop {
            api.limiter.turn(action, subject).await.map_err(|_| Error::Crowded { action })?;
            let until = *until.get_or_insert_with(|| Instant::now() + deadline);
            let attempt = request.try_clone().expect("no body of ours is a stream");
            let error = match api.attempt(action, attempt.timeout(until - Instant::now())).await {
                Ok(body) => return Ok(body),
                Err(error) => error,
            };
            failures += 1;
            let pause = api.pause_after(&error, failures);
            let is_worthwhile = failures < ATTEMPTS && pause < until.saturating_duration_since(Instant::now());
            if repeat == Repeat::Never || !error.is_transient() || !is_worthwhile {
                return Err(error);
            }
            tracing::debug!(%error, "repeating a call of the Machines API");
            tokio::time::sleep(pause).await;
        }
    }
}

impl Api {
    async fn attempt(&self, action: Action, request: RequestBuilder) -> Result<Vec<u8>, Error> {
        let response = request.send().await.map_err(|source| self.no_answer(action, source))?;
        if !response.status().is_success() {
            return Err(self.refusal(action, response).await);
        }
        let body = response.bytes().await.map_err(|source| self.no_answer(action, source))?;
        Ok(body.into())
    }

    async fn refusal(&self, action: Action, response: Response) -> Error {
        let status = response.status().as_u16();
        let request_id = response.headers().get("fly-request-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
        let header = response.headers().get(RETRY_AFTER).and_then(|seconds| seconds.to_str().ok()?.parse().ok());
        let body = match response.bytes().await {
            Ok(body) => body,
            Err(source) => return self.no_answer(action, source),
        };
        let Refusal { error, message, status: word, retry_after_seconds } =
            serde_json::from_slice(&body).unwrap_or_else(|_| Refusal::from_text(&body));
        // The Sprites API says a word and a text, the Machines API a text and, mostly, a word.
        let (code, message) = match (word, error, message) {
            (None, Some(error), Some(message)) => (Some(error), message),
            (word, error, message) => (word, error.or(message).unwrap_or_default()),
        };
        let retry_after = header.or(retry_after_seconds).map(Duration::from_secs);
        Error::Refused { action, status, code, message, request_id, retry_after }
    }
}

/// Why a body is not what was expected, and how it begins where it is no JSON at all.
fn not_read(body: &[u8], error: &serde_json::Error) -> String {
    match error.is_data() {
        true => error.to_string(),
        false => format!("it is not JSON and begins with {:?}", beginning(body)),
    }
}

/// The first words of a body, on one line.
fn beginning(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(BEGINNING_CHARS).collect()
}

/// The body of a refusal; older ones of the Machines API say `message`.
#[derive(Deserialize)]
struct Refusal {
    error: Option<String>,
    message: Option<String>,
    status: Option<String>,
    retry_after_seconds: Option<u64>,
}

impl Refusal {
    fn from_text(body: &[u8]) -> Self {
        let text = match body.trim_ascii_start().starts_with(b"<") {
            true => format!("a web page answers, which begins with {:?}", beginning(body)),
            false => String::from_utf8_lossy(body).trim().chars().take(REFUSAL_CHARS).collect(),
        };
        Self { error: Some(text), message: None, status: None, retry_after_seconds: None }
    }
}

/// A path segment; what could change the path's meaning is percent-encoded.
fn encode(segment: &str) -> String {
    // Even encoded once, dots alone would climb; encoded twice they name nothing.
    if segment.bytes().all(|byte| byte == b'.') {
        return segment.replace('.', "%252E");
    }
    let encode_byte = |byte: u8| match byte.is_ascii_alphanumeric() || b"-_~.".contains(&byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    segment.bytes().map(encode_byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_cannot_leave_its_place() {
        for (segment, encoded) in [
            ("148ed599c14698", "148ed599c14698"),
            ("fly_platform.version", "fly_platform.version"),
            ("a/../b?c#d", "a%2F..%2Fb%3Fc%23d"),
            ("..", "%252E%252E"),
            ("ü %", "%C3%BC%20%25"),
        ] {
            assert_eq!(encode(segment), encoded);
        }
    }
}
