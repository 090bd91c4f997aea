//! Looking ahead: the critical path through what is open, and the dry run of a
//! graph of tasks, stored or not.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::batch::BatchDependency;
use crate::id::TaskId;
use crate::import::ImportedTask;

/// What a task is taken to last that has no estimate: as long as a command may run when nothing else is said.
pub const EFFORT_MINUTES_DEFAULT: i32 = 30;
/// The most tasks of one dry run.
pub const PLAN_TASKS: usize = 10_000;
/// The most machines of a dry run.
pub const PLAN_MACHINES: u32 = 10_000;

/// The longest chain of open tasks: the answer of `GET /v1/tasks/critical-path`. Times are minutes from now, if
/// everything began as soon as what it needs is true.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CriticalPath {
    /// How long all of it takes at least, in minutes of work.
    pub length_minutes: i64,
    /// The chain that decides it, in order; of a very long one the beginning.
    pub path: Vec<TaskTimes>,
    /// How many tasks the chain has.
    pub path_tasks: usize,
    /// The open tasks that have the least time to spare, least first.
    pub tasks: Vec<TaskTimes>,
    /// How many open tasks there are: neither completed nor called off nor split.
    pub open_tasks: usize,
    /// What a task without an estimate is taken to last, in minutes.
    pub default_effort_minutes: i32,
}

/// When a task can begin, and when it has to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TaskTimes {
    /// The task.
    pub id: TaskId,
    /// Its title.
    pub title: String,
    /// How long it is taken to last.
    pub effort_minutes: i64,
    /// When everything that it needs can be true.
    pub earliest_start_minutes: i64,
    /// When it has to begin, so that the whole is not late.
    pub latest_start_minutes: i64,
    /// What lies between.
    pub slack_minutes: i64,
}

/// A dry run, as sent to `POST /v1/plan`: nothing is stored or started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PlanRequest {
    /// The tasks, as an import takes them, up to 10,000; absent for those that are stored and open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<Vec<ImportedTask>>,
    /// What they need of each other by their places, as a batch takes it, besides what they say themselves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<BatchDependency>,
    /// Machines that work at once, 1 to 10,000; 10 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machines: Option<u32>,
    /// Tasks that a machine works on at once, 1 to 100; 1 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks_per_machine: Option<u32>,
    /// What an hour of a machine costs in millionths of a dollar; when absent, what Fly asks for one of the pool's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_hour_micros: Option<i64>,
    /// When the first task begins; now when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_at: Option<DateTime<Utc>>,
}

/// How the tasks would go: the answer of `POST /v1/plan`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Forecast {
    /// The tasks in the order in which they would begin.
    pub tasks: Vec<ForecastTask>,
    /// Tasks that would not begin, and why.
    pub waiting: Vec<ForecastWait>,
    /// When the first would begin.
    pub starts_at: DateTime<Utc>,
    /// When the last would end.
    pub ends_at: DateTime<Utc>,
    /// From the one to the other.
    pub duration_minutes: i64,
    /// In how many waves: a task is in the wave after the last of those that it needs.
    pub waves: usize,
    /// The longest chain, as keys or ids, in order: it would take so long with any number of machines.
    pub critical_path: Vec<String>,
    /// How long that takes.
    pub critical_path_minutes: i64,
    /// Machines that would work at once at most.
    pub machines_used: usize,
    /// For how long machines would work, together.
    pub machine_minutes: i64,
    /// What that would cost in dollars, as a decimal string.
    pub cost_dollars: String,
    /// The price that was taken, in millionths of a dollar for an hour of a machine.
    pub machine_hour_micros: i64,
    /// What a task without an estimate was taken to last.
    pub default_effort_minutes: i32,
}

/// One task of a forecast.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ForecastTask {
    /// Its key, or, of a stored one, its id; where it has neither, its place in the list, from 0.
    pub key: String,
    /// Its title.
    pub title: String,
    /// From 1: it needs something of the wave before.
    pub wave: usize,
    /// Which machine, from 1.
    pub machine: usize,
    /// When it would begin.
    pub starts_at: DateTime<Utc>,
    /// When it would end.
    pub ends_at: DateTime<Utc>,
    /// How long it is taken to last.
    pub effort_minutes: i64,
    /// For how long it could be put off without making the whole chain later, with enough machines.
    pub slack_minutes: i64,
    /// For how long it would wait for a machine after everything that it needs is true.
    pub queued_minutes: i64,
}

/// A task that would not begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ForecastWait {
    /// Its key, id or place.
    pub key: String,
    /// Its title.
    pub title: String,
    /// What it would wait for.
    pub reason: String,
}
