//! Workers, and what those of them do that no machine of the pool carries.

use serde_json::json;
use wire::id::WorkerId;
use wire::worker::{NewWorker, WorkerChange, WorkerView};

use super::Control;
use crate::Error;

impl Control {
    /// The registered workers.
    pub async fn workers(&self) -> Result<Vec<WorkerView>, Error> {
        self.service.json(self.get("/v1/workers")).await
    }

    /// One worker.
    pub async fn worker(&self, id: WorkerId) -> Result<WorkerView, Error> {
        self.service.json(self.get(&format!("/v1/workers/{id}"))).await
    }

    /// Registers a worker that no machine of the pool carries.
    pub async fn add_worker(&self, new: &NewWorker) -> Result<WorkerView, Error> {
        self.service.json(self.post("/v1/workers").json(new)).await
    }

    /// Changes such a worker.
    pub async fn update_worker(&self, id: WorkerId, change: &WorkerChange) -> Result<WorkerView, Error> {
        self.service.json(self.patch(&format!("/v1/workers/{id}")).json(change)).await
    }

    /// Forgets such a worker, which must have no work.
    pub async fn remove_worker(&self, id: WorkerId) -> Result<(), Error> {
        self.service.send(self.delete_request(&format!("/v1/workers/{id}"))).await.map(drop)
    }

    /// Says that such a worker is alive, and how many executions it has.
    pub async fn heartbeat(&self, id: WorkerId, current_load: Option<i32>) -> Result<WorkerView, Error> {
        let body = json!({ "current_load": current_load });
        self.service.json(self.post(&format!("/v1/workers/{id}/heartbeat")).json(&body)).await
    }

    /// Workers that were silent for five minutes, and are disabled by this.
    pub async fn stale_workers(&self) -> Result<Vec<WorkerView>, Error> {
        self.service.json(self.get("/v1/workers/stale")).await
    }
}
