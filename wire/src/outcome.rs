//! Outcomes: what is true of a task besides its status. What needs the task may
//! wait for one of them instead of its completion.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::id::TaskId;
use crate::limit;

/// Before the name of an artefact.
const ARTEFACT: &str = "artefact:";

/// What may be true of a task.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum OutcomeName {
    /// `merged`: its change is in the branch it was meant for.
    Merged,
    /// `ci_green`: continuous integration passed for its change.
    CiGreen,
    /// `approved`: its change was approved.
    Approved,
    /// `artefact:NAME`: it made something that is there.
    Artefact(String),
}

impl fmt::Display for OutcomeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Merged => f.write_str("merged"),
            Self::CiGreen => f.write_str("ci_green"),
            Self::Approved => f.write_str("approved"),
            Self::Artefact(name) => write!(f, "{ARTEFACT}{name}"),
        }
    }
}

impl FromStr for OutcomeName {
    type Err = NotAnOutcome;

    fn from_str(text: &str) -> Result<Self, NotAnOutcome> {
        match text {
            "merged" => Ok(Self::Merged),
            "ci_green" => Ok(Self::CiGreen),
            "approved" => Ok(Self::Approved),
            _ => text.strip_prefix(ARTEFACT).and_then(artefact).ok_or(NotAnOutcome),
        }
    }
}

fn artefact(name: &str) -> Option<OutcomeName> {
    let is_name =
        !name.trim().is_empty() && name.chars().count() <= limit::ARTEFACT_CHARS && !name.chars().any(char::is_control);
    is_name.then(|| OutcomeName::Artefact(name.to_owned()))
}

impl TryFrom<String> for OutcomeName {
    type Error = NotAnOutcome;

    fn try_from(text: String) -> Result<Self, NotAnOutcome> {
        text.parse()
    }
}

impl From<OutcomeName> for String {
    fn from(name: OutcomeName) -> Self {
        name.to_string()
    }
}

/// The text is not the name of an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown outcome: expected merged, ci_green, approved, or artefact:NAME of up to {} characters",
    limit::ARTEFACT_CHARS
)]
pub struct NotAnOutcome;

/// What must be true of a task before what needs it may start.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Condition {
    /// `completed`: its status says so.
    #[default]
    Completed,
    /// An outcome by its name.
    Outcome(OutcomeName),
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Completed => f.write_str("completed"),
            Self::Outcome(name) => name.fmt(f),
        }
    }
}

impl FromStr for Condition {
    type Err = NotACondition;

    fn from_str(text: &str) -> Result<Self, NotACondition> {
        match text {
            "completed" => Ok(Self::Completed),
            other => other.parse().map(Self::Outcome).map_err(|_| NotACondition),
        }
    }
}

impl TryFrom<String> for Condition {
    type Error = NotACondition;

    fn try_from(text: String) -> Result<Self, NotACondition> {
        text.parse()
    }
}

impl From<Condition> for String {
    fn from(condition: Condition) -> Self {
        condition.to_string()
    }
}

/// The text is no condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown condition: expected completed, merged, ci_green, approved, or artefact:NAME of up to {} characters",
    limit::ARTEFACT_CHARS
)]
pub struct NotACondition;

/// What is known of an outcome, as sent to `PUT /v1/tasks/{id}/outcomes/{name}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewOutcome {
    /// Where it can be seen, such as a commit or an address; up to 2,048 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Something that is true of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OutcomeView {
    /// The task.
    pub task_id: TaskId,
    /// `merged`, `ci_green`, `approved` or `artefact:NAME`.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub name: OutcomeName,
    /// Where it can be seen.
    pub detail: Option<String>,
    /// Since when it has been true.
    pub created_at: DateTime<Utc>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_others_are_refused() {
        for text in ["merged", "ci_green", "approved", "artefact:dist/a b.tgz", "artefact:artefact:x"] {
            assert_eq!(text.parse::<OutcomeName>().map(|name| name.to_string()), Ok(text.to_owned()));
            assert_eq!(text.parse::<Condition>().map(|condition| condition.to_string()), Ok(text.to_owned()));
        }
        assert_eq!("completed".parse(), Ok(Condition::Completed));
        let long = format!("artefact:{}", "x".repeat(201));
        for text in ["", "Merged", "artefact:", "artefact: ", "artefact:a\0b", "green", &long] {
            assert_eq!(text.parse::<Condition>(), Err(NotACondition), "{text}");
        }
        assert_eq!("completed".parse::<OutcomeName>(), Err(NotAnOutcome));
    }
}
