//! Runtimes: agents' terminals on people's computers, and words for their agents (rows ORK-6.1 to ORK-6.5).
//!
//! A supervisor there registers its runtime, heartbeats, and asks for the next trigger. Triggers are written in the
//! order of their numbers, one at a time; each ends as `delivered`, which needs a sign that the agent has read it, or
//! as `failed`, with a reason code in either case. Every hop is in the audit. What is written, when, and how often is
//! decided by one pure function ([`policy`](policy)); whether a person types at that moment only the supervisor
//! knows, who then defers it.

mod policy;
mod registry;
mod store;
mod sweep;
mod triggers;

use kernel::{Migration, Sql};

pub use policy::Settings;
pub use registry::{deregister, get, heartbeat, list, pause, register, resume};
pub use sweep::Sweep;
pub use triggers::{force, list as triggers, next, report, trigger};

/// This slice's tables.
pub const MIGRATIONS: &[Migration] = &[kernel::migration!("20261129022000_runtimes")];

/// This slice's statements, for the test that prepares all of them.
pub fn statements() -> Vec<(&'static str, Sql)> {
    store::STATEMENTS.to_vec()
}

#[cfg(test)]
mod tests;
