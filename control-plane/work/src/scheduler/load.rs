//! A queue and a fleet of any size, to measure the decision with: it makes the
//! scheduler's own.

use std::time::Duration;

use chrono::{DateTime, Utc};
use pool::plan::{Facts, Limits, View, Wear};
use wire::id::{MachineId, TaskId, TenantId, WorkerId};
use wire::machine::MachineState;
use wire::task::Priority;

use super::order::Shares;
use super::plan::{Queue, Room, Snapshot, Waiting, plan};
use crate::admission::Lane;
use crate::admission::policy::Rules;

/// Different repositories in the queue and on the machines.
const REPOSITORIES: usize = 1_000;

/// What waits, and what there is.
#[derive(Debug)]
pub struct PlannerLoad {
    snapshot: Snapshot,
    now: DateTime<Utc>,
}

impl PlannerLoad {
    /// So many waiting tasks and machines. Either every machine has room for one task and there are as many
    /// that sleep, or all work and nothing can change.
    pub fn new(tasks: usize, machines: usize, has_room: bool) -> Self {
        let now = DateTime::UNIX_EPOCH;
        let repository = |number: usize| format!("repository-{}", number % REPOSITORIES);
        let state = |number: usize| match has_room && number.is_multiple_of(2) {
            true => MachineState::Suspended,
            false => MachineState::Ready,
        };
        let facts = |number: usize| Facts {
            id: id(number, MachineId::mint),
            state: state(number),
            state_since: now,
            refusals: 0,
            load: i32::from(!has_room),
            idle_since: has_room.then_some(now),
            repositories: vec![repository(number), repository(number * 7)],
            wear: Wear::default(),
        };
        let room = |number: usize| Room {
            worker: id(number, WorkerId::mint),
            machine: Some(id(number, MachineId::mint)),
            free: 1,
            repositories: vec![repository(number), repository(number * 7)],
        };
        let waits = |number: usize| Waiting {
            task: id(number, TaskId::mint),
            priority: Priority::default(),
            created_at: now,
            repository: repository(number * 13),
            machine: None,
            estimate_micros: 0,
        };
        let is_ready = |number: &usize| has_room && state(*number) == MachineState::Ready;
        let settings = pool::Settings {
            machines_max: machines,
            allow_more_machines: true,
            suspend_after: Duration::from_secs(60),
            ..pool::Settings::default()
        };
        let snapshot = Snapshot {
            queues: vec![Queue {
                lane: Lane::of(id(0, TenantId::mint), None, &[]),
                tasks: (0..tasks).map(waits).collect(),
            }],
            rules: Rules::default(),
            shares: Shares::default(),
            rooms: (0..machines).filter(is_ready).map(room).collect(),
            machines: View { machines: (0..machines).map(facts).collect(), ..View::default() },
            limits: Limits::from(&settings),
        };
        Self { snapshot, now }
    }

    /// Decides once; gives how many tasks are assigned, and how many orders the pool gets.
    pub fn plan(&self) -> (usize, usize) {
        let plan = plan(&self.snapshot, self.now);
        (plan.assignments.len(), plan.machines.len())
    }
}

fn id<T>(number: usize, mint: fn(DateTime<Utc>, [u8; 10]) -> T) -> T {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&(number as u64).to_be_bytes());
    mint(DateTime::UNIX_EPOCH, random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_machine_with_room_gets_a_task_and_every_sleeper_is_woken() {
        assert_eq!(PlannerLoad::new(10_000, 100, true).plan(), (50, 50));
        assert_eq!(PlannerLoad::new(10_000, 100, false).plan(), (0, 0));
        assert_eq!(PlannerLoad::new(10, 100, true).plan(), (10, 0));
    }
}
