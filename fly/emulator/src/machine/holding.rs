//! Machines that are held on their way: all of them in the manual mode, and those
//! that a fault lets stick. A poke sends one on, and so do destruction and a stop
//! of the emulator.

use super::actor::Actor;
use super::state::{Effect, Event, State};
use crate::refusal::Refusal;

/// What a machine would do next, were it not held.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) state: State,
    pub(super) event: Event,
    pub(super) effects: Vec<Effect>,
}

impl Actor {
    /// What must be put in order when emulators start and stop is never held.
    pub(super) fn is_to_be_held(&self, state: State, event: Event) -> bool {
        let is_housekeeping = matches!(event, Event::Shutdown | Event::Recovered(_));
        !state.is_settled()
            && !is_housekeeping
            && (self.registry.is_manual || self.registry.faults.sticks(&self.record, state))
    }

    /// Lets a held machine go on its way; one that is not held goes its way anyhow.
    pub(super) async fn poke(&mut self) -> Result<(), Refusal> {
        let Some(Held { state, event, effects }) = self.held.take() else { return Ok(()) };
        let done = match self.arrive(state, event, effects).await {
            Ok(Some(next)) => self.steps(next).await,
            Ok(None) => Ok(()),
            Err(refusal) => Err(refusal),
        };
        self.settle(done).await
    }
}
