//! Scores: which of the tasks that are ready should go first, by a rule that the
//! caller names.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::id::TaskId;
use crate::task::{Priority, text_enum};

text_enum! {
    /// What a score looks at (row CAIRN-49). Every score is from 0 to 100, and the highest goes first.
    Algorithm, "algorithm" {
        /// The priority alone: 20 for each step of it.
        HighestPriority = "highest_priority",
        /// How many tasks wait for it, directly or through others, against the task for which most do.
        BlockerImpact = "blocker_impact",
        /// How little work it is: 100 for none, 50 for an hour, which is also what a task without an estimate counts.
        Effort = "effort",
        /// Two fifths of priority, two fifths of blocker impact and a fifth of effort.
        Balanced = "balanced",
        /// How long the longest chain of work is that begins with it, against the longest of all.
        CriticalPath = "critical_path",
    }
}

impl Algorithm {
    /// Whether it depends on what tasks need of each other.
    pub fn looks_at_graph(self) -> bool {
        match self {
            Self::BlockerImpact | Self::Balanced | Self::CriticalPath => true,
            Self::HighestPriority | Self::Effort => false,
        }
    }
}

/// Sent to `POST /v1/tasks/prioritize`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Prioritize {
    /// What to look at.
    pub algorithm: Algorithm,
    /// At most so many tasks in the answer; 10,000 when absent, and at most. All of them are scored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// A task with its score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ScoredTask {
    /// The task.
    pub task_id: TaskId,
    /// Its title.
    pub title: String,
    /// 1 to 5, 5 first.
    pub priority: Priority,
    /// Estimated minutes of work.
    pub effort_estimate: Option<i32>,
    /// How many tasks that it needs (hard) are not completed; it starts when there are none.
    pub waits_for: i32,
    /// From 0 to 100, with two decimal places.
    pub score: f64,
    /// When it was calculated.
    pub calculated_at: DateTime<Utc>,
}
