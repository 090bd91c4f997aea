//! Failure strategies (row CAIRN-57, decision C-6): what is done by itself when a
//! task has failed, in the transaction in which it fails.
//!
//! A task follows the strategy that its metadata names. What it says is done within
//! the strategy's budget of attempts; what the infrastructure broke spends none and
//! is no failure (`executions`). Whatever stays failed carries a tag (rows
//! TEST-BIF-135 and TEST-BIF-136, decision C-1), which it loses when it is retried.

mod policy;
pub(crate) mod store;

use kernel::audit::{self, Change, Entity};
use kernel::idempotency::{self, Attempt};
use kernel::outbox::{self, About};
use kernel::{Ctx, Error, Result, Tx};
use serde_json::json;
use wire::event::kind;
use wire::id::{FailureStrategyId, TenantId};
use wire::limit::STRATEGIES;
use wire::metadata::{AGENT_TYPE_KEY, ASSIGNED_WORKER_KEY, BLOCKED_TAG, ESCALATION_KEY, STRATEGY_KEY};
use wire::split::NewSubtask;
use wire::strategy::{FailureClass, FailureStrategyChange, FailureStrategyView, NewFailureStrategy, Recovery};
use wire::task::TaskStatus;

use crate::executions::{self, lessons};
use crate::tasks::{self, Event, Task, Turn};
use crate::{Settings, metadata, split};
use policy::{Decision, Facts, Told};

/// Every strategy, by name.
pub async fn list(ctx: &Ctx, tenant: TenantId) -> Result<Vec<FailureStrategyView>> {
    let mut tx = ctx.read("strategies.list").await?;
    store::list(&mut tx, tenant).await
}

/// One strategy.
pub async fn get(ctx: &Ctx, tenant: TenantId, id: FailureStrategyId) -> Result<FailureStrategyView> {
    let mut tx = ctx.read("strategies.get").await?;
    load(&mut tx, tenant, id).await
}

async fn load(tx: &mut Tx, tenant: TenantId, id: FailureStrategyId) -> Result<FailureStrategyView> {
    store::get(tx, tenant, id).await?.ok_or(Error::NotFound { what: "failure strategy" })
}

/// Makes a strategy.
#[tracing::instrument(skip_all)]
pub async fn add(
    ctx: &Ctx,
    settings: &Settings,
    tenant: TenantId,
    new: NewFailureStrategy,
    attempt: Option<&Attempt>,
) -> Result<FailureStrategyView> {
    check(settings, &new)?;
    let mut tx = ctx.begin("strategies.add").await?;
    if let Some(first) = idempotency::replay_if(&mut tx, tenant, attempt).await? {
        return Ok(first);
    }
    if store::count(&mut tx, tenant).await? >= STRATEGIES {
        let message = format!("there are {STRATEGIES} failure strategies, and more are not kept; delete one");
        return Err(Error::conflict("too_many_strategies", message));
    }
    let now = ctx.now();
    let view = FailureStrategyView {
        id: ctx.id(FailureStrategyId::mint),
        name: new.name,
        rules: new.rules,
        max_attempts: new.max_attempts,
        created_at: now,
        updated_at: now,
    };
    store::insert(&mut tx, tenant, &view).await?;
    let change = Change::created(&audited(&view))?;
    audit::write(ctx, &mut tx, "failure_strategy.added", &entity(tenant, view.id), &change).await?;
    idempotency::remember_if(&mut tx, tenant, attempt, &view, now).await?;
    tx.commit(view).await
}

fn check(settings: &Settings, new: &NewFailureStrategy) -> Result<()> {
    new.validate()?;
    for (number, rule) in new.rules.iter().enumerate() {
        let (Recovery::Split { subtasks } | Recovery::Mend { subtasks }) = &rule.action else { continue };
        split::check(settings, subtasks).map_err(|error| match error {
            Error::Invalid { field, message } => Error::invalid(format!("rules[{number}].action.{field}"), message),
            other => other,
        })?;
    }
    Ok(())
}

fn entity(tenant: TenantId, id: FailureStrategyId) -> Entity {
    Entity::new(tenant, "failure_strategy", id)
}

fn audited(view: &FailureStrategyView) -> serde_json::Value {
    json!({ "name": view.name, "rules": view.rules, "max_attempts": view.max_attempts })
}

/// Changes a strategy: tasks follow it as it is when they fail.
#[tracing::instrument(skip_all, fields(strategy.id = %id))]
pub async fn update(
    ctx: &Ctx,
    settings: &Settings,
    tenant: TenantId,
    id: FailureStrategyId,
    change: FailureStrategyChange,
) -> Result<FailureStrategyView> {
    let mut tx = ctx.begin("strategies.update").await?;
    let before = load(&mut tx, tenant, id).await?;
    let new = NewFailureStrategy {
        name: change.name.unwrap_or_else(|| before.name.clone()),
        rules: change.rules.unwrap_or_else(|| before.rules.clone()),
        max_attempts: change.max_attempts.unwrap_or(before.max_attempts),
    };
    check(settings, &new)?;
    let NewFailureStrategy { name, rules, max_attempts } = new;
    let after = FailureStrategyView { name, rules, max_attempts, updated_at: ctx.now(), ..before.clone() };
    store::update(&mut tx, tenant, &after).await?;
    let change = Change::between(&audited(&before), &audited(&after))?;
    audit::write(ctx, &mut tx, "failure_strategy.changed", &entity(tenant, id), &change).await?;
    tx.commit(after).await
}

/// Deletes a strategy: tasks that name it fail without one.
#[tracing::instrument(skip_all, fields(strategy.id = %id))]
pub async fn delete(ctx: &Ctx, tenant: TenantId, id: FailureStrategyId) -> Result<()> {
    let mut tx = ctx.begin("strategies.delete").await?;
    let view = load(&mut tx, tenant, id).await?;
    store::delete(&mut tx, tenant, id).await?;
    let change = Change::removed(&audited(&view))?;
    audit::write(ctx, &mut tx, "failure_strategy.removed", &entity(tenant, id), &change).await?;
    tx.commit(()).await
}

/// Whether a text names a strategy of the tenant.
pub(crate) async fn is_one(tx: &mut Tx, tenant: TenantId, text: &str) -> Result<bool> {
    let Ok(id) = text.parse::<FailureStrategyId>() else { return Ok(false) };
    Ok(store::get(tx, tenant, id).await?.is_some())
}

/// A task that is locked has just failed: does what its strategy says, and gives where the task stands then.
pub(crate) async fn after_failure(ctx: &Ctx, tx: &mut Tx, failed: &Task, class: FailureClass) -> Result<TaskStatus> {
    let (tenant, id) = (failed.tenant, failed.id);
    let task = tasks::load(tx, tenant, id).await?;
    let strategy = match metadata::store::get(tx, tenant, id, STRATEGY_KEY).await?.and_then(|text| text.parse().ok()) {
        Some(strategy) => store::get(tx, tenant, strategy).await?,
        None => None,
    };
    let Some(strategy) = strategy else { return stay(ctx, tx, &task).await };
    let agent_type = metadata::store::get(tx, tenant, id, AGENT_TYPE_KEY).await?;
    let facts = Facts { class, attempts: task.attempts, agent_type: agent_type.as_deref() };
    let (action, reason) = match policy::decide(&strategy, facts) {
        Decision::Nothing => return stay(ctx, tx, &task).await,
        Decision::Do(action) => (action, format!("its failure strategy {:?} says so", strategy.name)),
        Decision::Exhausted if class == FailureClass::WorkerLost => {
            (&Recovery::Escalate {}, "it lost its worker too often to be tried again in the same way".to_owned())
        }
        Decision::Exhausted => {
            let reason = format!("it failed {} times, which is what {:?} allows", task.attempts, strategy.name);
            (&Recovery::Escalate {}, reason)
        }
    };
    let log = json!({
        "strategy_id": strategy.id,
        "strategy": strategy.name,
        "failure_class": class,
        "action": action.kind(),
        "attempts": task.attempts,
    });
    outbox::push(ctx, tx, kind::STRATEGY_APPLIED, About::task(tenant, id), &log).await?;
    let change = Change::created(&log)?.because(reason.clone());
    audit::write(ctx, tx, kind::STRATEGY_APPLIED, &Entity::new(tenant, "task", id), &change).await?;
    tracing::info!(task.id = %id, strategy.id = %strategy.id, action = action.kind(), "a failure strategy was applied");
    carry_out(ctx, tx, &task, action, &reason).await
}

async fn carry_out(ctx: &Ctx, tx: &mut Tx, task: &Task, action: &Recovery, reason: &str) -> Result<TaskStatus> {
    match action {
        Recovery::Retry {} => again(ctx, tx, task).await,
        Recovery::Reassign { agent_type } => {
            metadata::write(ctx, tx, task.tenant, task.id, AGENT_TYPE_KEY, agent_type).await?;
            again(ctx, tx, task).await
        }
        Recovery::Split { subtasks } => {
            let parts = filled_in(tx, task, subtasks).await?;
            split::failed(ctx, tx, task, &parts).await?;
            Ok(TaskStatus::Split)
        }
        Recovery::Mend { subtasks } => {
            let parts = filled_in(tx, task, subtasks).await?;
            let waiting = split::put_before(ctx, tx, task, &parts).await?;
            again(ctx, tx, &waiting).await
        }
        Recovery::Escalate {} => {
            metadata::write(ctx, tx, task.tenant, task.id, ESCALATION_KEY, reason).await?;
            let about = About::task(task.tenant, task.id);
            outbox::push(ctx, tx, kind::TASK_ESCALATED, about, &json!({ "reason": reason })).await?;
            stay(ctx, tx, task).await
        }
    }
}

/// Parts that say which task failed, and what its last attempt said of that.
async fn filled_in(tx: &mut Tx, task: &Task, parts: &[NewSubtask]) -> Result<Vec<NewSubtask>> {
    let newest = match task.execution_id {
        Some(id) => executions::store::get(tx, task.tenant, id).await?,
        None => None,
    };
    let failure =
        newest.and_then(|execution| execution.ending).map(|ending| lessons::failure(&ending)).unwrap_or_default();
    Ok(Told { title: &task.title, failure: &failure }.fill_in(parts))
}

/// The task is ready again, for whoever is the next to take it.
async fn again(ctx: &Ctx, tx: &mut Tx, task: &Task) -> Result<TaskStatus> {
    let after = Task { losses: 0, ..tasks::apply(ctx, tx, task, Event::Retry).await? };
    tasks::store::forget_losses(tx, task.id).await?;
    metadata::clear(ctx, tx, task.tenant, task.id, ASSIGNED_WORKER_KEY).await?;
    let (about, payload) = (About::task(task.tenant, task.id), json!({ "reason": "failure_strategy" }));
    tasks::tell(ctx, tx, kind::TASK_REQUEUED, about, Turn::Changed(task, &after), &payload).await?;
    Ok(after.status)
}

/// The task stays failed, for a person to see.
async fn stay(ctx: &Ctx, tx: &mut Tx, task: &Task) -> Result<TaskStatus> {
    metadata::add_tag(ctx, tx, task.tenant, task.id, BLOCKED_TAG).await?;
    Ok(task.status)
}

/// A task that had failed no longer is: nothing of that stands beside it any more.
pub(crate) async fn recovered(ctx: &Ctx, tx: &mut Tx, task: &Task) -> Result<()> {
    metadata::remove_tag(ctx, tx, task.tenant, task.id, BLOCKED_TAG).await?;
    metadata::clear(ctx, tx, task.tenant, task.id, ESCALATION_KEY).await
}

#[cfg(test)]
mod tests;
