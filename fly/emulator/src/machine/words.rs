//! Pure: how the machine's log and the API's refusals put what happens to a machine.

use super::record::Source;
use super::state::{Event, Illegal, State};
use crate::refusal::Refusal;

/// What an event is called in the machine's log, and who made it happen. An exit is noted by itself.
pub(super) fn log_entry(event: Event) -> Option<(&'static str, Source)> {
    Some(match event {
        Event::Launch => ("launch", Source::User),
        Event::Start => ("start", Source::User),
        Event::Suspend => ("suspend", Source::User),
        Event::Stop => ("stop", Source::User),
        Event::Restart => ("restart", Source::User),
        Event::Replace { .. } => ("update", Source::User),
        Event::Destroy { .. } => ("destroy", Source::User),
        Event::Up | Event::BootFailed => ("start", Source::Flyd),
        Event::Frozen | Event::FreezeFailed => ("suspend", Source::Flyd),
        Event::StopOverdue | Event::Shutdown => ("stop", Source::Flyd),
        Event::RestartDue => ("restart", Source::Flyd),
        Event::Removed => ("destroy", Source::Flyd),
        Event::InitEnded(_) | Event::Recovered(_) => return None,
    })
}

/// Fly's words for what a machine in this state is not up to.
pub(super) fn unable(verb: &str, state: State) -> Refusal {
    Refusal::failed_precondition(format!("unable to {verb} machine from current state: '{}'", state.as_str()))
}

/// Fly's words for what cannot be done in a state.
pub(super) fn refusal(id: &str, Illegal { state, event }: Illegal) -> Refusal {
    let unable = |verb| unable(verb, state);
    match event {
        Event::Start
        | Event::Suspend
        | Event::Stop
        | Event::Restart
        | Event::Replace { .. }
        | Event::Destroy { .. }
            if state == State::Destroyed =>
        {
            Refusal::not_found("machine")
        }
        Event::Start if matches!(state, State::Stopping | State::Suspending | State::Restarting) => {
            Refusal::failed_precondition("machine still active, refusing to start")
        }
        Event::Start if state == State::Replacing => {
            Refusal::failed_precondition("machine getting replaced, refusing to start")
        }
        Event::Start => unable("start"),
        Event::Suspend => unable("suspend"),
        Event::Stop => unable("stop"),
        Event::Restart => unable("restart"),
        Event::Replace { .. } => unable("update"),
        Event::Destroy { .. } => Refusal::failed_precondition(
            "unable to destroy machine, not currently stopped, suspended, failed or created",
        ),
        Event::Launch
        | Event::Up
        | Event::BootFailed
        | Event::Frozen
        | Event::FreezeFailed
        | Event::InitEnded(_)
        | Event::StopOverdue
        | Event::RestartDue
        | Event::Removed
        | Event::Shutdown
        | Event::Recovered(_) => Refusal::bug(format!("{event:?} happened to machine {id} while {state:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_in_flys_words() {
        let started = "failed_precondition: unable to start machine from current state: 'created'";
        let active = "failed_precondition: machine still active, refusing to start";
        let replaced = "failed_precondition: machine getting replaced, refusing to start";
        let running =
            "failed_precondition: unable to destroy machine, not currently stopped, suspended, failed or created";
        for (state, event, status, error) in [
            (State::Created, Event::Start, 412, started),
            (State::Stopping, Event::Start, 412, active),
            (State::Replacing, Event::Start, 412, replaced),
            (State::Started, Event::Destroy { force: false }, 412, running),
            (State::Destroyed, Event::Stop, 404, "machine not found"),
        ] {
            let refusal = refusal("148ed599c14698", Illegal { state, event });
            assert_eq!((refusal.status, refusal.error.as_str()), (status, error));
        }
    }
}
