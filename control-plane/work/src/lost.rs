//! Work whose worker was lost: its lease has run out, or its machine has stopped.
//! The task is ready again, and that spends no attempt.

use std::sync::Arc;
use std::time::Duration;

use kernel::{Ctx, Reconciler, Result};

use crate::Settings;
use crate::executions::{self, store};

/// The reconciler that takes lost work back.
#[derive(Debug, Clone)]
pub struct LostWork {
    settings: Arc<Settings>,
}

impl LostWork {
    /// With the operator's settings.
    pub fn new(settings: Arc<Settings>) -> Self {
        Self { settings }
    }
}

impl Reconciler for LostWork {
    const NAME: &'static str = pool::LOST_NUDGE;
    const EVERY: Duration = Duration::from_secs(2);

    async fn tick(&self, ctx: &Ctx) -> Result<usize> {
        let mut tx = ctx.begin("work.lost").await?;
        let mut lost = store::expired(&mut tx, ctx.now()).await?;
        for worker in pool::workers::disabled(&mut tx).await? {
            for execution in store::open_of_worker(&mut tx, worker.id).await? {
                if !lost.iter().any(|known| known.id == execution.id) {
                    lost.push(execution);
                }
            }
        }
        for execution in &lost {
            tracing::warn!(task.id = %execution.task, execution.id = %execution.id, "a worker was lost with an execution");
            executions::lose(ctx, &mut tx, &self.settings, execution).await?;
        }
        if lost.is_empty() { Ok(0) } else { tx.commit(lost.len()).await }
    }
}
