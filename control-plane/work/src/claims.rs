//! Claims: work for whoever is not a machine of the pool (see [`wire::claim`]).
//!
//! A claim is an execution under a lease like the pool's own, on a worker that was
//! registered by hand or came by a name: it is made where the pool's are made
//! (`executions::hand_all`), ends where they end (`executions::finish_all`), and
//! when its lease runs out the task is taken back as from a lost runner.
//!
//! The pool takes tasks with a spec. A claim takes tasks without one, unless it
//! asks for the others too; both never take the same task, since each locks it.

mod desk;
mod policy;
mod report;
mod take;

use chrono::{DateTime, TimeDelta, Utc};
use kernel::{Ctx, Error, Result};
use wire::execution::{ExecutionResult, ExecutionView};
use wire::id::{ExecutionId, TenantId};

use crate::Settings;
pub use desk::Desk;
use report::Report;

/// When a lease of so many seconds ends.
fn lease_end(now: DateTime<Utc>, seconds: u64) -> DateTime<Utc> {
    now + TimeDelta::seconds(i64::try_from(seconds).unwrap_or(i64::MAX))
}

/// Ends an execution that no runner of the pool carries out (row CAIRN-26), by itself.
#[tracing::instrument(skip_all, fields(execution.id = %id))]
pub async fn complete(
    ctx: &Ctx,
    settings: &Settings,
    tenant: TenantId,
    id: ExecutionId,
    result: ExecutionResult,
) -> Result<ExecutionView> {
    let report = Report { by: ctx.clone(), tenant, execution: id, fence: result.fence, word: report::ended(result)? };
    let heard = report::hear_all(ctx, settings, &[report]).await?.pop();
    heard.unwrap_or(Err(Error::NotFound { what: "execution" })).map(|heard| heard.execution.into())
}

#[cfg(test)]
mod tests;
