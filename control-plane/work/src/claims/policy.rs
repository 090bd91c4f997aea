//! What a word about an execution counts for: whether it is still its sayer's, and
//! what follows. Pure.

use chrono::{DateTime, Utc};
use kernel::{Error, Result};
use wire::execution::Outcome;
use wire::task::TaskStatus;

use super::lease_end;
use super::report::{Report, Word};
use crate::executions::{Ending, Execution};
use crate::leases::lease_lost;
use crate::tasks::Task;

/// What follows from a word.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// Nothing: it was heard before.
    Known,
    /// The execution begins.
    Begin,
    /// The lease lasts until then.
    Extend(DateTime<Utc>),
    /// The execution ends.
    Finish { ending: Ending, cost_micros: i64, tokens: i64 },
}

/// Decides. A lease that has run out still counts until its task is taken back.
pub(super) fn judge(
    report: &Report,
    task: &Task,
    execution: &Execution,
    is_pooled: bool,
    now: DateTime<Utc>,
) -> Result<Verdict> {
    if is_pooled {
        let message = "a worker of the pool has this execution; it reports its end itself";
        return Err(Error::conflict("execution_leased", message));
    }
    match execution.lease_until {
        None => by_hand(report, execution),
        Some(until) => leased(report, task, execution, until, now),
    }
}

/// An execution that somebody began without a claim has nothing but an end.
fn by_hand(report: &Report, execution: &Execution) -> Result<Verdict> {
    let Word::End { ending, cost_micros, tokens } = &report.word else {
        let message = "the execution was begun without a claim and has no lease; it can only be completed";
        return Err(Error::conflict("execution_not_leased", message));
    };
    if ending.outcome == Outcome::Released {
        let message = "the execution was begun without a claim; complete it, or cancel its task";
        return Err(Error::conflict("execution_not_leased", message));
    }
    if execution.completed_at.is_some() {
        return Err(Error::conflict("execution_finished", "the execution has ended already"));
    }
    Ok(Verdict::Finish { ending: ending.clone(), cost_micros: *cost_micros, tokens: *tokens })
}

fn leased(
    report: &Report,
    task: &Task,
    execution: &Execution,
    until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Verdict> {
    if report.fence.is_some_and(|fence| fence != i64::from(execution.number)) {
        return Err(lease_lost());
    }
    if let Some(known) = &execution.ending {
        let is_same = matches!(&report.word, Word::End { ending, .. } if ending.outcome == known.outcome);
        return if is_same { Ok(Verdict::Known) } else { Err(lease_lost()) };
    }
    if !matches!(task.status, TaskStatus::Assigned | TaskStatus::InProgress) {
        return Err(lease_lost());
    }
    Ok(match &report.word {
        Word::Start if execution.started_at.is_some() => Verdict::Known,
        Word::Start => Verdict::Begin,
        Word::Renew { lease_seconds } => Verdict::Extend(lease_end(now, *lease_seconds).max(until)),
        Word::End { ending, cost_micros, tokens } => {
            Verdict::Finish { ending: ending.clone(), cost_micros: *cost_micros, tokens: *tokens }
        }
    })
}
