//! Whether a command that says nothing is at work all the same: its processes compute,
//! or data comes and goes on their connections, as while a model answers.
//!
//! It looks and keeps nothing running: what cannot be seen counts as no work, and the
//! command's other limits stand.

use std::collections::BTreeSet;
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
/// A command that has more open than this is looked through no further.
const DESCRIPTORS_MAX: usize = 50_000;

/// Looks at a command's processes again and again.
#[derive(Debug)]
pub(super) struct Activity {
    execution: ExecutionId,
    leader: i32,
    seen_at: Instant,
    /// Nothing before the first look.
    computed: Option<Duration>,
}

/// What one look saw.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// What all the command's processes have computed so far.
    computed: Duration,
    /// How long ago there was data on one of their connections.
    since_data: Option<Duration>,
}

impl Activity {
    /// Of the command whose first process this is.
    pub(super) fn of(execution: ExecutionId, leader: Option<u32>) -> Self {
        let leader = leader.and_then(|pid| i32::try_from(pid).ok()).unwrap_or(0);
        Self { execution, leader, seen_at: Instant::now(), computed: None }
    }

    /// A look, which takes as long as the command has processes and files: nobody waits for it.
    pub(super) fn look(&self) -> impl Future<Output = Seen> + Send + use<> {
        let (execution, leader) = (self.execution, self.leader);
        blocking(move || look(execution, leader))
    }

    /// Whether it worked since the look before.
    pub(super) fn has_worked(&mut self, seen: Seen) -> bool {
        let now = Instant::now();
        let passed = now - std::mem::replace(&mut self.seen_at, now);
        let before = self.computed.replace(seen.computed);
        let has_computed = before.is_some_and(|before| is_work(seen.computed.saturating_sub(before), passed));
        has_computed || seen.since_data.is_some_and(|since| since < passed)
    }
}

/// Whether so much computing in so much time is more than waiting takes (pure).
fn is_work(computed: Duration, passed: Duration) -> bool {
    computed * WORKING_SHARE > passed
}

fn look(execution: ExecutionId, leader: i32) -> Seen {
    let all = leftovers::processes();
    // What has left the command is known by its mark. What else has it are its services, which work for themselves.
    let left = leftovers::adopted(&all).into_iter().filter(|pid| leftovers::is_of(*pid, execution));
    let members = leftovers::below(&all, left.chain([leader]));
    let ticks: u64 = members.iter().map(|process| process.ticks).sum();
    let sockets: BTreeSet<u64> =
        members.iter().flat_map(|process| sockets(process.pid)).take(DESCRIPTORS_MAX).flatten().collect();
    let connections = if sockets.is_empty() { Vec::new() } else { connections::all() };
    let own = connections.iter().filter(|connection| sockets.contains(&connection.inode));
    let since_data = own.map(|Connection { since_data, .. }| *since_data).min();
    Seen { computed: TICK * u32::try_from(ticks).unwrap_or(u32::MAX), since_data }
}

/// What a process has open, each a socket or not; nothing of one that nobody may look into.
fn sockets(pid: i32) -> impl Iterator<Item = Option<u64>> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    entries.map(|entry| {
        let target = fs::read_link(entry.path()).ok()?;
        target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_is_no_work() {
        for (computed_ms, passed_ms, expect) in [(0, 500, false), (40, 500, false), (60, 500, true), (500, 500, true)] {
            let (computed, passed) = (Duration::from_millis(computed_ms), Duration::from_millis(passed_ms));
            assert_eq!(is_work(computed, passed), expect, "{computed_ms}");
        }
    }
}
