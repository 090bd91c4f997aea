//! Admission: whether a task that needs nothing more may start, checked in the
//! transaction that gives it to somebody, whoever that is: the scheduler, a
//! person, or a worker that claims.
//!
//! A [`Gate`] is opened in that transaction, after the tasks are locked. It keeps
//! everybody else out who counts the same things until the transaction ends, so
//! that a limit or a budget is never exceeded by two that decide at once. Where
//! nothing is set it costs one statement and locks nothing.

pub(crate) mod policy;
pub(crate) mod store;

use chrono::{DateTime, Utc};
use kernel::{Error, Result, Tx};
use sha2::{Digest, Sha256};
use sqlx::types::Uuid;
use wire::admission::is_own_key;
use wire::id::{MachineId, TaskId, TenantId};

use crate::budgets;
use crate::tasks::{self, Task};
use policy::{Obstacle, Rules};

/// Names a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LaneId(pub(crate) Uuid);

/// Tasks that share every hold, limit and budget: those of one project with the same keys, and of these apart
/// those that only one machine can take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lane {
    pub(crate) id: LaneId,
    pub(crate) tenant: TenantId,
    pub(crate) project: Option<String>,
    pub(crate) keys: Vec<String>,
}

impl Lane {
    /// The lane of tasks with this project and these keys. Its id is made from them, so that it is found
    /// without looking.
    pub(crate) fn of(tenant: TenantId, project: Option<&str>, keys: &[String]) -> Self {
        let mut keys = keys.to_vec();
        keys.sort_unstable();
        let id = if project.is_none() && keys.is_empty() { tenant.uuid() } else { name(tenant, project, &keys) };
        Self { id: LaneId(id), tenant, project: project.map(str::to_owned), keys }
    }

    /// The lane of a task.
    pub(crate) fn of_task(task: &Task) -> Self {
        Self::of(task.tenant, task.project.as_deref(), &task.keys).on(task.machine)
    }

    /// The same for tasks that one machine alone can take: a lane of their own, so that those that wait for a
    /// machine hold nobody else up.
    pub(crate) fn on(self, machine: Option<MachineId>) -> Self {
        let Some(machine) = machine else { return self };
        let digest = Sha256::new().chain_update(self.id.0).chain_update(machine.uuid()).finalize();
        Self { id: LaneId(Uuid::from_bytes(*digest.first_chunk().expect("a digest has 32 bytes"))), ..self }
    }
}

fn name(tenant: TenantId, project: Option<&str>, keys: &[String]) -> Uuid {
    // No name has a blank, so that nothing else reads the same.
    let project = project.map_or(" ".to_owned(), |name| format!("p{name} "));
    let digest = Sha256::new().chain_update(tenant.uuid()).chain_update(project).chain_update(keys.join(" "));
    let digest = digest.finalize();
    Uuid::from_bytes(*digest.first_chunk().expect("a digest has 32 bytes"))
}

/// What admission looks at, and the right to decide on it alone.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) rules: Rules,
    now: DateTime<Utc>,
}

impl Gate {
    /// Opens the gate of one tenant, or of all of them. Lock the tasks first.
    pub(crate) async fn open(tx: &mut Tx, tenant: Option<TenantId>, now: DateTime<Utc>) -> Result<Self> {
        let rules = store::rules(tx, tenant, store::Lock::Yes, now).await?;
        Ok(Self { rules, now })
    }

    /// Lets a task start that is locked and ready, and writes down what it takes: tokens, and money that is
    /// set aside. Or says what stands in the way, and changes nothing.
    pub(crate) async fn admit(
        &mut self,
        tx: &mut Tx,
        task: &Task,
        estimate_micros: i64,
    ) -> Result<std::result::Result<(), Vec<Obstacle>>> {
        let mut obstacles = own_obstacles(tx, task, self.now).await?;
        if self.rules.is_empty() && task.keys.is_empty() && obstacles.is_empty() {
            return Ok(Ok(()));
        }
        let lane = Lane::of_task(task);
        if lane.keys.iter().any(|key| is_own_key(key)) {
            self.rules.hold_own_keys(store::take_own_keys(tx, task.tenant).await?);
        }
        if !obstacles.is_empty() {
            obstacles.extend(self.rules.obstacles(&lane, estimate_micros, self.now));
            return Ok(Err(obstacles));
        }
        let taken = match self.rules.admit(&lane, estimate_micros, self.now) {
            Ok(taken) => taken,
            Err(obstacles) => return Ok(Err(obstacles)),
        };
        for (key, bucket) in &taken.buckets {
            store::set_level(tx, task.tenant, key, bucket).await?;
        }
        if !taken.reserved.is_empty() {
            budgets::reserve(tx, task, &taken.reserved, self.now).await?;
        }
        Ok(Ok(()))
    }
}

/// The tenant's lanes that have tasks and let none start now: whoever chooses tasks by SQL leaves these out, and
/// tasks with a `parked_until`, so that a thousand that are held keep nobody else.
pub(crate) async fn closed(tx: &mut Tx, tenant: TenantId, now: DateTime<Utc>) -> Result<Vec<LaneId>> {
    let rules = store::rules(tx, Some(tenant), store::Lock::No, now).await?;
    closed_by(tx, &rules, tenant, now).await
}

/// As [`closed`], by rules that are known.
pub(crate) async fn closed_by(tx: &mut Tx, rules: &Rules, tenant: TenantId, now: DateTime<Utc>) -> Result<Vec<LaneId>> {
    if rules.is_empty() {
        return Ok(Vec::new());
    }
    let heads = [store::heads(tx).await?, store::heads_of_notes(tx).await?].concat();
    let lanes = heads.into_iter().map(|head| head.lane).filter(|lane| lane.tenant == tenant);
    let closed = lanes.filter(|lane| !rules.obstacles(lane, 0, now).is_empty()).map(|lane| lane.id);
    Ok(closed.collect())
}

/// Refuses to give a task to somebody by hand that the scheduler would not give to anybody; the task is
/// locked. What it takes is written down.
pub(crate) async fn check(tx: &mut Tx, task: &Task, now: DateTime<Utc>) -> Result<()> {
    let mut gate = Gate::open(tx, Some(task.tenant), now).await?;
    gate.admit(tx, task, 0).await?.map_err(|obstacles| refused(&obstacles))
}

/// The refusal that names what stands in the way.
pub(crate) fn refused(obstacles: &[Obstacle]) -> Error {
    let code = obstacles.first().map_or("not_admitted", Obstacle::refusal);
    let say = |obstacle: &Obstacle| {
        let reason = wire::why::Reason::from(obstacle.clone());
        let until = reason
            .until
            .map(|until| format!(" (until {})", until.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)))
            .unwrap_or_default();
        format!("{}{until}", reason.message)
    };
    Error::conflict(code, obstacles.iter().map(say).collect::<Vec<_>>().join("; "))
}

async fn own_obstacles(tx: &mut Tx, task: &Task, now: DateTime<Utc>) -> Result<Vec<Obstacle>> {
    if task.parked_until.is_none() {
        return Ok(Vec::new());
    }
    Ok(policy::own_obstacles(task, &store::holds_of_task(tx, task.tenant, task.id).await?, now))
}

/// What keeps a ready task from starting, the task's own reasons first; for `why`.
pub(crate) async fn obstacles(
    tx: &mut Tx,
    rules: &Rules,
    task: &Task,
    estimate_micros: i64,
    now: DateTime<Utc>,
) -> Result<Vec<Obstacle>> {
    let mut found = own_obstacles(tx, task, now).await?;
    found.extend(rules.obstacles(&Lane::of_task(task), estimate_micros, now));
    Ok(found)
}

/// Parks a task that is locked, or lets it go, as its time, the holds on it and its budget say now.
pub(crate) async fn park(tx: &mut Tx, tenant: TenantId, id: TaskId, now: DateTime<Utc>) -> Result<()> {
    let task = tasks::load(tx, tenant, id).await?;
    let holds = store::holds_of_task(tx, tenant, id).await?;
    let until = policy::parked_until(&task, &holds, now);
    if until != task.parked_until {
        store::set_parked(tx, id, until).await?;
        tx.nudge(crate::Scheduler::NUDGE);
    }
    Ok(())
}

/// A task was called off and never starts again: nothing has to hold it.
pub(crate) async fn let_go(tx: &mut Tx, task: &Task) -> Result<()> {
    store::delete_holds_of_task(tx, task.tenant, task.id).await
}

/// A task is about to be deleted.
pub(crate) async fn forget(tx: &mut Tx, task: &Task) -> Result<()> {
    store::delete_holds_of_task(tx, task.tenant, task.id).await?;
    budgets::release(tx, task).await
}

#[cfg(test)]
pub(crate) mod tests;
