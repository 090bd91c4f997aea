//! Who acts: what the audit calls the author of a change.

use std::fmt;

use wire::id::{ApiKeyId, MachineId, WorkerId};

/// Somebody, or something, that changes things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// The control plane itself, and which part of it.
    System(&'static str),
    /// Whoever holds an API key.
    ApiKey(ApiKeyId),
    /// A worker, proven by its token.
    Worker(WorkerId),
    /// A machine, proven by its token.
    Machine(MachineId),
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(part) => write!(f, "system/{part}"),
            Self::ApiKey(id) => write!(f, "api-key/{id}"),
            Self::Worker(id) => write!(f, "worker/{id}"),
            Self::Machine(id) => write!(f, "machine/{id}"),
        }
    }
}
