//! Keeps an execution to its memory where no control group does ([`crate::isolation`]): looks at what its processes have,
//! and where that is too much ends the one that has most, as the kernel does.
//!
//! It is for commands that go wrong. It does not see a process that gives up its environment and its parents at once, nor
//! memory that is a file's (`/dev/shm`); and one that takes all of the machine between two looks is the kernel's to end.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kit::tasks::blocking;
use nix::unistd::getpid;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use wire::id::ExecutionId;

use crate::leftovers;

/// Between two looks.
const BEAT: Duration = Duration::from_millis(500);

/// Ends processes of an execution that has more than so many bytes, and counts them: those of its package managers and of
/// its set-up as well as its command's. Goes on until it is dropped.
pub(crate) async fn watch(limit_bytes: Option<u64>, execution: ExecutionId, ended: &AtomicU64) {
    let Some(limit_bytes) = limit_bytes else { return std::future::pending().await };
    let mut last = None;
    loop {
        tokio::time::sleep(BEAT).await;
        let greediest = blocking(move || greediest(execution, limit_bytes)).await;
        // A large one takes a while to go.
        if let Some(pid) = greediest.filter(|_| greediest != last)
            && blocking(move || end(pid, execution)).await
        {
            ended.fetch_add(1, Ordering::Relaxed);
        }
        last = greediest;
    }
}

/// Ends a process that is still the execution's: by its number it may be another by now.
fn end(pid: i32, execution: ExecutionId) -> bool {
    let held = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    let held = held.filter(|_| members(execution).contains(&pid));
    held.is_some_and(|held| pidfd_send_signal(held, Signal::KILL).is_ok())
}

/// The processes of an execution that can be known.
fn members(execution: ExecutionId) -> Vec<i32> {
    let all = leftovers::processes();
    let started = leftovers::below(&all, [getpid().as_raw()].into_iter());
    let marked = started.iter().map(|process| process.pid).filter(|pid| leftovers::is_of(*pid, execution));
    leftovers::below(&all, marked).iter().map(|process| process.pid).collect()
}

/// The process that has most, where together they have more than they may.
fn greediest(execution: ExecutionId, limit_bytes: u64) -> Option<i32> {
    let pids = members(execution);
    // What is shared between processes counts for each of them here, and that is seldom worth the exact look.
    if pids.iter().filter_map(|pid| own_bytes(*pid)).sum::<u64>() <= limit_bytes {
        return None;
    }
    let exact: Vec<(u64, i32)> = pids.iter().map(|pid| (fair_bytes(*pid).unwrap_or_default(), *pid)).collect();
    let is_too_much = exact.iter().map(|(bytes, _)| bytes).sum::<u64>() > limit_bytes;
    exact.into_iter().max().filter(|_| is_too_much).map(|(_, pid)| pid)
}

/// What is in memory of a process and of no file; nothing for one that has ended.
fn own_bytes(pid: i32) -> Option<u64> {
    own_pages(&fs::read_to_string(format!("/proc/{pid}/statm")).ok()?).map(|pages| pages * page_bytes())
}

/// `size resident shared …`, by proc_pid_statm(5).
fn own_pages(statm: &str) -> Option<u64> {
    let mut words = statm.split(' ').skip(1).map(|word| word.parse::<u64>().ok());
    Some(words.next()??.saturating_sub(words.next()??))
}

/// The same, with its part of what it shares with others; of one that may not be looked into all of that.
fn fair_bytes(pid: i32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"));
    rollup.ok().and_then(|rollup| fair_kilobytes(&rollup)).map(|kilobytes| kilobytes * 1024).or_else(|| own_bytes(pid))
}

fn fair_kilobytes(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss_Anon:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

fn page_bytes() -> u64 {
    u64::try_from(rustix::param::page_size()).unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Remote, Scene, output};
    use wire::event::Stream;
    use wire::execution::{Failure, Outcome};

    #[test]
    fn what_a_process_has_is_read() {
        assert_eq!(own_pages("5000 300 120 4 0 90 0\n"), Some(180));
        assert_eq!(own_pages("5000 100 120 4 0 90 0\n"), Some(0));
        assert_eq!((own_pages(""), own_pages("5000 x 1")), (None, None));
        let rollup = "00400000-7fff [rollup]\nRss: 9 kB\nPss:                 900 kB\nPss_Anon:            640 kB\n";
        assert_eq!((fair_kilobytes(rollup), fair_kilobytes("Rss: 9 kB\n")), (Some(640), None));
        let own = i32::try_from(std::process::id()).expect("a number");
        assert!(own_bytes(own) > Some(100_000) && fair_bytes(own) > Some(100_000));
    }

    #[tokio::test]
    async fn where_no_group_keeps_a_command_to_its_memory_the_runner_does() {
        let mut scene = Scene::with(|config| config.limits.memory_bytes = Some(64 << 20)).await;
        let remote = Remote::new().await;
        // Copies for ever, by so much at once. What has little beside it goes on.
        let greedy = "dd if=/dev/zero of=/dev/null bs=200M; echo survived";
        let why = "1 of its processes ended because together they wanted more than the 67108864 bytes of memory";
        let (completion, events) = scene.run(&remote, greedy).await;
        assert_eq!((completion.outcome, completion.message), (Outcome::Succeeded, None));
        assert_eq!(output(&events, Stream::Stdout), "survived\n");
        assert!(output(&events, Stream::Stderr).contains(why), "{}", output(&events, Stream::Stderr));
        let (completion, events) = scene.run(&remote, &format!("{greedy}; exit 3")).await;
        assert_eq!(completion.outcome, Outcome::Failed);
        assert!(completion.message.as_deref().is_some_and(|message| message.contains(why)), "{completion:?}");
        assert!(!output(&events, Stream::Stderr).contains(why), "it is said once");
    }

    #[tokio::test]
    async fn a_set_up_command_is_kept_to_its_memory_and_its_failure_says_so() {
        let mut scene = Scene::with(|config| config.limits.memory_bytes = Some(64 << 20)).await;
        let greedy = "[setup]\ncommands = [[\"dd\", \"if=/dev/zero\", \"of=/dev/null\", \"bs=200M\"]]";
        let remote = Remote::with(&[(".bifrost.toml", greedy)]).await;
        let (completion, _) = scene.run(&remote, "echo ran").await;
        assert_eq!(completion.failure, Some(Failure::SetUpStepFailed));
        let message = completion.message.expect("a message");
        assert!(message.contains("1 of its processes ended because together they wanted more than"), "{message}");
    }

    #[tokio::test]
    async fn the_processes_of_an_execution_count_together_and_no_other_does() {
        let (own, other) = (crate::testing::subject().execution_id, crate::testing::subject().execution_id);
        let copying = |execution: ExecutionId| {
            let mut copy = kit::process::command("dd");
            copy.args(["if=/dev/zero", "of=/dev/null", "bs=40M", "status=none"]).kill_on_drop(true);
            copy.env(leftovers::MARK, execution.to_string()).spawn().expect("starts")
        };
        let _copies = [copying(own), copying(own), copying(other)];
        crate::testing::until(async || greediest(own, 60 << 20).is_some()).await;
        crate::testing::until(async || greediest(other, 20 << 20).is_some()).await;
        assert_eq!((greediest(own, 120 << 20), greediest(other, 60 << 20)), (None, None));
        let pid = greediest(own, 60 << 20).expect("is there");
        assert!(!end(pid, other) && members(own).contains(&pid));
        assert!(end(pid, own));
        crate::testing::until(async || greediest(own, 60 << 20).is_none()).await;
    }
}
