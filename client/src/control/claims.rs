//! Claiming tasks, and saying what becomes of them.

use std::time::Duration;

use wire::claim::{Claim, CompletionView, Completions, LeaseView, NewClaim, ReleaseClaim, RenewClaim, StartClaim};
use wire::execution::{ExecutionResult, ExecutionView};
use wire::id::ExecutionId;

use super::{Control, DEADLINE};
use crate::Error;

impl Control {
    /// Claims ready tasks; none where there is nothing, after the time that the claim waits.
    ///
    /// Not to be repeated blindly after a lost answer: what that took comes back when its lease has run out.
    pub async fn claim(&self, claim: &NewClaim) -> Result<Vec<Claim>, Error> {
        let deadline = DEADLINE + Duration::from_secs(claim.wait_seconds.unwrap_or(0));
        self.service.json(self.post("/v1/tasks/claim").timeout(deadline).json(claim)).await
    }

    /// Says that work on a claimed task has begun. Twice is no error.
    pub async fn start_execution(&self, id: ExecutionId, start: &StartClaim) -> Result<LeaseView, Error> {
        self.service.json(self.post(&format!("/v1/executions/{id}/start")).json(start)).await
    }

    /// Renews the lease of a claimed task.
    pub async fn renew_execution(&self, id: ExecutionId, renew: &RenewClaim) -> Result<LeaseView, Error> {
        self.service.json(self.post(&format!("/v1/executions/{id}/heartbeat")).json(renew)).await
    }

    /// Ends an execution that was claimed or begun by hand. Twice is no error where it was claimed.
    pub async fn complete_execution(&self, id: ExecutionId, result: &ExecutionResult) -> Result<ExecutionView, Error> {
        self.service.json(self.post(&format!("/v1/executions/{id}/complete")).json(result)).await
    }

    /// Ends several executions, each by itself.
    pub async fn complete_executions(&self, all: &Completions) -> Result<Vec<CompletionView>, Error> {
        self.service.json(self.post("/v1/executions/complete").json(all)).await
    }

    /// Gives a claimed task back. Twice is no error.
    pub async fn release_execution(&self, id: ExecutionId, release: &ReleaseClaim) -> Result<ExecutionView, Error> {
        self.service.json(self.post(&format!("/v1/executions/{id}/release")).json(release)).await
    }
}
