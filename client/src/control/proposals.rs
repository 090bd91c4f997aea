//! Proposals: what was found elsewhere, and waits for a person.

use wire::id::TaskId;
use wire::proposal::{NewProposals, ProposalView, Proposed};
use wire::task::TaskView;

use super::Control;
use crate::Error;

impl Control {
    /// Those that wait for a person, the newest first.
    pub async fn proposals(&self) -> Result<Vec<ProposalView>, Error> {
        self.service.json(self.get("/v1/proposals")).await
    }

    /// Proposes what was found; what is known by its source already makes no second task.
    pub async fn propose(&self, new: &NewProposals) -> Result<Vec<Proposed>, Error> {
        self.service.json(self.post("/v1/proposals").json(new)).await
    }

    /// Lets a proposed task start.
    pub async fn accept(&self, task: TaskId) -> Result<TaskView, Error> {
        self.service.json(self.post(&format!("/v1/tasks/{task}/accept"))).await
    }
}
