//! Signals to all of a machine's processes: freeze, thaw, kill. Each works on
//! rounds of looking and signalling until a look shows that nothing is left to do.
//! These block; call them where that is allowed.

use std::io;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;

use super::identity::Held;
use super::members::Root;
use super::table::Process;

/// A process in an uninterruptible wait cannot be stopped; a machine that has one is not suspended.
const FREEZE_WITHIN: Duration = Duration::from_secs(5);
const KILL_WITHIN: Duration = Duration::from_secs(10);
/// Looks in a row that must find everything frozen: one process may have woken another during the first.
const QUIET_LOOKS: u32 = 2;

/// Stops every process of the machine, parents before children. When that fails, all run again.
pub(crate) fn freeze(root: &Root) -> io::Result<()> {
    let frozen = try_freeze(root);
    if frozen.is_err() {
        thaw(root)?;
    }
    frozen
}

fn try_freeze(root: &Root) -> io::Result<()> {
    let deadline = Instant::now() + FREEZE_WITHIN;
    let mut quiet = 0;
    while quiet < QUIET_LOOKS {
        let members = root.members()?;
        let running: Vec<&Process> = members.iter().filter(|process| !process.is_frozen()).collect();
        quiet = if running.is_empty() { quiet + 1 } else { 0 };
        before(deadline, "stop")?;
        for process in running {
            if let Some(held) = Held::open(process)? {
                held.signal(Signal::STOP)?;
            }
        }
    }
    Ok(())
}

/// Lets every process of the machine run, children before parents.
pub(crate) fn thaw(root: &Root) -> io::Result<()> {
    for process in root.members()?.iter().rev() {
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
        let members = root.members()?;
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
