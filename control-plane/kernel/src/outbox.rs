//! The outbox (row T-7.9): what the outside must learn is written in the same
//! transaction as the fact itself, and delivered afterwards, at least once and
//! in order. The receiver knows an event by its id and drops repeats.

pub(crate) mod store;

use serde::Serialize;
use wire::id::{EventId, ExecutionId, TaskId};

use crate::{Ctx, Error, Result, Tx};
pub use store::{Backlog, backlog, failed, pending, processed, prune, refused};

/// The name under which delivery is nudged.
pub const NUDGE: &str = "outbox-delivery";
/// Who the control plane's own events come from.
pub const PRODUCER: &str = "control-plane";

/// What an event is about.
#[derive(Debug, Clone, Copy, Default)]
pub struct About {
    /// The task, if one.
    pub task: Option<TaskId>,
    /// The execution, if one.
    pub execution: Option<ExecutionId>,
}

impl About {
    /// About a task as a whole.
    pub fn task(id: TaskId) -> Self {
        Self { task: Some(id), execution: None }
    }

    /// About one attempt at a task.
    pub fn execution(task: TaskId, execution: ExecutionId) -> Self {
        Self { task: Some(task), execution: Some(execution) }
    }
}

/// Tells the outside, once this transaction is committed; it is written with the commit, beside whatever else
/// the transaction has to tell.
pub async fn push(ctx: &Ctx, tx: &mut Tx, kind: &str, about: About, payload: &impl Serialize) -> Result<()> {
    let id = ctx.id(EventId::mint);
    push_once(ctx, tx, kind, about, payload, &id.to_string()).await
}

/// As [`push`], but a second push with the same key says nothing more.
pub async fn push_once(
    ctx: &Ctx,
    tx: &mut Tx,
    kind: &str,
    about: About,
    payload: &impl Serialize,
    dedup_key: &str,
) -> Result<()> {
    let id = ctx.id(EventId::mint);
    let payload = serde_json::value::to_raw_value(payload).map_err(|error| Error::Internal(error.into()))?;
    tx.tell(store::Entry::new(id, kind, about, payload, ctx.now(), dedup_key));
    tx.nudge(NUDGE);
    Ok(())
}

#[cfg(test)]
mod tests;
