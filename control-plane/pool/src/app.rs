//! The provider's side of the pool: whatever machines are made in is made sure
//! of, and a token that may not even read is tried again, by nobody else and ever more
//! seldom.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kernel::{Ctx, Error, Reconciler, Result};

use crate::provider::SharedProvider;
use crate::regions::Rests;
use crate::{Watch, regions};

/// The reconciler that makes sure of the app, once, and of the token.
#[derive(Debug)]
pub struct EnsureApp {
    provider: SharedProvider,
    is_there: AtomicBool,
}

impl EnsureApp {
    /// With the provider.
    pub fn new(provider: SharedProvider) -> Self {
        Self { provider, is_there: AtomicBool::new(false) }
    }
}

impl Reconciler for EnsureApp {
    const NAME: &'static str = "ensure-app";
    const EVERY: Duration = Duration::from_secs(5);

    async fn tick(&self, ctx: &Ctx) -> Result<usize> {
        let mut tx = ctx.read("pool.ensure_app").await?;
        let rests = Rests::read(&mut tx).await?;
        let (is_refused, is_resting) = (rests.is_token_refused(), rests.is_token_resting(ctx.now()));
        drop(tx);
        // A token that was refused to an earlier process may be another one now.
        let is_new = !self.is_there.swap(true, Ordering::Relaxed);
        if !is_new && (!is_refused || is_resting) {
            return Ok(0);
        }
        match self.provider.prepare().await {
            Ok(()) => {
                // Before the app was there, nothing could be compared, and no machine is made without that.
                ctx.nudges.nudge(Watch::NUDGE);
                let mut tx = ctx.begin("pool.token_accepted").await?;
                regions::token_accepted(&mut tx, &self.provider, None).await?;
                if is_new {
                    regions::forget_tokens(&mut tx).await?;
                }
                tx.commit(0).await
            }
            Err(error) if regions::is_about_token(&error) => {
                regions::token_refused(ctx, &self.provider, None).await.map(|_| 0)
            }
            Err(error) => {
                self.is_there.store(false, Ordering::Relaxed);
                Err(Error::Unavailable { dependency: self.provider.name(), source: Box::new(error) })
            }
        }
    }
}
