//! What happens because a time has come: holds end, deadlines pass, schedules fire.
//! All of it is rows, so a restart forgets nothing.

use std::sync::Arc;
use std::time::Duration;

use kernel::outbox::About;
use kernel::{Ctx, Reconciler, Result};
use serde_json::json;
use wire::event::kind;
use wire::id::TaskId;
use wire::task::TaskStatus;

use crate::tasks::{self, Event, Task, Turn};
use crate::{Settings, holds, schedules};

/// Tasks whose deadline has passed that are looked at in one step.
const BATCH: i64 = 500;

/// The reconciler that looks at the clock.
#[derive(Debug)]
pub struct Timers {
    settings: Arc<Settings>,
}

impl Timers {
    /// With the operator's settings.
    pub fn new(settings: Arc<Settings>) -> Self {
        Self { settings }
    }
}

impl Reconciler for Timers {
    const NAME: &'static str = "timers";
    const EVERY: Duration = Duration::from_secs(1);

    async fn tick(&self, ctx: &Ctx) -> Result<usize> {
        let ended = holds::expire(ctx, ctx.now()).await?;
        let late = pass_deadlines(ctx).await?;
        Ok(ended + late + schedules::fire(ctx, &self.settings).await?)
    }
}

async fn pass_deadlines(ctx: &Ctx) -> Result<usize> {
    let mut tx = ctx.read("timers.deadlines").await?;
    let late = tasks::store::past_deadline(&mut tx, ctx.now(), BATCH).await?;
    drop(tx);
    let mut noted = 0;
    for task in late {
        noted += usize::from(pass_deadline(ctx, task).await?);
    }
    Ok(noted)
}

/// A task that nobody has fails; one that somebody has is marked, and goes on.
async fn pass_deadline(ctx: &Ctx, id: TaskId) -> Result<bool> {
    let mut tx = ctx.begin("timers.deadline").await?;
    let Some(task) = tasks::store::lock_any(&mut tx, id).await? else { return Ok(false) };
    let is_late = task.deadline.is_some_and(|deadline| deadline <= ctx.now());
    if !is_late || task.status.is_final() || !tasks::store::set_overdue(&mut tx, id, ctx.now()).await? {
        return Ok(false);
    }
    let payload = json!({ "reason": "deadline", "deadline": task.deadline });
    let (kind, after) = if task.status == TaskStatus::Ready {
        (kind::TASK_FAILED, tasks::apply(ctx, &mut tx, &task, Event::Expire).await?)
    } else {
        (kind::TASK_OVERDUE, task.clone())
    };
    let after = Task { overdue_at: Some(ctx.now()), ..after };
    tasks::tell(ctx, &mut tx, kind, About::task(task.tenant, id), Turn::Changed(&task, &after), &payload).await?;
    tx.commit(true).await
}

#[cfg(test)]
mod tests;
