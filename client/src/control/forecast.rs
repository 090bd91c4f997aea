//! Looking ahead, and whole files of tasks.

use std::time::Duration;

use wire::import::{Imported, ImportedTask};
use wire::plan::{CriticalPath, Forecast, PlanRequest};

use super::Control;
use crate::Error;

/// An import is one transaction over thousands of tasks, and an export as long as it is.
const PATIENCE: Duration = Duration::from_secs(300);

impl Control {
    /// The longest chain of open tasks, and those with the least time to spare, at most so many.
    pub async fn critical_path(&self, limit: u32) -> Result<CriticalPath, Error> {
        self.service.json(self.get("/v1/tasks/critical-path").query(&[("limit", limit)])).await
    }

    /// Plays tasks through; nothing is stored or started.
    pub async fn plan(&self, request: &PlanRequest) -> Result<Forecast, Error> {
        self.service.json(self.post("/v1/plan").json(request)).await
    }

    /// Submits every task, or none. The same `idempotency_key` with the same tasks gives the first answer again.
    pub async fn import(&self, tasks: &[ImportedTask], idempotency_key: &str) -> Result<Imported, Error> {
        let lines: Vec<String> = tasks.iter().map(|task| serde_json::to_string(task).expect("plain data")).collect();
        let request = self.post("/v1/tasks/import").timeout(PATIENCE).header("idempotency-key", idempotency_key);
        self.service.json(request.header("content-type", "application/x-ndjson").body(lines.join("\n"))).await
    }

    /// Every task, as an import takes it.
    pub async fn export(&self) -> Result<Vec<ImportedTask>, Error> {
        let response = self.service.send(self.get("/v1/tasks/export").timeout(PATIENCE)).await?;
        let text = response.text().await.map_err(|source| self.service.unreachable(source))?;
        let read = text.lines().map(serde_json::from_str).collect::<Result<_, _>>();
        read.map_err(|error| Error::Unexpected { service: self.service.name, detail: error.to_string() })
    }
}
