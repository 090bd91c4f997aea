//! The outbox (row T-7.9): what the outside must learn is written in the same
//! transaction as the fact itself, and delivered afterwards, at least once and
//! in order. The receiver knows an event by its id and drops repeats.

pub(crate) mod store;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use wire::id::{EventId, ExecutionId, TaskId, TenantId};

use crate::{Ctx, Error, Result, Tx};
pub use store::{Backlog, backlog, failed, pending, processed, prune, refused};

/// The name under which delivery is nudged.
pub const NUDGE: &str = "outbox-delivery";
/// Who the control plane's own events come from.
pub const PRODUCER: &str = "control-plane";

/// What an event is about.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// The tenant; none for what all of them share.
    pub tenant: Option<TenantId>,
    /// The task, if one.
    pub task: Option<TaskId>,
    /// The execution, if one.
    pub execution: Option<ExecutionId>,
    /// The thing itself as it is now, and what it was: for those who only listen. The event store is not told.
    pub snapshot: Option<Snapshot>,
}

/// A thing after a change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The whole thing, as answers show it; of something deleted, what it was last.
    pub thing: Value,
    /// The fields that changed, with their old values.
    pub old: Map<String, Value>,
}

impl About {
    /// About a task as a whole.
    pub fn task(tenant: TenantId, id: TaskId) -> Self {
        Self { tenant: Some(tenant), task: Some(id), ..Self::default() }
    }

    /// About one attempt at a task.
    pub fn execution(tenant: TenantId, task: TaskId, execution: ExecutionId) -> Self {
        Self { execution: Some(execution), ..Self::task(tenant, task) }
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
