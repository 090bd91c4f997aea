//! `GET …/wait`: an answer when a machine is in one of the asked states, or after
//! a minute at most.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State as Extracted};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Emulated;
use super::body::Query;
use super::machines::Machine;
use crate::machine::{Record, State};
use crate::refusal::Refusal;

/// What can be waited for; `settled` is any state that lasts.
const STATES: [&str; 6] = ["started", "stopped", "suspended", "destroyed", "failed", "settled"];
const SECONDS: std::ops::RangeInclusive<u64> = 1..=60;

/// What a request waits for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    states: Vec<String>,
    timeout: Duration,
    version: Option<String>,
}

/// Parameters may be repeated, so they come as pairs.
pub(super) async fn wait(
    Extracted(registry): Emulated,
    Path((app, id)): Machine,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Json<Value>, Refusal> {
    let mut view = registry.watch_machine(&app, &id)?;
    let wanted = parse(query)?;
    let deadline = Instant::now() + wanted.timeout;
    loop {
        let record = Arc::clone(&view.borrow_and_update());
        if wanted.version.as_ref().is_some_and(|version| *version != record.instance_id) {
            return Err(Refusal::invalid_argument("the machine has no such version"));
        }
        if is_reached(&wanted.states, record.state) {
            return Ok(Json(reached(&record)));
        }
        if record.state == State::Destroyed {
            return Err(Refusal::not_found("machine"));
        }
        tokio::select! {
            changed = view.changed() => {
                // Without a sender there will be no change; the last view was looked at above.
                if changed.is_err() && registry.tasks.is_stopping() {
                    return Err(Refusal::stopping());
                }
            }
            () = registry.tasks.stopping() => return Err(Refusal::stopping()),
            () = tokio::time::sleep_until(deadline) => return Err(too_late(&wanted.states, record.state)),
        }
    }
}

fn parse(query: Vec<(String, String)>) -> Result<Wanted, Refusal> {
    let mut wanted = Wanted { states: Vec::new(), timeout: Duration::from_secs(*SECONDS.end()), version: None };
    for (name, value) in query {
        match name.as_str() {
            "state" => wanted.states.extend(value.split(',').map(|state| state.trim().to_owned())),
            "timeout" => wanted.timeout = parse_timeout(&value)?,
            "version" | "instance_id" => wanted.version = Some(value).filter(|version| !version.is_empty()),
            _ => (),
        }
    }
    if wanted.states.is_empty() {
        wanted.states.push("started".to_owned());
    }
    match wanted.states.iter().find(|state| !STATES.contains(&state.as_str())) {
        Some(unknown) => Err(Refusal::invalid_argument(format!("unknown state {unknown:?}"))),
        None => Ok(wanted),
    }
}

fn parse_timeout(text: &str) -> Result<Duration, Refusal> {
    let seconds: u64 = text.parse().map_err(|_| Refusal::invalid_argument("timeout must be a number of seconds"))?;
    if !SECONDS.contains(&seconds) {
        return Err(Refusal::invalid_argument("value must be inside range [1s, 1m0s]"));
    }
    Ok(Duration::from_secs(seconds))
}

fn is_reached(states: &[String], state: State) -> bool {
    states.iter().any(|wanted| wanted == state.as_str() || (wanted == "settled" && state.is_settled()))
}

fn reached(record: &Record) -> Value {
    json!({
        "ok": true,
        "state": record.state.as_str(),
        "version": record.instance_id,
        "event_id": record.events.last().map_or("", |event| event.id.as_str()),
    })
}

fn too_late(states: &[String], state: State) -> Refusal {
    let wanted = states.join(",");
    let current = state.as_str();
    Refusal::deadline_exceeded(format!("machine failed to reach desired state, {wanted}, currently {current}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(query: &[(&str, &str)]) -> Result<Wanted, Refusal> {
        parse(query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn states_may_be_repeated_or_joined_and_default_to_started() {
        let wanted = parsed(&[("state", "stopped,failed"), ("state", "settled"), ("timeout", "1")]).expect("valid");
        assert_eq!(wanted.states, ["stopped", "failed", "settled"]);
        assert_eq!(wanted.timeout, Duration::from_secs(1));
        assert_eq!(parsed(&[]).expect("valid").states, ["started"]);
        assert_eq!(parsed(&[]).expect("valid").timeout, Duration::from_secs(60));
    }

    #[test]
    fn a_timeout_outside_a_minute_and_an_unknown_state_are_refused() {
        for query in [("timeout", "0"), ("timeout", "61"), ("timeout", "soon"), ("state", "nowhere")] {
            assert_eq!(parsed(&[query]).expect_err("refused").status, 400, "{query:?}");
        }
        let range = parsed(&[("timeout", "90")]).expect_err("refused").error;
        assert_eq!(range, "invalid_argument: value must be inside range [1s, 1m0s]");
    }

    #[test]
    fn settled_is_any_state_that_lasts() {
        let settled = ["settled".to_owned()];
        assert!(is_reached(&settled, State::Suspended));
        assert!(!is_reached(&settled, State::Stopping));
    }
}
