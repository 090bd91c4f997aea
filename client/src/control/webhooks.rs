//! Who is told of what happens: webhooks, and the live stream.

use std::time::Duration;

use reqwest::Method;
use wire::id::{DeliveryId, TaskId, WebhookId};
use wire::webhook::{
    DeliveryView, NewWebhook, Rotation, Verification, Verified, WebhookChange, WebhookView, WebhookWithSecret,
};

use super::Control;
use crate::Error;
use crate::sse::Messages;

/// A stream has no end of its own to set a deadline by; its server sends a sign of life instead.
const STREAM_DEADLINE: Duration = Duration::from_secs(8 * 24 * 3_600);

impl Control {
    /// Registers a webhook; the answer shows its secret.
    pub async fn add_webhook(&self, new: &NewWebhook) -> Result<WebhookWithSecret, Error> {
        self.service.json(self.post("/v1/webhooks").json(new)).await
    }

    /// Every webhook.
    pub async fn webhooks(&self) -> Result<Vec<WebhookView>, Error> {
        self.service.json(self.get("/v1/webhooks")).await
    }

    /// One webhook.
    pub async fn webhook(&self, id: WebhookId) -> Result<WebhookView, Error> {
        self.service.json(self.get(&format!("/v1/webhooks/{id}"))).await
    }

    /// Changes a webhook.
    pub async fn update_webhook(&self, id: WebhookId, change: &WebhookChange) -> Result<WebhookView, Error> {
        self.service.json(self.request(Method::PATCH, &format!("/v1/webhooks/{id}")).json(change)).await
    }

    /// Deletes a webhook with what waits for it.
    pub async fn delete_webhook(&self, id: WebhookId) -> Result<(), Error> {
        self.service.send(self.delete_request(&format!("/v1/webhooks/{id}"))).await.map(drop)
    }

    /// Gives a webhook a new secret, which the answer shows.
    pub async fn rotate_webhook(&self, id: WebhookId, rotation: &Rotation) -> Result<WebhookWithSecret, Error> {
        self.service.json(self.post(&format!("/v1/webhooks/{id}/rotate")).json(rotation)).await
    }

    /// Sends a test message and tells what came of it.
    pub async fn ping_webhook(&self, id: WebhookId) -> Result<DeliveryView, Error> {
        self.service.json(self.post(&format!("/v1/webhooks/{id}/ping"))).await
    }

    /// Attempts to deliver, the newest first, before the given one.
    pub async fn deliveries(
        &self,
        id: WebhookId,
        before: Option<DeliveryId>,
        limit: u32,
    ) -> Result<Vec<DeliveryView>, Error> {
        let mut query = vec![("limit", limit.to_string())];
        query.extend(before.map(|before| ("before", before.to_string())));
        self.service.json(self.get(&format!("/v1/webhooks/{id}/deliveries")).query(&query)).await
    }

    /// Has the message of an earlier delivery sent again.
    pub async fn redeliver(&self, id: WebhookId, delivery: DeliveryId) -> Result<(), Error> {
        let path = format!("/v1/webhooks/{id}/deliveries/{delivery}/redeliver");
        self.service.send(self.post(&path)).await.map(drop)
    }

    /// Whether a message, as it was received, is the webhook's.
    pub async fn verify_webhook(&self, message: &Verification) -> Result<Verified, Error> {
        self.service.json(self.post("/v1/webhooks/verify").json(message)).await
    }

    /// What happens, while it happens: server-sent events named by their type, with `open` first. `after` resumes
    /// behind the last id that was read.
    pub async fn stream(&self, types: Option<&str>, after: Option<&str>) -> Result<Messages, Error> {
        let types: Vec<(&str, &str)> = types.map(|types| ("types", types)).into_iter().collect();
        self.follow(self.get("/v1/stream").query(&types), after).await
    }

    /// What happens to one task, with the task as it is first, named `task`.
    pub async fn task_stream(&self, id: TaskId, after: Option<&str>) -> Result<Messages, Error> {
        self.follow(self.get(&format!("/v1/tasks/{id}/events")), after).await
    }

    /// Reads a stream, behind the given id.
    pub(super) async fn follow(
        &self,
        request: reqwest::RequestBuilder,
        after: Option<&str>,
    ) -> Result<Messages, Error> {
        let request = match after {
            Some(after) => request.header("last-event-id", after),
            None => request,
        };
        self.service.send(request.timeout(STREAM_DEADLINE)).await.map(Messages::new)
    }
}
