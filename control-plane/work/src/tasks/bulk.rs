//! Many tasks at once: each is called off, or retried, by itself, all of it or
//! nothing, and has its own result.

use std::collections::BTreeSet;

use kernel::{Ctx, Error, Result};
use wire::bulk::{Selection, TaskSelector};
use wire::id::{TaskId, TenantId};
use wire::limit::{BULK_TASKS, BULK_TASKS_OF_ALL};
use wire::task::TaskStatus;

use super::state::{self, Event};
use super::store;
use crate::Settings;

/// What became of each task, and how many match besides.
#[derive(Debug)]
pub struct Done {
    /// In the order of the request, or of a list.
    pub results: Vec<(TaskId, Result<TaskStatus>)>,
    /// How many tasks match the filter besides.
    pub remaining: i64,
}

/// Calls tasks off.
#[tracing::instrument(skip_all)]
pub async fn cancel(ctx: &Ctx, settings: &Settings, tenant: TenantId, selection: Selection) -> Result<Done> {
    let (ids, remaining) = select(ctx, tenant, selection, Event::Cancel).await?;
    let mut results = Vec::with_capacity(ids.len());
    for id in ids {
        results.push((id, super::cancel(ctx, settings, tenant, id).await.map(|task| task.status)));
    }
    Ok(Done { results, remaining })
}

/// Has failed tasks retried.
#[tracing::instrument(skip_all)]
pub async fn retry(ctx: &Ctx, tenant: TenantId, selection: Selection) -> Result<Done> {
    let (ids, remaining) = select(ctx, tenant, selection, Event::Retry).await?;
    let mut results = Vec::with_capacity(ids.len());
    for id in ids {
        results.push((id, super::retry(ctx, tenant, id, None).await.map(|task| task.status)));
    }
    Ok(Done { results, remaining })
}

/// Which tasks are meant, and how many match besides.
async fn select(ctx: &Ctx, tenant: TenantId, selection: Selection, event: Event) -> Result<(Vec<TaskId>, i64)> {
    match selection {
        Selection { ids: Some(ids), filter: None, all: false } => {
            if ids.is_empty() || ids.len() > BULK_TASKS {
                let message = format!("must be 1 to {BULK_TASKS} ids, and these are {}", ids.len());
                return Err(Error::invalid("ids", message));
            }
            let mut seen = BTreeSet::new();
            Ok((ids.into_iter().filter(|id| seen.insert(*id)).collect(), 0))
        }
        Selection { ids: None, filter: Some(filter), all } => {
            let statuses = statuses(&filter, event)?;
            if filter.tag.as_ref().is_some_and(|tag| tag.contains('\0')) {
                return Err(Error::invalid("filter.tag", "must not have a NUL character"));
            }
            let limit = if all { BULK_TASKS_OF_ALL } else { BULK_TASKS };
            let mut tx = ctx.read("tasks.select").await?;
            store::select(&mut tx, tenant, &statuses, &filter, i64::try_from(limit).unwrap_or(i64::MAX)).await
        }
        Selection { ids: Some(_), filter: None, all: true } => {
            Err(Error::invalid("all", "goes with a filter; ids say already which tasks are meant"))
        }
        Selection { ids: Some(_), filter: Some(_), .. } => {
            Err(Error::invalid("filter", "cannot be used together with ids; send one of them"))
        }
        Selection { ids: None, filter: None, .. } => {
            Err(Error::invalid("ids", "is missing, and so is filter; one of them says which tasks are meant"))
        }
    }
}

/// The states in which the tasks must be that match.
fn statuses(filter: &TaskSelector, event: Event) -> Result<Vec<TaskStatus>> {
    match filter.status {
        None => Ok(state::sources(event)),
        Some(status) => {
            let checked = state::step(status, event).map(|_| vec![status]);
            checked.map_err(|illegal| Error::invalid("filter.status", illegal.to_string()))
        }
    }
}

#[cfg(test)]
mod tests;
