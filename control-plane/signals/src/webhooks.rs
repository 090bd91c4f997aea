//! Webhooks: what happens is told to whoever has registered a URL for it (rows
//! CAIRN-37 to CAIRN-42).
//!
//! [`FanOut`] makes a message of each event for each webhook that wants it, in
//! the order of the outbox, once; [`WebhookDelivery`] sends them, at least once
//! and those of one task in order. Messages are rows: a receiver that is slow or
//! away holds up nobody else, and what it missed waits for it. One that fails for
//! too long is left alone until somebody makes it active again; then everything
//! that waited is sent (decision C-44).

mod address;
mod delivery;
mod fan_out;
pub(crate) mod policy;
mod secrets;
mod sender;
pub(crate) mod store;

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use kernel::audit::{self, Change, Entity};
use kernel::idempotency::{self, Attempt};
use kernel::{Ctx, Error, Result, Tx, outbox};
use serde_json::json;
use url::Url;
use wire::id::{DeliveryId, TenantId, WebhookId};
use wire::limit;
use wire::signature::{Key, Refusal, Signed};
use wire::webhook::{
    DeliveryView, NewWebhook, PING, Rotation, Verification, Verified, WebhookChange, WebhookView, WebhookWithSecret,
};

pub use address::{Reach, UnknownReach};
pub use delivery::{WebhookDelivery, ping};
pub use fan_out::FanOut;
pub use sender::Sender;

/// How long a replaced secret signs as well, where nothing else is asked.
const OVERLAP_SECONDS: u64 = 24 * 3_600;

/// A webhook.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Webhook {
    id: WebhookId,
    tenant: TenantId,
    url: String,
    event_types: Vec<String>,
    description: String,
    is_active: bool,
    deactivated_reason: Option<String>,
    /// Until when it is left alone after a failure.
    rest_until: Option<DateTime<Utc>>,
    /// The place of the outbox behind which events are its.
    from_place: i64,
    rotation: i32,
    sealed_secret: Option<Vec<u8>>,
    previous_sealed: Option<Vec<u8>>,
    previous_secret_until: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl Webhook {
    fn into_view(self, undelivered: i64) -> WebhookView {
        WebhookView {
            id: self.id,
            url: self.url,
            event_types: self.event_types,
            description: self.description,
            active: self.is_active,
            deactivated_reason: self.deactivated_reason,
            undelivered,
            previous_secret_until: self.previous_secret_until,
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }

    /// As the audit keeps it: without a secret.
    fn audited(&self) -> serde_json::Value {
        json!({
            "url": self.url,
            "event_types": self.event_types,
            "description": self.description,
            "active": self.is_active,
            "deactivated_reason": self.deactivated_reason,
            "rotation": self.rotation,
        })
    }

    fn entity(&self) -> Entity {
        Entity::new(self.tenant, "webhook", self.id)
    }
}

/// Registers a webhook (row CAIRN-37). Its secret is in this answer and in no other, but for a repeat of the request,
/// of which the webhook's id is remembered and never the secret.
pub async fn add(
    ctx: &Ctx,
    sender: &Sender,
    tenant: TenantId,
    new: NewWebhook,
    attempt: Option<&Attempt>,
) -> Result<WebhookWithSecret> {
    check_url(sender, &new.url)?;
    check_event_types(&new.event_types)?;
    check_description(&new.description)?;
    let given = new.secret.as_deref().map(secrets::given).transpose()?;
    let from_place = begin_at(ctx).await?;
    let mut tx = ctx.begin("webhooks.add").await?;
    if let Some(first) = idempotency::replay_if(&mut tx, tenant, attempt).await? {
        let webhook = load_locked(&mut tx, tenant, first).await?;
        return with_secret(sender, webhook);
    }
    if store::count_of_tenant(&mut tx, tenant).await? >= limit::WEBHOOKS_MAX {
        let message = format!("there are {} webhooks, which is the most; delete one first", limit::WEBHOOKS_MAX);
        return Err(Error::conflict("too_many_webhooks", message));
    }
    let (id, now) = (ctx.id(WebhookId::mint), ctx.now());
    let sealed_secret = given.as_ref().map(|key| sender.secrets.seal(&ctx.chance, id, 0, key)).transpose()?;
    let webhook = Webhook {
        id,
        tenant,
        url: new.url,
        event_types: new.event_types,
        description: new.description,
        is_active: new.active,
        deactivated_reason: None,
        rest_until: None,
        from_place,
        rotation: 0,
        sealed_secret,
        previous_sealed: None,
        previous_secret_until: None,
        created_at: now,
        updated_at: now,
    };
    store::add(&mut tx, &webhook).await?;
    audit::write(ctx, &mut tx, "webhook.added", &webhook.entity(), &Change::created(&webhook.audited())?).await?;
    idempotency::remember_if(&mut tx, tenant, attempt, &id, now).await?;
    tx.commit(with_secret(sender, webhook)?).await
}

fn with_secret(sender: &Sender, webhook: Webhook) -> Result<WebhookWithSecret> {
    let secret = secret_of(sender, &webhook)?.reveal();
    Ok(WebhookWithSecret { webhook: webhook.into_view(0), secret })
}

/// The place behind which events are a new webhook's. Where it is the first of all, nobody has made messages so
/// far.
async fn begin_at(ctx: &Ctx) -> Result<i64> {
    // Places are one row of numbers for all tenants.
    let mut tx = ctx.across_tenants().begin("webhooks.begin_at").await?;
    let progress = store::lock_progress(&mut tx).await?;
    outbox::place(&mut tx, i64::MAX).await?;
    let (last, _) = outbox::last_place(&mut tx).await?;
    if progress < last && store::count(&mut tx).await? == 0 {
        store::set_progress(&mut tx, last).await?;
    }
    tx.commit(last).await
}

fn check_url(sender: &Sender, text: &str) -> Result<()> {
    if text.chars().count() > limit::WEBHOOK_URL_CHARS {
        return Err(Error::invalid("url", format!("must have at most {} characters", limit::WEBHOOK_URL_CHARS)));
    }
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let url = url.ok_or_else(|| Error::invalid("url", "must be a URL such as https://example.org/hooks"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Error::invalid("url", "must not carry a credential; the receiver knows us by the signature"));
    }
    sender.reach.fault_of(&url).map_or(Ok(()), |fault| Err(Error::invalid("url", fault)))
}

fn check_event_types(types: &[String]) -> Result<()> {
    if types.is_empty() || types.len() > limit::WEBHOOK_EVENT_TYPES {
        let message = format!("must be 1 to {} event types", limit::WEBHOOK_EVENT_TYPES);
        return Err(Error::invalid("event_types", message));
    }
    let fault = types.iter().enumerate().find_map(|(place, kind)| Some((place, policy::fault_of(kind)?)));
    fault.map_or(Ok(()), |(place, fault)| Err(Error::invalid(format!("event_types[{place}]"), fault)))
}

fn check_description(text: &str) -> Result<()> {
    let most = limit::WEBHOOK_DESCRIPTION_CHARS;
    if text.chars().count() > most || text.chars().any(char::is_control) {
        return Err(Error::invalid("description", format!("must have at most {most} characters, on one line")));
    }
    Ok(())
}

fn secret_of(sender: &Sender, webhook: &Webhook) -> Result<Key> {
    sender.secrets.of(webhook.id, webhook.rotation, webhook.sealed_secret.as_deref())
}

/// The secrets that sign at a moment: the webhook's, and for a while after a rotation the one before.
fn signing_secrets(sender: &Sender, webhook: &Webhook, now: DateTime<Utc>) -> Result<Vec<Key>> {
    let mut keys = vec![secret_of(sender, webhook)?];
    if webhook.previous_secret_until.is_some_and(|until| now < until) {
        keys.push(sender.secrets.of(webhook.id, webhook.rotation - 1, webhook.previous_sealed.as_deref())?);
    }
    Ok(keys)
}

async fn load_locked(tx: &mut Tx, tenant: TenantId, id: WebhookId) -> Result<Webhook> {
    store::lock(tx, tenant, id).await?.ok_or(Error::NotFound { what: "webhook" })
}

async fn view(tx: &mut Tx, webhook: Webhook) -> Result<WebhookView> {
    let undelivered = store::undelivered(tx, webhook.tenant).await?;
    let own = undelivered.into_iter().find(|(id, _)| *id == webhook.id);
    Ok(webhook.into_view(own.map_or(0, |(_, count)| count)))
}

/// The tenant's webhooks, oldest first.
pub async fn list(ctx: &Ctx, tenant: TenantId) -> Result<Vec<WebhookView>> {
    let mut tx = ctx.read("webhooks.list").await?;
    let webhooks = store::list(&mut tx, tenant).await?;
    let undelivered: HashMap<WebhookId, i64> = store::undelivered(&mut tx, tenant).await?.into_iter().collect();
    let view = |webhook: Webhook| {
        let count = undelivered.get(&webhook.id).copied().unwrap_or(0);
        webhook.into_view(count)
    };
    Ok(webhooks.into_iter().map(view).collect())
}

/// One webhook.
pub async fn get(ctx: &Ctx, tenant: TenantId, id: WebhookId) -> Result<WebhookView> {
    let mut tx = ctx.read("webhooks.get").await?;
    let webhook = store::get(&mut tx, tenant, id).await?.ok_or(Error::NotFound { what: "webhook" })?;
    view(&mut tx, webhook).await
}

/// Changes a webhook. Made active again, or sent elsewhere, it gets what waited, from the first attempt on.
#[tracing::instrument(skip_all, fields(webhook.id = %id))]
pub async fn update(
    ctx: &Ctx,
    sender: &Sender,
    tenant: TenantId,
    id: WebhookId,
    change: WebhookChange,
) -> Result<WebhookView> {
    change.url.as_deref().map_or(Ok(()), |url| check_url(sender, url))?;
    change.event_types.as_deref().map_or(Ok(()), check_event_types)?;
    change.description.as_deref().map_or(Ok(()), check_description)?;
    let mut tx = ctx.begin("webhooks.update").await?;
    let before = load_locked(&mut tx, tenant, id).await?;
    let mut after = Webhook { updated_at: ctx.now(), ..before.clone() };
    after.url = change.url.unwrap_or(after.url);
    after.event_types = change.event_types.unwrap_or(after.event_types);
    after.description = change.description.unwrap_or(after.description);
    after.is_active = change.active.unwrap_or(after.is_active);
    if after.is_active && (!before.is_active || after.url != before.url) {
        (after.deactivated_reason, after.rest_until) = (None, None);
        store::start_over(&mut tx, id, ctx.now()).await?;
        tx.nudge(WebhookDelivery::NUDGE);
    }
    save(ctx, &mut tx, "webhook.updated", &before, &after).await?;
    let view = view(&mut tx, after).await?;
    tx.commit(view).await
}

/// Writes a changed webhook, and the change into the audit.
async fn save(ctx: &Ctx, tx: &mut Tx, action: &str, before: &Webhook, after: &Webhook) -> Result<()> {
    store::update(tx, after).await?;
    let change = Change::between(&before.audited(), &after.audited())?;
    audit::write(ctx, tx, action, &after.entity(), &change).await
}

/// Deletes a webhook with what waits for it and the log of its deliveries.
#[tracing::instrument(skip_all, fields(webhook.id = %id))]
pub async fn delete(ctx: &Ctx, tenant: TenantId, id: WebhookId) -> Result<()> {
    let mut tx = ctx.begin("webhooks.delete").await?;
    let webhook = load_locked(&mut tx, tenant, id).await?;
    store::delete(&mut tx, tenant, id).await?;
    audit::write(ctx, &mut tx, "webhook.deleted", &webhook.entity(), &Change::removed(&webhook.audited())?).await?;
    tx.commit(()).await
}

/// Gives a webhook a new secret. For a while the old one signs as well, so that the receiver can change over.
#[tracing::instrument(skip_all, fields(webhook.id = %id))]
pub async fn rotate(
    ctx: &Ctx,
    sender: &Sender,
    tenant: TenantId,
    id: WebhookId,
    rotation: Rotation,
) -> Result<WebhookWithSecret> {
    let overlap = rotation.overlap_seconds.unwrap_or(OVERLAP_SECONDS);
    if overlap > limit::ROTATION_OVERLAP_SECONDS_MAX {
        let message = format!("must be at most {} (7 days)", limit::ROTATION_OVERLAP_SECONDS_MAX);
        return Err(Error::invalid("overlap_seconds", message));
    }
    let given = rotation.secret.as_deref().map(secrets::given).transpose()?;
    let mut tx = ctx.begin("webhooks.rotate").await?;
    let before = load_locked(&mut tx, tenant, id).await?;
    let number = before.rotation + 1;
    let until = ctx.now() + TimeDelta::seconds(i64::try_from(overlap).unwrap_or(0));
    let after = Webhook {
        rotation: number,
        sealed_secret: given.as_ref().map(|key| sender.secrets.seal(&ctx.chance, id, number, key)).transpose()?,
        previous_sealed: before.sealed_secret.clone(),
        previous_secret_until: (overlap > 0).then_some(until),
        updated_at: ctx.now(),
        ..before.clone()
    };
    save(ctx, &mut tx, "webhook.rotated", &before, &after).await?;
    let secret = secret_of(sender, &after)?.reveal();
    let webhook = view(&mut tx, after).await?;
    tx.commit(WebhookWithSecret { webhook, secret }).await
}

/// Attempts to deliver, the newest first (row CAIRN-41).
pub async fn deliveries(
    ctx: &Ctx,
    tenant: TenantId,
    id: WebhookId,
    before: Option<DeliveryId>,
    limit: Option<i64>,
) -> Result<Vec<DeliveryView>> {
    let limit = limit.unwrap_or(100);
    if !(1..=limit::DELIVERIES_PAGE).contains(&limit) {
        return Err(Error::invalid("limit", format!("must be from 1 to {}", limit::DELIVERIES_PAGE)));
    }
    let mut tx = ctx.read("webhooks.deliveries").await?;
    store::get(&mut tx, tenant, id).await?.ok_or(Error::NotFound { what: "webhook" })?;
    store::deliveries(&mut tx, tenant, id, before, limit).await
}

/// Has the message of an earlier delivery sent again, with the same id.
#[tracing::instrument(skip_all, fields(webhook.id = %id))]
pub async fn redeliver(ctx: &Ctx, tenant: TenantId, id: WebhookId, delivery: DeliveryId) -> Result<()> {
    let mut tx = ctx.begin("webhooks.redeliver").await?;
    let webhook = load_locked(&mut tx, tenant, id).await?;
    let earlier = store::delivery(&mut tx, tenant, id, delivery).await?;
    let earlier = earlier.ok_or(Error::NotFound { what: "delivery of this webhook" })?;
    if earlier.event_type == PING {
        return Err(Error::conflict("delivery_of_ping", "that was a test; ping the webhook again instead"));
    }
    if !store::send_again(&mut tx, id, earlier.event_id, ctx.now()).await? {
        let message = "the message is no longer kept: what was delivered is kept for 7 days, the rest for 30";
        return Err(Error::conflict("message_gone", message));
    }
    let change = Change::created(&json!({ "redelivered_event": earlier.event_id }))?;
    audit::write(ctx, &mut tx, "webhook.redelivered", &webhook.entity(), &change).await?;
    tx.nudge(WebhookDelivery::NUDGE);
    tx.commit(()).await
}

/// Whether a message is the webhook's, for who builds a receiver (row CAIRN-39).
pub async fn verify(ctx: &Ctx, sender: &Sender, tenant: TenantId, message: Verification) -> Result<Verified> {
    let mut tx = ctx.read("webhooks.verify").await?;
    let found = store::get(&mut tx, tenant, message.webhook_id).await?;
    let webhook = found.ok_or_else(|| Error::invalid("webhook_id", "names no webhook"))?;
    let keys = signing_secrets(sender, &webhook, ctx.now())?;
    let body = message.payload.as_bytes();
    let refusal = if message.signature.contains(',') {
        let (Some(id), Some(timestamp)) = (&message.id, &message.timestamp) else {
            return Err(Error::invalid("id", "and timestamp are needed for a signature of the form v1,…"));
        };
        let signed = Signed { id, timestamp, signature: &message.signature };
        let refusals = keys.iter().map(|key| key.verify(&signed, body, ctx.now()));
        refusals.reduce(|one, other| one.or(other)).and_then(|verified| verified.err())
    } else {
        let is_signed = keys.iter().any(|key| key.has_signed_plainly(body, message.signature.trim()));
        (!is_signed).then_some(Refusal::WrongSignature)
    };
    Ok(Verified { valid: refusal.is_none(), reason: refusal.map(|refusal| refusal.to_string()) })
}

#[cfg(test)]
mod tests;
