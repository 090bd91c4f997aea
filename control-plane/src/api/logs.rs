//! A task's record as it is written, as server-sent events: `event` (a stored
//! event, with its place as the id), `waiting` (why the task waits, whenever
//! that changes) and, once, `end` (the task).

use std::convert::Infallible;
use std::time::Duration;

use access::permission::TasksRead;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use client::sse::{Message, Messages};
use futures_util::Stream;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, sleep_until};
use wire::event::StoredEvent;
use wire::id::{TaskId, TenantId};
use wire::problem::Problem;
use wire::task::TaskStatus;
use wire::why::Why;
use work::tasks;

use super::App;
use super::body::{Id, Parameters};
use super::caller::Allowed;
use super::problem::ApiError;
use super::record::Record;

/// A comment is sent this often, so that a dead connection is noticed.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);
/// How long after a task's end its record may still grow: a runner that could not reach the event store.
const GRACE: Duration = Duration::from_secs(5);
/// How often a waiting task's reason is looked at.
const WHY_EVERY: Duration = Duration::from_millis(500);
/// Between tries to reach the event store.
const RECONNECT: Duration = Duration::from_millis(250);
/// Events of one page, where nothing is followed.
const PAGE: u32 = 1_000;

/// How to read.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct LogsQuery {
    /// Whether to stay until the task's end.
    #[serde(default)]
    follow: bool,
}

/// A task's record, as server-sent events.
#[utoipa::path(
    get, path = "/tasks/{id}/logs", tag = "tasks",
    params(("id" = TaskId, Path), LogsQuery, ("last-event-id" = Option<u64>, Header, description = "Resume behind it")),
    responses((status = 200, description = "text/event-stream of event, waiting and end"),
              (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn logs(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksRead>,
    Id(id): Id<TaskId>,
    Parameters(query): Parameters<LogsQuery>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    tasks::get(&app.ctx, caller.tenant, id).await?;
    let after = headers.get("last-event-id").and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0);
    let follower = Follower { app, tenant: caller.tenant, task: id, after, record: Record::default(), told: None };
    let stream = async_stream::stream! {
        let mut follower = follower;
        if query.follow {
            let mut messages = None;
            let mut steps = Steps::new(&follower.app);
            loop {
                let step = steps.next(&mut follower, &mut messages).await;
                for event in step.say {
                    yield Ok(event);
                }
                if step.is_last {
                    return;
                }
            }
        }
        while let Some(events) = follower.page().await {
            for event in events {
                yield Ok(event);
            }
        }
        yield Ok(follower.end().await);
    };
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(SIGN_OF_LIFE)))
}

/// One reader of one task's record.
struct Follower {
    app: App,
    tenant: TenantId,
    task: TaskId,
    /// The place of the last event that was passed on.
    after: u64,
    record: Record,
    /// The last reason that was told.
    told: Option<Why>,
}

/// What to pass on next.
#[derive(Default)]
struct Step {
    say: Vec<Event>,
    is_last: bool,
}

/// What a follower wakes for.
struct Steps {
    changed: tokio::sync::watch::Receiver<()>,
    look_at: Instant,
    give_up_at: Option<Instant>,
}

impl Steps {
    fn new(app: &App) -> Self {
        Self { changed: app.ctx.nudges.subscribe(tasks::CHANGED_NUDGE), look_at: Instant::now(), give_up_at: None }
    }

    async fn next(&mut self, follower: &mut Follower, messages: &mut Option<Messages>) -> Step {
        if messages.is_none() {
            *messages = follower.app.events.follow(Some(follower.task), follower.after).await.ok();
        }
        let serving = follower.app.serving.clone();
        tokio::select! {
            () = serving.stopping() => Step { say: vec![], is_last: true },
            message = next_message(messages) => match message {
                Some(message) => {
                    let say = follower.pass_on(&message).into_iter().collect();
                    self.look(follower, say).await
                }
                None => {
                    *messages = None;
                    self.look(follower, vec![]).await
                }
            },
            _ = self.changed.changed() => self.look(follower, vec![]).await,
            () = sleep_until(self.look_at) => self.look(follower, vec![]).await,
        }
    }

    /// Looks at the task: has it ended, or why does it wait?
    async fn look(&mut self, follower: &mut Follower, mut say: Vec<Event>) -> Step {
        self.look_at = Instant::now() + WHY_EVERY;
        let Ok(task) = tasks::get(&follower.app.ctx, follower.tenant, follower.task).await else {
            return Step { say, is_last: false };
        };
        if follower.record.is_whole(&task) {
            say.push(message("end", &task));
            return Step { say, is_last: true };
        }
        if task.status.is_final() {
            let give_up_at = *self.give_up_at.get_or_insert_with(|| Instant::now() + GRACE);
            if Instant::now() >= give_up_at {
                say.push(message("end", &task));
                return Step { say, is_last: true };
            }
        } else {
            self.give_up_at = None;
        }
        if task.status == TaskStatus::Ready {
            say.extend(follower.why().await);
        }
        Step { say, is_last: false }
    }
}

async fn next_message(messages: &mut Option<Messages>) -> Option<Message> {
    match messages {
        Some(messages) => messages.next().await,
        None => {
            sleep(RECONNECT).await;
            None
        }
    }
}

impl Follower {
    fn pass_on(&mut self, message: &Message) -> Option<Event> {
        let event: StoredEvent = serde_json::from_str(&message.data).ok()?;
        self.note(&event);
        Some(Event::default().event("event").id(event.seq.to_string()).data(&message.data))
    }

    fn note(&mut self, event: &StoredEvent) {
        self.after = event.seq;
        self.record.take(event);
    }

    /// The next page of what is there already; nothing at its end, or when the store does not answer.
    async fn page(&mut self) -> Option<Vec<Event>> {
        let page = self.app.events.task_events(self.task, self.after, PAGE).await.ok()?;
        let events: Vec<Event> = page
            .events
            .iter()
            .map(|event| {
                self.note(event);
                message("event", event).id(event.seq.to_string())
            })
            .collect();
        (!events.is_empty()).then_some(events)
    }

    /// Why the task waits, if that was not told already.
    async fn why(&mut self) -> Option<Event> {
        let why = work::why(&self.app.ctx, &self.app.pool, self.tenant, self.task).await.ok()?;
        if self.told.as_ref() == Some(&why) {
            return None;
        }
        let event = message("waiting", &why);
        self.told = Some(why);
        Some(event)
    }

    async fn end(&self) -> Event {
        match tasks::get(&self.app.ctx, self.tenant, self.task).await {
            Ok(task) => message("end", &task),
            Err(error) => Event::default().event("error").data(error.code()),
        }
    }
}

fn message(name: &str, data: &impl Serialize) -> Event {
    let data = serde_json::to_string(data).expect("views are plain data");
    Event::default().event(name).data(data)
}
