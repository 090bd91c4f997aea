//! Background work: a function without input that is called on a timer and on a
//! nudge, looks at the world, and moves it one bounded step. The next call is
//! the retry, so nothing in it retries.

use std::future::Future;
use std::time::{Duration, Instant};

use kit::Tasks;

use crate::{Ctx, Result};

/// Work that happens by itself.
pub trait Reconciler: Send + Sync + 'static {
    /// Its name: for logs, metrics and nudges.
    const NAME: &'static str;
    /// How often it looks without being nudged.
    const EVERY: Duration;

    /// One step, idempotent. Gives how much it changed; 0 when there was nothing to do.
    fn tick(&self, ctx: &Ctx) -> impl Future<Output = Result<usize>> + Send;
}

/// Runs a reconciler until the tasks are told to stop: again at once while it changes
/// something, otherwise after a nudge or its interval. After a failure it waits its interval.
pub fn drive<R: Reconciler>(ctx: &Ctx, tasks: &Tasks, reconciler: R) {
    let (ctx, stop) = (ctx.clone(), tasks.clone());
    let mut nudged = ctx.nudges.subscribe(R::NAME);
    tasks.spawn(R::NAME, async move {
        while !stop.is_stopping() {
            nudged.borrow_and_update();
            let began = Instant::now();
            let changed = reconciler.tick(&ctx).await;
            metrics::histogram!("reconcile_seconds", "reconciler" => R::NAME).record(began.elapsed().as_secs_f64());
            match changed {
                Ok(0) => (),
                Ok(changed) => {
                    tracing::debug!(reconciler = R::NAME, changed, "reconciled");
                    continue;
                }
                Err(error) => report(R::NAME, &error),
            }
            tokio::select! {
                () = stop.stopping() => break,
                _ = nudged.changed() => (),
                () = tokio::time::sleep(R::EVERY) => (),
            }
        }
    });
}

fn report(name: &'static str, error: &crate::Error) {
    metrics::counter!("reconcile_failures_total", "reconciler" => name).increment(1);
    let cause = std::error::Error::source(error).map(ToString::to_string);
    match error {
        crate::Error::Unavailable { .. } => {
            tracing::warn!(reconciler = name, %error, cause, "background step postponed");
        }
        _ => tracing::error!(reconciler = name, %error, cause, "background step failed"),
    }
}
