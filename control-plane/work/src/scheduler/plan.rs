//! Which waiting task goes to which worker, what is asked of the pool, and why
//! each other task has to wait: one pure function, so that the reason is the
//! decision's own.
//!
//! A task that needs another first (hard) does not come this far: it is left out of
//! what waits until the last of them is completed, and is told which they are.
//!
//! Tasks are taken in the order of [`super::order`], as far as what people have set
//! lets them start ([`crate::admission::policy`]). Among the workers with room a task
//! prefers one that holds its repository, and leaves alone, if it can, those that
//! others want; but it takes any before it waits, so that affinity starves nobody. A
//! task that begins from a checkpoint waits for the machine that has it.

mod rooms;

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, SecondsFormat, Utc};
use pool::plan::{Action, Demand, Facts, Limits, Outlook, View};
use wire::id::{MachineId, TaskId, WorkerId};
use wire::outcome::Condition;
use wire::task::{Priority, TaskStatus};
use wire::why::{Reason, ReasonCode};

use super::order::{Line, Owner, Shares};
use crate::admission::policy::{Obstacle, Rules};
use crate::admission::{Lane, LaneId};
use crate::dependencies::Unsatisfied;
use rooms::Rooms;

/// A task that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) task: TaskId,
    pub(crate) priority: Priority,
    pub(crate) created_at: DateTime<Utc>,
    /// The name of its repository's mirror.
    pub(crate) repository: String,
    /// The only machine that can take it: it has the checkpoint that the task begins from.
    pub(crate) machine: Option<MachineId>,
    /// What it is expected to cost, in millionths of a dollar.
    pub(crate) estimate_micros: i64,
}

/// The next tasks of a lane, in the order of priority and age.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Queue {
    pub(crate) lane: Lane,
    pub(crate) tasks: Vec<Waiting>,
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
    pub(crate) queues: Vec<Queue>,
    pub(crate) rules: Rules,
    pub(crate) shares: Shares,
    pub(crate) rooms: Vec<Room>,
    pub(crate) machines: View,
    pub(crate) limits: Limits,
}

/// The decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) assignments: Vec<Assignment>,
    pub(crate) machines: Vec<Action>,
    pub(crate) outlook: Outlook,
    /// Tasks that may start and found no worker, as far as they were counted.
    pub(crate) left: usize,
    /// Who was served, and when in the time of turns.
    pub(crate) served: Vec<(Owner, i64)>,
    /// Why the rest of a lane must wait whose first tasks may start.
    pub(crate) closed: HashMap<LaneId, Vec<Obstacle>>,
}

/// A task that goes to a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) task: TaskId,
    pub(crate) worker: WorkerId,
    pub(crate) estimate_micros: i64,
}

/// How many tasks the decision needs to see: one for each free place of a worker, and as many more as can
/// make a difference to how many machines there are.
pub(crate) fn enough(rooms: &[Room], limits: Limits) -> usize {
    let free: usize = rooms.iter().map(|room| room.free).sum();
    free + limits.queue_per_machine.saturating_mul(limits.machines_max).min(MOST_LEFT) + 1
}

/// However many tasks are worth a machine, no more are counted.
const MOST_LEFT: usize = 1_000;

/// Decides. Pure.
pub(crate) fn plan(snapshot: &Snapshot, now: DateTime<Utc>) -> Plan {
    let mut rooms = Rooms::new(&snapshot.rooms, snapshot.queues.iter().flat_map(|queue| &queue.tasks));
    let mut machines = snapshot.machines.clone();
    let places: HashMap<MachineId, usize> =
        machines.machines.iter().enumerate().map(|(at, facts)| (facts.id, at)).collect();
    let mut rules = snapshot.rules.clone();
    let mut line = Line::new(&snapshot.queues, &snapshot.shares);
    let (mut assignments, mut left, mut closed) = (Vec::new(), Vec::new(), HashMap::new());
    let mut bound: Vec<MachineId> = Vec::new();
    let enough = enough(&snapshot.rooms, snapshot.limits);
    while assignments.len() + left.len() < enough
        && let Some((place, task)) = line.next()
    {
        let lane = &snapshot.queues[place].lane;
        if let Err(obstacles) = rules.admit(lane, task.estimate_micros, now) {
            closed.insert(lane.id, obstacles);
            line.close(place);
            continue;
        }
        line.take(place);
        // Where its machine is gone any other will do: it says that the checkpoint is gone, and the task fails.
        let only = task.machine.filter(|machine| places.contains_key(machine));
        let found = match only {
            Some(machine) => rooms.take_on(task, machine),
            None => rooms.take(task),
        };
        let Some(at) = found else {
            match only {
                Some(machine) if !bound.contains(&machine) => bound.push(machine),
                Some(_) => (),
                None => left.push(task),
            }
            continue;
        };
        let room = &snapshot.rooms[at];
        let Waiting { task, estimate_micros, .. } = *task;
        assignments.push(Assignment { task, worker: room.worker, estimate_micros });
        line.serve(place);
        if let Some(place) = room.machine.and_then(|machine| places.get(&machine)) {
            burden(&mut machines.machines[*place]);
        }
    }
    let demand = Demand { queued: left.len(), repositories: repositories(&left), machines: bound };
    let pool = pool::plan::plan(&machines, &demand, snapshot.limits, now);
    // A machine that can no longer be paid for gets nothing more to do; the next look finds its task another.
    let leaving: HashSet<MachineId> = pool.actions.iter().filter_map(suspended).collect();
    let machine_of = |worker| snapshot.rooms.iter().find(|room| room.worker == worker)?.machine;
    if !leaving.is_empty() {
        assignments.retain(|given| machine_of(given.worker).is_none_or(|machine| !leaving.contains(&machine)));
    }
    let (left, served) = (left.len(), line.served());
    Plan { assignments, machines: pool.actions, outlook: pool.outlook, left, served, closed }
}

fn suspended(action: &Action) -> Option<MachineId> {
    match action {
        Action::Suspend(machine) => Some(*machine),
        Action::Create
        | Action::Resume(_)
        | Action::Keep(_)
        | Action::Drain(_)
        | Action::Retire(..)
        | Action::Destroy(_) => None,
    }
}

/// The repositories that those who found no worker want, each once.
fn repositories(left: &[&Waiting]) -> Vec<String> {
    let mut seen = HashSet::new();
    let named = left.iter().map(|task| task.repository.as_str());
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

/// The same, in short.
pub(crate) fn needs_more(tasks: i32) -> Reason {
    let message = if tasks == 1 { "it needs a task".to_owned() } else { format!("it needs {tasks} tasks") };
    Reason { code: ReasonCode::Dependency, message, until: None, task_id: None }
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
    let mut reasons = pool_reasons(outlook);
    if ahead > 0 {
        let tasks = match ahead {
            1 => "1 task is".to_owned(),
            AHEAD_MAX.. => format!("{AHEAD_MAX} tasks or more are"),
            _ => format!("{ahead} tasks are"),
        };
        let message = format!("{tasks} ahead in the queue");
        reasons.push(Reason { code: ReasonCode::Queued, message, until: None, task_id: None });
    }
    if reasons.is_empty() {
        let message = "it is next".into();
        reasons.push(Reason { code: ReasonCode::Queued, message, until: None, task_id: None });
    }
    reasons
}

/// As far as tasks ahead of one are counted.
pub(crate) const AHEAD_MAX: i64 = 1_000;

/// What the pool does about what waits.
pub(crate) fn pool_reasons(outlook: &Outlook) -> Vec<Reason> {
    let (code, message) = match (outlook, outlook.obstacle()) {
        (Outlook::Calm, _) => return Vec::new(),
        (Outlook::Coming(count), _) => {
            let machines = if *count == 1 { "a machine is".to_owned() } else { format!("{count} machines are") };
            (ReasonCode::MachineComing, format!("{machines} being made or woken"))
        }
        (Outlook::QueueShort { active }, _) => {
            let workers = match active {
                1 => "the machine there works".to_owned(),
                _ => format!("the {active} machines there work"),
            };
            (ReasonCode::QueueShort, format!("{workers} the queue off; it is too short for another"))
        }
        (Outlook::Cap { .. }, obstacle) => (ReasonCode::MachineCap, obstacle.unwrap_or_default()),
        (Outlook::Budget { .. } | Outlook::TooSmall(_), obstacle) => {
            (ReasonCode::MachineBudget, obstacle.unwrap_or_default())
        }
        (Outlook::Trouble { .. }, obstacle) => (ReasonCode::ProviderTrouble, obstacle.unwrap_or_default()),
    };
    vec![Reason { code, message, until: outlook.until(), task_id: None }]
}

/// A reason on one line, for lists.
pub(crate) fn in_a_line(reason: &Reason) -> String {
    let until = reason.until.map(|until| format!(" (until {})", until.to_rfc3339_opts(SecondsFormat::Secs, true)));
    format!("{}: {}{}", reason.code, reason.message, until.unwrap_or_default())
}

#[cfg(test)]
mod tests;
