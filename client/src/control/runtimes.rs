//! Runtimes: agents' terminals, their supervisors, and words for the agents.

use std::time::Duration;

use wire::id::RuntimeId;
use wire::runtime::{
    ForcedTrigger, NewRuntime, NewTrigger, NextTrigger, Order, Pause, RuntimeHeartbeat, RuntimeView, ToWrite,
    TriggerReport, TriggerView,
};

use super::{Control, DEADLINE};
use crate::Error;

impl Control {
    /// Registers an agent's terminal; the same session again is the same runtime.
    pub async fn register_runtime(&self, new: &NewRuntime) -> Result<RuntimeView, Error> {
        self.service.json(self.post("/v1/runtimes").json(new)).await
    }

    /// Every runtime, those that live and were heard of last first.
    pub async fn runtimes(&self) -> Result<Vec<RuntimeView>, Error> {
        self.service.json(self.get("/v1/runtimes")).await
    }

    /// One runtime.
    pub async fn runtime(&self, id: RuntimeId) -> Result<RuntimeView, Error> {
        self.service.json(self.get(&format!("/v1/runtimes/{id}"))).await
    }

    /// Says that a runtime has ended.
    pub async fn deregister_runtime(&self, id: RuntimeId) -> Result<(), Error> {
        self.service.send(self.delete_request(&format!("/v1/runtimes/{id}"))).await.map(drop)
    }

    /// Says that its supervisor is there, and how far its agent has read.
    pub async fn runtime_heartbeat(&self, id: RuntimeId, beat: RuntimeHeartbeat) -> Result<RuntimeView, Error> {
        self.service.json(self.post(&format!("/v1/runtimes/{id}/heartbeat")).json(&beat)).await
    }

    /// Has nothing written to it until it is resumed.
    pub async fn pause_runtime(&self, id: RuntimeId, pause: &Pause) -> Result<RuntimeView, Error> {
        self.service.json(self.post(&format!("/v1/runtimes/{id}/pause")).json(pause)).await
    }

    /// Has what waits for it written.
    pub async fn resume_runtime(&self, id: RuntimeId) -> Result<RuntimeView, Error> {
        self.service.json(self.post(&format!("/v1/runtimes/{id}/resume"))).await
    }

    /// Its triggers, the newest first.
    pub async fn triggers(&self, id: RuntimeId) -> Result<Vec<TriggerView>, Error> {
        self.service.json(self.get(&format!("/v1/runtimes/{id}/triggers"))).await
    }

    /// Asks for words to be typed to its agent, when nobody else types there.
    pub async fn trigger(&self, id: RuntimeId, new: &NewTrigger) -> Result<TriggerView, Error> {
        self.service.json(self.post(&format!("/v1/runtimes/{id}/triggers")).json(new)).await
    }

    /// Asks for words to be typed to its agent, whoever types there.
    pub async fn force_trigger(&self, id: RuntimeId, forced: &ForcedTrigger) -> Result<TriggerView, Error> {
        self.service.json(self.post(&format!("/v1/runtimes/{id}/force")).json(forced)).await
    }

    /// What its supervisor is to write, waiting for it at most so long.
    pub async fn next_trigger(&self, id: RuntimeId, wait: Duration) -> Result<Option<Order>, Error> {
        let asked = NextTrigger { wait_seconds: wait.as_secs() };
        let request = self.post(&format!("/v1/runtimes/{id}/next")).json(&asked).timeout(wait + DEADLINE);
        self.service.json(request).await.map(|answer: ToWrite| answer.trigger)
    }

    /// What became of it.
    pub async fn report_trigger(&self, id: RuntimeId, told: &TriggerReport) -> Result<TriggerView, Error> {
        self.service.json(self.post(&format!("/v1/runtimes/{id}/report")).json(told)).await
    }
}
