//! Why an agent could not be started, or nothing be done with one that is there.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use wire::id::{ExecutionId, RuntimeId};

/// Why no agent was started. Whatever was there of it is gone again.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// What was asked for cannot be meant.
    #[error("{field}: {message}")]
    Refused {
        /// Which part of it.
        field: &'static str,
        /// What is wrong and what to do about it.
        message: String,
    },
    /// As many run as may.
    #[error("{running} agents run already, which is as many as may; end one, or raise BIFROST_AGENTS_MAX")]
    TooMany {
        /// So many.
        running: usize,
    },
    /// Another agent of this computer is in the session that was named.
    #[error(
        "the agent {by} is in the session {session} of {agent}, and two at once would each write down what the other does \
         not know; end it first with: bifrost agents kill {by}"
    )]
    SessionInUse {
        /// Whose session.
        agent: String,
        /// Which one.
        session: String,
        /// Who is in it.
        by: ExecutionId,
    },
    /// No agent has the name that was asked for.
    #[error("{0}")]
    UnknownAgent(String),
    /// There is no repository where one was named.
    #[error("{0}")]
    NoRepository(String),
    /// The repository has nothing that a branch could begin at.
    #[error("the repository {0} has no commit yet")]
    NoCommit(String),
    /// There is no worktree to work in.
    #[error("WORKTREE_FAILED: {0}")]
    Worktree(String),
    /// Its dependencies could not be installed.
    #[error("INSTALL_FAILED: {message}")]
    Install {
        /// What is wrong and what to do about it.
        message: String,
        /// What the package manager said.
        said: String,
    },
    /// There is no process.
    #[error("PROCESS_FAILED: {0}")]
    Process(String),
    /// It took too long.
    #[error("TIMEOUT: the terminal did not have the agent within {} s; look at the load of this computer", .0.as_secs())]
    Timeout(Duration),
    /// Somebody called it off.
    #[error("called off before the agent had started")]
    Interrupted,
}

impl SpawnError {
    /// For a program.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "INVALID",
            Self::TooMany { .. } => "TOO_MANY",
            Self::SessionInUse { .. } => "SESSION_IN_USE",
            Self::UnknownAgent(_) => "UNKNOWN_AGENT",
            Self::NoRepository(_) => "NO_REPOSITORY",
            Self::NoCommit(_) => "NO_COMMIT",
            Self::Worktree(_) => "WORKTREE_FAILED",
            Self::Install { .. } => "INSTALL_FAILED",
            Self::Process(_) => "PROCESS_FAILED",
            Self::Timeout(_) => "TIMEOUT",
            Self::Interrupted => "INTERRUPTED",
        }
    }

    pub(crate) fn refused(field: &'static str, message: impl Into<String>) -> Self {
        Self::Refused { field, message: message.into() }
    }
}

/// Why nothing was done with an agent that is, or is not, there.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// Nobody knows it.
    #[error("there is no agent {0} on this computer")]
    NotFound(ExecutionId),
    /// It has to have ended for that.
    #[error("{0} still runs")]
    StillRuns(ExecutionId),
    /// It has to run for that.
    #[error("{0} does not run")]
    NotRunning(ExecutionId),
    /// It reads nothing.
    #[error("{0} has no terminal: a coding agent that was given a prompt reads nothing more until it has ended")]
    NoTerminal(ExecutionId),
    /// Nobody reads its terminal any more.
    #[error("{id} has left its terminal, and its session is taken up again: what is typed there is read by nobody")]
    TakenUp {
        /// The agent.
        id: ExecutionId,
        /// What words for its session are queued for, where the control plane knows it.
        runtime: Option<RuntimeId>,
    },
    /// What was asked for cannot be meant.
    #[error("{0}")]
    Refused(String),
    /// Its work could not be proven to be safe, so nothing was removed.
    #[error("nothing was removed, because its work could not be saved: {0}")]
    NotSaved(String),
    /// A program that it takes has failed.
    #[error("{0}")]
    Program(#[from] ProgramError),
    /// A file of it.
    #[error("{}: {source}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
}

impl FleetError {
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}

/// Why git or tmux gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It is not there, or cannot be run.
    #[error("{program} cannot be run: {source}")]
    Missing {
        /// Which one.
        program: String,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// It took too long.
    #[error("{command} did not end within {} s", within.as_secs())]
    TimedOut {
        /// What was run.
        command: String,
        /// So long.
        within: Duration,
    },
    /// It says that it has failed.
    #[error("{command} failed: {said}")]
    Failed {
        /// What was run.
        command: String,
        /// Its last words.
        said: String,
    },
}
