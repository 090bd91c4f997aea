//! `bifrost stream` and `bifrost tasks show --follow`: what happens, line by line,
//! while it happens. A connection that breaks is made anew behind the last line, so that none is missed.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use client::sse::{Message, Messages};
use serde::Deserialize as _;
use serde_json::Value;
use tokio::time::{Instant, timeout, timeout_at};
use wire::event::kind;
use wire::id::TaskId;
use wire::task::{TaskStatus, TaskView};
use wire::webhook::Happening;

use crate::args::StreamArguments;
use crate::connect::Server;
use crate::cost::dollars;
use crate::exit::{Code, failure};
use crate::invocation::Invocation;
use crate::outage::{LOST, Outage, PATIENCE, Step};
use crate::output::one_line;
use crate::table::or_dash;

/// A stream that was silent for so long is opened anew: a dead connection looks just the same.
const SILENCE: Duration = Duration::from_secs(30);
/// What changes within so long is shown together.
const TOGETHER: Duration = Duration::from_millis(200);

/// Names the machine that an event is about.
const MACHINE: &str = "machine_id";

/// What is followed.
enum Source {
    /// Everything, or events of these types.
    All(Option<String>),
    /// One task, to its end.
    Task(TaskId),
}

impl Source {
    async fn open(&self, server: &Server, after: Option<&str>) -> Result<Messages, client::Error> {
        match self {
            Self::All(types) => server.control.stream(types.as_deref(), after).await,
            Self::Task(id) => server.control.task_stream(*id, after).await,
        }
    }
}

/// Follows everything until it is interrupted.
pub(crate) async fn follow(invocation: &Invocation, arguments: &StreamArguments) -> anyhow::Result<()> {
    let server = Server::find(invocation)?;
    let types = (!arguments.events.is_empty()).then(|| arguments.events.join(","));
    let place = arguments.after.map(|after| after.to_string());
    follow_source(invocation, &server, &Source::All(types), place).await
}

/// Follows one task until it has ended.
pub(crate) async fn follow_task(invocation: &Invocation, server: &Server, id: TaskId) -> anyhow::Result<()> {
    follow_source(invocation, server, &Source::Task(id), None).await
}

/// Does something now, and again whenever something of a task has changed, until it is interrupted.
pub(crate) async fn on_changes(
    invocation: &Invocation,
    server: &Server,
    mut again: impl AsyncFnMut() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let source = Source::All(Some("task.*".into()));
    let mut outage = Outage::default();
    loop {
        let broken = match source.open(server, None).await {
            Ok(mut messages) => {
                let opened_at = Instant::now();
                // The first says that the stream is open.
                while let Ok(Some(_)) = timeout(SILENCE, messages.next()).await {
                    outage.over();
                    let until = Instant::now() + TOGETHER;
                    while let Ok(Some(_)) = timeout_at(until, messages.next()).await {}
                    again().await?;
                }
                outage.held_for(opened_at.elapsed());
                "the stream ended".to_owned()
            }
            Err(error) if error.is_transient() => error.to_string(),
            Err(error) => return Err(server.explain(error).into()),
        };
        wait(invocation, &mut outage, || given_up(server, &broken, None)).await?;
    }
}

/// Waits until the server is to be tried again, or gives up.
async fn wait(
    invocation: &Invocation,
    outage: &mut Outage,
    given_up: impl FnOnce() -> anyhow::Error,
) -> anyhow::Result<()> {
    match outage.broke(Instant::now(), &invocation.chance) {
        Step::Retry { at, is_news } => {
            if is_news {
                invocation.output.say(LOST);
            }
            tokio::time::sleep_until(at).await;
            Ok(())
        }
        Step::GiveUp => Err(given_up()),
    }
}

async fn follow_source(
    invocation: &Invocation,
    server: &Server,
    source: &Source,
    mut place: Option<String>,
) -> anyhow::Result<()> {
    let mut outage = Outage::default();
    loop {
        let broken = match source.open(server, place.as_deref()).await {
            Ok(mut messages) => {
                let opened_at = Instant::now();
                while let Ok(Some(message)) = timeout(SILENCE, messages.next()).await {
                    outage.over();
                    let is_end = print(invocation, &message)?;
                    if is_end && matches!(source, Source::Task(_)) {
                        return Ok(());
                    }
                    place = message.id.or(place);
                }
                outage.held_for(opened_at.elapsed());
                "the stream ended".to_owned()
            }
            Err(error) if error.is_transient() => error.to_string(),
            Err(error) => return Err(server.explain(error).into()),
        };
        wait(invocation, &mut outage, || given_up(server, &broken, place.as_deref())).await?;
    }
}

fn given_up(server: &Server, broken: &str, place: Option<&str>) -> anyhow::Error {
    let base = server.control.base();
    let message = format!("no contact to the server at {base} for {} s: {broken}", PATIENCE.as_secs());
    let cure = match place {
        Some(place) => format!("go on later behind what was seen: bifrost stream --after {place}"),
        None => "is it running? its address goes in --url or BIFROST_URL".into(),
    };
    failure(Code::Unavailable, message, cure)
}

/// Prints a message; whether its task has ended with it.
fn print(invocation: &Invocation, message: &Message) -> anyhow::Result<bool> {
    let (output, place) = (invocation.output, message.id.as_deref().unwrap_or("-"));
    match message.event.as_str() {
        "open" => return Ok(false),
        "gap" => {
            output.warn("some of what happened is no longer kept; what follows is whole again");
            return Ok(false);
        }
        _ => (),
    }
    let value: Value = serde_json::from_str(&message.data)?;
    let line = if message.event == "task" {
        let task = TaskView::deserialize(&value)?;
        words(place, task.updated_at, "task", Some(task.id), &value)
    } else {
        let happening = Happening::deserialize(&value)?;
        let data = happening.data;
        match data.task {
            Some(task) => words(place, happening.timestamp, &happening.kind, data.task_id, &task),
            None => details(place, happening.timestamp, &happening.kind, data.task_id, &data.details),
        }
    };
    if output.is_json {
        output.json(&value)?
    } else {
        output.line(&line)?
    }
    Ok(is_end(&message.event, &value))
}

fn is_end(event: &str, value: &Value) -> bool {
    let task = if event == "task" { value } else { &value["data"]["task"] };
    let status = task["status"].as_str().and_then(|status| status.parse::<TaskStatus>().ok());
    event == kind::TASK_DELETED || status.is_some_and(TaskStatus::is_final)
}

fn words(place: &str, at: DateTime<Utc>, event: &str, id: Option<TaskId>, task: &Value) -> String {
    let at = at.to_rfc3339_opts(SecondsFormat::Micros, true);
    let id = id.map_or_else(|| "-".to_owned(), |id| id.to_string());
    let field = |name| one_line(task[name].as_str().unwrap_or("-"));
    format!("{place} {at} {} {id} {} {}", one_line(event), field("status"), field("title"))
}

/// What is about no task, such as a machine or a budget, in its own words: `state=ready`, `percent=80`.
fn details(place: &str, at: DateTime<Utc>, event: &str, id: Option<TaskId>, details: &Value) -> String {
    let at = at.to_rfc3339_opts(SecondsFormat::Micros, true);
    let about = id.map(|id| id.to_string()).or_else(|| Some(details[MACHINE].as_str()?.to_owned()));
    let mut line = format!("{place} {at} {} {}", one_line(event), or_dash(about));
    for (name, value) in details.as_object().into_iter().flatten().filter(|(name, _)| *name != MACHINE) {
        let (name, value) = match (name.strip_suffix("_micros"), value) {
            (Some(name), Value::Number(micros)) => (name, micros.as_i64().map(dollars)),
            (_, Value::String(text)) => (name.as_str(), Some(one_line(text))),
            (_, Value::Number(_) | Value::Bool(_)) => (name.as_str(), Some(value.to_string())),
            (_, Value::Null | Value::Array(_) | Value::Object(_)) => (name.as_str(), None),
        };
        if let Some(value) = value {
            line.push_str(&format!(" {}={value}", one_line(name)));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_happens_is_one_line_whatever_its_title_holds() {
        let (at, id) =
            (DateTime::from_timestamp(1_795_000_000, 0).expect("in range"), "0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b71");
        let task = json!({ "status": "in_progress", "title": "a\nb" });
        let line = words("7", at, "task.started", id.parse().ok(), &task);
        assert_eq!(line, format!("7 2026-11-18T11:06:40.000000Z task.started {id} in_progress a b"));
    }

    #[test]
    fn what_is_about_no_task_says_what_it_is_about() {
        let at = DateTime::from_timestamp(1_795_000_000, 0).expect("in range");
        const ID: &str = "0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b71";
        for (event, words, expect) in [
            (
                "machine.state",
                json!({ "machine_id": ID, "state": "ready", "error": null }),
                "machine.state 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b71 state=ready",
            ),
            (
                "machine.stuck",
                json!({ "machine_id": ID, "state": "starting", "minutes": 5, "error": "no\nhost" }),
                "machine.stuck 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b71 error=no host minutes=5 state=starting",
            ),
            (
                "cost.alert",
                json!({ "period": "day", "percent": 80, "spent_micros": 8_100_000, "budget_micros": 10_000_000 }),
                "cost.alert - budget=$10.0000 percent=80 period=day spent=$8.1000",
            ),
            ("new", json!("words"), "new -"),
        ] {
            assert_eq!(details("7", at, event, None, &words), format!("7 2026-11-18T11:06:40.000000Z {expect}"));
        }
    }

    #[test]
    fn a_task_is_followed_to_its_end() {
        for (event, value, expect) in [
            ("task", json!({ "status": "ready" }), false),
            ("task", json!({ "status": "failed" }), true),
            ("task.started", json!({ "data": { "task": { "status": "in_progress" } } }), false),
            ("task.completed", json!({ "data": { "task": { "status": "completed" } } }), true),
            ("task.deleted", json!({ "data": {} }), true),
            ("task.metadata_set", json!({ "data": {} }), false),
        ] {
            assert_eq!(is_end(event, &value), expect, "{event}");
        }
    }
}
