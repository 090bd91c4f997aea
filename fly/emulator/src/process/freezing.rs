//! Signals to all of a machine's processes: freeze, thaw, kill. Each works on
//! rounds of looking and signalling until a look shows that nothing is left to do.
//! These block; call them where that is allowed.

use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;

use super::identity::Held;
use super::members::Root;
use super::table::Process;

/// A process in an uninterruptible wait cannot be stopped; a machine that has one is not suspended.
const FREEZE_WITHIN: Duration = Duration::from_secs(2);
const KILL_WITHIN: Duration = Duration::from_secs(10);
/// Looks in a row that must find everything frozen: one process may have woken another during the first.
const QUIET_LOOKS: u32 = 2;

/// Stops every process of the machine, parents before children. When that fails, all run again.
pub(crate) fn freeze(root: &Root) -> io::Result<()> {
    let deadline = Instant::now() + FREEZE_WITHIN;
    let mut quiet = 0;
    let mut asked = BTreeSet::new();
    while quiet < QUIET_LOOKS {
        let members = root.members()?;
        let running: Vec<&Process> =
            members.iter().filter(|process| !process.is_frozen() && !process.is_dead()).collect();
        quiet = if running.is_empty() { quiet + 1 } else { 0 };
        if let Err(error) = signal_new(&running, &mut asked, Signal::STOP).and_then(|()| before(deadline, "stop")) {
            thaw(root)?;
            return Err(error);
        }
    }
    Ok(())
}

/// Lets every process of the machine run, children before parents.
pub(crate) fn thaw(root: &Root) -> io::Result<()> {
    for process in root.members()?.iter().rev().filter(|process| !process.is_dead()) {
        if let Some(held) = Held::open(process)? {
            held.signal(Signal::CONT)?;
        }
    }
    Ok(())
}

/// Ends every process of the machine and returns when none runs.
pub(crate) fn kill(root: &Root) -> io::Result<()> {
    let deadline = Instant::now() + KILL_WITHIN;
    loop {
        let mut members = root.members()?;
        members.retain(|process| !process.is_dead());
        if members.is_empty() {
            return Ok(());
        }
        before(deadline, "end")?;
        let mut dying = Vec::new();
        for process in &members {
            if let Some(held) = Held::open(process)? {
                held.signal(Signal::KILL)?;
                dying.push(held);
            }
        }
        for held in &dying {
            wait_until_dead(held, deadline)?;
        }
    }
}

/// Signals those that have not been, and notes that they have.
fn signal_new(processes: &[&Process], asked: &mut BTreeSet<(i32, u64)>, signal: Signal) -> io::Result<()> {
    let mut is_any_new = false;
    for process in processes {
        // Asking again would be harmless, but it would never show that a process does not listen.
        if asked.insert((process.pid, process.start_ticks))
            && let Some(held) = Held::open(process)?
        {
            held.signal(signal)?;
            is_any_new = true;
        }
    }
    // They are about to stop: let them have the processor before the next look.
    if !is_any_new && !processes.is_empty() {
        std::thread::yield_now();
    }
    Ok(())
}

fn before(deadline: Instant, what: &str) -> io::Result<()> {
    if Instant::now() < deadline {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, format!("a process of the machine does not {what}")))
}

fn wait_until_dead(held: &Held, deadline: Instant) -> io::Result<()> {
    let left = deadline.saturating_duration_since(Instant::now());
    let left = Timespec::try_from(left).map_err(io::Error::other)?;
    match poll(&mut [PollFd::new(&held.fd, PollFlags::IN)], Some(&left)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
