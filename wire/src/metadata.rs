//! What people and programs write beside a task: keys with values, and tags.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::id::{MetadataId, TaskId, WorkerId};
use crate::limit;
use crate::task::{FieldError, wrong};

/// The key under which tags are kept, as a JSON array (row CAIRN-35).
pub const TAGS_KEY: &str = "tags";
/// The key under which the worker is kept whom somebody gave the task (row CAIRN-34).
pub const ASSIGNED_WORKER_KEY: &str = "assigned_worker";

/// The key under which the type of agent is kept that a task needs (row CAIRN-51).
pub const AGENT_TYPE_KEY: &str = "agent_type";

/// Refuses a type of agent that nobody could claim with.
pub fn check_agent_type(text: &str) -> Result<(), FieldError> {
    if text.trim().is_empty() || text.chars().count() > limit::AGENT_TYPE_CHARS || text.contains('\0') {
        return Err(wrong("agent_type", format!("must have 1 to {} characters", limit::AGENT_TYPE_CHARS)));
    }
    Ok(())
}
/// The key under which it is kept why a failed task was left to a person (row CAIRN-57).
pub const ESCALATION_KEY: &str = "escalated";
/// The key under which the failure strategy is kept that a task follows (row CAIRN-57).
pub const STRATEGY_KEY: &str = "strategy_id";
/// The tag of a task that has failed (rows TEST-BIF-135 and TEST-BIF-136, decision C-1).
pub const BLOCKED_TAG: &str = "swarm:blocked";
/// The key under which a part of a split task keeps the task that was split (row CAIRN-55), and what mends a failed
/// one the task that failed.
pub const PARENT_TASK_KEY: &str = "parent_task_id";
/// The key under which it is counted how often somebody had a task retried (row CAIRN-29).
pub const RETRY_COUNT_KEY: &str = "retry_count";
/// The key under which the newest score is kept, a number from 0 to 100 (row CAIRN-49).
pub const SCORE_KEY: &str = "priority_score";
/// The key under which the time of that score is kept.
pub const SCORED_AT_KEY: &str = "priority_scored_at";

/// A key with its value, as sent to `POST /v1/tasks/{id}/metadata`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewMetadata {
    /// 1 to 200 characters.
    pub key: String,
    /// Up to 65,536 characters.
    pub value: String,
}

/// A key of a task with its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MetadataView {
    /// Its id; a new value does not change it.
    pub id: MetadataId,
    /// The task.
    pub task_id: TaskId,
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
    /// When the key was first set.
    pub created_at: DateTime<Utc>,
}

/// The answer of `GET /v1/tasks/{id}/metadata`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum MetadataAnswer {
    /// The value of the key that was asked for.
    One(String),
    /// Every key with its value.
    All(BTreeMap<String, String>),
}

/// A key in use and on how many tasks: an entry of `GET /v1/schema/custom-fields`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CustomField {
    /// The key.
    pub name: String,
    /// How many tasks have it.
    pub usage_count: i64,
}

/// All tags of a task, as sent to `POST /v1/tasks/{id}/tags`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Tags {
    /// Up to 100, of 1 to 100 characters each; they replace those that were there.
    pub tags: Vec<String>,
}

/// Who is to do a task, as sent to `POST /v1/tasks/{id}/assign`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Assignment {
    /// A registered worker that no machine of the pool carries.
    pub worker_id: WorkerId,
}

/// How much work a task is, as sent to `POST /v1/tasks/{id}/estimate`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Estimate {
    /// Minutes of work, zero or more.
    pub effort_minutes: i32,
}
