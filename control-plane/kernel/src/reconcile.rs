//! Background work: a function without input that is called on a timer and on a
//! nudge, looks at the world, and moves it one bounded step. The next call is
//! the retry, so nothing in it retries.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use kit::Tasks;

use crate::{Ctx, Error, Result};

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
/// something, otherwise after a nudge or its interval. After a failure it waits its interval. Where several
/// control planes share a database, only the leader's runs.
pub fn drive<R: Reconciler>(ctx: &Ctx, tasks: &Tasks, reconciler: R) {
    let (ctx, stop, mut leadership) = (ctx.of_system(R::NAME), tasks.clone(), ctx.leadership.clone());
    let mut nudged = ctx.nudges.subscribe(R::NAME);
    tasks.spawn(R::NAME, async move {
        while !stop.is_stopping() {
            nudged.borrow_and_update();
            let Some(led) = ctx.led() else {
                tokio::select! {
                    () = stop.stopping() => break,
                    () = leadership.changed() => continue,
                }
            };
            let began = Instant::now();
            // A bug in one step must not end all later ones.
            let step = AssertUnwindSafe(reconciler.tick(&led)).catch_unwind().await;
            let changed = step.unwrap_or_else(|_| Err(Error::Internal(anyhow::anyhow!("the step panicked"))));
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

/// Notices that no step was made for long: the computer slept, or the process stood still. Whoever
/// judges others by their silence must not judge them by its own.
#[derive(Debug, Default)]
pub struct Gap(Mutex<Option<DateTime<Utc>>>);

impl Gap {
    /// Whether more than `limit` has passed since the last call; the first call has no gap before it.
    pub fn is_over(&self, now: DateTime<Utc>, limit: Duration) -> bool {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner).replace(now);
        last.is_some_and(|last| (now - last).to_std().is_ok_and(|gap| gap > limit))
    }
}

fn report(name: &'static str, error: &Error) {
    metrics::counter!("reconcile_failures_total", "reconciler" => name).increment(1);
    match error {
        Error::Unavailable { .. } => {
            tracing::warn!(reconciler = name, %error, cause = error.causes(), "background step postponed");
        }
        _ => tracing::error!(reconciler = name, %error, cause = error.causes(), "background step failed"),
    }
}
