//! Carries the pool's intents out at the provider: one machine at a time moves
//! one step, every step may be repeated, and its outcome is stored before the
//! next. A machine that fails is retried later on its own and never holds up
//! another.

mod policy;
mod steps;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use fly::{Advice, Machines};
use kernel::{Ctx, Reconciler, Result, Tx};
use kit::backoff::Backoff;
use kit::{Chance, Tasks};
use wire::id::MachineId;
use wire::machine::MachineState;

use crate::machines::{self, Machine, shift, store};
use crate::{Credentials, Settings};
use steps::Done;
pub(crate) use steps::POOL_KEY;

/// Waits between tries of one machine's step.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(250), most: Duration::from_secs(30) };

/// The reconciler that carries intents out.
#[derive(Debug, Clone)]
pub struct Provision {
    machines: Machines,
    settings: Arc<Settings>,
    credentials: Credentials,
    tasks: Tasks,
    in_flight: Arc<Mutex<HashSet<MachineId>>>,
}

impl Provision {
    /// The name under which it is nudged.
    pub const NUDGE: &'static str = "provision";

    /// With the provider's client; steps run as tasks of `tasks`.
    pub fn new(machines: Machines, settings: Arc<Settings>, credentials: Credentials, tasks: Tasks) -> Self {
        Self { machines, settings, credentials, tasks, in_flight: Arc::default() }
    }

    /// Takes the machine in hand unless a step of it is running.
    fn take(&self, id: MachineId) -> Option<InFlight> {
        let mut set = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        set.insert(id).then(|| InFlight { id, set: Arc::clone(&self.in_flight) })
    }

    /// One step of one machine, and what it means for the row.
    async fn advance(&self, ctx: &Ctx, machine: &Machine) -> Result<()> {
        let outcome = self.step(ctx, machine).await;
        let mut tx = ctx.begin("pool.provision").await?;
        match outcome {
            Ok(done) => self.settle(ctx, &mut tx, machine, done).await?,
            Err(error) => self.stumble(ctx, &mut tx, machine, &error).await?,
        }
        tx.commit(()).await?;
        Ok(())
    }

    async fn settle(&self, ctx: &Ctx, tx: &mut Tx, machine: &Machine, done: Done) -> Result<()> {
        match done {
            Done::Became(state) => {
                if state == MachineState::Destroyed {
                    store::volume_destroyed(tx, machine.volume_id).await?;
                }
                shift(ctx, tx, machine.id, machine.state, state, None).await?;
            }
            Done::Recorded => tx.nudge(Self::NUDGE),
            Done::Waits { until } => {
                store::try_later(tx, machine, until, machine.failures, None).await?;
            }
            Done::Runs { report_by } => store::started(tx, machine, report_by, 0, None).await?,
            Done::Restarted { report_by } => {
                let error = "its worker did not report in; it was started again";
                store::started(tx, machine, report_by, 1, Some(error)).await?;
            }
            Done::Hopeless { why } => give_up(ctx, tx, machine, &why).await?,
        }
        Ok(())
    }

    /// A call failed. What its advice says decides between another try and giving the machine up.
    async fn stumble(&self, ctx: &Ctx, tx: &mut Tx, machine: &Machine, error: &fly::Error) -> Result<()> {
        let text = error.to_string();
        tracing::warn!(machine.id = %machine.id, machine.state = %machine.state, error = text, "a provider call failed");
        metrics::counter!("provider_failures_total", "state" => machine.state.as_str()).increment(1);
        let failures = machine.failures.saturating_add(1);
        let too_late = ctx.now() - machine.state_since > patience(machine.state, &self.settings);
        // The app itself may be missing while a machine is made, and what is being destroyed may be gone.
        let may_vanish = !matches!(machine.state, MachineState::Creating | MachineState::Destroying);
        if too_late || (error.advice() == Advice::Gone && may_vanish) {
            return give_up(ctx, tx, machine, &text).await;
        }
        let wait = BACKOFF.wait(u32::try_from(failures).unwrap_or(u32::MAX), &Chance::system());
        let at = ctx.now() + TimeDelta::from_std(wait).unwrap_or(TimeDelta::seconds(30));
        store::try_later(tx, machine, at, failures, Some(&text)).await
    }
}

async fn give_up(ctx: &Ctx, tx: &mut Tx, machine: &Machine, why: &str) -> Result<()> {
    if shift(ctx, tx, machine.id, machine.state, MachineState::Destroying, Some(why)).await? {
        store::give_up(tx, machine.id).await?;
    }
    Ok(())
}

/// How long a machine may stand in a state on its way to another.
fn patience(state: MachineState, settings: &Settings) -> TimeDelta {
    match state {
        MachineState::Creating | MachineState::Starting | MachineState::Resuming => {
            TimeDelta::from_std(settings.boot_patience).unwrap_or(TimeDelta::MAX)
        }
        // These are tried until they are done.
        _ => TimeDelta::MAX,
    }
}

/// Whether a machine in this state is waiting for a step of ours.
fn needs_step(machine: &Machine, now: DateTime<Utc>) -> bool {
    match machine.state {
        MachineState::Creating
        | MachineState::Starting
        | MachineState::Resuming
        | MachineState::Draining
        | MachineState::Suspending
        | MachineState::Destroying => machine.next_try_at <= now,
        MachineState::Ready | MachineState::Suspended | MachineState::Destroyed => false,
    }
}

impl Reconciler for Provision {
    const NAME: &'static str = Self::NUDGE;
    const EVERY: Duration = Duration::from_millis(500);

    /// Starts a step for every machine that needs one; the steps run side by side.
    async fn tick(&self, ctx: &Ctx) -> Result<usize> {
        let now = ctx.now();
        let due = machines::list(ctx).await?.into_iter().filter(|machine| needs_step(machine, now));
        for machine in due {
            let Some(in_flight) = self.take(machine.id) else { continue };
            let (this, ctx) = (self.clone(), ctx.clone());
            self.tasks.spawn("provision-step", async move {
                let recorded = this.advance(&ctx, &machine).await;
                drop(in_flight);
                match recorded {
                    Ok(()) => ctx.nudges.nudge(Self::NUDGE),
                    // The next beat repeats the step; at once, it would only fail again.
                    Err(error) => {
                        tracing::warn!(machine.id = %machine.id, %error, cause = error.causes(), "a provisioning step was not recorded");
                    }
                }
            });
        }
        Ok(0)
    }
}

/// Gives the machine back when dropped, also when its step panics.
#[derive(Debug)]
struct InFlight {
    id: MachineId,
    set: Arc<Mutex<HashSet<MachineId>>>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.set.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}
