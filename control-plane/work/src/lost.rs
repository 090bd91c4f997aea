//! Work whose worker was lost: its lease has run out, or its machine has stopped.
//! The task is ready again, and that spends no attempt.

use std::sync::Arc;
use std::time::Duration;

use kernel::{Ctx, Gap, Reconciler, Result};

use crate::executions::{self, Execution, store};
use crate::{Settings, leases, tasks};

/// The reconciler that takes lost work back.
#[derive(Debug)]
pub struct LostWork {
    settings: Arc<Settings>,
    gap: Gap,
}

impl LostWork {
    /// With the operator's settings.
    pub fn new(settings: Arc<Settings>) -> Self {
        Self { settings, gap: Gap::default() }
    }

    async fn look(&self, ctx: &Ctx) -> Result<Vec<Execution>> {
        let mut tx = ctx.read("work.lost").await?;
        let mut lost = store::expired(&mut tx, ctx.now()).await?;
        for worker in pool::workers::disabled_with_work(&mut tx).await? {
            // Who claims is no machine of ours, and works in silence for as long as its lease lasts; and what somebody
            // has begun by hand is theirs, however long they are silent.
            let open = match worker.machine_id {
                Some(_) => store::open_of_worker(&mut tx, worker.id).await?,
                None => store::promised_to_worker(&mut tx, worker.id).await?,
            };
            lost.extend(
                open.into_iter()
                    .filter(|execution| !lost.iter().any(|known| known.id == execution.id))
                    .collect::<Vec<_>>(),
            );
        }
        Ok(lost)
    }

    /// Each by itself: one that cannot be taken back must not keep the others from it.
    async fn take_back(&self, ctx: &Ctx, seen: &Execution) -> Result<bool> {
        let mut tx = ctx.begin("work.lost.one").await?;
        tasks::store::lock_any(&mut tx, seen.task).await?;
        let now = store::lock_of_worker(&mut tx, seen.worker, seen.id).await?;
        let is_as_seen = |now: &Execution| {
            now.completed_at.is_none() && now.lease_until == seen.lease_until && now.started_at == seen.started_at
        };
        let Some(execution) = now.filter(is_as_seen) else { return Ok(false) };
        tracing::warn!(task.id = %execution.task, execution.id = %execution.id, "a worker was lost with an execution");
        executions::lose(ctx, &mut tx, &self.settings, &execution).await?;
        tx.commit(true).await
    }
}

impl Reconciler for LostWork {
    const NAME: &'static str = pool::LOST_NUDGE;
    const EVERY: Duration = Duration::from_secs(2);

    async fn tick(&self, ctx: &Ctx) -> Result<usize> {
        // Shorter than a few beats it is no gap, only a busy computer.
        if self.gap.is_over(ctx.now(), (self.settings.lease / 2).max(Self::EVERY * 5)) {
            leases::grant_grace(ctx, &self.settings).await?;
            return Ok(0);
        }
        let mut taken = 0;
        for execution in self.look(ctx).await? {
            match self.take_back(ctx, &execution).await {
                Ok(done) => taken += usize::from(done),
                Err(error) => {
                    tracing::error!(execution.id = %execution.id, %error, cause = error.causes(), "lost work was not taken back");
                }
            }
        }
        Ok(taken)
    }
}
