//! Writes down how many tasks came in each hour, for the pool's forecast (row
//! FR-20). Ids are ordered by time, so an hour is a range of them.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use kernel::{Ctx, Reconciler, Result, Tx};
use pool::forecast::{self, Hour};
use wire::id::{ExecutionId, TaskId};

use crate::executions;
use crate::tasks;

/// Hours in one step: the first look may find weeks.
const HOURS: usize = 24;
/// A burst is what comes within so long.
const BURST: TimeDelta = TimeDelta::minutes(5);

/// The reconciler that keeps the history of arrivals.
#[derive(Debug, Clone, Copy, Default)]
pub struct Arrivals;

impl Reconciler for Arrivals {
    const NAME: &'static str = "arrivals";
    const EVERY: Duration = Duration::from_secs(300);

    async fn tick(&self, ctx: &Ctx) -> Result<usize> {
        let now = ctx.now();
        let mut tx = ctx.begin("scheduler.arrivals").await?;
        let hours = forecast::missing(&mut tx, now, HOURS).await?;
        if hours.is_empty() {
            return Ok(0);
        }
        for hour in &hours {
            let came = look(&mut tx, *hour).await?;
            forecast::record(&mut tx, &came, now).await?;
        }
        tx.commit(hours.len()).await
    }
}

/// What came in an hour.
async fn look(tx: &mut Tx, hour: i64) -> Result<Hour> {
    let begin = DateTime::from_timestamp(hour * 3_600, 0).unwrap_or_default();
    let end = begin + TimeDelta::hours(1);
    let (mut arrivals, mut burst, mut from) = (0, 0, begin);
    while from < end {
        let came =
            tasks::store::count_between(tx, first_of(from, TaskId::mint), first_of(from + BURST, TaskId::mint)).await?;
        arrivals += came;
        burst = burst.max(came);
        from += BURST;
    }
    let (first, last) = (first_of(begin, ExecutionId::mint), first_of(end, ExecutionId::mint));
    let busy_seconds = executions::store::busy_between(tx, first, last).await?;
    Ok(Hour { hour, arrivals, burst, busy_seconds })
}

/// No id of this moment or later is smaller.
fn first_of<T>(at: DateTime<Utc>, mint: fn(DateTime<Utc>, [u8; 10]) -> T) -> T {
    mint(at, [0; 10])
}

#[cfg(test)]
mod tests;
