//! Sees that what was typed was read: the queue of keys in the agent's terminal is empty again. A program that does not
//! read leaves them there, and nothing is guessed (row ORK-6.3a).

use std::io;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};

use super::Supervisor;

/// How often it is looked while something is unread. The kernel tells nobody that a queue has become empty.
const LOOK: Duration = Duration::from_millis(50);

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
            let terminal = self.life.borrow().as_ref().and_then(|life| life.terminal.clone());
            if terminal.is_some_and(|terminal| is_drained(&terminal).unwrap_or(false)) {
                self.state.send_modify(|state| state.progress.read_through(written));
            } else {
                tokio::time::sleep(LOOK).await;
            }
        }
    }
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
