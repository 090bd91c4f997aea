//! Webhooks over HTTP.

use access::permission::{WebhooksRead, WebhooksWrite};
use axum::Json;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use signals::webhooks;
use wire::id::{DeliveryId, WebhookId};
use wire::problem::Problem;
use wire::webhook::{
    DeliveryView, NewWebhook, Rotation, Verification, Verified, WebhookChange, WebhookView, WebhookWithSecret,
};

use super::body::{Body, Id, Ids, Parameters, attempt};
use super::caller::Allowed;
use super::problem::ApiError;
use super::{App, State};

/// Registers a webhook. The answer shows its secret, and no later one does.
#[utoipa::path(
    post, path = "/webhooks", tag = "webhooks", request_body = NewWebhook,
    params(("idempotency-key" = Option<String>, Header, description = "Makes a repeat give the first answer")),
    responses((status = 201, body = WebhookWithSecret), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 409, body = Problem)))]
pub(super) async fn add(
    State(app): State<App>,
    Allowed(caller, _): Allowed<WebhooksWrite>,
    headers: HeaderMap,
    Body(new): Body<NewWebhook>,
) -> Result<(StatusCode, Json<WebhookWithSecret>), ApiError> {
    let attempt = attempt(&headers, "webhooks.add", &new)?;
    let webhook = webhooks::add(&app.ctx, &app.sender, caller.tenant, new, attempt.as_ref()).await?;
    Ok((StatusCode::CREATED, Json(webhook)))
}

/// Every webhook, oldest first.
#[utoipa::path(
    get, path = "/webhooks", tag = "webhooks",
    responses((status = 200, body = Vec<WebhookView>), (status = 401, body = Problem)))]
pub(super) async fn list(
    State(app): State<App>,
    Allowed(caller, _): Allowed<WebhooksRead>,
) -> Result<Json<Vec<WebhookView>>, ApiError> {
    Ok(Json(webhooks::list(&app.ctx, caller.tenant).await?))
}

/// One webhook.
#[utoipa::path(
    get, path = "/webhooks/{id}", tag = "webhooks", params(("id" = WebhookId, Path)),
    responses((status = 200, body = WebhookView), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn get(
    State(app): State<App>,
    Allowed(caller, _): Allowed<WebhooksRead>,
    Id(id): Id<WebhookId>,
) -> Result<Json<WebhookView>, ApiError> {
    Ok(Json(webhooks::get(&app.ctx, caller.tenant, id).await?))
}

/// Changes a webhook. Made active again, it gets what waited for it.
#[utoipa::path(
    patch, path = "/webhooks/{id}", tag = "webhooks", params(("id" = WebhookId, Path)), request_body = WebhookChange,
    responses((status = 200, body = WebhookView), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem)))]
pub(super) async fn update(
    State(app): State<App>,
    Allowed(caller, _): Allowed<WebhooksWrite>,
    Id(id): Id<WebhookId>,
    Body(change): Body<WebhookChange>,
) -> Result<Json<WebhookView>, ApiError> {
    Ok(Json(webhooks::update(&app.ctx, &app.sender, caller.tenant, id, change).await?))
}

/// Deletes a webhook with what waits for it and the log of its deliveries.
#[utoipa::path(
    delete, path = "/webhooks/{id}", tag = "webhooks", params(("id" = WebhookId, Path)),
    responses((status = 204), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn delete(
    State(app): State<App>,
    Allowed(caller, _): Allowed<WebhooksWrite>,
    Id(id): Id<WebhookId>,
) -> Result<StatusCode, ApiError> {
    webhooks::delete(&app.ctx, caller.tenant, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives a webhook a new secret; for a while the old one signs as well. The answer shows the new one.
#[utoipa::path(
    post, path = "/webhooks/{id}/rotate", tag = "webhooks", params(("id" = WebhookId, Path)), request_body = Rotation,
    responses((status = 200, body = WebhookWithSecret), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem)))]
pub(super) async fn rotate(
    State(app): State<App>,
    Allowed(caller, _): Allowed<WebhooksWrite>,
    Id(id): Id<WebhookId>,
    Body(rotation): Body<Rotation>,
) -> Result<Json<WebhookWithSecret>, ApiError> {
    Ok(Json(webhooks::rotate(&app.ctx, &app.sender, caller.tenant, id, rotation).await?))
}

/// Sends a test message at once and tells what came of it, within ten seconds.
#[utoipa::path(
    post, path = "/webhooks/{id}/ping", tag = "webhooks", params(("id" = WebhookId, Path)),
    responses((status = 200, body = DeliveryView), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn ping(
    State(app): State<App>,
    Allowed(caller, _): Allowed<WebhooksWrite>,
    Id(id): Id<WebhookId>,
) -> Result<Json<DeliveryView>, ApiError> {
    Ok(Json(webhooks::ping(&app.ctx, &app.sender, caller.tenant, id).await?))
}

/// Which attempts.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct DeliveriesQuery {
    /// Only those before this one: the last of the page before.
    before: Option<String>,
    /// At most this many, 100 when absent, 1,000 at most.
    limit: Option<i64>,
}

/// Every attempt to deliver a message, the newest first.
#[utoipa::path(
    get, path = "/webhooks/{id}/deliveries", tag = "webhooks", params(("id" = WebhookId, Path), DeliveriesQuery),
    responses((status = 200, body = Vec<DeliveryView>), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem)))]
pub(super) async fn deliveries(
    State(app): State<App>,
    Allowed(caller, _): Allowed<WebhooksRead>,
    Id(id): Id<WebhookId>,
    Parameters(query): Parameters<DeliveriesQuery>,
) -> Result<Json<Vec<DeliveryView>>, ApiError> {
    let before = query.before.map(|text| text.parse::<DeliveryId>()).transpose();
    let before = before.map_err(|error| kernel::Error::invalid("before", error.to_string()))?;
    Ok(Json(webhooks::deliveries(&app.ctx, caller.tenant, id, before, query.limit).await?))
}

/// Has the message of an earlier delivery sent again, with the same `webhook-id`.
#[utoipa::path(
    post, path = "/webhooks/{id}/deliveries/{delivery_id}/redeliver", tag = "webhooks",
    params(("id" = WebhookId, Path), ("delivery_id" = DeliveryId, Path)),
    responses((status = 202), (status = 401, body = Problem), (status = 404, body = Problem),
              (status = 409, body = Problem)))]
pub(super) async fn redeliver(
    State(app): State<App>,
    Allowed(caller, _): Allowed<WebhooksWrite>,
    Ids(id, delivery): Ids<WebhookId, DeliveryId>,
) -> Result<StatusCode, ApiError> {
    webhooks::redeliver(&app.ctx, caller.tenant, id, delivery).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Tells whether a message, as it was received, was signed with the webhook's secret.
#[utoipa::path(
    post, path = "/webhooks/verify", tag = "webhooks", request_body = Verification,
    responses((status = 200, body = Verified), (status = 400, body = Problem), (status = 401, body = Problem)))]
pub(super) async fn verify(
    State(app): State<App>,
    Allowed(caller, _): Allowed<WebhooksRead>,
    Body(message): Body<Verification>,
) -> Result<Json<Verified>, ApiError> {
    Ok(Json(webhooks::verify(&app.ctx, &app.sender, caller.tenant, message).await?))
}
