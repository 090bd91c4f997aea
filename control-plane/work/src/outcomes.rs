//! Outcomes: what is true of a task besides its status, such as that its change is
//! merged. Whoever finds out writes it; tasks that wait for it may start in the
//! same transaction, and wait again when it is withdrawn.

pub(crate) mod store;

use kernel::audit::{self, Change, Entity};
use kernel::outbox::{self, About};
use kernel::{Ctx, Error, Result};
use serde_json::json;
use wire::event::kind;
use wire::id::{TaskId, TenantId};
use wire::limit::{OUTCOME_DETAIL_CHARS, OUTCOMES_PER_TASK};
use wire::outcome::{NewOutcome, OutcomeName, OutcomeView};

use crate::{Scheduler, dependencies, tasks};

/// Notes that something is true of a task. Twice is no error: the first time stays, with what was said last.
#[tracing::instrument(skip_all, fields(task.id = %id))]
pub async fn set(ctx: &Ctx, tenant: TenantId, id: TaskId, name: OutcomeName, new: NewOutcome) -> Result<OutcomeView> {
    if new.detail.as_deref().is_some_and(|text| text.chars().count() > OUTCOME_DETAIL_CHARS || text.contains('\0')) {
        return Err(Error::invalid("detail", format!("must have at most {OUTCOME_DETAIL_CHARS} characters")));
    }
    let mut tx = ctx.begin("outcomes.set").await?;
    let task = tasks::load_locked(&mut tx, tenant, id).await?;
    let there = store::get(&mut tx, tenant, id, &name).await?;
    if there.is_none() && store::count(&mut tx, tenant, id).await? >= OUTCOMES_PER_TASK {
        return Err(Error::conflict("too_many_outcomes", format!("a task has at most {OUTCOMES_PER_TASK} outcomes")));
    }
    let since = there.as_ref().map_or(ctx.now(), |there| there.created_at);
    let view = OutcomeView { task_id: id, name, detail: new.detail, created_at: since };
    if there.as_ref() == Some(&view) {
        return Ok(view);
    }
    store::set(&mut tx, tenant, &view).await?;
    if there.is_none() {
        dependencies::outcome_changed(ctx, &mut tx, &task, view.name.clone(), true).await?;
    }
    outbox::push(ctx, &mut tx, kind::OUTCOME_SET, About::task(tenant, id), &view).await?;
    let change = match &there {
        None => Change::created(&audited(&view))?,
        Some(there) => Change::between(&audited(there), &audited(&view))?,
    };
    audit::write(ctx, &mut tx, kind::OUTCOME_SET, &Entity::new(tenant, "task", id), &change).await?;
    tx.nudge(Scheduler::NUDGE);
    tx.commit(view).await
}

fn audited(outcome: &OutcomeView) -> serde_json::Value {
    json!({ "outcome": outcome.name, "detail": outcome.detail })
}

/// Withdraws what was noted: what needs it and has not begun waits again.
#[tracing::instrument(skip_all, fields(task.id = %id))]
pub async fn withdraw(ctx: &Ctx, tenant: TenantId, id: TaskId, name: OutcomeName) -> Result<()> {
    let mut tx = ctx.begin("outcomes.withdraw").await?;
    let task = tasks::load_locked(&mut tx, tenant, id).await?;
    let there = store::get(&mut tx, tenant, id, &name).await?;
    let there = there.ok_or(Error::NotFound { what: "outcome of this task" })?;
    store::delete(&mut tx, tenant, id, &name).await?;
    dependencies::outcome_changed(ctx, &mut tx, &task, name, false).await?;
    outbox::push(ctx, &mut tx, kind::OUTCOME_WITHDRAWN, About::task(tenant, id), &there).await?;
    let change = Change::removed(&audited(&there))?;
    audit::write(ctx, &mut tx, kind::OUTCOME_WITHDRAWN, &Entity::new(tenant, "task", id), &change).await?;
    tx.commit(()).await
}

/// What is true of a task, by name.
pub async fn list(ctx: &Ctx, tenant: TenantId, id: TaskId) -> Result<Vec<OutcomeView>> {
    let mut tx = ctx.read("outcomes.list").await?;
    tasks::load(&mut tx, tenant, id).await?;
    store::of_task(&mut tx, tenant, id).await
}

#[cfg(test)]
mod tests;
