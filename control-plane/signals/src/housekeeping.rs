//! Forgets what was told long ago, and repeated requests nobody will repeat any more.

use std::time::Duration;

use chrono::TimeDelta;
use kernel::{Ctx, Reconciler, Result, outbox};

/// How long told entries are kept for people to look at.
const KEEP: TimeDelta = TimeDelta::days(7);

/// The reconciler that forgets.
#[derive(Debug, Clone, Copy)]
pub struct Housekeeping;

impl Reconciler for Housekeeping {
    const NAME: &'static str = "housekeeping";
    const EVERY: Duration = Duration::from_secs(600);

    async fn tick(&self, ctx: &Ctx) -> Result<usize> {
        let mut tx = ctx.begin("signals.housekeeping").await?;
        let now = ctx.now();
        let gone = outbox::prune(&mut tx, now - KEEP).await?;
        let forgotten = kernel::idempotency::prune(&mut tx, now - TimeDelta::days(1)).await?;
        tracing::debug!(gone, forgotten, "kept house");
        tx.commit(0).await
    }
}
