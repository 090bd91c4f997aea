//! Signals: what the control plane tells the outside.
//!
//! It delivers the outbox to the event store, in order and at least once; the
//! store knows an event by its id and drops repeats. Since it alone may start
//! machines, it also looks after the store: it notices that it does not answer,
//! for the runners' sake even with nothing to deliver, says so once, and starts
//! its machine if that sleeps.

mod contact;
mod delivery;
mod housekeeping;
mod waker;

pub use delivery::OutboxDelivery;
pub use housekeeping::Housekeeping;
pub use waker::Waker;

#[cfg(test)]
mod tests;
