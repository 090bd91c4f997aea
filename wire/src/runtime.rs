//! Runtimes: agents' terminals on people's computers, each looked after by a supervisor; and triggers, words for an
//! agent that its supervisor types there when nobody else is typing (rows ORK-6.1 to ORK-6.5).
//!
//! A supervisor registers its runtime, heartbeats, asks for the next trigger, writes it, and reports that. A trigger
//! counts as delivered once the agent has read it: when the runtime's read cursor has reached its number.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::id::{RuntimeId, TaskId, TriggerId};
use crate::limit;
use crate::task::{FieldError, text_enum, wrong};

text_enum! {
    /// What an agent's terminal is.
    Backend, "backend" {
        /// A pane of tmux.
        Tmux = "tmux",
        /// A terminal that its supervisor holds itself.
        Pty = "pty",
    }
}

text_enum! {
    /// Whose the process is.
    Management, "management" {
        /// A supervisor started it, and may write to its terminal.
        Managed = "managed",
        /// A person started it: it is known, and nobody writes to it.
        Unmanaged = "unmanaged",
    }
}

text_enum! {
    /// How a runtime does.
    RuntimeState, "runtime state" {
        /// Its supervisor was heard of lately.
        Live = "live",
        /// Its supervisor is silent.
        Stale = "stale",
        /// It has ended.
        Gone = "gone",
    }
}

text_enum! {
    /// How a trigger is delivered.
    Via, "way" {
        /// Typed into the terminal.
        Terminal = "terminal",
        /// Given to the agent's session when that is taken up again, such as by `codex exec resume`.
        Resume = "resume",
    }
}

text_enum! {
    /// Where a trigger stands.
    TriggerState, "trigger state" {
        /// Waits to be written.
        Pending = "pending",
        /// Written; the agent has not been seen to read it.
        Written = "written",
        /// The agent has read it.
        Delivered = "delivered",
        /// Nobody tries any more.
        Failed = "failed",
    }
}

text_enum! {
    /// Why a trigger went from one state to the next (row ORK-6.3d).
    TriggerReason, "reason code" {
        /// Somebody asked for it.
        Queued = "queued",
        /// Somebody asked for it, whoever types.
        Forced = "forced",
        /// A person types there.
        HumanTyping = "human_typing",
        /// It was written.
        Written = "written",
        /// The agent did not read it in time, so it is written again.
        AckTimeout = "ack_timeout",
        /// It was given to the agent's session, taken up again.
        Resumed = "resumed",
        /// The agent has read it.
        Acknowledged = "acknowledged",
        /// The agent did not read it, however often it was written.
        Unacknowledged = "unacknowledged",
        /// It could not be written.
        WriteFailed = "write_failed",
        /// The runtime has ended.
        RuntimeGone = "runtime_gone",
        /// It waited for too long.
        Expired = "expired",
    }
}

/// A runtime, as its supervisor registers it by `POST /v1/runtimes`. The same session again is the same runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewRuntime {
    /// What the agent calls its session, of 1 to 200 characters; it outlives the process.
    pub session_id: String,
    /// Which agent, such as `codex`.
    pub agent: String,
    /// The computer's name.
    pub host: String,
    /// The agent's process there.
    pub pid: i64,
    /// What its terminal is.
    pub backend: Backend,
    /// Where the terminal is, such as `fleet-7:0.0`.
    pub target: String,
    /// Whose the process is.
    pub management: Management,
    /// Whether the session can be taken up again once the process has ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub can_resume: bool,
    /// The task that it works on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
}

/// A runtime, as every answer shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RuntimeView {
    /// Its id.
    pub id: RuntimeId,
    /// What its supervisor says of it.
    #[serde(flatten)]
    pub registered: NewRuntime,
    /// How it does.
    pub state: RuntimeState,
    /// Why nothing is written to it at the moment, where somebody has paused that.
    pub paused: Option<String>,
    /// The newest trigger that its agent has read.
    pub read_cursor: i64,
    /// Triggers that are not delivered yet.
    pub waiting: i64,
    /// When it was registered first.
    pub registered_at: DateTime<Utc>,
    /// When its supervisor was heard of last.
    pub last_heartbeat_at: DateTime<Utc>,
    /// When it counts as stale, if nothing is heard of it.
    pub expires_at: DateTime<Utc>,
}

/// Sent to `POST /v1/runtimes/{id}/heartbeat`, every 30 seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RuntimeHeartbeat {
    /// The newest trigger that the agent has read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_cursor: Option<i64>,
    /// The agent's process, where it is another one by now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i64>,
}

/// Why nothing is to be written to a runtime: `POST /v1/runtimes/{id}/pause`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Pause {
    /// Of 1 to 500 characters.
    pub reason: String,
}

/// Words for an agent, as sent to `POST /v1/runtimes/{id}/triggers`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewTrigger {
    /// 1 to 16,384 characters; of control characters only line breaks and tabs.
    pub text: String,
    /// While a trigger of the same key waits or was delivered in the last ten minutes, the same one is answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedupe_key: Option<String>,
}

/// Words for an agent that are written whoever types there, as sent to `POST /v1/runtimes/{id}/force`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ForcedTrigger {
    /// See [`NewTrigger::text`].
    pub text: String,
    /// Why it cannot wait, of 1 to 500 characters; it is in the audit.
    pub reason: String,
}

/// A trigger, as every answer shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TriggerView {
    /// Its id.
    pub id: TriggerId,
    /// The runtime that it is for.
    pub runtime_id: RuntimeId,
    /// Its place among the runtime's, from 1; they are written in this order.
    pub number: i64,
    /// The words.
    pub text: String,
    /// See [`NewTrigger::dedupe_key`].
    pub dedupe_key: Option<String>,
    /// Whether it is written whoever types.
    pub forced: bool,
    /// Where it stands.
    pub state: TriggerState,
    /// Why it stands there.
    pub reason: TriggerReason,
    /// How it was written last.
    pub via: Option<Via>,
    /// How often it was written.
    pub attempts: i32,
    /// It is not written before.
    pub not_before: Option<DateTime<Utc>>,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When it was written last.
    pub written_at: Option<DateTime<Utc>>,
    /// When it was delivered, or had failed.
    pub ended_at: Option<DateTime<Utc>>,
}

/// Sent to `POST /v1/runtimes/{id}/next`; held until there is something to write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NextTrigger {
    /// The longest to hold the request, in seconds, at most 30.
    #[serde(default)]
    pub wait_seconds: u64,
}

/// What a supervisor is to write, if anything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ToWrite {
    /// Nothing where there is nothing to write.
    pub trigger: Option<Order>,
}

/// One trigger to write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Order {
    /// Its number, for the report.
    pub number: i64,
    /// How many times it will have been written then, for the report.
    pub attempt: i32,
    /// The words.
    pub text: String,
    /// How.
    pub via: Via,
    /// Whoever types.
    pub forced: bool,
    /// When it was asked for: nobody defers it for longer than is agreed.
    pub created_at: DateTime<Utc>,
}

/// What became of an order: `POST /v1/runtimes/{id}/report`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TriggerReport {
    /// Which one.
    pub number: i64,
    /// The order's `attempt`: the same word said twice then counts once. A `failed` without one says that whatever was
    /// written up to this number, and not read, is lost with its terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<i32>,
    /// How it went.
    pub result: WriteResult,
    /// The way that was taken.
    pub via: Via,
    /// When to try again, where it was deferred; within ten minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
}

text_enum! {
    /// How the writing of a trigger went.
    WriteResult, "result" {
        /// It is written.
        Written = "written",
        /// A person types there: later.
        Deferred = "deferred",
        /// The terminal, or the agent, does not take it.
        Failed = "failed",
    }
}

impl NewRuntime {
    /// Refuses what breaks a bound, naming the field.
    pub fn validate(&self) -> Result<(), FieldError> {
        for (field, text) in
            [("session_id", &self.session_id), ("agent", &self.agent), ("host", &self.host), ("target", &self.target)]
        {
            let is_name = !text.trim().is_empty() && !text.chars().any(char::is_control);
            if !is_name || text.chars().count() > limit::RUNTIME_NAME_CHARS {
                return Err(wrong(field, format!("must be one line of 1 to {} characters", limit::RUNTIME_NAME_CHARS)));
            }
        }
        check_pid(self.pid)
    }
}

impl RuntimeHeartbeat {
    /// Refuses what breaks a bound, naming the field.
    pub fn validate(&self) -> Result<(), FieldError> {
        self.pid.map_or(Ok(()), check_pid)?;
        if self.read_cursor.is_some_and(|cursor| cursor < 0) {
            return Err(wrong("read_cursor", "must be zero or more"));
        }
        Ok(())
    }
}

impl NewTrigger {
    /// Refuses what breaks a bound, naming the field.
    pub fn validate(&self) -> Result<(), FieldError> {
        check_text(&self.text)?;
        let is_wrong = |key: &str| {
            key.trim().is_empty()
                || key.chars().count() > limit::RUNTIME_NAME_CHARS
                || key.chars().any(char::is_control)
        };
        if self.dedupe_key.as_deref().is_some_and(is_wrong) {
            let message = format!("must be one line of 1 to {} characters", limit::RUNTIME_NAME_CHARS);
            return Err(wrong("dedupe_key", message));
        }
        Ok(())
    }
}

impl ForcedTrigger {
    /// Refuses what breaks a bound, naming the field.
    pub fn validate(&self) -> Result<(), FieldError> {
        check_text(&self.text)?;
        check_reason(&self.reason)
    }
}

impl Pause {
    /// Refuses what breaks a bound, naming the field.
    pub fn validate(&self) -> Result<(), FieldError> {
        check_reason(&self.reason)
    }
}

fn check_pid(pid: i64) -> Result<(), FieldError> {
    if pid > 0 { Ok(()) } else { Err(wrong("pid", "must be the number of a process")) }
}

/// Words are typed into a terminal: what commands one there is no word.
fn check_text(text: &str) -> Result<(), FieldError> {
    if text.trim().is_empty() || text.chars().count() > limit::TRIGGER_CHARS {
        return Err(wrong("text", format!("must have 1 to {} characters", limit::TRIGGER_CHARS)));
    }
    if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        return Err(wrong("text", "may hold line breaks and tabs, and no other control characters"));
    }
    Ok(())
}

fn check_reason(reason: &str) -> Result<(), FieldError> {
    let is_reason = !reason.trim().is_empty() && !reason.contains('\0');
    if !is_reason || reason.chars().count() > limit::REASON_CHARS {
        return Err(wrong("reason", format!("must have 1 to {} characters", limit::REASON_CHARS)));
    }
    Ok(())
}
