//! Makes the messages: one of each event for each webhook that wants it, in the
//! order of the outbox. How far that has come is a row, moved on in the
//! transaction that makes them, so that no event is missed and none is told twice.
//! The event store is told by itself, whatever happens here.

use std::time::Duration;

use kernel::outbox::{self, Placed};
use kernel::{Ctx, Error, Reconciler, Result, Tx};
use wire::id::WebhookMessageId;

use super::delivery::WebhookDelivery;
use super::policy::{told_as, wants};
use super::{Webhook, store};
use crate::happening::happening;

/// Events looked at in one step.
const BATCH: i64 = 200;

/// The reconciler that makes messages.
#[derive(Debug, Clone, Copy)]
pub struct FanOut;

impl Reconciler for FanOut {
    const NAME: &'static str = outbox::WEBHOOKS_NUDGE;
    const EVERY: Duration = Duration::from_secs(2);

    async fn tick(&self, ctx: &Ctx) -> Result<usize> {
        if !is_behind(ctx).await? {
            return Ok(0);
        }
        let mut tx = ctx.begin("webhooks.fan_out").await?;
        let progress = store::lock_progress(&mut tx).await?;
        outbox::place(&mut tx, BATCH).await?;
        let events = outbox::behind(&mut tx, progress, BATCH).await?;
        let Some(last) = events.last().map(|event| event.place) else { return Ok(0) };
        let webhooks = store::all(&mut tx).await?;
        for event in &events {
            fan_out(ctx, &mut tx, &webhooks, event).await?;
        }
        store::set_progress(&mut tx, last).await?;
        tx.nudge(WebhookDelivery::NUDGE);
        tx.commit(events.len()).await
    }
}

/// Without a webhook there is nothing to do, and with one mostly neither; both are seen without writing.
async fn is_behind(ctx: &Ctx) -> Result<bool> {
    let mut tx = ctx.read("webhooks.is_behind").await?;
    if store::count(&mut tx).await? == 0 {
        return Ok(false);
    }
    let (last, has_more) = outbox::last_place(&mut tx).await?;
    Ok(has_more || store::progress(&mut tx).await? < last)
}

async fn fan_out(ctx: &Ctx, tx: &mut Tx, webhooks: &[Webhook], event: &Placed) -> Result<()> {
    let kind = told_as(&event.kind, event.snapshot.is_some());
    let wants = |webhook: &&Webhook| {
        Some(webhook.tenant) == event.tenant && webhook.from_place < event.place && wants(&webhook.event_types, kind)
    };
    let mut body = None;
    for webhook in webhooks.iter().filter(wants) {
        let body = match &mut body {
            Some(body) => body,
            None => body.insert(body_of(event, kind)?),
        };
        let id = ctx.id(WebhookMessageId::mint);
        let message = store::NewMessage {
            id,
            webhook,
            place: event.place,
            event: event.id,
            event_type: kind,
            task: event.task,
            body,
            now: ctx.now(),
        };
        store::enqueue(tx, message).await?;
    }
    Ok(())
}

fn body_of(event: &Placed, kind: &str) -> Result<String> {
    serde_json::to_string(&happening(event, kind)).map_err(|error| Error::Internal(error.into()))
}
