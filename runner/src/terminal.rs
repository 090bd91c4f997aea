//! The command that runs, for those who watch it: what it said last, what it says
//! now, and a way to type where it has a terminal of its own.
//!
//! Nobody who watches holds the command up: who is too slow is told how much passed by.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use tokio::process::Command;
use tokio::sync::{broadcast, mpsc, watch};
use wire::id::ExecutionId;

/// What somebody who comes later is shown.
const RECENT_BYTES: usize = 32 * 1024;
/// Pieces of output that a slow watcher may be behind.
const BEHIND: usize = 64;
/// What is typed and not yet taken by the command.
const TYPED: usize = 64;
/// How long a command may leave what was typed untaken.
const TAKEN_WITHIN: Duration = Duration::from_millis(200);
const ROWS: u16 = 24;
const COLUMNS: u16 = 80;

/// A piece of output.
pub(crate) type Piece = Arc<[u8]>;

/// What comes from who watches.
#[derive(Debug)]
pub enum Input {
    /// Keys.
    Typed(Vec<u8>),
    /// The size of the window.
    Resized {
        /// Its height in characters.
        rows: u16,
        /// Its width in characters.
        columns: u16,
    },
}

/// A command that runs, for who looks after it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Life {
    /// Its process.
    pub pid: u32,
    /// The name of its terminal; nothing where it has none.
    pub terminal: Option<PathBuf>,
    /// So many bytes were typed there, and taken by the terminal; whether the command has read them is another matter.
    pub typed: u64,
}

/// Where whoever watches finds the command of this machine.
#[derive(Debug, Default)]
pub(crate) struct Stage {
    act: Mutex<Option<Act>>,
    life: watch::Sender<Option<Life>>,
}

#[derive(Debug)]
struct Act {
    execution: ExecutionId,
    recent: VecDeque<u8>,
    said: broadcast::Sender<Piece>,
    /// Absent where it has no terminal.
    typed: Option<mpsc::Sender<Input>>,
}

/// The command's side; the act is over when this goes.
#[derive(Debug)]
pub(crate) struct Player {
    stage: Arc<Stage>,
    typed: Option<mpsc::Receiver<Input>>,
}

/// The watcher's side.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) recent: Vec<u8>,
    pub(crate) said: broadcast::Receiver<Piece>,
    pub(crate) typed: Option<mpsc::Sender<Input>>,
}

impl Stage {
    /// One whose commands are told of to somebody.
    pub(crate) fn telling(life: watch::Sender<Option<Life>>) -> Self {
        Self { act: Mutex::default(), life }
    }

    /// A command comes on.
    pub(crate) fn enter(self: &Arc<Self>, execution: ExecutionId, life: Life) -> Player {
        let (sender, typed) = mpsc::channel(TYPED);
        let (sender, typed) = if life.terminal.is_some() { (Some(sender), Some(typed)) } else { (None, None) };
        self.life.send_replace(Some(life));
        let said = broadcast::Sender::new(BEHIND);
        *self.act() = Some(Act { execution, recent: VecDeque::new(), said, typed: sender });
        Player { stage: Arc::clone(self), typed }
    }

    /// A seat before this command, if it is the one that runs.
    pub(crate) fn watch(&self, execution: ExecutionId) -> Option<Seat> {
        let act = self.act();
        let act = act.as_ref().filter(|act| act.execution == execution)?;
        let recent = act.recent.iter().copied().collect();
        Some(Seat { recent, said: act.said.subscribe(), typed: act.typed.clone() })
    }

    fn act(&self) -> MutexGuard<'_, Option<Act>> {
        self.act.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Player {
    /// Shows what was said.
    pub(crate) fn say(&self, bytes: &[u8]) {
        let mut act = self.stage.act();
        let Some(act) = act.as_mut().filter(|_| !bytes.is_empty()) else { return };
        act.recent.extend(&bytes[bytes.len().saturating_sub(RECENT_BYTES)..]);
        let over = act.recent.len().saturating_sub(RECENT_BYTES);
        act.recent.drain(..over);
        if act.said.receiver_count() > 0 {
            // Whoever left in this moment needs nothing more.
            drop(act.said.send(bytes.into()));
        }
    }

    /// Notes that so much of what was typed is in the terminal.
    pub(crate) fn typed_on(&self, bytes: usize) {
        self.stage.life.send_modify(|life| {
            if let Some(life) = life {
                life.typed += bytes as u64;
            }
        });
    }

    /// What comes from who watches; for ever nothing without a terminal.
    pub(crate) async fn typed(&mut self) -> Input {
        let typed = match &mut self.typed {
            Some(typed) => typed.recv().await,
            None => None,
        };
        match typed {
            Some(input) => input,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        *self.stage.act() = None;
        self.stage.life.send_replace(None);
    }
}

/// A terminal for a command.
#[derive(Debug)]
pub(crate) struct Terminal {
    /// The runner's end.
    master: Master,
    /// The command's end.
    slave: OwnedFd,
}

/// The runner's end of a terminal.
#[derive(Debug)]
pub(crate) struct Master {
    /// What the command's end is called.
    pub(crate) name: PathBuf,
    handle: OwnedFd,
    keys: pipe::Sender,
}

impl Terminal {
    pub(crate) fn open() -> io::Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let handle = rustix::pty::openpt(flags)?;
        rustix::io::ioctl_fionbio(&handle, true)?;
        rustix::pty::grantpt(&handle)?;
        rustix::pty::unlockpt(&handle)?;
        let name = rustix::pty::ptsname(&handle, Vec::new())?;
        let slave = rustix::fs::open(&name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
        let name = PathBuf::from(OsString::from_vec(name.into_bytes()));
        let master = Master { name, keys: pipe::Sender::from_owned_fd_unchecked(handle.try_clone()?)?, handle };
        master.resize(ROWS, COLUMNS)?;
        Ok(Self { master, slave })
    }

    /// Makes it the command's standard input, output and error. What remains is the runner's end.
    pub(crate) fn lend(self, command: &mut Command) -> io::Result<Master> {
        command.stdin(self.slave.try_clone()?).stdout(self.slave.try_clone()?).stderr(self.slave);
        Ok(self.master)
    }
}

impl Master {
    /// Types; gives up on a command that takes nothing for a while.
    pub(crate) async fn type_keys(&mut self, keys: &[u8]) -> io::Result<()> {
        match tokio::time::timeout(TAKEN_WITHIN, self.keys.write_all(keys)).await {
            Ok(written) => written,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// What the command says.
    pub(crate) fn output(&self) -> io::Result<pipe::Receiver> {
        pipe::Receiver::from_owned_fd_unchecked(self.handle.try_clone()?)
    }

    pub(crate) fn resize(&self, rows: u16, columns: u16) -> io::Result<()> {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        Ok(tcsetwinsize(self.handle.as_fd(), size)?)
    }
}

#[cfg(test)]
mod tests;
