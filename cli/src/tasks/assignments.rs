//! Scores, assignments and parts of tasks.

use std::path::Path;

use wire::assignment::AssignedTask;
use wire::execution::NewExecution;
use wire::id::{ExecutionId, TaskId, WorkerId};
use wire::prioritize::{Algorithm, Prioritize, ScoredTask};
use wire::split::{NewSubtask, Split};
use wire::task::TaskView;

use super::{import, print_tasks, steered};
use crate::connect::Server;
use crate::exit::{Code, failure};
use crate::invocation::Invocation;
use crate::output::one_line;
use crate::table;

/// Scores the tasks that are ready and lists them, highest score first.
pub(super) async fn prioritize(
    invocation: &Invocation,
    server: &Server,
    algorithm: Algorithm,
    limit: usize,
) -> anyhow::Result<()> {
    let ask = Prioritize { algorithm, limit: Some(limit) };
    let tasks = server.ask(async |control| control.prioritize(&ask).await).await?;
    let output = invocation.output;
    if output.is_json {
        return output.json(&tasks);
    }
    if tasks.is_empty() {
        output.say("no task is ready");
        return Ok(());
    }
    let row = |task: &ScoredTask| {
        let needs = if task.waits_for == 0 { "-".to_owned() } else { task.waits_for.to_string() };
        let (score, priority) = (format!("{:.2}", task.score), task.priority.get().to_string());
        vec![score, task.task_id.to_string(), priority, needs, task.title.clone()]
    };
    let rows = tasks.iter().map(row).collect();
    let header = ["SCORE", "ID", "PRIORITY", "NEEDS", "TITLE"];
    Ok(output.line(&table::render(&header, rows, output.stdout()))?)
}

/// Gives a task to a worker, or to the one that suits it best.
pub(super) async fn assign(
    invocation: &Invocation,
    server: &Server,
    id: TaskId,
    worker: Option<WorkerId>,
) -> anyhow::Result<()> {
    // Not asked twice: after a lost answer the second would be refused, since the task is assigned already.
    match worker {
        Some(worker) => {
            let task = server.control.assign(id, worker).await.map_err(|error| server.explain(error))?;
            steered(invocation, &task)?;
            say_next(invocation, id, worker);
            Ok(())
        }
        None => {
            let assigned = server.control.assign_optimal(id).await.map_err(|error| server.explain(error))?;
            let output = invocation.output;
            if output.is_json { output.json(&assigned) } else { Ok(output.line(&in_words(&assigned))?) }?;
            say_next(invocation, id, assigned.worker.id);
            Ok(())
        }
    }
}

fn say_next(invocation: &Invocation, id: TaskId, worker: WorkerId) {
    invocation.output.hint(&format!("begin it with: bifrost tasks start {id} --worker {worker}"));
}

/// Begins a task that was assigned.
pub(super) async fn start(
    invocation: &Invocation,
    server: &Server,
    id: TaskId,
    new: &NewExecution,
) -> anyhow::Result<()> {
    // Not asked twice: after a lost answer the second would be refused, since the task has begun already.
    let execution = server.control.begin(id, new).await.map_err(|error| server.explain(error))?;
    let output = invocation.output;
    if output.is_json {
        return output.json(&execution);
    }
    output.line(&execution.id.to_string())?;
    output.say(&format!("end it with: bifrost complete {} [--failed]", execution.id));
    Ok(())
}

fn in_words(assigned: &AssignedTask) -> String {
    let worker = &assigned.worker;
    format!("{} assigned to {} ({})", assigned.task_id, worker.id, one_line(&worker.worker_type))
}

/// Gives the next tasks to whoever has room.
pub(super) async fn assign_batch(invocation: &Invocation, server: &Server, count: usize) -> anyhow::Result<()> {
    // Not asked twice: after a lost answer the second would assign as many again.
    let assigned = server.control.assign_batch(count).await.map_err(|error| server.explain(error))?;
    let output = invocation.output;
    if output.is_json {
        return output.json(&assigned);
    }
    if assigned.is_empty() {
        output.say("nothing was assigned: no task may start, or no worker takes it and has room");
    }
    Ok(assigned.iter().try_for_each(|one| output.line(&in_words(one)))?)
}

/// Gives a task to a worker that is on something less urgent.
pub(super) async fn preempt(
    invocation: &Invocation,
    server: &Server,
    id: TaskId,
    worker: WorkerId,
) -> anyhow::Result<()> {
    let done = server.control.preempt(id, worker).await.map_err(|error| server.explain(error))?;
    let output = invocation.output;
    if output.is_json {
        return output.json(&done);
    }
    output.line(&in_words(&done.assigned))?;
    match done.preempted_task_id {
        Some(other) => Ok(output.line(&format!("{other} is ready again"))?),
        None => Ok(()),
    }
}

/// Replaces a task by parts: of these titles, or as a file says.
pub(super) async fn split(
    invocation: &Invocation,
    server: &Server,
    id: TaskId,
    titles: &[String],
    file: Option<&Path>,
) -> anyhow::Result<()> {
    let parts = match file {
        None => Split { subtasks: titles.iter().map(|title| part(title)).collect(), execution_id: None },
        Some(file) => serde_json::from_str(&import::read(file, "name a file of JSON, or - for standard input")?)
            .map_err(|error| {
                let message = format!("{} holds no parts of a task: {error}", file.display());
                failure(Code::Data, message, "write {\"subtasks\": [{\"title\": \"…\"}]}, as the API takes it")
            })?,
    };
    let done = server.control.split(id, &parts).await.map_err(|error| server.explain(error))?;
    let output = invocation.output;
    if output.is_json {
        return output.json(&done);
    }
    Ok(done.subtask_ids.iter().try_for_each(|part| output.line(&part.to_string()))?)
}

fn part(title: &str) -> NewSubtask {
    NewSubtask { title: title.to_owned(), ..NewSubtask::default() }
}

/// Shows how far the parts of an execution's work are.
pub(super) async fn subtasks(invocation: &Invocation, server: &Server, id: ExecutionId) -> anyhow::Result<()> {
    let progress = server.ask(async |control| control.subtasks(id).await).await?;
    let output = invocation.output;
    if output.is_json {
        return output.json(&progress);
    }
    output.line(&format!("{} of {} completed ({} %)", progress.completed, progress.total, progress.percentage))?;
    let tasks: &[TaskView] = &progress.subtasks;
    if tasks.is_empty() { Ok(()) } else { print_tasks(invocation, tasks, "no parts") }
}
