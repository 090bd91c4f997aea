//! What keeps work from starting: holds, limits, budgets; and schedules, which start it.

use wire::admission::{HoldView, LimitView, NewHold, NewLimit, ProjectView, ProjectWeight};
use wire::budget::{BudgetChange, BudgetView, NewBudget};
use wire::id::{BudgetId, HoldId, ScheduleId};
use wire::queue::QueueView;
use wire::schedule::{NewSchedule, ScheduleChange, ScheduleView};

use super::{Control, path_part};
use crate::Error;

impl Control {
    /// Every hold that lasts.
    pub async fn holds(&self) -> Result<Vec<HoldView>, Error> {
        self.service.json(self.get("/v1/holds")).await
    }

    /// Holds something. The same `idempotency_key` with the same hold gives the first answer again.
    pub async fn hold(&self, new: &NewHold, idempotency_key: &str) -> Result<HoldView, Error> {
        self.service.json(self.post("/v1/holds").header("idempotency-key", idempotency_key).json(new)).await
    }

    /// Removes a hold.
    pub async fn unhold(&self, id: HoldId) -> Result<(), Error> {
        self.service.send(self.delete_request(&format!("/v1/holds/{id}"))).await.map(drop)
    }

    /// Every limit and how it stands.
    pub async fn limits(&self) -> Result<Vec<LimitView>, Error> {
        self.service.json(self.get("/v1/limits")).await
    }

    /// What one key allows and how it stands.
    pub async fn limit(&self, key: &str) -> Result<LimitView, Error> {
        self.service.json(self.get(&format!("/v1/limits/{}", path_part(key)))).await
    }

    /// Says what a key allows.
    pub async fn set_limit(&self, key: &str, new: &NewLimit) -> Result<LimitView, Error> {
        self.service.json(self.put(&format!("/v1/limits/{}", path_part(key))).json(new)).await
    }

    /// Removes a limit.
    pub async fn remove_limit(&self, key: &str) -> Result<(), Error> {
        self.service.send(self.delete_request(&format!("/v1/limits/{}", path_part(key)))).await.map(drop)
    }

    /// How much waits, and how much could be worked on at once.
    pub async fn queue(&self) -> Result<QueueView, Error> {
        self.service.json(self.get("/v1/queue")).await
    }

    /// Every project and its share.
    pub async fn projects(&self) -> Result<Vec<ProjectView>, Error> {
        self.service.json(self.get("/v1/projects")).await
    }

    /// Says which share a project gets.
    pub async fn weigh_project(&self, name: &str, weight: i32) -> Result<ProjectView, Error> {
        let path = format!("/v1/projects/{}", path_part(name));
        self.service.json(self.put(&path).json(&ProjectWeight { weight })).await
    }

    /// Every budget.
    pub async fn budgets(&self) -> Result<Vec<BudgetView>, Error> {
        self.service.json(self.get("/v1/budgets")).await
    }

    /// One budget.
    pub async fn budget(&self, id: BudgetId) -> Result<BudgetView, Error> {
        self.service.json(self.get(&format!("/v1/budgets/{id}"))).await
    }

    /// Makes a budget. The same `idempotency_key` with the same budget gives the first answer again.
    pub async fn create_budget(&self, new: &NewBudget, idempotency_key: &str) -> Result<BudgetView, Error> {
        self.service.json(self.post("/v1/budgets").header("idempotency-key", idempotency_key).json(new)).await
    }

    /// Changes some fields of a budget.
    pub async fn update_budget(&self, id: BudgetId, change: &BudgetChange) -> Result<BudgetView, Error> {
        self.service.json(self.patch(&format!("/v1/budgets/{id}")).json(change)).await
    }

    /// Removes a budget.
    pub async fn delete_budget(&self, id: BudgetId) -> Result<(), Error> {
        self.service.send(self.delete_request(&format!("/v1/budgets/{id}"))).await.map(drop)
    }

    /// Every schedule.
    pub async fn schedules(&self) -> Result<Vec<ScheduleView>, Error> {
        self.service.json(self.get("/v1/schedules")).await
    }

    /// One schedule.
    pub async fn schedule(&self, id: ScheduleId) -> Result<ScheduleView, Error> {
        self.service.json(self.get(&format!("/v1/schedules/{id}"))).await
    }

    /// Makes a schedule. The same `idempotency_key` with the same schedule gives the first answer again.
    pub async fn create_schedule(&self, new: &NewSchedule, idempotency_key: &str) -> Result<ScheduleView, Error> {
        self.service.json(self.post("/v1/schedules").header("idempotency-key", idempotency_key).json(new)).await
    }

    /// Changes some fields of a schedule.
    pub async fn update_schedule(&self, id: ScheduleId, change: &ScheduleChange) -> Result<ScheduleView, Error> {
        self.service.json(self.patch(&format!("/v1/schedules/{id}")).json(change)).await
    }

    /// Removes a schedule.
    pub async fn delete_schedule(&self, id: ScheduleId) -> Result<(), Error> {
        self.service.send(self.delete_request(&format!("/v1/schedules/{id}"))).await.map(drop)
    }
}
