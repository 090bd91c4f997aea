//! Projects: groupings of tasks in a tenant. A project is there as soon as a task
//! names it; its weight says which share of the workers it gets while others want
//! them too ([`crate::scheduler`]).

pub(crate) mod store;

use std::collections::BTreeMap;

use kernel::audit::{self, Change, Entity};
use kernel::{Ctx, Error, Result};
use wire::admission::{ProjectView, ProjectWeight, check_name};
use wire::id::TenantId;
use wire::limit::WEIGHT_MAX;

use crate::Scheduler;
use crate::admission::store::{heads, heads_of_notes};

/// Says which share of the workers a project gets.
#[tracing::instrument(skip_all)]
pub async fn weigh(ctx: &Ctx, tenant: TenantId, name: &str, new: ProjectWeight) -> Result<ProjectView> {
    check_name("project", name)?;
    if !(1..=WEIGHT_MAX).contains(&new.weight) {
        return Err(Error::invalid("weight", format!("must be from 1 to {WEIGHT_MAX}")));
    }
    let mut tx = ctx.begin("projects.weigh").await?;
    let weights = store::weights(&mut tx, tenant).await?;
    let weight = weights.into_iter().find(|(known, _)| known == name).map_or(1, |(_, weight)| weight);
    store::weigh(&mut tx, tenant, name, new.weight).await?;
    let change = Change::between(&ProjectWeight { weight }, &new)?;
    audit::write(ctx, &mut tx, "project.weighed", &Entity::new(tenant, "project", name), &change).await?;
    tx.nudge(Scheduler::NUDGE);
    tx.commit(()).await?;
    let projects = list(ctx, tenant).await?;
    projects.into_iter().find(|project| project.name == name).ok_or(Error::NotFound { what: "project" })
}

/// Every project that was weighed or has a task in hand or waiting, by name.
pub async fn list(ctx: &Ctx, tenant: TenantId) -> Result<Vec<ProjectView>> {
    let mut tx = ctx.read("projects.list").await?;
    let mut projects: BTreeMap<String, ProjectView> = BTreeMap::new();
    let new = |name: &str| {
        let name = name.to_owned();
        ProjectView { name, weight: 1, in_hand: 0, has_waiting: false, tokens: 0, cost_micros: 0 }
    };
    for (name, weight) in store::weights(&mut tx, tenant).await? {
        projects.insert(name.clone(), ProjectView { weight, ..new(&name) });
    }
    for (name, in_hand) in store::in_hand(&mut tx, tenant).await? {
        projects.entry(name.clone()).or_insert_with(|| new(&name)).in_hand = in_hand;
    }
    for (name, tokens, cost_micros) in store::spent(&mut tx, tenant).await? {
        let project = projects.entry(name.clone()).or_insert_with(|| new(&name));
        (project.tokens, project.cost_micros) = (tokens, cost_micros);
    }
    let waiting = [heads(&mut tx).await?, heads_of_notes(&mut tx).await?].concat();
    for head in waiting.into_iter().filter(|head| head.lane.tenant == tenant) {
        let name = head.lane.project.unwrap_or_default();
        projects.entry(name.clone()).or_insert_with(|| new(&name)).has_waiting = true;
    }
    Ok(projects.into_values().collect())
}
