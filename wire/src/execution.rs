//! Executions: one attempt at a task on one worker, how it ended and how long
//! each of its phases took.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::id::{ExecutionId, TaskId, WorkerId};
use crate::pull_request::PullRequest;
use crate::task::{TaskView, text_enum};
use crate::test_report::TestReport;

text_enum! {
    /// How an execution ended.
    Outcome, "outcome" {
        /// The command exited with 0.
        Succeeded = "succeeded",
        /// The command ended otherwise: see the exit.
        Failed = "failed",
        /// The workspace could not be made ready: see the failure.
        SetupFailed = "setup_failed",
        /// It ran longer than its timeout.
        TimedOut = "timed_out",
        /// It was silent for longer than its idle timeout.
        IdleTimedOut = "idle_timed_out",
        /// It neither said nor committed anything for longer than its stall timeout.
        Stalled = "stalled",
        /// Somebody called it off.
        Cancelled = "cancelled",
        /// Its worker was lost. Spends no attempt.
        WorkerLost = "worker_lost",
        /// Its worker gave it back. Spends no attempt.
        Released = "released",
        /// Its worker was given a more urgent task. Spends no attempt.
        Preempted = "preempted",
    }
}

impl Outcome {
    /// Whether the attempt counts against the task; what the infrastructure broke does not.
    pub fn spends_attempt(self) -> bool {
        match self {
            Self::Succeeded
            | Self::Failed
            | Self::SetupFailed
            | Self::TimedOut
            | Self::IdleTimedOut
            | Self::Stalled => true,
            Self::Cancelled | Self::WorkerLost | Self::Preempted | Self::Released => false,
        }
    }
}

text_enum! {
    /// Why a workspace could not be made ready, or what ended a command beside its own limits, for a program to branch on.
    Failure, "failure" {
        /// The remote does not answer or refuses.
        RepositoryUnreachable = "repository_unreachable",
        /// The remote answers, but there is no repository there.
        RepositoryNotFound = "repository_not_found",
        /// The repository has no such branch, tag or commit.
        UnknownReference = "unknown_reference",
        /// The commit holds a path that is too long, or that git refuses.
        CheckoutFailed = "checkout_failed",
        /// The package manager failed; its output is in the log.
        InstallFailed = "install_failed",
        /// A set-up command or a service of the repository's `.bifrost.toml` failed; its output is in the log.
        SetUpStepFailed = "set_up_step_failed",
        /// The repository's `.bifrost.toml` cannot be used, or the repository needs what only that can allow.
        InvalidSettings = "invalid_settings",
        /// The runner knows no agent of that name.
        UnknownAgent = "unknown_agent",
        /// The checkpoint that the task begins from is not on this machine any more, or is damaged.
        CheckpointGone = "checkpoint_gone",
        /// The machine itself is at fault: full disk, no permission, no git.
        MachineFault = "machine_fault",
        /// The runner's operator demands more walls around a command than its machine can build. Another attempt
        /// meets the same.
        NotIsolated = "not_isolated",
        /// Its files took more of the disk than the runner's operator lets an execution have. Comes with a `failed` as
        /// well: where the command was running.
        DiskExceeded = "disk_exceeded",
        /// What was left of its task's budget of machine time, less than its timeout, is used up. Comes with a `timed_out`.
        MachineTimeSpent = "machine_time_spent",
        /// The same of its task's budget of dollars.
        DollarsSpent = "dollars_spent",
    }
}

text_enum! {
    /// The parts of an execution that a person waits for, in order.
    Phase, "phase" {
        /// Waiting for a worker.
        Queued = "queued",
        /// Making or waking a machine.
        Machine = "machine",
        /// Bringing the repository's mirror up to date and checking out.
        Clone = "clone",
        /// Restoring or installing dependencies.
        Dependencies = "dependencies",
        /// The command itself.
        Running = "running",
        /// Saving what the command left behind.
        Checkpoint = "checkpoint",
    }
}

text_enum! {
    /// Whether a phase was served from a cache.
    Cache, "cache result" {
        /// Everything was there.
        Hit = "hit",
        /// It had to be fetched or made.
        Miss = "miss",
        /// There was nothing to do.
        Unused = "unused",
    }
}

text_enum! {
    /// What a command is kept apart by (see docs/isolation.md).
    Wall, "wall" {
        /// A user of its own, without rights.
        User = "user",
        /// Its own view of the files: of the machine's volume it sees what belongs to it.
        Files = "files",
        /// Its own process ids: it sees no process of anybody else, and none of its own outlives it.
        Processes = "processes",
        /// Its own System V objects and message queues.
        Ipc = "ipc",
    }
}

/// How the command's process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Exit {
    /// It exited with this code. 127: not found; 126: found but not executable.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
}

impl Exit {
    /// What a shell would report: the code, or 128 + the signal.
    pub fn shell_code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }

    /// What a runner says of a command that ended so by itself, where no more is known than this.
    pub fn told(self) -> String {
        match self {
            // A shell that does not find what it is to run ends so, too.
            Self::Code(127) => "the command exited with code 127: a program was not found; see the log".into(),
            Self::Code(126) => "the program cannot be executed; see the log".into(),
            Self::Code(code) => format!("the command exited with code {code}"),
            Self::Signal(signal) => format!("signal {signal} killed the command"),
        }
    }
}

/// How long one phase took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PhaseTiming {
    /// Which one.
    pub phase: Phase,
    /// How long, in microseconds.
    pub micros: u64,
    /// Whether a cache served it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Cache>,
}

/// An execution, as every answer shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ExecutionView {
    /// Its id.
    pub id: ExecutionId,
    /// The task it is an attempt at.
    pub task_id: TaskId,
    /// 1 for the first try, counting lost ones.
    pub number: i32,
    /// Who carries it out; `command` for plain commands.
    pub agent_type: String,
    /// The worker it was given to.
    pub worker_id: Option<WorkerId>,
    /// When it was given to the worker.
    pub assigned_at: DateTime<Utc>,
    /// When the worker began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub completed_at: Option<DateTime<Utc>>,
    /// From start to end, in whole seconds.
    pub duration_seconds: Option<i64>,
    /// What it cost, in dollars, as a decimal string.
    pub cost_dollars: String,
    /// Tokens of models that it used.
    #[serde(default)]
    pub tokens: i64,
    /// Whether it ended well; nothing while it runs.
    pub success: Option<bool>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// How the command's process ended, if it ran.
    pub exit: Option<Exit>,
    /// Why the workspace could not be made ready, or what ended the command beside its own limits.
    pub failure: Option<Failure>,
    /// What went wrong, for a person.
    pub error_message: Option<String>,
    /// The commit that was checked out.
    pub commit: Option<String>,
    /// How long each phase took.
    pub phases: Vec<PhaseTiming>,
    /// What came of its tests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests: Option<TestReport>,
    /// The pull request that its work is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_request: Option<PullRequest>,
    /// The execution whose work this is a part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_execution_id: Option<ExecutionId>,
}

/// All attempts at a task: the answer of `GET /v1/tasks/{id}/executions` (row CAIRN-27).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ExecutionHistory {
    /// The attempts, the one that began last first; before them those that have not begun.
    pub executions: Vec<ExecutionView>,
    /// What they come to.
    pub summary: ExecutionSummary,
}

/// What the attempts at a task come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ExecutionSummary {
    /// All of them.
    pub total_attempts: usize,
    /// Those that ended well.
    pub success_count: usize,
    /// Those that ended badly. What was lost, preempted, called off or goes on is neither.
    pub failure_count: usize,
    /// What all of them cost, in dollars, as a decimal string.
    pub total_cost_dollars: String,
    /// How long those that have ended ran, from start to end, in whole seconds; nothing before one has.
    pub average_duration_seconds: Option<i64>,
}

/// How far the parts of an execution's work are: the answer of `GET /v1/executions/{id}/subtasks` (row CAIRN-56).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SubtaskProgress {
    /// The execution.
    pub execution_id: ExecutionId,
    /// How many parts there are.
    pub total: usize,
    /// How many of them are completed.
    pub completed: usize,
    /// The completed share of all, in whole percent, rounded down; 0 where there are no parts.
    pub percentage: u8,
    /// The parts: tasks with an execution that names this one as its parent, and those into which its task was
    /// split; oldest first.
    pub subtasks: Vec<TaskView>,
}

/// A new execution, as sent to `POST /v1/tasks/{id}/executions` by whoever works without a runner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewExecution {
    /// What kind of agent works on it.
    pub agent_type: String,
    /// The registered worker that does.
    pub worker_id: WorkerId,
    /// The execution whose work this is a part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_execution_id: Option<ExecutionId>,
}

/// The end of such an execution, as sent to `POST /v1/executions/{id}/complete`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ExecutionResult {
    /// Whether it ended well.
    pub success: bool,
    /// The fence of its lease, to have it checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<i64>,
    /// What it cost, in dollars, as a decimal string such as `0.125`.
    #[serde(default, deserialize_with = "crate::money::read_optional", skip_serializing_if = "Option::is_none")]
    pub cost_dollars: Option<String>,
    /// Tokens of models that it used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<i64>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
}

/// An execution that runs for long: an entry of `GET /v1/executions/stale`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StaleExecution {
    /// The execution.
    #[serde(flatten)]
    pub execution: ExecutionView,
    /// For how long it has run, in whole seconds.
    pub running_seconds: i64,
    /// Estimated minutes of its task.
    pub effort_estimate: Option<i32>,
    /// Whether it has run for more than twice the estimate.
    pub exceeds_estimate: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_that_finds_no_program_is_not_said_to_be_missing_itself() {
        let said = Exit::Code(127).told();
        assert_eq!(said, "the command exited with code 127: a program was not found; see the log");
    }
}
