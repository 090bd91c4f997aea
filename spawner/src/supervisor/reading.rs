//! Sees that what was typed was read: the queue of keys in the agent's terminal is empty again. A program that does not
//! read leaves them there, and nothing is guessed (row ORK-6.3a).

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use runner::local::Life;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};

use super::Supervisor;

/// How often it is looked while something is unread. The kernel tells nobody that a queue has become empty.
const LOOK: Duration = Duration::from_millis(50);
/// The kernel's PF_EXITING.
const EXITING: u32 = 4;

impl Supervisor {
    /// Moves the read cursor, for as long as it is let.
    pub(super) async fn watch_reading(&self) {
        let mut state = self.state.subscribe();
        loop {
            let Ok(written) =
                state.wait_for(|state| state.progress.is_unread()).await.map(|state| state.progress.written)
            else {
                return;
            };
            let life = self.life.borrow().clone();
            if life.is_some_and(|life| has_read(&life).unwrap_or(false)) {
                self.state.send_modify(|state| state.progress.read_through(written));
            } else {
                tokio::time::sleep(LOOK).await;
            }
        }
    }
}

/// Whether an agent that lives has left nothing in its terminal.
fn has_read(life: &Life) -> io::Result<bool> {
    let Some(terminal) = &life.terminal else { return Ok(false) };
    // In this order: what leaves its terminal empties that, and is known to be leaving before.
    Ok(is_drained(terminal)? && is_staying(&fs::read_to_string(format!("/proc/{}/stat", life.pid))?))
}

/// Whether a process has not begun to exit (pure), by what the kernel says of it: see proc(5), the field `flags`.
fn is_staying(stat: &str) -> bool {
    let flags = stat.rsplit_once(')').and_then(|(_, fields)| fields.split_whitespace().nth(6)?.parse::<u32>().ok());
    flags.is_some_and(|flags| flags & EXITING == 0)
}

/// Whether nothing that was typed waits to be read. Opened for this moment alone: a terminal ends when nobody has it.
fn is_drained(terminal: &Path) -> io::Result<bool> {
    let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let terminal = rustix::fs::open(terminal, flags, Mode::empty())?;
    // The kernel puts keys into the queue a moment after they were written; who polls sees them there for certain.
    poll(&mut [PollFd::new(&terminal, PollFlags::IN)], Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
    Ok(rustix::io::ioctl_fionread(&terminal)? == 0)
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::path::PathBuf;

    use rustix::pty::OpenptFlags;
    use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

    use super::*;

    fn terminal() -> (OwnedFd, PathBuf) {
        let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("opens");
        rustix::pty::grantpt(&master).expect("is ours");
        rustix::pty::unlockpt(&master).expect("is ours");
        let name = rustix::pty::ptsname(&master, Vec::new()).expect("has one");
        (master, PathBuf::from(name.into_string().expect("is text")))
    }

    #[test]
    fn who_exits_has_read_nothing_more() {
        let stat = |flags: u32| format!("7 (a ) b) S 1 7 7 34816 7 {flags} 0 0");
        assert_eq!([is_staying(&stat(0x40_0000)), is_staying(&stat(0x40_0004)), is_staying("")], [true, false, false]);
        let own = Life { pid: std::process::id(), terminal: Some(terminal().1), typed: 0 };
        assert!(has_read(&own).is_err(), "its terminal is closed");
        let (_master, name) = terminal();
        assert!(has_read(&Life { terminal: Some(name.clone()), ..own.clone() }).expect("is there"));
        assert!(has_read(&Life { terminal: Some(name), pid: u32::MAX, ..own.clone() }).is_err());
        assert!(!has_read(&Life { terminal: None, ..own }).expect("is there"));
    }

    #[test]
    fn a_line_is_in_the_queue_until_it_is_read_and_so_is_a_key_where_no_line_is_waited_for() {
        for is_raw in [false, true] {
            let (master, name) = terminal();
            let program = rustix::fs::open(&name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("opens");
            if is_raw {
                let mut mode = tcgetattr(&program).expect("has one");
                mode.make_raw();
                tcsetattr(&program, OptionalActions::Now, &mode).expect("takes it");
            }
            assert!(is_drained(&name).expect("is there"));
            for _ in 0..200 {
                rustix::io::write(&master, b"word\r").expect("takes it");
                assert!(!is_drained(&name).expect("is there"), "raw: {is_raw}");
                assert_eq!(rustix::io::read(&program, &mut [0; 2]).expect("reads"), 2);
                assert!(!is_drained(&name).expect("is there"), "raw: {is_raw}, the rest");
                assert_eq!(rustix::io::read(&program, &mut [0; 99]).expect("reads"), 3);
                assert!(is_drained(&name).expect("is there"), "raw: {is_raw}");
            }
        }
    }
}
