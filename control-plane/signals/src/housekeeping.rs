//! Forgets what was told long ago, and repeated requests nobody will repeat any
//! more. What a webhook has not been given yet stays in the outbox.

use std::time::Duration;

use chrono::TimeDelta;
use kernel::{Ctx, Reconciler, Result, outbox};

use crate::webhooks::store;

/// How long told entries are kept for people to look at.
const KEEP: TimeDelta = TimeDelta::days(7);
/// How long the log of webhooks is kept, and what their receivers have not taken.
const KEEP_UNDELIVERED: TimeDelta = TimeDelta::days(30);

/// The reconciler that forgets.
#[derive(Debug, Clone, Copy)]
pub struct Housekeeping;

impl Reconciler for Housekeeping {
    const NAME: &'static str = "housekeeping";
    const EVERY: Duration = Duration::from_secs(600);

    async fn tick(&self, ctx: &Ctx) -> Result<usize> {
        let mut tx = ctx.begin("signals.housekeeping").await?;
        let now = ctx.now();
        let up_to = match store::count(&mut tx).await? {
            0 => None,
            _ => Some(store::progress(&mut tx).await?),
        };
        let gone = outbox::prune(&mut tx, now - KEEP, up_to).await?;
        let gone = gone + store::forget(&mut tx, now - KEEP, now - KEEP_UNDELIVERED).await?;
        let forgotten = kernel::idempotency::prune(&mut tx, now - TimeDelta::days(1)).await?;
        tracing::debug!(gone, forgotten, "kept house");
        tx.commit(0).await
    }
}
