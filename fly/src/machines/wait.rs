//! Waiting for a machine's state, past the sixty seconds that one call may take.

use std::time::Duration;

use reqwest::Method;
use serde::Serialize;
use tokio::time::Instant;

use super::Machines;
use crate::MachineState;
use crate::call::Repeat;
use crate::error::{Action, Error};

/// The API takes 1 to 60 seconds.
const CEILING: Duration = Duration::from_secs(60);
const FLOOR: Duration = Duration::from_secs(1);
/// What a call may take longer than it was asked to wait.
const GRACE: Duration = Duration::from_secs(5);

#[derive(Serialize)]
struct Query<'a> {
    state: &'static str,
    timeout: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance_id: Option<&'a str>,
}

impl Machines {
    /// Returns when the machine is in the given state. Fly wants the `instance_id` to wait for `stopped`:
    /// where none is given, the one that the machine has now is read. Waiting for a machine to be destroyed
    /// that is gone succeeds.
    pub async fn wait(
        &self,
        app: &str,
        id: &str,
        state: MachineState,
        instance_id: Option<&str>,
        timeout: Duration,
    ) -> Result<(), Error> {
        let began = Instant::now();
        let present = match (state, instance_id) {
            (MachineState::Stopped, None) => Some(self.machine(app, id).await?.instance_id),
            _ => None,
        };
        let instance_id = instance_id.or(present.as_deref().filter(|version| !version.is_empty()));
        let mut failures = 0;
        loop {
            let remaining = timeout.saturating_sub(began.elapsed());
            let ask = remaining.clamp(FLOOR, CEILING);
            let asked = Instant::now();
            let error = match self.wait_once(app, id, state, instance_id, ask).await {
                Ok(()) => return Ok(()),
                Err(error) if state == MachineState::Destroyed && error.status() == Some(404) => return Ok(()),
                Err(error) if !error.is_transient() => return Err(error),
                Err(error) => error,
            };
            if began.elapsed() >= timeout {
                return Err(not_reached(state, began.elapsed(), error));
            }
            // An answer before its time is a failure on the way: do not ask in a hot loop.
            if asked.elapsed() < ask {
                failures += 1;
                if error.retry_after().is_some_and(|rest| rest >= timeout.saturating_sub(began.elapsed())) {
                    return Err(error);
                }
                tokio::time::sleep(self.api.pause_after(&error, failures)).await;
            }
        }
    }

    async fn wait_once(
        &self,
        app: &str,
        id: &str,
        state: MachineState,
        instance_id: Option<&str>,
        ask: Duration,
    ) -> Result<(), Error> {
        let query = Query { state: state.as_str(), timeout: ask.as_millis().div_ceil(1_000) as u64, instance_id };
        let call = self.on_machine(Action::Wait, Method::GET, app, id, &["wait"]);
        // The loop above is the repeat.
        call.with(|request| request.query(&query)).deadline(ask + GRACE).repeat(Repeat::Never).done().await
    }
}

fn not_reached(wanted: MachineState, waited: Duration, last: Error) -> Error {
    match last {
        Error::Refused { status: 408, message, .. } => {
            let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
            Error::NotReached { wanted, waited_ms, detail: message }
        }
        other => other,
    }
}
