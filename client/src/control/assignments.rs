//! Scores, assignments, parts of tasks, and many tasks at once.

use wire::assignment::{AssignBatch, AssignedTask, Preempt, Preempted};
use wire::bulk::{BulkAnswer, Selection};
use wire::id::{TaskId, WorkerId};
use wire::prioritize::{Prioritize, ScoredTask};
use wire::split::{Split, SplitTask};

use super::Control;
use crate::Error;

impl Control {
    /// Scores every task that is ready and gives those with the highest scores.
    pub async fn prioritize(&self, ask: &Prioritize) -> Result<Vec<ScoredTask>, Error> {
        self.service.json(self.post("/v1/tasks/prioritize").json(ask)).await
    }

    /// Gives a ready task to the worker that suits it best.
    pub async fn assign_optimal(&self, id: TaskId) -> Result<AssignedTask, Error> {
        self.service.json(self.post(&format!("/v1/tasks/{id}/assign-optimal"))).await
    }

    /// Gives the next tasks to whoever has room.
    pub async fn assign_batch(&self, count: usize) -> Result<Vec<AssignedTask>, Error> {
        self.service.json(self.post("/v1/tasks/assign-batch").json(&AssignBatch { count })).await
    }

    /// Gives a ready task to a worker that is on something less urgent.
    pub async fn preempt(&self, id: TaskId, target_worker_id: WorkerId) -> Result<Preempted, Error> {
        self.service.json(self.post(&format!("/v1/tasks/{id}/preempt")).json(&Preempt { target_worker_id })).await
    }

    /// Replaces a task by its parts.
    pub async fn split(&self, id: TaskId, parts: &Split) -> Result<SplitTask, Error> {
        self.service.json(self.post(&format!("/v1/tasks/{id}/split")).json(parts)).await
    }

    /// Calls many tasks off.
    pub async fn cancel_many(&self, selection: &Selection) -> Result<BulkAnswer, Error> {
        self.service.json(self.post("/v1/tasks/cancel").json(selection)).await
    }

    /// Has many failed tasks retried.
    pub async fn retry_many(&self, selection: &Selection) -> Result<BulkAnswer, Error> {
        self.service.json(self.post("/v1/tasks/retry").json(selection)).await
    }
}
