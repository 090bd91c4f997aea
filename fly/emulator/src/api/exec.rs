//! `/v1/apps/{app}/machines/{machine}/exec`: a program in a machine that is a container.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Emulated;
use super::body::Body;
use super::machines::Machine;
use crate::driver::{Driver, Trace};
use crate::machine::State as At;
use crate::refusal::Refusal;

/// Fly gives up after half a minute, whatever is asked for.
const LONGEST: Duration = Duration::from_secs(30);

/// What to run.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Exec {
    command: Vec<String>,
    stdin: Option<String>,
    /// In seconds.
    timeout: Option<u64>,
}

pub(super) async fn run(
    State(registry): Emulated,
    Path((app, id)): Machine,
    Body(exec): Body<Exec>,
) -> Result<Json<Value>, Refusal> {
    let record = registry.machine(&app, &id)?;
    if exec.command.first().is_none_or(String::is_empty) {
        return Err(Refusal::invalid_argument("command: name the program and its arguments"));
    }
    if exec.stdin.is_some_and(|text| !text.is_empty()) {
        return Err(Refusal::unprocessable("stdin: this emulator gives a program nothing to read"));
    }
    let (Driver::Container(containers), trace) = (&registry.driver, &record.process) else {
        let cure = "exec is for machines that are containers: start the emulator with --machines container";
        return Err(Refusal::unprocessable(cure));
    };
    let (Some(Trace::Container(trace)), At::Started) = (trace, record.state) else {
        let state = record.state.as_str();
        return Err(Refusal::failed_precondition(format!("unable to exec in machine from current state: '{state}'")));
    };
    let within = exec.timeout.map_or(LONGEST, Duration::from_secs).min(LONGEST);
    let running = containers.execute(trace, &exec.command);
    let executed = tokio::time::timeout(within, running)
        .await
        .map_err(|_| Refusal::deadline_exceeded("the program still runs"))?
        .map_err(|failure| Refusal::failed_precondition(format!("unable to exec: {failure}")))?;
    Ok(Json(json!({
        "exit_code": executed.exit_code,
        "stdout": String::from_utf8_lossy(&executed.stdout),
        "stderr": String::from_utf8_lossy(&executed.stderr),
    })))
}
