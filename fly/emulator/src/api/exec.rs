//! `/v1/apps/{app}/machines/{machine}/exec`: a program in a started machine.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Emulated;
use super::body::Body;
use super::machines::Machine;
use crate::driver::Executed;
use crate::machine::environment;
use crate::process::Program;
use crate::refusal::Refusal;
use crate::registry::understand;

/// Fly gives up after half a minute, whatever is asked for.
const LONGEST: Duration = Duration::from_secs(30);

/// What to run.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Exec {
    command: Vec<String>,
    /// The same as one text, as earlier clients say it.
    cmd: Option<String>,
    stdin: Option<String>,
    /// In seconds.
    timeout: Option<u64>,
}

impl Exec {
    fn command(&self) -> Result<Vec<String>, Refusal> {
        let command = match &self.cmd {
            Some(line) if self.command.is_empty() => {
                shlex::split(line).ok_or_else(|| Refusal::invalid_argument("cmd: a quotation mark is not closed"))?
            }
            Some(_) | None => self.command.clone(),
        };
        match command.first().is_none_or(String::is_empty) {
            true => Err(Refusal::invalid_argument("command: name the program and its arguments")),
            false => Ok(command),
        }
    }
}

pub(super) async fn run(
    State(registry): Emulated,
    Path((app, id)): Machine,
    Body(exec): Body<Exec>,
) -> Result<Json<Value>, Refusal> {
    let record = registry.machine(&app, &id)?;
    let command = exec.command()?;
    let trace = record.running("exec in")?;
    let program = Program {
        command,
        env: environment(&registry, &record, &understand(&record.config)?),
        root: registry.layout.machine_root(&id),
        stdin: exec.stdin.unwrap_or_default(),
    };
    let within = exec.timeout.map_or(LONGEST, Duration::from_secs).min(LONGEST);
    let executed = tokio::time::timeout(within, registry.driver.execute(trace, program)).await;
    let executed = executed.map_err(|_| Refusal::deadline_exceeded("the program still runs"))??;
    Ok(Json(show(&executed)))
}

fn show(executed: &Executed) -> Value {
    let Executed { exit_code, exit_signal, stdout, stderr } = executed;
    json!({
        "exit_code": exit_code.unwrap_or_default(),
        "exit_signal": exit_signal.unwrap_or_default(),
        "stdout": String::from_utf8_lossy(stdout),
        "stderr": String::from_utf8_lossy(stderr),
    })
}
