//! The pool's machines and what they cost.

use wire::cost::CostView;
use wire::id::{MachineId, VolumeId};
use wire::machine::{Abandonment, AppAbandonment, KeptVolumeView, MachineView, SweepOrder, SweepView};

use super::Control;
use crate::Error;

impl Control {
    /// The machines of the pool.
    pub async fn machines(&self) -> Result<Vec<MachineView>, Error> {
        self.service.json(self.get("/v1/machines")).await
    }

    /// One machine.
    pub async fn machine(&self, id: MachineId) -> Result<MachineView, Error> {
        self.service.json(self.get(&format!("/v1/machines/{id}"))).await
    }

    /// Declares a machine's batch over: it saves a checkpoint and sleeps.
    pub async fn suspend_machine(&self, id: MachineId) -> Result<MachineView, Error> {
        self.service.json(self.post(&format!("/v1/machines/{id}/suspend"))).await
    }

    /// Wakes a machine that sleeps.
    pub async fn resume_machine(&self, id: MachineId) -> Result<MachineView, Error> {
        self.service.json(self.post(&format!("/v1/machines/{id}/resume"))).await
    }

    /// Destroys a machine with its volume; with `force`, also one whose worker has work, or that alone has somebody's.
    pub async fn destroy_machine(&self, id: MachineId, force: bool) -> Result<MachineView, Error> {
        self.service.json(self.delete_request(&format!("/v1/machines/{id}")).query(&[("force", force)])).await
    }

    /// Gives a machine up without asking the provider; with `force`, also one that alone has somebody's work.
    pub async fn abandon_machine(&self, id: MachineId, reason: &str, force: bool) -> Result<MachineView, Error> {
        let body = Abandonment { reason: reason.to_owned(), force };
        self.service.json(self.post(&format!("/v1/machines/{id}/abandon")).json(&body)).await
    }

    /// Gives up all machines of an app that is gone at the provider; those that were.
    pub async fn abandon_app(&self, app: &str, reason: &str) -> Result<Vec<MachineView>, Error> {
        let body = AppAbandonment { app: app.to_owned(), reason: reason.to_owned() };
        self.service.json(self.post("/v1/machines/abandon").json(&body)).await
    }

    /// Destroys a volume that was kept for the work on it.
    pub async fn discard_volume(&self, id: VolumeId) -> Result<KeptVolumeView, Error> {
        self.service.json(self.delete_request(&format!("/v1/volumes/{id}"))).await
    }

    /// What the last comparison of registry and provider found; with `reap`, orphans are destroyed now.
    pub async fn sweep(&self, reap: bool) -> Result<SweepView, Error> {
        self.service.json(self.post("/v1/machines/sweep").json(&SweepOrder { reap })).await
    }

    /// What runs, what it costs, and what should not be there.
    pub async fn cost(&self) -> Result<CostView, Error> {
        self.service.json(self.get("/v1/cost")).await
    }
}
