//! Work that only a machine's disk has. The pool knows disks and not what is on them, so it asks ([`WorkOnDisks`])
//! before it lets one go: a volume with work outlives its machine, is told of and listed, and goes when an operator
//! says so.

pub(crate) mod store;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use kernel::audit::{self, Change, Entity};
use kernel::outbox::{self, About};
use kernel::{Ctx, Error, Result, Tx};
use serde_json::json;
use wire::event::kind;
use wire::id::{MachineId, VolumeId};
use wire::machine::KeptVolumeView;

use crate::machines::Machine;
use crate::{Settings, Watch};

/// What whoever knows of work answers.
pub type Known<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// Knows of somebody's work that a machine's disk has and nothing else.
pub trait WorkOnDisks: fmt::Debug + Send + Sync + 'static {
    /// What that is, for people, without the name of anything of a tenant's; nothing where the disk may go.
    fn of<'a>(&'a self, tx: &'a mut Tx, machine: MachineId, now: DateTime<Utc>) -> Known<'a, Option<String>>;

    /// Hears that a machine has its disk no longer.
    fn gone<'a>(&'a self, ctx: &'a Ctx, tx: &'a mut Tx, machine: MachineId) -> Known<'a, ()>;
}

/// Whoever knows of work, shared by those who ask.
pub type SharedWork = Arc<dyn WorkOnDisks>;

/// Keeps the volume that a machine is about to lose, in the transaction in which it does, if there is work on it.
pub(crate) async fn keep(ctx: &Ctx, tx: &mut Tx, work: &SharedWork, machine: &Machine, why: &str) -> Result<()> {
    let (id, volume) = (machine.id, machine.volume_id);
    // What the provider never made holds nothing.
    let Some(provider_id) = &machine.volume_provider_id else { return Ok(()) };
    let Some(what) = work.of(tx, id, ctx.now()).await? else { return Ok(()) };
    store::keep(tx, volume, id, &what, ctx.now()).await?;
    tracing::warn!(machine.id = %id, volume.id = %volume, provider.id = provider_id, what, why, "a volume is kept for the work on it");
    metrics::counter!("volumes_kept_total").increment(1);
    let cure = format!("take from it what is wanted, then: bifrost machines discard {volume}");
    let payload = json!({
        "volume_id": volume, "provider_id": provider_id, "machine_id": id, "what": what, "why": why, "cure": cure,
    });
    outbox::push(ctx, tx, kind::VOLUME_KEPT, About::default(), &payload).await?;
    let change = Change::created(&json!({ "machine_id": id, "what": what }))?.because(why);
    audit::write(ctx, tx, kind::VOLUME_KEPT, &Entity::shared("volume", volume), &change).await
}

/// Has a volume that was kept destroyed, with the work on it.
pub async fn discard(ctx: &Ctx, settings: &Settings, id: VolumeId) -> Result<KeptVolumeView> {
    let mut tx = ctx.begin("pool.kept.discard").await?;
    let kept = store::list(&mut tx).await?.into_iter().find(|kept| kept.id == id);
    let kept = kept.ok_or(Error::NotFound { what: "kept volume" })?;
    let term = TimeDelta::from_std(settings.released_volume_keep).unwrap_or(TimeDelta::days(1));
    store::discard(&mut tx, id, ctx.now() - term).await?;
    let change = Change::removed(&json!({ "machine_id": kept.machine_id, "what": kept.what }))?;
    audit::write(ctx, &mut tx, "volume.discarded", &Entity::shared("volume", id), &change).await?;
    tx.nudge(Watch::NUDGE);
    tx.commit(kept).await
}
