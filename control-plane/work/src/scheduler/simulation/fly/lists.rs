//! Lists: what was made a moment ago is not in them yet, and what was destroyed a
//! moment ago still is, as it was.

use super::*;

/// Something that is destroyed, and until when lists have it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gone {
    id: usize,
    /// A volume's; a machine has its own.
    volume: Option<usize>,
    until: Millis,
}

impl Gone {
    pub(super) fn machine(id: usize) -> Self {
        Self { id, volume: None, until: 0 }
    }

    pub(super) fn volume(id: usize, name: usize) -> Self {
        Self { id, volume: Some(name), until: 0 }
    }
}

/// A machine or a volume in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Listed<Name> {
    pub(in super::super) id: usize,
    pub(in super::super) name: Name,
}

impl Fly {
    pub(super) fn still_listed(&mut self, gone: Gone, lag: Millis, now: Millis) {
        let until = now + self.dice.below(lag + 1);
        self.gone.push_back(Gone { until, ..gone });
    }

    /// What is due has happened.
    pub(in super::super) fn refresh(&mut self, now: Millis) {
        let is_due = |id: &usize| self.machines[*id].next.is_some_and(|(at, _)| at <= now);
        let due: Vec<usize> = self.existing.iter().copied().filter(is_due).collect();
        for id in due {
            self.look(id, now);
        }
        self.gone.retain(|gone| gone.until > now);
    }

    /// The machines that a list has.
    pub(in super::super) fn listed(&mut self, now: Millis) -> Vec<Listed<(usize, u32)>> {
        self.refresh(now);
        let there = self.existing().filter(|(_, machine)| machine.listed_from <= now).map(|(id, _)| id);
        let gone = self.gone.iter().filter(|gone| gone.volume.is_none()).map(|gone| gone.id);
        there.chain(gone).map(|id| Listed { id, name: self.machines[id].name }).collect()
    }

    /// The volumes that a list has.
    pub(in super::super) fn listed_volumes(&self, now: Millis) -> Vec<Listed<usize>> {
        let there = self.existing_volumes.iter().filter(|(_, volume)| volume.listed_from <= now);
        let there = there.map(|(id, volume)| Listed { id: *id, name: volume.name });
        let gone = self.gone.iter().filter(|gone| gone.until > now);
        there.chain(gone.filter_map(|gone| Some(Listed { id: gone.id, name: gone.volume? }))).collect()
    }

    pub(in super::super) fn list(&mut self, now: Millis) -> Result<Vec<Listed<(usize, u32)>>, Refusal> {
        self.count(Action::ListMachines, OF_APP, now);
        self.transient(Action::ListMachines).map_or_else(|| Ok(self.listed(now)), Err)
    }

    pub(in super::super) fn list_volumes(&mut self, now: Millis) -> Result<Vec<Listed<usize>>, Refusal> {
        self.count(Action::ListVolumes, OF_APP, now);
        self.transient(Action::ListVolumes).map_or_else(|| Ok(self.listed_volumes(now)), Err)
    }
}
