//! What the pool should do next, as a pure function of what is there, what is
//! wanted and the time. Actions only; what they mean for the provider is decided
//! when they are carried out.
//!
//! The rule for growth (row FLY-037): one more machine while more than
//! `queue_per_machine` tasks wait for each active one, and one when there is none.
//! A suspended machine is woken before a new one is made, the one that holds the
//! wanted repository first. Never more than `machines_max` exist.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use wire::id::MachineId;
use wire::machine::MachineState;

/// A machine, as far as decisions need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Which one.
    pub id: MachineId,
    /// Where it stands.
    pub state: MachineState,
    /// Since when.
    pub state_since: DateTime<Utc>,
    /// Executions its worker has.
    pub load: i32,
    /// Since when its worker has none.
    pub idle_since: Option<DateTime<Utc>>,
    /// The repositories its volume holds.
    pub repositories: Vec<String>,
}

/// Everything the decision depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// Every machine that is not destroyed.
    pub machines: Vec<Facts>,
    /// Machines that were given up lately, and when the last of them was.
    pub given_up: Option<GivenUp>,
}

/// Machines that were given up within the last ten minutes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenUp {
    /// How many.
    pub count: u32,
    /// The last one.
    pub last: DateTime<Utc>,
    /// What was wrong with it.
    pub error: String,
}

/// What is waiting for a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Demand {
    /// Tasks that no worker could take.
    pub queued: usize,
    /// The repositories they want, the most urgent task's first.
    pub repositories: Vec<String>,
}

/// The bounds of the decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// See [`crate::Settings::machines_max`].
    pub machines_max: usize,
    /// See [`crate::Settings::queue_per_machine`].
    pub queue_per_machine: usize,
    /// See [`crate::Settings::suspend_after`].
    pub suspend_after: Duration,
    /// See [`crate::Settings::destroy_after`].
    pub destroy_after: Duration,
}

impl From<&crate::Settings> for Limits {
    fn from(settings: &crate::Settings) -> Self {
        Self {
            machines_max: settings.machines_max.min(wire::limit::MACHINES_MAX),
            queue_per_machine: settings.queue_per_machine.max(1),
            suspend_after: settings.suspend_after,
            destroy_after: settings.destroy_after,
        }
    }
}

/// One thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Make a machine.
    Create,
    /// Wake a suspended one.
    Resume(MachineId),
    /// Keep one whose batch had been declared over.
    Keep(MachineId),
    /// Declare a batch over: checkpoint, then suspend.
    Drain(MachineId),
    /// Destroy one that was suspended for long.
    Destroy(MachineId),
}

/// Why waiting work has to wait, as far as the pool is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outlook {
    /// Nothing waits.
    Calm,
    /// So many machines are being made or woken.
    Coming(usize),
    /// The machines there will work the queue off.
    QueueShort {
        /// How many are active.
        active: usize,
    },
    /// The cap is reached and all are busy.
    Cap {
        /// The cap.
        machines_max: usize,
    },
    /// Machines had to be given up; the next is tried later.
    Trouble {
        /// What was wrong with the last one.
        error: String,
        /// When the next is tried.
        until: DateTime<Utc>,
    },
}

/// The decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What to do, in order.
    pub actions: Vec<Action>,
    /// What waiting work is told.
    pub outlook: Outlook,
}

/// Decides what to do next. Pure.
pub fn plan(view: &View, demand: &Demand, limits: Limits, now: DateTime<Utc>) -> Plan {
    let mut actions = Vec::new();
    if demand.queued == 0 {
        actions.extend(view.machines.iter().filter_map(|machine| wind_down(machine, limits, now)));
        return Plan { actions, outlook: Outlook::Calm };
    }
    let kept: Vec<MachineId> = with_state(view, MachineState::Draining).map(|machine| machine.id).collect();
    actions.extend(kept.iter().copied().map(Action::Keep));
    let outlook = grow(view, demand, limits, now, &mut actions);
    Plan { actions, outlook }
}

fn grow(view: &View, demand: &Demand, limits: Limits, now: DateTime<Utc>, actions: &mut Vec<Action>) -> Outlook {
    let mut active = view.machines.iter().filter(|machine| is_active(machine.state)).count();
    let mut coming = view.machines.iter().filter(|machine| is_coming(machine.state)).count();
    let mut exist = view.machines.len();
    let mut asleep: Vec<&Facts> = with_state(view, MachineState::Suspended).collect();
    while active == 0 || demand.queued > limits.queue_per_machine * active {
        if let Some(machine) = take_best(&mut asleep, demand) {
            actions.push(Action::Resume(machine));
        } else if exist >= limits.machines_max {
            // Machines on their way will serve the queue even when no more may come.
            return if coming > 0 {
                Outlook::Coming(coming)
            } else {
                Outlook::Cap { machines_max: limits.machines_max }
            };
        } else if let Some((error, until)) = resting(view.given_up.as_ref(), now) {
            return if coming > 0 { Outlook::Coming(coming) } else { Outlook::Trouble { error, until } };
        } else {
            actions.push(Action::Create);
            exist += 1;
        }
        active += 1;
        coming += 1;
    }
    if coming > 0 { Outlook::Coming(coming) } else { Outlook::QueueShort { active } }
}

/// The suspended machine that suits the queue best: it holds what the most urgent task wants, or was used last.
fn take_best(asleep: &mut Vec<&Facts>, demand: &Demand) -> Option<MachineId> {
    let holder = demand
        .repositories
        .iter()
        .find_map(|wanted| asleep.iter().position(|machine| machine.repositories.contains(wanted)));
    let newest = || asleep.iter().enumerate().max_by_key(|(_, machine)| machine.state_since).map(|(at, _)| at);
    let at = holder.or_else(newest)?;
    Some(asleep.swap_remove(at).id)
}

/// Whether and until when no new machine should be made, after some had to be given up.
fn resting(given_up: Option<&GivenUp>, now: DateTime<Utc>) -> Option<(String, DateTime<Utc>)> {
    let given_up = given_up?;
    let seconds = (5_i64 << given_up.count.min(6)).min(300);
    let until = given_up.last + TimeDelta::seconds(seconds);
    (until > now).then(|| (given_up.error.clone(), until))
}

fn wind_down(machine: &Facts, limits: Limits, now: DateTime<Utc>) -> Option<Action> {
    let past = |since: DateTime<Utc>, limit: Duration| (now - since).to_std().is_ok_and(|age| age >= limit);
    match machine.state {
        MachineState::Ready => {
            let idle = machine.load == 0 && past(machine.idle_since?, limits.suspend_after);
            idle.then_some(Action::Drain(machine.id))
        }
        MachineState::Suspended => {
            past(machine.state_since, limits.destroy_after).then_some(Action::Destroy(machine.id))
        }
        MachineState::Creating
        | MachineState::Starting
        | MachineState::Resuming
        | MachineState::Draining
        | MachineState::Suspending
        | MachineState::Destroying
        | MachineState::Destroyed => None,
    }
}

/// Working, or about to. A machine on its way to sleep counts: it is back sooner than a new one is made.
fn is_active(state: MachineState) -> bool {
    match state {
        MachineState::Creating
        | MachineState::Starting
        | MachineState::Resuming
        | MachineState::Ready
        | MachineState::Draining
        | MachineState::Suspending => true,
        MachineState::Suspended | MachineState::Destroying | MachineState::Destroyed => false,
    }
}

fn is_coming(state: MachineState) -> bool {
    is_active(state) && state != MachineState::Ready
}

fn with_state(view: &View, state: MachineState) -> impl Iterator<Item = &Facts> {
    view.machines.iter().filter(move |machine| machine.state == state)
}

#[cfg(test)]
mod tests;
