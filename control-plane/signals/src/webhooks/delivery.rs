//! Sends the messages. Each webhook that something is due for is served by a task
//! of its own, a few messages at a time and never two of one task; so a receiver
//! that is slow holds up itself alone. Every attempt is written down. After a
//! failure the whole webhook rests: what failed is tried again before anything else
//! is sent there (row CAIRN-42).

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use kernel::outbox::{self, About};
use kernel::{Ctx, Error, Reconciler, Result, Tx};
use kit::Tasks;
use serde_json::json;
use tokio::sync::Semaphore;
use wire::event::kind;
use wire::id::{DeliveryId, EventId, TenantId, WebhookId};
use wire::webhook::{DeliveryView, Happening, HappeningData, PING};

use super::policy::{Answer, Verdict, judge};
use super::sender::{DEADLINE, Sender, Sent};
use super::store::{self, Message};
use super::{Webhook, save};

/// Webhooks served at once; the others wait for their turn.
const WEBHOOKS_AT_ONCE: usize = 64;
/// Messages sent to one webhook at once.
const MESSAGES_AT_ONCE: i64 = 8;
/// How long a message is an attempt's: longer than one can take.
const CLAIM: TimeDelta = TimeDelta::seconds(60);
/// Rounds of messages before the next webhook has its turn.
const ROUNDS: usize = 100;

const _: () = assert!(DEADLINE.as_secs() < 60, "an attempt ends before its message is taken again");

/// The reconciler that sends messages.
#[derive(Debug, Clone)]
pub struct WebhookDelivery {
    sender: Sender,
    tasks: Tasks,
    in_hand: Arc<Mutex<HashSet<WebhookId>>>,
    room: Arc<Semaphore>,
}

impl WebhookDelivery {
    /// The name under which it is nudged.
    pub const NUDGE: &'static str = "webhook-delivery";

    /// Attempts run as tasks of `tasks`.
    pub fn new(sender: Sender, tasks: Tasks) -> Self {
        Self { sender, tasks, in_hand: Arc::default(), room: Arc::new(Semaphore::new(WEBHOOKS_AT_ONCE)) }
    }

    fn take(&self, id: WebhookId) -> Option<InHand> {
        let mut set = self.in_hand.lock().unwrap_or_else(PoisonError::into_inner);
        set.insert(id).then(|| InHand { id, set: Arc::clone(&self.in_hand) })
    }

    /// Sends what is due to one webhook; whether there may be more.
    pub async fn serve(&self, ctx: &Ctx, id: WebhookId) -> Result<bool> {
        for _ in 0..ROUNDS {
            if self.tasks.is_stopping() {
                break;
            }
            let Some((webhook, messages)) = claim(ctx, id).await? else { return Ok(false) };
            let attempts = join_all(messages.iter().map(|message| self.attempt(ctx, &webhook, message))).await;
            attempts.into_iter().collect::<Result<Vec<()>>>()?;
        }
        Ok(true)
    }

    async fn attempt(&self, ctx: &Ctx, webhook: &Webhook, message: &Message) -> Result<()> {
        let sent = self.sender.send(webhook, message.event, &message.body, ctx.now()).await;
        record(ctx, webhook, message, &sent).await
    }
}

impl Reconciler for WebhookDelivery {
    const NAME: &'static str = Self::NUDGE;
    const EVERY: Duration = Duration::from_secs(1);

    /// Starts a task for every webhook that something is due for; they run side by side.
    async fn tick(&self, ctx: &Ctx) -> Result<usize> {
        let mut tx = ctx.read("webhooks.due").await?;
        let due = store::due(&mut tx, ctx.now()).await?;
        drop(tx);
        for id in due {
            let Some(in_hand) = self.take(id) else { continue };
            // The one that makes room says so.
            let Ok(place) = Arc::clone(&self.room).try_acquire_owned() else { break };
            let (this, ctx) = (self.clone(), ctx.clone());
            self.tasks.spawn("webhook", async move {
                let served = this.serve(&ctx, id).await;
                drop((in_hand, place));
                match served {
                    Ok(_) => ctx.nudges.nudge(Self::NUDGE),
                    // The next beat goes on; at once, it would only fail again.
                    Err(error) => {
                        tracing::warn!(webhook.id = %id, %error, cause = error.causes(), "a webhook was not served");
                    }
                }
            });
        }
        Ok(0)
    }
}

/// Gives the webhook back when dropped, also when its task panics.
#[derive(Debug)]
struct InHand {
    id: WebhookId,
    set: Arc<Mutex<HashSet<WebhookId>>>,
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.set.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

/// The next messages of a webhook, if it may be sent any.
async fn claim(ctx: &Ctx, id: WebhookId) -> Result<Option<(Webhook, Vec<Message>)>> {
    let now = ctx.now();
    let mut tx = ctx.begin("webhooks.claim").await?;
    let Some(webhook) = store::lock_any(&mut tx, id).await? else { return Ok(None) };
    if !webhook.is_active || webhook.rest_until.is_some_and(|until| now < until) {
        return Ok(None);
    }
    let until = now + CLAIM;
    // After a failure only what has failed is tried, until the receiver answers.
    let mut messages = match webhook.rest_until {
        Some(_) => store::claim(&mut tx, id, now, until, (MESSAGES_AT_ONCE, 1)).await?,
        None => Vec::new(),
    };
    if messages.is_empty() {
        messages = store::claim(&mut tx, id, now, until, (MESSAGES_AT_ONCE, 0)).await?;
    }
    if messages.is_empty() {
        return Ok(None);
    }
    tx.commit(Some((webhook, messages))).await
}

/// Writes down what came of an attempt, and what follows from it.
async fn record(ctx: &Ctx, sent_to: &Webhook, message: &Message, sent: &Sent) -> Result<()> {
    let attempt = message.attempts + 1;
    let mut tx = ctx.begin("webhooks.record").await?;
    // Deleted meanwhile: then nobody wants to know.
    let Some(webhook) = store::lock_any(&mut tx, sent_to.id).await? else { return Ok(()) };
    let delivery = delivery(ctx, webhook.id, message.event, &message.event_type, attempt, sent);
    store::log(&mut tx, webhook.tenant, &delivery).await?;
    let verdict = judge(sent.answer, attempt);
    metrics::counter!("webhook_attempts_total", "verdict" => word_of(verdict)).increment(1);
    if matches!(verdict, Verdict::Delivered | Verdict::Refused) && webhook.rest_until.is_some() {
        store::calm(&mut tx, webhook.id).await?;
    }
    match verdict {
        Verdict::Delivered => store::settle(&mut tx, message.id, true).await?,
        Verdict::Refused => store::settle(&mut tx, message.id, false).await?,
        Verdict::Retry(wait) => {
            let at = after(ctx.now(), wait);
            store::try_again(&mut tx, message.id, at).await?;
            store::rest(&mut tx, webhook.id, at).await?;
        }
        Verdict::GiveUp => {
            store::try_again(&mut tx, message.id, ctx.now()).await?;
            give_up(ctx, &mut tx, &webhook, &delivery).await?;
        }
    }
    tx.commit(()).await
}

fn word_of(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Delivered => "delivered",
        Verdict::Refused => "refused",
        Verdict::Retry(_) => "retry",
        Verdict::GiveUp => "given_up",
    }
}

fn after(now: DateTime<Utc>, wait: Duration) -> DateTime<Utc> {
    now + TimeDelta::from_std(wait).unwrap_or(TimeDelta::hours(1))
}

/// Sends nothing more until somebody makes the webhook active again; what waits, waits on.
async fn give_up(ctx: &Ctx, tx: &mut Tx, webhook: &Webhook, last: &DeliveryView) -> Result<()> {
    if !webhook.is_active {
        return Ok(());
    }
    let what = match (last.status_code, &last.error_message) {
        (Some(code), _) => format!("answered with {code}"),
        (None, error) => format!("did not answer: {}", error.as_deref().unwrap_or("unknown")),
    };
    let reason = format!("the receiver {what}, at attempt {} for one message", last.attempt);
    tracing::warn!(webhook.id = %webhook.id, reason, "a webhook was deactivated");
    let off = Webhook {
        is_active: false,
        deactivated_reason: Some(reason.clone()),
        rest_until: None,
        updated_at: ctx.now(),
        ..webhook.clone()
    };
    save(ctx, tx, kind::WEBHOOK_DEACTIVATED, webhook, &off).await?;
    let about = About { tenant: Some(webhook.tenant), ..About::default() };
    let payload = json!({ "webhook_id": webhook.id, "reason": reason });
    outbox::push(ctx, tx, kind::WEBHOOK_DEACTIVATED, about, &payload).await
}

fn delivery(ctx: &Ctx, webhook: WebhookId, event: EventId, kind: &str, attempt: i32, sent: &Sent) -> DeliveryView {
    let status_code = match sent.answer {
        Answer::Status { code, .. } => Some(i32::from(code)),
        Answer::Nothing => None,
    };
    DeliveryView {
        id: ctx.id(DeliveryId::mint),
        webhook_id: webhook,
        event_id: event,
        event_type: kind.to_owned(),
        attempt,
        delivered_at: ctx.now(),
        duration_ms: i64::try_from(sent.took.as_millis()).unwrap_or(i64::MAX),
        status_code,
        response_body: sent.body.clone(),
        error_message: sent.error.clone(),
    }
}

/// Sends a test message at once, also to a webhook that is not active; what came of it.
#[tracing::instrument(skip_all, fields(webhook.id = %id))]
pub async fn ping(ctx: &Ctx, sender: &Sender, tenant: TenantId, id: WebhookId) -> Result<DeliveryView> {
    let mut tx = ctx.read("webhooks.ping").await?;
    let webhook = store::get(&mut tx, tenant, id).await?.ok_or(Error::NotFound { what: "webhook" })?;
    // Nothing is sent while a transaction is open.
    drop(tx);
    let event = ctx.id(EventId::mint);
    let data = HappeningData { details: json!({ "webhook_id": id }), ..HappeningData::default() };
    let happening = Happening { id: event, kind: PING.into(), timestamp: ctx.now(), data };
    let body = serde_json::to_string(&happening).map_err(|error| Error::Internal(error.into()))?;
    let sent = sender.send(&webhook, event, &body, ctx.now()).await;
    let delivery = delivery(ctx, id, event, PING, 1, &sent);
    let mut tx = ctx.begin("webhooks.pinged").await?;
    if store::lock_any(&mut tx, id).await?.is_some() {
        store::log(&mut tx, tenant, &delivery).await?;
    }
    tx.commit(delivery).await
}
