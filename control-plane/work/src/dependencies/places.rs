//! The order that is kept of each tenant's tasks, in which each comes behind those it needs: a new dependency
//! that agrees with it closes no circle, and of one that does not, only the tasks in between have to be looked
//! at (the algorithm of Pearce and Kelly). Taking a dependency back disturbs no order.
//!
//! Only tasks that have had dependencies have a place. Whoever changes places holds the lock of the tenant's
//! graph, so these rows are in nobody else's way.

pub(crate) mod plan;
pub(crate) mod store;

use kernel::{Result, Tx};
use wire::id::{TaskId, TenantId};

use super::graph;

/// Gives both tasks places in which the one comes behind the other that it needs, or gives the circle that
/// stands against it: from the task along what each needs, back to the task.
pub(super) async fn put_behind(
    tx: &mut Tx,
    tenant: TenantId,
    task: TaskId,
    needed: TaskId,
) -> Result<Option<Vec<TaskId>>> {
    let (behind, before) = (store::of(tx, task).await?, store::of(tx, needed).await?);
    match (behind, before) {
        (Some(behind), Some(before)) if before < behind => Ok(None),
        (Some(behind), Some(before)) => rearrange(tx, tenant, (task, behind), (needed, before)).await,
        // Without a place there is no dependency, so no circle either: each goes where it is in nobody's way.
        (Some(_), None) => {
            let (first, _) = ends(tx, tenant).await?;
            store::insert(tx, tenant, &[(needed, first - 1)]).await.map(|()| None)
        }
        (None, Some(_)) => {
            let (_, last) = ends(tx, tenant).await?;
            store::insert(tx, tenant, &[(task, last + 1)]).await.map(|()| None)
        }
        (None, None) => match store::ends(tx, tenant).await? {
            None if place_all(tx, tenant).await? > 0 => Box::pin(put_behind(tx, tenant, task, needed)).await,
            found => {
                let (_, last) = found.unwrap_or_default();
                store::insert(tx, tenant, &[(needed, last + 1), (task, last + 2)]).await.map(|()| None)
            }
        },
    }
}

/// Gives tasks that have none places before all others: they have no dependencies yet.
pub(crate) async fn ensure(tx: &mut Tx, tenant: TenantId, tasks: Vec<TaskId>) -> Result<()> {
    let (first, _) = ends_of_all(tx, tenant).await?;
    let places: Vec<(TaskId, i64)> = tasks.into_iter().zip((1..).map(|back| first - back)).collect();
    store::insert(tx, tenant, &places).await
}

/// Gives new tasks places behind all others, in the order given, in which each comes behind those it needs.
pub(crate) async fn append(tx: &mut Tx, tenant: TenantId, tasks: &[TaskId]) -> Result<()> {
    let (_, last) = ends_of_all(tx, tenant).await?;
    let places: Vec<(TaskId, i64)> = tasks.iter().copied().zip(last + 1..).collect();
    store::insert(tx, tenant, &places).await
}

/// The ends of the order, once everything that has dependencies is in it.
async fn ends_of_all(tx: &mut Tx, tenant: TenantId) -> Result<(i64, i64)> {
    match store::ends(tx, tenant).await? {
        None if place_all(tx, tenant).await? > 0 => ends(tx, tenant).await,
        found => Ok(found.unwrap_or_default()),
    }
}

async fn ends(tx: &mut Tx, tenant: TenantId) -> Result<(i64, i64)> {
    Ok(store::ends(tx, tenant).await?.unwrap_or_default())
}

async fn rearrange(
    tx: &mut Tx,
    tenant: TenantId,
    (task, behind): (TaskId, i64),
    (needed, before): (TaskId, i64),
) -> Result<Option<Vec<TaskId>>> {
    let later = store::later(tx, tenant, task, before).await?;
    if later.iter().any(|(id, _)| *id == needed) {
        let needs = store::needs_among_later(tx, tenant, task, before).await?;
        return Ok(graph::circle(&needs, task, needed));
    }
    let earlier = store::earlier(tx, tenant, needed, behind).await?;
    store::update(tx, &plan::rearrange(&earlier, &later)).await?;
    Ok(None)
}

/// Places everything that has dependencies: those were stored before places were kept. Gives their number.
async fn place_all(tx: &mut Tx, tenant: TenantId) -> Result<usize> {
    let needs = store::all_needs(tx, tenant).await?;
    let places: Vec<(TaskId, i64)> = graph::in_order(&needs).into_iter().zip(1..).collect();
    store::insert(tx, tenant, &places).await?;
    Ok(places.len())
}
