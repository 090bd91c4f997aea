//! Makes a machine anew that cannot be helped where it is, or gives it up.

use chrono::{DateTime, Utc};
use kernel::audit::{self, Change, Entity};
use kernel::outbox::{self, About};
use kernel::{Ctx, Result, Tx};
use serde_json::json;
use wire::event::kind;
use wire::machine::MachineState;

use super::Provision;
use super::policy::{Case, Disk, Remedy, Rung, Trouble, remedy};
use crate::machines::{self, Anew, Machine, make_anew, shift, store};
use crate::regions::{self, Rests, policy as order};
use crate::{ever_later, kept, money};

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
        machines::decide_alone(tx).await?;
        let provider = &self.settings.provider;
        let here = machine.region.as_deref().unwrap_or(provider.first_region());
        if let Trouble::Region(shortage) = trouble {
            regions::rest(ctx, tx, here, shortage, why).await?;
        }
        let rests = Rests::read(tx).await?.regions();
        let other = order::choose(&provider.regions, &rests, ctx.now(), Some(here));
        let case = Case {
            state: machine.state,
            rung: machine.rung,
            has_volume: machine.volume_provider_id.is_some(),
            is_used: machine.is_volume_used,
            has_other_region: other.is_some(),
            has_former_image: !machine.former_image.is_empty(),
            is_disk_paid_for: money::pays_for_disk(tx, &self.settings, ctx.now()).await?,
        };
        let (if_paid, remedy) = (remedy(trouble, Case { is_disk_paid_for: true, ..case }), remedy(trouble, case));
        let (disk, region, rung) = match (remedy, other) {
            (Remedy::Recreate(disk), _) => (disk, here, Rung::Recreate),
            (Remedy::FormerImage, _) => (Disk::Keep, here, Rung::Look),
            // A region that is full says nothing about the machine: its ladder is still before it.
            (Remedy::OtherRegion, Some(other)) if matches!(trouble, Trouble::Region(_)) => {
                (Disk::New, other, machine.rung)
            }
            (Remedy::OtherRegion, Some(other)) => (Disk::New, other, Rung::OtherRegion),
            (Remedy::Wait, _) => {
                let rest = rests.iter().find(|rest| rest.region == here);
                let poor = format!("{why}; the budget for machines pays for no other disk");
                let why = if remedy == if_paid { why } else { &poor };
                return self.wait(ctx, tx, machine, rest.map(|rest| rest.until), why).await;
            }
            (Remedy::OtherRegion, None) | (Remedy::GiveUp, _) => {
                if self.give_up(ctx, tx, machine, why).await? {
                    self.tell_recovery(ctx, tx, machine, "given up", why).await?;
                    // Neither a refusal nor what happens to one that had come up says anything about its image.
                    let is_booting = matches!(machine.state, MachineState::Creating | MachineState::Starting);
                    if is_booting && matches!(trouble, Trouble::Unresponsive | Trouble::Vanished) {
                        regions::image_failed(ctx, tx, &machine.image, why).await?;
                    }
                }
                return Ok(());
            }
        };
        let has_former_image = remedy == Remedy::FormerImage;
        let anew = Anew { disk, region, rung, has_former_image, why: Some(why) };
        if !make_anew(ctx, tx, &self.settings, machine, &anew).await? {
            return Ok(());
        }
        if has_former_image {
            regions::image_failed(ctx, tx, &machine.image, why).await?;
        }
        if disk != Disk::Keep {
            // Whether a copy is whole shows only when it is used.
            kept::keep(ctx, tx, &self.work, machine, why).await?;
            if disk == Disk::New {
                self.work.gone(ctx, tx, machine.id).await?;
            }
        }
        let how = match remedy {
            Remedy::OtherRegion => Rung::OtherRegion.as_str(),
            Remedy::FormerImage => "made anew with the image that it ran before",
            Remedy::Recreate(_) | Remedy::Wait | Remedy::GiveUp => Rung::Recreate.as_str(),
        };
        self.tell_recovery(ctx, tx, machine, how, why).await
    }

    /// It is asked for again when it has rested, and its region as well; until then one that is there sleeps, and
    /// counts as awake until it is seen asleep.
    async fn wait(
        &self,
        ctx: &Ctx,
        tx: &mut Tx,
        machine: &Machine,
        region_until: Option<DateTime<Utc>>,
        why: &str,
    ) -> Result<()> {
        let refusals = machine.refusals.saturating_add(1);
        let until = (ctx.now() + ever_later(ctx, refusals)).max(region_until.unwrap_or_default());
        store::rest(tx, machine, until, refusals, why).await?;
        if machine.state == MachineState::Creating {
            return Ok(());
        }
        // It is not replaced now: another would be refused as well.
        store::retired(tx, machine.id).await?;
        shift(ctx, tx, machine.id, machine.state, MachineState::Suspending, Some(why)).await?;
        if machine.state == MachineState::Suspending {
            // It did not fall asleep, so that is tried from the beginning, and not at once.
            store::rest(tx, machine, until, refusals, why).await?;
        }
        Ok(())
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
