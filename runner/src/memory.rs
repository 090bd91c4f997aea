//! Keeps an execution to its memory where no control group does ([`crate::isolation`]): looks at what its processes have,
//! and where that is too much ends the one that has most, as the kernel does.
//!
//! It is for commands that go wrong. One that takes all of the machine between two looks is the kernel's to end.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kit::tasks::blocking;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpid};
use wire::id::ExecutionId;

use crate::leftovers;

/// Between two looks.
const BEAT: Duration = Duration::from_millis(500);

/// Ends processes of an execution that has more than so many bytes, and counts them. Goes on until it is dropped.
pub(crate) async fn watch(limit_bytes: Option<u64>, execution: ExecutionId, ended: &AtomicU64) {
    let Some(limit_bytes) = limit_bytes else { return std::future::pending().await };
    loop {
        tokio::time::sleep(BEAT).await;
        if let Some(pid) = blocking(move || too_much(execution, limit_bytes)).await
            && kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok()
        {
            ended.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The process that has most, where together they have more than they may.
fn too_much(execution: ExecutionId, limit_bytes: u64) -> Option<i32> {
    let all = leftovers::processes();
    let started = leftovers::below(&all, [getpid().as_raw()].into_iter());
    let marked = started.iter().map(|process| process.pid).filter(|pid| leftovers::is_of(*pid, execution));
    let pids: Vec<i32> = leftovers::below(&all, marked).iter().map(|process| process.pid).collect();
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
    use crate::testing::{Remote, Scene};
    use wire::execution::Outcome;

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
        let greedy = "dd if=/dev/zero of=/dev/null bs=200M; echo survived; exit 3";
        let (completion, events) = scene.run(&remote, greedy).await;
        assert_eq!(completion.outcome, Outcome::Failed);
        assert_eq!(crate::testing::output(&events, wire::event::Stream::Stdout), "survived\n");
        let message = completion.message.expect("says why");
        assert!(message.contains("1 of its processes") && message.contains("67108864 bytes"), "{message}");
        let (completion, _) = scene.run(&remote, "dd if=/dev/zero of=/dev/null bs=1M count=9").await;
        assert_eq!(completion.outcome, Outcome::Succeeded);
    }
}
