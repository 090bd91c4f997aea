//! Which process it is: its id can be reused, its id and start time together cannot.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use super::members::Root;
use super::table::{self, Process};

/// Names one process of one boot of this computer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) pid: i32,
    pub(crate) start_ticks: u64,
    pub(crate) boot_id: String,
}

impl Identity {
    /// What the machine's processes are found by, while its init lives.
    pub(crate) fn root(&self, machine_id: &str) -> Root {
        Root { machine_id: machine_id.to_owned(), init: Some(self.pid), since_ticks: self.start_ticks }
    }
}

/// The computer's name for the time since it was switched on.
pub(crate) fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// Holds a process, so that its id means no other.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) fd: OwnedFd,
}

impl Held {
    /// The process that was seen, if it is still there.
    pub(crate) fn open(seen: &Process) -> io::Result<Option<Self>> {
        Self::by_start(seen.pid, seen.start_ticks)
    }

    /// The process with that id and start time, if it is still there. A dead one that nobody has taken
    /// note of counts.
    pub(crate) fn by_start(pid: i32, start_ticks: u64) -> io::Result<Option<Self>> {
        let Some(valid) = Pid::from_raw(pid) else { return Ok(None) };
        let fd = match pidfd_open(valid, PidfdFlags::empty()) {
            Ok(fd) => fd,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // In this order: what has this start time now is what the descriptor holds.
        let is_same = table::one(pid)?.is_some_and(|process| process.start_ticks == start_ticks);
        Ok(is_same.then_some(Self { fd }))
    }

    /// Sends a signal; a process that has ended needs none.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(&self.fd, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_held_only_by_its_own_start_time() {
        let own = i32::try_from(std::process::id()).expect("a pid");
        let seen = table::one(own).expect("readable").expect("there");
        assert!(Held::open(&seen).expect("readable").is_some());
        assert!(Held::by_start(own, seen.start_ticks + 1).expect("readable").is_none());
        assert!(Held::by_start(0, seen.start_ticks).expect("readable").is_none());
    }
}
