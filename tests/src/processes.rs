//! What runs on this computer, as the kernel tells it and not as our own code does.

use std::fs;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{PATIENCE, until};

/// After so many rounds something starts processes faster than they can be ended.
const ROUNDS: usize = 500;

/// A living process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// Its program and arguments.
    pub arguments: Vec<String>,
    /// Who started it, or has adopted it since.
    pub parent: i32,
    /// What identifies it beyond the life of its id: when it started, in ticks.
    started: u64,
}

impl Process {
    /// Every process that names the directory in its arguments or its environment, but for this one.
    /// Dead ones that nobody has waited for are left out.
    pub fn all_of(directory: &Path) -> Vec<Self> {
        let mark = directory.as_os_str().as_encoded_bytes();
        let own = i32::try_from(std::process::id()).expect("a process id is small");
        let entries = fs::read_dir("/proc").expect("Linux tells of its processes").flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        pids.filter(|pid| *pid != own).filter_map(|pid| Self::marked(pid, mark)).collect()
    }

    fn marked(pid: i32, mark: &[u8]) -> Option<Self> {
        let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).ok();
        let (line, environment) = (read("cmdline")?, read("environ").unwrap_or_default());
        let names = |text: &[u8]| text.windows(mark.len()).any(|window| window == mark);
        if !names(&line) && !names(&environment) {
            return None;
        }
        let arguments = line.split(|byte| *byte == 0).filter(|argument| !argument.is_empty());
        let arguments = arguments.map(|argument| String::from_utf8_lossy(argument).into_owned()).collect();
        let Kin { parent, started, .. } = Kin::of_living(pid)?;
        Some(Self { pid, arguments, parent, started })
    }

    /// Ends it as a fault would: at once, without a word.
    pub fn kill(&self) {
        if self.is_alive() {
            // One that has ended in the meantime is as dead as it should be.
            kill(Pid::from_raw(self.pid), Signal::SIGKILL).ok();
        }
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        // As above.
        kill(Pid::from_raw(self.pid), Signal::SIGTERM).ok();
    }

    /// Has it stand still where it is, until [`Process::thaw`]; it does when this returns.
    pub async fn freeze(&self) {
        kill(Pid::from_raw(self.pid), Signal::SIGSTOP).expect("it is alive");
        let is_still = || Kin::of_living(self.pid).is_some_and(|kin| kin.is_stopped);
        until("a process stands still", PATIENCE, async || is_still().then_some(())).await;
    }

    /// Has it go on.
    pub fn thaw(&self) {
        kill(Pid::from_raw(self.pid), Signal::SIGCONT).expect("it is alive");
    }

    /// Whether it still runs.
    pub fn is_alive(&self) -> bool {
        Kin::of_living(self.pid).is_some_and(|kin| kin.started == self.started)
    }
}

/// Ends everything that names the directory.
pub(crate) fn kill_all_of(directory: &Path) {
    for _ in 0..ROUNDS {
        let left = Process::all_of(directory);
        if left.is_empty() {
            return;
        }
        left.iter().for_each(Process::kill);
    }
}

/// Whether the id is a living process's.
pub(crate) fn exists(pid: i32) -> bool {
    Kin::of_living(pid).is_some()
}

/// What the kernel says of a process beside its arguments.
struct Kin {
    parent: i32,
    started: u64,
    /// By a signal.
    is_stopped: bool,
}

impl Kin {
    fn of_living(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name stands in parentheses and may hold anything; behind it come the state (the third field) and on.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let state = *fields.first()?;
        if matches!(state, "Z" | "X") {
            return None;
        }
        let (parent, started) = (fields.get(1)?.parse().ok()?, fields.get(19)?.parse().ok()?);
        Some(Self { parent, started, is_stopped: state == "T" })
    }
}
