//! Why a workspace could not be made ready.

use wire::execution::Failure;

use crate::git::GitError;
use crate::orders::Halt;

/// Ends an execution before its command has run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotReady {
    /// It was told to end.
    #[error("it was called off")]
    Halted(Halt),
    /// Something is wrong, and the message says what to do.
    #[error("{message}")]
    Failed {
        /// For a program.
        failure: Failure,
        /// For a person.
        message: String,
    },
}

impl NotReady {
    pub(crate) fn failed(failure: Failure, message: impl Into<String>) -> Self {
        Self::Failed { failure, message: message.into() }
    }

    /// Git could not do this in a workspace that is on the disk: it was called off, or the machine is at fault.
    pub(crate) fn by_git(attempted: &str, error: GitError) -> Self {
        match error {
            GitError::Halted(halt) => Self::Halted(halt),
            error => Self::machine(attempted, &error),
        }
    }

    /// The machine itself is at fault.
    pub(crate) fn machine(attempted: &str, error: &dyn std::error::Error) -> Self {
        let cure = "free space or repair the volume, or retry on another machine";
        Self::failed(Failure::MachineFault, format!("{attempted} failed on this machine: {error}; {cure}"))
    }
}
