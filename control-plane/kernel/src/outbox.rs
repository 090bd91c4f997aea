//! The outbox (row T-7.9): what the outside must learn is written in the same
//! transaction as the fact itself, and delivered afterwards, at least once and
//! in order. The receiver knows an event by its id and drops repeats.
//!
//! The event store is told by what it has not yet taken. Whoever else listens
//! goes by an entry's place. Entries are numbered as they are pushed, and on
//! Postgres become visible in another order, so that who reads behind a number
//! may miss one. Hence [`place`]: it gives what is committed the next places,
//! one caller at a time, in the order of the numbers. An entry that appears later
//! gets a later place, so that nothing ever appears behind a reader. Changes of
//! one task hold its lock, so their places are in order too. Without a listener
//! nobody calls it, and it costs nothing.

pub(crate) mod store;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use wire::id::{EventId, ExecutionId, TaskId, TenantId};

use crate::{Ctx, Error, Result, Tx};
pub use store::{
    Backlog, Placed, backlog, behind, failed, first_place, last_place, pending, place, processed, prune, refused,
};

/// The name under which delivery is nudged.
pub const NUDGE: &str = "outbox-delivery";
/// The name under which live followers are nudged.
pub const LIVE_NUDGE: &str = "live";
/// The name under which webhooks are nudged.
pub const WEBHOOKS_NUDGE: &str = "webhook-fan-out";
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
    for listener in [NUDGE, LIVE_NUDGE, WEBHOOKS_NUDGE] {
        tx.nudge(listener);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
