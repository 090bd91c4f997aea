//! Carries the pool's intents out at the provider: one machine at a time moves
//! one step, every step may be repeated, and its outcome is stored before the
//! next. A machine that fails is retried later on its own and never holds up
//! another.
//!
//! The row is the saga: it says what is wanted and how far that has come, so a
//! crash anywhere is repaired by the next step, and its undo is the way to
//! `destroyed`. An operator who knows better abandons a row ([`machines::abandon`]).

mod image;
pub mod policy;
mod recover;
mod steps;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use kernel::{Ctx, Reconciler, Result, Tx};
use kit::backoff::Backoff;
use kit::{Chance, Tasks};
use wire::id::MachineId;
use wire::machine::MachineState;

use crate::machines::{self, Machine, shift, store};
use crate::provider::SharedProvider;
use crate::regions::Rests;
use crate::{Credentials, Settings, SharedWork, kept, money, regions};
use policy::{Failed, Rung, Stumble};
use steps::Done;
pub(crate) use steps::{MACHINE_KEY, POOL_KEY, is_marked, made, mark};

/// Waits between tries of one machine's step.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(250), most: Duration::from_secs(30) };
/// No refusal keeps us from trying again for longer.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// The reconciler that carries intents out.
#[derive(Debug, Clone)]
pub struct Provision {
    provider: SharedProvider,
    settings: Arc<Settings>,
    work: SharedWork,
    credentials: Credentials,
    tasks: Tasks,
    in_flight: Arc<Mutex<HashSet<MachineId>>>,
}

impl Provision {
    /// The name under which it is nudged.
    pub const NUDGE: &'static str = "provision";

    /// With the provider, and with who knows of work on machines' disks; steps run as tasks of `tasks`.
    pub fn new(
        provider: SharedProvider,
        settings: Arc<Settings>,
        work: SharedWork,
        credentials: Credentials,
        tasks: Tasks,
    ) -> Self {
        Self { provider, settings, work, credentials, tasks, in_flight: Arc::default() }
    }

    /// Takes the machine in hand unless a step of it is running.
    fn take(&self, id: MachineId) -> Option<InFlight> {
        let mut set = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        set.insert(id).then(|| InFlight { id, set: Arc::clone(&self.in_flight) })
    }

    /// Machines that wait for a step; none while the provider refuses to be read with our token, and those that somebody
    /// waits for say so. Where it refuses the steps from a state, one machine tries that again, when it is time.
    async fn due(&self, ctx: &Ctx) -> Result<Vec<Machine>> {
        let now = ctx.now();
        let mut tx = ctx.read("pool.provision.due").await?;
        let rests = Rests::read(&mut tx).await?;
        let mut machines = store::list(&mut tx).await?;
        machines.retain(|machine| needs_step(machine, now));
        if let Some(why) = rests.refusal_to_read() {
            drop(tx);
            let is_awaited = |machine: &Machine| {
                matches!(machine.state, MachineState::Creating | MachineState::Starting | MachineState::Resuming)
            };
            machines.retain(|machine| is_awaited(machine) && machine.error.as_deref() != Some(why));
            self.tell_refusal(ctx, &machines, why).await?;
            return Ok(Vec::new());
        }
        let mut refused = rests.refused_steps();
        machines.retain(|machine| {
            let rest = refused.iter_mut().find(|(state, _)| *state == machine.state.as_str());
            let is_due = rest.as_ref().is_none_or(|(_, until)| *until <= now);
            if let Some((_, until)) = rest.filter(|_| is_due) {
                *until = DateTime::<Utc>::MAX_UTC;
            }
            is_due
        });
        Ok(machines)
    }

    /// Has machines say why no step of them is taken.
    async fn tell_refusal(&self, ctx: &Ctx, machines: &[Machine], why: &str) -> Result<()> {
        if machines.is_empty() {
            return Ok(());
        }
        let mut tx = ctx.begin("pool.provision.refused").await?;
        for machine in machines {
            store::tell(&mut tx, machine, why).await?;
        }
        tx.commit(()).await
    }

    /// Takes one step of every machine that needs one, side by side, and waits for all of them.
    pub async fn step_all(&self, ctx: &Ctx) -> Result<usize> {
        let due = self.due(ctx).await?;
        let steps = due.iter().filter_map(|machine| Some((self.take(machine.id)?, machine)));
        let steps = steps.map(|(in_flight, machine)| async move {
            let recorded = self.advance(ctx, machine).await;
            drop(in_flight);
            recorded
        });
        join_all(steps).await.into_iter().collect::<Result<Vec<()>>>().map(|steps| steps.len())
    }

    /// One step of one machine, and what it means for the row.
    async fn advance(&self, ctx: &Ctx, machine: &Machine) -> Result<()> {
        let outcome = self.step(ctx, machine).await;
        match outcome {
            Ok(done) => {
                let mut tx = ctx.begin("pool.provision").await?;
                self.settle(ctx, &mut tx, machine, done).await?;
                tx.commit(()).await
            }
            Err(error) => self.stumble(ctx, machine, &error).await,
        }
    }

    async fn settle(&self, ctx: &Ctx, tx: &mut Tx, machine: &Machine, done: Done) -> Result<()> {
        if done.has_moved() {
            regions::token_accepted(tx, &self.provider, Some(machine.state)).await?;
        }
        match done {
            Done::Became(state) => {
                if state == MachineState::Destroyed {
                    money::settle_volume(tx, machine.volume_id, ctx.now()).await?;
                    store::volume_destroyed(tx, machine.volume_id).await?;
                }
                shift(ctx, tx, machine.id, machine.state, state, None).await?;
            }
            Done::Recorded => tx.nudge(Self::NUDGE),
            Done::Waits { until } => {
                store::try_later(tx, machine, until, machine.failures, None).await?;
            }
            Done::Runs { report_by } => {
                if machine.state == MachineState::Resuming {
                    regions::has_room(tx, self.region_of(machine)).await?;
                }
                store::started(tx, machine, report_by, 0, machine.rung, None).await?;
            }
            Done::Started { report_by } => {
                let error = "its worker did not report in; it was started again";
                store::started(tx, machine, report_by, 1, machine.rung, Some(error)).await?;
            }
            Done::Restarted { report_by } => {
                let error = "its worker did not report in; it was restarted";
                store::started(tx, machine, report_by, 0, Rung::Restart, Some(error)).await?;
                self.tell_recovery(ctx, tx, machine, Rung::Restart.as_str(), error).await?;
            }
            Done::Stopped { stop_by } => {
                let soon = ctx.now() + TimeDelta::seconds(1);
                store::set_rung(tx, machine, Rung::StopStart, soon, stop_by).await?;
                self.tell_recovery(ctx, tx, machine, Rung::StopStart.as_str(), "a restart did not help").await?;
            }
            Done::Replaced => self.replace(ctx, tx, machine).await?,
            Done::Climb { trouble, why } => self.climb(ctx, tx, machine, trouble, &why).await?,
            Done::Hopeless { why } => {
                self.give_up(ctx, tx, machine, &why).await?;
            }
        }
        Ok(())
    }

    /// A call failed. What its advice says decides between another try, another way, and giving the machine up.
    async fn stumble(&self, ctx: &Ctx, machine: &Machine, error: &fly::Error) -> Result<()> {
        let text = error.to_string();
        metrics::counter!("provider_failures_total", "state" => machine.state.as_str()).increment(1);
        if machine.state == MachineState::Creating && error.is_of_image() {
            return self.lack_image(ctx, machine, error).await;
        }
        let until = machine.state_since.checked_add_signed(patience(machine.state, &self.settings));
        let is_late = policy::is_late(until, machine.report_by, self.settings.resume_patience, ctx.now());
        let failed = Failed {
            state: machine.state,
            advice: error.advice(),
            status: error.status(),
            is_late,
            is_provider_well: (is_late || error.advice() == fly::Advice::Gone)
                && self.provider.machines().await.is_ok(),
            failures: machine.failures,
        };
        let decided = policy::stumble(&failed);
        if decided == Stumble::TokenRefused {
            let rest = regions::token_refused(ctx, &self.provider, Some(machine.state)).await?;
            let mut tx = ctx.begin("pool.provision.refused").await?;
            // The machine itself does not rest: another token is tried with it at once.
            store::try_later(&mut tx, machine, ctx.now(), machine.failures, Some(&rest.why)).await?;
            return tx.commit(()).await;
        }
        tracing::warn!(machine.id = %machine.id, machine.state = %machine.state, error = text, "a provider call failed");
        let mut tx = ctx.begin("pool.provision.stumble").await?;
        match decided {
            Stumble::Climb(trouble) => self.climb(ctx, &mut tx, machine, trouble, &text).await?,
            Stumble::GiveUp => {
                self.give_up(ctx, &mut tx, machine, &text).await?;
            }
            Stumble::Retry | Stumble::TokenRefused => retry(ctx, &mut tx, machine, error, &text).await?,
        }
        tx.commit(()).await
    }

    /// A machine is not replaced after all if another could not be had by now, or if its disk goes with it and its last
    /// batch left work there.
    async fn replace(&self, ctx: &Ctx, tx: &mut Tx, machine: &Machine) -> Result<()> {
        let loses = !self.provider.has_volumes() && self.work.of(tx, machine.id, ctx.now()).await?.is_some();
        if loses || !machines::can_be_placed(tx, machine, ctx.now()).await? {
            store::retired(tx, machine.id).await?;
            tx.nudge(Self::NUDGE);
            return Ok(());
        }
        machines::replace_in_place(ctx, tx, &self.settings, machine).await.map(drop)
    }

    /// Says whether it still stood where it was seen.
    async fn give_up(&self, ctx: &Ctx, tx: &mut Tx, machine: &Machine, why: &str) -> Result<bool> {
        let stood = shift(ctx, tx, machine.id, machine.state, MachineState::Destroying, Some(why)).await?;
        if stood {
            store::give_up(tx, machine.id).await?;
            kept::keep(ctx, tx, &self.work, machine, why).await?;
        }
        Ok(stood)
    }
}

/// The same call is made again, the later the more of them have failed.
async fn retry(ctx: &Ctx, tx: &mut Tx, machine: &Machine, error: &fly::Error, why: &str) -> Result<()> {
    let failures = machine.failures.saturating_add(1);
    let wait = BACKOFF.wait(u32::try_from(failures).unwrap_or(u32::MAX), &Chance::system());
    let wait = wait.max(error.retry_after().unwrap_or_default().min(RETRY_AFTER_MAX));
    let wait = wait.max(policy::least_wait(machine.state, &error.advice()));
    let at = ctx.now() + TimeDelta::from_std(wait).unwrap_or(TimeDelta::seconds(30));
    store::try_later(tx, machine, at, failures, Some(why)).await
}

/// How long a machine may stand in a state on its way to another while calls fail.
fn patience(state: MachineState, settings: &Settings) -> TimeDelta {
    match state {
        MachineState::Creating | MachineState::Starting | MachineState::Resuming => {
            TimeDelta::from_std(settings.boot_patience).unwrap_or(TimeDelta::MAX)
        }
        MachineState::Suspending => TimeDelta::minutes(20),
        // These are tried until they are done.
        MachineState::Ready
        | MachineState::Draining
        | MachineState::Suspended
        | MachineState::Destroying
        | MachineState::Destroyed => TimeDelta::MAX,
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
        for machine in self.due(ctx).await? {
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
