//! The worker protocol over HTTP; see [`wire::worker`].

use axum::Json;
use kernel::{Actor, Error};
use pool::workers::Worker;
use serde::{Deserialize, Serialize};
use wire::egress::Pass;
use wire::grant::Grant;
use wire::id::{ExecutionId, WorkerId};
use wire::problem::Problem;
use wire::signature::machine_key_id;
use wire::worker::{
    Completion, EventAccess, Heartbeat, HeartbeatReply, Instruction, Poll, Register, Registered, Running, Start,
    WorkerView,
};
use work::leases;

use super::body::{Body, Id, Ids};
use super::caller::{Bearer, ThisWorker, Witness};
use super::problem::ApiError;
use super::{App, State};

/// Takes a runner in. The bearer is its machine's token.
#[utoipa::path(
    post, path = "/workers/register", tag = "worker protocol", request_body = Register,
    responses((status = 200, body = Registered), (status = 400, body = Problem), (status = 401, body = Problem)))]
pub(super) async fn register(
    State(app): State<App>,
    Bearer(token): Bearer,
    Body(register): Body<Register>,
) -> Result<Json<Registered>, ApiError> {
    if !app.credentials.owns_machine_token(register.machine_id, &token) {
        return Err(Error::Unauthenticated("the machine's token is not valid").into());
    }
    app.ctx.identify(Actor::Machine(register.machine_id));
    let worker = leases::register(&app.ctx, &app.work, &register).await?.worker;
    let key_id = machine_key_id(register.machine_id);
    Ok(Json(Registered {
        worker_id: worker,
        token: app.credentials.worker_token(worker, register.boot),
        lease_seconds: app.work.lease.as_secs(),
        heartbeat_seconds: app.work.heartbeat.as_secs().max(1),
        events: EventAccess {
            url: app.events_public_url.to_string(),
            key: app.event_secret.derive(&key_id).reveal(),
            key_id,
        },
    }))
}

/// Waits for something to do.
#[utoipa::path(
    post, path = "/workers/{id}/next", tag = "worker protocol", params(("id" = WorkerId, Path)), request_body = Poll,
    responses((status = 200, body = Instruction), (status = 401, body = Problem)))]
pub(super) async fn next(
    State(app): State<App>,
    ThisWorker(worker): ThisWorker,
    Body(poll): Body<Poll>,
) -> Result<Json<Instruction>, ApiError> {
    let next = leases::next(&app.ctx, &app.work, worker.id, &poll);
    tokio::select! {
        instruction = next => Ok(Json(granted(&app, &worker, instruction?))),
        attach = app.attachments.wanted(worker.id), if poll.attaches => Ok(Json(attach)),
        // A server that stops must not wait for those who wait for it.
        () = app.serving.stopping() => Ok(Json(Instruction::Wait)),
    }
}

/// A lease goes out with the grant that lets the worker's machine write the execution's events, and with the pass to
/// the hosts that its task names.
fn granted(app: &App, worker: &Worker, mut instruction: Instruction) -> Instruction {
    if let (Instruction::Execute(lease), Some(machine)) = (&mut instruction, worker.machine_id) {
        let grant = Grant { machine, task: lease.task_id, execution: lease.execution_id };
        lease.grant = Some(app.event_grants.issue(&grant));
        // What is no host was refused with the task.
        let hosts: Vec<_> = lease.spec.egress.iter().filter_map(|host| host.parse().ok()).collect();
        lease.egress_pass = (!hosts.is_empty()).then(|| app.event_grants.issue_pass(&Pass { grant, hosts }));
    }
    instruction
}

/// A heartbeat: of a runner with its leases, or of a worker registered by hand with its load.
#[derive(Debug, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AnyHeartbeat {
    /// What a runner is working on; each of these leases is renewed.
    #[serde(default)]
    running: Vec<Running>,
    /// How many executions a worker registered by hand has.
    #[serde(default)]
    current_load: Option<i32>,
}

/// The answer to either.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(untagged)]
pub(super) enum AnyHeartbeatReply {
    /// To a runner.
    Runner(HeartbeatReply),
    /// To a worker registered by hand.
    ByHand(Box<WorkerView>),
}

/// Notes that a worker is alive. A runner sends its own token, anybody else an API key that may
/// write workers.
#[utoipa::path(
    post, path = "/workers/{id}/heartbeat", tag = "worker protocol", params(("id" = WorkerId, Path)),
    request_body = AnyHeartbeat,
    responses((status = 200, body = AnyHeartbeatReply), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 404, body = Problem)))]
pub(super) async fn heartbeat(
    State(app): State<App>,
    witness: Witness,
    Id(id): Id<WorkerId>,
    Body(heartbeat): Body<AnyHeartbeat>,
) -> Result<Json<AnyHeartbeatReply>, ApiError> {
    match witness {
        Witness::Runner(worker) => {
            let heartbeat = Heartbeat { running: heartbeat.running };
            let reply = leases::heartbeat(&app.ctx, &app.work, worker.id, &heartbeat).await?;
            Ok(Json(AnyHeartbeatReply::Runner(reply)))
        }
        Witness::Key => {
            let worker = pool::workers::heartbeat_by_hand(&app.ctx, id, heartbeat.current_load).await?;
            Ok(Json(AnyHeartbeatReply::ByHand(Box::new(worker.into()))))
        }
    }
}

/// Says that work on an execution has begun.
#[utoipa::path(
    post, path = "/workers/{id}/executions/{execution_id}/start", tag = "worker protocol",
    params(("id" = WorkerId, Path), ("execution_id" = ExecutionId, Path)), request_body = Start,
    responses((status = 200), (status = 401, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn start(
    State(app): State<App>,
    ThisWorker(worker): ThisWorker,
    Ids(_, execution): Ids<WorkerId, ExecutionId>,
    Body(start): Body<Start>,
) -> Result<Json<()>, ApiError> {
    leases::start(&app.ctx, worker.id, execution, start.fence).await?;
    Ok(Json(()))
}

/// Says how an execution ended.
#[utoipa::path(
    post, path = "/workers/{id}/executions/{execution_id}/complete", tag = "worker protocol",
    params(("id" = WorkerId, Path), ("execution_id" = ExecutionId, Path)), request_body = Completion,
    responses((status = 200), (status = 401, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn complete(
    State(app): State<App>,
    ThisWorker(worker): ThisWorker,
    Ids(_, execution): Ids<WorkerId, ExecutionId>,
    Body(completion): Body<Completion>,
) -> Result<Json<()>, ApiError> {
    leases::complete(&app.ctx, &app.work, worker.id, execution, completion).await?;
    Ok(Json(()))
}
