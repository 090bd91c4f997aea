//! Proposals: tasks for what somebody found elsewhere, an issue or a crash, which wait until a person accepts them
//! (row FR-18).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{HoldId, TaskId};
use crate::import::ImportedTask;
use crate::limit;
use crate::task::{FieldError, Priority, TaskSpec, TaskView, wrong};

/// The key of a task's metadata that says where it was found.
pub const SOURCE_KEY: &str = "source";

/// One thing that was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewProposal {
    /// What is known of it elsewhere, such as `github:owner/name#12`, of 1 to 500 characters. A source is proposed
    /// once, whatever became of its task.
    pub source: String,
    /// One line, 1 to 500 characters.
    pub title: String,
    /// Up to 65,536 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// 1 to 5, 5 first; 3 when absent.
    #[serde(default)]
    pub priority: Priority,
    /// Estimated minutes of work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effort_estimate: Option<i32>,
    /// What a runner is to do once it is accepted; absent for a note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<TaskSpec>,
    /// The project that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// What it uses and others use too. Up to 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// Up to 100, of 1 to 100 characters each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Keys with their values, up to 199. `source` is the source.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

/// What was found, as sent to `POST /v1/proposals`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewProposals {
    /// 1 to 100; all of them are stored, or none.
    pub proposals: Vec<NewProposal>,
}

/// What became of one that was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Proposed {
    /// What it was found as.
    pub source: String,
    /// The task that it is.
    pub task_id: TaskId,
    /// Whether the task was made just now.
    pub is_new: bool,
}

/// One that waits for a person: an entry of `GET /v1/proposals`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProposalView {
    /// What it was found as.
    pub source: String,
    /// The hold that keeps it from starting.
    pub hold_id: HoldId,
    /// The task.
    pub task: TaskView,
}

impl NewProposal {
    /// The task that it is to be.
    pub fn task(&self) -> ImportedTask {
        let mut metadata = self.metadata.clone();
        metadata.insert(SOURCE_KEY.to_owned(), self.source.clone());
        ImportedTask {
            title: self.title.clone(),
            description: self.description.clone(),
            priority: self.priority,
            effort_estimate: self.effort_estimate,
            spec: self.spec.clone(),
            project: self.project.clone(),
            keys: self.keys.clone(),
            tags: self.tags.clone(),
            metadata,
            ..ImportedTask::default()
        }
    }

    /// Refuses what breaks a bound, naming the field.
    pub fn validate(&self) -> Result<(), FieldError> {
        let is_line = !self.source.trim().is_empty() && !self.source.chars().any(char::is_control);
        if !is_line || self.source.chars().count() > limit::SOURCE_CHARS {
            return Err(wrong("source", format!("must be one line of 1 to {} characters", limit::SOURCE_CHARS)));
        }
        self.task().validate()
    }
}
