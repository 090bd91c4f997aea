//! `bifrost tasks`: lists, shows and steers tasks, and replays what their
//! commands wrote.

mod assignments;
mod create;
mod dependencies;
mod dot;
pub(crate) mod forecast;
pub(crate) mod format;
pub(crate) mod import;
mod many;
mod metadata;
mod outcomes;

pub(crate) use import::read;

use client::control::{TaskFilter, TaskPage};
use wire::dependency::{DependencyType, NewDependency};
use wire::execution::{ExecutionView, Exit, NewExecution, StaleExecution};
use wire::id::TaskId;
use wire::task::{TaskChange, TaskView};
use wire::why::Why;

use crate::admission;
use crate::args::{ChangedFields, TasksCommand};
use crate::connect::Server;
use crate::count::counted;
use crate::duration::{show_age, show_micros, show_time};
use crate::events;
use crate::invocation::Invocation;
use crate::outage::LOST;
use crate::output::one_line;
use crate::run::display::Display;
use crate::run::follow::seen::Seen;
use crate::run::follow::{Extent, Follow, Heard};
use crate::stream;
use crate::table;
use many::Act;

/// Carries out one of the commands.
pub(crate) async fn run(invocation: &Invocation, command: &TasksCommand) -> anyhow::Result<()> {
    let server = Server::find(invocation)?;
    match *command {
        TasksCommand::Create(ref arguments) => create::create(invocation, &server, arguments).await,
        TasksCommand::List { ref project, status, priority, blocked, limit, offset, watch } => {
            let (project, limit, offset) = (project.clone(), Some(limit), Some(offset));
            let filter = TaskFilter { project, status, priority, blocked, limit, offset };
            if !watch {
                return list(invocation, &server, &filter).await;
            }
            let again = async || {
                invocation.output.clear()?;
                list(invocation, &server, &filter).await
            };
            stream::on_changes(invocation, &server, again).await
        }
        TasksCommand::Show { id, follow: true } => stream::follow_task(invocation, &server, id).await,
        TasksCommand::Show { id, follow: false } => {
            let task = server.ask(async |control| control.task(id).await).await?;
            show(invocation, &task)
        }
        TasksCommand::Logs { id, follow: false, lines: None } => replay_logs(invocation, &server, id).await,
        TasksCommand::Logs { id, follow, lines } => {
            let extent = lines.map_or(Extent::Whole, |lines| Extent::Last { lines, follow });
            follow_logs(invocation, &server, id, extent).await
        }
        TasksCommand::Update { id, ref change, if_version } => {
            update(invocation, &server, id, change, if_version).await
        }
        TasksCommand::Cancel(ref selected) => many::run(invocation, &server, Act::Cancel, selected).await,
        TasksCommand::Retry(ref selected) => many::run(invocation, &server, Act::Retry, selected).await,
        TasksCommand::Why { id } => {
            let why = server.ask(async |control| control.why(id).await).await?;
            explain(invocation, &why)
        }
        TasksCommand::Delete { id } => delete(invocation, &server, id).await,
        TasksCommand::Search { ref text } => {
            let tasks = server.ask(async |control| control.search(text).await).await?;
            print_tasks(invocation, &tasks, "no task has this text")
        }
        TasksCommand::Import { ref file, format } => import::import(invocation, &server, file, format).await,
        TasksCommand::Export { format, ref output } => {
            import::export(invocation, &server, format, output.as_deref()).await
        }
        TasksCommand::Plan(ref arguments) => forecast::plan(invocation, &server, arguments).await,
        TasksCommand::CriticalPath { all, limit } => forecast::critical_path(invocation, &server, all, limit).await,
        TasksCommand::Depend { id, ref on, soft, ref condition, ref group } => {
            let dependency_type = if soft { DependencyType::Soft } else { DependencyType::Hard };
            let (condition, group) = (condition.clone(), group.clone());
            let like = NewDependency { depends_on_task_id: id, dependency_type, condition, group };
            dependencies::depend(invocation, &server, id, on, &like).await
        }
        TasksCommand::Undepend { id, on, ref condition } => {
            dependencies::undepend(invocation, &server, id, on, condition.as_ref()).await
        }
        TasksCommand::Outcomes(ref command) => outcomes::run(invocation, &server, command).await,
        TasksCommand::Needs { id } => dependencies::needs(invocation, &server, id).await,
        TasksCommand::Ready { id: Some(id) } => dependencies::ready(invocation, &server, id).await,
        TasksCommand::Ready { id: None } => dependencies::all_ready(invocation, &server).await,
        TasksCommand::Blocks { id, all: false } => dependencies::blocks(invocation, &server, id).await,
        TasksCommand::Blocks { id, all: true } => dependencies::impact(invocation, &server, id).await,
        TasksCommand::Graph { dot } => dependencies::graph(invocation, &server, dot).await,
        TasksCommand::Tag { id, ref tags } => metadata::tag(invocation, &server, id, tags).await,
        TasksCommand::Tagged { ref tag } => metadata::tagged(invocation, &server, tag).await,
        TasksCommand::Metadata(ref command) => metadata::run(invocation, &server, command).await,
        TasksCommand::Assign { id, worker } => assignments::assign(invocation, &server, id, worker).await,
        TasksCommand::Start { id, worker, ref agent_type, parent } => {
            let (worker_id, agent_type) = (worker, agent_type.clone());
            let new = NewExecution { agent_type, worker_id, parent_execution_id: parent };
            assignments::start(invocation, &server, id, &new).await
        }
        TasksCommand::AssignBatch { count } => assignments::assign_batch(invocation, &server, count).await,
        TasksCommand::Preempt { id, worker } => assignments::preempt(invocation, &server, id, worker).await,
        TasksCommand::Prioritize { algorithm, limit } => {
            assignments::prioritize(invocation, &server, algorithm, limit).await
        }
        TasksCommand::Split { id, ref titles, ref file } => {
            assignments::split(invocation, &server, id, titles, file.as_deref()).await
        }
        TasksCommand::Executions { id } => executions(invocation, &server, id).await,
        TasksCommand::Subtasks { execution } => assignments::subtasks(invocation, &server, execution).await,
        TasksCommand::Estimate { id, minutes } => {
            let task = server.ask(async |control| control.estimate(id, minutes).await).await?;
            steered(invocation, &task)
        }
        TasksCommand::Stale => stale(invocation, &server).await,
    }
}

async fn list(invocation: &Invocation, server: &Server, filter: &TaskFilter) -> anyhow::Result<()> {
    let page = server.ask(async |control| control.task_page(filter).await).await?;
    print_tasks(invocation, &page.tasks, "no tasks")?;
    if let Some(words) = more(&page, filter.offset.unwrap_or(0)) {
        invocation.output.say(&words);
    }
    Ok(())
}

/// That there are more tasks than a list shows, and how to see them.
fn more(page: &TaskPage, offset: u32) -> Option<String> {
    let next = u64::from(offset) + page.tasks.len() as u64;
    if page.tasks.is_empty() || next >= page.total {
        return None;
    }
    let total = if page.is_cut { format!("more than {}", page.total) } else { page.total.to_string() };
    let shown = page.tasks.len();
    Some(format!(
        "{shown} of {total} tasks, by priority and then the oldest first; the next with --offset {next}, more at once \
         with --limit, fewer in all with --status, --priority or --project"
    ))
}

fn print_tasks(invocation: &Invocation, tasks: &[TaskView], if_none: &str) -> anyhow::Result<()> {
    let output = invocation.output;
    if output.is_json {
        return output.json(&tasks);
    }
    if tasks.is_empty() {
        output.say(if_none);
        return Ok(());
    }
    let now = invocation.clock.now();
    let row = |task: &TaskView| {
        let (id, status, priority) = (task.id.to_string(), task.status.to_string(), task.priority.get().to_string());
        let needs = if task.waits_for == 0 { "-".to_owned() } else { task.waits_for.to_string() };
        let waiting = task.waiting.clone().unwrap_or_else(|| "-".into());
        vec![id, status, priority, needs, show_age(now, task.created_at), waiting, task.title.clone()]
    };
    let header = ["ID", "STATUS", "PRIORITY", "NEEDS", "SUBMITTED", "WAITING", "TITLE"];
    let rows = tasks.iter().map(row).collect();
    Ok(output.line(&table::render(&header, rows, output.stdout()))?)
}

async fn delete(invocation: &Invocation, server: &Server, id: TaskId) -> anyhow::Result<()> {
    // Not asked twice: after a lost answer the second would find no task.
    server.control.delete(id).await.map_err(|error| server.explain(error))?;
    let output = invocation.output;
    if output.is_json {
        output.json(&serde_json::json!({ "id": id }))
    } else {
        Ok(output.line(&format!("{id} deleted"))?)
    }
}

async fn update(
    invocation: &Invocation,
    server: &Server,
    id: TaskId,
    change: &ChangedFields,
    if_version: Option<i64>,
) -> anyhow::Result<()> {
    let ChangedFields { title, description, status, priority, effort, project, keys, not_before, deadline, .. } =
        change;
    let ChangedFields { budget, no_budget, .. } = change;
    let keys = match keys.as_slice() {
        [] => None,
        [one] if one == "none" => Some(Vec::new()),
        several => Some(several.to_vec()),
    };
    let change = TaskChange {
        title: title.clone(),
        description: description.clone(),
        status: *status,
        priority: *priority,
        effort_estimate: effort.map(Some),
        project: project.clone().map(|project| project.0),
        keys,
        not_before: not_before.clone().map(|time| time.0),
        deadline: deadline.clone().map(|time| time.0),
        budget: if *no_budget { Some(None) } else { budget.budget().map(Some) },
    };
    // Not asked twice: after a lost answer the second would come too late for the version, or the status.
    let task = server.control.update(id, &change, if_version).await.map_err(|error| server.explain(error))?;
    steered(invocation, &task)
}

async fn executions(invocation: &Invocation, server: &Server, id: TaskId) -> anyhow::Result<()> {
    let history = server.ask(async |control| control.executions(id).await).await?;
    let output = invocation.output;
    if output.is_json {
        return output.json(&history);
    }
    let seconds = |seconds: Option<i64>| match seconds.map(|seconds| u64::try_from(seconds).unwrap_or(0)) {
        None => "-".into(),
        // Whole seconds are all that is known.
        Some(0) => "0 s".into(),
        Some(seconds) => show_micros(seconds * 1_000_000),
    };
    let row = |one: &ExecutionView| {
        let outcome = one.outcome.map_or_else(|| "-".into(), |outcome| outcome.to_string());
        let number = one.number.to_string();
        let took = seconds(one.duration_seconds);
        vec![number, one.id.to_string(), one.agent_type.clone(), outcome, took, one.cost_dollars.clone()]
    };
    let rows: Vec<Vec<String>> = history.executions.iter().map(row).collect();
    if !rows.is_empty() {
        let header = ["NUMBER", "ID", "AGENT", "OUTCOME", "TOOK", "DOLLARS"];
        output.line(&table::render(&header, rows, output.stdout()))?;
    }
    let sum = &history.summary;
    let attempts = counted(sum.total_attempts, "attempt", "attempts");
    let average = sum.average_duration_seconds.map(|_| seconds(sum.average_duration_seconds));
    let average = average.map(|average| format!("; {average} each on average")).unwrap_or_default();
    output.say(&format!(
        "{attempts}: {} succeeded, {} failed; {} dollars{average}",
        sum.success_count, sum.failure_count, sum.total_cost_dollars
    ));
    Ok(())
}

async fn stale(invocation: &Invocation, server: &Server) -> anyhow::Result<()> {
    let stale = server.ask(async |control| control.stale_executions().await).await?;
    let output = invocation.output;
    if output.is_json {
        return output.json(&stale);
    }
    if stale.is_empty() {
        output.say("no execution has run for so long");
        return Ok(());
    }
    let row = |stale: &StaleExecution| {
        let running = show_micros(u64::try_from(stale.running_seconds).unwrap_or(0) * 1_000_000);
        let estimate = stale.effort_estimate.map_or_else(|| "-".into(), |minutes| format!("{minutes}m"));
        let over = if stale.exceeds_estimate { "yes" } else { "no" };
        vec![stale.execution.task_id.to_string(), stale.execution.id.to_string(), running, estimate, over.into()]
    };
    let rows = stale.iter().map(row).collect();
    let header = ["TASK", "EXECUTION", "RUNNING", "ESTIMATE", "OVER TWICE"];
    Ok(output.line(&table::render(&header, rows, output.stdout()))?)
}

/// One task, with its newest execution.
pub(crate) fn show(invocation: &Invocation, task: &TaskView) -> anyhow::Result<()> {
    let output = invocation.output;
    if output.is_json {
        return output.json(task);
    }
    let now = invocation.clock.now();
    let mut fields = vec![
        ("id", task.id.to_string()),
        ("title", task.title.clone()),
        ("status", task.status.to_string()),
        ("priority", task.priority.get().to_string()),
        ("attempts", task.attempts.to_string()),
        ("version", task.version.to_string()),
        ("submitted", show_age(now, task.created_at)),
        ("changed", show_age(now, task.updated_at)),
    ];
    if task.waits_for > 0 {
        fields.push(("needs", counted(task.waits_for, "thing of another task", "things of other tasks")));
    }
    fields.extend(task.project.clone().map(|project| ("project", project)));
    if !task.keys.is_empty() {
        fields.push(("keys", task.keys.join(", ")));
    }
    fields.extend(task.not_before.map(|time| ("not before", show_time(time))));
    let late = if task.overdue { " (passed)" } else { "" };
    fields.extend(task.deadline.map(|time| ("deadline", format!("{}{late}", show_time(time)))));
    fields.extend(task.budget.as_ref().map(|budget| ("budget", admission::show_budget(budget))));
    fields.extend(task.schedule_id.map(|id| ("schedule", id.to_string())));
    fields.extend(task.effort_estimate.map(|minutes| ("estimate", counted(minutes, "minute", "minutes"))));
    if !task.description.is_empty() {
        fields.push(("description", task.description.clone()));
    }
    if let Some(spec) = &task.spec {
        fields.push(("repository", spec.repository.clone()));
        fields.extend(spec.reference.clone().map(|reference| ("ref", reference)));
        if !spec.command.is_empty() {
            fields.push(("command", spec.command.join(" ")));
        }
        fields.extend(spec.agent.as_ref().map(|agent| ("agent", agent.name.clone())));
        fields.push(("timeout", show_micros(spec.timeout_seconds() * 1_000_000)));
    }
    if let Some(execution) = &task.execution {
        fields.extend(execution_fields(execution));
    }
    fields.iter().try_for_each(|(name, value)| output.line(&format!("{name:<14}{}", one_line(value))))?;
    Ok(())
}

fn execution_fields(execution: &ExecutionView) -> Vec<(&'static str, String)> {
    let exit = execution.exit.map(|exit| match exit {
        Exit::Code(code) => format!("code {code}"),
        Exit::Signal(signal) => format!("signal {signal}"),
    });
    let phases = execution.phases.iter();
    let phases: Vec<String> = phases.map(|timing| format!("{} {}", timing.phase, show_micros(timing.micros))).collect();
    let optional = [
        ("worker", execution.worker_id.map(|id| id.to_string())),
        ("outcome", execution.outcome.map(|outcome| outcome.to_string())),
        ("exit", exit),
        ("failure", execution.failure.map(|failure| failure.to_string())),
        ("error", execution.error_message.clone()),
        ("commit", execution.commit.clone()),
        ("pull request", execution.pull_request.as_ref().map(|one| format!("#{} {}", one.number, one.url))),
        ("phases", (!phases.is_empty()).then(|| phases.join(" · "))),
    ];
    let mut fields = vec![("execution", format!("{} (number {})", execution.id, execution.number))];
    fields.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
    fields.push(("cost", format!("{} dollars", execution.cost_dollars)));
    fields
}

async fn follow_logs(invocation: &Invocation, server: &Server, id: TaskId, extent: Extent) -> anyhow::Result<()> {
    let mut follow = Follow::new(server, id, extent, invocation.chance.clone());
    let mut display = match extent {
        Extent::Whole | Extent::Last { follow: true, .. } => Display::live(invocation.output),
        Extent::Last { follow: false, .. } => Display::past(invocation.output),
    };
    loop {
        match follow.next().await? {
            Heard::Event(event) => display.event(&event)?,
            Heard::Waiting(why) => display.waiting(&why)?,
            Heard::Lost => display.say(LOST),
            Heard::End(task) if task.status.is_final() => return display.end(&task).map(drop),
            Heard::End(_) => return Ok(()),
        }
    }
}

/// By pages, not by a stream: a page is whole or fails, so nothing is left out unnoticed.
async fn replay_logs(invocation: &Invocation, server: &Server, id: TaskId) -> anyhow::Result<()> {
    let mut display = Display::past(invocation.output);
    let mut seen = Seen::default();
    events::each_of_task(server, id, |event| if seen.is_new(event) { display.event(event) } else { Ok(()) }).await?;
    let task = server.ask(async |control| control.task(id).await).await?;
    if task.status.is_final() { display.end(&task).map(drop) } else { Ok(()) }
}

fn steered(invocation: &Invocation, task: &TaskView) -> anyhow::Result<()> {
    let output = invocation.output;
    if output.is_json { output.json(task) } else { Ok(output.line(&format!("{} {}", task.id, task.status))?) }
}

fn explain(invocation: &Invocation, why: &Why) -> anyhow::Result<()> {
    let output = invocation.output;
    if output.is_json {
        return output.json(why);
    }
    output.line(&format!("{} is {}", why.task_id, why.status))?;
    for (number, reason) in (1..).zip(&why.reasons) {
        let until = reason.until.map(|until| format!(" (until {})", show_time(until))).unwrap_or_default();
        output.line(&format!("{number}. {}: {}{until}", reason.code, one_line(&reason.message)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_is_not_all_says_how_to_see_the_rest() {
        let task = || -> TaskView {
            let view = serde_json::json!({
                "id": "0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70", "title": "t", "description": "", "status": "ready",
                "priority": 3, "attempts": 0, "created_at": "2026-11-21T09:00:00Z",
                "updated_at": "2026-11-21T09:00:00Z",
            });
            serde_json::from_value(view).expect("a task")
        };
        let page =
            |shown: usize, total, is_cut| TaskPage { tasks: (0..shown).map(|_| task()).collect(), total, is_cut };
        assert_eq!(more(&page(2, 2, false), 0), None);
        assert_eq!(more(&page(0, 2, false), 9), None);
        let said = more(&page(2, 5, false), 1).expect("two are behind them");
        assert!(said.starts_with("2 of 5 tasks, by priority and then the oldest first; the next with --offset 3, "));
        assert!(more(&page(2, 10_000, true), 0).expect("many").starts_with("2 of more than 10000 tasks"));
    }
}
