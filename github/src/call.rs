//! One request and its answer: headers, bounds, patience.

use std::time::Duration;

use kit::backoff::Backoff;
use reqwest::header::{ACCEPT, HeaderMap, LINK, RETRY_AFTER};
use reqwest::{Method, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Repository;
use crate::error::Error;

/// The version of the API that is spoken; the host takes a request for another as it was then.
pub const VERSION: &str = "2022-11-28";
const MEDIA_TYPE: &str = "application/vnd.github+json";
/// How often what only reads is tried.
const TRIES: u32 = 4;
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(500), most: Duration::from_secs(8) };
/// The host may ask for more patience than anybody has.
const WAIT_MAX: Duration = Duration::from_secs(20);
/// Of an answer; a page of a hundred issues with long texts is below.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
const MESSAGE_CHARS: usize = 500;

/// A page, and where the next one is.
pub(crate) struct Page<T> {
    pub(crate) value: T,
    pub(crate) next: Option<String>,
}

impl Repository {
    /// Reads, again where that may help.
    pub(crate) async fn read<T: DeserializeOwned>(&self, url: &str) -> Result<Page<T>, Error> {
        let mut failures = 0;
        loop {
            let answer = self.send(Method::GET, url, None).await;
            failures += 1;
            let wait = match &answer {
                Err(Outcome::Later(_, after)) => after.unwrap_or_else(|| BACKOFF.wait(failures, &self.chance)),
                _ => Duration::ZERO,
            };
            match answer {
                Ok(page) => return Ok(page),
                Err(Outcome::Later(_, _)) if failures < TRIES && wait <= WAIT_MAX => tokio::time::sleep(wait).await,
                Err(Outcome::Later(error, _) | Outcome::Never(error)) => return Err(error),
            }
        }
    }

    /// Makes something: sent once.
    pub(crate) async fn make<T: DeserializeOwned>(&self, url: &str, body: &Value) -> Result<T, Error> {
        match self.send(Method::POST, url, Some(body)).await {
            Ok(page) => Ok(page.value),
            Err(Outcome::Later(error, _) | Outcome::Never(error)) => Err(error),
        }
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        url: &str,
        body: Option<&Value>,
    ) -> Result<Page<T>, Outcome> {
        let mut request = self.http.request(method, url);
        request = request.header(ACCEPT, MEDIA_TYPE).header("X-GitHub-Api-Version", VERSION);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.reveal());
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let host = self.place.to_string();
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => return Err(Outcome::Later(unreachable(host, error), None)),
        };
        let (status, headers) = (answer.status(), answer.headers().clone());
        let text = match bounded(answer).await {
            Ok(Some(text)) => text,
            Ok(None) => return Err(Outcome::Never(Error::Odd { host, message: "it is too long".into() })),
            Err(error) => return Err(Outcome::Later(unreachable(host, error), None)),
        };
        if status.is_success() {
            let odd = |error: serde_json::Error| Outcome::Never(Error::Odd { host, message: error.to_string() });
            let value = serde_json::from_slice(&text).map_err(odd)?;
            return Ok(Page { value, next: next_page(&headers) });
        }
        Err(sorted(host, status, &headers, &text))
    }
}

/// What is to be thought of an answer that is none.
enum Outcome {
    /// It may go well another time, perhaps after so long.
    Later(Error, Option<Duration>),
    Never(Error),
}

fn sorted(host: String, status: StatusCode, headers: &HeaderMap, text: &[u8]) -> Outcome {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.parse::<u64>().ok();
    let after = number(RETRY_AFTER.as_str()).map(Duration::from_secs);
    let message = said(text);
    if status == StatusCode::TOO_MANY_REQUESTS || (status == StatusCode::FORBIDDEN && is_limited(headers, after)) {
        // When the hour's requests are used up, the host names the time at which they are not any more.
        let is_used_up = number("x-ratelimit-remaining") == Some(0);
        let after = after.or(is_used_up.then_some(Duration::MAX));
        return Outcome::Later(Error::Limited { host }, after);
    }
    if status.is_server_error() {
        let message = format!("it fails ({}): {message}", status.as_u16());
        return Outcome::Later(Error::Unreachable { host, message }, after);
    }
    Outcome::Never(Error::Refused { host, status: status.as_u16(), message })
}

/// A refusal for want of patience and one for want of permission have one status.
fn is_limited(headers: &HeaderMap, after: Option<Duration>) -> bool {
    after.is_some() || headers.get("x-ratelimit-remaining").is_some_and(|left| left == "0")
}

/// What the host says of it: its message, and what it says of each field.
fn said(text: &[u8]) -> String {
    let value: Value = serde_json::from_slice(text).unwrap_or_default();
    let message = value["message"].as_str().unwrap_or("without a word").to_owned();
    let field = |error: &Value| match (&error["message"], &error["field"], &error["code"]) {
        (Value::String(message), ..) => Some(message.clone()),
        (_, Value::String(field), Value::String(code)) => Some(format!("{field} is {code}")),
        _ => error.as_str().map(str::to_owned),
    };
    let errors: Vec<String> = value["errors"].as_array().into_iter().flatten().filter_map(field).collect();
    let whole = if errors.is_empty() { message } else { format!("{message}: {}", errors.join(", ")) };
    whole.chars().filter(|c| !c.is_control()).take(MESSAGE_CHARS).collect()
}

async fn bounded(mut answer: Response) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut text = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if text.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Ok(None);
        }
        text.extend_from_slice(&chunk);
    }
    Ok(Some(text))
}

fn unreachable(host: String, error: reqwest::Error) -> Error {
    use std::error::Error as _;
    let error = error.without_url();
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        message = format!("{message}: {cause}");
        source = cause.source();
    }
    Error::Unreachable { host, message }
}

/// Where the header `Link` says that the next page is.
fn next_page(headers: &HeaderMap) -> Option<String> {
    let links = headers.get(LINK)?.to_str().ok()?;
    links.split(',').find_map(|link| {
        let (target, parameters) = link.split_once(';')?;
        let is_next = parameters.split(';').any(|one| one.trim() == "rel=\"next\"");
        is_next.then(|| target.trim().strip_prefix('<')?.strip_suffix('>').map(str::to_owned)).flatten()
    })
}
