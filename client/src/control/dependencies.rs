//! What tasks need of each other.

use wire::dependency::{BlockingImpact, Blocks, DependencyGraph, DependencyView, NeededTask, NewDependency, Readiness};
use wire::id::{DependencyId, TaskId};

use super::Control;
use crate::Error;

impl Control {
    /// Makes a task need another.
    pub async fn depend(&self, task: TaskId, new: &NewDependency) -> Result<DependencyView, Error> {
        self.service.json(self.post(&format!("/v1/tasks/{task}/dependencies")).json(new)).await
    }

    /// Takes a dependency of a task back.
    pub async fn undepend(&self, task: TaskId, id: DependencyId) -> Result<(), Error> {
        self.service.send(self.delete_request(&format!("/v1/tasks/{task}/dependencies/{id}"))).await.map(drop)
    }

    /// What a task needs.
    pub async fn dependencies(&self, task: TaskId) -> Result<Vec<NeededTask>, Error> {
        self.service.json(self.get(&format!("/v1/tasks/{task}/dependencies"))).await
    }

    /// Whether what a task needs lets it start.
    pub async fn readiness(&self, task: TaskId) -> Result<Readiness, Error> {
        self.service.json(self.get(&format!("/v1/tasks/{task}/ready"))).await
    }

    /// What needs a task, directly.
    pub async fn blocks(&self, task: TaskId) -> Result<Blocks, Error> {
        self.service.json(self.get(&format!("/v1/tasks/{task}/blocks"))).await
    }

    /// What needs a task, directly or through others.
    pub async fn blocking_impact(&self, task: TaskId) -> Result<BlockingImpact, Error> {
        self.service.json(self.get(&format!("/v1/tasks/{task}/blocking-impact"))).await
    }

    /// All tasks and what they need of each other.
    pub async fn dependency_graph(&self) -> Result<DependencyGraph, Error> {
        self.service.json(self.get("/v1/tasks/dependency-graph")).await
    }
}
