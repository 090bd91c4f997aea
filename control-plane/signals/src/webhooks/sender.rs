//! One attempt: signs a message, posts it, and takes in what the receiver says,
//! for ten seconds at most. A connection is made only to an address that may be
//! reached, and nobody is followed elsewhere.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Response};
use url::Url;
use wire::id::EventId;
use wire::signature::{HEADER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP, Key};
use wire::webhook::HEADER_PLAIN_SIGNATURE;

use super::policy::Answer;
use super::secrets::Secrets;
use super::{Reach, Webhook, signing_secrets};

/// The longest that a receiver may take.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);
/// What is kept of what it writes.
const RESPONSE_BYTES: usize = 4_096;

/// Sends messages, and knows the secrets that sign them. Clones share connections.
#[derive(Debug, Clone)]
pub struct Sender {
    http: Client,
    pub(super) reach: Reach,
    pub(super) secrets: Secrets,
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) answer: Answer,
    pub(super) body: Option<String>,
    pub(super) error: Option<String>,
    pub(super) took: Duration,
}

impl Sender {
    /// With the control plane's own secret, and how far webhooks may reach.
    pub fn new(master: &Key, reach: Reach) -> Self {
        let http = kit::http::client_of_strangers(DEADLINE, move |address| reach.allows(address));
        Self { http, reach, secrets: Secrets::new(master) }
    }

    /// Sends a body in the event's name.
    pub(super) async fn send(&self, webhook: &Webhook, event: EventId, body: &str, now: DateTime<Utc>) -> Sent {
        let began = Instant::now();
        let sent = self.post(webhook, event, body, now).await;
        let took = began.elapsed();
        match sent {
            Ok((answer, body)) => Sent { answer, body, error: None, took },
            Err(error) => Sent { answer: Answer::Nothing, body: None, error: Some(error), took },
        }
    }

    async fn post(
        &self,
        webhook: &Webhook,
        event: EventId,
        body: &str,
        now: DateTime<Utc>,
    ) -> Result<(Answer, Option<String>), String> {
        let url = Url::parse(&webhook.url).map_err(|error| error.to_string())?;
        // An address in the URL itself is resolved by nobody; and the operator may have changed his mind.
        if let Some(fault) = self.reach.fault_of(&url) {
            return Err(format!("the URL {fault}"));
        }
        let keys = signing_secrets(self, webhook, now).map_err(|error| error.to_string())?;
        let (id, timestamp) = (event.to_string(), now.timestamp());
        let signatures: Vec<String> = keys.iter().map(|key| key.sign(&id, timestamp, body.as_bytes())).collect();
        let plain = keys.first().map(|key| key.plain_signature(body.as_bytes())).unwrap_or_default();
        let request = self.http.post(url).body(body.to_owned()).header(CONTENT_TYPE, "application/json");
        let request = request.header(HEADER_ID, id).header(HEADER_TIMESTAMP, timestamp);
        let request = request.header(HEADER_SIGNATURE, signatures.join(" ")).header(HEADER_PLAIN_SIGNATURE, plain);
        let response = request.send().await.map_err(|error| innermost(&error))?;
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = retry_after.and_then(|text| wait_of(text, now));
        let code = response.status().as_u16();
        Ok((Answer::Status { code, retry_after }, beginning(response).await))
    }
}

/// Seconds, or a date.
fn wait_of(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    match text.trim().parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => (DateTime::parse_from_rfc2822(text).ok()?.to_utc() - now).to_std().ok(),
    }
}

/// The beginning of what the receiver writes, without what Postgres cannot keep.
async fn beginning(mut response: Response) -> Option<String> {
    let mut bytes = Vec::new();
    while bytes.len() < RESPONSE_BYTES
        && let Ok(Some(chunk)) = response.chunk().await
    {
        bytes.extend_from_slice(&chunk);
    }
    bytes.truncate(RESPONSE_BYTES);
    let text = String::from_utf8_lossy(&bytes).replace('\0', "");
    (!text.is_empty()).then_some(text)
}

/// What is at the bottom of it: `connection refused` rather than `error sending request`.
fn innermost(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {} seconds", DEADLINE.as_secs());
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_seconds_or_a_date() {
        let now = DateTime::from_timestamp(1_795_000_000, 0).expect("in range");
        assert_eq!(wait_of("120", now), Some(Duration::from_secs(120)));
        assert_eq!(wait_of("Wed, 18 Nov 2026 11:06:50 GMT", now), Some(Duration::from_secs(10)));
        for none in ["", "soon", "-5", "Wed, 18 Nov 2026 09:00:00 GMT"] {
            assert_eq!(wait_of(none, now), None, "{none}");
        }
    }
}
