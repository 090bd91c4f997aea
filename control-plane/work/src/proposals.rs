//! Proposals (row FR-18): what somebody found elsewhere becomes a task that is held until a person accepts it. What is
//! found again makes no second task, however often and by however many it is looked for.

pub(crate) mod store;

use std::collections::{BTreeMap, HashMap, HashSet};

use kernel::{Ctx, Error, Result};
use wire::admission::HoldView;
use wire::id::{HoldId, TaskId, TenantId};
use wire::import::ImportedTask;
use wire::limit::TASKS_PER_BATCH;
use wire::proposal::{NewProposal, ProposalView, Proposed};
use wire::task::TaskView;

use crate::tasks::import;
use crate::{Scheduler, Settings, dependencies, holds, tasks};

/// Why a proposed task does not start.
const REASON: &str = "it is a proposal, which somebody has to accept";
/// The most that a list shows.
const SHOWN: i64 = 1_000;

/// Stores what was found: a task for each source that is new. `caller` owns their holds.
#[tracing::instrument(skip_all)]
pub async fn propose(
    ctx: &Ctx,
    settings: &Settings,
    tenant: TenantId,
    caller: &str,
    found: &[NewProposal],
) -> Result<Vec<Proposed>> {
    check(settings, found)?;
    let mut tx = ctx.begin("proposals.propose").await?;
    // Whoever else looks at the same time waits here, and then sees what is there.
    dependencies::take_graph(&mut tx, tenant).await?;
    let sources: Vec<&str> = found.iter().map(|one| one.source.as_str()).collect();
    let mut known: HashMap<String, TaskId> = store::of_sources(&mut tx, tenant, &sources).await?;
    let fresh: Vec<&NewProposal> = found.iter().filter(|one| !known.contains_key(&one.source)).collect();
    let lines: Vec<ImportedTask> = fresh.iter().map(|one| one.task()).collect();
    let made = import::insert_alone(ctx, &mut tx, tenant, &lines).await?;
    let now = ctx.now();
    for (one, task) in fresh.iter().zip(&made) {
        let hold = HoldView {
            id: ctx.id(HoldId::mint),
            task_id: Some(*task),
            project: None,
            key: None,
            everything: false,
            reason: REASON.to_owned(),
            owner: caller.to_owned(),
            expires_at: None,
            created_at: now,
        };
        holds::place(ctx, &mut tx, tenant, &hold).await?;
        store::insert(&mut tx, tenant, &one.source, *task, hold.id, now).await?;
    }
    let new: HashSet<TaskId> = made.iter().copied().collect();
    known.extend(fresh.iter().map(|one| one.source.clone()).zip(made));
    let told = |one: &NewProposal| {
        let task_id = known[&one.source];
        Proposed { source: one.source.clone(), task_id, is_new: new.contains(&task_id) }
    };
    let told = found.iter().map(told).collect();
    tx.nudge(Scheduler::NUDGE);
    metrics::counter!("tasks_submitted_total").increment(new.len() as u64);
    tx.commit(told).await
}

fn check(settings: &Settings, found: &[NewProposal]) -> Result<()> {
    if found.is_empty() || found.len() > TASKS_PER_BATCH {
        let message = format!("must be 1 to {TASKS_PER_BATCH}, and these are {}", found.len());
        return Err(Error::invalid("proposals", message));
    }
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, one) in found.iter().enumerate() {
        let wrong = |field: &str, message: String| Error::invalid(format!("proposals[{at}].{field}"), message);
        one.validate().map_err(|error| wrong(error.field, error.message))?;
        tasks::refuse_local(settings, one.spec.as_ref()).map_err(|error| match error {
            Error::Invalid { field, message } => wrong(&field, message),
            other => other,
        })?;
        if let Some(other) = places.insert(&one.source, at) {
            return Err(wrong("source", format!("is that of proposals[{other}] already")));
        }
    }
    Ok(())
}

/// The proposals that wait for a person, the newest first.
pub async fn list(ctx: &Ctx, tenant: TenantId) -> Result<Vec<ProposalView>> {
    let mut tx = ctx.read("proposals.list").await?;
    let held = holds::store::list(&mut tx, tenant, ctx.now()).await?;
    let held: Vec<HoldId> = held.into_iter().filter(|hold| hold.task_id.is_some()).map(|hold| hold.id).collect();
    let waiting = store::of_holds(&mut tx, tenant, &held, SHOWN).await?;
    let ids: Vec<TaskId> = waiting.iter().map(|one| one.task).collect();
    let tasks = tasks::store::of_ids(&mut tx, tenant, &ids).await?;
    let views = tasks::views(&mut tx, tenant, tasks).await?;
    let mut views: HashMap<TaskId, TaskView> = views.into_iter().map(|view| (view.id, view)).collect();
    let view = |one: store::Waiting| {
        let task = views.remove(&one.task).filter(|task| !task.status.is_final())?;
        Some(ProposalView { source: one.source, hold_id: one.hold, task })
    };
    Ok(waiting.into_iter().filter_map(view).collect())
}

/// Lets a proposed task start.
#[tracing::instrument(skip_all, fields(task.id = %task))]
pub async fn accept(ctx: &Ctx, tenant: TenantId, task: TaskId) -> Result<TaskView> {
    let mut tx = ctx.begin("proposals.accept").await?;
    let proposed = tasks::load_locked(&mut tx, tenant, task).await?;
    let hold = store::hold_of_task(&mut tx, tenant, task).await?;
    let hold = match hold {
        Some(id) => holds::store::get(&mut tx, tenant, id).await?,
        None => None,
    };
    let Some(hold) = hold.filter(|_| !proposed.status.is_final()) else {
        let message = "is no proposal that waits for anybody: it never was one, was accepted already, or has ended";
        return Err(Error::conflict("not_proposed", format!("task {task} {message}")));
    };
    holds::end(ctx, &mut tx, tenant, &hold).await?;
    let accepted = tasks::load(&mut tx, tenant, task).await?;
    let view = tasks::view(&mut tx, accepted).await?;
    tx.commit(view).await
}

#[cfg(test)]
mod tests;
