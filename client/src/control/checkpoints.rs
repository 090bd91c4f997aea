//! What machines have saved of workspaces.

use wire::checkpoint::{CheckpointDetail, CheckpointDiff, CheckpointView, KeptWorkView, Restore};
use wire::id::{CheckpointId, TaskId};
use wire::task::TaskView;

use super::Control;
use crate::Error;

impl Control {
    /// The checkpoints that machines have, or those of one task's executions, the newest first.
    pub async fn checkpoints(&self, task: Option<TaskId>) -> Result<Vec<CheckpointView>, Error> {
        let query: Vec<(&str, String)> = task.map(|task| ("task_id", task.to_string())).into_iter().collect();
        self.service.json(self.get("/v1/checkpoints").query(&query)).await
    }

    /// What nobody pushed and machines alone have, the newest first.
    pub async fn kept_work(&self) -> Result<Vec<KeptWorkView>, Error> {
        self.service.json(self.get("/v1/kept-work")).await
    }

    /// One checkpoint, with what differs in it from its commit.
    pub async fn checkpoint(&self, id: CheckpointId) -> Result<CheckpointDetail, Error> {
        self.service.json(self.get(&format!("/v1/checkpoints/{id}"))).await
    }

    /// What differs between two of one repository.
    pub async fn checkpoint_diff(&self, from: CheckpointId, to: CheckpointId) -> Result<CheckpointDiff, Error> {
        self.service.json(self.get(&format!("/v1/checkpoints/{from}/diff/{to}"))).await
    }

    /// Keeps a checkpoint whatever else is saved, or no longer. Twice is no error.
    pub async fn pin_checkpoint(&self, id: CheckpointId, pinned: bool) -> Result<CheckpointView, Error> {
        let path = format!("/v1/checkpoints/{id}/pin");
        self.service.json(if pinned { self.put(&path) } else { self.delete_request(&path) }).await
    }

    /// Has the task's next attempt begin from a checkpoint.
    pub async fn restore(&self, task: TaskId, restore: &Restore) -> Result<TaskView, Error> {
        self.service.json(self.post(&format!("/v1/tasks/{task}/restore")).json(restore)).await
    }
}
