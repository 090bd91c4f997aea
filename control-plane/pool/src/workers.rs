//! Workers: runner processes that have registered and report in, and workers
//! that somebody else runs and registers by hand (row CAIRN-50).
//!
//! What a worker holds is the work slice's business; this keeps only how many.

pub(crate) mod store;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use kernel::audit::{self, Change, Entity};
use kernel::idempotency::{self, Attempt};
use kernel::outbox::{self, About};
use kernel::{Ctx, Error, Gap, Reconciler, Result, Tx};
use serde_json::json;
use uuid::Uuid;
use wire::event::kind;
use wire::id::{MachineId, TenantId, WorkerId};
use wire::limit::{AGENT_TYPE_CHARS, AGENT_TYPES_PER_WORKER, WORKER_CAPACITY, WORKER_METADATA_BYTES};
use wire::machine::MachineState;
use wire::worker::{NewWorker, Poll, Register, WorkerChange, WorkerStatus, WorkerView};

use crate::machines::{self, shift};
use crate::{CAPACITY_NUDGE, LOST_NUDGE, regions};

/// Silence after which a worker counts as gone (row CAIRN-53).
const STALE_AFTER: TimeDelta = TimeDelta::minutes(5);
/// Mirrors that a volume can reasonably hold.
const REPOSITORIES_MAX: usize = 1_000;
/// Polls may be many; their times are written down this often.
const TOUCH_AFTER: TimeDelta = TimeDelta::seconds(5);
/// A worker that came by a name alone and was silent for so long is forgotten.
const FORGET_AFTER: TimeDelta = TimeDelta::days(1);
/// The protocols that this server speaks.
const PROTOCOLS: std::ops::RangeInclusive<u32> = 1..=wire::worker::PROTOCOL;

/// A worker, as other slices see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// Its id.
    pub id: WorkerId,
    /// The machine it runs on.
    pub machine_id: Option<MachineId>,
    /// Whose it is, where it came by a name alone.
    pub tenant: Option<TenantId>,
    /// That name.
    pub name: Option<String>,
    /// Different after each start of its runner.
    pub boot: Option<Uuid>,
    /// What kind of work it takes.
    pub worker_type: String,
    /// Executions it takes at once.
    pub capacity: i32,
    /// Executions it has.
    pub current_load: i32,
    /// How it does.
    pub status: WorkerStatus,
    /// When it was last heard.
    pub last_heartbeat: DateTime<Utc>,
    /// When its runner started.
    pub registered_at: DateTime<Utc>,
    /// The repositories its volume holds.
    pub repositories: Vec<String>,
    /// The types of agent whose work it takes.
    pub agent_types: Vec<String>,
    /// Since when its machine stands where it stands.
    pub machine_since: Option<DateTime<Utc>>,
    /// What its machine costs awake, in picodollars a second, where that is known.
    pub machine_rate: Option<i64>,
    /// Anything else it told about itself.
    pub metadata: serde_json::Value,
}

impl From<Worker> for WorkerView {
    fn from(worker: Worker) -> Self {
        Self {
            id: worker.id,
            machine_id: worker.machine_id,
            name: worker.name,
            worker_type: worker.worker_type,
            capacity: worker.capacity,
            current_load: worker.current_load,
            status: worker.status,
            last_heartbeat: worker.last_heartbeat,
            repositories: worker.repositories,
            agent_types: worker.agent_types,
            metadata: worker.metadata,
        }
    }
}

/// What a registration led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registration {
    /// The worker.
    pub worker: WorkerId,
    /// Whether its runner has started anew: what an earlier one was doing is lost.
    pub is_new_boot: bool,
}

/// What a worker that polls should know of its machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It may be given work.
    Working,
    /// Its batch is over: it should save this checkpoint.
    Draining {
        /// The batch's number.
        batch: i64,
    },
    /// Its machine is being woken while this poll is held: it should poll anew, to show that it is awake.
    Waking,
    /// Its machine is on its way to sleep, or to its end: nothing for it.
    Resting,
}

/// How a poll comes to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// It has just arrived, so its worker is awake.
    Fresh,
    /// It has been held for a while; its worker may have been put to sleep meanwhile.
    Held,
}

/// Every worker, the last heard first.
pub async fn list(ctx: &Ctx) -> Result<Vec<Worker>> {
    let mut tx = ctx.read("pool.workers.list").await?;
    store::list(&mut tx).await
}

/// One worker.
pub async fn get(ctx: &Ctx, id: WorkerId) -> Result<Worker> {
    let mut tx = ctx.read("pool.workers.get").await?;
    load(&mut tx, id).await
}

/// One worker, in a transaction.
pub async fn find(tx: &mut Tx, id: WorkerId) -> Result<Option<Worker>> {
    store::find(tx, id).await
}

/// The worker of a machine, once one has registered.
pub async fn of_machine(tx: &mut Tx, machine: MachineId) -> Result<Option<Worker>> {
    store::find_by_machine(tx, machine).await
}

/// Takes a runner in. Its machine counts as ready from here on.
pub async fn register(ctx: &Ctx, tx: &mut Tx, register: &Register) -> Result<Registration> {
    if !PROTOCOLS.contains(&register.protocol) {
        let message = format!("this server speaks the protocols {PROTOCOLS:?}; build the runner's image anew");
        return Err(Error::invalid("protocol", message));
    }
    let capacity = i32::try_from(register.capacity).ok().filter(|capacity| (1..=WORKER_CAPACITY).contains(capacity));
    let capacity =
        capacity.ok_or_else(|| Error::invalid("capacity", format!("must be from 1 to {WORKER_CAPACITY}")))?;
    check_told(&register.version, &register.repositories)?;
    let Some((state, _)) = machines::store::state(tx, register.machine_id).await? else {
        return Err(Error::Unauthenticated("the pool has no such machine"));
    };
    if matches!(state, MachineState::Destroying | MachineState::Destroyed) {
        return Err(Error::Unauthenticated("the machine is being destroyed"));
    }
    let earlier = store::find_by_machine(tx, register.machine_id).await?;
    let is_new_boot = earlier.as_ref().is_none_or(|worker| worker.boot != Some(register.boot));
    if is_new_boot && earlier.is_some() && state == MachineState::Resuming {
        notice_cold_start(ctx, tx, register.machine_id).await?;
    }
    let id = earlier.map_or_else(|| ctx.id(WorkerId::mint), |worker| worker.id);
    let now = ctx.now();
    if is_new_boot {
        let metadata = json!({ "version": register.version, "protocol": register.protocol });
        store::register(tx, id, register.machine_id, register.boot, capacity, &metadata, now).await?;
        let new = json!({ "machine_id": register.machine_id, "boot": register.boot, "capacity": capacity });
        audit::write(ctx, tx, "worker.registered", &Entity::shared("worker", id), &Change::created(&new)?).await?;
    }
    machines::store::set_repositories(tx, register.machine_id, &register.repositories).await?;
    report_in(ctx, tx, register.machine_id, state, now).await?;
    Ok(Registration { worker: id, is_new_boot })
}

/// A machine was woken and has booted instead: its memory was lost, and with it whatever it was doing.
async fn notice_cold_start(ctx: &Ctx, tx: &mut Tx, machine: MachineId) -> Result<()> {
    tracing::warn!(machine.id = %machine, "a machine's memory was lost while it slept; it has booted");
    metrics::counter!("machine_cold_starts_total").increment(1);
    machines::store::count_cold_start(tx, machine).await?;
    let payload = json!({ "machine_id": machine });
    outbox::push(ctx, tx, kind::MACHINE_COLD_START, About::default(), &payload).await
}

/// A runner's machine is untrusted once a task has run on it: what it tells is bounded.
fn check_told(version: &str, repositories: &[String]) -> Result<()> {
    if version.len() > 100 || version.contains('\0') {
        return Err(Error::invalid("version", "must have at most 100 characters"));
    }
    let is_name = |name: &String| !name.is_empty() && name.len() <= 100 && !name.contains('\0');
    if repositories.len() > REPOSITORIES_MAX || !repositories.iter().all(is_name) {
        return Err(Error::invalid("repositories", format!("must be at most {REPOSITORIES_MAX} names of mirrors")));
    }
    Ok(())
}

/// Notes that a worker polls, and tells how its machine stands.
pub async fn contact(ctx: &Ctx, tx: &mut Tx, worker: &Worker, poll: &Poll, arrival: Arrival) -> Result<Standing> {
    let now = ctx.now();
    let standing = stand(ctx, tx, worker, poll, arrival, now).await?;
    if arrival == Arrival::Fresh && now - worker.last_heartbeat >= TOUCH_AFTER {
        store::touch(tx, worker.id, now).await?;
    }
    Ok(standing)
}

async fn stand(
    ctx: &Ctx,
    tx: &mut Tx,
    worker: &Worker,
    poll: &Poll,
    arrival: Arrival,
    now: DateTime<Utc>,
) -> Result<Standing> {
    let Some(machine) = worker.machine_id else { return Ok(Standing::Working) };
    if poll.repositories != worker.repositories {
        check_told("", &poll.repositories)?;
        machines::store::set_repositories(tx, machine, &poll.repositories).await?;
    }
    let Some((state, batch)) = machines::store::state(tx, machine).await? else { return Ok(Standing::Resting) };
    match state {
        MachineState::Creating | MachineState::Starting | MachineState::Resuming => match arrival {
            Arrival::Held => Ok(Standing::Waking),
            Arrival::Fresh => {
                report_in(ctx, tx, machine, state, now).await?;
                Ok(Standing::Working)
            }
        },
        MachineState::Ready if worker.status == WorkerStatus::Disabled && arrival == Arrival::Fresh => {
            report_in(ctx, tx, machine, state, now).await?;
            Ok(Standing::Working)
        }
        MachineState::Ready => Ok(Standing::Working),
        MachineState::Draining if poll.checkpointed_batch == Some(batch) => {
            shift(ctx, tx, machine, MachineState::Draining, MachineState::Suspending, None).await?;
            Ok(Standing::Resting)
        }
        MachineState::Draining => Ok(Standing::Draining { batch }),
        MachineState::Suspending | MachineState::Suspended | MachineState::Destroying | MachineState::Destroyed => {
            Ok(Standing::Resting)
        }
    }
}

/// A worker was heard from: its machine is capacity again.
async fn report_in(ctx: &Ctx, tx: &mut Tx, machine: MachineId, state: MachineState, now: DateTime<Utc>) -> Result<()> {
    if matches!(state, MachineState::Creating | MachineState::Starting | MachineState::Resuming) {
        shift(ctx, tx, machine, state, MachineState::Ready, None).await?;
        machines::store::clear_error(tx, machine).await?;
        machines::store::set_used(tx, machine, true).await?;
        regions::image_works(tx, machine).await?;
        machines::store::set_idle_since(tx, machine, Some(now)).await?;
    }
    store::enable_of_machine(tx, machine, now).await?;
    tx.nudge(CAPACITY_NUDGE);
    Ok(())
}

/// Notes a heartbeat (row CAIRN-53).
pub async fn heartbeat(tx: &mut Tx, id: WorkerId, now: DateTime<Utc>) -> Result<()> {
    store::touch(tx, id, now).await
}

/// Several workers, in a transaction, in no order.
pub async fn find_all(tx: &mut Tx, ids: &[WorkerId]) -> Result<Vec<Worker>> {
    if ids.is_empty() { Ok(Vec::new()) } else { store::find_all(tx, ids).await }
}

/// Several workers, each locked to the end of the transaction, in the order of their ids.
pub async fn lock_all(tx: &mut Tx, ids: &[WorkerId]) -> Result<Vec<Worker>> {
    if ids.is_empty() { Ok(Vec::new()) } else { store::lock_all(tx, ids).await }
}

/// A worker that is known by a name of its own choice, and what kind of work it takes.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    /// Who says so.
    pub by: &'a Ctx,
    /// Whose worker it is: a name is one tenant's own.
    pub tenant: TenantId,
    /// The name.
    pub name: &'a str,
    /// Kept when the worker is new.
    pub worker_type: &'a str,
}

/// The ids of workers that are known by name; who is not there yet is registered, with room for as many
/// executions as any worker takes. What nobody has heard of for a day is forgotten.
pub async fn ensure_named(
    ctx: &Ctx,
    tx: &mut Tx,
    named: &[Named<'_>],
) -> Result<HashMap<(TenantId, String), WorkerId>> {
    let mut known = HashMap::new();
    if named.is_empty() {
        return Ok(known);
    }
    let with_key = |(tenant, name, id)| ((tenant, name), id);
    known.extend(store::find_named(tx, named.iter()).await?.into_iter().map(with_key));
    let mut new: Vec<(WorkerId, &Named<'_>)> = Vec::new();
    for one in named {
        let is_seen = new.iter().any(|(_, other)| (other.tenant, other.name) == (one.tenant, one.name));
        if !is_seen && !known.contains_key(&(one.tenant, one.name.to_owned())) {
            new.push((ctx.id(WorkerId::mint), one));
        }
    }
    if !new.is_empty() {
        store::add_named(tx, &new, WORKER_CAPACITY, ctx.now()).await?;
        let found = store::find_named(tx, new.iter().map(|(_, named)| *named)).await?;
        known.extend(found.into_iter().map(with_key));
        for (id, Named { by, tenant, name, worker_type }) in new {
            // Somebody else may have been faster.
            if known.get(&(*tenant, (*name).to_owned())) == Some(&id) {
                let new = json!({ "name": name, "worker_type": worker_type, "capacity": WORKER_CAPACITY });
                audit::write(by, tx, "worker.added", &Entity::shared("worker", id), &Change::created(&new)?).await?;
            }
        }
    }
    Ok(known)
}

/// Notes that workers without a machine were heard, on whose word: who was silent before counts again.
pub async fn heard(tx: &mut Tx, workers: &[(&Ctx, &Worker)], now: DateTime<Utc>) -> Result<()> {
    if workers.is_empty() {
        return Ok(());
    }
    let ids: Vec<WorkerId> = workers.iter().map(|(_, worker)| worker.id).collect();
    store::revive_all(tx, &ids, now).await?;
    for (by, worker) in workers.iter().filter(|(_, worker)| worker.status == WorkerStatus::Disabled) {
        let change = status_change(worker.status, WorkerStatus::Idle)?;
        audit::write(by, tx, "worker.enabled", &Entity::shared("worker", worker.id), &change).await?;
    }
    Ok(())
}

/// Forgets who came by a name alone, has nothing and was not heard of for a day.
async fn forget_named(ctx: &Ctx) -> Result<()> {
    let mut tx = ctx.begin("pool.workers.forget").await?;
    for (id, name) in store::forget_named(&mut tx, ctx.now() - FORGET_AFTER).await? {
        let change = Change::removed(&json!({ "name": name }))?.because("it was silent for a day");
        audit::write(ctx, &mut tx, "worker.removed", &Entity::shared("worker", id), &change).await?;
    }
    tx.commit(()).await
}

/// Notes how many executions each worker has. A machine is idle from the moment its worker has none.
pub async fn set_loads(tx: &mut Tx, loads: &[(&Worker, i64)], now: DateTime<Utc>) -> Result<()> {
    for (worker, load) in loads {
        if let Some(machine) = worker.machine_id {
            machines::store::set_idle_since(tx, machine, (*load == 0).then_some(now)).await?;
            let more = i32::try_from(*load).unwrap_or(i32::MAX) - worker.current_load;
            if more > 0 {
                machines::store::count_executions(tx, machine, more).await?;
            }
            tx.nudge(CAPACITY_NUDGE);
        }
    }
    let loads: Vec<(WorkerId, i64)> = loads.iter().map(|(worker, load)| (worker.id, *load)).collect();
    if loads.is_empty() { Ok(()) } else { store::set_loads(tx, &loads).await }
}

/// Counts a machine whose worker has nothing to do as idle only from then on; the next execution undoes it. The time
/// passes by itself, whatever becomes of who asked for it.
pub async fn keep_awake(tx: &mut Tx, worker: WorkerId, until: DateTime<Utc>) -> Result<()> {
    match find(tx, worker).await? {
        Some(Worker { machine_id: Some(machine), current_load: 0, .. }) => {
            machines::store::set_idle_since(tx, machine, Some(until)).await
        }
        _ => Ok(()),
    }
}

/// Workers on ready machines that were heard lately and have room, the emptiest first.
pub async fn available(tx: &mut Tx, now: DateTime<Utc>, silence: Duration) -> Result<Vec<Worker>> {
    let heard_since = now - TimeDelta::from_std(silence).unwrap_or(STALE_AFTER);
    store::available(tx, heard_since).await
}

/// Workers that are disabled and still have something: it is lost.
pub async fn disabled_with_work(tx: &mut Tx) -> Result<Vec<Worker>> {
    store::disabled_with_work(tx).await
}

/// Disables workers that were silent for five minutes (row CAIRN-53), and has their machines started
/// anew; gives every worker that has been silent for so long.
pub async fn disable_stale(ctx: &Ctx) -> Result<Vec<Worker>> {
    let mut tx = ctx.begin("pool.workers.disable_stale").await?;
    let silent_since = ctx.now() - STALE_AFTER;
    let stale = store::stale(&mut tx, silent_since).await?;
    for worker in stale.iter().filter(|worker| worker.status != WorkerStatus::Disabled) {
        store::disable(&mut tx, worker.id).await?;
        let change = status_change(worker.status, WorkerStatus::Disabled)?.because("it was silent for five minutes");
        audit::write(ctx, &mut tx, "worker.disabled", &Entity::shared("worker", worker.id), &change).await?;
        tx.nudge(LOST_NUDGE);
        let Some(machine) = worker.machine_id else { continue };
        let why = "its worker has been silent for five minutes";
        if shift(ctx, &mut tx, machine, MachineState::Ready, MachineState::Starting, Some(why)).await? {
            machines::store::overdue(&mut tx, machine, ctx.now()).await?;
        }
    }
    let stale = stale.into_iter().map(|worker| Worker { status: WorkerStatus::Disabled, ..worker });
    tx.commit(stale.collect()).await
}

fn status_change(old: WorkerStatus, new: WorkerStatus) -> Result<Change> {
    Change::between(&json!({ "status": old }), &json!({ "status": new }))
}

/// After an outage of ours nobody could be heard: nobody is counted as silent for another while.
pub async fn grant_grace(tx: &mut Tx, now: DateTime<Utc>, grace: Duration) -> Result<()> {
    let grace = TimeDelta::from_std(grace).unwrap_or(STALE_AFTER);
    store::touch_all(tx, now - STALE_AFTER + grace.min(STALE_AFTER)).await
}

/// A worker that no machine of the pool carries, registered by hand (row CAIRN-50). It is everybody's; only the
/// attempt, where the request may be repeated, is a tenant's.
pub async fn add(ctx: &Ctx, new: NewWorker, attempt: Option<(TenantId, &Attempt)>) -> Result<WorkerView> {
    let new = NewWorker { agent_types: agent_types(new.agent_types, &new.worker_type), ..new };
    check(&new)?;
    let mut tx = ctx.begin("pool.workers.add").await?;
    if let Some((tenant, attempt)) = attempt
        && let Some(first) = idempotency::replay(&mut tx, tenant, attempt).await?
    {
        return Ok(first);
    }
    let id = ctx.id(WorkerId::mint);
    store::add(&mut tx, id, &new, ctx.now()).await?;
    let worker = load(&mut tx, id).await?;
    audit::write(ctx, &mut tx, "worker.added", &Entity::shared("worker", id), &Change::created(&described(&worker))?)
        .await?;
    let view = WorkerView::from(worker);
    if let Some((tenant, attempt)) = attempt {
        idempotency::remember(&mut tx, tenant, attempt, &view, ctx.now()).await?;
    }
    tx.commit(view).await
}

/// What a worker registered by hand tells about itself.
fn described(worker: &Worker) -> serde_json::Value {
    let Worker { worker_type, capacity, agent_types, metadata, .. } = worker;
    json!({ "worker_type": worker_type, "capacity": capacity, "agent_types": agent_types, "metadata": metadata })
}

/// Changes such a worker (row CAIRN-50). What it has already it keeps.
pub async fn update(ctx: &Ctx, id: WorkerId, change: WorkerChange) -> Result<Worker> {
    let mut tx = ctx.begin("pool.workers.update").await?;
    let worker = lock(&mut tx, id).await?.ok_or(Error::NotFound { what: "worker" })?;
    if worker.machine_id.is_some() {
        return Err(Error::conflict(
            "worker_has_machine",
            "the worker belongs to a machine of the pool, which describes it",
        ));
    }
    let before = described(&worker);
    let worker_type = change.worker_type.unwrap_or(worker.worker_type);
    let changed = NewWorker {
        agent_types: agent_types(change.agent_types.unwrap_or(worker.agent_types), &worker_type),
        worker_type,
        capacity: change.capacity.unwrap_or(worker.capacity),
        metadata: change.metadata.unwrap_or(worker.metadata),
    };
    check(&changed)?;
    store::change(&mut tx, id, &changed).await?;
    let worker = load(&mut tx, id).await?;
    let change = Change::between(&before, &described(&worker))?;
    audit::write(ctx, &mut tx, "worker.changed", &Entity::shared("worker", id), &change).await?;
    tx.commit(worker).await
}

/// Each once; the worker's own where it names none.
fn agent_types(named: Vec<String>, own: &str) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let named: Vec<String> = named.into_iter().filter(|name| seen.insert(name.clone())).collect();
    if named.is_empty() { vec![own.to_owned()] } else { named }
}

fn check(new: &NewWorker) -> Result<()> {
    let is_type =
        |name: &str| !name.trim().is_empty() && name.chars().count() <= AGENT_TYPE_CHARS && !name.contains('\0');
    if !is_type(&new.worker_type) {
        return Err(Error::invalid("worker_type", format!("must have 1 to {AGENT_TYPE_CHARS} characters")));
    }
    if new.agent_types.len() > AGENT_TYPES_PER_WORKER || !new.agent_types.iter().all(|name| is_type(name)) {
        let message = format!("must be at most {AGENT_TYPES_PER_WORKER} types of 1 to {AGENT_TYPE_CHARS} characters");
        return Err(Error::invalid("agent_types", message));
    }
    let text = new.metadata.to_string();
    if text.len() > WORKER_METADATA_BYTES || text.contains("\\u0000") {
        let message = format!("must be at most {WORKER_METADATA_BYTES} bytes of JSON without NUL");
        return Err(Error::invalid("metadata", message));
    }
    if !(1..=WORKER_CAPACITY).contains(&new.capacity) {
        return Err(Error::invalid("capacity", format!("must be from 1 to {WORKER_CAPACITY}")));
    }
    Ok(())
}

async fn load(tx: &mut Tx, id: WorkerId) -> Result<Worker> {
    store::find(tx, id).await?.ok_or(Error::NotFound { what: "worker" })
}

/// One worker, which nobody else gives anything until the transaction ends.
pub async fn lock(tx: &mut Tx, id: WorkerId) -> Result<Option<Worker>> {
    if store::lock(tx, id).await? { store::find(tx, id).await } else { Ok(None) }
}

/// Workers that no machine of the pool carries and that were heard lately, the emptiest first.
pub async fn by_hand(tx: &mut Tx, now: DateTime<Utc>) -> Result<Vec<Worker>> {
    store::by_hand(tx, now - STALE_AFTER).await
}

/// Notes a heartbeat of a worker registered by hand, and its load where it tells one.
pub async fn heartbeat_by_hand(ctx: &Ctx, id: WorkerId, told: Option<i32>) -> Result<Worker> {
    let mut tx = ctx.begin("pool.workers.heartbeat").await?;
    let worker = lock(&mut tx, id).await?.ok_or(Error::NotFound { what: "worker" })?;
    if worker.machine_id.is_some() {
        return Err(Error::conflict("worker_has_machine", "the worker's own runner reports for it"));
    }
    store::revive(&mut tx, id, ctx.now()).await?;
    if worker.status == WorkerStatus::Disabled {
        let change = status_change(worker.status, WorkerStatus::Idle)?;
        audit::write(ctx, &mut tx, "worker.enabled", &Entity::shared("worker", id), &change).await?;
    }
    if let Some(load) = told {
        // Whoever may take less from now on may still have more.
        let most = worker.capacity.max(worker.current_load);
        if !(0..=most).contains(&load) {
            return Err(Error::invalid("current_load", format!("must be from 0 to the capacity, {most}")));
        }
        store::set_loads(&mut tx, &[(id, i64::from(load))]).await?;
    }
    let worker = load(&mut tx, id).await?;
    tx.commit(worker).await
}

/// Forgets a worker that was registered by hand. One on a machine of the pool goes with its machine.
pub async fn remove(ctx: &Ctx, id: WorkerId) -> Result<()> {
    let mut tx = ctx.begin("pool.workers.remove").await?;
    let worker = lock(&mut tx, id).await?.ok_or(Error::NotFound { what: "worker" })?;
    if worker.machine_id.is_some() {
        return Err(Error::conflict(
            "worker_has_machine",
            "the worker belongs to a machine of the pool and goes with it",
        ));
    }
    if worker.current_load > 0 {
        let message =
            format!("the worker has work ({} executions); complete them, or cancel their tasks", worker.current_load);
        return Err(Error::conflict("worker_busy", message));
    }
    store::remove(&mut tx, id).await?;
    let change = Change::removed(&described(&worker))?;
    audit::write(ctx, &mut tx, "worker.removed", &Entity::shared("worker", id), &change).await?;
    tx.commit(()).await
}

pub(crate) async fn disable_of_machine(tx: &mut Tx, machine: MachineId) -> Result<()> {
    store::disable_of_machine(tx, machine).await
}

/// The reconciler that disables workers that fell silent (row CAIRN-53).
#[derive(Debug, Default)]
pub struct StaleWorkers {
    gap: Gap,
}

impl Reconciler for StaleWorkers {
    const NAME: &'static str = "stale-workers";
    const EVERY: Duration = Duration::from_secs(15);

    async fn tick(&self, ctx: &Ctx) -> Result<usize> {
        if self.gap.is_over(ctx.now(), Self::EVERY * 4) {
            let mut tx = ctx.begin("pool.workers.grace").await?;
            grant_grace(&mut tx, ctx.now(), Self::EVERY * 4).await?;
            return tx.commit(0).await;
        }
        disable_stale(ctx).await?;
        forget_named(ctx).await?;
        Ok(0)
    }
}

#[cfg(test)]
mod tests;
