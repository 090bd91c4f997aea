//! Compares the registry with what the provider says is there, in both
//! directions: rows whose machine has stopped or vanished, and machines and
//! volumes of this pool that have no row. An orphan is reported when first seen
//! and destroyed when it has been there for long enough, and more than once; one that
//! was there when this process first looked, and that no row ever knew, is not. What
//! is on its way for too long is reported and acted on; what was replaced is
//! cleared away.

mod compare;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use fly::Advice;
use kernel::{Ctx, Error, Reconciler, Result};
use wire::id::MachineId;
use wire::machine::{MachineState, OrphanKind};

use crate::machines::store::Released;
use crate::machines::{Machine, report_stuck, shift, store};
use crate::orphans::Look;
use crate::provider::SharedProvider;
use crate::provision::made;
use crate::regions::Rests;
use crate::{Provision, Settings, ever_later, money, orphans, regions};
use compare::{Finding, Known, compare, is_going};

/// The reconciler that compares.
#[derive(Debug)]
pub struct Watch {
    provider: SharedProvider,
    settings: Arc<Settings>,
    /// When this process first compared.
    since: OnceLock<DateTime<Utc>>,
}

impl Watch {
    /// The name under which it is nudged.
    pub const NUDGE: &'static str = "machine-watch";

    /// With the provider.
    pub fn new(provider: SharedProvider, settings: Arc<Settings>) -> Self {
        Self { provider, settings, since: OnceLock::new() }
    }

    async fn known(&self, ctx: &Ctx) -> Result<Known> {
        let mut tx = ctx.read("pool.watch").await?;
        let machines = store::list(&mut tx).await?;
        let (volume_ids, volume_names) = store::known_volumes(&mut tx).await?;
        Ok(Known { machines, volume_ids, volume_names })
    }

    async fn act(&self, ctx: &Ctx, finding: &Finding) -> Result<()> {
        match finding {
            Finding::Row { id, from, to, why } => follow(ctx, *id, *from, *to, why).await,
            Finding::Nameless { id, found } => {
                let mut tx = ctx.begin("pool.watch.nameless").await?;
                store::set_provider_id(&mut tx, *id, &made(&self.settings, found, ctx.now())).await?;
                tx.commit(()).await
            }
            Finding::Stalled(id) => {
                let mut tx = ctx.begin("pool.watch.stalled").await?;
                store::try_now(&mut tx, *id, ctx.now()).await?;
                tx.nudge(Provision::NUDGE);
                tx.commit(()).await
            }
            Finding::Missing { id, provider_id, from, to } => {
                match self.provider.machine(provider_id).await {
                    Ok(found) if !is_going(found.state) => {
                        tracing::info!(machine.id = %id, "a list lags behind and lacks a machine that is there");
                        return Ok(());
                    }
                    Err(error) if error.advice() != Advice::Gone => return Err(unavailable(&self.provider, error)),
                    Ok(_) | Err(_) => (),
                }
                follow(ctx, *id, *from, *to, "the machine is gone at the provider").await
            }
            Finding::Moved { volume, provider_id } => {
                tracing::warn!(volume.id = %volume, provider_id, "the provider has moved a machine and its volume");
                let mut tx = ctx.begin("pool.watch.moved").await?;
                store::volume_moved(&mut tx, *volume, provider_id).await?;
                tx.commit(()).await
            }
            // These are kept and judged together.
            Finding::Orphan(_) => Ok(()),
        }
    }

    /// Notes the orphans and destroys those that are due.
    async fn reap(&self, ctx: &Ctx, look: &Look<'_>) -> Result<()> {
        for orphan in orphans::note(ctx, &self.settings, look).await? {
            let destroyed = match orphan.kind {
                OrphanKind::Machine => self.provider.destroy(&orphan.provider_id).await,
                OrphanKind::Volume => self.provider.destroy_volume(&orphan.provider_id).await,
            };
            let error = destroyed.err().map(|error| error.to_string());
            orphans::reaped(ctx, &orphan, error.as_deref()).await?;
        }
        Ok(())
    }

    /// Destroys volumes that were replaced, once they have been kept for a while and no copy of them is still to come.
    async fn clear_away(&self, ctx: &Ctx, volumes: &[fly::Volume]) -> Result<()> {
        let keep = TimeDelta::from_std(self.settings.released_volume_keep).unwrap_or(TimeDelta::days(1));
        let mut tx = ctx.read("pool.watch.released").await?;
        let released = store::released(&mut tx, ctx.now() - keep, ctx.now()).await?;
        drop(tx);
        for Released { id, name, provider_id, failures } in released {
            let named = || volumes.iter().find(|volume| volume.name == name).map(|volume| volume.id.clone());
            let refused = match provider_id.or_else(named) {
                Some(provider_id) => self.provider.destroy_volume(&provider_id).await.err(),
                None => None,
            };
            let mut tx = ctx.begin("pool.watch.cleared").await?;
            match refused {
                None => {
                    money::settle_volume(&mut tx, id, ctx.now()).await?;
                    store::volume_destroyed(&mut tx, id).await?;
                }
                // One that cannot be destroyed now must not keep the others from it.
                Some(error) => {
                    tracing::warn!(volume.id = %id, %error, "a volume that was replaced cannot be destroyed");
                    let failures = failures.saturating_add(1);
                    let next = ctx.now() + ever_later(ctx, failures);
                    store::volume_refused(&mut tx, id, failures, &error.to_string(), next).await?;
                }
            }
            tx.commit(()).await?;
        }
        Ok(())
    }
}

/// Has a row follow what happened to its machine, if it still stands where it was seen.
async fn follow(ctx: &Ctx, id: MachineId, from: MachineState, to: MachineState, why: &str) -> Result<()> {
    let mut tx = ctx.begin("pool.watch.row").await?;
    if shift(ctx, &mut tx, id, from, to, Some(why)).await? {
        tracing::warn!(machine.id = %id, %from, %to, why, "a machine is not as the registry says");
    }
    tx.commit(()).await
}

async fn report_all_stuck(ctx: &Ctx, machines: &[Machine]) -> Result<()> {
    for machine in machines {
        if crate::recovery::newly_stuck(machine.state, machine.state_since, machine.stuck_minutes, ctx.now()).is_some()
        {
            let mut tx = ctx.begin("pool.watch.stuck").await?;
            report_stuck(ctx, &mut tx, machine).await?;
            tx.commit(()).await?;
        }
    }
    Ok(())
}

/// What the provider lists; nothing to compare with where it does not know the app: that is one not made
/// yet, or a fault over there, and never a reason to believe that machines are gone.
async fn listed<T>(
    ctx: &Ctx,
    provider: &SharedProvider,
    is_away: bool,
    answer: std::result::Result<Vec<T>, fly::Error>,
) -> Result<Option<Vec<T>>> {
    match answer {
        // That there is no app says less than why it cannot be made.
        Err(error) if error.advice() == Advice::Gone && is_away => Ok(None),
        Err(error) if error.advice() == Advice::Gone => regions::gone_away(ctx, provider, &error).await.map(|()| None),
        Err(error) if regions::is_about_token(&error) => {
            regions::token_refused(ctx, provider, None).await.map(|_| None)
        }
        Err(error) => {
            regions::gone_away(ctx, provider, &error).await?;
            Err(unavailable(provider, error))
        }
        Ok(listed) => Ok(Some(listed)),
    }
}

fn unavailable(provider: &SharedProvider, error: fly::Error) -> Error {
    Error::Unavailable { dependency: provider.name(), source: Box::new(error) }
}

impl Reconciler for Watch {
    const NAME: &'static str = Self::NUDGE;
    const EVERY: Duration = Duration::from_secs(2);

    async fn tick(&self, ctx: &Ctx) -> Result<usize> {
        let began = ctx.now();
        let mut tx = ctx.read("pool.watch.token").await?;
        let rests = Rests::read(&mut tx).await?;
        if rests.refusal_to_read().is_some() {
            return Ok(0);
        }
        drop(tx);
        let (provider, is_away) = (&self.provider, rests.away(began).is_some());
        let Some(machines) = listed(ctx, provider, is_away, provider.machines().await).await? else { return Ok(0) };
        let Some(volumes) = listed(ctx, provider, is_away, provider.volumes().await).await? else { return Ok(0) };
        if is_away {
            regions::came_back(ctx, provider).await?;
        }
        // Read after the provider was asked: a row that is missing now was missing then.
        let known = self.known(ctx).await?;
        let pool = &self.settings.provider.pool_name;
        let findings = compare(&known, &machines, &volumes, pool, began);
        for finding in &findings {
            // One that cannot be mended now must not keep the others from it.
            if let Err(error) = self.act(ctx, finding).await {
                tracing::warn!(?finding, %error, cause = error.causes(), "a mismatch was not mended");
            }
        }
        let seen: Vec<_> = findings.iter().filter_map(Finding::orphan).cloned().collect();
        let (since, going) = (self.since.get().copied(), compare::going(&known, &machines, pool));
        let strangers = compare::strangers(&known, &machines);
        self.reap(ctx, &Look { began, since, seen: &seen, going: &going, strangers }).await?;
        self.since.set(began).ok();
        report_all_stuck(ctx, &known.machines).await?;
        self.clear_away(ctx, &volumes).await?;
        // One look per interval is enough, whatever it found.
        Ok(0)
    }
}
