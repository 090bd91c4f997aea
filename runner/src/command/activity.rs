//! Whether a command that says nothing is at work all the same: its processes compute,
//! or data comes and goes on their connections, as while a model answers.
//!
//! It looks and keeps nothing running: what cannot be seen counts as no work, and the
//! command's other limits stand.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use kit::tasks::blocking;
use tokio::time::Instant;
use wire::id::ExecutionId;

use super::connections::{self, Connection};
use crate::leftovers;

/// A tenth of one processor is work; whoever only waits and looks now and then takes less.
const WORKING_SHARE: u32 = 10;
/// What the kernel counts processes' time in, as it shows it.
const TICK: Duration = Duration::from_millis(10);

/// Looks at a command's processes again and again.
#[derive(Debug)]
pub(super) struct Activity {
    execution: ExecutionId,
    leader: i32,
    seen_at: Instant,
    /// Nothing before the first look.
    computed: Option<Duration>,
}

impl Activity {
    /// Of the command whose first process this is.
    pub(super) fn of(execution: ExecutionId, leader: Option<u32>) -> Self {
        let leader = leader.and_then(|pid| i32::try_from(pid).ok()).unwrap_or(0);
        Self { execution, leader, seen_at: Instant::now(), computed: None }
    }

    /// Whether it worked since the last time that this was asked.
    pub(super) async fn worked(&mut self) -> bool {
        let (execution, leader) = (self.execution, self.leader);
        let (computed, since_data) = blocking(move || look(execution, leader)).await;
        let now = Instant::now();
        let passed = now - std::mem::replace(&mut self.seen_at, now);
        let before = self.computed.replace(computed);
        let has_computed = before.is_some_and(|before| is_work(computed.saturating_sub(before), passed));
        has_computed || since_data.is_some_and(|since| since < passed)
    }
}

/// Whether so much computing in so much time is more than waiting takes (pure).
fn is_work(computed: Duration, passed: Duration) -> bool {
    computed * WORKING_SHARE > passed
}

/// What all its processes have computed so far, and how long ago there was data on one of their connections.
fn look(execution: ExecutionId, leader: i32) -> (Duration, Option<Duration>) {
    let members = members(&processes(), leader, |pid| leftovers::is_of(pid, execution));
    let ticks: u64 = members.values().map(|process| process.ticks).sum();
    let sockets: BTreeSet<u64> = members.keys().flat_map(|pid| sockets(*pid)).collect();
    let connections = if sockets.is_empty() { Vec::new() } else { connections::all() };
    let own = connections.iter().filter(|connection| sockets.contains(&connection.inode));
    let since_data = own.map(|Connection { since_data, .. }| *since_data).min();
    (TICK * u32::try_from(ticks).unwrap_or(u32::MAX), since_data)
}

/// A process, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    parent: i32,
    /// What it and its children that have ended have computed.
    ticks: u64,
}

fn processes() -> BTreeMap<i32, Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| Some((pid, parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?))).collect()
}

/// `pid (name) state parent …`, where the name may hold anything; user and system time, its own and its children's,
/// are the 14th to the 17th word.
fn parse_stat(text: &str) -> Option<Process> {
    let words: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let parent = words.get(1)?.parse().ok()?;
    let times: Option<Vec<u64>> = words.get(11..15)?.iter().map(|word| word.parse().ok()).collect();
    Some(Process { parent, ticks: times?.into_iter().sum() })
}

/// Everything under the command's first process, and what has left it and is known by its mark.
fn members(all: &BTreeMap<i32, Process>, leader: i32, is_marked: impl Fn(i32) -> bool) -> BTreeMap<i32, Process> {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let begins = |(pid, process): (&i32, &Process)| *pid == leader || (process.parent == own && is_marked(*pid));
    let mut next: Vec<i32> = all.iter().filter(|(pid, process)| begins((pid, process))).map(|(pid, _)| *pid).collect();
    let mut found = BTreeMap::new();
    while let Some(pid) = next.pop() {
        if found.insert(pid, all[&pid]).is_none() {
            next.extend(all.iter().filter(|(_, process)| process.parent == pid).map(|(pid, _)| *pid));
        }
    }
    found
}

/// The sockets that a process has open; none of one that nobody may look into.
fn sockets(pid: i32) -> Vec<u64> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let targets = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
    targets.filter_map(|target| target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_and_what_it_computed_are_read_whatever_its_name() {
        let stat = "7 (a) b (c d) S 3 5 3 0 -1 4194560 1 2 3 4 10 20 300 4000 20 0 1 0 99";
        assert_eq!(parse_stat(stat), Some(Process { parent: 3, ticks: 4_330 }));
        assert_eq!(parse_stat("7 (sh) S 1 5"), None);
    }

    #[test]
    fn what_is_under_the_command_or_was_left_by_it_is_its_own() {
        let own = i32::try_from(std::process::id()).expect("small");
        let (command, child, orphan, other) = (own + 1, own + 2, own + 3, own + 4);
        let parents = [(own, 1), (command, own), (child, command), (orphan, own), (other, own), (1, 0)];
        let all = parents.map(|(pid, parent)| (pid, Process { parent, ticks: 1 })).into();
        let found = members(&all, command, |pid| pid == orphan);
        assert_eq!(found.into_keys().collect::<Vec<_>>(), [command, child, orphan]);
    }

    #[test]
    fn waiting_is_no_work() {
        for (computed_ms, passed_ms, expect) in [(0, 500, false), (40, 500, false), (60, 500, true), (500, 500, true)] {
            let (computed, passed) = (Duration::from_millis(computed_ms), Duration::from_millis(passed_ms));
            assert_eq!(is_work(computed, passed), expect, "{computed_ms}");
        }
    }
}
