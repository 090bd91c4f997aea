//! Processes that outlive their command: those that left its process group are
//! adopted by the runner, found, and killed.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid, getsid};
use wire::id::ExecutionId;

/// The variable by which every process of an execution is known.
pub(crate) const MARK: &str = "BIFROST_EXECUTION_ID";

/// Each round kills what the last one's parents had under them.
const ROUNDS: usize = 16;
const REAP_TRIES: usize = 200;
const REAP_PAUSE: Duration = Duration::from_millis(1);

/// What `/proc/<pid>/stat` says about who a process belongs to, and what it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kinship {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    group: i32,
    session: i32,
    /// What it and its children that have ended have computed, in the kernel's ticks.
    pub(crate) ticks: u64,
}

/// From now on, processes whose parents have died become children of this one.
pub(crate) fn adopt_orphans() {
    if let Err(error) = nix::sys::prctl::set_child_subreaper(true) {
        tracing::warn!("orphans cannot be adopted, so a command may leave processes behind: {error}");
    }
}

/// Kills everything that is left of an execution whose command has ended. Blocks for a moment.
pub(crate) fn end(execution: ExecutionId) {
    for _ in 0..ROUNDS {
        let left = of(execution);
        if left.is_empty() {
            return;
        }
        for pid in &left {
            // One that has ended in the meantime is only waited for.
            kill(*pid, Signal::SIGKILL).ok();
        }
        left.iter().for_each(|pid| reap(*pid));
    }
    tracing::warn!("the execution {execution} keeps starting processes that leave its group");
}

/// Waits for a killed child, but not for one that the kernel cannot end now.
fn reap(pid: Pid) {
    for _ in 0..REAP_TRIES {
        match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => std::thread::sleep(REAP_PAUSE),
            _ => return,
        }
    }
}

/// Kills what a runner that was killed left running on this volume.
pub(crate) fn end_forgotten(executions: &BTreeSet<String>) {
    for kinship in processes() {
        if mark_of(kinship.pid).is_some_and(|mark| executions.contains(&mark)) {
            tracing::warn!("process {} of an earlier runner is still alive and is killed", kinship.pid);
            kill(Pid::from_raw(kinship.pid), Signal::SIGKILL).ok();
        }
    }
}

fn of(execution: ExecutionId) -> Vec<Pid> {
    let is_ours = |pid: i32| mark_of(pid).is_none_or(|mark| mark == execution.to_string());
    let adopted = adopted(&processes()).into_iter().filter(|pid| is_ours(*pid));
    adopted.map(Pid::from_raw).collect()
}

/// The processes that were adopted.
pub(crate) fn adopted(all: &[Kinship]) -> Vec<i32> {
    let (own, session) = (getpid().as_raw(), getsid(None).map_or(0, Pid::as_raw));
    all.iter().filter(|child| is_adopted(**child, own, session)).map(|child| child.pid).collect()
}

/// Whether a child was adopted and not started here: what this process starts leads a group of its
/// own in this process's session (see [`kit::process::command`]).
fn is_adopted(child: Kinship, own: i32, session: i32) -> bool {
    child.parent == own && !(child.group == child.pid && child.session == session)
}

/// Every process of this machine that can be seen.
pub(crate) fn processes() -> Vec<Kinship> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)).collect()
}

/// These processes and everything under them.
pub(crate) fn below(all: &[Kinship], first: impl Iterator<Item = i32>) -> Vec<Kinship> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for process in all {
        children.entry(process.parent).or_default().push(process.pid);
    }
    let by_pid: HashMap<i32, Kinship> = all.iter().map(|process| (process.pid, *process)).collect();
    let (mut next, mut found) = (Vec::from_iter(first), HashMap::new());
    while let Some(pid) = next.pop() {
        let Some(process) = by_pid.get(&pid) else { continue };
        if found.insert(pid, *process).is_none() {
            next.extend(children.get(&pid).into_iter().flatten());
        }
    }
    found.into_values().collect()
}

/// `pid (name) state parent group session …`, where the name may hold anything; user and system time, its own and its
/// children's, are the 14th to the 17th word.
fn parse_stat(text: &str) -> Option<Kinship> {
    let pid = text.split(' ').next()?.parse().ok()?;
    let words: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| words.get(at)?.parse::<i32>().ok();
    let times: Option<Vec<u64>> = words.get(11..15)?.iter().map(|word| word.parse().ok()).collect();
    let ticks = times?.into_iter().sum();
    Some(Kinship { pid, parent: number(1)?, group: number(2)?, session: number(3)?, ticks })
}

/// The execution a process says it belongs to; nothing for one that ended or hides it.
fn mark_of(pid: i32) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let mark =
        environment.split(|byte| *byte == 0).find_map(|pair| pair.strip_prefix(MARK.as_bytes())?.strip_prefix(b"="))?;
    String::from_utf8(mark.to_vec()).ok()
}

/// Whether a process says that it belongs to the execution.
pub(crate) fn is_of(pid: i32, execution: ExecutionId) -> bool {
    mark_of(pid).is_some_and(|mark| mark == execution.to_string())
}

/// A process of this parent.
#[cfg(test)]
fn kin(pid: i32, parent: i32) -> Kinship {
    Kinship { pid, parent, group: pid, session: pid, ticks: 1 }
}

/// Whether a process is there, dead or alive.
#[cfg(test)]
pub(crate) fn exists(pid: i32) -> bool {
    kill(Pid::from_raw(pid), None) != Err(nix::errno::Errno::ESRCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let expect = Some(Kinship { pid: 7, parent: 1, group: 5, session: 3, ticks: 4_330 });
        let rest = "S 1 5 3 0 -1 4194560 1 2 3 4 10 20 300 4000 20 0 1 0 99";
        assert_eq!(parse_stat(&format!("7 (sh) {rest}")), expect);
        assert_eq!(parse_stat(&format!("7 (a) b (c d) {rest}")), expect);
        assert_eq!(parse_stat("7 (sh) S 1 5 3"), None);
    }

    #[test]
    fn all_that_is_under_a_process_is_found() {
        let parents = [(11, 10), (12, 11), (13, 12), (14, 10), (15, 14), (1, 0)];
        let all: Vec<_> = parents.map(|(pid, parent)| kin(pid, parent)).into();
        let of = |first: &[i32]| {
            let mut found: Vec<_> = below(&all, first.iter().copied()).iter().map(|process| process.pid).collect();
            found.sort_unstable();
            found
        };
        assert_eq!(of(&[11]), [11, 12, 13]);
        assert_eq!(of(&[11, 14, 12, 99]), [11, 12, 13, 14, 15]);
    }

    #[test]
    fn only_what_was_not_started_here_is_adopted() {
        for (pid, parent, group, session, expect) in [
            (11, 10, 11, 9, false),  // started here
            (12, 10, 11, 9, true),   // left behind by 11
            (13, 10, 13, 13, true),  // made itself a session
            (14, 11, 14, 14, false), // its parent is alive
        ] {
            assert_eq!(is_adopted(Kinship { pid, parent, group, session, ticks: 0 }, 10, 9), expect, "{pid}");
        }
    }
}
