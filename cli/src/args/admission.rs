//! What can be written about holds, limits, projects, budgets and schedules.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use wire::budget::{Period, TaskBudget};
use wire::id::{BudgetId, ScheduleId, TaskId};
use wire::schedule::{CatchUp, Overlap};

/// What decides when a new task may start, and what it may use.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct AdmissionArguments {
    /// The project that the task belongs to
    #[arg(long, value_name = "NAME")]
    pub(crate) project: Option<String>,
    /// What the task uses and others use too, such as db-migrations; limits and holds are set for keys
    #[arg(long = "key", value_name = "KEY")]
    pub(crate) keys: Vec<String>,
    /// Do not start before this time, such as 2027-01-31T18:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) not_before: Option<DateTime<Utc>>,
    /// Fail when nobody has begun by this time
    #[arg(long, value_name = "TIME")]
    pub(crate) deadline: Option<DateTime<Utc>>,
    #[command(flatten)]
    pub(crate) budget: BudgetArguments,
}

impl AdmissionArguments {
    /// The option that a field of a new task comes from.
    pub(crate) fn option_of(field: &str) -> Option<&'static str> {
        match field {
            "project" => Some("--project"),
            "keys" => Some("--key"),
            "not_before" => Some("--not-before"),
            "deadline" => Some("--deadline"),
            "budget.dollars" => Some("--budget-dollars"),
            "budget.machine_seconds" => Some("--budget-machine-time"),
            "budget.tokens" => Some("--budget-tokens"),
            "budget.attempts" => Some("--budget-attempts"),
            _ => None,
        }
    }
}

/// What a task may use in its whole life.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct BudgetArguments {
    /// What the task may cost in its whole life, such as 2.50; a retry does not reset it
    #[arg(long, value_name = "DOLLARS")]
    pub(crate) budget_dollars: Option<String>,
    /// How long the task may be on machines in its whole life, such as 2h
    #[arg(long, value_name = "TIME", value_parser = crate::duration::parse_seconds)]
    pub(crate) budget_machine_time: Option<u64>,
    /// How many tokens of models the task may use in its whole life
    #[arg(long, value_name = "N")]
    pub(crate) budget_tokens: Option<i64>,
    /// How many attempts that count the task may have in its whole life
    #[arg(long, value_name = "N")]
    pub(crate) budget_attempts: Option<i32>,
}

impl BudgetArguments {
    /// The budget, if anything is said about one.
    pub(crate) fn budget(&self) -> Option<TaskBudget> {
        let budget = TaskBudget {
            dollars: self.budget_dollars.clone(),
            machine_seconds: self.budget_machine_time.and_then(|seconds| i64::try_from(seconds).ok()),
            tokens: self.budget_tokens,
            attempts: self.budget_attempts,
        };
        (budget != TaskBudget::default()).then_some(budget)
    }
}

#[derive(Args)]
pub(crate) struct HoldArguments {
    #[command(flatten)]
    pub(crate) held: Held,
    /// Why, for whoever wonders
    #[arg(long)]
    pub(crate) reason: String,
    /// Who answers for it [default: the API key's id]
    #[arg(long, value_name = "NAME")]
    pub(crate) owner: Option<String>,
    /// Let go by itself after so long, such as 45m
    #[arg(long = "for", value_name = "TIME", value_parser = crate::duration::parse_seconds, conflicts_with = "until")]
    pub(crate) seconds: Option<u64>,
    /// Let go by itself at this time, such as 2027-01-31T18:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<DateTime<Utc>>,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Held {
    /// The task's id
    #[arg(value_name = "TASK")]
    pub(crate) task: Option<TaskId>,
    /// Every task of a project
    #[arg(long, value_name = "NAME")]
    pub(crate) project: Option<String>,
    /// Every task with a key
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// Every task
    #[arg(long)]
    pub(crate) everything: bool,
}

#[derive(Subcommand)]
pub(crate) enum LimitsCommand {
    /// List what keys allow and how they stand
    #[command(after_help = super::help::admission::LIMITS_LIST)]
    List,
    /// Show what one key allows and how it stands
    #[command(after_help = super::help::admission::LIMITS_SHOW)]
    Show {
        /// The key
        key: String,
    },
    /// Say what a key allows, in place of what it allowed
    #[command(after_help = super::help::admission::LIMITS_SET)]
    Set {
        /// The key
        key: String,
        /// The most tasks with the key that may be in hand at once; 0 lets none start
        #[arg(long, value_name = "N", required_unless_present = "tokens")]
        max_running: Option<i32>,
        /// So many may start …
        #[arg(long, value_name = "N", requires = "per")]
        tokens: Option<i64>,
        /// … in so long, such as 1m
        #[arg(long, value_name = "TIME", value_parser = crate::duration::parse_seconds, requires = "tokens")]
        per: Option<u64>,
        /// The most that may start at once after a quiet time [default: as many as --tokens]
        #[arg(long, value_name = "N", requires = "tokens")]
        burst: Option<i64>,
    },
    /// Let a key allow everything again
    #[command(after_help = super::help::admission::LIMITS_REMOVE)]
    Remove {
        /// The key
        key: String,
    },
}

#[derive(Subcommand)]
pub(crate) enum ProjectsCommand {
    /// List the projects that were weighed, or have work
    #[command(after_help = super::help::admission::PROJECTS_LIST)]
    List,
    /// Say which share of the workers a project gets while others have work of the same priority
    #[command(after_help = super::help::admission::PROJECTS_WEIGH)]
    Weigh {
        /// The project
        name: String,
        /// Its weight, from 1 to 1000; a project that nobody has weighed has 1
        weight: i32,
    },
}

#[derive(Subcommand)]
pub(crate) enum BudgetsCommand {
    /// List the budgets and what is left of them
    #[command(after_help = super::help::admission::BUDGETS_LIST)]
    List,
    /// Show one budget and what is left of it
    #[command(after_help = super::help::admission::BUDGETS_SHOW)]
    Show {
        /// The budget's id
        id: BudgetId,
    },
    /// Make a budget
    #[command(after_help = super::help::admission::BUDGETS_CREATE)]
    Create {
        /// The project [default: all tasks together]
        #[arg(long, value_name = "NAME")]
        project: Option<String>,
        /// day, week or month
        #[arg(long)]
        period: Period,
        /// What may be spent in a period
        #[arg(long)]
        dollars: String,
        /// From which part of it an alert is written, such as 0.8
        #[arg(long, value_name = "PART")]
        alert_at: Option<String>,
        /// Dollars that are set aside for each task that starts [default: an estimate of its machine's price]
        #[arg(long, value_name = "DOLLARS")]
        reserve: Option<String>,
    },
    /// Change a budget
    #[command(after_help = super::help::admission::BUDGETS_CHANGE)]
    Change {
        /// The budget's id
        id: BudgetId,
        /// What may be spent in a period
        #[arg(long)]
        dollars: Option<String>,
        /// From which part of it an alert is written
        #[arg(long, value_name = "PART")]
        alert_at: Option<String>,
        /// Dollars that are set aside for each task that starts
        #[arg(long, value_name = "DOLLARS")]
        reserve: Option<String>,
    },
    /// Remove a budget
    #[command(after_help = super::help::admission::BUDGETS_DELETE)]
    Delete {
        /// The budget's id
        id: BudgetId,
    },
}

#[derive(Subcommand)]
pub(crate) enum SchedulesCommand {
    /// List the schedules and when each is due
    #[command(after_help = super::help::admission::SCHEDULES_LIST)]
    List,
    /// Show one schedule
    #[command(after_help = super::help::admission::SCHEDULES_SHOW)]
    Show {
        /// The schedule's id
        id: ScheduleId,
    },
    /// Make a schedule
    #[command(after_help = super::help::admission::SCHEDULES_CREATE)]
    Create {
        /// What lists call it
        name: String,
        /// Minute, hour, day of the month, month, day of the week
        #[arg(long)]
        cron: String,
        /// The time zone, such as Europe/Berlin
        #[arg(long, value_name = "ZONE", default_value = "UTC")]
        zone: String,
        /// A file with the task as JSON, or - for standard input
        #[arg(long, value_name = "FILE")]
        task: PathBuf,
        /// While an earlier task has not ended: skip, queue or cancel_previous
        #[arg(long, default_value = "skip")]
        overlap: Overlap,
        /// After an outage: one or none
        #[arg(long, default_value = "one")]
        catch_up: CatchUp,
        /// Let it rest at first
        #[arg(long)]
        paused: bool,
    },
    /// Let a schedule rest
    #[command(after_help = super::help::admission::SCHEDULES_PAUSE)]
    Pause {
        /// The schedule's id
        id: ScheduleId,
    },
    /// Let a schedule go on; what it would have submitted meanwhile is not made up for
    #[command(after_help = super::help::admission::SCHEDULES_RESUME)]
    Resume {
        /// The schedule's id
        id: ScheduleId,
    },
    /// Remove a schedule; the tasks that it made stay
    #[command(after_help = super::help::admission::SCHEDULES_DELETE)]
    Delete {
        /// The schedule's id
        id: ScheduleId,
    },
}
