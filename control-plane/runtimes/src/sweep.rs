//! What nobody asks about any more: triggers of supervisors that are silent, and runtimes of long ago.

use std::time::Duration;

use kernel::{Ctx, Reconciler, Result};

use crate::policy::{Settings, Step};
use crate::store;
use crate::triggers::{first, settle};

/// Triggers that one step forgets.
const FORGOTTEN_AT_ONCE: i64 = 5_000;
/// Runtimes in one step.
const AT_ONCE: i64 = 500;

/// The reconciler that ends and forgets.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sweep {
    settings: Settings,
}

impl Sweep {
    /// By these intervals.
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }
}

impl Reconciler for Sweep {
    const NAME: &'static str = "runtimes.sweep";
    const EVERY: Duration = Duration::from_secs(30);

    async fn tick(&self, ctx: &Ctx) -> Result<usize> {
        let mut tx = ctx.read("runtimes.with_open").await?;
        let mut due = Vec::new();
        for runtime in store::with_open(&mut tx, AT_ONCE).await? {
            // Most wait for something, and nobody's writing is held up for those.
            if matches!(first(ctx, &mut tx, &self.settings, &runtime).await?, Some((_, Step::End(..)))) {
                due.push(runtime);
            }
        }
        drop(tx);
        for runtime in due {
            let mut tx = ctx.begin("runtimes.settle").await?;
            if let Some(runtime) = store::lock(&mut tx, runtime.tenant, runtime.id).await? {
                settle(ctx, &mut tx, &self.settings, &runtime).await?;
            }
            tx.commit(()).await?;
        }
        let mut tx = ctx.begin("runtimes.forget").await?;
        let before = ctx.now() - self.settings.keep;
        let forgotten = store::forget(&mut tx, before).await?;
        let forgotten = forgotten + store::forget_triggers(&mut tx, before, FORGOTTEN_AT_ONCE).await?;
        tracing::debug!(forgotten, "swept runtimes");
        tx.commit(0).await
    }
}
