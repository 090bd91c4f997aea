//! Tasks of a world: scripts to run in its repository, and what became of them.

use std::path::PathBuf;

use wire::execution::{ExecutionHistory, ExecutionView, Outcome};
use wire::id::TaskId;
use wire::task::{NewTask, Priority, TaskSpec, TaskStatus, TaskView};

use super::World;
use crate::level::{PATIENCE, until};
use crate::record::Record;

/// Events of one page.
const PAGE: u32 = 1_000;

impl World {
    /// A task that runs a shell script in the repository.
    pub fn script(&self, script: &str) -> NewTask {
        NewTask {
            title: "a script".into(),
            description: String::new(),
            priority: Priority::default(),
            effort_estimate: None,
            spec: Some(TaskSpec {
                repository: self.repository.url(),
                command: ["sh", "-c", script].map(str::to_owned).to_vec(),
                ..TaskSpec::default()
            }),
            ..NewTask::default()
        }
    }

    /// Submits a task that runs a shell script.
    pub async fn submit(&self, script: &str) -> TaskId {
        self.submit_in(&self.repository.url(), script).await
    }

    /// The same in another repository.
    pub async fn submit_in(&self, repository: &str, script: &str) -> TaskId {
        let mut task = self.script(script);
        task.spec.as_mut().expect("it has one").repository = repository.to_owned();
        self.control().submit(&task, &self.scene.chance.hex::<16>()).await.expect("the task is accepted").id
    }

    /// A script that says `started`, waits until [its gate is opened](Self::open), and says `done`.
    pub fn gated(&self, gate: &str) -> String {
        let path = self.gate(gate);
        format!("echo started; while [ ! -e {} ]; do sleep 0.02; done; echo done", path.display())
    }

    /// Lets the commands behind the gate go on.
    pub fn open(&self, gate: &str) {
        std::fs::write(self.gate(gate), "").expect("the world's directory may be written");
    }

    fn gate(&self, gate: &str) -> PathBuf {
        self.directory().join(format!("gate-{gate}"))
    }

    /// Waits until a task stands so; while the server is away, nothing is seen.
    pub async fn until_task(&self, id: TaskId, status: TaskStatus) -> TaskView {
        let control = self.control();
        let what = format!("task {id} is {status}");
        until(&what, PATIENCE, async || control.task(id).await.ok().filter(|task| task.status == status)).await
    }

    /// Waits until an attempt at a task has ended so, and gives all attempts.
    pub async fn until_outcome(&self, id: TaskId, outcome: Outcome) -> Vec<ExecutionView> {
        let what = format!("an attempt at task {id} is {outcome}");
        until(&what, PATIENCE, async || {
            let executions = self.executions(id).await;
            executions.iter().any(|execution| execution.outcome == Some(outcome)).then_some(executions)
        })
        .await
    }

    /// Waits until a task has written this to standard output, and the event store has it.
    pub async fn until_output(&self, id: TaskId, text: &str) {
        let what = format!("task {id} writes {text:?}");
        until(&what, PATIENCE, async || {
            let execution = self.control().task(id).await.ok()?.execution?.id;
            self.try_record(id).await.ok()?.output_of(execution).stdout.contains(text).then_some(())
        })
        .await;
    }

    /// Every attempt at a task, the first one first.
    pub async fn executions(&self, id: TaskId) -> Vec<ExecutionView> {
        let history: ExecutionHistory = self.get(&format!("/v1/tasks/{id}/executions")).await;
        let mut found = history.executions;
        found.reverse();
        found
    }

    /// What the event store holds of a task.
    pub async fn record(&self, id: TaskId) -> Record {
        self.try_record(id).await.expect("the event store answers")
    }

    async fn try_record(&self, id: TaskId) -> Result<Record, client::Error> {
        let events = self.events();
        let mut record = Record::default();
        loop {
            let after = record.events.last().map_or(0, |event| event.seq);
            let page = events.task_events(id, after, PAGE).await?;
            if page.events.is_empty() {
                return Ok(record);
            }
            record.events.extend(page.events);
        }
    }
}
