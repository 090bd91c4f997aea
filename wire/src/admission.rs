//! What keeps work from starting although nothing it needs is missing: holds,
//! limits of keys, and the weights of projects.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::agent::AgentSpec;
use crate::id::{HoldId, TaskId};
use crate::limit;
use crate::task::{FieldError, wrong};

/// Keys that tasks of one schedule share whose overlaps queue.
pub const SCHEDULE_KEYS: &str = "schedule:";
/// Keys that tasks share which go on with one session of an agent.
pub const SESSION_KEYS: &str = "agent-session:";

/// Whether a key is Bifrost's own: of the tasks with one, one is in hand at a time.
pub fn is_own_key(key: &str) -> bool {
    [SCHEDULE_KEYS, SESSION_KEYS].iter().any(|beginning| key.starts_with(beginning))
}

/// The key of the tasks that go on with the same session as this agent; none for one that begins a session.
pub fn session_key(agent: &AgentSpec) -> Option<String> {
    agent.session.as_ref().map(|session| format!("{SESSION_KEYS}{}:{session}", agent.name))
}

/// Refuses what is no name of a key: 1 to 100 visible characters, and none that Bifrost keeps for itself.
pub fn check_key(field: &'static str, key: &str) -> Result<(), FieldError> {
    check_name(field, key)?;
    if is_own_key(key) {
        let message = format!(
            "must not begin with {SCHEDULE_KEYS:?} or {SESSION_KEYS:?}, which name keys of schedules and of agents' sessions"
        );
        return Err(wrong(field, message));
    }
    Ok(())
}

/// Refuses what is no name of a key, a project or an owner.
pub fn check_name(field: &'static str, name: &str) -> Result<(), FieldError> {
    let is_wrong = |c: char| c.is_control() || c.is_whitespace();
    if name.is_empty() || name.chars().count() > limit::NAME_CHARS || name.contains(is_wrong) {
        let message = format!("must have 1 to {} characters and no blank, such as db-migrations", limit::NAME_CHARS);
        return Err(wrong(field, message));
    }
    Ok(())
}

/// How often work with a key may start: a bucket of tokens, of which each start takes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RateLimit {
    /// So many tokens are added …
    pub tokens: i64,
    /// … in so many seconds, evenly.
    pub per_seconds: i64,
    /// The most that the bucket holds; it begins full. As many as `tokens` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<i64>,
}

impl RateLimit {
    /// The most that the bucket holds.
    pub fn burst(&self) -> i64 {
        self.burst.unwrap_or(self.tokens)
    }
}

/// What a key allows, as sent to `PUT /v1/limits/{key}`: at least one of the two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewLimit {
    /// The most tasks with the key that may be in hand at once; 0 lets none start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_running: Option<i32>,
    /// How often one may start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<RateLimit>,
}

impl NewLimit {
    /// Refuses a limit that breaks a bound, naming the field.
    pub fn validate(&self) -> Result<(), FieldError> {
        if self.max_running.is_none() && self.rate.is_none() {
            return Err(wrong("max_running", "is missing, and so is `rate`; give one of them, or DELETE the limit"));
        }
        if self.max_running.is_some_and(|most| !(0..=limit::RUNNING_MAX).contains(&most)) {
            return Err(wrong("max_running", format!("must be from 0 to {}", limit::RUNNING_MAX)));
        }
        let Some(rate) = self.rate else { return Ok(()) };
        for (field, number, most) in [
            ("rate.tokens", rate.tokens, limit::RATE_TOKENS_MAX),
            ("rate.per_seconds", rate.per_seconds, limit::RATE_SECONDS_MAX),
            ("rate.burst", rate.burst(), limit::RATE_TOKENS_MAX),
        ] {
            if !(1..=most).contains(&number) {
                return Err(wrong(field, format!("must be from 1 to {most}")));
            }
        }
        Ok(())
    }
}

/// What a key allows, and how it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LimitView {
    /// The key.
    pub key: String,
    /// The most tasks with the key that may be in hand at once.
    pub max_running: Option<i32>,
    /// How many are.
    pub running: i64,
    /// How often one may start.
    pub rate: Option<RateLimit>,
    /// Whole tokens that are left now.
    pub tokens_left: Option<i64>,
    /// When the next token is there, if none is now.
    pub next_token_at: Option<DateTime<Utc>>,
    /// When it was set.
    pub updated_at: DateTime<Utc>,
}

/// A visible reason why something must not proceed, as sent to `POST /v1/holds`. Exactly one of `task_id`,
/// `project`, `key` and `everything` says what is held.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewHold {
    /// One task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
    /// Every task of a project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Every task with a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Every task.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub everything: bool,
    /// Why, 1 to 500 characters.
    pub reason: String,
    /// Who answers for it; the API key's id when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// When it ends by itself; only when it is removed, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
}

impl NewHold {
    /// Refuses a hold that breaks a bound, naming the field.
    pub fn validate(&self) -> Result<(), FieldError> {
        let named = [self.task_id.is_some(), self.project.is_some(), self.key.is_some(), self.everything];
        if named.iter().filter(|is_named| **is_named).count() != 1 {
            let message = "say what is held: exactly one of `task_id`, `project`, `key` and `everything`: true";
            return Err(wrong("task_id", message));
        }
        self.project.as_deref().map_or(Ok(()), |name| check_name("project", name))?;
        self.key.as_deref().map_or(Ok(()), |name| check_key("key", name))?;
        self.owner.as_deref().map_or(Ok(()), |name| check_name("owner", name))?;
        let has_nul = self.reason.contains('\0');
        if self.reason.trim().is_empty() || self.reason.chars().count() > limit::REASON_CHARS || has_nul {
            return Err(wrong("reason", format!("must have 1 to {} characters", limit::REASON_CHARS)));
        }
        Ok(())
    }
}

/// A hold, as every answer shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HoldView {
    /// Its id.
    pub id: HoldId,
    /// The task that is held, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
    /// The project whose tasks are held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The key whose tasks are held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Whether every task is held.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub everything: bool,
    /// Why.
    pub reason: String,
    /// Who answers for it.
    pub owner: String,
    /// When it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was set.
    pub created_at: DateTime<Utc>,
}

/// The weight of a project, as sent to `PUT /v1/projects/{project}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProjectWeight {
    /// Its share of the workers while several projects have work of the same priority, 1 to 1,000. A project
    /// that nobody has weighed has 1.
    pub weight: i32,
}

/// A project: a grouping of tasks in the tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProjectView {
    /// Its name; empty for the tasks that are in none.
    pub name: String,
    /// Its share.
    pub weight: i32,
    /// How many of its tasks are in somebody's hands.
    pub in_hand: i64,
    /// Whether any of its tasks could start but for a worker, a hold, a limit or a budget.
    pub has_waiting: bool,
    /// The tokens that its tasks' agents have said to have used.
    #[serde(default)]
    pub tokens: i64,
    /// What its tasks have cost, in millionths of a dollar.
    #[serde(default)]
    pub cost_micros: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_says_exactly_what_it_holds() {
        let hold = |text: &str| {
            let text = format!("{{\"reason\":\"r\"{text}}}");
            serde_json::from_str::<NewHold>(&text).expect("reads").validate().map_err(|error| error.field)
        };
        assert_eq!(hold(r#","everything":true"#), Ok(()));
        assert_eq!(hold(r#","project":"web""#), Ok(()));
        assert_eq!(hold(""), Err("task_id"));
        assert_eq!(hold(r#","project":"web","everything":true"#), Err("task_id"));
        assert_eq!(hold(r#","key":"a b""#), Err("key"));
        assert_eq!(hold(r#","key":"schedule:x""#), Err("key"));
        assert_eq!(hold(r#","key":"k","owner":"""#), Err("owner"));
    }

    #[test]
    fn a_limit_limits_something_within_bounds() {
        let rate = |tokens, per_seconds, burst| NewLimit {
            rate: Some(RateLimit { tokens, per_seconds, burst }),
            ..NewLimit::default()
        };
        let field = |limit: NewLimit| limit.validate().map_err(|error| error.field);
        assert_eq!(field(rate(10, 60, None)), Ok(()));
        assert_eq!(field(NewLimit { max_running: Some(0), rate: None }), Ok(()));
        assert_eq!(field(NewLimit::default()), Err("max_running"));
        assert_eq!(field(NewLimit { max_running: Some(-1), rate: None }), Err("max_running"));
        assert_eq!(field(rate(0, 60, None)), Err("rate.tokens"));
        assert_eq!(field(rate(1, 0, None)), Err("rate.per_seconds"));
        assert_eq!(field(rate(1, 1, Some(0))), Err("rate.burst"));
    }
}
