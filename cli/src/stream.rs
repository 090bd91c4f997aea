//! `bifrost stream`: what happens, line by line, while it happens. A connection
//! that breaks is made anew behind the last line, so that none is missed.

use std::time::Duration;

use client::sse::Message;
use tokio::time::{Instant, timeout};
use wire::webhook::Happening;

use crate::args::StreamArguments;
use crate::connect::Server;
use crate::exit::{Code, failure};
use crate::invocation::Invocation;
use crate::outage::{LOST, Outage, PATIENCE, Step};
use crate::output::one_line;

/// A stream that was silent for so long is opened anew: a dead connection looks just the same.
const SILENCE: Duration = Duration::from_secs(30);

/// Follows until it is interrupted.
pub(crate) async fn follow(invocation: &Invocation, arguments: &StreamArguments) -> anyhow::Result<()> {
    let server = Server::find(invocation)?;
    let types = (!arguments.events.is_empty()).then(|| arguments.events.join(","));
    let mut place = arguments.after.map(|after| after.to_string());
    let mut outage = Outage::default();
    loop {
        let broken = match server.control.stream(types.as_deref(), place.as_deref()).await {
            Ok(mut messages) => {
                let opened_at = Instant::now();
                while let Ok(Some(message)) = timeout(SILENCE, messages.next()).await {
                    outage.over();
                    print(invocation, &message)?;
                    place = message.id.or(place);
                }
                outage.held_for(opened_at.elapsed());
                "the stream ended".to_owned()
            }
            Err(error) if error.is_transient() => error.to_string(),
            Err(error) => return Err(server.explain(error).into()),
        };
        match outage.broke(Instant::now(), &invocation.chance) {
            Step::Retry { at, is_news } => {
                if is_news {
                    invocation.output.say(LOST);
                }
                tokio::time::sleep_until(at).await;
            }
            Step::GiveUp => return Err(given_up(&server, &broken, place.as_deref())),
        }
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

fn print(invocation: &Invocation, message: &Message) -> anyhow::Result<()> {
    let output = invocation.output;
    match message.event.as_str() {
        "open" => Ok(()),
        "gap" => {
            output.warn("some of what happened is no longer kept; what follows is whole again");
            Ok(())
        }
        _ if output.is_json => {
            let value: serde_json::Value = serde_json::from_str(&message.data)?;
            output.json(&value)
        }
        _ => Ok(output.line(&line(message.id.as_deref().unwrap_or("-"), &serde_json::from_str(&message.data)?))?),
    }
}

fn line(place: &str, happening: &Happening) -> String {
    let at = happening.timestamp.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    let task = happening.data.task_id.map_or_else(|| "-".to_owned(), |id| id.to_string());
    let field = |name| happening.data.task.as_ref().and_then(|task| task[name].as_str()).unwrap_or("-");
    format!(
        "{place} {at} {} {task} {} {}",
        one_line(&happening.kind),
        one_line(field("status")),
        one_line(field("title"))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_is_one_line_whatever_its_title_holds() {
        let text = r#"{"id":"0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70","type":"task.started","timestamp":"2026-11-21T00:00:00Z",
            "data":{"task_id":"0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b71","task":{"status":"in_progress","title":"a\nb"},"details":{}}}"#;
        let happening: Happening = serde_json::from_str(text).expect("reads");
        let expect = "7 2026-11-21T00:00:00.000000Z task.started 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b71 in_progress a b";
        assert_eq!(line("7", &happening), expect);
    }
}
