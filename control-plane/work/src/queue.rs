//! How much waits, and how much could be worked on at once.

pub(crate) mod store;

use kernel::{Ctx, Result};
use wire::id::TenantId;
use wire::queue::{Capacity, QueueView};
use wire::worker::WorkerStatus;

/// The tenant's queue, and the workers that it shares with others.
pub async fn look(ctx: &Ctx, tenant: TenantId) -> Result<QueueView> {
    let workers = pool::workers::list(ctx).await?;
    let mut tx = ctx.read("queue.look").await?;
    let mut queue = store::depths(&mut tx, tenant).await?;
    // A worker by name is its tenant's own.
    let counted = workers.iter().filter(|worker| worker.status != WorkerStatus::Disabled);
    for worker in counted.filter(|worker| worker.tenant.is_none_or(|owner| owner == tenant)) {
        let kind = if worker.machine_id.is_some() { &mut queue.machines } else { &mut queue.others };
        *kind = Capacity::and(*kind, worker.capacity.into(), worker.current_load.into());
    }
    Ok(queue)
}

#[cfg(test)]
mod tests;
