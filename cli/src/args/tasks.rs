//! What can be written after `bifrost tasks`.

use std::path::PathBuf;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use clap::{ArgAction, Args, Subcommand, ValueEnum};
use wire::id::{ExecutionId, TaskId, WorkerId};
use wire::limit::LOG_LINES;
use wire::outcome::{Condition, OutcomeName};
use wire::prioritize::Algorithm;
use wire::task::{Priority, TaskStatus};

use super::admission::{AdmissionArguments, BudgetArguments};
pub(crate) use crate::tasks::format::Format;

#[derive(Subcommand)]
pub(crate) enum TasksCommand {
    /// Create a task that people or agents claim, and print its id; `bifrost run --detach` makes one that machines run
    #[command(after_help = super::help::tasks::CREATE)]
    Create(Box<CreateArguments>),
    /// List tasks, most urgent first
    #[command(after_help = super::help::tasks::LIST)]
    List {
        /// Only those of this project
        #[arg(long, value_name = "NAME")]
        project: Option<String>,
        /// Only those that stand so: ready, assigned, in_progress, completed, failed, split or cancelled
        #[arg(long, value_parser = parse_status)]
        status: Option<TaskStatus>,
        /// Only those of this priority
        #[arg(long, value_name = "1..5")]
        priority: Option<Priority>,
        /// Only those that wait for another task, or only those that do not
        #[arg(long, value_name = "true|false", action = ArgAction::Set)]
        blocked: Option<bool>,
        /// At most so many, up to 1000
        #[arg(long, default_value_t = 100)]
        limit: u32,
        /// Leave out the first so many
        #[arg(long, default_value_t = 0)]
        offset: u32,
        /// Go on, and show the list anew whenever a task has changed
        #[arg(long, short)]
        watch: bool,
    },
    /// Show one task with its newest execution
    #[command(after_help = super::help::tasks::SHOW)]
    Show {
        /// The task's id
        id: TaskId,
        /// Go on, with a line for each change, until the task has ended
        #[arg(long, short)]
        follow: bool,
    },
    /// Print what a task's command wrote: its standard output and standard error, each on ours
    #[command(after_help = super::help::tasks::LOGS)]
    Logs {
        /// The task's id
        id: TaskId,
        /// Go on until the task has ended
        #[arg(long, short)]
        follow: bool,
        /// Only the last lines, so many of both together, up to 10000; with --follow, then what comes
        #[arg(long, short = 'n', value_name = "N", value_parser = clap::value_parser!(u32).range(1..=LOG_LINES.into()))]
        lines: Option<u32>,
    },
    /// Change some fields of a task
    #[command(after_help = super::help::tasks::UPDATE)]
    Update {
        /// The task's id
        id: TaskId,
        #[command(flatten)]
        change: ChangedFields,
        /// Only while the task is at this version, which `show` tells
        #[arg(long, value_name = "VERSION")]
        if_version: Option<i64>,
    },
    /// Call tasks off; twice is no error
    #[command(after_help = super::help::tasks::CANCEL)]
    Cancel(Selected),
    /// Make failed tasks ready again
    #[command(after_help = super::help::tasks::RETRY)]
    Retry(Selected),
    /// Say what a task waits for, the nearest obstacle first
    #[command(after_help = super::help::tasks::WHY)]
    Why {
        /// The task's id
        id: TaskId,
    },
    /// Delete a task with its executions, metadata and dependencies; the record keeps what was told of it
    #[command(after_help = super::help::tasks::DELETE)]
    Delete {
        /// The task's id
        id: TaskId,
    },
    /// Find tasks by a text in their title or description
    #[command(after_help = super::help::tasks::SEARCH)]
    Search {
        /// The text, in either case of letters; no character means anything else
        text: String,
    },
    /// Submit the tasks of a file: all of them, or none
    #[command(after_help = super::help::TASKS_IMPORT)]
    Import {
        /// The file, or - for standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Whose form it has [default: what it looks like]
        #[arg(long, value_enum, value_name = "FORM")]
        format: Option<Format>,
    },
    /// Write every task, with what it needs and what stands beside it
    #[command(after_help = super::help::TASKS_EXPORT)]
    Export {
        /// How: lines of JSON, or a table
        #[arg(long, value_enum, value_name = "FORM", default_value = "jsonl")]
        format: ExportFormat,
        /// To this file [default: standard output]
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Say how tasks would go, what they would cost and what would wait: those of a file, or those that are open
    #[command(after_help = super::help::PLAN)]
    Plan(PlanArguments),
    /// Show which chain of open tasks decides how long all of it takes
    #[command(after_help = super::help::tasks::CRITICAL_PATH)]
    CriticalPath {
        /// Also tasks beside the chain, those with the least time to spare first
        #[arg(long)]
        all: bool,
        /// At most so many tasks
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Make a task wait for others
    #[command(after_help = super::help::tasks::DEPEND)]
    Depend {
        /// The task that is to wait
        id: TaskId,
        /// The tasks that it needs
        #[arg(long = "on", required = true, num_args = 1.., value_name = "TASK")]
        on: Vec<TaskId>,
        /// Only show it; nothing waits
        #[arg(long)]
        soft: bool,
        /// What must be true of each: completed, merged, ci_green, approved or artefact:NAME
        #[arg(long = "for", value_name = "CONDITION", default_value = "completed")]
        condition: Condition,
        /// A label of your own: of those that the task needs with the same label, one suffices
        #[arg(long, value_name = "LABEL", conflicts_with = "soft")]
        group: Option<String>,
    },
    /// Let a task no longer wait for another
    #[command(after_help = super::help::tasks::UNDEPEND)]
    Undepend {
        /// The task that waits
        id: TaskId,
        /// The task that it needs
        #[arg(long = "on", value_name = "TASK")]
        on: TaskId,
        /// Only this of what it needs of the other [default: everything]
        #[arg(long = "for", value_name = "CONDITION")]
        condition: Option<Condition>,
    },
    /// List what a task needs
    #[command(after_help = super::help::tasks::NEEDS)]
    Needs {
        /// The task's id
        id: TaskId,
    },
    /// List the tasks that may start now, or say whether one may
    #[command(after_help = super::help::tasks::READY)]
    Ready {
        /// The task's id
        id: Option<TaskId>,
    },
    /// List the tasks that wait for a task
    #[command(after_help = super::help::tasks::BLOCKS)]
    Blocks {
        /// The task's id
        id: TaskId,
        /// Also those that wait for one of them, and so on; their ids only
        #[arg(long)]
        all: bool,
    },
    /// Show which tasks need which
    #[command(after_help = super::help::tasks::GRAPH)]
    Graph {
        /// Write it for Graphviz
        #[arg(long)]
        dot: bool,
    },
    /// Give a task tags, in place of those it has
    #[command(after_help = super::help::tasks::TAG)]
    Tag {
        /// The task's id
        id: TaskId,
        /// The tags; none takes all away
        tags: Vec<String>,
    },
    /// List the tasks that carry a tag
    #[command(after_help = super::help::tasks::TAGGED)]
    Tagged {
        /// The tag
        tag: String,
    },
    /// Read and write what stands beside a task
    #[command(subcommand, after_help = super::help::METADATA)]
    Metadata(MetadataCommand),
    /// Read and write what is true of a task besides its status, which others may wait for
    #[command(subcommand, after_help = super::help::OUTCOMES)]
    Outcomes(OutcomesCommand),
    /// Give a ready task to a worker that no machine of the pool carries; `bifrost tasks start` begins it
    #[command(after_help = super::help::tasks::ASSIGN)]
    Assign {
        /// The task's id
        id: TaskId,
        /// The worker's id [default: the one with the least to do of those that take it]
        worker: Option<WorkerId>,
    },
    /// Begin a task that was assigned, and print the execution's id; `bifrost complete` ends it
    #[command(after_help = super::help::tasks::START)]
    Start {
        /// The task's id
        id: TaskId,
        /// The worker that it was assigned to
        #[arg(long, value_name = "WORKER")]
        worker: WorkerId,
        /// What kind of agent works on it
        #[arg(long, value_name = "TYPE", default_value = "agent")]
        agent_type: String,
        /// The execution whose work this is a part of
        #[arg(long, value_name = "EXECUTION")]
        parent: Option<ExecutionId>,
    },
    /// Give the next tasks, highest score first, to such workers that have room
    #[command(after_help = super::help::tasks::ASSIGN_BATCH)]
    AssignBatch {
        /// How many at most, 1 to 100
        #[arg(long, value_name = "NUMBER", default_value_t = 10)]
        count: usize,
    },
    /// Give a ready task to such a worker in place of a less urgent one, which is ready again
    #[command(after_help = super::help::tasks::PREEMPT)]
    Preempt {
        /// The task's id
        id: TaskId,
        /// The worker's id
        #[arg(long, value_name = "WORKER")]
        worker: WorkerId,
    },
    /// Score the tasks that are ready, and list them, highest score first
    #[command(after_help = super::help::tasks::PRIORITIZE)]
    Prioritize {
        /// highest_priority, blocker_impact, effort, balanced or critical_path
        #[arg(value_parser = parse_algorithm)]
        algorithm: Algorithm,
        /// Show at most so many; all are scored
        #[arg(long, value_name = "NUMBER", default_value_t = 100)]
        limit: usize,
    },
    /// Replace a task by smaller ones; it is completed once all of them are
    #[command(after_help = super::help::SPLIT)]
    Split {
        /// The task's id
        id: TaskId,
        /// The titles of its parts
        #[arg(long = "into", value_name = "TITLE", num_args = 1.., required_unless_present = "file", conflicts_with = "file")]
        titles: Vec<String>,
        /// A file with its parts in JSON as the API takes them, or - for standard input
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// List all attempts at a task, and what they come to
    #[command(after_help = super::help::tasks::EXECUTIONS)]
    Executions {
        /// The task's id
        id: TaskId,
    },
    /// Show how far the parts of an execution's work are
    #[command(after_help = super::help::tasks::SUBTASKS)]
    Subtasks {
        /// The execution's id
        execution: ExecutionId,
    },
    /// Say how many minutes of work a task is
    #[command(after_help = super::help::tasks::ESTIMATE)]
    Estimate {
        /// The task's id
        id: TaskId,
        /// Minutes
        minutes: i32,
    },
    /// List executions that have run for more than two hours, or what the server says is long
    #[command(after_help = super::help::tasks::STALE)]
    Stale,
}

/// Which tasks are meant: these, or all that are so.
#[derive(Args)]
pub(crate) struct Selected {
    /// The tasks' ids
    #[arg(required_unless_present_any = ["status", "priority", "tag", "all"],
          conflicts_with_all = ["status", "priority", "tag", "all"], value_name = "ID")]
    pub(crate) ids: Vec<TaskId>,
    /// In place of ids: the first 100 tasks that stand so
    #[arg(long, value_parser = parse_status)]
    pub(crate) status: Option<TaskStatus>,
    /// In place of ids: the first 100 tasks of this priority
    #[arg(long, value_name = "1..5")]
    pub(crate) priority: Option<Priority>,
    /// In place of ids: the first 100 tasks that carry this tag
    #[arg(long)]
    pub(crate) tag: Option<String>,
    /// Not only the first 100, but all that match
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CreateArguments {
    /// One line, as lists show it
    pub(crate) title: String,
    /// The rest of the story
    #[arg(long)]
    pub(crate) description: Option<String>,
    /// The rest of the story from a file, or - for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "description")]
    pub(crate) description_file: Option<PathBuf>,
    /// How urgent, from 1 to 5, 5 first
    #[arg(long, value_name = "1..5", default_value = "3")]
    pub(crate) priority: Priority,
    /// Estimated minutes of work
    #[arg(long, value_name = "MINUTES")]
    pub(crate) effort: Option<i32>,
    #[command(flatten)]
    pub(crate) admission: AdmissionArguments,
    /// A tag that it carries; may be repeated
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,
    /// The tasks that must be completed before it may start
    #[arg(long, num_args = 1.., value_name = "TASK")]
    pub(crate) needs: Vec<TaskId>,
    /// A name for the request of your own: the same command with the same name makes no second task [default: by chance]
    #[arg(long, value_name = "KEY", value_parser = parse_idempotency_key)]
    pub(crate) idempotency_key: Option<String>,
}

fn parse_idempotency_key(text: &str) -> Result<String, String> {
    const CHARS: usize = 255;
    if (1..=CHARS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(text.to_owned());
    }
    Err(format!("write 1 to {CHARS} visible ASCII characters"))
}

/// New values; what is not named stays.
#[derive(Args)]
#[group(required = true, multiple = true, args = [
    "title", "description", "status", "priority", "effort", "project", "keys", "not_before", "deadline",
    "budget_dollars", "budget_machine_time", "budget_tokens", "budget_attempts", "no_budget",
])]
pub(crate) struct ChangedFields {
    /// One line
    #[arg(long)]
    pub(crate) title: Option<String>,
    /// The rest of the story
    #[arg(long)]
    pub(crate) description: Option<String>,
    /// Where it stands: assigned, in_progress, completed, failed or ready, each after the one before
    #[arg(long, value_parser = parse_status)]
    pub(crate) status: Option<TaskStatus>,
    /// How urgent, from 1 to 5, 5 first
    #[arg(long, value_name = "1..5")]
    pub(crate) priority: Option<Priority>,
    /// Estimated minutes of work
    #[arg(long, value_name = "MINUTES")]
    pub(crate) effort: Option<i32>,
    /// The project that it belongs to, or none
    #[arg(long, value_name = "NAME", value_parser = or_none::<String>)]
    pub(crate) project: Option<OrNone<String>>,
    /// Its keys, in place of those it has; none takes all away
    #[arg(long = "key", value_name = "KEY")]
    pub(crate) keys: Vec<String>,
    /// The time before which it does not start, such as 2027-01-31T18:00:00Z, or none
    #[arg(long, value_name = "TIME", value_parser = or_none::<DateTime<Utc>>)]
    pub(crate) not_before: Option<OrNone<DateTime<Utc>>>,
    /// The time at which it fails when nobody has begun, or none
    #[arg(long, value_name = "TIME", value_parser = or_none::<DateTime<Utc>>)]
    pub(crate) deadline: Option<OrNone<DateTime<Utc>>>,
    /// All four together are the new budget, in place of the one that it has
    #[command(flatten)]
    pub(crate) budget: BudgetArguments,
    /// Let it use what it takes
    #[arg(long, conflicts_with_all = ["budget_dollars", "budget_machine_time", "budget_tokens", "budget_attempts"])]
    pub(crate) no_budget: bool,
}

/// A value, or the word `none` to take it away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OrNone<T>(pub(crate) Option<T>);

fn or_none<T: FromStr<Err: std::fmt::Display>>(text: &str) -> Result<OrNone<T>, String> {
    if text == "none" {
        return Ok(OrNone(None));
    }
    text.parse().map(|value| OrNone(Some(value))).map_err(|error: T::Err| error.to_string())
}

fn parse_algorithm(text: &str) -> Result<Algorithm, wire::task::UnknownWord> {
    text.parse()
}

fn parse_status(text: &str) -> Result<TaskStatus, wire::task::UnknownWord> {
    text.parse()
}

/// How tasks are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// A JSON object on each line, as an import takes it
    Jsonl,
    /// Comma-separated values, as an import takes them
    Csv,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArguments {
    /// A file as `bifrost tasks import` takes it, or - for standard input [default: the open tasks of the server]
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Whose form it has [default: what it looks like]
    #[arg(long, value_enum, value_name = "FORM", requires = "file")]
    pub(crate) format: Option<Format>,
    /// Machines that work at once [default: 10]
    #[arg(long, value_name = "N")]
    pub(crate) machines: Option<u32>,
    /// Tasks that a machine works on at once [default: 1]
    #[arg(long, value_name = "N")]
    pub(crate) tasks_per_machine: Option<u32>,
    /// What an hour of a machine costs, in dollars [default: what Fly asks for one of the pool's]
    #[arg(long, value_name = "DOLLARS")]
    pub(crate) machine_hour_dollars: Option<f64>,
}

#[derive(Subcommand)]
pub(crate) enum OutcomesCommand {
    /// Note that something is true of a task; twice is no error
    #[command(after_help = super::help::tasks::OUTCOMES_SET)]
    Set {
        /// The task's id
        id: TaskId,
        /// merged, ci_green, approved or artefact:NAME
        name: OutcomeName,
        /// Where it can be seen, such as a commit or an address
        #[arg(long, value_name = "TEXT")]
        detail: Option<String>,
    },
    /// Take it back: what needs it and has not begun waits again
    #[command(after_help = super::help::tasks::OUTCOMES_WITHDRAW)]
    Withdraw {
        /// The task's id
        id: TaskId,
        /// merged, ci_green, approved or artefact:NAME
        name: OutcomeName,
    },
    /// List what is true of a task
    #[command(after_help = super::help::tasks::OUTCOMES_LIST)]
    List {
        /// The task's id
        id: TaskId,
    },
}

#[derive(Subcommand)]
pub(crate) enum MetadataCommand {
    /// Give a key of a task its value
    #[command(after_help = super::help::tasks::METADATA_SET)]
    Set {
        /// The task's id
        id: TaskId,
        /// The key
        key: String,
        /// The value
        value: String,
    },
    /// Print every key of a task, or the value of one
    #[command(after_help = super::help::tasks::METADATA_GET)]
    Get {
        /// The task's id
        id: TaskId,
        /// The key
        key: Option<String>,
    },
    /// Print every key of several tasks
    #[command(after_help = super::help::tasks::METADATA_SHOW)]
    Show {
        /// The tasks' ids
        #[arg(required = true, value_name = "TASK")]
        ids: Vec<TaskId>,
    },
    /// List every key in use and on how many tasks
    #[command(after_help = super::help::tasks::METADATA_KEYS)]
    Keys,
}
