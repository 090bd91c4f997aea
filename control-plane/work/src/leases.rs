//! The worker protocol's use-cases: taking a worker in, handing out work and
//! instructions, renewing leases, hearing of begins and ends.
//!
//! Every one of them may be repeated after a lost answer. What a worker says of
//! an execution counts only with the fence of its lease.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use kernel::{Ctx, Error, Result, Tx};
use pool::workers::{Arrival, Registration, Standing, Worker};
use wire::execution::{Failure, Outcome, Phase};
use wire::id::{ExecutionId, WorkerId};
use wire::limit::{BUSY_SECONDS_MAX, MESSAGE_CHARS, POLL_SECONDS_MAX};
use wire::pull_request::PullRequest;
use wire::task::{TaskSpec, TaskStatus};
use wire::test_report::TestReport;
use wire::worker::{Completion, Heartbeat, HeartbeatReply, Instruction, Lease, Poll, Register};

use crate::admission::policy;
use crate::executions::{self, Begin, Ending, Execution, lessons, pull_requests, store};
use crate::tasks::{self, Task};
use crate::{Settings, checkpoints, kept};

/// The longest id of a commit, in hexadecimal digits.
const COMMIT_CHARS: usize = 64;

/// Takes a runner in. Whatever its earlier boot was doing is lost and becomes ready again.
#[tracing::instrument(skip_all, fields(machine.id = %register.machine_id))]
pub async fn register(ctx: &Ctx, settings: &Settings, register: &Register) -> Result<Registration> {
    let mut tx = ctx.begin("leases.register").await?;
    let registration = pool::workers::register(ctx, &mut tx, register).await?;
    if registration.is_new_boot {
        for execution in store::open_of_worker(&mut tx, registration.worker).await? {
            executions::lose(ctx, &mut tx, settings, &execution).await?;
        }
    }
    tx.commit(registration).await
}

/// Waits for something to do for the worker, at most as long as the poll says.
pub async fn next(ctx: &Ctx, settings: &Settings, worker: WorkerId, poll: &Poll) -> Result<Instruction> {
    let wait = Duration::from_secs(poll.wait_seconds.min(POLL_SECONDS_MAX));
    let deadline = tokio::time::Instant::now() + wait;
    let mut nudged = ctx.nudges.subscribe(pool::WORKERS_NUDGE);
    let mut arrival = Arrival::Fresh;
    loop {
        nudged.borrow_and_update();
        match look(ctx, settings, worker, poll, arrival).await? {
            Look::Say(instruction) => return Ok(instruction),
            Look::Nothing => (),
        }
        arrival = Arrival::Held;
        tokio::select! {
            _ = nudged.changed() => (),
            () = tokio::time::sleep_until(deadline) => return Ok(Instruction::Wait),
        }
    }
}

enum Look {
    Say(Instruction),
    Nothing,
}

async fn look(ctx: &Ctx, settings: &Settings, id: WorkerId, poll: &Poll, arrival: Arrival) -> Result<Look> {
    let mut tx = ctx.begin("leases.next").await?;
    let worker = known(&mut tx, id).await?;
    let standing = pool::workers::contact(ctx, &mut tx, &worker, poll, arrival).await?;
    if let (Arrival::Fresh, Some(held)) = (arrival, &poll.checkpoints) {
        checkpoints::held(&mut tx, &worker, held).await?;
    }
    if let (Arrival::Fresh, Some(work)) = (arrival, &poll.kept) {
        kept::told(&mut tx, &worker, work, &poll.running).await?;
    }
    // Only a runner that tells of its checkpoints knows what a pin is.
    let pin = match (&poll.checkpoints, standing) {
        (Some(_), Standing::Working | Standing::Draining { .. }) => checkpoints::unheard(&mut tx, &worker).await?,
        _ => None,
    };
    tx.commit(()).await?;
    if let Some(pin) = pin {
        return Ok(Look::Say(pin));
    }
    Ok(match standing {
        Standing::Working => {
            let mut tx = ctx.begin("leases.in_hand").await?;
            let instruction = in_hand(ctx, &mut tx, settings, &worker, poll).await?;
            tx.commit(instruction.map_or(Look::Nothing, Look::Say)).await?
        }
        Standing::Draining { batch } => Look::Say(Instruction::Checkpoint { batch }),
        Standing::Waking => Look::Say(Instruction::Wait),
        Standing::Resting => Look::Nothing,
    })
}

/// What the worker must hear of the executions it has.
async fn in_hand(
    ctx: &Ctx,
    tx: &mut Tx,
    settings: &Settings,
    worker: &Worker,
    poll: &Poll,
) -> Result<Option<Instruction>> {
    let open = store::open_of_worker(tx, worker.id).await?;
    if open.is_empty() {
        return Ok(None);
    }
    let knows = |id: ExecutionId| poll.running.iter().find(|running| running.execution_id == id);
    let cancelling = tasks::store::cancelling(tx).await?;
    let to_cancel = open.iter().find(|e| cancelling.contains(&e.id) && knows(e.id).is_some_and(|r| !r.cancelling));
    if let Some(execution) = to_cancel {
        return Ok(Some(Instruction::Cancel { execution_id: execution.id }));
    }
    let Some(execution) = open.into_iter().find(|execution| knows(execution.id).is_none()) else { return Ok(None) };
    let Some(task) = tasks::store::lock_any(tx, execution.task).await? else { return Ok(None) };
    let left = policy::seconds_left(&task, settings.micros_per_hour_of(execution.machine_rate));
    let Some((spec, bounded_by)) = task.spec.clone().map(|spec| bounded(spec, left)) else { return Ok(None) };
    let spec = pull_requests::describe(spec, task.id, &task.title, &task.description);
    let spec = match &spec.agent {
        Some(_) => lessons::add(spec, store::last_tested(tx, task.tenant, task.id).await?),
        None => spec,
    };
    if !store::renew(tx, worker.id, execution.id, execution.number, lease_end(ctx, settings)).await? {
        return Ok(None);
    }
    if execution.bounded_by != bounded_by {
        store::bound(tx, execution.id, bounded_by).await?;
    }
    let fence = i64::from(execution.number);
    let (execution_id, task_id) = (execution.id, execution.task);
    Ok(Some(Instruction::Execute(Box::new(Lease {
        execution_id,
        task_id,
        fence,
        spec,
        grant: None,
        egress_pass: None,
    }))))
}

/// A command may run no longer than its task's budget lets it. Tells what of that bounds it, where it does.
fn bounded(spec: TaskSpec, left: Option<(u64, Failure)>) -> (TaskSpec, Option<Failure>) {
    match left.filter(|(seconds, _)| *seconds < spec.timeout_seconds()) {
        Some((seconds, by)) => (TaskSpec { timeout_seconds: Some(seconds), ..spec }, Some(by)),
        None => (spec, None),
    }
}

/// Renews the leases of what a worker has in hand; names those that are no longer its own.
pub async fn heartbeat(ctx: &Ctx, settings: &Settings, id: WorkerId, heartbeat: &Heartbeat) -> Result<HeartbeatReply> {
    let mut tx = ctx.begin("leases.heartbeat").await?;
    known(&mut tx, id).await?;
    let until = lease_end(ctx, settings);
    let mut lost = Vec::new();
    for running in &heartbeat.running {
        let number = i32::try_from(running.fence).unwrap_or(-1);
        if !store::renew(&mut tx, id, running.execution_id, number, until).await? {
            lost.push(running.execution_id);
        }
    }
    pool::workers::heartbeat(&mut tx, id, ctx.now()).await?;
    tx.commit(HeartbeatReply { lost }).await
}

/// Hears that a worker has begun.
#[tracing::instrument(skip_all, fields(execution.id = %execution))]
pub async fn start(ctx: &Ctx, worker: WorkerId, execution: ExecutionId, fence: i64) -> Result<()> {
    let mut tx = ctx.begin("leases.start").await?;
    let (task, execution) = fenced(&mut tx, worker, execution, fence).await?;
    if execution.completed_at.is_some() {
        return Err(lease_lost());
    }
    if execution.started_at.is_none() {
        let begin = Begin { by: ctx, task: &task, execution: &execution };
        executions::start_all(ctx, &mut tx, &[begin]).await?;
    }
    tx.commit(()).await
}

/// Hears how an execution ended. The same word twice counts once.
#[tracing::instrument(skip_all, fields(execution.id = %execution))]
pub async fn complete(
    ctx: &Ctx,
    settings: &Settings,
    worker: WorkerId,
    execution: ExecutionId,
    completion: Completion,
) -> Result<()> {
    let (cost, tokens) =
        (executions::cost_micros(completion.cost_dollars.as_deref())?, executions::tokens(completion.tokens)?);
    let mut tx = ctx.begin("leases.complete").await?;
    let (task, mut execution) = fenced(&mut tx, worker, execution, completion.fence).await?;
    if let Some(ending) = &execution.ending {
        return if ending.outcome == completion.outcome { Ok(()) } else { Err(lease_lost()) };
    }
    if completion.outcome == Outcome::Preempted {
        return Err(Error::invalid("outcome", "is not the worker's to say; an execution is preempted here"));
    }
    let ending = Ending {
        outcome: completion.outcome,
        exit: completion.exit,
        failure: completion.failure,
        message: completion.message.as_deref().map(|text| told(text, MESSAGE_CHARS)),
        commit: completion.commit.as_deref().map(|text| told(text, COMMIT_CHARS)),
        phases: completion.phases.into_iter().take(Phase::ALL.len()).collect(),
        tests: completion.tests.map(TestReport::bounded).map(Box::new),
        pull_request: completion.pull_request.and_then(PullRequest::bounded).map(Box::new),
    };
    let ending = ending.bounded(execution.bounded_by);
    if !matches!(task.status, TaskStatus::Assigned | TaskStatus::InProgress) {
        return Err(lease_lost());
    }
    if execution.started_at.is_none() && completion.outcome != Outcome::WorkerLost {
        // Its word that it began was lost on the way.
        executions::began_unheard(&mut tx, &mut [&mut execution]).await?;
    }
    (execution.cost_micros, execution.tokens) = (cost, tokens);
    if let Some(saved) = completion.checkpoint {
        let worker = known(&mut tx, worker).await?;
        checkpoints::note(&mut tx, &worker, &execution, saved).await?;
    }
    executions::finish(ctx, &mut tx, settings, &task, &execution, ending).await?;
    if let Some(seconds) = completion.busy_seconds {
        let seconds = i64::try_from(seconds.min(BUSY_SECONDS_MAX)).unwrap_or_default();
        pool::workers::keep_awake(&mut tx, worker, ctx.now() + TimeDelta::seconds(seconds)).await?;
    }
    tx.commit(()).await
}

/// What a runner says is bounded, and free of what Postgres cannot keep.
fn told(text: &str, chars: usize) -> String {
    text.chars().filter(|c| *c != '\0').take(chars).collect()
}

/// After an outage of the control plane nobody could renew or be heard: every lease gets one more term,
/// and no worker counts as silent for as long.
pub async fn grant_grace(ctx: &Ctx, settings: &Settings) -> Result<u64> {
    let mut tx = ctx.begin("leases.grace").await?;
    pool::workers::grant_grace(&mut tx, ctx.now(), settings.lease).await?;
    let renewed = store::renew_all(&mut tx, lease_end(ctx, settings)).await?;
    tx.commit(renewed).await
}

/// A task and the execution of it that the worker holds, both locked, the task first: everybody takes
/// locks in the order task, execution, machine, worker, so that nobody waits in a circle.
async fn fenced(tx: &mut Tx, worker: WorkerId, execution: ExecutionId, fence: i64) -> Result<(Task, Execution)> {
    let seen = store::of_worker(tx, worker, execution).await?.ok_or_else(lease_lost)?;
    let task = tasks::store::lock_any(tx, seen.task).await?.ok_or_else(lease_lost)?;
    let held = store::lock_of_worker(tx, worker, execution).await?;
    let held = held.filter(|execution| i64::from(execution.number) == fence).ok_or_else(lease_lost)?;
    Ok((task, held))
}

pub(crate) fn lease_lost() -> Error {
    Error::conflict("lease_lost", "the lease was lost: the execution has ended, or somebody else has the task")
}

async fn known(tx: &mut Tx, id: WorkerId) -> Result<Worker> {
    pool::workers::find(tx, id).await?.ok_or(Error::Unauthenticated("the worker is not known; register again"))
}

fn lease_end(ctx: &Ctx, settings: &Settings) -> DateTime<Utc> {
    ctx.now() + TimeDelta::from_std(settings.lease).unwrap_or(TimeDelta::minutes(1))
}
