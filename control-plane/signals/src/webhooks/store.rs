//! SQL of webhooks, of what is to be sent to them, and of what was.

use chrono::{DateTime, Utc};
use kernel::{Error, Result, Tx, execute, fetch_all, fetch_one, fetch_optional};
use sqlx::types::Uuid;
use wire::id::{DeliveryId, EventId, TaskId, TenantId, WebhookId, WebhookMessageId};
use wire::webhook::DeliveryView;

use super::Webhook;

kernel::sql! {
    ADD: "INSERT INTO webhooks (id, tenant_id, url, event_types, description, active, from_place, rotation, \
                                sealed_secret, created_at, updated_at) \
          VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8, $9, $9)";
    LIST: "SELECT * FROM webhooks WHERE tenant_id = $1 ORDER BY created_at, id";
    GET: "SELECT * FROM webhooks WHERE tenant_id = $1 AND id = $2";
    LOCK: "SELECT * FROM webhooks WHERE tenant_id = $1 AND id = $2" + lock;
    LOCK_ANY: "SELECT * FROM webhooks WHERE id = $1" + lock;
    ALL: "SELECT * FROM webhooks ORDER BY id";
    COUNT: "SELECT count(*) FROM webhooks";
    COUNT_OF_TENANT: "SELECT count(*) FROM webhooks WHERE tenant_id = $1";
    UPDATE: "UPDATE webhooks SET url = $2, event_types = $3, description = $4, active = $5, deactivated_reason = $6, \
                    rest_until = $7, rotation = $8, sealed_secret = $9, previous_sealed = $10, \
                    previous_secret_until = $11, updated_at = $12 WHERE id = $1";
    REST: "UPDATE webhooks SET rest_until = $2 WHERE id = $1 AND (rest_until IS NULL OR rest_until < $2)";
    CALM: "UPDATE webhooks SET rest_until = NULL WHERE id = $1";
    DELETE_MESSAGES: "DELETE FROM webhook_messages WHERE webhook_id = $1";
    DELETE_DELIVERIES: "DELETE FROM webhook_deliveries WHERE webhook_id = $1";
    DELETE: "DELETE FROM webhooks WHERE tenant_id = $1 AND id = $2";
    UNDELIVERED: "SELECT webhook_id, count(*) FROM webhook_messages WHERE tenant_id = $1 AND state = 'pending' \
                  GROUP BY webhook_id";
    LOCK_PROGRESS: "UPDATE webhook_progress SET place = place RETURNING place";
    PROGRESS: "SELECT place FROM webhook_progress";
    SET_PROGRESS: "UPDATE webhook_progress SET place = $1";
    ENQUEUE: "INSERT INTO webhook_messages (id, tenant_id, webhook_id, place, event_id, event_type, task_id, body, state, \
                                            attempts, next_try_at, created_at) \
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'pending', 0, $9, $9) \
              ON CONFLICT (webhook_id, event_id) DO NOTHING";
    DUE: "SELECT w.id FROM webhooks w WHERE w.active = $1 AND (w.rest_until IS NULL OR w.rest_until <= $2) \
            AND EXISTS (SELECT 1 FROM webhook_messages m WHERE m.webhook_id = w.id AND m.state = 'pending' \
                        AND m.next_try_at <= $2) ORDER BY w.id";
    CLAIM: "UPDATE webhook_messages SET next_try_at = $3 WHERE id IN \
              (SELECT m.id FROM webhook_messages m WHERE m.webhook_id = $1 AND m.state = 'pending' AND m.next_try_at <= $2 AND m.attempts >= $5 \
                 AND NOT EXISTS (SELECT 1 FROM webhook_messages e WHERE e.webhook_id = m.webhook_id \
                                 AND e.task_id = m.task_id AND e.state = 'pending' AND e.place < m.place) \
               ORDER BY m.place LIMIT $4) \
            RETURNING id, event_id, event_type, body, attempts";
    SETTLE: "UPDATE webhook_messages SET state = $2, attempts = attempts + 1 WHERE id = $1";
    TRY_AGAIN: "UPDATE webhook_messages SET attempts = attempts + 1, next_try_at = $2 WHERE id = $1";
    START_OVER: "UPDATE webhook_messages SET attempts = 0, next_try_at = $2 WHERE webhook_id = $1 AND state = 'pending'";
    SEND_AGAIN: "UPDATE webhook_messages SET state = 'pending', attempts = 0, next_try_at = $3 \
                 WHERE webhook_id = $1 AND event_id = $2";
    LOG: "INSERT INTO webhook_deliveries (id, tenant_id, webhook_id, event_id, event_type, attempt, delivered_at, \
                                          duration_ms, status_code, response_body, error_message) \
          VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    DELIVERIES: "SELECT * FROM webhook_deliveries WHERE tenant_id = $1 AND webhook_id = $2 \
                 AND ($3 IS NULL OR id < $3) ORDER BY id DESC LIMIT $4",
        postgres "SELECT * FROM webhook_deliveries WHERE tenant_id = $1 AND webhook_id = $2 \
                  AND (CAST($3 AS UUID) IS NULL OR id < $3) ORDER BY id DESC LIMIT $4";
    DELIVERY: "SELECT * FROM webhook_deliveries WHERE tenant_id = $1 AND webhook_id = $2 AND id = $3";
    FORGET_SETTLED: "DELETE FROM webhook_messages WHERE state <> 'pending' AND created_at < $1";
    FORGET_PENDING: "DELETE FROM webhook_messages WHERE created_at < $1";
    FORGET_DELIVERIES: "DELETE FROM webhook_deliveries WHERE delivered_at < $1";
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    tenant_id: Uuid,
    url: String,
    event_types: String,
    description: String,
    active: bool,
    deactivated_reason: Option<String>,
    rest_until: Option<DateTime<Utc>>,
    from_place: i64,
    rotation: i32,
    sealed_secret: Option<Vec<u8>>,
    previous_sealed: Option<Vec<u8>>,
    previous_secret_until: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl TryFrom<Row> for Webhook {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            id: row.id.into(),
            tenant: row.tenant_id.into(),
            url: row.url,
            event_types: serde_json::from_str(&row.event_types).map_err(|error| Error::Internal(error.into()))?,
            description: row.description,
            is_active: row.active,
            deactivated_reason: row.deactivated_reason,
            rest_until: row.rest_until,
            from_place: row.from_place,
            rotation: row.rotation,
            sealed_secret: row.sealed_secret,
            previous_sealed: row.previous_sealed,
            previous_secret_until: row.previous_secret_until,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

fn types(webhook: &Webhook) -> Result<String> {
    serde_json::to_string(&webhook.event_types).map_err(|error| Error::Internal(error.into()))
}

pub(super) async fn add(tx: &mut Tx, webhook: &Webhook) -> Result<()> {
    let (id, tenant, types) = (webhook.id.uuid(), webhook.tenant.uuid(), types(webhook)?);
    let (url, description, sealed) = (&webhook.url, &webhook.description, webhook.sealed_secret.as_deref());
    let (active, place, now) = (webhook.is_active, webhook.from_place, webhook.created_at);
    execute!(tx, ADD, id, tenant, url, types, description, active, place, sealed, now)?;
    Ok(())
}

pub(super) async fn list(tx: &mut Tx, tenant: TenantId) -> Result<Vec<Webhook>> {
    fetch_all!(tx, Row, LIST, tenant.uuid())?.into_iter().map(Webhook::try_from).collect()
}

pub(super) async fn get(tx: &mut Tx, tenant: TenantId, id: WebhookId) -> Result<Option<Webhook>> {
    fetch_optional!(tx, Row, GET, tenant.uuid(), id.uuid())?.map(Webhook::try_from).transpose()
}

pub(super) async fn lock(tx: &mut Tx, tenant: TenantId, id: WebhookId) -> Result<Option<Webhook>> {
    fetch_optional!(tx, Row, LOCK, tenant.uuid(), id.uuid())?.map(Webhook::try_from).transpose()
}

/// Whatever tenant's it is: for delivery, which acts for all of them.
pub(super) async fn lock_any(tx: &mut Tx, id: WebhookId) -> Result<Option<Webhook>> {
    fetch_optional!(tx, Row, LOCK_ANY, id.uuid())?.map(Webhook::try_from).transpose()
}

/// Every tenant's.
pub(super) async fn all(tx: &mut Tx) -> Result<Vec<Webhook>> {
    fetch_all!(tx, Row, ALL)?.into_iter().map(Webhook::try_from).collect()
}

pub(crate) async fn count(tx: &mut Tx) -> Result<i64> {
    let (count,) = fetch_one!(tx, (i64,), COUNT)?;
    Ok(count)
}

pub(super) async fn count_of_tenant(tx: &mut Tx, tenant: TenantId) -> Result<i64> {
    let (count,) = fetch_one!(tx, (i64,), COUNT_OF_TENANT, tenant.uuid())?;
    Ok(count)
}

/// Writes everything that may change, of a webhook that is locked.
pub(super) async fn update(tx: &mut Tx, webhook: &Webhook) -> Result<()> {
    execute!(
        tx,
        UPDATE,
        webhook.id.uuid(),
        &webhook.url,
        types(webhook)?,
        &webhook.description,
        webhook.is_active,
        webhook.deactivated_reason.as_deref(),
        webhook.rest_until,
        webhook.rotation,
        webhook.sealed_secret.as_deref(),
        webhook.previous_sealed.as_deref(),
        webhook.previous_secret_until,
        webhook.updated_at
    )?;
    Ok(())
}

/// Sends it nothing for a while.
pub(super) async fn rest(tx: &mut Tx, id: WebhookId, until: DateTime<Utc>) -> Result<()> {
    execute!(tx, REST, id.uuid(), until)?;
    Ok(())
}

/// The receiver answers again.
pub(super) async fn calm(tx: &mut Tx, id: WebhookId) -> Result<()> {
    execute!(tx, CALM, id.uuid())?;
    Ok(())
}

/// Deletes a webhook with everything that hangs on it.
pub(super) async fn delete(tx: &mut Tx, tenant: TenantId, id: WebhookId) -> Result<()> {
    execute!(tx, DELETE_MESSAGES, id.uuid())?;
    execute!(tx, DELETE_DELIVERIES, id.uuid())?;
    execute!(tx, DELETE, tenant.uuid(), id.uuid())?;
    Ok(())
}

/// How many messages wait for each of the tenant's webhooks.
pub(super) async fn undelivered(tx: &mut Tx, tenant: TenantId) -> Result<Vec<(WebhookId, i64)>> {
    let rows = fetch_all!(tx, (Uuid, i64), UNDELIVERED, tenant.uuid())?;
    Ok(rows.into_iter().map(|(id, count)| (id.into(), count)).collect())
}

/// Up to which place messages were made; locked, so that nobody else makes any.
pub(super) async fn lock_progress(tx: &mut Tx) -> Result<i64> {
    let (place,) = fetch_one!(tx, (i64,), LOCK_PROGRESS)?;
    Ok(place)
}

pub(crate) async fn progress(tx: &mut Tx) -> Result<i64> {
    let (place,) = fetch_one!(tx, (i64,), PROGRESS)?;
    Ok(place)
}

pub(super) async fn set_progress(tx: &mut Tx, place: i64) -> Result<()> {
    execute!(tx, SET_PROGRESS, place)?;
    Ok(())
}

/// A message that is to be sent.
pub(super) struct NewMessage<'a> {
    pub(super) id: WebhookMessageId,
    pub(super) webhook: &'a Webhook,
    pub(super) place: i64,
    pub(super) event: EventId,
    pub(super) event_type: &'a str,
    pub(super) task: Option<TaskId>,
    pub(super) body: &'a str,
    pub(super) now: DateTime<Utc>,
}

/// A second message of the same event to the same webhook is none.
pub(super) async fn enqueue(tx: &mut Tx, new: NewMessage<'_>) -> Result<()> {
    let (tenant, webhook) = (new.webhook.tenant.uuid(), new.webhook.id.uuid());
    let (event, task) = (new.event.uuid(), new.task.map(TaskId::uuid));
    execute!(tx, ENQUEUE, new.id.uuid(), tenant, webhook, new.place, event, new.event_type, task, new.body, new.now)?;
    Ok(())
}

/// Webhooks that something is to be sent to now.
pub(super) async fn due(tx: &mut Tx, now: DateTime<Utc>) -> Result<Vec<WebhookId>> {
    Ok(fetch_all!(tx, (Uuid,), DUE, true, now)?.into_iter().map(|(id,)| id.into()).collect())
}

/// A message that is being sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) id: WebhookMessageId,
    pub(crate) event: EventId,
    pub(crate) event_type: String,
    pub(crate) body: String,
    pub(crate) attempts: i32,
}

/// Takes the next messages of a webhook that is locked, at most one of each task, for as long as an attempt may
/// take: if nothing is heard of one until then, it is taken again. Only those that were tried so often already.
pub(super) async fn claim(
    tx: &mut Tx,
    webhook: WebhookId,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
    (limit, attempts_min): (i64, i32),
) -> Result<Vec<Message>> {
    let rows =
        fetch_all!(tx, (Uuid, Uuid, String, String, i32), CLAIM, webhook.uuid(), now, until, limit, attempts_min)?;
    let message = |(id, event, event_type, body, attempts): (Uuid, Uuid, String, String, i32)| Message {
        id: id.into(),
        event: event.into(),
        event_type,
        body,
        attempts,
    };
    Ok(rows.into_iter().map(message).collect())
}

/// Notes that nothing more is done about a message.
pub(super) async fn settle(tx: &mut Tx, id: WebhookMessageId, is_delivered: bool) -> Result<()> {
    execute!(tx, SETTLE, id.uuid(), if is_delivered { "delivered" } else { "refused" })?;
    Ok(())
}

/// Notes that a message was tried in vain.
pub(super) async fn try_again(tx: &mut Tx, id: WebhookMessageId, at: DateTime<Utc>) -> Result<()> {
    execute!(tx, TRY_AGAIN, id.uuid(), at)?;
    Ok(())
}

/// Has everything that waits sent as if it had never been tried.
pub(super) async fn start_over(tx: &mut Tx, webhook: WebhookId, now: DateTime<Utc>) -> Result<()> {
    execute!(tx, START_OVER, webhook.uuid(), now)?;
    Ok(())
}

/// Has one message sent again; whether it is still kept.
pub(super) async fn send_again(tx: &mut Tx, webhook: WebhookId, event: EventId, now: DateTime<Utc>) -> Result<bool> {
    Ok(execute!(tx, SEND_AGAIN, webhook.uuid(), event.uuid(), now)? == 1)
}

#[derive(sqlx::FromRow)]
struct DeliveryRow {
    id: Uuid,
    webhook_id: Uuid,
    event_id: Uuid,
    event_type: String,
    attempt: i32,
    delivered_at: DateTime<Utc>,
    duration_ms: i64,
    status_code: Option<i32>,
    response_body: Option<String>,
    error_message: Option<String>,
}

impl From<DeliveryRow> for DeliveryView {
    fn from(row: DeliveryRow) -> Self {
        Self {
            id: row.id.into(),
            webhook_id: row.webhook_id.into(),
            event_id: row.event_id.into(),
            event_type: row.event_type,
            attempt: row.attempt,
            delivered_at: row.delivered_at,
            duration_ms: row.duration_ms,
            status_code: row.status_code,
            response_body: row.response_body,
            error_message: row.error_message,
        }
    }
}

/// Writes an attempt down.
pub(super) async fn log(tx: &mut Tx, tenant: TenantId, delivery: &DeliveryView) -> Result<()> {
    let (id, webhook, event) = (delivery.id.uuid(), delivery.webhook_id.uuid(), delivery.event_id.uuid());
    let (kind, attempt) = (&delivery.event_type, delivery.attempt);
    let (at, millis, status) = (delivery.delivered_at, delivery.duration_ms, delivery.status_code);
    let (body, error) = (delivery.response_body.as_deref(), delivery.error_message.as_deref());
    execute!(tx, LOG, id, tenant.uuid(), webhook, event, kind, attempt, at, millis, status, body, error)?;
    Ok(())
}

/// Attempts, the newest first.
pub(super) async fn deliveries(
    tx: &mut Tx,
    tenant: TenantId,
    webhook: WebhookId,
    before: Option<DeliveryId>,
    limit: i64,
) -> Result<Vec<DeliveryView>> {
    let before = before.map(DeliveryId::uuid);
    let rows = fetch_all!(tx, DeliveryRow, DELIVERIES, tenant.uuid(), webhook.uuid(), before, limit)?;
    Ok(rows.into_iter().map(DeliveryView::from).collect())
}

pub(super) async fn delivery(
    tx: &mut Tx,
    tenant: TenantId,
    webhook: WebhookId,
    id: DeliveryId,
) -> Result<Option<DeliveryView>> {
    let row = fetch_optional!(tx, DeliveryRow, DELIVERY, tenant.uuid(), webhook.uuid(), id.uuid())?;
    Ok(row.map(DeliveryView::from))
}

/// Drops what was settled before the one time, and what nobody has taken and every attempt of before the other.
pub(crate) async fn forget(tx: &mut Tx, settled: DateTime<Utc>, all: DateTime<Utc>) -> Result<u64> {
    let mut gone = execute!(tx, FORGET_SETTLED, settled)?;
    gone += execute!(tx, FORGET_PENDING, all)?;
    gone += execute!(tx, FORGET_DELIVERIES, all)?;
    Ok(gone)
}
