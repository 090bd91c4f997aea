//! Every refusal of the event store, as a problem document with its cure.

use std::io;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use wire::grant;
use wire::limit::{EVENT_BATCH_BYTES, EVENTS_PER_BATCH, GRANTS_PER_REQUEST};
use wire::problem::{CONTENT_TYPE, Problem};

use crate::log::{AppendError, ReadError};

/// An answer that is no success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    problem: Box<Problem>,
    retry_after_seconds: Option<u16>,
    /// A header that says what would have been accepted.
    accepted: Option<(HeaderName, &'static str)>,
}

impl Refusal {
    fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or_default();
        let problem = Box::new(Problem::new(status.as_u16(), title, code, detail));
        Self { problem, retry_after_seconds: None, accepted: None }
    }

    /// The same, naming the field at fault.
    pub(super) fn at(mut self, field: impl Into<String>) -> Self {
        self.problem.field = Some(field.into());
        self
    }

    fn retry_after(mut self, seconds: u16) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// The same, with a header that says what would have been accepted.
    fn accepting(mut self, header: HeaderName, accepted: &'static str) -> Self {
        self.accepted = Some((header, accepted));
        self
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn status(&self) -> u16 {
        self.problem.status
    }

    /// The request is no JSON of the expected shape.
    pub(super) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", detail)
    }

    /// A field or parameter has a value that is not allowed.
    pub(super) fn invalid(field: impl Into<String>, detail: &str) -> Self {
        let field = field.into();
        Self::new(StatusCode::BAD_REQUEST, "invalid", format!("{field} {detail}")).at(field)
    }

    pub(super) fn signature_missing() -> Self {
        let detail = "the request is not signed; send webhook-id, webhook-timestamp and webhook-signature \
                      (Standard Webhooks), over the body of a write or the path and query of a read";
        Self::new(StatusCode::UNAUTHORIZED, "signature_missing", detail)
    }

    pub(super) fn signature_wrong(detail: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "signature_wrong", detail)
    }

    pub(super) fn clock_skew(now: DateTime<Utc>) -> Self {
        let detail = "the timestamp is more than 5 minutes from the server's clock; sign again by server_time_us";
        let mut refusal = Self::new(StatusCode::UNAUTHORIZED, "clock_skew", detail);
        refusal.problem.server_time_us = Some(now.timestamp_micros());
        refusal
    }

    pub(super) fn replayed() -> Self {
        let detail = "this webhook-id was used before; give every new request an id of its own";
        Self::new(StatusCode::UNAUTHORIZED, "replayed", detail)
    }

    pub(super) fn write_only() -> Self {
        let detail = "a machine's key may only write events; read with the master secret";
        Self::new(StatusCode::FORBIDDEN, "write_only", detail)
    }

    pub(super) fn wrong_producer(field: String, key_id: &str) -> Self {
        let detail = format!("{field} must be {key_id}: a machine's key writes only its own events");
        Self::new(StatusCode::FORBIDDEN, "wrong_producer", detail).at(field)
    }

    pub(super) fn not_granted(field: String) -> Self {
        let detail = format!(
            "{field} is not covered by a grant: a machine's key writes only of executions leased to it, and sends \
             the grant that came with each lease as bifrost-grant; a control plane that hands none out must be \
             brought up to date"
        );
        Self::new(StatusCode::FORBIDDEN, "not_granted", detail).at(field)
    }

    pub(super) fn grant_wrong() -> Self {
        let detail = "a grant was signed with neither FLY_EVENT_SECRET nor FLY_EVENT_SECRET_PREVIOUS of this \
                      event store; check that the control plane has the same secret";
        Self::new(StatusCode::FORBIDDEN, "grant_wrong", detail).at(grant::HEADER)
    }

    pub(super) fn grant_malformed() -> Self {
        let detail = "a grant cannot be read; send it as it came with the lease";
        Self::new(StatusCode::BAD_REQUEST, "grant_malformed", detail).at(grant::HEADER)
    }

    pub(super) fn too_many_grants() -> Self {
        let detail = format!("the request has more than {GRANTS_PER_REQUEST} grants; send smaller batches");
        Self::new(StatusCode::BAD_REQUEST, "too_many_grants", detail).at(grant::HEADER)
    }

    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path; events are at /v1/events")
    }

    pub(super) fn method_not_allowed() -> Self {
        let detail = "this path does not take this method; GET reads, and POST to /v1/events writes";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
    }

    pub(super) fn too_slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "too_slow", "the body did not arrive in time; send it again")
    }

    pub(super) fn too_large() -> Self {
        let detail =
            format!("the body has more than {EVENT_BATCH_BYTES} bytes, packed or unpacked; send smaller batches");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
    }

    pub(super) fn too_many_events() -> Self {
        let detail = format!("the request has more than {EVENTS_PER_BATCH} events; send smaller batches");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_many_events", detail).at("events")
    }

    /// The volume does not say how it is.
    pub(super) fn cannot_look(error: &io::Error) -> Self {
        tracing::error!(%error, "the volume of the event log cannot be looked at");
        let detail = "the event store cannot look at its disk; try again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "storage_failed", detail).retry_after(1)
    }

    /// The body is in a form that is not known.
    pub(super) fn unknown_type() -> Self {
        let accepted = "application/json, application/x-ndjson";
        let detail = format!("content-type must be one of {accepted}, or absent for JSON");
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unknown_type", detail)
            .at("content-type")
            .accepting(header::ACCEPT, accepted)
    }

    /// The body is compressed in a way that is not known.
    pub(super) fn unknown_encoding() -> Self {
        let accepted = "gzip, zstd";
        let detail = format!("content-encoding must be one of {accepted}, or absent; one alone, not several");
        let refusal = Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unknown_encoding", detail).at("content-encoding");
        refusal.accepting(header::ACCEPT_ENCODING, accepted)
    }

    /// A bound on concurrent work is reached.
    pub(super) fn busy(detail: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail).retry_after(1)
    }
}

impl From<AppendError> for Refusal {
    fn from(error: AppendError) -> Self {
        let unavailable = |code, detail| Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail);
        match error {
            AppendError::Conflict { id, .. } => {
                let detail = format!("event {id} was written before with other content; nothing was stored");
                Self::new(StatusCode::CONFLICT, "event_conflict", detail)
            }
            AppendError::QueueFull => Self::busy("too many writes wait; send again a little later"),
            AppendError::Closed => unavailable("stopping", "the event store is stopping; send again").retry_after(1),
            AppendError::DiskFull => {
                let detail = "the event store's disk is full, or less is free on it than BIFROST_EVENTS_STOP_FREE; \
                              nothing of this request was stored; extend the volume or keep less, and send again";
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "disk_full", detail).retry_after(30)
            }
            AppendError::Failed => {
                let detail = "the event store cannot write to its disk; nothing is promised about this request; \
                              see that its volume is there and can be written to, and send again";
                unavailable("storage_failed", detail).retry_after(1)
            }
            #[cfg(feature = "jetstream")]
            AppendError::Unreachable => {
                let detail = "NATS has not acknowledged the request in time; nothing is promised about it, send again";
                unavailable("stream_unavailable", detail).retry_after(1)
            }
            #[cfg(feature = "jetstream")]
            AppendError::Behind => {
                let detail = "this store is still copying what others wrote; send again a little later";
                unavailable("catching_up", detail).retry_after(1)
            }
        }
    }
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "a read of the event log failed");
        let detail = "the event store cannot read its disk; try again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "storage_failed", detail).retry_after(1)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        metrics::counter!("event_store_refusals_total", "code" => self.problem.code.clone()).increment(1);
        let status = StatusCode::from_u16(self.problem.status).expect("made from a status");
        let body = serde_json::to_vec(&*self.problem).expect("a problem is plain data");
        let mut response = (status, [(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response();
        if let Some(seconds) = self.retry_after_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some((name, value)) = self.accepted {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}
