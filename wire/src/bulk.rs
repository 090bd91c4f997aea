//! Calling many tasks off, or having them retried, at once: each by itself, all
//! of it or nothing, with a result for each.

use serde::{Deserialize, Serialize};

use crate::id::TaskId;
use crate::problem::Problem;
use crate::task::{Priority, TaskStatus};

/// Which tasks, as sent to `POST /v1/tasks/cancel` and `POST /v1/tasks/retry`: either `ids` or a `filter`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Selection {
    /// 1 to 100 tasks by their ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<Vec<TaskId>>,
    /// Tasks by what they are like; the first 100 of those that can be called off or retried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<TaskSelector>,
    /// With a filter: all that match, up to 10,000 in one request.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
}

/// What tasks are like; what is absent does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TaskSelector {
    /// They stand so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<TaskStatus>,
    /// They have this priority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// They carry this tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

/// What became of each task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BulkAnswer {
    /// One for each task, in the order of the request or of a list.
    pub results: Vec<BulkResult>,
    /// How many tasks match the filter besides; ask again for them.
    pub remaining: i64,
}

/// What became of one task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BulkResult {
    /// The task.
    pub id: TaskId,
    /// Where it stands now, if it was done. One whose worker is still on it is `in_progress` until that has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<TaskStatus>,
    /// Why it was not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}
