//! The workers with room, found by what they hold: so that a long queue and many
//! workers are not compared pairwise.

use std::collections::{BTreeSet, HashMap};

use wire::id::MachineId;

use super::{Room, Waiting};

/// Workers with room.
pub(super) struct Rooms<'a> {
    rooms: &'a [Room],
    /// How much room each still has.
    free: Vec<usize>,
    /// How many of the repositories that each holds somebody still wants.
    wanted: Vec<usize>,
    /// Those with room, the one that fewest want first.
    by_wanted: BTreeSet<(usize, usize)>,
    repositories: HashMap<&'a str, Repository>,
}

/// A repository that somebody wants.
#[derive(Default)]
struct Repository {
    /// How many tasks that were not looked at yet want it.
    tasks: usize,
    /// Every worker that holds it.
    holders: Vec<usize>,
    /// No holder before this place has room.
    from: usize,
}

impl<'a> Rooms<'a> {
    pub(super) fn new(rooms: &'a [Room], waiting: impl Iterator<Item = &'a Waiting>) -> Self {
        let mut repositories: HashMap<&str, Repository> = HashMap::new();
        if rooms.is_empty() {
            // Nobody has to be told apart.
            return Self { rooms, free: Vec::new(), wanted: Vec::new(), by_wanted: BTreeSet::new(), repositories };
        }
        for task in waiting {
            repositories.entry(&task.repository).or_default().tasks += 1;
        }
        let mut wanted = vec![0; rooms.len()];
        for (at, room) in rooms.iter().enumerate() {
            for name in &room.repositories {
                if let Some(repository) = repositories.get_mut(name.as_str()) {
                    repository.holders.push(at);
                    wanted[at] += 1;
                }
            }
        }
        for repository in repositories.values_mut() {
            repository.holders.sort_by_key(|at| (wanted[*at], *at));
        }
        let free: Vec<usize> = rooms.iter().map(|room| room.free).collect();
        let by_wanted = (0..rooms.len()).filter(|at| free[*at] > 0).map(|at| (wanted[at], at)).collect();
        Self { rooms, free, wanted, by_wanted, repositories }
    }

    /// Takes the room that suits the next task best: one that holds its repository, then one that nobody
    /// else wants.
    pub(super) fn take(&mut self, task: &Waiting) -> Option<usize> {
        self.forget(task);
        let at = self.holder(&task.repository).or_else(|| self.by_wanted.first().map(|(_, at)| *at))?;
        Some(self.fill(at))
    }

    /// Takes room on this machine, for a task that no other can take.
    pub(super) fn take_on(&mut self, task: &Waiting, machine: MachineId) -> Option<usize> {
        self.forget(task);
        let at = self.rooms.iter().position(|room| room.machine == Some(machine))?;
        (self.free[at] > 0).then(|| self.fill(at))
    }

    fn fill(&mut self, at: usize) -> usize {
        self.free[at] -= 1;
        if self.free[at] == 0 {
            self.by_wanted.remove(&(self.wanted[at], at));
        }
        at
    }

    /// A task is looked at: what nobody wants after it need not be spared.
    fn forget(&mut self, task: &Waiting) {
        let Some(repository) = self.repositories.get_mut(task.repository.as_str()) else { return };
        repository.tasks -= 1;
        if repository.tasks > 0 {
            return;
        }
        for at in &repository.holders {
            let had_room = self.by_wanted.remove(&(self.wanted[*at], *at));
            self.wanted[*at] -= 1;
            if had_room {
                self.by_wanted.insert((self.wanted[*at], *at));
            }
        }
    }

    fn holder(&mut self, name: &str) -> Option<usize> {
        let repository = self.repositories.get_mut(name)?;
        while let Some(at) = repository.holders.get(repository.from) {
            if self.free[*at] > 0 {
                return Some(*at);
            }
            repository.from += 1;
        }
        None
    }
}
