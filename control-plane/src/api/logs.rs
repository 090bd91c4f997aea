//! A task's record as it is written, as server-sent events: `event` (a stored
//! event, with its place as the id), `waiting` (why the task waits, whenever
//! that changes) and, once, `end` (the task). A stream that cannot go on says
//! `error` and has no `end`.

mod feed;
mod tail;

use std::convert::Infallible;
use std::time::Duration;

use access::permission::TasksRead;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use client::sse::Message;
use futures_util::Stream;
use futures_util::future::Either;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep_until};
use wire::event::{StoredEvent, kind};
use wire::id::{TaskId, TenantId};
use wire::limit::LOG_LINES;
use wire::problem::Problem;
use wire::task::TaskStatus;
use wire::why::Why;
use work::tasks;

use super::body::{Id, Parameters};
use super::caller::Allowed;
use super::events::unavailable;
use super::problem::ApiError;
use super::record::Record;
use super::{App, State};
use feed::Feed;
use tail::Tail;

/// A comment is sent this often, so that a dead connection is noticed.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);
/// How long after a task's end its record may still grow: a runner that could not reach the event store.
const GRACE: Duration = Duration::from_secs(5);
/// How often a waiting task's reason is looked at.
const WHY_EVERY: Duration = Duration::from_millis(500);
/// However often tasks change, the own one is not looked at more often than this because of it.
const CHANGES_EVERY: Duration = Duration::from_millis(20);
/// Events of one page, where nothing is followed.
const PAGE: u32 = 1_000;

/// How to read.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct LogsQuery {
    /// Whether to stay until the task's end.
    #[serde(default)]
    follow: bool,
    /// Only from where so many last lines of output begin (at most 4 MiB of it), then what comes; everything without
    /// it. Those of both streams count together. A stream that is resumed goes on where it was.
    #[param(minimum = 1, maximum = 10_000)]
    lines: Option<u32>,
}

impl LogsQuery {
    fn check(&self) -> kernel::Result<()> {
        if self.lines.is_some_and(|lines| !(1..=LOG_LINES).contains(&lines)) {
            let cure = format!("must be from 1 to {LOG_LINES}; leave it out for everything");
            return Err(kernel::Error::invalid("lines", cure));
        }
        Ok(())
    }
}

/// A task's record, as server-sent events.
#[utoipa::path(
    get, path = "/tasks/{id}/logs", tag = "tasks",
    params(("id" = TaskId, Path), LogsQuery, ("last-event-id" = Option<u64>, Header, description = "Resume behind it")),
    responses((status = 200, description = "text/event-stream of event, waiting and end"),
              (status = 400, body = Problem), (status = 401, body = Problem), (status = 404, body = Problem),
              (status = 503, body = Problem)))]
pub(super) async fn logs(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksRead>,
    Id(id): Id<TaskId>,
    Parameters(query): Parameters<LogsQuery>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    query.check()?;
    tasks::get(&app.ctx, caller.tenant, id).await?;
    let resumed = headers.get("last-event-id").and_then(|value| value.to_str().ok()?.parse().ok());
    let mut follower = Follower::new(app, caller.tenant, id, resumed.unwrap_or(0));
    // Asked for before the answer begins, so that a store that is away is told by the status.
    let first = match (query.lines.filter(|_| resumed.is_none()), query.follow) {
        (Some(lines), _) => {
            let mut tail = Tail::new(lines);
            follower.page_of(&mut tail).await.map_err(unavailable)?;
            First::Tail(tail)
        }
        (None, false) => First::Page(follower.page().await.map_err(unavailable)?),
        (None, true) => First::Page(vec![]),
    };
    let stream = match query.follow {
        true => Either::Left(followed(follower, first)),
        false => Either::Right(written(follower, first)),
    };
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(SIGN_OF_LIFE)))
}

/// What an answer begins with, as far as it was read before it.
enum First {
    Page(Vec<Event>),
    /// All of the record is read for its last lines, however long that takes.
    Tail(Tail),
}

impl First {
    async fn read(self, follower: &mut Follower) -> Result<Vec<Event>, client::Error> {
        match self {
            Self::Page(events) => Ok(events),
            Self::Tail(mut tail) => {
                while follower.page_of(&mut tail).await? {}
                Ok(tail.finish().iter().map(passed_on).collect())
            }
        }
    }
}

fn cut_short(error: &client::Error) -> Event {
    tracing::warn!(%error, "a record could not be read to its end");
    Event::default().event("error").data("unavailable")
}

/// The record until the task's end.
fn followed(mut follower: Follower, first: First) -> impl Stream<Item = Result<Event, Infallible>> {
    async_stream::stream! {
        let mut step = match first.read(&mut follower).await {
            Ok(say) => Step { say, is_last: false },
            Err(error) => Step { say: vec![cut_short(&error)], is_last: true },
        };
        let mut steps = Steps::new(&follower.app);
        loop {
            for event in step.say {
                yield Ok(event);
            }
            if step.is_last {
                return;
            }
            step = steps.next(&mut follower).await;
        }
    }
}

/// The record as far as it is written.
fn written(mut follower: Follower, first: First) -> impl Stream<Item = Result<Event, Infallible>> {
    async_stream::stream! {
        let mut page = first.read(&mut follower).await;
        loop {
            match page {
                Ok(events) if events.is_empty() => break,
                Ok(events) => {
                    for event in events {
                        yield Ok(event);
                    }
                }
                Err(error) => {
                    yield Ok(cut_short(&error));
                    return;
                }
            }
            page = follower.page().await;
        }
        yield Ok(follower.end().await);
    }
}

/// One reader of one task's record.
struct Follower {
    app: App,
    tenant: TenantId,
    task: TaskId,
    /// The place of the last event that was passed on.
    after: u64,
    record: Record,
    feed: Feed,
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
    looked_at: Instant,
    look_at: Instant,
    give_up_at: Option<Instant>,
}

impl Steps {
    fn new(app: &App) -> Self {
        let (changed, now) = (app.ctx.nudges.subscribe(tasks::CHANGED_NUDGE), Instant::now());
        Self { changed, looked_at: now, look_at: now, give_up_at: None }
    }

    async fn next(&mut self, follower: &mut Follower) -> Step {
        let serving = follower.app.serving.clone();
        tokio::select! {
            () = serving.stopping() => Step { say: vec![], is_last: true },
            message = follower.feed.next(follower.after) => match follower.pass_on(&message) {
                Some((say, true)) => self.look(follower, vec![say]).await,
                Some((say, false)) => Step { say: vec![say], is_last: false },
                None => Step::default(),
            },
            _ = self.changed.changed() => {
                self.look_at = self.look_at.min(self.looked_at + CHANGES_EVERY);
                Step::default()
            }
            () = sleep_until(self.look_at) => self.look(follower, vec![]).await,
        }
    }

    /// Looks at the task: has it ended, or why does it wait?
    async fn look(&mut self, follower: &mut Follower, mut say: Vec<Event>) -> Step {
        self.looked_at = Instant::now();
        self.look_at = self.looked_at + WHY_EVERY;
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

impl Follower {
    fn new(app: App, tenant: TenantId, task: TaskId, after: u64) -> Self {
        let feed = Feed::new(app.events.clone(), task);
        Self { app, tenant, task, after, record: Record::default(), feed, told: None }
    }

    /// The event, and whether it may have changed the task.
    fn pass_on(&mut self, message: &Message) -> Option<(Event, bool)> {
        let event: StoredEvent = serde_json::from_str(&message.data).ok()?;
        self.note(&event);
        let passed_on = Event::default().event("event").id(event.seq.to_string()).data(&message.data);
        Some((passed_on, changes_task(&event.kind)))
    }

    fn note(&mut self, event: &StoredEvent) {
        self.after = event.seq;
        self.record.take(event);
    }

    /// The next page of what is there already; empty at its end.
    async fn page(&mut self) -> Result<Vec<Event>, client::Error> {
        Ok(self.read_on().await?.iter().map(passed_on).collect())
    }

    /// The same for the last lines of it; whether there was one.
    async fn page_of(&mut self, tail: &mut Tail) -> Result<bool, client::Error> {
        let events = self.read_on().await?;
        let is_more = !events.is_empty();
        events.into_iter().for_each(|event| tail.take(event));
        Ok(is_more)
    }

    async fn read_on(&mut self) -> Result<Vec<StoredEvent>, client::Error> {
        let page = self.app.events.task_events(self.task, self.after, PAGE).await?;
        page.events.iter().for_each(|event| self.note(event));
        Ok(page.events)
    }

    /// Why the task waits, if that was not told already.
    async fn why(&mut self) -> Option<Event> {
        let why = work::why(&self.app.ctx, &self.app.work, &self.app.pool, self.tenant, self.task).await.ok()?;
        if self.told.as_ref() == Some(&why) {
            return None;
        }
        let event = message("waiting", &why);
        self.told = Some(why);
        Some(event)
    }

    async fn end(self) -> Event {
        match tasks::get(&self.app.ctx, self.tenant, self.task).await {
            Ok(task) => message("end", &task),
            Err(error) => Event::default().event("error").data(error.code()),
        }
    }
}

fn passed_on(event: &StoredEvent) -> Event {
    message("event", event).id(event.seq.to_string())
}

/// Whether a task stands otherwise after such an event than before it; output, of which there is most, is not such.
fn changes_task(word: &str) -> bool {
    word.starts_with("task.") || word == kind::EXECUTION_FINISHED
}

pub(super) fn message(name: &str, data: &impl Serialize) -> Event {
    let data = serde_json::to_string(data).expect("views are plain data");
    Event::default().event(name).data(data)
}
