//! Failure strategies (row CAIRN-57): what is done by itself when a task fails,
//! by how it failed. A task follows the one that its metadata names.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::id::FailureStrategyId;
use crate::limit;
use crate::split::{NewSubtask, Split};
use crate::task::{FieldError, text_enum};

text_enum! {
    /// How a task failed.
    FailureClass, "failure class" {
        /// In any way that no rule before this one names.
        Any = "any",
        /// Its command, or whoever worked on it by hand, said so.
        Failed = "failed",
        /// Its workspace could not be made ready.
        SetupFailed = "setup_failed",
        /// It ran longer than its timeout.
        TimedOut = "timed_out",
        /// It was silent for longer than its idle timeout.
        IdleTimedOut = "idle_timed_out",
        /// It neither said nor committed anything for longer than its stall timeout.
        Stalled = "stalled",
        /// It lost its worker as often as is bearable.
        WorkerLost = "worker_lost",
    }
}

/// What is done about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Recovery {
    /// It is ready again, for an agent of the same type.
    Retry {},
    /// It is ready again, for an agent of another type.
    Reassign {
        /// That type, 1 to 100 characters.
        agent_type: String,
    },
    /// It is replaced by smaller tasks. In their titles and descriptions, and in what agents of the pool are asked,
    /// `{title}` stands for the failed task's title, and `{failure}` for what its last attempt said: of that, a title
    /// gets the first line.
    Split {
        /// 1 to 100 of them.
        subtasks: Vec<NewSubtask>,
    },
    /// It is ready again, for an agent of the same type, once these are completed. They are filled in as those of
    /// `split` are.
    Mend {
        /// 1 to 100 of them.
        subtasks: Vec<NewSubtask>,
    },
    /// It is left to a person, who is told.
    Escalate {},
}

impl Recovery {
    /// Its name.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Retry {} => "retry",
            Self::Reassign { .. } => "reassign",
            Self::Split { .. } => "split",
            Self::Mend { .. } => "mend",
            Self::Escalate {} => "escalate",
        }
    }
}

/// What is done about one way to fail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FailureRule {
    /// The way.
    pub on: FailureClass,
    /// What is done.
    pub action: Recovery,
}

/// A strategy, as sent to `POST /v1/failure-strategies`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewFailureStrategy {
    /// One line, 1 to 100 characters.
    pub name: String,
    /// 1 to 20 of them; the first that fits is followed.
    pub rules: Vec<FailureRule>,
    /// With so many attempts that count, a task is no longer retried, reassigned or mended but left to a person; 1 to
    /// 100, 3 when absent. What the infrastructure broke does not count.
    #[serde(default = "three")]
    pub max_attempts: i32,
}

fn three() -> i32 {
    3
}

/// Changes to a strategy, as sent to `PATCH /v1/failure-strategies/{id}`; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FailureStrategyChange {
    /// See [`NewFailureStrategy::name`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// See [`NewFailureStrategy::rules`]; they replace those that were there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<Vec<FailureRule>>,
    /// See [`NewFailureStrategy::max_attempts`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<i32>,
}

/// A strategy, as every answer shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FailureStrategyView {
    /// Its id, which tasks keep under the key `strategy_id` of their metadata.
    pub id: FailureStrategyId,
    /// One line.
    pub name: String,
    /// The first that fits is followed.
    pub rules: Vec<FailureRule>,
    /// Attempts that count after which a task is left to a person.
    pub max_attempts: i32,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

impl NewFailureStrategy {
    /// Refuses a strategy that breaks a bound, naming the field.
    pub fn validate(&self) -> Result<(), FieldError> {
        let wrong = |field, message: String| Err(FieldError { field, message });
        let is_line =
            |text: &str, most| !text.trim().is_empty() && text.chars().count() <= most && !text.contains('\0');
        if !is_line(&self.name, limit::STRATEGY_NAME_CHARS) {
            return wrong("name", format!("must have 1 to {} characters", limit::STRATEGY_NAME_CHARS));
        }
        if self.rules.is_empty() || self.rules.len() > limit::STRATEGY_RULES {
            return wrong("rules", format!("must be 1 to {} rules", limit::STRATEGY_RULES));
        }
        if !(1..=limit::STRATEGY_ATTEMPTS).contains(&self.max_attempts) {
            return wrong("max_attempts", format!("must be from 1 to {}", limit::STRATEGY_ATTEMPTS));
        }
        self.rules.iter().try_for_each(|rule| match &rule.action {
            Recovery::Reassign { agent_type } if !is_line(agent_type, limit::AGENT_TYPE_CHARS) => {
                wrong("rules.action.agent_type", format!("must have 1 to {} characters", limit::AGENT_TYPE_CHARS))
            }
            Recovery::Split { subtasks } | Recovery::Mend { subtasks } => {
                Split { subtasks: subtasks.clone(), execution_id: None }
                    .validate()
                    .map_err(|error| FieldError { field: "rules.action.subtasks", ..error })
            }
            Recovery::Retry {} | Recovery::Reassign { .. } | Recovery::Escalate {} => Ok(()),
        })
    }
}
