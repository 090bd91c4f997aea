//! Claims: work for whoever is not a machine of the pool, such as an agent, a
//! person, or another program. Who claims a task holds an execution of it under
//! a lease, and speaks of it by its id: claim → start → heartbeat while working →
//! complete, or release.
//!
//! A lease that runs out makes its task ready again and spends no attempt; from
//! then on words about that execution are refused with 409 and code `lease_lost`:
//! the next attempt is another execution. Who sends the lease's fence along has it
//! checked as well. Every call but the claim itself may be repeated after a lost
//! answer; what a lost answer to a claim took comes back when its lease has run
//! out.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::id::{ExecutionId, WorkerId};
use crate::limit;
use crate::metadata::check_agent_type;
use crate::problem::Problem;
use crate::task::{FieldError, TaskStatus, TaskView};

/// What to claim, as sent to `POST /v1/tasks/claim`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewClaim {
    /// The name of the worker that claims, of its own choice; it is registered when it is new. Either this or
    /// `worker_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// A worker that was registered by hand; it is given no more than its capacity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_id: Option<WorkerId>,
    /// What kind of agent works on it, kept with the execution; `agent` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_type: Option<String>,
    /// At most so many tasks, 1 to 100; 1 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// How long the lease lasts without a heartbeat, 5 to 86,400 seconds; 300 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_seconds: Option<u64>,
    /// Only tasks that carry all of these tags; up to 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Also tasks with a spec, which the pool would run otherwise; whoever claims one runs it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub include_spec: bool,
    /// Begin at once: no `start` follows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub start: bool,
    /// How long to wait where nothing is ready, up to 30 seconds; not at all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_seconds: Option<u64>,
}

impl NewClaim {
    /// Refuses what cannot be meant, before any work.
    pub fn validate(&self) -> Result<(), FieldError> {
        match (&self.worker, self.worker_id) {
            (None, None) => return Err(wrong("worker", "is missing: give the worker a name, or its `worker_id`")),
            (Some(_), Some(_)) => return Err(wrong("worker", "is one name too many beside `worker_id`")),
            (Some(name), None) => check_name("worker", name)?,
            (None, Some(_)) => (),
        }
        self.agent_type.as_deref().map_or(Ok(()), check_agent_type)?;
        if !(1..=limit::CLAIM_TASKS).contains(&self.limit()) {
            return Err(wrong("limit", format!("must be from 1 to {}", limit::CLAIM_TASKS)));
        }
        check_lease(self.lease_seconds)?;
        let is_tag =
            |tag: &String| !tag.trim().is_empty() && tag.chars().count() <= limit::TAG_CHARS && !tag.contains('\0');
        if self.tags.len() > limit::CLAIM_TAGS || !self.tags.iter().all(is_tag) {
            let (tags, chars) = (limit::CLAIM_TAGS, limit::TAG_CHARS);
            return Err(wrong("tags", format!("must be at most {tags} tags of 1 to {chars} characters")));
        }
        if self.wait_seconds.is_some_and(|seconds| seconds > limit::POLL_SECONDS_MAX) {
            return Err(wrong("wait_seconds", format!("must be at most {}", limit::POLL_SECONDS_MAX)));
        }
        Ok(())
    }

    /// At most so many tasks.
    pub fn limit(&self) -> u32 {
        self.limit.unwrap_or(1)
    }

    /// How long the lease lasts without a heartbeat.
    pub fn lease_seconds(&self) -> u64 {
        self.lease_seconds.unwrap_or(limit::LEASE_SECONDS_DEFAULT)
    }
}

fn check_name(field: &'static str, name: &str) -> Result<(), FieldError> {
    if name.trim().is_empty() || name.chars().count() > limit::NAME_CHARS || name.contains('\0') {
        return Err(wrong(field, format!("must have 1 to {} characters", limit::NAME_CHARS)));
    }
    Ok(())
}

fn check_lease(seconds: Option<u64>) -> Result<(), FieldError> {
    let (least, most) = (limit::LEASE_SECONDS_MIN, limit::LEASE_SECONDS_MAX);
    if seconds.is_some_and(|seconds| !(least..=most).contains(&seconds)) {
        return Err(wrong("lease_seconds", format!("must be from {least} to {most}")));
    }
    Ok(())
}

fn wrong(field: &'static str, message: impl Into<String>) -> FieldError {
    FieldError { field, message: message.into() }
}

/// A claimed task: an entry of the answer to a claim.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Claim {
    /// The execution that is its claimer's now.
    pub execution_id: ExecutionId,
    /// The number of the attempt; a word about this execution with another is refused.
    pub fence: i64,
    /// Until when it is, without another heartbeat.
    pub lease_until: DateTime<Utc>,
    /// Who claimed it.
    pub worker_id: WorkerId,
    /// The task, with the execution.
    pub task: TaskView,
}

/// Sent to `POST /v1/executions/{id}/start`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StartClaim {
    /// The fence of the lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<i64>,
}

/// Sent to `POST /v1/executions/{id}/heartbeat`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RenewClaim {
    /// The fence of the lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<i64>,
    /// How long it is to last from now on, 5 to 86,400 seconds; 300 when absent. It never gets shorter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_seconds: Option<u64>,
}

impl RenewClaim {
    /// Refuses what cannot be meant, before any work.
    pub fn validate(&self) -> Result<(), FieldError> {
        check_lease(self.lease_seconds)
    }
}

/// Sent to `POST /v1/executions/{id}/release`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReleaseClaim {
    /// The fence of the lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<i64>,
    /// Why, for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How a lease stands: the answer to `start` and `heartbeat`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LeaseView {
    /// The execution.
    pub execution_id: ExecutionId,
    /// Until when it is its claimer's, without another heartbeat.
    pub lease_until: DateTime<Utc>,
    /// Whether somebody has called the task off: its claimer should stop and complete or release it.
    pub is_called_off: bool,
}

/// The ends of several executions, as sent to `POST /v1/executions/complete`; each counts by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Completions {
    /// 1 to 100.
    pub completions: Vec<ClaimCompletion>,
}

/// The end of one of several executions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ClaimCompletion {
    /// The execution.
    pub execution_id: ExecutionId,
    /// The fence of its lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<i64>,
    /// Whether it ended well.
    pub success: bool,
    /// What it cost, in dollars, as a decimal string such as `0.125`.
    #[serde(default, deserialize_with = "crate::money::read_optional", skip_serializing_if = "Option::is_none")]
    pub cost_dollars: Option<String>,
    /// Tokens of models that it used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<i64>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
}

/// What became of one of them: either the task's status or the refusal, in the order in which they were sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CompletionView {
    /// The execution.
    pub execution_id: ExecutionId,
    /// Where its task stands now, if the end was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_status: Option<TaskStatus>,
    /// Why it was not, else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_refused_by_the_field_that_is_wrong() {
        let good = NewClaim { worker: Some("w".into()), ..NewClaim::default() };
        assert_eq!(good.validate(), Ok(()));
        let long = "x".repeat(101);
        for (wrong, field) in [
            (NewClaim { worker: None, ..good.clone() }, "worker"),
            (NewClaim { worker: Some(" ".into()), ..good.clone() }, "worker"),
            (NewClaim { worker: Some("a\0".into()), ..good.clone() }, "worker"),
            (NewClaim { worker_id: Some(WorkerId::from(uuid::Uuid::nil())), ..good.clone() }, "worker"),
            (NewClaim { agent_type: Some(long.clone()), ..good.clone() }, "agent_type"),
            (NewClaim { limit: Some(0), ..good.clone() }, "limit"),
            (NewClaim { limit: Some(101), ..good.clone() }, "limit"),
            (NewClaim { lease_seconds: Some(4), ..good.clone() }, "lease_seconds"),
            (NewClaim { lease_seconds: Some(86_401), ..good.clone() }, "lease_seconds"),
            (NewClaim { tags: vec![long], ..good.clone() }, "tags"),
            (NewClaim { tags: vec!["t".into(); 11], ..good.clone() }, "tags"),
            (NewClaim { wait_seconds: Some(31), ..good.clone() }, "wait_seconds"),
        ] {
            assert_eq!(wrong.validate().map_err(|error| error.field), Err(field), "{wrong:?}");
        }
    }
}
