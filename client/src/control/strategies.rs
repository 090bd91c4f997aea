//! Failure strategies.

use wire::id::FailureStrategyId;
use wire::strategy::{FailureStrategyChange, FailureStrategyView, NewFailureStrategy};

use super::Control;
use crate::Error;

impl Control {
    /// Every failure strategy, by name.
    pub async fn strategies(&self) -> Result<Vec<FailureStrategyView>, Error> {
        self.service.json(self.get("/v1/failure-strategies")).await
    }

    /// One failure strategy.
    pub async fn strategy(&self, id: FailureStrategyId) -> Result<FailureStrategyView, Error> {
        self.service.json(self.get(&format!("/v1/failure-strategies/{id}"))).await
    }

    /// Makes a failure strategy.
    pub async fn add_strategy(&self, new: &NewFailureStrategy) -> Result<FailureStrategyView, Error> {
        self.service.json(self.post("/v1/failure-strategies").json(new)).await
    }

    /// Changes a failure strategy.
    pub async fn update_strategy(
        &self,
        id: FailureStrategyId,
        change: &FailureStrategyChange,
    ) -> Result<FailureStrategyView, Error> {
        self.service.json(self.patch(&format!("/v1/failure-strategies/{id}")).json(change)).await
    }

    /// Deletes a failure strategy.
    pub async fn delete_strategy(&self, id: FailureStrategyId) -> Result<(), Error> {
        self.service.send(self.delete_request(&format!("/v1/failure-strategies/{id}"))).await.map(drop)
    }
}
