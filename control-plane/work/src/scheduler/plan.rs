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

mod rooms;

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use pool::plan::{Action, Demand, Facts, Limits, Outlook, View};
use wire::id::{MachineId, TaskId, WorkerId};
use wire::outcome::Condition;
use wire::task::TaskStatus;
use wire::why::{Reason, ReasonCode};

use crate::dependencies::Unsatisfied;
use crate::tasks::COUNTED_MOST;
use rooms::Rooms;

/// Waiting tasks whose repositories the pool is told: more than machines could be woken for.
const LOOKED_AT: usize = 20_000;

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
    let mut rooms = Rooms::new(&snapshot.rooms, &snapshot.waiting);
    let mut machines = snapshot.machines.clone();
    let places: HashMap<MachineId, usize> =
        machines.machines.iter().enumerate().map(|(at, facts)| (facts.id, at)).collect();
    let mut assignments = Vec::new();
    let mut looked_at = 0;
    // Where nobody has room, a longer look finds nothing more.
    while !rooms.are_full() {
        let Some(task) = snapshot.waiting.get(looked_at) else { break };
        let Some(at) = rooms.take(task) else { break };
        let room = &snapshot.rooms[at];
        assignments.push((task.task, room.worker));
        if let Some(place) = room.machine.and_then(|machine| places.get(&machine)) {
            burden(&mut machines.machines[*place]);
        }
        looked_at += 1;
    }
    let demand = Demand {
        queued: snapshot.waiting_total - assignments.len(),
        repositories: repositories(&snapshot.waiting[looked_at..]),
    };
    let pool = pool::plan::plan(&machines, &demand, snapshot.limits, now);
    Plan { assignments, machines: pool.actions, outlook: pool.outlook }
}

/// The repositories that the queue wants, each once, as far as the pool could wake a machine for.
fn repositories(waiting: &[Waiting]) -> Vec<String> {
    let mut seen = HashSet::new();
    let named = waiting.iter().take(LOOKED_AT).map(|task| task.repository.as_str());
    named.filter(|name| seen.insert(*name)).map(str::to_owned).collect()
}

/// What is assigned now counts as load for the pool: a machine that just got work is not idle.
fn burden(machine: &mut Facts) {
    machine.load += 1;
    machine.idle_since = None;
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
        let tasks = match ahead {
            1 => "1 task is".to_owned(),
            // Nobody counts further.
            COUNTED_MOST.. => format!("at least {COUNTED_MOST} tasks are"),
            ahead => format!("{ahead} tasks are"),
        };
        reasons.push(reason(ReasonCode::Queued, format!("{tasks} ahead in the queue"), None));
    }
    if reasons.is_empty() {
        reasons.push(reason(ReasonCode::Queued, "it is next".into(), None));
    }
    reasons
}

#[cfg(test)]
mod tests;
