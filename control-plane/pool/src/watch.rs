//! Compares the registry with what the provider says is there, in both
//! directions: rows whose machine has stopped or vanished, and machines and
//! volumes of this pool that have no row. An orphan is reported when first seen
//! and destroyed when it is still there the next time.

mod compare;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fly::{Advice, Machines};
use kernel::outbox::{self, About};
use kernel::{Ctx, Error, Reconciler, Result};
use serde_json::json;
use wire::event::kind;
use wire::machine::MachineState;

use crate::machines::{shift, store};
use crate::{Provision, Settings};
use compare::{Finding, Known, compare};

/// The reconciler that compares.
#[derive(Debug)]
pub struct Watch {
    machines: Machines,
    settings: Arc<Settings>,
    suspects: Mutex<HashSet<String>>,
}

impl Watch {
    /// With the provider's client.
    pub fn new(machines: Machines, settings: Arc<Settings>) -> Self {
        Self { machines, settings, suspects: Mutex::default() }
    }

    async fn known(&self, ctx: &Ctx) -> Result<Known> {
        let mut tx = ctx.read("pool.watch").await?;
        let machines = store::list(&mut tx).await?;
        let (volume_ids, volume_names) = store::known_volumes(&mut tx).await?;
        Ok(Known { machines, volume_ids, volume_names })
    }

    /// Whether the orphan was there the last time too.
    fn seen_before(&self, orphans: &HashSet<String>, id: &str) -> bool {
        let suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner);
        suspects.contains(id) && orphans.contains(id)
    }

    async fn act(&self, ctx: &Ctx, finding: &Finding, orphans: &HashSet<String>) -> Result<bool> {
        let app = &self.settings.provider.app;
        match finding {
            Finding::Row { id, from, to, why } => {
                let mut tx = ctx.begin("pool.watch.row").await?;
                let changed = shift(ctx, &mut tx, *id, *from, *to, Some(why)).await?;
                if changed {
                    tracing::warn!(machine.id = %id, %from, %to, why, "a machine is not as the registry says");
                }
                tx.commit(changed).await
            }
            Finding::Nameless { id, provider_id, region } => {
                let mut tx = ctx.begin("pool.watch.nameless").await?;
                store::set_provider_id(&mut tx, *id, provider_id, region).await?;
                tx.commit(true).await
            }
            Finding::Stalled(id) => {
                let mut tx = ctx.begin("pool.watch.stalled").await?;
                store::try_now(&mut tx, *id, ctx.now()).await?;
                tx.nudge(Provision::NUDGE);
                tx.commit(true).await
            }
            Finding::OrphanMachine(id) if self.seen_before(orphans, id) => {
                report(ctx, "machine", id).await?;
                self.machines.destroy(app, id, true).await.map_err(unavailable)?;
                Ok(true)
            }
            Finding::OrphanVolume(id) if self.seen_before(orphans, id) => {
                report(ctx, "volume", id).await?;
                self.machines.destroy_volume(app, id).await.map_err(unavailable)?;
                Ok(true)
            }
            Finding::OrphanMachine(id) | Finding::OrphanVolume(id) => {
                tracing::warn!(provider.id = id, "the provider has something of this pool that no row knows");
                Ok(false)
            }
        }
    }
}

async fn report(ctx: &Ctx, what: &str, id: &str) -> Result<()> {
    let mut tx = ctx.begin("pool.watch.orphan").await?;
    let payload = json!({ "orphan": what, "provider_id": id, "state": MachineState::Destroyed });
    outbox::push_once(ctx, &mut tx, kind::MACHINE_STATE, About::default(), &payload, &format!("orphan/{id}")).await?;
    metrics::counter!("orphans_reaped_total", "kind" => what.to_owned()).increment(1);
    tx.commit(()).await
}

/// What the provider lists; nothing to compare with where it does not know the app: that is one not made
/// yet, or a fault over there, and never a reason to believe that machines are gone.
fn listed<T>(answer: std::result::Result<Vec<T>, fly::Error>) -> Result<Option<Vec<T>>> {
    match answer {
        Err(error) if error.advice() == Advice::Gone => Ok(None),
        answer => answer.map(Some).map_err(unavailable),
    }
}

fn unavailable(error: fly::Error) -> Error {
    Error::Unavailable { dependency: "the Machines API", source: Box::new(error) }
}

impl Reconciler for Watch {
    const NAME: &'static str = "machine-watch";
    const EVERY: Duration = Duration::from_secs(2);

    async fn tick(&self, ctx: &Ctx) -> Result<usize> {
        let began = ctx.now();
        let app = &self.settings.provider.app;
        let Some(machines) = listed(self.machines.machines(app).await)? else { return Ok(0) };
        let Some(volumes) = listed(self.machines.volumes(app).await)? else { return Ok(0) };
        // Read after the provider was asked: a row that is missing now was missing then.
        let known = self.known(ctx).await?;
        let findings = compare(&known, &machines, &volumes, &self.settings.provider.pool_name, began);
        let orphans: HashSet<String> = findings.iter().filter_map(Finding::orphan).map(str::to_owned).collect();
        for finding in &findings {
            // One that cannot be mended now must not keep the others from it.
            if let Err(error) = self.act(ctx, finding, &orphans).await {
                tracing::warn!(?finding, %error, cause = error.causes(), "a mismatch was not mended");
            }
        }
        *self.suspects.lock().unwrap_or_else(PoisonError::into_inner) = orphans;
        // One look per interval is enough, whatever it found.
        Ok(0)
    }
}
