//! A machine: its record, its states, and the actor that alone changes them.

mod actor;
mod effects;
mod holding;
mod lease;
mod orders;
mod record;
mod restart;
mod state;
mod stop;
mod words;

pub(crate) use actor::Actor;
pub use actor::SHUTDOWN_GRACE;
pub(crate) use effects::environment;
pub(crate) use lease::{Lease, OWNER, current};
pub(crate) use orders::{Command, MetadataChange, Order, Outcome, Update};
pub(crate) use record::{LogEntry, Record};
pub(crate) use state::State;
pub(crate) use stop::{HowToStop, parse_duration, parse_signal, signal_name};
