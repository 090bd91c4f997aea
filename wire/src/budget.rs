//! Budgets: what a task may use in its whole life, and what the tasks of a
//! project may spend in a day, a week or a month.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::admission::check_name;
use crate::id::BudgetId;
use crate::limit::{BUDGET_MICROS_MAX, BUDGET_UNITS_MAX};
use crate::money;
use crate::task::{FieldError, text_enum, wrong};

/// What a task may use in its whole life, all attempts together. Each that is given is a limit of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TaskBudget {
    /// Dollars, as a decimal string such as `2.50`.
    #[serde(default, deserialize_with = "crate::money::read_optional", skip_serializing_if = "Option::is_none")]
    pub dollars: Option<String>,
    /// Seconds on machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_seconds: Option<i64>,
    /// Tokens of models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<i64>,
    /// Attempts that count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<i32>,
}

impl TaskBudget {
    /// Refuses a budget that breaks a bound, naming the field.
    pub fn validate(&self) -> Result<(), FieldError> {
        self.dollars.as_deref().map_or(Ok(0), |text| check_dollars("budget.dollars", text))?;
        for (field, units) in [
            ("budget.machine_seconds", self.machine_seconds),
            ("budget.tokens", self.tokens),
            ("budget.attempts", self.attempts.map(i64::from)),
        ] {
            if units.is_some_and(|units| !(1..=BUDGET_UNITS_MAX).contains(&units)) {
                return Err(wrong(field, format!("must be from 1 to {BUDGET_UNITS_MAX}")));
            }
        }
        Ok(())
    }

    /// The dollars in millionths, of a budget that was validated.
    pub fn micros(&self) -> Option<i64> {
        self.dollars.as_deref().and_then(money::micros)
    }
}

/// Refuses to set more aside for a task than there is in all: then none could ever start.
pub fn check_reservation(allocated_micros: i64, reservation_micros: Option<i64>) -> Result<(), FieldError> {
    match reservation_micros {
        Some(reservation) if reservation > allocated_micros => Err(wrong(
            "reservation_dollars",
            "must be at most allocated_dollars: with more set aside for each task, none could ever start",
        )),
        Some(_) | None => Ok(()),
    }
}

/// Dollars as millionths, refused where they are none.
pub fn check_dollars(field: &'static str, dollars: &str) -> Result<i64, FieldError> {
    let micros = money::micros(dollars).filter(|micros| *micros <= BUDGET_MICROS_MAX);
    micros.ok_or_else(|| {
        wrong(
            field,
            "must be a decimal string of dollars such as \"12.50\", at most 100000000 and with at most six decimals",
        )
    })
}

/// What a task may use and has used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TaskBudgetView {
    /// What it may use.
    #[serde(flatten)]
    pub limits: TaskBudget,
    /// Dollars it has cost, as a decimal string.
    pub spent_dollars: String,
    /// Seconds it has been on machines.
    pub spent_machine_seconds: i64,
    /// Tokens it has used.
    pub spent_tokens: i64,
    /// Attempts that counted.
    pub spent_attempts: i32,
}

text_enum! {
    /// For how long a budget lasts before it begins anew; each begins at midnight UTC, a week on Monday.
    Period, "period" {
        /// A day.
        Day = "day",
        /// A week.
        Week = "week",
        /// A calendar month.
        Month = "month",
    }
}

/// A budget of a project or of the whole tenant, as sent to `POST /v1/budgets`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewBudget {
    /// The project; absent for all tasks together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// For how long it lasts.
    pub period: Period,
    /// What may be spent in a period, in dollars, as a decimal string.
    #[serde(deserialize_with = "crate::money::read")]
    pub allocated_dollars: String,
    /// From which part of it an alert is written, a decimal such as `0.8`, which is what it is when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert_threshold: Option<String>,
    /// What is set aside for each task that starts, in dollars; absent, it is estimated: the minutes of the
    /// task's effort estimate, else its timeout, at the price of a machine.
    #[serde(default, deserialize_with = "crate::money::read_optional", skip_serializing_if = "Option::is_none")]
    pub reservation_dollars: Option<String>,
}

/// What a threshold is when none is given, in hundredths of a percent.
pub const THRESHOLD_DEFAULT: i32 = 8_000;

impl NewBudget {
    /// Refuses a budget that breaks a bound, naming the field.
    pub fn validate(&self) -> Result<(), FieldError> {
        self.project.as_deref().map_or(Ok(()), |name| check_name("project", name))?;
        let allocated = check_dollars("allocated_dollars", &self.allocated_dollars)?;
        self.alert_threshold.as_deref().map_or(Ok(0), check_threshold)?;
        let reservation = self.reservation_dollars.as_deref();
        let reservation = reservation.map(|text| check_dollars("reservation_dollars", text)).transpose()?;
        check_reservation(allocated, reservation)
    }
}

/// A part as hundredths of a percent, refused where it is none.
pub fn check_threshold(part: &str) -> Result<i32, FieldError> {
    let part = money::micros(part).filter(|micros| (1..=1_000_000).contains(micros) && micros % 100 == 0);
    let part = part.and_then(|micros| i32::try_from(micros / 100).ok());
    part.ok_or_else(|| {
        wrong(
            "alert_threshold",
            "must be a decimal string from 0.0001 to 1 with at most four decimals, such as \"0.8\"",
        )
    })
}

/// Changes to a budget, as sent to `PATCH /v1/budgets/{id}`; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BudgetChange {
    /// What may be spent in a period, in dollars.
    #[serde(default, deserialize_with = "crate::money::read_optional", skip_serializing_if = "Option::is_none")]
    pub allocated_dollars: Option<String>,
    /// From which part of it an alert is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert_threshold: Option<String>,
    /// What is set aside for each task that starts, in dollars.
    #[serde(default, deserialize_with = "crate::money::read_optional", skip_serializing_if = "Option::is_none")]
    pub reservation_dollars: Option<String>,
}

impl BudgetChange {
    /// Refuses a change that breaks a bound, naming the field.
    pub fn validate(&self) -> Result<(), FieldError> {
        self.allocated_dollars.as_deref().map_or(Ok(0), |text| check_dollars("allocated_dollars", text))?;
        self.alert_threshold.as_deref().map_or(Ok(0), check_threshold)?;
        self.reservation_dollars.as_deref().map_or(Ok(0), |text| check_dollars("reservation_dollars", text))?;
        Ok(())
    }
}

/// A budget, as every answer shows it, in the period that lasts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BudgetView {
    /// Its id.
    pub id: BudgetId,
    /// The project; absent for all tasks together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// For how long it lasts.
    pub period: Period,
    /// What may be spent in a period, in dollars.
    pub allocated_dollars: String,
    /// What was spent in this one, in dollars.
    pub spent_dollars: String,
    /// What is set aside for tasks in hand, in dollars.
    pub reserved_dollars: String,
    /// From which part of it an alert is written.
    pub alert_threshold: String,
    /// What is set aside for each task that starts, in dollars, where it is not estimated.
    #[serde(default, deserialize_with = "crate::money::read_optional", skip_serializing_if = "Option::is_none")]
    pub reservation_dollars: Option<String>,
    /// Whether the alert of this period was written.
    pub alerted: bool,
    /// When this period began.
    pub period_start: DateTime<Utc>,
    /// When it ends and the next begins.
    pub period_end: DateTime<Utc>,
    /// When the budget was made.
    pub created_at: DateTime<Utc>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_is_a_part_of_one() {
        for (text, part) in [("0.8", 8_000), ("1", 10_000), ("0.0001", 1)] {
            assert_eq!(check_threshold(text), Ok(part));
        }
        for wrong in ["0", "1.0001", "0.00001", "80%", ""] {
            assert!(check_threshold(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn no_more_is_set_aside_for_a_task_than_there_is_in_all() {
        for (allocated, reservation, taken) in
            [(5, None, true), (5, Some(5), true), (5, Some(6), false), (0, Some(0), true), (0, Some(1), false)]
        {
            assert_eq!(check_reservation(allocated, reservation).is_ok(), taken, "{reservation:?} of {allocated}");
        }
    }

    #[test]
    fn a_budget_of_nothing_and_of_too_much_is_refused_by_name() {
        let field = |budget: TaskBudget| budget.validate().map_err(|error| error.field);
        assert_eq!(
            field(TaskBudget { dollars: Some("2.5".into()), attempts: Some(3), ..TaskBudget::default() }),
            Ok(())
        );
        let dollars = |text: &str| field(TaskBudget { dollars: Some(text.into()), ..TaskBudget::default() });
        assert_eq!(dollars("-1"), Err("budget.dollars"));
        assert_eq!(dollars("100000000.000001"), Err("budget.dollars"));
        assert_eq!(dollars("0.0000001"), Err("budget.dollars"));
        assert_eq!(field(TaskBudget { tokens: Some(0), ..TaskBudget::default() }), Err("budget.tokens"));
    }
}
