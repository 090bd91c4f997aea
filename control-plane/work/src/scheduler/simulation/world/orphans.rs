//! What Fly has and no row knows: counted, paid for, and destroyed when it was seen
//! again and for long enough.

use super::super::fly::lists::Listed;
use super::*;

/// So long is reported only what holds a disk.
const KEEP: Millis = 2 * HOUR;

/// A machine, or a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lone {
    Machine(usize),
    Volume(usize),
}

/// Since when it was seen, and until when it is in the ledger.
#[derive(Debug, Clone, Copy)]
pub(super) struct Orphan {
    first_seen: Millis,
    accrued_until: Millis,
    rate: u64,
}

pub(super) type Orphans = BTreeMap<Lone, Orphan>;

impl World {
    /// How many machines Fly lists that no row knows.
    pub(super) fn strangers(&mut self) -> usize {
        let listed = self.fly.listed(self.now);
        self.unknown(&listed).count()
    }

    fn unknown<'a>(&'a self, listed: &'a [Listed<(usize, u32)>]) -> impl Iterator<Item = usize> + 'a {
        let is_known = |found: &Listed<(usize, u32)>| {
            let (row, generation) = found.name;
            let known = &self.rows[row];
            known.state != State::Destroyed && (known.generation == generation || known.former == Some(found.id))
        };
        listed.iter().filter(move |found| !is_known(found)).map(|found| found.id)
    }

    fn unknown_volumes<'a>(&'a self, listed: &'a [Listed<usize>]) -> impl Iterator<Item = usize> + 'a {
        let is = |id: Option<usize>, name: usize, found: &Listed<usize>| match id {
            Some(id) => id == found.id,
            None => name == found.name,
        };
        let is_known = move |found: &Listed<usize>| {
            self.open.iter().map(|row| &self.rows[*row]).any(|row| {
                row.old_volumes.iter().any(|old| old.id == Some(found.id))
                    || (row.state != State::Destroyed && is(row.volume, row.volume_name, found))
            })
        };
        listed.iter().filter(move |found| !is_known(found)).map(|found| found.id)
    }

    pub(super) fn accrue_orphans(&mut self) {
        for orphan in self.orphans.values_mut() {
            let from = std::mem::replace(&mut orphan.accrued_until, self.now);
            self.ledger.add(from, self.now, orphan.rate);
        }
    }

    /// How many may cost what a machine that is awake does until they are gone, and what they all store.
    pub(super) fn orphans_cost(&self) -> (usize, u64) {
        let going = self.orphans.values().filter(|orphan| orphan.rate == PRICES.awake).count();
        let stored = |lone: &Lone| match lone {
            Lone::Machine(_) => PRICES.asleep,
            Lone::Volume(_) => PRICES.volume,
        };
        (going, self.orphans.keys().map(stored).sum())
    }

    pub(super) fn watch(&mut self) {
        self.at(self.now + 30 * SECOND, Event::Watch);
        self.fly.forget_calls(self.now);
        self.turns.retain(|_, due| *due > self.now);
        let at = self.turn(Action::ListMachines, OF_APP);
        let machines = self.fly.list(at);
        let at = self.turn(Action::ListVolumes, OF_APP);
        let (Ok(machines), Ok(volumes)) = (machines, self.fly.list_volumes(at)) else { return };
        let is_going = |id: &usize| self.fly.machines[*id].state == At::Destroying;
        let lone = self.unknown(&machines).filter(|id| !is_going(id)).map(Lone::Machine);
        let seen: Vec<Lone> = lone.chain(self.unknown_volumes(&volumes).map(Lone::Volume)).collect();
        self.accrue_orphans();
        self.orphans.retain(|orphan, _| seen.contains(orphan));
        for lone in seen {
            self.see(lone);
        }
        for row in self.open.clone() {
            self.tend(row, &volumes);
        }
        self.open.retain(|row| self.rows[*row].is_open());
    }

    fn see(&mut self, lone: Lone) {
        let (rate, keep) = match lone {
            Lone::Machine(id) => match self.fly.machines[id].state {
                At::Stopped | At::Suspended => (PRICES.asleep, 0),
                _ => (PRICES.awake, 0),
            },
            Lone::Volume(_) => (PRICES.volume, KEEP),
        };
        let now = self.now;
        let Some(orphan) = self.orphans.get_mut(&lone) else {
            self.seen.orphans += 1;
            let made = match lone {
                Lone::Machine(id) => self.fly.machines[id].made,
                Lone::Volume(id) => self.fly.volume_made(id).unwrap_or(now),
            };
            self.orphans.insert(lone, Orphan { first_seen: now, accrued_until: made, rate });
            return;
        };
        orphan.rate = rate;
        if now < orphan.first_seen + keep {
            return;
        }
        let destroyed = match lone {
            Lone::Machine(id) => {
                let at = self.turn(Action::DestroyMachine, id);
                self.fly.destroy(id, at)
            }
            Lone::Volume(id) => {
                let at = self.turn(Action::DestroyVolume, id);
                self.fly.destroy_volume(id, at)
            }
        };
        if destroyed.is_ok() {
            self.orphans.remove(&lone);
        }
    }
}
