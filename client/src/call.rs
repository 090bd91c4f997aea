//! One HTTP call: send, bound, and tell success from a problem document.

use reqwest::{RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use wire::problem::Problem;

use crate::skew;

/// Why a call did not give an answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server could not be reached, or the connection broke before the answer was whole.
    #[error("{service} at {url} cannot be reached")]
    Unreachable {
        /// Which of our services.
        service: &'static str,
        /// Its base URL.
        url: String,
        /// What broke.
        #[source]
        source: reqwest::Error,
    },
    /// The server refused, and said why.
    #[error("{}", .0.detail)]
    Refused(Box<Problem>),
    /// The answer is not one this client understands.
    #[error("{service} gave an answer this version does not understand: {detail}")]
    Unexpected {
        /// Which of our services.
        service: &'static str,
        /// What was odd about it.
        detail: String,
    },
}

impl Error {
    /// Whether the same call may well succeed a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused(problem) => matches!(problem.status, 408 | 429 | 500 | 502 | 503 | 504 | 507),
            Self::Unexpected { .. } => false,
        }
    }

    /// The problem's stable code, if the server refused.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused(problem) => Some(&problem.code),
            Self::Unreachable { .. } | Self::Unexpected { .. } => None,
        }
    }

    /// The problem's status, if the server refused.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(problem) => Some(problem.status),
            Self::Unreachable { .. } | Self::Unexpected { .. } => None,
        }
    }
}

/// A service's base address and the client that calls it.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub(crate) name: &'static str,
    pub(crate) base: String,
    pub(crate) http: reqwest::Client,
    /// Corrected by every answer, where there is one.
    clock: Option<kit::Clock>,
}

impl Service {
    pub(crate) fn new(name: &'static str, base: &str, deadline: std::time::Duration) -> Self {
        Self { name, base: base.trim_end_matches('/').to_owned(), http: kit::http::client(deadline), clock: None }
    }

    /// The same, and this clock is corrected by what its answers say.
    pub(crate) fn correcting(self, clock: &kit::Clock) -> Self {
        Self { clock: Some(clock.clone()), ..self }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Sends the request; anything but a 2xx is an error.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response, Error> {
        let sent = self.clock.as_ref().map(|clock| (clock, clock.now()));
        let response = request.send().await.map_err(|source| self.unreachable(source))?;
        if let Some((clock, sent)) = sent {
            skew::correct(clock, sent, response.headers());
        }
        if response.status().is_success() { Ok(response) } else { Err(self.refusal(response).await) }
    }

    /// Sends a request that is to become another protocol.
    pub(crate) async fn upgraded(&self, request: RequestBuilder) -> Result<Response, Error> {
        let response = request.send().await.map_err(|source| self.unreachable(source))?;
        let is_upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if is_upgraded { Ok(response) } else { Err(self.refusal(response).await) }
    }

    /// Sends the request and reads the answer's JSON.
    pub(crate) async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Error> {
        self.read(self.send(request).await?).await
    }

    /// Reads the JSON of an answer.
    pub(crate) async fn read<T: DeserializeOwned>(&self, response: Response) -> Result<T, Error> {
        let body = response.bytes().await.map_err(|source| self.unreachable(source))?;
        serde_json::from_slice(&body)
            .map_err(|error| Error::Unexpected { service: self.name, detail: error.to_string() })
    }

    pub(crate) fn unreachable(&self, source: reqwest::Error) -> Error {
        Error::Unreachable { service: self.name, url: self.base.clone(), source: source.without_url() }
    }

    async fn refusal(&self, response: Response) -> Error {
        let status = response.status();
        let body = match response.bytes().await {
            Ok(body) => body,
            Err(source) => return self.unreachable(source),
        };
        Error::Refused(Box::new(serde_json::from_slice(&body).unwrap_or_else(|_| not_a_problem(status))))
    }
}

/// Something in between answered: a proxy, or a server that is not ours.
fn not_a_problem(status: StatusCode) -> Problem {
    let title = status.canonical_reason().unwrap_or("unknown");
    Problem::new(status.as_u16(), title, "not_a_problem_document", format!("the server answered {status}"))
}
