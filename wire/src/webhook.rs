//! Webhooks as the API speaks of them, and the message that a receiver gets.
//!
//! A message is signed twice: by the Standard Webhooks scheme
//! ([`crate::signature`]), and with a plain HMAC of the body in
//! [`HEADER_PLAIN_SIGNATURE`] (row CAIRN-39).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::{DeliveryId, EventId, ExecutionId, TaskId, WebhookId};

/// HMAC-SHA256 of the body under the webhook's secret, in hexadecimal digits.
pub const HEADER_PLAIN_SIGNATURE: &str = "x-webhook-signature";
/// The event type of a message that somebody asked for as a test.
pub const PING: &str = "webhook.ping";

/// A new webhook, as sent to `POST /v1/webhooks`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewWebhook {
    /// Where messages go: an `https` URL.
    pub url: String,
    /// Which events: types such as `task.created`, all of a kind as `task.*`, or `*`; all when absent.
    #[serde(default = "everything")]
    pub event_types: Vec<String>,
    /// What it is for, in one line.
    #[serde(default)]
    pub description: String,
    /// What signs: `whsec_` and base64 of 32 to 64 bytes. One is made when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Whether messages are sent; they wait when false.
    #[serde(default = "yes")]
    pub active: bool,
}

fn everything() -> Vec<String> {
    vec!["*".into()]
}

fn yes() -> bool {
    true
}

impl std::fmt::Debug for NewWebhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewWebhook")
            .field("url", &self.url)
            .field("event_types", &self.event_types)
            .finish_non_exhaustive()
    }
}

/// Changes to a webhook, as sent to `PATCH /v1/webhooks/{id}`; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WebhookChange {
    /// Where messages go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Which events, in place of those before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_types: Option<Vec<String>>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether messages are sent. Made active again, what waited is sent, oldest first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
}

/// A webhook, as answers show it; never with its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WebhookView {
    /// Its id.
    pub id: WebhookId,
    /// Where messages go.
    pub url: String,
    /// Which events.
    pub event_types: Vec<String>,
    /// What it is for.
    pub description: String,
    /// Whether messages are sent.
    pub active: bool,
    /// Why it is no longer active, where the server decided that.
    pub deactivated_reason: Option<String>,
    /// Messages that wait to be sent.
    pub undelivered: i64,
    /// Until when the secret before this one signs as well.
    pub previous_secret_until: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When anything of it last changed.
    pub updated_at: DateTime<Utc>,
}

/// A webhook with its secret: the one time that it is shown.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WebhookWithSecret {
    /// The webhook.
    #[serde(flatten)]
    pub webhook: WebhookView,
    /// What signs its messages. It is not shown again.
    pub secret: String,
}

impl std::fmt::Debug for WebhookWithSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookWithSecret").field("webhook", &self.webhook).finish_non_exhaustive()
    }
}

/// A change of secret, as sent to `POST /v1/webhooks/{id}/rotate`.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Rotation {
    /// The new secret, as in a new webhook. One is made when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// How long the old secret signs as well: 86,400 (a day) when absent, 7 days at most, 0 for not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap_seconds: Option<u64>,
}

impl std::fmt::Debug for Rotation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rotation").field("overlap_seconds", &self.overlap_seconds).finish_non_exhaustive()
    }
}

/// One attempt to deliver a message (row CAIRN-41).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeliveryView {
    /// Its id.
    pub id: DeliveryId,
    /// The webhook.
    pub webhook_id: WebhookId,
    /// The event that the message told of; the message's `webhook-id`.
    pub event_id: EventId,
    /// The event's type.
    pub event_type: String,
    /// 1 for the first try.
    pub attempt: i32,
    /// When.
    pub delivered_at: DateTime<Utc>,
    /// How long the receiver took.
    pub duration_ms: i64,
    /// What the receiver answered, if it did.
    pub status_code: Option<i32>,
    /// The beginning of what it wrote.
    pub response_body: Option<String>,
    /// What went wrong, if something did.
    pub error_message: Option<String>,
}

/// A message as somebody received it, as sent to `POST /v1/webhooks/verify`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Verification {
    /// The webhook that sent it.
    pub webhook_id: WebhookId,
    /// The body, exactly as it came.
    pub payload: String,
    /// The header `webhook-signature`, or `x-webhook-signature`.
    pub signature: String,
    /// The header `webhook-id`; needed for `webhook-signature`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The header `webhook-timestamp`; needed for `webhook-signature`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
}

/// Whether a message is one that the webhook has sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Verified {
    /// Whether it is.
    pub valid: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What happened, as a receiver of webhooks and a follower of the live stream read it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Happening {
    /// The event's id: a second message with the same one tells nothing new.
    pub id: EventId,
    /// What happened, such as `task.created`.
    #[serde(rename = "type")]
    pub kind: String,
    /// When.
    pub timestamp: DateTime<Utc>,
    /// What it is about.
    pub data: HappeningData,
}

/// What a [`Happening`] is about.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HappeningData {
    /// The task's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
    /// The execution's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<ExecutionId>,
    /// The whole task as it was after the event; of a deleted one, what it was last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub task: Option<Value>,
    /// The old values of the task's fields that changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub old_values: Option<Value>,
    /// The event's own words, as the record holds them.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub details: Value,
}
