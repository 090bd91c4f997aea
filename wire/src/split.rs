//! Splitting a task into smaller ones (row CAIRN-55).

use serde::{Deserialize, Serialize};

use crate::id::{ExecutionId, TaskId};
use crate::limit;
use crate::metadata::check_agent_type;
use crate::task::{FieldError, NewTask, Priority, TaskSpec, wrong};

/// The parts of a task, as sent to `POST /v1/tasks/{id}/split`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Split {
    /// 1 to 100 of them.
    pub subtasks: Vec<NewSubtask>,
    /// The claim under which whoever splits the task holds it; it is given back in the same moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<ExecutionId>,
}

/// One part of a task.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewSubtask {
    /// One line, 1 to 500 characters.
    pub title: String,
    /// Up to 65,536 characters.
    #[serde(default)]
    pub description: String,
    /// Estimated minutes of work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effort_estimate: Option<i32>,
    /// 1 to 5, 5 first; that of the task that is split when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// What a runner is to do; absent for a note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<TaskSpec>,
    /// The type of agent that it is for, kept under `agent_type` of its metadata, 1 to 100 characters; anybody when
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_type: Option<String>,
    /// The parts that must be completed before this one (hard), by their places in the list, counted from 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<usize>,
}

impl NewSubtask {
    /// As a task of its own.
    pub fn task(&self, usual: Priority) -> NewTask {
        NewTask {
            title: self.title.clone(),
            description: self.description.clone(),
            priority: self.priority.unwrap_or(usual),
            effort_estimate: self.effort_estimate,
            spec: self.spec.clone(),
            ..NewTask::default()
        }
    }

    /// Refuses what is said beside the task itself, if it breaks a bound.
    pub fn validate(&self) -> Result<(), FieldError> {
        self.agent_type.as_deref().map_or(Ok(()), check_agent_type)
    }
}

impl Split {
    /// Refuses a number of parts that breaks the bound.
    pub fn validate(&self) -> Result<(), FieldError> {
        if self.subtasks.is_empty() || self.subtasks.len() > limit::SUBTASKS {
            let message = format!("must be 1 to {} parts, and these are {}", limit::SUBTASKS, self.subtasks.len());
            return Err(wrong("subtasks", message));
        }
        Ok(())
    }
}

/// The answer to [`Split`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SplitTask {
    /// The task that was split; it is completed once all of its parts are.
    pub task_id: TaskId,
    /// The parts, in the order given.
    pub subtask_ids: Vec<TaskId>,
}
