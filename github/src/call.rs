//! One request and its answer: headers, and what a refusal means.

use kit::http::answer::{self, Answer, NoAnswer};
use reqwest::header::ACCEPT;
use reqwest::{Method, RequestBuilder};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Repository;
use crate::error::Error;

/// The version of the API that is spoken; the host takes a request for another as it was then.
pub const VERSION: &str = "2022-11-28";
const MEDIA_TYPE: &str = "application/vnd.github+json";
const MESSAGE_CHARS: usize = 500;

/// A page, and where the next one is.
pub(crate) struct Page<T> {
    pub(crate) value: T,
    pub(crate) next: Option<String>,
}

impl Repository {
    /// Reads, again where that may help.
    pub(crate) async fn read<T: DeserializeOwned>(&self, url: &str) -> Result<Page<T>, Error> {
        let answer = answer::read(|| self.request(Method::GET, url), &self.chance).await;
        let answer = self.sorted(answer)?;
        let next = answer.next_page().map(|(url, _)| url.to_owned());
        Ok(Page { value: self.parsed(&answer)?, next })
    }

    /// Makes something: sent once.
    pub(crate) async fn make<T: DeserializeOwned>(&self, url: &str, body: &Value) -> Result<T, Error> {
        let answer = answer::ask(self.request(Method::POST, url).json(body)).await;
        self.parsed(&self.sorted(answer)?)
    }

    fn request(&self, method: Method, url: &str) -> RequestBuilder {
        let request = self.http.request(method, url);
        let request = request.header(ACCEPT, MEDIA_TYPE).header("X-GitHub-Api-Version", VERSION);
        match &self.token {
            Some(token) => request.bearer_auth(token.reveal()),
            None => request,
        }
    }

    fn sorted(&self, answer: Result<Answer, NoAnswer>) -> Result<Answer, Error> {
        let host = self.place.to_string();
        let answer = match answer {
            Ok(answer) => answer,
            Err(NoAnswer::Unreachable(message)) => return Err(Error::Unreachable { host, message }),
            Err(error @ NoAnswer::TooLong) => return Err(Error::Odd { host, message: error.to_string() }),
        };
        let (status, message) = (answer.status, said(&answer.body));
        if status.is_success() {
            Ok(answer)
        } else if answer.is_limited() {
            Err(Error::Limited { host })
        } else if status.is_server_error() {
            Err(Error::Unreachable { host, message: format!("it fails ({}): {message}", status.as_u16()) })
        } else {
            Err(Error::Refused { host, status: status.as_u16(), message })
        }
    }

    fn parsed<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, Error> {
        let odd = |error: serde_json::Error| Error::Odd { host: self.place.to_string(), message: error.to_string() };
        serde_json::from_slice(&answer.body).map_err(odd)
    }
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
