//! Signals: what the control plane tells the outside, and whoever listens.
//!
//! It delivers the outbox to the event store, in order and at least once; the
//! store knows an event by its id and drops repeats. Since it alone may start
//! machines, it also looks after the store: it notices that it does not answer,
//! for the runners' sake even with nothing to deliver, says so once, and starts
//! its machine if that sleeps.
//!
//! It tells registered [`webhooks`], and followers of the [`live`] stream, by the
//! outbox as well, each at its own pace.

mod contact;
mod delivery;
mod happening;
mod housekeeping;
pub mod live;
mod waker;
pub mod webhooks;

use kernel::{Migration, Sql};

pub use delivery::OutboxDelivery;
pub use housekeeping::Housekeeping;
pub use waker::Waker;

/// This slice's tables.
pub const MIGRATIONS: &[Migration] = &[kernel::migration!("20261129004200_signals_webhooks")];

/// This slice's statements, for the test that prepares all of them.
pub fn statements() -> Vec<(&'static str, Sql)> {
    webhooks::store::STATEMENTS.to_vec()
}

#[cfg(test)]
mod tests;
