//! Starts the event store's machine when it sleeps (row TEL-3b). Nobody else may:
//! runners hold no token of the provider.
//!
//! It starts nothing that is up: a store that runs and does not answer needs a
//! person, and one that is on its way needs time.

use fly::{Advice, Machine, MachineState, Machines};

/// Knows which app the event store is.
#[derive(Debug)]
pub struct Waker {
    machines: Machines,
    app: String,
}

/// What the app's machines call for.
#[derive(Debug, PartialEq, Eq)]
enum Choice<'a> {
    /// This one sleeps.
    Start(&'a str),
    /// One is up, or about to be in another state.
    Wait,
    /// None is left that a start would help.
    Nothing,
}

impl Waker {
    /// With the provider's client and the event store's app.
    pub fn new(machines: Machines, app: &str) -> Self {
        Self { machines, app: app.to_owned() }
    }

    /// Starts the store's machine if it is stopped or suspended. What came of that is logged and
    /// counted; whether it helped, the next probe shows.
    pub(crate) async fn wake(&self) {
        let app = &self.app;
        let outcome = match self.try_wake().await {
            Ok(outcome) => outcome,
            Err(error) if is_for_a_person(&error) => {
                tracing::error!(app, %error, "the event store cannot be woken; see that its app is the one that BIFROST_EVENTS_APP names, and that FLY_API_TOKEN is good for it");
                "refused"
            }
            Err(error) => {
                tracing::warn!(app, %error, "the event store was not woken this time");
                "failed"
            }
        };
        metrics::counter!("event_store_wakes_total", "outcome" => outcome).increment(1);
    }

    async fn try_wake(&self) -> Result<&'static str, fly::Error> {
        let app = &self.app;
        match choose(&self.machines.machines(app).await?) {
            Choice::Start(id) => {
                self.machines.start(app, id).await?;
                tracing::info!(app, machine.provider_id = id, "the event store's machine slept and is started");
                Ok("started")
            }
            Choice::Wait => Ok("up"),
            Choice::Nothing => {
                tracing::error!(app, "the event store has no machine that could be started; deploy it anew");
                Ok("no_machine")
            }
        }
    }
}

/// The store is on a volume; other machines of its app, such as a deploy makes for a check, are not.
fn choose(machines: &[Machine]) -> Choice<'_> {
    let has_volume = |machine: &&Machine| machine.config.as_ref().is_none_or(|config| !config.mounts.is_empty());
    let mut choice = Choice::Nothing;
    for machine in machines.iter().filter(has_volume) {
        match machine.state {
            MachineState::Stopped | MachineState::Suspended if choice == Choice::Nothing => {
                choice = Choice::Start(&machine.id);
            }
            MachineState::Created
            | MachineState::Creating
            | MachineState::Starting
            | MachineState::Started
            | MachineState::Stopping
            | MachineState::Suspending
            | MachineState::Restarting
            | MachineState::Updating
            | MachineState::Replacing => return Choice::Wait,
            MachineState::Stopped
            | MachineState::Suspended
            | MachineState::Replaced
            | MachineState::Destroying
            | MachineState::Destroyed
            | MachineState::Failed
            | MachineState::LaunchFailed
            | MachineState::Migrated
            | MachineState::Unknown => (),
        }
    }
    choice
}

/// Whether trying again will not help.
fn is_for_a_person(error: &fly::Error) -> bool {
    match error.advice() {
        Advice::Gone
        | Advice::GiveUp
        | Advice::Undo
        | Advice::RecreateElsewhere
        | Advice::AnotherRegion
        | Advice::RestRegion
        | Advice::Adopt(_) => true,
        Advice::LookAgain | Advice::WaitAndRetry | Advice::SlowDown => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn machine(id: &str, state: &str, mounts: usize) -> Machine {
        let mounts = vec![json!({ "volume": "vol_1", "path": "/data" }); mounts];
        let config = json!({ "image": "events", "mounts": mounts });
        serde_json::from_value(json!({ "id": id, "state": state, "config": config })).expect("a machine")
    }

    #[test]
    fn only_a_sleeping_machine_with_a_volume_is_started_and_none_beside_one_that_is_up() {
        let check = machine("check", "stopped", 0);
        for (machines, choice) in [
            (vec![], Choice::Nothing),
            (vec![check.clone()], Choice::Nothing),
            (vec![check.clone(), machine("a", "stopped", 1)], Choice::Start("a")),
            (vec![machine("a", "suspended", 1)], Choice::Start("a")),
            (vec![machine("a", "failed", 1), machine("b", "stopped", 1)], Choice::Start("b")),
            (vec![machine("a", "stopped", 1), machine("b", "stopped", 1)], Choice::Start("a")),
            (vec![machine("a", "started", 1)], Choice::Wait),
            (vec![machine("a", "stopped", 1), machine("b", "starting", 1)], Choice::Wait),
            (vec![machine("a", "stopping", 1)], Choice::Wait),
            (vec![machine("a", "failed", 1), check], Choice::Nothing),
        ] {
            assert_eq!(choose(&machines), choice, "{machines:?}");
        }
    }
}
