//! Scores (row CAIRN-49): every task that is ready gets a number from 0 to 100 by
//! the rule that the caller names, and keeps it beside it with the time, until it
//! is scored anew or what the score was made of is changed.
//!
//! A task that waits for others is scored as well, and keeps its score for when it
//! may start. The graph is read once, whatever its size.

mod policy;
pub(crate) mod store;

use std::collections::HashMap;

use chrono::{DateTime, SecondsFormat, Utc};
use kernel::audit::{self, Change, Entity};
use kernel::outbox::{self, About};
use kernel::{Ctx, Error, Result};
use serde_json::json;
use wire::event::kind;
use wire::id::{TaskId, TenantId};
use wire::limit::SCORES_SHOWN;
use wire::metadata::{SCORE_KEY, SCORED_AT_KEY};
use wire::prioritize::{Prioritize, ScoredTask};
use wire::task::TaskStatus;

use crate::{metadata, tasks};
use policy::Graph;
use store::Open;

/// What was scored.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// The highest scores, in order.
    pub tasks: Vec<ScoredTask>,
    /// How many tasks were scored.
    pub total: usize,
}

/// Scores every task that is ready, and stores the scores.
#[tracing::instrument(skip_all, fields(algorithm = %ask.algorithm))]
pub async fn prioritize(ctx: &Ctx, tenant: TenantId, ask: Prioritize) -> Result<Scores> {
    let limit = ask.limit.unwrap_or(SCORES_SHOWN);
    if !(1..=SCORES_SHOWN).contains(&limit) {
        return Err(Error::invalid("limit", format!("must be from 1 to {SCORES_SHOWN}")));
    }
    let mut tx = ctx.read("prioritize.look").await?;
    let open = store::open(&mut tx, tenant).await?;
    let edges = if ask.algorithm.looks_at_graph() { store::edges(&mut tx, tenant).await? } else { Vec::new() };
    drop(tx);
    let graph = Graph::new(open.iter().map(node).collect(), &indexed(&open, &edges));
    let now = ctx.now();
    let scored: Vec<(&Open, f64)> = open.iter().zip(policy::scores(ask.algorithm, &graph)).collect();
    let mut scored: Vec<(&Open, f64)> =
        scored.into_iter().filter(|(task, _)| task.status == TaskStatus::Ready).collect();
    scored.sort_unstable_by(|(a, a_score), (b, b_score)| {
        let urgency = (b.priority, a.created_at, a.id).cmp(&(a.priority, b.created_at, b.id));
        b_score.total_cmp(a_score).then(urgency)
    });
    keep(ctx, tenant, ask, &scored, now).await?;
    let total = scored.len();
    scored.truncate(limit);
    Ok(Scores { tasks: shown(ctx, tenant, &scored, now).await?, total })
}

fn node(task: &Open) -> policy::Node {
    let is_ready = task.status == TaskStatus::Ready;
    policy::Node { priority: task.priority.get(), effort_minutes: task.effort_estimate, is_ready }
}

/// Dependencies by the places of their tasks, the one that is needed first; what is over for either is left out.
fn indexed(open: &[Open], edges: &[(TaskId, TaskId)]) -> Vec<(u32, u32)> {
    let places: HashMap<TaskId, u32> = open.iter().map(|task| task.id).zip(0..).collect();
    let place = |(needed, task): &(TaskId, TaskId)| Some((*places.get(needed)?, *places.get(task)?));
    edges.iter().filter_map(place).collect()
}

/// Stores the scores and their time beside the tasks, all or none.
async fn keep(ctx: &Ctx, tenant: TenantId, ask: Prioritize, scored: &[(&Open, f64)], now: DateTime<Utc>) -> Result<()> {
    let time = now.to_rfc3339_opts(SecondsFormat::Micros, true);
    let mut entries: Vec<(TaskId, f64)> = scored.iter().map(|(task, score)| (task.id, *score)).collect();
    // Two at once take the rows in the same order.
    entries.sort_unstable_by_key(|(id, _)| *id);
    let mut tx = ctx.begin("prioritize.keep").await?;
    for some in entries.chunks(metadata::MANY / 2) {
        let of =
            |(id, score): &(TaskId, f64)| [(*id, SCORE_KEY, format!("{score:.2}")), (*id, SCORED_AT_KEY, time.clone())];
        let some: Vec<_> = some.iter().flat_map(of).collect();
        metadata::write_many(ctx, &mut tx, tenant, &some).await?;
    }
    let payload = json!({ "algorithm": ask.algorithm, "tasks": scored.len() });
    let about = About { tenant: Some(tenant), ..About::default() };
    outbox::push(ctx, &mut tx, kind::TASKS_PRIORITIZED, about, &payload).await?;
    let scores = Entity::new(tenant, "scores", ask.algorithm);
    audit::write(ctx, &mut tx, kind::TASKS_PRIORITIZED, &scores, &Change::created(&payload)?).await?;
    tx.commit(()).await
}

/// The first ones as the answer shows them; what was deleted meanwhile is left out.
async fn shown(
    ctx: &Ctx,
    tenant: TenantId,
    scored: &[(&Open, f64)],
    calculated_at: DateTime<Utc>,
) -> Result<Vec<ScoredTask>> {
    let ids: Vec<TaskId> = scored.iter().map(|(task, _)| task.id).collect();
    let mut tx = ctx.read("prioritize.show").await?;
    let titles = tasks::store::of_ids(&mut tx, tenant, &ids).await?;
    let mut titles: HashMap<TaskId, String> = titles.into_iter().map(|task| (task.id, task.title)).collect();
    let show = |(task, score): &(&Open, f64)| {
        Some(ScoredTask {
            task_id: task.id,
            title: titles.remove(&task.id)?,
            priority: task.priority,
            effort_estimate: task.effort_estimate,
            waits_for: task.waits_for,
            score: *score,
            calculated_at,
        })
    };
    Ok(scored.iter().filter_map(show).collect())
}

#[cfg(test)]
mod tests;
