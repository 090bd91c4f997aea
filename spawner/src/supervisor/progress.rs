//! What a supervisor knows (pure): which process its agent is, what the control plane was told, and how far the agent
//! has read what was typed.

use runner::local::Life;
use wire::id::RuntimeId;

/// What is known at the moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// As which runtime it is registered.
    pub(crate) runtime: Option<RuntimeId>,
    /// As which one it was registered last.
    pub(crate) known: Option<RuntimeId>,
    /// The agent's process; nothing before it has begun.
    pub(crate) pid: Option<u32>,
    /// The name of its terminal.
    pub(crate) terminal: Option<String>,
    /// The session that it can be taken up again by.
    pub(crate) session: Option<String>,
    pub(crate) progress: Progress,
}

/// How far the agent is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The newest trigger that was written.
    pub(crate) written: i64,
    /// The newest one that it has read, and with it all before.
    pub(crate) read: i64,
}

/// What the control plane was told last, as far as it may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) runtime: Option<RuntimeId>,
    pub(crate) pid: Option<u32>,
    pub(crate) can_resume: bool,
    pub(crate) read: i64,
}

impl State {
    /// Notes a process; whether it is another one.
    pub(crate) fn runs(&mut self, life: &Life) -> bool {
        let terminal = life.terminal.as_ref().map(|terminal| terminal.to_string_lossy().into_owned());
        let is_new = self.pid != Some(life.pid) || self.terminal != terminal;
        (self.pid, self.terminal) = (Some(life.pid), terminal);
        is_new
    }

    pub(crate) fn told(&self) -> Told {
        let State { runtime, pid, session, progress, .. } = self;
        Told { runtime: *runtime, pid: *pid, can_resume: session.is_some(), read: progress.read }
    }
}

impl Progress {
    pub(crate) fn is_unread(self) -> bool {
        self.written > self.read
    }

    pub(crate) fn wrote(&mut self, number: i64) {
        self.written = self.written.max(number);
    }

    /// Nobody unreads anything.
    pub(crate) fn read_through(&mut self, number: i64) {
        self.read = self.read.max(number);
        self.written = self.written.max(number);
    }

    /// The terminal has ended with what was not read.
    pub(crate) fn ends_unread(&mut self) {
        self.written = self.read;
    }

    /// What an agent says of itself; without a number it has read all of it. Gives how far it is.
    pub(crate) fn acknowledge(&mut self, through: Option<i64>) -> Result<i64, String> {
        let through = through.unwrap_or(self.written);
        if through < 0 || through > self.written {
            return Err(match self.written {
                0 => "through: nothing was written to this agent yet".into(),
                newest => format!("through: must be from 0 to {newest}, the newest that was written to this agent"),
            });
        }
        self.read_through(through);
        Ok(self.read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_stays_read_and_what_was_not_written_was_not_read() {
        let mut progress = Progress::default();
        assert!(progress.acknowledge(Some(1)).expect_err("nothing there").contains("nothing was written"));
        assert_eq!((progress.acknowledge(None), progress.is_unread()), (Ok(0), false));
        progress.wrote(3);
        assert!(progress.is_unread());
        assert!(progress.acknowledge(Some(4)).expect_err("beyond").contains("from 0 to 3"));
        assert!(progress.acknowledge(Some(-1)).is_err());
        assert_eq!((progress.acknowledge(Some(2)), progress.is_unread()), (Ok(2), true));
        assert_eq!(progress.acknowledge(Some(1)), Ok(2));
        assert_eq!((progress.acknowledge(None), progress.is_unread()), (Ok(3), false));
        progress.wrote(2);
        progress.read_through(5);
        assert_eq!(progress, Progress { written: 5, read: 5 });
        progress.wrote(6);
        progress.ends_unread();
        assert_eq!((progress.is_unread(), progress.read), (false, 5));
    }

    #[test]
    fn another_process_is_told_and_keys_are_not() {
        let mut state = State::default();
        let life = |pid, typed| Life { pid, terminal: None, typed };
        let (first, same, other) = (life(7, 0), life(7, 9), life(8, 0));
        assert_eq!([state.runs(&first), state.runs(&same), state.runs(&other)], [true, false, true]);
        let told = Told { runtime: None, pid: Some(8), can_resume: false, read: 0 };
        assert_eq!(state.told(), told);
        state.session = Some("s-1".into());
        assert_eq!(state.told(), Told { can_resume: true, ..told });
    }
}
