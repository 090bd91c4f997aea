//! Machines that are held on their way: all of them in the manual mode, and those
//! that a fault lets stick or take their time. A poke sends one on, and so do
//! destruction and a stop of the emulator.

use tokio::time::Instant;

use super::actor::Actor;
use super::state::{Effect, Event, State};
use crate::faults::Stay;
use crate::refusal::Refusal;

/// What a machine would do next, were it not held.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) state: State,
    pub(super) event: Event,
    pub(super) effects: Vec<Effect>,
    /// When it goes on unless it is poked before; never when absent.
    pub(super) until: Option<Instant>,
}

impl Actor {
    /// Holds a machine where it has just come to, or before it leaves the state that it was created in; gives
    /// back what it goes on to do at once. What must be put in order when emulators start and stop is never held.
    pub(super) fn hold(&mut self, state: State, event: Event, effects: Vec<Effect>) -> Option<Vec<Effect>> {
        let stay = match event {
            Event::Shutdown | Event::Recovered(_) => None,
            _ if state.is_settled() => None,
            _ if self.registry.is_manual && self.record.state == state => Some(Stay::UntilPoked),
            _ => self.registry.faults.stays(&self.record, self.record.state),
        };
        let Some(stay) = stay else { return Some(effects) };
        let until = match stay {
            Stay::UntilPoked => None,
            Stay::For(time) => Some(Instant::now() + time),
        };
        self.held = Some(Held { state, event, effects, until });
        None
    }

    /// Lets a held machine go on its way; one that is not held goes its way anyhow.
    pub(super) async fn poke(&mut self) -> Result<(), Refusal> {
        let Some(Held { state, event, effects, .. }) = self.held.take() else { return Ok(()) };
        let done = self.go_on(state, event, effects).await;
        self.settle(done).await
    }

    async fn go_on(&mut self, state: State, event: Event, effects: Vec<Effect>) -> Result<(), Refusal> {
        let next = if self.record.state == state {
            self.arrive(state, event, effects).await?
        } else {
            self.come_to(state, event, effects).await?
        };
        match next {
            Some(next) => self.steps(next).await,
            None => Ok(()),
        }
    }
}
