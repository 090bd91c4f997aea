//! The control plane's API, for people's tools.

mod admission;
mod assignments;
mod attach;
mod audit;
mod checkpoints;
mod claims;
mod dependencies;
mod forecast;
mod machines;
mod metadata;
mod outcomes;
mod proposals;
mod runtimes;
mod strategies;
mod webhooks;
mod workers;

use std::time::Duration;

use reqwest::header::HeaderValue;
use reqwest::{Method, RequestBuilder};
use wire::audit::REASON_HEADER;
use wire::batch::NewBatch;
use wire::event::EventPage;
use wire::execution::{ExecutionHistory, ExecutionView, NewExecution, StaleExecution, SubtaskProgress};
use wire::id::{ExecutionId, TaskId, WorkerId};
use wire::metadata::{Assignment, Estimate};
use wire::task::{NewTask, Priority, TaskChange, TaskStatus, TaskView};
use wire::why::Why;

use crate::Error;
use crate::call::Service;
use crate::sse::Messages;
pub use audit::AuditFilter;

const DEADLINE: Duration = Duration::from_secs(30);

/// Calls the control plane with an API key.
#[derive(Clone)]
pub struct Control {
    service: Service,
    key: String,
    reason: Option<HeaderValue>,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("base", &self.service.base).finish_non_exhaustive()
    }
}

/// Which tasks to list.
#[derive(Debug, Clone, Default)]
pub struct TaskFilter {
    /// Only those of this project.
    pub project: Option<String>,
    /// Only these.
    pub status: Option<TaskStatus>,
    /// Only those of this priority.
    pub priority: Option<Priority>,
    /// Only those that wait for another task, or only those that do not.
    pub blocked: Option<bool>,
    /// At most this many; 100 when absent.
    pub limit: Option<u32>,
    /// After so many.
    pub offset: Option<u32>,
}

/// Some of the tasks that a filter finds.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskPage {
    /// They, most urgent first.
    pub tasks: Vec<TaskView>,
    /// How many there are in all, as far as the server counts.
    pub total: u64,
    /// There are more than it counts.
    pub is_cut: bool,
}

impl Control {
    /// A client of the server at `base`, such as `http://127.0.0.1:7600`.
    pub fn new(base: &str, key: &str) -> Self {
        Self { service: Service::new("the control plane", base, DEADLINE), key: key.to_owned(), reason: None }
    }

    /// Says with every request why it is made; the audit keeps that with what it changes.
    #[must_use]
    pub fn because(self, reason: &str) -> Self {
        Self { reason: HeaderValue::from_bytes(reason.as_bytes()).ok(), ..self }
    }

    /// The server's base URL.
    pub fn base(&self) -> &str {
        &self.service.base
    }

    /// Whether the server can do its work: 200 from `/ready`.
    pub async fn ready(&self) -> Result<(), Error> {
        self.service.send(self.service.http.get(self.service.url("/ready"))).await.map(drop)
    }

    /// Submits a task. The same `idempotency_key` with the same task gives the first answer again.
    pub async fn submit(&self, task: &NewTask, idempotency_key: &str) -> Result<TaskView, Error> {
        self.service.json(self.post("/v1/tasks").header("idempotency-key", idempotency_key).json(task)).await
    }

    /// Submits several tasks, all or none. The same `idempotency_key` with the same tasks gives the first answer
    /// again.
    pub async fn submit_batch(&self, batch: &NewBatch, idempotency_key: &str) -> Result<Vec<TaskView>, Error> {
        self.service.json(self.post("/v1/tasks/batch").header("idempotency-key", idempotency_key).json(batch)).await
    }

    /// Up to 50 tasks with this text in their title or description.
    pub async fn search(&self, text: &str) -> Result<Vec<TaskView>, Error> {
        self.service.json(self.get("/v1/tasks/search").query(&[("q", text)])).await
    }

    /// One task.
    pub async fn task(&self, id: TaskId) -> Result<TaskView, Error> {
        self.service.json(self.get(&format!("/v1/tasks/{id}"))).await
    }

    /// Tasks, most urgent first.
    pub async fn tasks(&self, filter: &TaskFilter) -> Result<Vec<TaskView>, Error> {
        self.task_page(filter).await.map(|page| page.tasks)
    }

    /// Tasks, most urgent first, and how many there are of them in all.
    pub async fn task_page(&self, filter: &TaskFilter) -> Result<TaskPage, Error> {
        let mut query: Vec<(&str, String)> = Vec::new();
        query.extend(filter.project.iter().map(|project| ("project", project.clone())));
        query.extend(filter.status.map(|status| ("status", status.to_string())));
        query.extend(filter.priority.map(|priority| ("priority", priority.get().to_string())));
        query.extend(filter.blocked.map(|blocked| ("blocked", blocked.to_string())));
        query.extend(filter.limit.map(|limit| ("limit", limit.to_string())));
        query.extend(filter.offset.map(|offset| ("offset", offset.to_string())));
        let response = self.service.send(self.get("/v1/tasks").query(&query)).await?;
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let total = header("x-total-count").and_then(|total| total.parse().ok());
        let is_cut = header("x-total-count-more").is_some();
        let tasks: Vec<TaskView> = self.service.read(response).await?;
        Ok(TaskPage { total: total.unwrap_or(tasks.len() as u64), is_cut, tasks })
    }

    /// Changes some fields of a task; with a version, only while the task is at it.
    pub async fn update(&self, id: TaskId, change: &TaskChange, version: Option<i64>) -> Result<TaskView, Error> {
        let mut request = self.patch(&format!("/v1/tasks/{id}")).json(change);
        if let Some(version) = version {
            request = request.header("if-match", format!("\"{version}\""));
        }
        self.service.json(request).await
    }

    /// Calls a task off. Twice is no error.
    pub async fn cancel(&self, id: TaskId) -> Result<TaskView, Error> {
        self.service.json(self.post(&format!("/v1/tasks/{id}/cancel"))).await
    }

    /// Deletes a task with everything that hangs on it.
    pub async fn delete(&self, id: TaskId) -> Result<(), Error> {
        self.service.send(self.delete_request(&format!("/v1/tasks/{id}"))).await.map(drop)
    }

    /// Gives a ready task to a worker that no machine of the pool carries.
    pub async fn assign(&self, id: TaskId, worker_id: WorkerId) -> Result<TaskView, Error> {
        self.service.json(self.post(&format!("/v1/tasks/{id}/assign")).json(&Assignment { worker_id })).await
    }

    /// Says how many minutes of work a task is.
    pub async fn estimate(&self, id: TaskId, effort_minutes: i32) -> Result<TaskView, Error> {
        self.service.json(self.post(&format!("/v1/tasks/{id}/estimate")).json(&Estimate { effort_minutes })).await
    }

    /// All attempts at a task, and what they come to.
    pub async fn executions(&self, id: TaskId) -> Result<ExecutionHistory, Error> {
        self.service.json(self.get(&format!("/v1/tasks/{id}/executions"))).await
    }

    /// Begins a task that was assigned to a worker which no machine of the pool carries.
    pub async fn begin(&self, id: TaskId, new: &NewExecution) -> Result<ExecutionView, Error> {
        self.service.json(self.post(&format!("/v1/tasks/{id}/executions")).json(new)).await
    }

    /// How far the parts of an execution's work are.
    pub async fn subtasks(&self, id: ExecutionId) -> Result<SubtaskProgress, Error> {
        self.service.json(self.get(&format!("/v1/executions/{id}/subtasks"))).await
    }

    /// Executions that have run for long: for more than two hours, unless the server says otherwise.
    pub async fn stale_executions(&self) -> Result<Vec<StaleExecution>, Error> {
        self.service.json(self.get("/v1/executions/stale")).await
    }

    /// Makes a failed task ready again.
    pub async fn retry(&self, id: TaskId) -> Result<TaskView, Error> {
        self.service.json(self.post(&format!("/v1/tasks/{id}/retry"))).await
    }

    /// What a task waits for.
    pub async fn why(&self, id: TaskId) -> Result<Why, Error> {
        self.service.json(self.get(&format!("/v1/tasks/{id}/why"))).await
    }

    /// Everything the record holds about a task, as it happens: server-sent events named
    /// `event` (data: a stored event) and, at the end, `end` (data: the task).
    /// `after` resumes behind the last id that was read. Without `follow` it ends with the record. With `lines` it
    /// begins where so many last lines of output begin, unless it resumes.
    pub async fn logs(
        &self,
        id: TaskId,
        after: Option<&str>,
        follow: bool,
        lines: Option<u32>,
    ) -> Result<Messages, Error> {
        let request = self.get(&format!("/v1/tasks/{id}/logs")).query(&[("follow", follow)]);
        self.follow(request.query(&[("lines", lines)]), after).await
    }

    /// A page of the whole record, behind the given place.
    pub async fn events(&self, after: u64, limit: u32) -> Result<EventPage, Error> {
        let query = [("after", after.to_string()), ("limit", limit.to_string())];
        self.service.json(self.get("/v1/events").query(&query)).await
    }

    /// A page of one task's record, behind the given place.
    pub async fn task_events(&self, id: TaskId, after: u64, limit: u32) -> Result<EventPage, Error> {
        let query = [("after", after.to_string()), ("limit", limit.to_string())];
        self.service.json(self.get(&format!("/v1/events/{id}")).query(&query)).await
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    fn patch(&self, path: &str) -> RequestBuilder {
        self.request(Method::PATCH, path)
    }

    fn delete_request(&self, path: &str) -> RequestBuilder {
        self.request(Method::DELETE, path)
    }

    fn put(&self, path: &str) -> RequestBuilder {
        self.request(Method::PUT, path)
    }

    fn post(&self, path: &str) -> RequestBuilder {
        self.request(Method::POST, path)
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.service.http.request(method, self.service.url(path)).bearer_auth(&self.key);
        match &self.reason {
            Some(reason) => request.header(REASON_HEADER, reason),
            None => request,
        }
    }
}

/// A word of people's own as a part of a path, where it may hold what has a meaning there.
fn path_part(word: &str) -> String {
    let mut part = String::with_capacity(word.len());
    for byte in word.bytes() {
        if byte.is_ascii_alphanumeric() { part.push(byte.into()) } else { part.push_str(&format!("%{byte:02X}")) }
    }
    part
}
