//! Makes a machine anew that cannot be helped where it is, or gives it up.

use kernel::audit::{self, Change, Entity};
use kernel::outbox::{self, About};
use kernel::{Ctx, Result, Tx};
use serde_json::json;
use wire::event::kind;

use super::Provision;
use super::policy::{Disk, Remedy, Rung, Trouble, remedy};
use crate::kept;
use crate::machines::{Anew, Machine, make_anew};
use crate::regions::{self, policy as order};

impl Provision {
    /// The next rung of the ladder, in the transaction that found the trouble.
    pub(super) async fn climb(
        &self,
        ctx: &Ctx,
        tx: &mut Tx,
        machine: &Machine,
        trouble: Trouble,
        why: &str,
    ) -> Result<()> {
        let provider = &self.settings.provider;
        let here = machine.region.as_deref().unwrap_or(provider.first_region());
        if let Trouble::Region(shortage) = trouble {
            regions::rest(ctx, tx, here, shortage, why).await?;
        }
        let rests = regions::resting(tx).await?;
        let other = order::choose(&provider.regions, &rests, ctx.now(), Some(here));
        let remedy = remedy(trouble, machine.rung, machine.volume_provider_id.is_some(), other.is_some());
        let (disk, region, rung) = match (remedy, other) {
            (Remedy::Recreate(disk), _) => (disk, here, Rung::Recreate),
            // A region that is full says nothing about the machine: its ladder is still before it.
            (Remedy::OtherRegion, Some(other)) if matches!(trouble, Trouble::Region(_)) => {
                (Disk::New, other, machine.rung)
            }
            (Remedy::OtherRegion, Some(other)) => (Disk::New, other, Rung::OtherRegion),
            (Remedy::OtherRegion, None) | (Remedy::GiveUp, _) => {
                self.tell_recovery(ctx, tx, machine, "given up", why).await?;
                return self.give_up(ctx, tx, machine, why).await;
            }
        };
        let anew = Anew { disk, region, rung, why: Some(why) };
        if make_anew(ctx, tx, &self.settings, machine, &anew).await? && disk != Disk::Keep {
            // Whether a copy is whole shows only when it is used.
            kept::keep(ctx, tx, &self.work, machine, why).await?;
            if disk == Disk::New {
                self.work.gone(ctx, tx, machine.id).await?;
            }
        }
        let how = match remedy {
            Remedy::OtherRegion => Rung::OtherRegion.as_str(),
            Remedy::Recreate(_) | Remedy::GiveUp => Rung::Recreate.as_str(),
        };
        self.tell_recovery(ctx, tx, machine, how, why).await
    }

    /// Every rung is told.
    pub(super) async fn tell_recovery(
        &self,
        ctx: &Ctx,
        tx: &mut Tx,
        machine: &Machine,
        how: &str,
        why: &str,
    ) -> Result<()> {
        tracing::warn!(machine.id = %machine.id, machine.state = %machine.state, how, why, "a machine was helped");
        metrics::counter!("machine_recoveries_total", "how" => how.to_owned()).increment(1);
        let payload = json!({ "machine_id": machine.id, "state": machine.state, "how": how, "why": why });
        outbox::push(ctx, tx, kind::MACHINE_RECOVERY, About::default(), &payload).await?;
        let change = Change::created(&json!({ "recovery": how }))?.because(why);
        audit::write(ctx, tx, kind::MACHINE_RECOVERY, &Entity::shared("machine", machine.id), &change).await
    }
}
