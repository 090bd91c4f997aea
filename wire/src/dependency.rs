//! Dependencies as the API speaks of them: one task needs another, and what
//! follows from that for each of the two.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::id::{DependencyId, TaskId};
use crate::limit;
use crate::outcome::Condition;
use crate::task::{FieldError, Priority, TaskStatus, TaskView, text_enum, wrong};

text_enum! {
    /// How much one task needs another (row CAIRN-2, gap G-14).
    DependencyType, "dependency type" {
        /// What it asks of the other must be true before the task may start.
        Hard = "hard",
        /// Shown only; blocks nothing.
        Soft = "soft",
    }
}

impl DependencyType {
    /// What a dependency is where nothing else is said.
    pub(crate) fn usual() -> Self {
        Self::Hard
    }
}

/// A new dependency, as sent to `POST /v1/tasks/{id}/dependencies`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewDependency {
    /// The task that the path's task needs.
    pub depends_on_task_id: TaskId,
    /// `hard` when absent.
    #[serde(default = "DependencyType::usual")]
    pub dependency_type: DependencyType,
    /// What must be true of the task that is needed: `completed` when absent, or `merged`, `ci_green`,
    /// `approved`, `artefact:NAME`.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub condition: Condition,
    /// Of the dependencies of one task with the same label, one suffices. 1 to 100 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

impl NewDependency {
    /// On the completion of a task.
    pub fn on(depends_on_task_id: TaskId) -> Self {
        Self { depends_on_task_id, dependency_type: DependencyType::Hard, condition: Condition::Completed, group: None }
    }

    /// Refuses a label that is out of bounds, or of a dependency that blocks nothing anyway.
    pub fn validate(&self) -> Result<(), FieldError> {
        check_group(self.group.as_deref(), self.dependency_type)
    }
}

/// Refuses a label of a group that breaks a bound.
pub(crate) fn check_group(group: Option<&str>, dependency_type: DependencyType) -> Result<(), FieldError> {
    let Some(group) = group else { return Ok(()) };
    if dependency_type == DependencyType::Soft {
        return Err(wrong("group", "is of no use to a soft dependency, which blocks nothing; leave it out"));
    }
    if group.trim().is_empty() || group.chars().count() > limit::GROUP_CHARS || group.chars().any(char::is_control) {
        return Err(wrong("group", format!("must have 1 to {} characters", limit::GROUP_CHARS)));
    }
    Ok(())
}

/// A dependency: `task_id` needs `depends_on_task_id`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DependencyView {
    /// Its id.
    pub id: DependencyId,
    /// The task that needs the other.
    pub task_id: TaskId,
    /// The task that is needed.
    pub depends_on_task_id: TaskId,
    /// How much.
    pub dependency_type: DependencyType,
    /// What must be true of the task that is needed.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub condition: Condition,
    /// Of the dependencies of the task with the same label, one suffices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Whether what it asks is true.
    #[serde(default)]
    pub satisfied: bool,
    /// Since when.
    pub created_at: DateTime<Utc>,
}

/// A dependency together with the task that is needed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NeededTask {
    /// The dependency.
    #[serde(flatten)]
    pub dependency: DependencyView,
    /// The task that is needed.
    pub depends_on_task: TaskView,
}

/// Whether the dependencies of a task let it start: the answer of `GET /v1/tasks/{id}/ready`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Readiness {
    /// The task.
    pub task_id: TaskId,
    /// Whether everything that it needs (hard) is true.
    pub ready: bool,
    /// The tasks of which it needs (hard) what is not true, each once.
    pub unsatisfied: Vec<TaskId>,
    /// The same of its soft dependencies, which block nothing.
    pub unsatisfied_soft: Vec<TaskId>,
}

/// The tasks that need a task (hard), directly: the answer of `GET /v1/tasks/{id}/blocks`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Blocks {
    /// The task that is needed.
    pub task_id: TaskId,
    /// How many need it.
    pub count: usize,
    /// Those.
    pub tasks: Vec<TaskView>,
}

/// The tasks that need a task (hard), directly or through others: the answer of
/// `GET /v1/tasks/{id}/blocking-impact`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BlockingImpact {
    /// The task that is needed.
    pub task_id: TaskId,
    /// How many need it, each counted once.
    pub blocking_count: usize,
    /// Those.
    pub blocked_task_ids: Vec<TaskId>,
}

/// Tasks and what they need, in the shape that graph libraries read: the answer of
/// `GET /v1/tasks/dependency-graph`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DependencyGraph {
    /// The tasks, most urgent and then oldest first.
    pub nodes: Vec<GraphNode>,
    /// The dependencies between them.
    pub edges: Vec<GraphEdge>,
    /// Whether there are more tasks than one answer holds.
    pub truncated: bool,
}

/// A task in a graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GraphNode {
    /// The task.
    pub id: TaskId,
    /// Its title.
    pub label: String,
    /// Where it stands.
    pub status: TaskStatus,
    /// 1 to 5, 5 first.
    pub priority: Priority,
}

/// A dependency in a graph: it leads from the task that is needed to the one that needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GraphEdge {
    /// The dependency.
    pub id: DependencyId,
    /// The task that is needed.
    pub source: TaskId,
    /// The task that needs it.
    pub target: TaskId,
    /// How much.
    pub dependency_type: DependencyType,
    /// What must be true of the task that is needed.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub condition: Condition,
    /// Of the dependencies of the target with the same label, one suffices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}
