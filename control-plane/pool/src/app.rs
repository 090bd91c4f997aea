//! The provider's side of the pool: whatever machines are made in is made sure
//! of, also after somebody has deleted it and its machines were given up, and a token that may not even read is tried again, by nobody else and ever more
//! seldom.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kernel::{Ctx, Error, Reconciler, Result, Tx};
use wire::worker::env::PROXIES;

use crate::provider::SharedProvider;
use crate::regions::Rests;
use crate::{Settings, Watch, machines, orphans, regions};

/// The reconciler that makes sure of the app and of the token.
#[derive(Debug)]
pub struct EnsureApp {
    provider: SharedProvider,
    is_there: AtomicBool,
    /// Where runners are in a network of their own, the app is made in that, and not from here.
    is_network_own: bool,
}

impl EnsureApp {
    /// With the provider.
    pub fn new(provider: SharedProvider, settings: &Settings) -> Self {
        // They leave it by a proxy alone.
        let is_network_own = settings.provider.runner_env.iter().any(|(name, _)| PROXIES.contains(&name.as_str()));
        Self { provider, is_there: AtomicBool::new(false), is_network_own }
    }
}

/// Whether the app may have been deleted: all machines were given up, and nobody could look into it since. Where there
/// are rows, a fault over there looks the same, and an operator has to give them up first.
async fn may_be_missed(tx: &mut Tx) -> Result<bool> {
    Ok(orphans::is_look_missing(tx).await? && machines::store::count_existing(tx).await? == 0)
}

impl Reconciler for EnsureApp {
    const NAME: &'static str = "ensure-app";
    const EVERY: Duration = Duration::from_secs(5);

    async fn tick(&self, ctx: &Ctx) -> Result<usize> {
        let mut tx = ctx.read("pool.ensure_app").await?;
        let rests = Rests::read(&mut tx).await?;
        let (is_refused, is_resting) = (rests.refusal_to_read().is_some(), rests.is_token_resting(ctx.now()));
        let is_missed = !self.is_network_own && may_be_missed(&mut tx).await?;
        drop(tx);
        // A token that was refused to an earlier process may be another one now.
        let is_new = !self.is_there.swap(true, Ordering::Relaxed);
        if !is_new && (is_resting || !(is_refused || is_missed)) {
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
                regions::gone_away(ctx, &self.provider, &error).await?;
                Err(Error::Unavailable { dependency: self.provider.name(), source: Box::new(error) })
            }
        }
    }
}
