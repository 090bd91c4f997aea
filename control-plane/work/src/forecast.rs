//! The dry run: how a graph of tasks would go on so many machines, what it would cost,
//! and what would wait. Of tasks that are sent along, or of those that are stored and
//! open. Nothing is stored or started; the arithmetic is in [`plan`].

mod plan;
pub(crate) mod store;

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use kernel::{Ctx, Error, Result};
use wire::batch::BatchDependency;
use wire::dependency::DependencyType;
use wire::id::{TaskId, TenantId};
use wire::import::{ImportedTask, Need};
use wire::outcome::Condition;
use wire::plan::{
    EFFORT_MINUTES_DEFAULT, Forecast, ForecastTask, ForecastWait, PLAN_MACHINES, PLAN_TASKS, PlanRequest,
};
use wire::task::TaskStatus;

use crate::Settings;
use crate::tasks::{self, Task, import};
use plan::{Needed, Play, Played, Target};

/// Machines of a dry run that names none: as many as a pool has at most.
const MACHINES_DEFAULT: u32 = 10;
/// The most tasks that one machine of a dry run works on at once.
const AT_ONCE_MAX: u32 = 100;
/// The most that an hour of a machine may cost: a thousand dollars.
const MACHINE_HOUR_MICROS_MAX: i64 = 1_000_000_000;

/// A graph with what its tasks are called.
struct Named {
    names: Vec<(String, String)>,
    tasks: Vec<Played>,
}

/// Plays the graph through. `machine_hour_micros` is what a machine costs where the request does not say.
pub async fn forecast(
    ctx: &Ctx,
    settings: &Settings,
    machine_hour_micros: i64,
    tenant: TenantId,
    request: PlanRequest,
) -> Result<Forecast> {
    let number = |field, value: Option<u32>, usual, most| match value.unwrap_or(usual) {
        value if (1..=most).contains(&value) => Ok(value),
        _ => Err(Error::invalid(field, format!("must be from 1 to {most}"))),
    };
    let machines = number("machines", request.machines, MACHINES_DEFAULT, PLAN_MACHINES)?;
    let at_once = number("tasks_per_machine", request.tasks_per_machine, 1, AT_ONCE_MAX)?;
    let price = request.machine_hour_micros.unwrap_or(machine_hour_micros);
    if !(0..=MACHINE_HOUR_MICROS_MAX).contains(&price) {
        return Err(Error::invalid("machine_hour_micros", format!("must be from 0 to {MACHINE_HOUR_MICROS_MAX}")));
    }
    let starts_at = request.start_at.unwrap_or_else(|| ctx.now());
    let named = match &request.tasks {
        Some(tasks) => sent(settings, tasks, &request.dependencies)?,
        None if !request.dependencies.is_empty() => {
            return Err(Error::invalid("dependencies", "are between the tasks of the request, which has none"));
        }
        None => stored(ctx, tenant).await?,
    };
    let (machines, at_once) = (machines as usize, at_once as usize);
    // Ten thousand tasks are some milliseconds of arithmetic, but not for a request to wait on another's.
    let (named, play) = tokio::task::spawn_blocking(move || {
        let play = plan::play(&named.tasks, machines, at_once);
        (named, play)
    })
    .await
    .map_err(|error| Error::Internal(error.into()))?;
    Ok(view(&named, &play, starts_at, price))
}

fn view(named: &Named, play: &Play, starts_at: DateTime<Utc>, price: i64) -> Forecast {
    let at = |minutes: i64| {
        TimeDelta::try_minutes(minutes).and_then(|after| starts_at.checked_add_signed(after)).unwrap_or(starts_at)
    };
    let key = |task: usize| named.names[task].0.clone();
    let run = |run: &plan::Run| ForecastTask {
        key: key(run.task),
        title: named.names[run.task].1.clone(),
        wave: play.times.waves[run.task] as usize,
        machine: run.machine,
        starts_at: at(run.start),
        ends_at: at(run.end),
        effort_minutes: run.end - run.start,
        slack_minutes: play.times.slack(run.task),
        queued_minutes: run.start - run.ready,
    };
    let wait = |(task, why): &(usize, String)| ForecastWait {
        key: key(*task),
        title: named.names[*task].1.clone(),
        reason: why.clone(),
    };
    let waves = play.runs.iter().map(|run| play.times.waves[run.task] as usize).max().unwrap_or(0);
    // Where nothing would run, the longest chain of nothing is some task that waits.
    let path = play.times.path.iter().filter(|_| !play.runs.is_empty());
    let cost = i128::from(play.machine_minutes) * i128::from(price) / 60;
    Forecast {
        tasks: play.runs.iter().map(run).collect(),
        waiting: play.waiting.iter().map(wait).collect(),
        starts_at,
        ends_at: at(play.end),
        duration_minutes: play.end,
        waves,
        critical_path: path.map(|task| key(*task as usize)).collect(),
        critical_path_minutes: play.times.length,
        machines_used: play.machines_used,
        machine_minutes: play.machine_minutes,
        cost_dollars: wire::money::dollars(i64::try_from(cost).unwrap_or(i64::MAX)),
        machine_hour_micros: price,
        default_effort_minutes: EFFORT_MINUTES_DEFAULT,
    }
}

/// The graph that was sent along.
fn sent(settings: &Settings, tasks: &[ImportedTask], dependencies: &[BatchDependency]) -> Result<Named> {
    if tasks.is_empty() || tasks.len() > PLAN_TASKS {
        return Err(Error::invalid("tasks", format!("must be 1 to {PLAN_TASKS} tasks, and these are {}", tasks.len())));
    }
    let checked = import::check(settings, tasks, &|at| format!("tasks[{at}]"))?;
    let mut all = checked.needs;
    for (number, dependency) in dependencies.iter().enumerate() {
        let wrong = |message: String| Error::invalid(format!("dependencies[{number}]"), message);
        let BatchDependency { task, depends_on, dependency_type, condition, group } = dependency.clone();
        dependency.validate().map_err(|error| wrong(error.to_string()))?;
        if let Some(place) = [task, depends_on].into_iter().find(|place| *place >= tasks.len()) {
            return Err(wrong(format!("names the task {place}, and the last one is {}", tasks.len() - 1)));
        }
        let how = Need { dependency_type, condition, group, ..Need::on(depends_on.to_string()) };
        all.push(import::CheckedNeed { task, on: import::On::Line(depends_on), how });
    }
    import::refuse_circle(&all, tasks, &|at| format!("tasks[{at}]"))?;
    // What is over has no part in what is to come.
    let is_open = |task: &ImportedTask| matches!(task.stands(), TaskStatus::Ready | TaskStatus::Failed);
    let mut places = HashMap::new();
    let mut named = Named { names: Vec::new(), tasks: Vec::new() };
    for (at, task) in tasks.iter().enumerate().filter(|(_, task)| is_open(task)) {
        places.insert(at, named.tasks.len());
        named.names.push((task.key.clone().unwrap_or_else(|| at.to_string()), task.title.clone()));
        let stuck = (task.stands() == TaskStatus::Failed).then(|| "it has failed and waits for a retry".to_owned());
        let minutes = minutes(task.effort_estimate);
        named.tasks.push(Played { priority: task.priority.get(), minutes, stuck, needs: Vec::new() });
    }
    for need in all.iter().filter(|need| need.how.dependency_type == DependencyType::Hard) {
        let Some(task) = places.get(&need.task) else { continue };
        let condition = &need.how.condition;
        let on = match need.on {
            import::On::Line(on) => match places.get(&on) {
                Some(place) => Target::Task(*place),
                None if import::is_true(&tasks[on], condition) => Target::True,
                None => never(&tasks[on].title, tasks[on].stands(), condition),
            },
            // The dry run of what is not stored looks at nothing that is.
            import::On::Stored(id) => Target::Never(format!("it needs {condition} of {id}, which is none of these")),
        };
        named.tasks[*task].needs.push(Needed { on, group: need.how.group.clone() });
    }
    Ok(named)
}

/// The graph that is stored, as far as it is open.
async fn stored(ctx: &Ctx, tenant: TenantId) -> Result<Named> {
    let mut tx = ctx.read("forecast.stored").await?;
    let most = i64::try_from(PLAN_TASKS).unwrap_or(i64::MAX);
    let mut open: Vec<Task> = tasks::store::open(&mut tx, tenant, most + 1).await?;
    if open.len() > PLAN_TASKS {
        let message = format!(
            "more than {PLAN_TASKS} tasks are open, which is more than a dry run takes; /v1/tasks/critical-path takes any number"
        );
        return Err(Error::conflict("plan_too_large", message));
    }
    // What somebody has in hand is going already.
    open.sort_by_key(|task| task.status == TaskStatus::Ready || task.status == TaskStatus::Failed);
    let places: HashMap<TaskId, usize> = open.iter().map(|task| task.id).zip(0..).collect();
    let mut named = Named { names: Vec::new(), tasks: Vec::new() };
    for task in &open {
        named.names.push((task.id.to_string(), task.title.clone()));
        let stuck = (task.status == TaskStatus::Failed)
            .then(|| format!("it has failed; retry it with: bifrost tasks retry {}", task.id));
        let priority = if task.status == TaskStatus::Ready { task.priority.get() } else { i16::MAX };
        named.tasks.push(Played { priority, minutes: minutes(task.effort_estimate), stuck, needs: Vec::new() });
    }
    for need in store::needs(&mut tx, tenant).await? {
        let Some(task) = places.get(&need.task) else { continue };
        let on = match places.get(&need.needed) {
            _ if need.is_satisfied => Target::True,
            Some(on) => Target::Task(*on),
            None => never(&need.title, need.status, &need.condition),
        };
        named.tasks[*task].needs.push(Needed { on, group: need.group });
    }
    Ok(named)
}

fn minutes(estimate: Option<i32>) -> i64 {
    i64::from(estimate.unwrap_or(EFFORT_MINUTES_DEFAULT))
}

fn never(title: &str, status: TaskStatus, condition: &Condition) -> Target {
    Target::Never(format!("it needs {condition} of {title}, which is {status}"))
}

#[cfg(test)]
mod tests;
