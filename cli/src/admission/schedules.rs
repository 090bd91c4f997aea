//! `bifrost schedules`.

use std::path::Path;

use wire::id::ScheduleId;
use wire::schedule::{NewSchedule, ScheduleChange, ScheduleView};
use wire::task::NewTask;

use super::{gone, print};
use crate::args::SchedulesCommand;
use crate::connect::Server;
use crate::duration::show_time;
use crate::exit::{Code, failure};
use crate::invocation::Invocation;
use crate::output::one_line;

/// Carries out one of the commands.
pub(crate) async fn run(invocation: &Invocation, command: &SchedulesCommand) -> anyhow::Result<()> {
    let server = Server::find(invocation)?;
    match command {
        SchedulesCommand::List => {
            let schedules = server.ask(async |control| control.schedules().await).await?;
            print_schedules(invocation, &schedules)
        }
        SchedulesCommand::Show { id } => {
            let schedule = server.ask(async |control| control.schedule(*id).await).await?;
            show(invocation, &schedule)
        }
        SchedulesCommand::Create { name, cron, zone, task, overlap, catch_up, paused } => {
            let new = NewSchedule {
                name: name.clone(),
                cron: cron.clone(),
                time_zone: zone.clone(),
                task: read_task(task)?,
                overlap: *overlap,
                catch_up: *catch_up,
                paused: *paused,
            };
            let key = invocation.chance.hex::<16>();
            let schedule = server.ask(async |control| control.create_schedule(&new, &key).await).await?;
            print_schedules(invocation, &[schedule])
        }
        SchedulesCommand::Pause { id } => rest(invocation, &server, *id, true).await,
        SchedulesCommand::Resume { id } => rest(invocation, &server, *id, false).await,
        SchedulesCommand::Delete { id } => {
            // Not asked twice: after a lost answer the second would find no schedule.
            server.control.delete_schedule(*id).await.map_err(|error| server.explain(error))?;
            gone(invocation, id, "deleted")
        }
    }
}

async fn rest(invocation: &Invocation, server: &Server, id: ScheduleId, paused: bool) -> anyhow::Result<()> {
    let change = ScheduleChange { paused: Some(paused), ..ScheduleChange::default() };
    let schedule = server.ask(async |control| control.update_schedule(id, &change).await).await?;
    print_schedules(invocation, &[schedule])
}

fn read_task(file: &Path) -> anyhow::Result<NewTask> {
    let text = crate::tasks::read(file, "name a file with a task as JSON, or - for standard input")?;
    let task: Result<NewTask, String> = serde_json::from_str(&text).map_err(|error| error.to_string());
    let task = task.and_then(|task: NewTask| task.validate().map(|()| task).map_err(|error| error.to_string()));
    task.map_err(|what| {
        let message = format!("{}: {what}", file.display());
        failure(Code::Data, message, "`bifrost schedules --help` shows a task")
    })
}

fn print_schedules(invocation: &Invocation, schedules: &[ScheduleView]) -> anyhow::Result<()> {
    let row = |schedule: &ScheduleView| {
        let time = |time: Option<chrono::DateTime<chrono::Utc>>| time.map_or_else(|| "-".into(), show_time);
        vec![
            schedule.id.to_string(),
            schedule.cron.clone(),
            schedule.time_zone.clone(),
            if schedule.paused { "paused".into() } else { time(schedule.next_at) },
            time(schedule.last_at),
            one_line(&schedule.name),
        ]
    };
    print(invocation, schedules, &["ID", "CRON", "ZONE", "NEXT", "LAST", "NAME"], "there is no schedule", row)
}

fn show(invocation: &Invocation, schedule: &ScheduleView) -> anyhow::Result<()> {
    let output = invocation.output;
    if output.is_json {
        return output.json(schedule);
    }
    let mut fields = vec![
        ("id", schedule.id.to_string()),
        ("name", schedule.name.clone()),
        ("cron", schedule.cron.clone()),
        ("zone", schedule.time_zone.clone()),
        ("overlap", schedule.overlap.to_string()),
        ("catch up", schedule.catch_up.to_string()),
        ("paused", if schedule.paused { "yes" } else { "no" }.to_owned()),
        ("task", serde_json::to_string(&schedule.task)?),
    ];
    fields.extend(schedule.next_at.map(|time| ("next", show_time(time))));
    fields.extend(schedule.last_at.map(|time| ("last", show_time(time))));
    fields.extend(schedule.last_task_id.map(|id| ("last task", id.to_string())));
    fields.iter().try_for_each(|(name, value)| output.line(&format!("{name:<14}{}", one_line(value))))?;
    Ok(())
}
