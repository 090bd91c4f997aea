//! Schedules: a task that is submitted again and again, by a cron expression in a
//! time zone.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::id::{ScheduleId, TaskId};
use crate::limit;
use crate::task::{FieldError, NewTask, text_enum, wrong};

text_enum! {
    /// What happens when an occurrence comes while the task of an earlier one has not ended.
    Overlap, "overlap policy" {
        /// Nothing is submitted.
        Skip = "skip",
        /// The task is submitted, and waits for the earlier ones to end.
        Queue = "queue",
        /// The earlier ones are called off.
        CancelPrevious = "cancel_previous",
    }
}

text_enum! {
    /// What happens with occurrences that nobody could serve, since the control plane was away.
    CatchUp, "catch-up policy" {
        /// One task is submitted, for the last of them.
        One = "one",
        /// None is.
        None = "none",
    }
}

/// A new schedule, as sent to `POST /v1/schedules`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewSchedule {
    /// One line, 1 to 500 characters.
    pub name: String,
    /// Five fields: minute, hour, day of the month, month, day of the week.
    pub cron: String,
    /// The time zone in which it is read, by its IANA name such as `Europe/Berlin`; UTC when absent.
    #[serde(default = "utc")]
    pub time_zone: String,
    /// The task that is submitted.
    pub task: NewTask,
    /// `skip` when absent.
    #[serde(default = "skip")]
    pub overlap: Overlap,
    /// `one` when absent.
    #[serde(default = "one")]
    pub catch_up: CatchUp,
    /// Whether it rests.
    #[serde(default)]
    pub paused: bool,
}

fn utc() -> String {
    "UTC".into()
}

fn skip() -> Overlap {
    Overlap::Skip
}

fn one() -> CatchUp {
    CatchUp::One
}

impl NewSchedule {
    /// Refuses a schedule that breaks a bound, naming the field. The cron expression and the time zone are read
    /// by the server.
    pub fn validate(&self) -> Result<(), FieldError> {
        check_schedule(Some(&self.name), Some(&self.cron), Some(&self.task))
    }
}

fn check_schedule(name: Option<&str>, cron: Option<&str>, task: Option<&NewTask>) -> Result<(), FieldError> {
    let is_wrong = |name: &str| {
        name.trim().is_empty() || name.chars().count() > limit::TITLE_CHARS || name.chars().any(char::is_control)
    };
    if name.is_some_and(is_wrong) {
        return Err(wrong("name", format!("must have 1 to {} characters on one line", limit::TITLE_CHARS)));
    }
    if cron.is_some_and(|cron| cron.len() > limit::CRON_CHARS) {
        return Err(wrong("cron", format!("must have at most {} characters", limit::CRON_CHARS)));
    }
    let Some(task) = task else { return Ok(()) };
    if task.not_before.is_some() || task.deadline.is_some() {
        return Err(wrong("task", "must have no `not_before` and no `deadline`: its times are the schedule's"));
    }
    task.validate().map_err(|error| wrong("task", error.to_string()))
}

/// Changes to a schedule, as sent to `PATCH /v1/schedules/{id}`; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ScheduleChange {
    /// One line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Another cron expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// Another time zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Another task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<NewTask>,
    /// What happens when an occurrence comes while an earlier task has not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Overlap>,
    /// What happens with occurrences that were missed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catch_up: Option<CatchUp>,
    /// Whether it rests. What would have been submitted meanwhile is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
}

impl ScheduleChange {
    /// Refuses a change that breaks a bound, naming the field.
    pub fn validate(&self) -> Result<(), FieldError> {
        check_schedule(self.name.as_deref(), self.cron.as_deref(), self.task.as_ref())
    }
}

/// A schedule, as every answer shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ScheduleView {
    /// Its id.
    pub id: ScheduleId,
    /// One line.
    pub name: String,
    /// Minute, hour, day of the month, month, day of the week.
    pub cron: String,
    /// The time zone in which it is read.
    pub time_zone: String,
    /// The task that is submitted.
    pub task: NewTask,
    /// What happens when an occurrence comes while an earlier task has not ended.
    pub overlap: Overlap,
    /// What happens with occurrences that were missed.
    pub catch_up: CatchUp,
    /// Whether it rests.
    pub paused: bool,
    /// When the next task is submitted; nothing while it rests, or when none ever will be.
    pub next_at: Option<DateTime<Utc>>,
    /// The newest occurrence that was served.
    pub last_at: Option<DateTime<Utc>>,
    /// The task that was submitted for it.
    pub last_task_id: Option<TaskId>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_has_usual_policies_and_a_task_without_times() {
        let read = |more: &str| {
            let text = format!(r#"{{"name":"n","cron":"0 3 * * *","task":{{"title":"t"{more}}}}}"#);
            serde_json::from_str::<NewSchedule>(&text).expect("reads")
        };
        let plain = read("");
        assert_eq!((plain.overlap, plain.catch_up, plain.time_zone.as_str()), (Overlap::Skip, CatchUp::One, "UTC"));
        assert_eq!(plain.validate(), Ok(()));
        let timed = read(r#","deadline":"2027-01-01T00:00:00Z""#);
        assert_eq!(timed.validate().map_err(|error| error.field), Err("task"));
    }
}
