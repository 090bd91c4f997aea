//! How an execution ended, and what to say of it for a person (pure): what its command's exit, its agent's word, its tests
//! and its pull request come to together.

use wire::agent::AgentReport;
use wire::event::FinishedPayload;
use wire::execution::{Exit, Failure, Outcome};
use wire::id::CheckpointId;
use wire::pull_request::PullRequest;
use wire::task::TaskSpec;
use wire::test_report::TestReport;

use crate::agent::reading::{Heard, Verdict};
use crate::command::{self, Cause, Ended};
use crate::git::GitError;
use crate::orders::Halt;
use crate::pull_request::NotProposed;
use crate::setup::NotReady;
use crate::test_report;

/// How an execution ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) outcome: Outcome,
    pub(crate) exit: Option<Exit>,
    pub(super) failure: Option<Failure>,
    pub(crate) message: Option<String>,
    truncated_bytes: u64,
}

/// What is said of processes that were ended for want of memory, if any were.
pub(super) fn want_of_memory(processes: u64, memory_bytes: Option<u64>) -> Option<String> {
    let bytes = memory_bytes.filter(|_| processes > 0)?;
    let (these, may) =
        ("of its processes ended because together they wanted more than", "that it may use on this machine");
    Some(format!("{processes} {these} the {bytes} bytes of memory {may}"))
}

impl End {
    pub(crate) fn of_command(ended: Ended, spec: &TaskSpec) -> Option<Self> {
        let outcome = command::outcome(ended.cause, ended.exit)?;
        Some(Self {
            outcome,
            exit: Some(ended.exit),
            failure: matches!(ended.cause, Cause::Halt(Halt::DiskExceeded(_))).then_some(Failure::DiskExceeded),
            message: message(ended, spec),
            truncated_bytes: ended.truncated_bytes,
        })
    }

    /// An agent that exits well has still failed if it says so, or says nothing.
    pub(crate) fn of_agent(ended: Ended, heard: &Heard, spec: &TaskSpec) -> Option<Self> {
        let end = Self::of_command(ended, spec)?;
        if end.failure.is_some() {
            return Some(end);
        }
        let said = heard.report.message.clone();
        Some(match (end.outcome, heard.verdict) {
            (Outcome::Succeeded, Verdict::Succeeded) => end,
            (Outcome::Succeeded, Verdict::Failed) => Self {
                outcome: Outcome::Failed,
                message: said.or_else(|| Some("the agent says that it has failed".into())),
                ..end
            },
            (Outcome::Succeeded, Verdict::Silent) => {
                Self { outcome: Outcome::Failed, message: Some("the agent ended without a result".into()), ..end }
            }
            (Outcome::Failed, Verdict::Failed) => Self { message: said.or_else(|| end.message.clone()), ..end },
            _ => end,
        })
    }

    /// Nobody is here to answer an agent that asks, and a task whose agent does not know how to go on is not done. Its
    /// session is where its checkpoint is.
    pub(super) fn unanswered(self, report: &AgentReport, checkpoint: Option<CheckpointId>) -> Self {
        match (self.outcome, &report.asks) {
            (Outcome::Succeeded, Some(question)) => {
                // Somebody may copy this into a shell, and it is the agent's word.
                let is_plain = |word: &&str| word.chars().all(|c| c.is_ascii_alphanumeric() || "._-/:@".contains(c));
                let session = report.session.as_deref().filter(is_plain).unwrap_or("SESSION");
                let how = match checkpoint {
                    Some(id) => {
                        format!("bifrost checkpoints fork {id} --agent {} --session {session} --prompt -", report.agent)
                    }
                    None => format!("--session {session}"),
                };
                let cure = format!("answer it with a task that goes on with its session ({how})");
                Self { outcome: Outcome::Failed, message: Some(format!("the agent asks: {question}; {cure}")), ..self }
            }
            _ => self,
        }
    }

    /// An agent that was to go on with a session which is not here may not say that this is why it failed.
    pub(super) fn without_its_session(self, forgotten: Option<String>) -> Self {
        match (self.outcome, forgotten) {
            (Outcome::Failed, Some(forgotten)) => {
                let said = self.message.clone().unwrap_or_default();
                Self { message: Some(format!("{said}; {forgotten}")), ..self }
            }
            _ => self,
        }
    }

    /// Tests that failed have failed, whatever their tool's exit.
    pub(super) fn and(self, tests: Option<&TestReport>) -> Self {
        let said = tests.zip(self.exit).and_then(|(report, exit)| test_report::message(report, exit));
        match (self.outcome, said) {
            (Outcome::Succeeded | Outcome::Failed, Some(said)) if self.failure.is_none() => {
                Self { outcome: Outcome::Failed, message: Some(said), ..self }
            }
            _ => self,
        }
    }

    /// A command that failed for want of memory does not say so itself, nor does what makes a workspace ready.
    pub(super) fn starved(self, why: Option<&str>) -> Self {
        match (self.outcome, why) {
            (Outcome::Failed | Outcome::SetupFailed, Some(why)) => {
                let said = self.message.clone().unwrap_or_default();
                Self { message: Some(format!("{said}; {why}")), ..self }
            }
            _ => self,
        }
    }

    /// Who asked for a pull request has not got what was asked for without one, unless there was nothing to propose.
    /// Nothing where the lease was lost meanwhile.
    pub(super) fn proposed(
        self,
        proposed: Result<Option<PullRequest>, NotProposed>,
        opened: &mut Option<PullRequest>,
    ) -> Option<Self> {
        let (outcome, message) = match proposed {
            Ok(there) => {
                *opened = there;
                return Some(self);
            }
            Err(NotProposed::Git(GitError::Halted(Halt::LeaseLost))) => return None,
            Err(NotProposed::Git(GitError::Halted(Halt::Cancelled))) => (Outcome::Cancelled, "called off".to_owned()),
            Err(NotProposed::Git(GitError::Halted(Halt::Stopping))) => {
                (Outcome::WorkerLost, "the machine was stopped".to_owned())
            }
            Err(NotProposed::Git(GitError::Halted(Halt::DiskExceeded(excess)))) => {
                (Outcome::Failed, excess.to_string())
            }
            Err(reason) => {
                let kept = "what it did is in its checkpoint";
                (Outcome::Failed, format!("there is no pull request: {reason}; {kept}"))
            }
        };
        Some(Self { outcome, message: Some(message), ..self })
    }

    pub(super) fn of_setup(reason: NotReady) -> Option<Self> {
        let (outcome, failure, message) = match reason {
            NotReady::Failed { failure, message } => (Outcome::SetupFailed, Some(failure), message),
            NotReady::Halted(Halt::Cancelled) => (Outcome::Cancelled, None, "called off before the command ran".into()),
            NotReady::Halted(Halt::Stopping) => (Outcome::WorkerLost, None, "the machine was stopped".into()),
            NotReady::Halted(Halt::DiskExceeded(excess)) => {
                (Outcome::SetupFailed, Some(Failure::DiskExceeded), excess.to_string())
            }
            NotReady::Halted(Halt::LeaseLost) => return None,
        };
        Some(Self { outcome, exit: None, failure, message: Some(message), truncated_bytes: 0 })
    }

    pub(super) fn payload(&self) -> FinishedPayload {
        FinishedPayload {
            outcome: self.outcome,
            exit: self.exit,
            failure: self.failure,
            message: self.message.clone(),
            truncated_bytes: self.truncated_bytes,
        }
    }
}

/// What to say about the end of a command, for a person.
fn message(ended: Ended, spec: &TaskSpec) -> Option<String> {
    Some(match (ended.cause, ended.exit) {
        (Cause::Itself, Exit::Code(0)) | (Cause::Concluded, _) => return None,
        (Cause::Itself, exit) => exit.told(),
        (Cause::Timeout, _) => {
            format!("the command ran longer than its timeout of {} s and was ended", spec.timeout_seconds())
        }
        (Cause::IdleTimeout, _) => {
            let seconds = spec.idle_timeout_seconds.unwrap_or_default();
            format!("the command was silent for longer than {seconds} s and was ended")
        }
        (Cause::Stalled, _) => {
            let seconds = spec.stall_timeout_seconds.unwrap_or_default();
            format!("the command neither said nor committed anything for longer than {seconds} s and was ended")
        }
        (Cause::Halt(Halt::DiskExceeded(excess)), _) => excess.to_string(),
        (Cause::Halt(Halt::Cancelled), _) => "called off".into(),
        (Cause::Halt(Halt::Stopping | Halt::LeaseLost), _) => "the machine was stopped".into(),
    })
}
