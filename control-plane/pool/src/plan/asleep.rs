//! The machines that sleep, in the order in which they are woken: found by what
//! they hold, so that a long queue and many sleepers are not compared pairwise.

use std::collections::{HashMap, HashSet};

use wire::id::MachineId;

use super::Facts;

/// Machines that sleep.
pub(super) struct Asleep<'a> {
    /// The last used first; those that were refused after the others.
    machines: Vec<&'a Facts>,
    /// For each repository, the places of those that hold it, the first last. Made when it is first asked for.
    holders: Option<HashMap<&'a str, Vec<usize>>>,
    /// Those that were taken.
    taken: HashSet<usize>,
    /// No repository before this place of the wanted ones has a holder any more.
    wanted_from: usize,
    /// No machine before this place is left.
    free_from: usize,
}

impl<'a> Asleep<'a> {
    pub(super) fn new(machines: impl Iterator<Item = &'a Facts>) -> Self {
        let mut machines: Vec<&Facts> = machines.collect();
        machines.sort_by_key(|machine| (machine.refusals, std::cmp::Reverse((machine.state_since, machine.id))));
        Self { machines, holders: None, taken: HashSet::new(), wanted_from: 0, free_from: 0 }
    }

    /// Takes the one that suits the queue best: it holds what the most urgent task wants, or was used last.
    pub(super) fn take(&mut self, wanted: &[String]) -> Option<MachineId> {
        let at = self.holder(wanted).or_else(|| self.last_used())?;
        self.taken.insert(at);
        Some(self.machines[at].id)
    }

    /// Takes this one, if it sleeps and was not taken.
    pub(super) fn take_this(&mut self, machine: MachineId) -> bool {
        let at = self.machines.iter().position(|facts| facts.id == machine);
        at.is_some_and(|at| self.taken.insert(at))
    }

    fn holder(&mut self, wanted: &[String]) -> Option<usize> {
        if self.machines.is_empty() {
            return None;
        }
        let machines = &self.machines;
        let holders = self.holders.get_or_insert_with(|| {
            let mut holders: HashMap<&str, Vec<usize>> = HashMap::new();
            for (at, machine) in machines.iter().enumerate().rev() {
                for repository in &machine.repositories {
                    holders.entry(repository).or_default().push(at);
                }
            }
            holders
        });
        // Sleepers only become fewer, so whatever has no holder now will have none later.
        while let Some(repository) = wanted.get(self.wanted_from) {
            while let Some(at) = holders.get_mut(repository.as_str()).and_then(Vec::pop) {
                if !self.taken.contains(&at) {
                    return Some(at);
                }
            }
            self.wanted_from += 1;
        }
        None
    }

    fn last_used(&mut self) -> Option<usize> {
        while self.taken.contains(&self.free_from) {
            self.free_from += 1;
        }
        (self.free_from < self.machines.len()).then_some(self.free_from)
    }
}
