//! How the program ends: the codes of its own failures, all 64 or above so that
//! they stay clear of what most commands use, and what to do about each.

use std::fmt;

use event_store::program::Trouble;
use wire::execution::{Exit, Failure as SetupFailure, Outcome};
use wire::task::{FieldError, TaskStatus, TaskView};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $meaning:literal;)*) => {
        /// The exit code of a failure of our own; the numbers up to 78 are those of `sysexits.h`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Code {$($(#[$doc])* $name = $number,)*}

        impl Code {
            /// Every code, in order.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// What it means, for the help text.
            pub(crate) fn meaning(self) -> &'static str {
                match self {$(Self::$name => $meaning,)*}
            }
        }
    };
}

codes! {
    /// The command line is wrong.
    Usage = 64, "the command line is wrong";
    /// What was given cannot be used.
    Data = 65, "what was given cannot be used, such as an unknown ref or a damaged event log";
    /// What was named does not exist.
    NotFound = 66, "what was named does not exist: no such repository, task or file";
    /// A server, a remote or a program that is needed is not there.
    Unavailable = 69, "the server, the remote repository or git is not reachable";
    /// A fault of ours or of the machine.
    Internal = 70, "an internal error, or a fault of the machine";
    /// The data directory cannot be made or written.
    CannotCreate = 73, "the data directory cannot be created or written";
    /// Reading or writing failed.
    InputOutput = 74, "reading or writing failed, such as a closed standard output";
    /// The same may well succeed later.
    TryLater = 75, "try again later: the server is busy, or the worker was lost too often";
    /// Not allowed.
    NoPermission = 77, "the API key is wrong or lacks a permission";
    /// The configuration is wrong.
    Configuration = 78, "the configuration is wrong or incomplete";
    /// Nobody has anything to do.
    NothingToDo = 79, "there is nothing to claim";
    /// The task ran, or was silent, for too long.
    TimedOut = 124, "the task ran longer than --timeout or its budget allows, was silent longer than --idle-timeout, or stalled longer than --stall-timeout";
    /// The dependencies could not be installed, or the repository's own set-up failed.
    SetupFailed = 125, "the dependencies could not be installed, or the repository's own set-up failed";
    /// Interrupted or called off.
    Cancelled = 130, "cancelled, by Ctrl-C or by somebody else";
}

impl Code {
    /// The number for the operating system.
    pub(crate) fn number(self) -> u8 {
        self as u8
    }
}

/// A failure that names its exit code and its cure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// How the program ends.
    pub(crate) code: Code,
    /// What is wrong.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) help: Option<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// A failure with a cure, as an error to return.
pub(crate) fn failure(code: Code, message: impl Into<String>, help: impl Into<String>) -> anyhow::Error {
    Failure { code, message: message.into(), help: Some(help.into()) }.into()
}

/// The words for a field that cannot be, with the name that it has on the command line of this command.
pub(crate) fn refused(command: &str, option: &str, error: &FieldError) -> anyhow::Error {
    failure(Code::Usage, format!("{option} {}", error.message), format!("see `bifrost {command} --help`"))
}

/// Any error as a failure: what says its own code keeps it, the rest is sorted by its cause.
pub(crate) fn classify(error: &anyhow::Error) -> Failure {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return failure.clone();
    }
    if let Some(failure) = error.downcast_ref::<event_store::program::Failure>() {
        let (message, help) = (failure.to_string(), Some(failure.help.clone()));
        return Failure { code: of_trouble(failure.trouble), message, help };
    }
    let code = if error.chain().any(|cause| cause.is::<kit::vars::BadEnvironment>()) {
        Code::Configuration
    } else if error.chain().any(|cause| cause.is::<std::io::Error>()) {
        Code::InputOutput
    } else {
        Code::Internal
    };
    Failure { code, message: format!("{error:#}"), help: None }
}

/// The same numbers as those of `bifrost-events`.
fn of_trouble(trouble: Trouble) -> Code {
    match trouble {
        Trouble::Usage => Code::Usage,
        Trouble::Damaged => Code::Data,
        Trouble::Missing => Code::NotFound,
        Trouble::CannotCreate => Code::CannotCreate,
        Trouble::InputOutput => Code::InputOutput,
        Trouble::InUse => Code::TryLater,
        Trouble::Version => Code::Configuration,
        Trouble::Interrupted => Code::Cancelled,
    }
}

/// Whether nobody reads our standard output any more, as after `| head`.
pub(crate) fn is_closed_output(error: &anyhow::Error) -> bool {
    // A broken connection to a server is a `Failure` by the time it comes here.
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    causes.any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}

/// The code a finished task gives: its command's own where the command ran to its end.
pub(crate) fn of_task(task: &TaskView) -> u8 {
    let execution = task.execution.as_ref();
    match task.status {
        TaskStatus::Completed => 0,
        TaskStatus::Cancelled => Code::Cancelled.number(),
        TaskStatus::Failed => match execution.and_then(|execution| execution.outcome) {
            Some(outcome) => of_outcome(
                outcome,
                execution.and_then(|execution| execution.exit),
                execution.and_then(|execution| execution.failure),
            ),
            None => Code::Internal.number(),
        },
        TaskStatus::Split | TaskStatus::Ready | TaskStatus::Assigned | TaskStatus::InProgress => {
            Code::Internal.number()
        }
    }
}

fn of_outcome(outcome: Outcome, exit: Option<Exit>, failure: Option<SetupFailure>) -> u8 {
    match outcome {
        // A failed command never reads as a success, whatever its machine reported.
        Outcome::Failed => match exit {
            // An agent that exits well may still say that it has failed.
            Some(Exit::Code(0)) => 1,
            _ => exit.and_then(|exit| u8::try_from(exit.shell_code()).ok()).unwrap_or(Code::Internal.number()),
        },
        Outcome::SetupFailed => failure.map_or(Code::Internal, of_setup_failure).number(),
        Outcome::TimedOut | Outcome::IdleTimedOut | Outcome::Stalled => Code::TimedOut.number(),
        Outcome::Cancelled => Code::Cancelled.number(),
        Outcome::WorkerLost | Outcome::Preempted | Outcome::Released => Code::TryLater.number(),
        Outcome::Succeeded => Code::Internal.number(),
    }
}

/// The code of a workspace that could not be made ready.
fn of_setup_failure(failure: SetupFailure) -> Code {
    match failure {
        SetupFailure::RepositoryNotFound | SetupFailure::CheckpointGone => Code::NotFound,
        SetupFailure::UnknownReference
        | SetupFailure::CheckoutFailed
        | SetupFailure::UnknownAgent
        | SetupFailure::InvalidSettings => Code::Data,
        SetupFailure::RepositoryUnreachable => Code::Unavailable,
        SetupFailure::InstallFailed | SetupFailure::SetUpStepFailed | SetupFailure::DiskExceeded => Code::SetupFailed,
        SetupFailure::MachineTimeSpent | SetupFailure::DollarsSpent => Code::TimedOut,
        SetupFailure::MachineFault => Code::Internal,
        SetupFailure::NotIsolated => Code::Configuration,
    }
}

/// What a person can do about a failure that has a name.
pub(crate) fn cure(failure: SetupFailure) -> &'static str {
    match failure {
        SetupFailure::RepositoryNotFound => {
            "check --repo; a repository given as a path must be on the computer that the server's machines run on"
        }
        SetupFailure::UnknownReference => {
            "check --ref against `git ls-remote REPOSITORY`, and push what is only on your computer"
        }
        SetupFailure::CheckoutFailed => "rename what the message names, push that, and name it with --ref",
        SetupFailure::RepositoryUnreachable => {
            "check that the remote is up and open to the machine: `git ls-remote REPOSITORY` must work there"
        }
        SetupFailure::InstallFailed => {
            "the package manager's output is above; the same install must work in a fresh clone"
        }
        SetupFailure::SetUpStepFailed => {
            "what it said is above; mend it or .bifrost.toml, and push that; see docs/workspaces.md"
        }
        SetupFailure::UnknownAgent => {
            "check --agent; the runner's operator adds agents with BIFROST_AGENTS, see docs/agents.md"
        }
        SetupFailure::InvalidSettings => {
            "mend .bifrost.toml as the message says, and push that; see docs/workspaces.md"
        }
        SetupFailure::DiskExceeded => "let it write less, or have the runner's operator raise BIFROST_DISK_BYTES",
        SetupFailure::MachineTimeSpent => "give it more with --budget-machine-time",
        SetupFailure::DollarsSpent => "give it more with --budget-dollars",
        SetupFailure::CheckpointGone => "see which there are with `bifrost checkpoints list`, and pin what must stay",
        SetupFailure::MachineFault => "see `bifrost machines list` and `bifrost doctor`, then `bifrost tasks retry ID`",
        SetupFailure::NotIsolated => {
            "run its machines where every wall stands (docs/isolation.md), or set BIFROST_ISOLATION to on"
        }
    }
}

#[cfg(test)]
mod tests;
