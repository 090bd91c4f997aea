//! What usually comes at this hour of the week, so that machines are awake before
//! it does (row FR-20). Off unless the operator wants it; always inside the cap and
//! the budgets, which the planner keeps.

pub mod plan;
mod store;

use chrono::{DateTime, TimeDelta, Utc};
use kernel::{Result, Sql, Tx};

use crate::Settings;
pub use plan::Hour;

pub(crate) const STATEMENTS: &[(&str, Sql)] = store::STATEMENTS;

/// History from before that says nothing any more.
const KEEP: TimeDelta = TimeDelta::weeks(8);

/// How many machines the history asks for.
pub(crate) async fn machines(tx: &mut Tx, settings: &Settings, now: DateTime<Utc>) -> Result<usize> {
    if !settings.prewarm {
        return Ok(0);
    }
    let history = store::of_slots(tx, &plan::hours_of_interest(now)).await?;
    let first = store::first(tx).await?;
    Ok(plan::machines(&history, first, settings.queue_per_machine.max(1), now))
}

/// Hours since 1970 that have ended and are not in the history yet, the oldest first.
pub async fn missing(tx: &mut Tx, now: DateTime<Utc>, at_most: usize) -> Result<Vec<i64>> {
    let ended = plan::hour_of(now);
    let from = store::last(tx).await?.map_or(ended - 1, |last| last + 1).max(ended - plan::WEEK * 4);
    Ok((from..ended).take(at_most).collect())
}

/// Notes what came in an hour that has ended. Twice is no error.
pub async fn record(tx: &mut Tx, hour: &Hour, now: DateTime<Utc>) -> Result<()> {
    store::put(tx, hour).await?;
    store::prune(tx, plan::hour_of(now - KEEP)).await
}

#[cfg(test)]
mod tests;
