//! Which processes are a machine's: everything that descends from its init, is in
//! its init's session, or carries the machine's id in its environment, however it
//! has left its parents, its group and its session.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::table::{self, Process};

/// The variable by which a process is known to be a machine's.
pub(crate) const MARK: &str = "FLY_MACHINE_ID";

/// What a machine's processes are found by.
#[derive(Debug, Clone)]
pub(crate) struct Root {
    pub(crate) machine_id: String,
    /// Its init's id; `None` when that process is gone and its id may mean another.
    pub(crate) init: Option<i32>,
    /// When its init started: nothing of the machine is older. 0 when that is not known.
    pub(crate) since_ticks: u64,
}

impl Root {
    /// A machine of which nothing but its id is known.
    pub(crate) fn marked(machine_id: &str) -> Self {
        Self { machine_id: machine_id.to_owned(), init: None, since_ticks: 0 }
    }

    /// The machine's living processes, parents before children.
    pub(crate) fn members(&self) -> io::Result<Vec<Process>> {
        let mark = format!("{MARK}={}", self.machine_id);
        let is_marked =
            |pid| table::environment(pid).split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes());
        Ok(select(&table::all()?, self, is_marked))
    }
}

/// Pure but for `is_marked`, which is asked only where nothing else has decided.
fn select(table: &[Process], root: &Root, is_marked: impl Fn(i32) -> bool) -> Vec<Process> {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    // The dead have no children and need no signal.
    let can_be = |process: &&Process| {
        process.pid > 1 && process.pid != own && !process.is_dead() && process.start_ticks >= root.since_ticks
    };
    let candidates: Vec<&Process> = table.iter().filter(can_be).collect();
    let mut children: BTreeMap<i32, Vec<&Process>> = BTreeMap::new();
    for process in &candidates {
        children.entry(process.parent).or_default().push(process);
    }

    let mut found = BTreeSet::new();
    let is_init_or_session =
        |process: &&&Process| root.init.is_some_and(|init| process.pid == init || process.session == init);
    for process in candidates.iter().filter(is_init_or_session) {
        add_with_descendants(process.pid, &children, &mut found);
    }
    for process in &candidates {
        if !found.contains(&process.pid) && is_marked(process.pid) {
            add_with_descendants(process.pid, &children, &mut found);
        }
    }
    parents_first(&candidates, &found)
}

fn add_with_descendants(pid: i32, children: &BTreeMap<i32, Vec<&Process>>, found: &mut BTreeSet<i32>) {
    let mut next = vec![pid];
    while let Some(pid) = next.pop() {
        if found.insert(pid) {
            next.extend(children.get(&pid).into_iter().flatten().map(|child| child.pid));
        }
    }
}

fn parents_first(candidates: &[&Process], found: &BTreeSet<i32>) -> Vec<Process> {
    let by_pid: BTreeMap<i32, &Process> = candidates.iter().map(|process| (process.pid, *process)).collect();
    let depth = |process: &Process| {
        let mut parent = process.parent;
        let mut depth = 0;
        // A table read while processes come and go may hold a loop; no tree is deeper than the table.
        while depth < by_pid.len() && found.contains(&parent) {
            depth += 1;
            parent = by_pid[&parent].parent;
        }
        depth
    };
    let mut members: Vec<Process> =
        candidates.iter().filter(|process| found.contains(&process.pid)).map(|process| **process).collect();
    members.sort_by_cached_key(|process| (depth(process), process.start_ticks, process.pid));
    members
}

/// The ids of all machines that have processes, whoever started them.
pub(crate) fn machines_with_processes() -> io::Result<BTreeSet<String>> {
    let prefix = format!("{MARK}=");
    let mut machines = BTreeSet::new();
    for process in table::all()? {
        let environment = table::environment(process.pid);
        let marks =
            environment.split(|byte| *byte == 0).filter_map(|variable| variable.strip_prefix(prefix.as_bytes()));
        machines.extend(marks.map(|id| String::from_utf8_lossy(id).into_owned()));
    }
    Ok(machines)
}

#[cfg(test)]
mod tests;
