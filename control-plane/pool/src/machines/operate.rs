//! What an operator does to a machine by hand. Each is a change of its state, and
//! so in the audit with who asked for it and why.

use chrono::{DateTime, TimeDelta, Utc};
use fly::Advice;
use kernel::{Ctx, Error, Result, Tx};
use wire::id::{MachineId, VolumeId};
use wire::machine::{AppAbandonment, MachineState};

use super::{Machine, decide_alone, drain, is_going, shift, store};
use crate::provider::SharedProvider;
use crate::{LOST_NUDGE, Settings, SharedWork, kept, money, orphans, regions, workers};

/// No creation that has begun takes longer, all its calls and their turns included.
const CREATION_MAX: TimeDelta = TimeDelta::minutes(10);
/// A reason is a sentence, not a page.
const REASON_CHARS: usize = 500;

/// Declares a machine's batch over: it saves a checkpoint and sleeps. Waiting work wakes it again.
pub async fn suspend(ctx: &Ctx, id: MachineId) -> Result<Machine> {
    let mut order = Order::begin(ctx, id, "suspend").await?;
    match order.machine.state {
        MachineState::Ready => drain(ctx, &mut order.tx, id).await.map(drop)?,
        MachineState::Draining | MachineState::Suspending | MachineState::Suspended => (),
        _ => return Err(order.refuse("only a machine that is ready can be suspended")),
    }
    order.done(ctx).await
}

/// Wakes a machine that sleeps, if the budgets pay for that.
pub async fn resume(ctx: &Ctx, settings: &Settings, id: MachineId) -> Result<Machine> {
    let mut order = Order::begin(ctx, id, "resume").await?;
    let tx = &mut order.tx;
    match order.machine.state {
        MachineState::Suspended => {
            if !money::pays_for_one_more(tx, settings, 0, ctx.now()).await? {
                let message = "the budget for machines pays for no more; see: bifrost cost report";
                return Err(Error::conflict("machine_budget", message));
            }
            shift(ctx, tx, id, MachineState::Suspended, MachineState::Resuming, None).await.map(drop)?;
        }
        MachineState::Draining => {
            shift(ctx, tx, id, MachineState::Draining, MachineState::Ready, None).await.map(drop)?;
        }
        MachineState::Creating | MachineState::Starting | MachineState::Resuming | MachineState::Ready => (),
        _ => return Err(order.refuse("wait until it sleeps, or use another")),
    }
    order.done(ctx).await
}

/// Destroys a machine with its volume; with `force`, also one whose worker has something to do, or that alone has
/// somebody's work.
pub async fn destroy(ctx: &Ctx, work: &SharedWork, id: MachineId, force: bool) -> Result<Machine> {
    let mut order = Order::begin(ctx, id, "destroy").await?;
    if order.machine.load > 0 && !force {
        let message = "its worker has work, which would be lost; `bifrost machines destroy --force` to accept that";
        return Err(Error::conflict("machine_busy", message));
    }
    order.spare_work(ctx, work, force).await?;
    let from = order.machine.state;
    if from != MachineState::Destroying {
        let why = Some("an operator has it destroyed");
        shift(ctx, &mut order.tx, id, from, MachineState::Destroying, why).await?;
    }
    order.done(ctx).await
}

/// Gives a machine up without asking the provider: its row is over at once. Whatever of it is still there
/// has no row from then on, and is found and reaped as such; until it was looked for, no other is made in its place. With
/// `force`, also one that alone has somebody's work.
pub async fn abandon(ctx: &Ctx, work: &SharedWork, id: MachineId, reason: &str, force: bool) -> Result<Machine> {
    let reason = checked(reason)?;
    let mut order = Order::begin(ctx, id, "abandon").await?;
    order.spare_work(ctx, work, force).await?;
    end(ctx, &mut order.tx, &order.machine, reason).await?;
    order.done(ctx).await
}

/// The same for all machines at once, where their app is gone at the provider. A fault over there answers the same
/// as an app that somebody has deleted, and then machines may be left that cost money: so an operator has to say it.
/// Refused while the app answers, for then each machine can be destroyed.
pub async fn abandon_app(
    ctx: &Ctx,
    provider: &SharedProvider,
    settings: &Settings,
    abandonment: &AppAbandonment,
) -> Result<Vec<Machine>> {
    let reason = checked(&abandonment.reason)?;
    let own = &settings.provider.app;
    if abandonment.app != *own {
        return Err(Error::invalid("app", format!("the machines of this pool are in {own}")));
    }
    match provider.machines().await {
        Err(error) if error.advice() == Advice::Gone => (),
        Err(error) if regions::is_about_token(&error) => {
            return Err(Error::conflict("token_refused", regions::refusal(provider)));
        }
        Err(error) => return Err(Error::Unavailable { dependency: provider.name(), source: Box::new(error) }),
        Ok(_) => {
            let message = format!("{} knows {own}, so its machines can be destroyed: do that", provider.name());
            return Err(Error::conflict("app_answers", message));
        }
    }
    let mut tx = ctx.begin("pool.machines.operate").await?;
    decide_alone(&mut tx).await?;
    let machines = store::list(&mut tx).await?;
    for machine in &machines {
        end(ctx, &mut tx, machine, reason).await?;
    }
    // What was replaced and is kept for a while was in the app, too.
    for kept in kept::store::list(&mut tx).await? {
        kept::store::discard(&mut tx, kept.id, ctx.now()).await?;
        end_volume(ctx, &mut tx, kept.id).await?;
    }
    // Also those whose next try would be later.
    let some_day = ctx.now() + TimeDelta::days(365);
    let mut released = store::released(&mut tx, ctx.now(), some_day).await?;
    while !released.is_empty() {
        for volume in released {
            end_volume(ctx, &mut tx, volume.id).await?;
        }
        released = store::released(&mut tx, ctx.now(), some_day).await?;
    }
    // The app is made anew where it still cannot be looked into.
    orphans::look_again(&mut tx, ctx.now()).await?;
    tracing::info!(app = own, count = machines.len(), what = "abandon", by = %ctx.actor(), "an operator's order");
    tx.commit(machines.into_iter().map(|machine| gone(machine, ctx.now())).collect()).await
}

fn checked(reason: &str) -> Result<&str> {
    let reason = reason.trim();
    match reason.is_empty() || reason.chars().count() > REASON_CHARS || reason.contains('\0') {
        true => Err(Error::invalid("reason", format!("say why, in 1 to {REASON_CHARS} characters"))),
        false => Ok(reason),
    }
}

/// Ends a machine's row, and its worker loses what it has.
async fn end(ctx: &Ctx, tx: &mut Tx, machine: &Machine, reason: &str) -> Result<()> {
    end_volume(ctx, tx, machine.volume_id).await?;
    let why = format!("abandoned: {reason}");
    shift(ctx, tx, machine.id, machine.state, MachineState::Destroyed, Some(&why)).await?;
    workers::disable_of_machine(tx, machine.id).await?;
    if machine.state == MachineState::Creating {
        store::count_on(tx, machine.id, ctx.now() + CREATION_MAX).await?;
    }
    orphans::look_again(tx, ctx.now()).await?;
    tx.nudge(LOST_NUDGE);
    Ok(())
}

/// A volume costs nothing any more.
async fn end_volume(ctx: &Ctx, tx: &mut Tx, id: VolumeId) -> Result<()> {
    money::settle_volume(tx, id, ctx.now()).await?;
    store::volume_destroyed(tx, id).await
}

/// An order under way.
struct Order {
    tx: Tx,
    /// The machine as it was found.
    machine: Machine,
    what: &'static str,
}

impl Order {
    async fn begin(ctx: &Ctx, id: MachineId, what: &'static str) -> Result<Self> {
        // What is on a machine may be anybody's.
        let mut tx = ctx.across_tenants().begin("pool.machines.operate").await?;
        decide_alone(&mut tx).await?;
        let found = store::list(&mut tx).await?.into_iter().find(|machine| machine.id == id);
        Ok(Self { tx, machine: found.ok_or(Error::NotFound { what: "machine" })?, what })
    }

    fn refuse(&self, cure: &str) -> Error {
        Error::conflict("machine_state", format!("the machine is {}: {cure}", self.machine.state))
    }

    /// Refuses to take a machine that alone has somebody's work. One that is going has let go of it already.
    async fn spare_work(&mut self, ctx: &Ctx, work: &SharedWork, force: bool) -> Result<()> {
        if force || is_going(self.machine.state) {
            return Ok(());
        }
        let Some(what) = work.of(&mut self.tx, self.machine.id, ctx.now()).await? else { return Ok(()) };
        let message = format!(
            "the machine alone has {what}, which would be lost; see `bifrost checkpoints list`, and `bifrost machines {} \
             --force` to accept that",
            self.what
        );
        Err(Error::conflict("machine_has_work", message))
    }

    /// Makes it true, and gives the machine as it is now. The change of its state is in the audit.
    async fn done(self, ctx: &Ctx) -> Result<Machine> {
        let Self { mut tx, machine, what } = self;
        let after = store::list(&mut tx).await?.into_iter().find(|other| other.id == machine.id);
        tracing::info!(machine.id = %machine.id, what, by = %ctx.actor(), "an operator's order");
        tx.commit(after.unwrap_or_else(|| gone(machine, ctx.now()))).await
    }
}

/// A machine as it was, and since now is no more.
fn gone(machine: Machine, now: DateTime<Utc>) -> Machine {
    Machine { state: MachineState::Destroyed, state_since: now, ..machine }
}
