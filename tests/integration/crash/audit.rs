//! The audit after the storm: what was promised has happened, once.

use std::collections::BTreeSet;
use std::time::Duration;

use client::control::TaskFilter;
use tokio::time::timeout;
use wire::event::{StoredEvent, kind};
use wire::execution::Outcome;
use wire::id::{EventId, ExecutionId, TaskId};
use wire::task::{TaskStatus, TaskView};
use world::{PATIENCE, World, until};

use super::say;
use super::storm::Acknowledged;

pub(super) async fn check(world: &World, acknowledged: &Acknowledged, patience: Duration) {
    let tasks: BTreeSet<TaskId> = acknowledged.tasks.keys().chain(acknowledged.claimed.keys()).copied().collect();
    let ended = until_ended(world, patience).await;
    let bad: Vec<&TaskView> = ended.iter().filter(|task| task.status != TaskStatus::Completed).collect();
    assert!(bad.is_empty(), "a kill is no failure of the task: {bad:#?}");
    assert_eq!(ended.iter().map(|task| task.id).collect::<BTreeSet<_>>(), tasks, "each was made once");
    let mut attempts = 0;
    for (task, writes) in &acknowledged.tasks {
        attempts += check_task(world, *task, writes).await;
    }
    for (task, execution) in &acknowledged.claimed {
        attempts += check_claimed(world, *task, *execution).await;
    }
    say(&format!("{} tasks took {attempts} attempts, {} events", tasks.len(), acknowledged.events.len()));
    check_log(&log(world).await, &acknowledged.events);
}

/// All tasks, when all have ended; says what the others wait for when that takes too long.
async fn until_ended(world: &World, patience: Duration) -> Vec<TaskView> {
    let control = world.control();
    let look = async || {
        let tasks = control.tasks(&TaskFilter { limit: Some(1_000), ..TaskFilter::default() }).await.ok()?;
        tasks.iter().all(|task| task.status.is_final()).then_some(tasks)
    };
    if let Ok(ended) = timeout(patience, until("every task has ended", 2 * patience, look)).await {
        return ended;
    }
    let mut waiting = Vec::new();
    for task in control.tasks(&TaskFilter { limit: Some(1_000), ..TaskFilter::default() }).await.expect("answers") {
        if !task.status.is_final() {
            waiting.push((control.why(task.id).await.expect("answers"), world.executions(task.id).await));
        }
    }
    let machines = control.machines().await.expect("answers");
    panic!("not within {} s, these still wait: {waiting:#?}\nfor these: {machines:#?}", patience.as_secs());
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

/// The attempt whose end was acknowledged is the one that succeeded, and the task's end was told once. Gives all
/// attempts.
async fn check_claimed(world: &World, task: TaskId, acknowledged: ExecutionId) -> usize {
    let executions = world.executions(task).await;
    let (succeeded, lost): (Vec<_>, Vec<_>) =
        executions.iter().partition(|execution| execution.outcome == Some(Outcome::Succeeded));
    assert_eq!(succeeded.iter().map(|execution| execution.id).collect::<Vec<_>>(), [acknowledged]);
    assert!(lost.iter().all(|execution| execution.outcome == Some(Outcome::WorkerLost)), "{lost:?}");
    let what = format!("the end of task {task} is told once");
    until(&what, PATIENCE, async || (world.record(task).await.count(kind::TASK_COMPLETED) == 1).then_some(())).await;
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
