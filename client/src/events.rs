//! The event store's API. Every request is signed: writes sign the body, reads
//! the request target. See [`wire::signature`].

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chrono::TimeDelta;
use reqwest::{RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::{Position, Url};
use wire::event::{Appended, Event, EventPage, SignedHead, Stats};
use wire::grant;
use wire::id::TaskId;
use wire::signature::{HEADER_ID, HEADER_KEY_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP, Key};

use crate::Error;
use crate::call::Service;
use crate::sse::Messages;

const DEADLINE: Duration = Duration::from_secs(15);
/// A probe that takes longer has its answer: the store is not well.
const PROBE_DEADLINE: Duration = Duration::from_secs(2);
/// A stream has no end of its own to set a deadline by; the store sends a sign of life instead.
const FOLLOW_DEADLINE: Duration = Duration::from_secs(8 * 24 * 3_600);

/// The code of a refusal that tells the store's time.
const CLOCK_SKEW: &str = "clock_skew";

/// Who signs, with what, by which clock.
#[derive(Debug, Clone)]
pub struct Signer {
    /// The secret that signs.
    pub key: Key,
    /// Names the key, such as `machine/<id>`; absent where the master secret signs.
    pub key_id: Option<String>,
    /// Tells the time that is signed.
    pub clock: kit::Clock,
    /// Names the messages.
    pub chance: kit::Chance,
}

/// Calls one event store. Clones share what was learnt about its clock.
#[derive(Debug, Clone)]
pub struct EventStore {
    service: Service,
    signer: Signer,
    /// The store's clock less ours, in microseconds, once it has told us.
    ahead_us: Arc<AtomicI64>,
}

impl EventStore {
    /// A client of the store at `base_url`, such as `http://127.0.0.1:7601`.
    pub fn new(base_url: &str, signer: Signer) -> Self {
        let service = Service::new("the event store", base_url, DEADLINE);
        Self { service, signer, ahead_us: Arc::default() }
    }

    /// The store's base URL.
    pub fn base(&self) -> &str {
        &self.service.base
    }

    /// Writes events, all or none; they are on disk when this returns. Repeating it is safe:
    /// an event that was written before is answered as before, and marked.
    pub async fn append(&self, events: &[Event]) -> Result<Appended, Error> {
        self.append_granted(events, &[]).await
    }

    /// As [`EventStore::append`], with a machine's grants for the executions that the events are
    /// about; see [`wire::grant`].
    pub async fn append_granted(&self, events: &[Event], grants: &[String]) -> Result<Appended, Error> {
        self.append_body(body(events), grants).await
    }

    /// Writes a request body that is already in the form of [`EventStore::append`].
    pub(crate) async fn append_body(&self, body: Bytes, grants: &[String]) -> Result<Appended, Error> {
        let request = self.service.http.post(self.service.url("/v1/events"));
        let request = grants.iter().fold(request, |request, grant| request.header(grant::HEADER, grant));
        let request = request.header("content-type", "application/json").body(body.clone());
        self.read(self.signed(request, &body).await?).await
    }

    /// A page of one task's events behind the given place, oldest first. A page may hold fewer
    /// events than asked for; the end is reached when one is empty.
    pub async fn task_events(&self, task: TaskId, after: u64, limit: u32) -> Result<EventPage, Error> {
        self.page(&format!("/v1/events/{task}?after={after}&limit={limit}")).await
    }

    /// A page of all events behind the given place, as [`EventStore::task_events`].
    pub async fn feed(&self, after: u64, limit: u32) -> Result<EventPage, Error> {
        self.page(&format!("/v1/events?after={after}&limit={limit}")).await
    }

    /// Events behind the given place as they are written, of one task or of all: messages
    /// whose `id` is the place and whose `data` is a [`wire::event::StoredEvent`].
    pub async fn follow(&self, task: Option<TaskId>, after: u64) -> Result<Messages, Error> {
        let of_task = task.map(|task| format!("/{task}")).unwrap_or_default();
        let path = format!("/v1/events{of_task}?after={after}&follow=true");
        let request = self.get(&path).header("accept", "text/event-stream").timeout(FOLLOW_DEADLINE);
        self.signed_read(&path, request).await.map(Messages::new)
    }

    /// The newest event's place and link, signed by the store: to be kept, and later looked for
    /// in the log. Whoever knows the secret checks it with [`SignedHead::is_signed_by`].
    pub async fn head(&self) -> Result<SignedHead, Error> {
        self.read(self.signed_read("/v1/head", self.get("/v1/head")).await?).await
    }

    /// The state of the store, for its operator.
    pub async fn stats(&self) -> Result<Stats, Error> {
        self.read(self.signed_read("/v1/stats", self.get("/v1/stats")).await?).await
    }

    /// Whether the store's process answers.
    pub async fn health(&self) -> Result<(), Error> {
        self.service.send(self.get("/health").timeout(PROBE_DEADLINE)).await.map(drop)
    }

    /// Whether the store can write to its disk.
    pub async fn ready(&self) -> Result<(), Error> {
        self.service.send(self.get("/ready").timeout(PROBE_DEADLINE)).await.map(drop)
    }

    async fn page(&self, path: &str) -> Result<EventPage, Error> {
        self.read(self.signed_read(path, self.get(path)).await?).await
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.service.http.get(self.service.url(path))
    }

    async fn signed_read(&self, path: &str, request: RequestBuilder) -> Result<Response, Error> {
        self.signed(request, request_target(&self.service.url(path)).as_bytes()).await
    }

    /// Sends the request, signed. A refusal that tells the store's time is taken at its word,
    /// once: a machine that was suspended wakes with a clock that is behind.
    async fn signed(&self, request: RequestBuilder, content: &[u8]) -> Result<Response, Error> {
        let again = request.try_clone();
        match (self.service.send(self.sign(request, content)).await, again) {
            (Err(error), Some(again)) if self.learns_time(&error) => self.service.send(self.sign(again, content)).await,
            (answer, _) => answer,
        }
    }

    fn sign(&self, request: RequestBuilder, content: &[u8]) -> RequestBuilder {
        let id = format!("msg_{}", self.signer.chance.hex::<16>());
        let ahead = TimeDelta::microseconds(self.ahead_us.load(Ordering::Relaxed));
        let now = self.signer.clock.now();
        let timestamp = now.checked_add_signed(ahead).unwrap_or(now).timestamp();
        let signature = self.signer.key.sign(&id, timestamp, content);
        let request = request.header(HEADER_ID, id).header(HEADER_TIMESTAMP, timestamp);
        let request = request.header(HEADER_SIGNATURE, signature);
        match &self.signer.key_id {
            Some(key_id) => request.header(HEADER_KEY_ID, key_id),
            None => request,
        }
    }

    /// Whether the refusal was about time, and told it.
    fn learns_time(&self, error: &Error) -> bool {
        let Error::Refused(problem) = error else { return false };
        let (CLOCK_SKEW, Some(theirs)) = (problem.code.as_str(), problem.server_time_us) else { return false };
        let ours = self.signer.clock.now().timestamp_micros();
        self.ahead_us.store(theirs.saturating_sub(ours), Ordering::Relaxed);
        tracing::info!(ahead_us = theirs.saturating_sub(ours), "signing by the event store's clock");
        true
    }

    async fn read<T: DeserializeOwned>(&self, response: Response) -> Result<T, Error> {
        let body = response.bytes().await.map_err(|source| self.service.unreachable(source))?;
        serde_json::from_slice(&body)
            .map_err(|error| Error::Unexpected { service: self.service.name, detail: error.to_string() })
    }
}

/// The body of a request that writes the events.
pub fn body(events: &[Event]) -> Bytes {
    #[derive(Serialize)]
    struct Batch<'a> {
        events: &'a [Event],
    }
    serde_json::to_vec(&Batch { events }).expect("events are plain data").into()
}

/// What the store sees of a URL and a read signs: path and query. A URL that cannot
/// be read is never sent, so nothing depends on its target.
fn request_target(url: &str) -> String {
    Url::parse(url).map(|url| url[Position::BeforePath..Position::AfterQuery].to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
