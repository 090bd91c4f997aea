//! Looking ahead: the dry run of a file or of what is stored, and the critical path.

use std::path::Path;

use wire::plan::{CriticalPath, Forecast, ForecastTask, ForecastWait, PlanRequest, TaskTimes};

use super::import;
use crate::args::PlanArguments;
use crate::connect::Server;
use crate::count::counted;
use crate::duration::show_time;
use crate::invocation::Invocation;
use crate::output::one_line;
use crate::table;

/// Plays tasks through and says how they would go.
pub(crate) async fn plan(invocation: &Invocation, server: &Server, arguments: &PlanArguments) -> anyhow::Result<()> {
    let tasks = match &arguments.file {
        Some(file) => Some(import::tasks_of(file, arguments.format)?.into_iter().map(|one| one.task).collect()),
        None => None,
    };
    let request = PlanRequest {
        tasks,
        machines: arguments.machines,
        tasks_per_machine: arguments.tasks_per_machine,
        machine_hour_micros: arguments.machine_hour_dollars.map(dollars_to_micros),
        ..PlanRequest::default()
    };
    let forecast = server.ask(async |control| control.plan(&request).await).await?;
    show(invocation, &forecast, arguments.file.as_deref())
}

#[expect(clippy::cast_possible_truncation, reason = "no machine costs a million dollars an hour")]
fn dollars_to_micros(dollars: f64) -> i64 {
    (dollars * 1_000_000.0).round() as i64
}

fn show(invocation: &Invocation, forecast: &Forecast, file: Option<&Path>) -> anyhow::Result<()> {
    let output = invocation.output;
    if output.is_json {
        return output.json(forecast);
    }
    if forecast.tasks.is_empty() && forecast.waiting.is_empty() {
        output.say("no task is open");
        return Ok(());
    }
    let row = |task: &ForecastTask| {
        let start = (task.starts_at - forecast.starts_at).num_minutes();
        let slack = if task.slack_minutes == 0 { "critical".to_owned() } else { span(task.slack_minutes) };
        let (wave, machine) = (task.wave.to_string(), task.machine.to_string());
        let (start, lasts) = (format!("+{}", span(start)), span(task.effort_minutes));
        vec![task.key.clone(), wave, machine, start, lasts, span(task.queued_minutes), slack, task.title.clone()]
    };
    let header = ["TASK", "WAVE", "MACHINE", "START", "LASTS", "QUEUED", "SLACK", "TITLE"];
    let rows = forecast.tasks.iter().map(row).collect();
    output.line(&table::render(&header, rows, output.stdout()))?;
    for ForecastWait { key, title, reason } in &forecast.waiting {
        output.line(&format!("{key} ({}) would wait: {}", one_line(title), one_line(reason)))?;
    }
    let names: Vec<String> = forecast.critical_path.iter().map(|key| one_line(key)).collect();
    let tasks = forecast.tasks.len();
    output.line(&format!("critical path  {} ({})", names.join(" → "), span(forecast.critical_path_minutes)))?;
    output.line(&format!(
        "takes          {}, until {}",
        span(forecast.duration_minutes),
        show_time(forecast.ends_at)
    ))?;
    let waves = counted(forecast.waves, "wave", "waves");
    let machines = counted(forecast.machines_used, "machine", "machines");
    output.line(&format!("tasks          {tasks} in {waves}, on {machines}"))?;
    output.line(&format!(
        "costs          {} dollars for {} of machines",
        forecast.cost_dollars,
        span(forecast.machine_minutes)
    ))?;
    if file.is_some() {
        output.say("nothing was submitted; `bifrost tasks import` does that");
    }
    Ok(())
}

/// Shows the longest chain, or what has the least time to spare, on the chain or beside it.
pub(super) async fn critical_path(
    invocation: &Invocation,
    server: &Server,
    all: bool,
    limit: u32,
) -> anyhow::Result<()> {
    let found = server.ask(async |control| control.critical_path(limit).await).await?;
    let output = invocation.output;
    if output.is_json {
        return output.json(&found);
    }
    if found.open_tasks == 0 {
        output.say("no task is open");
        return Ok(());
    }
    let CriticalPath { length_minutes, path_tasks, open_tasks, .. } = &found;
    let row = |task: &TaskTimes| {
        let (id, lasts) = (task.id.to_string(), span(task.effort_minutes));
        let slack = if task.slack_minutes == 0 { "critical".to_owned() } else { span(task.slack_minutes) };
        let [earliest, latest] =
            [task.earliest_start_minutes, task.latest_start_minutes].map(|at| format!("+{}", span(at)));
        vec![id, lasts, earliest, latest, slack, task.title.clone()]
    };
    let header = ["ID", "LASTS", "EARLIEST", "LATEST", "SLACK", "TITLE"];
    let shown = if all { &found.tasks } else { &found.path };
    let rows = shown.iter().take(limit as usize).map(row).collect();
    output.line(&table::render(&header, rows, output.stdout()))?;
    if !all && *path_tasks > limit as usize {
        output.hint(&format!("its first {limit} tasks; --limit shows more"));
    }
    let (length, open) = (span(*length_minutes), counted(*open_tasks, "open task", "open tasks"));
    Ok(output.line(&format!("{length} at least: a chain of {path_tasks} of {open}"))?)
}

/// Minutes as people say them.
fn span(minutes: i64) -> String {
    match (minutes / 60, minutes % 60) {
        (0, minutes) => format!("{minutes}m"),
        (hours, 0) => format!("{hours}h"),
        (hours, minutes) => format!("{hours}h{minutes}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_prices_are_said_in_people_s_units() {
        assert_eq!([0, 59, 60, 125].map(span), ["0m", "59m", "1h", "2h5m"]);
        assert_eq!([0.017, 0.0, 12.3456789].map(dollars_to_micros), [17_000, 0, 12_345_679]);
    }
}
