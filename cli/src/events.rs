//! `bifrost events`: reads the record, of one task or of all of them, asks how the event
//! store is, and keeps the files of its log.

mod files;
mod head;
mod stats;
mod store;

use std::time::Duration;

use tokio::time::Instant;
use wire::event::StoredEvent;
use wire::id::TaskId;

use crate::args::EventsCommand;
use crate::connect::Server;
use crate::invocation::Invocation;
use crate::outage::{LOST, Outage, Step};
use crate::output::{Output, one_line};

/// Events asked for at once.
const PAGE: u32 = 500;
/// How often to look for more.
const POLL: Duration = Duration::from_millis(500);

/// Carries out one of the commands.
pub(crate) async fn run(invocation: &Invocation, command: &EventsCommand) -> anyhow::Result<()> {
    match command {
        EventsCommand::Get { id } => get(invocation.output, &Server::find(invocation)?, *id).await,
        EventsCommand::Stats => stats::run(invocation).await,
        EventsCommand::Tail { lines, after, no_follow } => {
            let server = Server::find(invocation)?;
            let after = match after {
                Some(after) => *after,
                None => end_of_log(&server).await?.saturating_sub(*lines),
            };
            tail(invocation, &server, after, *no_follow).await
        }
        EventsCommand::Head { save } => head::run(invocation, save.as_deref()).await,
        EventsCommand::Files(command) => files::run(invocation, command.clone()).await,
    }
}

/// Hands over every event of a task, page by page.
pub(crate) async fn each_of_task(
    server: &Server,
    id: TaskId,
    mut take: impl FnMut(&StoredEvent) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut after = 0;
    loop {
        let page = server.ask(async |control| control.task_events(id, after, PAGE).await).await?;
        let Some(last) = page.events.last() else { return Ok(()) };
        after = last.seq;
        page.events.iter().try_for_each(&mut take)?;
    }
}

async fn get(output: Output, server: &Server, id: TaskId) -> anyhow::Result<()> {
    if output.is_json {
        let mut events = Vec::new();
        each_of_task(server, id, |event| {
            events.push(event.clone());
            Ok(())
        })
        .await?;
        return output.json(&events);
    }
    each_of_task(server, id, |event| Ok(output.line(&line(event))?)).await
}

async fn tail(invocation: &Invocation, server: &Server, mut after: u64, no_follow: bool) -> anyhow::Result<()> {
    let output = invocation.output;
    let mut outage = Outage::default();
    loop {
        let page = match server.control.events(after, PAGE).await {
            Ok(page) => page,
            Err(error) if error.is_transient() => {
                let Step::Retry { at, is_news } = outage.broke(Instant::now(), &invocation.chance) else {
                    return Err(server.explain(error).into());
                };
                if is_news {
                    output.say(LOST);
                }
                tokio::time::sleep_until(at).await;
                continue;
            }
            Err(error) => return Err(server.explain(error).into()),
        };
        outage.over();
        for event in &page.events {
            if output.is_json { output.json(event)? } else { output.line(&line(event))? }
        }
        match page.events.last() {
            Some(last) => after = last.seq,
            None if no_follow => return Ok(()),
            None => tokio::time::sleep(POLL).await,
        }
    }
}

/// The place of the newest event. The log can only be asked what comes behind a place, so that is
/// asked at doubled distances and then between them: some forty small questions for a billion events.
async fn end_of_log(server: &Server) -> anyhow::Result<u64> {
    let is_behind = async |place: u64| -> anyhow::Result<bool> {
        let page = server.ask(async |control| control.events(place, 1).await).await?;
        Ok(!page.events.is_empty())
    };
    last_place(is_behind).await
}

/// The smallest place behind which there is nothing.
async fn last_place(is_behind: impl AsyncFn(u64) -> anyhow::Result<bool>) -> anyhow::Result<u64> {
    let (mut low, mut high) = (0, 1);
    if !is_behind(0).await? {
        return Ok(0);
    }
    while is_behind(high).await? {
        (low, high) = (high, high.saturating_mul(2));
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if is_behind(middle).await? { low = middle } else { high = middle }
    }
    Ok(high)
}

fn line(event: &StoredEvent) -> String {
    let about = event.task_id.map_or_else(|| "-".into(), |id| id.to_string());
    let at = event.created_at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    format!("{} {at} {} {about} {}", event.seq, one_line(&event.kind), one_line(event.payload.get()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_of_the_log_is_found_in_few_questions() {
        for end in [0, 1, 2, 3, 4, 5, 1_000, 1_023, 1_024, 1_025, 999_999_999] {
            let questions = std::cell::Cell::new(0);
            let found = last_place(async |place| {
                questions.set(questions.get() + 1);
                Ok(place < end)
            });
            assert_eq!(found.await.expect("is found"), end);
            assert!(questions.get() <= 62, "{end}: {}", questions.get());
        }
    }

    #[test]
    fn an_event_is_one_line_whatever_its_payload_holds() {
        let text = r#"{"seq":7,"id":"0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70","type":"x.y","producer":"p",
            "created_at":"2026-11-21T00:00:00Z","schema_version":1,"payload":{"a":
            "b"}}"#;
        let event: StoredEvent = serde_json::from_str(text).expect("reads");
        let expect = r#"7 2026-11-21T00:00:00.000000Z x.y - {"a":             "b"}"#;
        assert_eq!(line(&event), expect);
    }
}
