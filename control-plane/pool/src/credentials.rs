//! The tokens of machines and workers. They are derived, not stored: a machine's
//! token is the same whenever its configuration is written again, and a worker's
//! is worth nothing once its runner has started anew.

use uuid::Uuid;
use wire::id::{MachineId, WorkerId};
use wire::signature::Key;

/// Makes and checks tokens. Made from the control plane's master secret.
#[derive(Debug, Clone)]
pub struct Credentials {
    machines: Key,
    workers: Key,
}

impl Credentials {
    /// From the control plane's master secret.
    pub fn new(master: &Key) -> Self {
        Self { machines: master.derive("machines"), workers: master.derive("workers") }
    }

    /// What a machine's runner registers with.
    pub fn machine_token(&self, machine: MachineId) -> String {
        self.machines.token(&machine.to_string())
    }

    /// Whether this is the machine's token.
    pub fn owns_machine_token(&self, machine: MachineId, token: &str) -> bool {
        self.machines.owns_token(&machine.to_string(), token)
    }

    /// What a worker calls with until its runner starts anew.
    pub fn worker_token(&self, worker: WorkerId, boot: Uuid) -> String {
        self.workers.token(&format!("{worker}/{boot}"))
    }

    /// Whether this is the worker's token.
    pub fn owns_worker_token(&self, worker: WorkerId, boot: Uuid, token: &str) -> bool {
        self.workers.owns_token(&format!("{worker}/{boot}"), token)
    }
}
