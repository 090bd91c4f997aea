//! Failures on purpose: which calls and which machines a script lets fail, and how.
//!
//! It promises: the same script, seed and order of calls give the same failures;
//! without a script nothing fails. It answers what to do and does nothing itself.

mod documented;
mod pattern;
mod script;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fly::{Action, HostStatus};
use kit::Chance;

pub use script::{BadScript, Script};

pub(crate) use script::{CallEffect, ClockLag, Moment};

use crate::machine::{Record, State};
use script::{Conditions, MachineEffect};

/// A call that may fail.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) action: Action,
    pub(crate) app: &'a str,
    /// The ids and names of the machine or volume that it is about.
    pub(crate) targets: &'a [String],
}

/// How long a machine does not get further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stay {
    UntilPoked,
    /// Or until it is poked.
    For(Duration),
}

/// A script, and how far it has come.
pub(crate) struct Faults(Mutex<Progress>);

struct Progress {
    script: Script,
    chance: Chance,
    /// For each rule of calls and then of machines.
    counts: Vec<Count>,
}

/// How often a rule was asked.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Count {
    /// How often all but chance and counts were right for the rule.
    pub(crate) seen: u64,
    /// How often it let something fail.
    pub(crate) fired: u64,
}

/// The same of every rule, in the order of the script.
pub(crate) struct Counts {
    pub(crate) calls: Vec<Count>,
    pub(crate) machines: Vec<Count>,
}

impl Faults {
    pub(crate) fn new(script: Script) -> Self {
        Self(Mutex::new(Progress::new(script)))
    }

    /// Another script, from its beginning.
    pub(crate) fn replace(&self, script: Script) {
        *self.progress() = Progress::new(script);
    }

    /// How far the script has come. Rules about hosts are not counted.
    pub(crate) fn counts(&self) -> Counts {
        let progress = self.progress();
        let (calls, machines) = progress.counts.split_at(progress.script.calls.len());
        Counts { calls: calls.to_vec(), machines: machines.to_vec() }
    }

    /// How a call is to fail: by the first rule that is for it.
    pub(crate) fn of_call(&self, call: Call<'_>) -> Option<CallEffect> {
        let mut progress = self.progress();
        let Progress { script, chance, counts } = &mut *progress;
        script.calls.iter().zip(counts).find_map(|(rule, count)| {
            let is_asked = rule.action.is_none_or(|action| action == call.action);
            let is_for_it = is_asked && rule.when.matches(call.app, call.targets);
            (is_for_it && count.fires(&rule.when, chance)).then(|| rule.effect.clone())
        })
    }

    /// Whether a machine stays in a state that it has just come into.
    pub(crate) fn stays(&self, record: &Record, state: State) -> Option<Stay> {
        self.find(record, |effect| match effect {
            MachineEffect::StickIn(at) if *at == state => Some(Stay::UntilPoked),
            MachineEffect::StayIn(stay) if stay.state == state => Some(Stay::For(stay.time())),
            _ => None,
        })
    }

    /// Whether a machine fails to boot.
    pub(crate) fn fails_to_boot(&self, record: &Record) -> bool {
        self.find(record, |effect| (*effect == MachineEffect::FailToBoot).then_some(())).is_some()
    }

    /// Whether a machine that should be started with its new configuration stays stopped.
    pub(crate) fn stops_after_update(&self, record: &Record) -> bool {
        self.find(record, |effect| (*effect == MachineEffect::StopAfterUpdate).then_some(())).is_some()
    }

    /// Whether a machine's memory is lost when it is resumed.
    pub(crate) fn loses_snapshot(&self, record: &Record) -> bool {
        self.find(record, |effect| (*effect == MachineEffect::LoseSnapshot).then_some(())).is_some()
    }

    /// Whether a list leaves a machine out.
    pub(crate) fn leaves_out(&self, record: &Record) -> bool {
        self.find(record, |effect| (*effect == MachineEffect::Unlisted).then_some(())).is_some()
    }

    /// How a machine's clock is behind when it is resumed.
    pub(crate) fn clock_lag(&self, record: &Record) -> Option<ClockLag> {
        self.find(record, |effect| match effect {
            MachineEffect::ClockLag(lag) => Some(*lag),
            _ => None,
        })
    }

    /// Whether a machine's clock may ever be behind; looking counts nothing.
    pub(crate) fn may_lag(&self, record: &Record) -> bool {
        let targets = targets(record);
        self.progress()
            .script
            .machines
            .iter()
            .any(|rule| matches!(rule.effect, MachineEffect::ClockLag(_)) && rule.when.matches(&record.app, &targets))
    }

    /// Whether a machine's host answers; looking counts nothing.
    pub(crate) fn host_status(&self, record: &Record) -> HostStatus {
        let targets = targets(record);
        let of_host = |rule: &script::MachineRule| match rule.effect {
            MachineEffect::Host(status) if rule.when.matches(&record.app, &targets) => Some(status.into()),
            _ => None,
        };
        self.progress().script.machines.iter().find_map(of_host).unwrap_or_default()
    }

    /// What the first rule says that is for the machine, asked and due.
    fn find<T>(&self, record: &Record, asked: impl Fn(&MachineEffect) -> Option<T>) -> Option<T> {
        let mut progress = self.progress();
        let Progress { script, chance, counts } = &mut *progress;
        let targets = targets(record);
        script.machines.iter().zip(&mut counts[script.calls.len()..]).find_map(|(rule, count)| {
            let found = asked(&rule.effect).filter(|_| rule.when.matches(&record.app, &targets))?;
            count.fires(&rule.when, chance).then_some(found)
        })
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress {
    fn new(script: Script) -> Self {
        let counts = vec![Count::default(); script.calls.len() + script.machines.len()];
        Self { chance: Chance::seeded(script.seed), counts, script }
    }
}

impl Count {
    /// Counts that a rule was right, and says whether it lets fail this time.
    fn fires(&mut self, conditions: &Conditions, chance: &Chance) -> bool {
        self.seen += 1;
        let is_due = conditions.are_due(self.seen, self.fired, chance);
        self.fired += u64::from(is_due);
        is_due
    }
}

fn targets(record: &Record) -> [String; 2] {
    [record.id.clone(), record.name.clone()]
}

#[cfg(test)]
mod tests;
