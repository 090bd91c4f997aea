//! What is true of tasks besides their status.

use wire::id::TaskId;
use wire::outcome::{NewOutcome, OutcomeName, OutcomeView};

use super::{Control, path_part};
use crate::Error;

impl Control {
    /// What is true of a task.
    pub async fn outcomes(&self, task: TaskId) -> Result<Vec<OutcomeView>, Error> {
        self.service.json(self.get(&format!("/v1/tasks/{task}/outcomes"))).await
    }

    /// Notes that something is true of a task. Twice is no error.
    pub async fn set_outcome(&self, task: TaskId, name: &OutcomeName, new: &NewOutcome) -> Result<OutcomeView, Error> {
        self.service.json(self.put(&outcome(task, name)).json(new)).await
    }

    /// Withdraws it.
    pub async fn withdraw_outcome(&self, task: TaskId, name: &OutcomeName) -> Result<(), Error> {
        self.service.send(self.delete_request(&outcome(task, name))).await.map(drop)
    }
}

fn outcome(task: TaskId, name: &OutcomeName) -> String {
    format!("/v1/tasks/{task}/outcomes/{}", path_part(&name.to_string()))
}
