//! Attaching to a running command. Nobody connects to a runner: who attaches waits
//! here, the runner is told with its next poll and comes, and what each says is
//! passed to the other, no faster than the other takes it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use access::permission::{Permission, TasksRead};
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::response::Response;
use kernel::Error;
use kernel::audit::{self, Change, Entity};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{oneshot, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};
use wire::attach::{Closed, MESSAGE_BYTES, Word};
use wire::id::{AttachmentId, ExecutionId, TaskId, WorkerId};
use wire::problem::Problem;
use wire::task::TaskStatus;
use wire::worker::Instruction;

use super::body::{Id, Ids, Parameters};
use super::caller::{Allowed, ThisWorker};
use super::problem::{ApiError, problem};
use super::{App, State};

/// How long a runner may take to come: a poll and a connection.
const MEETING: Duration = Duration::from_secs(20);
/// Whoever takes longer to take a message is let go.
const TAKING: Duration = Duration::from_secs(30);
/// How often both are asked whether they live.
const SIGN_OF_LIFE: Duration = Duration::from_secs(20);
/// Those that wait for one worker at a time.
const WAITING_MAX: usize = 8;

/// Who waits for which runner.
#[derive(Debug, Clone, Default)]
pub(crate) struct Attachments {
    waiting: Arc<Mutex<HashMap<AttachmentId, Waiting>>>,
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct Waiting {
    worker: WorkerId,
    execution: ExecutionId,
    write: bool,
    is_told: bool,
    runner: oneshot::Sender<WebSocket>,
}

/// A place among those that wait, given up with this.
#[derive(Debug)]
struct Place {
    attachments: Attachments,
    id: AttachmentId,
    runner: oneshot::Receiver<WebSocket>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.attachments.lock().remove(&self.id);
    }
}

impl Attachments {
    fn wait(&self, id: AttachmentId, worker: WorkerId, execution: ExecutionId, write: bool) -> Result<Place, ApiError> {
        let (sender, runner) = oneshot::channel();
        let mut waiting = self.lock();
        if waiting.values().filter(|other| other.worker == worker).count() >= WAITING_MAX {
            let detail = format!("{WAITING_MAX} others are just attaching to what this machine runs; try again");
            return Err(problem(StatusCode::TOO_MANY_REQUESTS, "too_many_attachments", detail).into());
        }
        waiting.insert(id, Waiting { worker, execution, write, is_told: false, runner: sender });
        drop(waiting);
        self.changed.send_replace(());
        Ok(Place { attachments: self.clone(), id, runner })
    }

    /// What to tell a worker, once somebody waits for it. Each is told once.
    pub(crate) async fn wanted(&self, worker: WorkerId) -> Instruction {
        let mut changed = self.changed.subscribe();
        loop {
            if let Some(instruction) = self.tell(worker) {
                return instruction;
            }
            // Its sender lives as long as we do.
            drop(changed.changed().await);
        }
    }

    fn tell(&self, worker: WorkerId) -> Option<Instruction> {
        let mut waiting = self.lock();
        let (id, one) = waiting.iter_mut().find(|(_, one)| one.worker == worker && !one.is_told)?;
        one.is_told = true;
        Some(Instruction::Attach { attachment: *id, execution_id: one.execution, write: one.write })
    }

    fn take(&self, worker: WorkerId, id: AttachmentId) -> Option<oneshot::Sender<WebSocket>> {
        let mut waiting = self.lock();
        waiting.get(&id).filter(|one| one.worker == worker)?;
        waiting.remove(&id).map(|one| one.runner)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<AttachmentId, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How to attach.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct AttachQuery {
    /// Whether what is sent is typed to the command; needs the permission to write tasks.
    #[serde(default)]
    write: bool,
}

/// Shows what a running command says, as it says it, and with `write` types to it: a WebSocket. Binary messages are
/// the bytes; text messages are words about them in JSON: `opened`, `resize`, `skipped`, `closed`.
#[utoipa::path(
    get, path = "/tasks/{id}/attach", tag = "live", params(("id" = TaskId, Path), AttachQuery),
    responses((status = 101, description = "a WebSocket"), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem),
              (status = 426, body = Problem), (status = 429, body = Problem)))]
pub(super) async fn attach(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksRead>,
    Id(id): Id<TaskId>,
    Parameters(query): Parameters<AttachQuery>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    if query.write {
        caller.require(Permission::TasksWrite)?;
    }
    let task = work::tasks::get(&app.ctx, caller.tenant, id).await?;
    let running = task.execution.filter(|execution| execution.completed_at.is_none());
    let (TaskStatus::InProgress, Some(execution)) = (task.status, running) else {
        let message = format!("the task is {}, and only to one in progress can be attached", task.status);
        return Err(Error::conflict("not_running", message).into());
    };
    let Some(worker) = execution.worker_id else {
        return Err(Error::conflict("not_running", "nobody has the task").into());
    };
    let upgrade = upgraded(upgrade)?;
    if query.write {
        let mut tx = app.ctx.begin("api.attach").await?;
        let change = Change::created(&json!({ "attached_to": execution.id }))?;
        audit::write(&app.ctx, &mut tx, "task.attached", &Entity::new(caller.tenant, "task", id), &change).await?;
        tx.commit(()).await?;
    }
    let place = app.attachments.wait(app.ctx.id(AttachmentId::mint), worker, execution.id, query.write)?;
    Ok(upgrade.on_upgrade(move |person| meet_runner(app, person, place, query.write)))
}

/// The runner comes, to whoever waits for it.
#[utoipa::path(
    get, path = "/workers/{id}/attachments/{attachment_id}", tag = "worker protocol",
    params(("id" = WorkerId, Path), ("attachment_id" = AttachmentId, Path)),
    responses((status = 101, description = "a WebSocket"), (status = 401, body = Problem), (status = 404, body = Problem),
              (status = 426, body = Problem)))]
pub(super) async fn meet(
    State(app): State<App>,
    ThisWorker(worker): ThisWorker,
    Ids(_, attachment): Ids<WorkerId, AttachmentId>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    let upgrade = upgraded(upgrade)?;
    let waiting = app.attachments.take(worker.id, attachment).ok_or(Error::NotFound { what: "attachment" })?;
    // Who waited may have gone in the meantime; then this socket closes.
    Ok(upgrade.on_upgrade(|socket| async move { drop(waiting.send(socket)) }))
}

fn upgraded(upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>) -> Result<WebSocketUpgrade, ApiError> {
    let upgrade = upgrade.map_err(|rejection| {
        let detail = format!("this is a WebSocket: {rejection}; use `bifrost attach` or a WebSocket client");
        problem(StatusCode::UPGRADE_REQUIRED, "upgrade_required", detail)
    })?;
    Ok(upgrade.max_message_size(MESSAGE_BYTES).max_frame_size(MESSAGE_BYTES))
}

async fn meet_runner(app: App, mut person: WebSocket, mut place: Place, write: bool) {
    let met = tokio::select! {
        met = timeout(MEETING, &mut place.runner) => met,
        () = app.serving.stopping() => return farewell(person, Closed::ServerStops).await,
    };
    match met {
        Ok(Ok(runner)) => {
            let why = pass_on(&app, &mut person, runner, write).await;
            if let Some(why) = why {
                farewell(person, why).await;
            }
        }
        Ok(Err(_)) | Err(_) => farewell(person, Closed::RunnerAway).await,
    }
}

/// Passes messages on until one side is gone; what is still to be said to the person, if that one is not.
async fn pass_on(app: &App, person: &mut WebSocket, mut runner: WebSocket, write: bool) -> Option<Closed> {
    let mut beat = interval(SIGN_OF_LIFE);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let (to, message) = tokio::select! {
            message = person.recv() => match message {
                Some(Ok(message @ (Message::Binary(_) | Message::Text(_)))) if write => (&mut runner, message),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => continue,
            },
            message = runner.recv() => match message {
                Some(Ok(message @ (Message::Binary(_) | Message::Text(_)))) => (&mut *person, message),
                Some(Ok(Message::Close(_))) => return None,
                Some(Err(_)) | None => return Some(Closed::RunnerAway),
                Some(Ok(_)) => continue,
            },
            _ = beat.tick() => {
                let alive = send(person, Message::Ping(Vec::new().into())).await;
                if !(alive && send(&mut runner, Message::Ping(Vec::new().into())).await) {
                    return Some(Closed::RunnerAway);
                }
                continue;
            }
            () = app.serving.stopping() => return Some(Closed::ServerStops),
        };
        if !send(to, message).await {
            return Some(Closed::TooSlow);
        }
    }
}

async fn send(to: &mut WebSocket, message: Message) -> bool {
    matches!(timeout(TAKING, to.send(message)).await, Ok(Ok(())))
}

/// The last word to the person.
async fn farewell(mut person: WebSocket, why: Closed) {
    if let Ok(text) = serde_json::to_string(&Word::Closed { why }) {
        send(&mut person, Message::Text(text.into())).await;
    }
    send(&mut person, Message::Close(None)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_worker_is_told_once_of_each_who_waits_for_it_and_of_nobody_else() {
        let attachments = Attachments::default();
        let id = |number: u128| AttachmentId::from(uuid::Uuid::from_u128(number));
        let (mine, others) = (WorkerId::from(uuid::Uuid::from_u128(1)), WorkerId::from(uuid::Uuid::from_u128(2)));
        let execution = ExecutionId::from(uuid::Uuid::from_u128(3));
        let _other = attachments.wait(id(10), others, execution, true).expect("has room");
        assert_eq!(attachments.tell(mine), None);
        let wanted = attachments.wanted(mine);
        let waiting = async { attachments.wait(id(11), mine, execution, false).expect("has room") };
        let (instruction, place) = tokio::join!(wanted, waiting);
        assert_eq!(instruction, Instruction::Attach { attachment: id(11), execution_id: execution, write: false });
        assert_eq!(attachments.tell(mine), None);
        assert!(attachments.take(others, id(11)).is_none());
        drop(place);
        assert!(attachments.take(mine, id(11)).is_none());
    }

    #[tokio::test]
    async fn only_so_many_wait_for_one_worker() {
        let attachments = Attachments::default();
        let worker = WorkerId::from(uuid::Uuid::from_u128(1));
        let execution = ExecutionId::from(uuid::Uuid::from_u128(2));
        let wait = |number: u128| {
            attachments.wait(AttachmentId::from(uuid::Uuid::from_u128(number)), worker, execution, false)
        };
        let mut places: Vec<_> = (0..WAITING_MAX as u128).map(|number| wait(number).expect("has room")).collect();
        assert!(wait(99).is_err());
        places.pop();
        assert!(wait(99).is_ok());
    }
}
