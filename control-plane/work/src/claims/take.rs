//! Taking tasks: who gets which.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::TimeDelta;
use kernel::{Ctx, Error, Result, Tx};
use pool::workers::{Named, Worker};
use wire::claim::{Claim, NewClaim};
use wire::id::{TaskId, TenantId, WorkerId};
use wire::worker::WorkerStatus;

use super::lease_end;
use crate::admission::{self, Gate, Lane, LaneId};
use crate::executions::{self, Handed, Handing};
use crate::tasks::store::Claimable;
use crate::tasks::{self, Task};

/// What a claim's agent is where it does not say.
const AGENT: &str = "agent";
/// Claims may be many; that a worker was heard is written down this often.
const HEARD_AFTER: TimeDelta = TimeDelta::seconds(5);

/// Somebody wants tasks.
#[derive(Debug, Clone)]
pub(super) struct Take {
    /// Who, and why.
    pub(super) by: Ctx,
    pub(super) tenant: TenantId,
    /// Validated.
    pub(super) claim: NewClaim,
}

/// Hands out tasks to everybody who asks, in one transaction: most urgent first, then oldest; who asked first
/// comes first. Where there is nothing for somebody, the list is empty.
pub(super) async fn take_all(ctx: &Ctx, takes: &[Take]) -> Result<Vec<Result<Vec<Claim>>>> {
    let mut tx = ctx.begin("claims.take").await?;
    // Before any worker is locked, as whoever else decides does. Tasks are never waited for.
    let mut gates = gates(ctx, &mut tx, takes).await?;
    let workers = workers(ctx, &mut tx, takes).await?;
    // Several who ask for one worker share the room that it has.
    let mut rooms: HashMap<WorkerId, i32> = HashMap::new();
    let mut wanted: Vec<Result<usize>> = Vec::with_capacity(takes.len());
    for (take, worker) in takes.iter().zip(&workers) {
        let worker = worker.as_ref().map_err(|refused| refused.error());
        wanted.push(worker.and_then(|worker| room(&mut rooms, worker, take)));
    }
    let found = find(ctx, &mut tx, &mut gates, takes, &workers, &wanted).await?;
    let mut handings = Vec::new();
    for ((take, worker), tasks) in takes.iter().zip(&workers).zip(&found) {
        let Ok(worker) = worker else { continue };
        handings.extend(tasks.iter().map(|task| handing(ctx, take, worker, task)));
    }
    let mut handed = executions::hand_all(ctx, &mut tx, &handings).await?.into_iter();
    note_heard(ctx, &mut tx, takes, &workers).await?;
    let answer = |(wanted, tasks): (Result<usize>, Vec<Task>)| {
        wanted.map(|_| handed.by_ref().take(tasks.len()).map(claim).collect())
    };
    let answers = wanted.into_iter().zip(found).map(answer).collect();
    tx.commit(answers).await
}

/// The gate of each tenant, opened in the order of their ids.
async fn gates(ctx: &Ctx, tx: &mut Tx, takes: &[Take]) -> Result<BTreeMap<TenantId, Gate>> {
    let mut gates = BTreeMap::new();
    for tenant in takes.iter().map(|take| take.tenant).collect::<BTreeSet<_>>() {
        gates.insert(tenant, Gate::open(tx, Some(tenant), ctx.now()).await?);
    }
    Ok(gates)
}

/// The worker that somebody named, or why it takes nothing by claim.
type Chosen = std::result::Result<Worker, Refused>;

#[derive(Debug, Clone, Copy)]
enum Refused {
    Unknown,
    Pooled,
}

impl Refused {
    fn error(self) -> Error {
        match self {
            Self::Unknown => Error::invalid("worker_id", "names no registered worker"),
            Self::Pooled => Error::invalid("worker_id", "is a worker of the pool; the scheduler gives it work"),
        }
    }
}

/// The worker of each, locked; who comes by a new name is registered.
async fn workers(ctx: &Ctx, tx: &mut Tx, takes: &[Take]) -> Result<Vec<Chosen>> {
    let names: Vec<Named<'_>> = takes.iter().filter_map(named).collect();
    let named_ids = pool::workers::ensure_named(ctx, tx, &names).await?;
    let id = |take: &Take| match &take.claim.worker {
        Some(name) => named_ids.get(&(take.tenant, name.clone())).copied(),
        None => take.claim.worker_id,
    };
    let ids: Vec<WorkerId> = takes.iter().filter_map(id).collect();
    let locked = pool::workers::lock_all(tx, &ids).await?;
    let locked: HashMap<WorkerId, Worker> = locked.into_iter().map(|worker| (worker.id, worker)).collect();
    let worker = |take: &Take| {
        let worker = id(take).and_then(|id| locked.get(&id)).ok_or(Refused::Unknown)?;
        if worker.tenant.is_some_and(|tenant| tenant != take.tenant) {
            return Err(Refused::Unknown);
        }
        if worker.machine_id.is_some() { Err(Refused::Pooled) } else { Ok(worker.clone()) }
    };
    Ok(takes.iter().map(worker).collect())
}

fn named(take: &Take) -> Option<Named<'_>> {
    let name = take.claim.worker.as_deref()?;
    Some(Named { by: &take.by, tenant: take.tenant, name, worker_type: agent_type(&take.claim) })
}

fn agent_type(claim: &NewClaim) -> &str {
    claim.agent_type.as_deref().unwrap_or(AGENT)
}

/// The types of agent that are at work behind a claim: the one that it names, else those of its worker.
fn agent_types<'a>(claim: &'a NewClaim, worker: Option<&'a Worker>) -> &'a [String] {
    match &claim.agent_type {
        Some(named) => std::slice::from_ref(named),
        None => worker.map_or(&[], |worker| &worker.agent_types),
    }
}

/// How many tasks may go to the worker: what is asked, and no more than it has room for.
fn room(rooms: &mut HashMap<WorkerId, i32>, worker: &Worker, take: &Take) -> Result<usize> {
    let room = rooms.entry(worker.id).or_insert(worker.capacity - worker.current_load);
    if *room <= 0 {
        let message = format!("the worker has as much as it takes: {} at once", worker.capacity);
        return Err(Error::conflict("worker_full", message));
    }
    let wanted = i32::try_from(take.claim.limit()).unwrap_or(i32::MAX).min(*room);
    *room -= wanted;
    Ok(usize::try_from(wanted).unwrap_or(0))
}

/// The tasks for each, locked and let through the gate. Who wants the same kind of task shares a look.
async fn find(
    ctx: &Ctx,
    tx: &mut Tx,
    gates: &mut BTreeMap<TenantId, Gate>,
    takes: &[Take],
    workers: &[Chosen],
    wanted: &[Result<usize>],
) -> Result<Vec<Vec<Task>>> {
    let mut kinds: BTreeMap<Kind<'_>, Vec<usize>> = BTreeMap::new();
    for (place, (take, worker)) in takes.iter().zip(workers).enumerate() {
        let agent_types = agent_types(&take.claim, worker.as_ref().ok());
        let wanted = Claimable { tenant: take.tenant, tags: &take.claim.tags, agent_types };
        kinds.entry(Kind { wanted, include_spec: take.claim.include_spec }).or_default().push(place);
    }
    let mut found: Vec<Vec<Task>> = takes.iter().map(|_| Vec::new()).collect();
    let mut seen: HashSet<TaskId> = HashSet::new();
    for (kind, places) in kinds {
        let count = |place: &usize| wanted[*place].as_ref().copied().unwrap_or(0);
        let total: usize = places.iter().map(count).sum();
        let Some(gate) = gates.get_mut(&kind.wanted.tenant).filter(|_| total > 0) else { continue };
        let mut admitted = kind.next(ctx, tx, gate, &mut seen, total).await?.into_iter();
        for place in places {
            found[place].extend(admitted.by_ref().take(count(&place)));
        }
    }
    Ok(found)
}

/// What somebody wants of tasks.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Kind<'a> {
    wanted: Claimable<'a>,
    include_spec: bool,
}

impl Kind<'_> {
    /// So many of the next tasks as there are, each locked and let through the gate.
    async fn next(
        &self,
        ctx: &Ctx,
        tx: &mut Tx,
        gate: &mut Gate,
        seen: &mut HashSet<TaskId>,
        total: usize,
    ) -> Result<Vec<Task>> {
        let mut closed = admission::closed_by(tx, &gate.rules, self.wanted.tenant, ctx.now()).await?;
        let mut admitted = Vec::new();
        // Each look but the last closes a lane.
        while admitted.len() < total {
            let ready = self.ready(tx, &closed, total - admitted.len() + seen.len()).await?;
            let known = closed.len();
            for task in ready {
                let lane = Lane::of_task(&task).id;
                if admitted.len() == total || closed.contains(&lane) || !seen.insert(task.id) {
                    continue;
                }
                match gate.admit(tx, &task, 0).await? {
                    Ok(()) => admitted.push(task),
                    Err(_) => closed.push(lane),
                }
            }
            if closed.len() == known {
                break;
            }
        }
        Ok(admitted)
    }

    async fn ready(&self, tx: &mut Tx, closed: &[LaneId], limit: usize) -> Result<Vec<Task>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut ready = tasks::store::claimable(tx, self.wanted, closed, false, limit).await?;
        if self.include_spec {
            ready.extend(tasks::store::claimable(tx, self.wanted, closed, true, limit).await?);
            ready.sort_by_key(|task| (Reverse(task.priority), task.created_at, task.id));
        }
        Ok(ready)
    }
}

fn handing<'a>(ctx: &Ctx, take: &'a Take, worker: &'a Worker, task: &'a Task) -> Handing<'a> {
    let now = ctx.now();
    Handing {
        by: &take.by,
        task,
        worker,
        agent_type: agent_types(&take.claim, Some(worker)).first().map_or(AGENT, String::as_str),
        started_at: take.claim.start.then_some(now),
        lease_until: Some(lease_end(now, take.claim.lease_seconds())),
        parent: None,
    }
}

async fn note_heard(ctx: &Ctx, tx: &mut Tx, takes: &[Take], workers: &[Chosen]) -> Result<()> {
    let now = ctx.now();
    let was_silent =
        |worker: &Worker| worker.status == WorkerStatus::Disabled || now - worker.last_heartbeat >= HEARD_AFTER;
    let mut seen = HashSet::new();
    let chosen = takes.iter().zip(workers).filter_map(|(take, worker)| Some((&take.by, worker.as_ref().ok()?)));
    let silent: Vec<(&Ctx, &Worker)> =
        chosen.filter(|(_, worker)| was_silent(worker) && seen.insert(worker.id)).collect();
    pool::workers::heard(tx, &silent, now).await
}

/// As the claimer sees it.
fn claim(Handed { task, execution }: Handed) -> Claim {
    Claim {
        execution_id: execution.id,
        fence: i64::from(execution.number),
        lease_until: execution.lease_until.unwrap_or(execution.assigned_at),
        worker_id: execution.worker,
        task: task.into_view(Some(execution)),
    }
}
