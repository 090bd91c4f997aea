//! The audit after the storm: what was promised has happened, once.

use std::collections::BTreeSet;
use std::time::Duration;

use client::control::TaskFilter;
use wire::event::{StoredEvent, kind};
use wire::execution::Outcome;
use wire::id::{EventId, TaskId};
use wire::task::TaskStatus;
use world::{PATIENCE, World, until};

use super::say;
use super::storm::Acknowledged;

pub(super) async fn check(world: &World, acknowledged: &Acknowledged, patience: Duration) {
    let filter = TaskFilter { status: Some(TaskStatus::Completed), limit: Some(1_000), offset: None };
    let control = world.control();
    let tasks: BTreeSet<TaskId> = acknowledged.tasks.keys().copied().collect();
    let completed = until("every task is completed", patience, async || {
        let completed = control.tasks(filter).await.ok()?;
        (completed.len() >= tasks.len()).then_some(completed)
    })
    .await;
    assert_eq!(completed.iter().map(|task| task.id).collect::<BTreeSet<_>>(), tasks, "each was made once");
    let mut attempts = 0;
    for (task, writes) in &acknowledged.tasks {
        attempts += check_task(world, *task, writes).await;
    }
    say(&format!("{} tasks took {attempts} attempts, {} events", tasks.len(), acknowledged.events.len()));
    check_log(&log(world).await, &acknowledged.events);
}

/// One attempt succeeded, its record is whole, and the task's end was told once. Gives all attempts.
async fn check_task(world: &World, task: TaskId, writes: &str) -> usize {
    let executions = world.executions(task).await;
    let succeeded: Vec<_> = executions.iter().filter(|e| e.outcome == Some(Outcome::Succeeded)).collect();
    let [succeeded] = succeeded[..] else { panic!("task {task} succeeded {} times", succeeded.len()) };
    let lost = executions.iter().filter(|e| e.outcome == Some(Outcome::WorkerLost)).count();
    assert_eq!(lost + 1, executions.len(), "what did not succeed was lost: {executions:?}");
    let aside = "aside\n".repeat(writes.lines().count());
    let what = format!("the record of task {task} is whole");
    until(&what, PATIENCE, async || {
        let record = world.record(task).await;
        let output = record.output_of(succeeded.id);
        let is_whole = record.count(kind::TASK_COMPLETED) == 1 && output.stdout == writes && output.stderr == aside;
        is_whole.then_some(())
    })
    .await;
    executions.len()
}

/// The log has no gaps, nothing twice, and everything that was acknowledged.
fn check_log(log: &[StoredEvent], acknowledged: &[EventId]) {
    assert!(log.iter().zip(1..).all(|(event, place)| event.seq == place), "the log has a gap");
    let ids: BTreeSet<EventId> = log.iter().map(|event| event.id).collect();
    assert_eq!(ids.len(), log.len(), "an event is there twice");
    let missing: Vec<_> = acknowledged.iter().filter(|id| !ids.contains(*id)).collect();
    assert!(missing.is_empty(), "of {} acknowledged events, these are lost: {missing:?}", acknowledged.len());
}

async fn log(world: &World) -> Vec<StoredEvent> {
    let store = world.events();
    let mut log: Vec<StoredEvent> = Vec::new();
    loop {
        let after = log.last().map_or(0, |event| event.seq);
        let page = store.feed(after, 1_000).await.expect("the event store answers");
        if page.events.is_empty() {
            return log;
        }
        log.extend(page.events);
    }
}
