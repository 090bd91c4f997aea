//! Which waiting task goes to which worker, what is asked of the pool, and why
//! each other task has to wait: one pure function, so that the reason is the
//! decision's own.
//!
//! A task that needs another first (hard) does not come this far: it is left out of
//! what waits until the last of them is completed, and is told which they are.
//!
//! Tasks are taken in order: priority (5 first), then age, then id. Among the
//! workers with room a task prefers one that holds its repository, and leaves
//! alone, if it can, those that others want.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use pool::plan::{Action, Demand, Limits, Outlook, View};
use wire::id::{MachineId, TaskId, WorkerId};
use wire::outcome::Condition;
use wire::task::TaskStatus;
use wire::why::{Reason, ReasonCode};

use crate::dependencies::Unsatisfied;

/// A task that waits, in the order in which tasks are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) task: TaskId,
    /// The name of its repository's mirror.
    pub(crate) repository: String,
}

/// A worker with room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) worker: WorkerId,
    pub(crate) machine: Option<MachineId>,
    pub(crate) free: usize,
    pub(crate) repositories: Vec<String>,
}

/// Everything the decision depends on.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    /// The first of the waiting tasks, in order.
    pub(crate) waiting: Vec<Waiting>,
    /// How many wait in all.
    pub(crate) waiting_total: usize,
    pub(crate) rooms: Vec<Room>,
    pub(crate) machines: View,
    pub(crate) limits: Limits,
}

/// The decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) assignments: Vec<(TaskId, WorkerId)>,
    pub(crate) machines: Vec<Action>,
    pub(crate) outlook: Outlook,
}

/// Decides. Pure.
pub(crate) fn plan(snapshot: &Snapshot, now: DateTime<Utc>) -> Plan {
    let mut rooms = snapshot.rooms.clone();
    let mut machines = snapshot.machines.clone();
    let mut wanted: BTreeMap<&str, usize> = BTreeMap::new();
    for task in &snapshot.waiting {
        *wanted.entry(&task.repository).or_default() += 1;
    }
    let mut assignments = Vec::new();
    let mut left = Vec::new();
    for task in &snapshot.waiting {
        if let Some(count) = wanted.get_mut(task.repository.as_str()) {
            *count -= 1;
        }
        match best_room(&rooms, task, &wanted) {
            Some(at) => {
                assignments.push((task.task, rooms[at].worker));
                burden(&mut machines, rooms[at].machine);
                rooms[at].free -= 1;
                if rooms[at].free == 0 {
                    rooms.swap_remove(at);
                }
            }
            None => left.push(task),
        }
    }
    let demand = Demand {
        queued: snapshot.waiting_total - assignments.len(),
        repositories: left.iter().map(|task| task.repository.clone()).collect(),
    };
    let pool = pool::plan::plan(&machines, &demand, snapshot.limits, now);
    Plan { assignments, machines: pool.actions, outlook: pool.outlook }
}

/// What is assigned now counts as load for the pool: a machine that just got work is not idle.
fn burden(machines: &mut View, machine: Option<MachineId>) {
    if let Some(facts) = machines.machines.iter_mut().find(|facts| Some(facts.id) == machine) {
        facts.load += 1;
        facts.idle_since = None;
    }
}

/// The room that suits a task best: one that holds its repository, then one that nobody else wants.
fn best_room(rooms: &[Room], task: &Waiting, wanted: &BTreeMap<&str, usize>) -> Option<usize> {
    let rank = |room: &Room| {
        let holds = room.repositories.contains(&task.repository);
        let wanted_by_others =
            room.repositories.iter().map(|name| wanted.get(name.as_str()).copied().unwrap_or(0)).sum::<usize>();
        (!holds, wanted_by_others)
    };
    (0..rooms.len()).min_by_key(|at| rank(&rooms[*at]))
}

/// How many of the tasks that stand in the way are named.
const NAMED: usize = 20;

/// What a task is told that needs others first: before all, those that somebody has to look after.
pub(crate) fn blocked(in_the_way: &[Unsatisfied]) -> Vec<Reason> {
    let (stuck, going): (Vec<_>, Vec<_>) = in_the_way.iter().partition(|needed| needed.status.is_final());
    let mut reasons: Vec<Reason> = stuck.into_iter().chain(going).take(NAMED).map(needs).collect();
    if in_the_way.len() > NAMED {
        let message = format!("it needs {} more tasks", in_the_way.len() - NAMED);
        reasons.push(Reason { code: ReasonCode::Dependency, message, until: None, task_id: None });
    }
    reasons
}

fn needs(needed: &Unsatisfied) -> Reason {
    let Unsatisfied { task, title, status, condition, group, .. } = needed;
    let missing = match condition {
        Condition::Completed => format!("it needs task {task} ({title}), which is {status}{}", cure(*task, *status)),
        Condition::Outcome(name) => format!(
            "it needs {name} of task {task} ({title}), which is {status}; that is told with: \
             bifrost tasks outcomes set {task} {name}"
        ),
    };
    let message = match group {
        None => missing,
        Some(group) => format!("{missing} (or another of its group {group})"),
    };
    Reason { code: ReasonCode::Dependency, message, until: None, task_id: Some(*task) }
}

/// What can be done about a task that will not be completed by itself.
fn cure(task: TaskId, status: TaskStatus) -> String {
    match status {
        TaskStatus::Failed => format!("; retry it with: bifrost tasks retry {task}"),
        TaskStatus::Cancelled => format!("; take that back with: bifrost tasks undepend ID --on {task}"),
        TaskStatus::Ready
        | TaskStatus::Assigned
        | TaskStatus::InProgress
        | TaskStatus::Completed
        | TaskStatus::Split => String::new(),
    }
}

/// What a waiting task is told, the nearest obstacle first.
pub(crate) fn reasons(outlook: &Outlook, ahead: i64) -> Vec<Reason> {
    let reason = |code, message: String, until| Reason { code, message, until, task_id: None };
    let mut reasons = Vec::new();
    match outlook {
        Outlook::Calm => (),
        Outlook::Coming(count) => {
            let machines = if *count == 1 { "a machine is".to_owned() } else { format!("{count} machines are") };
            reasons.push(reason(ReasonCode::MachineComing, format!("{machines} being made or woken"), None));
        }
        Outlook::QueueShort { active } => {
            let workers = if *active == 1 {
                "the machine there works".to_owned()
            } else {
                format!("the {active} machines there work")
            };
            reasons.push(reason(
                ReasonCode::QueueShort,
                format!("{workers} the queue off; it is too short for another"),
                None,
            ));
        }
        Outlook::Cap { machines_max } => {
            let message = format!("all machines are busy and the cap of {machines_max} is reached");
            reasons.push(reason(ReasonCode::MachineCap, message, None));
        }
        Outlook::Budget { period, budget_micros, until } => {
            let dollars = budget_micros / 1_000_000;
            let message = format!("the machines' budget of ${dollars} for the {period} pays for no more");
            reasons.push(reason(ReasonCode::MachineBudget, message, Some(*until)));
        }
        Outlook::Trouble { error, until } => {
            let message = format!("machines had to be given up, the next is tried later: {error}");
            reasons.push(reason(ReasonCode::ProviderTrouble, message, Some(*until)));
        }
    }
    if ahead > 0 {
        let tasks = if ahead == 1 { "1 task is".to_owned() } else { format!("{ahead} tasks are") };
        reasons.push(reason(ReasonCode::Queued, format!("{tasks} ahead in the queue"), None));
    }
    if reasons.is_empty() {
        reasons.push(reason(ReasonCode::Queued, "it is next".into(), None));
    }
    reasons
}

#[cfg(test)]
mod tests;
