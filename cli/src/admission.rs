//! `bifrost hold`, `limits`, `queue`, `projects`, `budgets` and `schedules`: what keeps work
//! from starting, and what starts it.

mod budgets;
mod schedules;

use chrono::TimeDelta;
use serde::Serialize;
use wire::admission::{HoldView, LimitView, NewHold, NewLimit, ProjectView, RateLimit};
use wire::id::HoldId;
use wire::queue::{Capacity, QueueView};

use crate::args::{HoldArguments, LimitsCommand, ProjectsCommand};
use crate::connect::Server;
use crate::cost::dollars;
use crate::duration::{show_age, show_time};
use crate::invocation::Invocation;
use crate::output::one_line;
use crate::table;

pub(crate) use budgets::{run as budgets, show_budget};
pub(crate) use schedules::run as schedules;

/// Holds something.
pub(crate) async fn hold(invocation: &Invocation, arguments: &HoldArguments) -> anyhow::Result<()> {
    let now = invocation.clock.now();
    let after = arguments.seconds.and_then(|seconds| i64::try_from(seconds).ok()).map(TimeDelta::seconds);
    let new = NewHold {
        task_id: arguments.held.task,
        project: arguments.held.project.clone(),
        key: arguments.held.key.clone(),
        everything: arguments.held.everything,
        reason: arguments.reason.clone(),
        owner: arguments.owner.clone(),
        expires_at: arguments.until.or(after.map(|after| now + after)),
    };
    let key = invocation.chance.hex::<16>();
    let server = Server::find(invocation)?;
    let hold = server.ask(async |control| control.hold(&new, &key).await).await?;
    print_holds(invocation, &[hold])
}

/// Removes holds.
pub(crate) async fn unhold(invocation: &Invocation, ids: &[HoldId]) -> anyhow::Result<()> {
    let server = Server::find(invocation)?;
    for id in ids {
        // Not asked twice: after a lost answer the second would find no hold.
        server.control.unhold(*id).await.map_err(|error| server.explain(error))?;
        gone(invocation, id, "removed")?;
    }
    Ok(())
}

/// Says that something is gone.
fn gone(invocation: &Invocation, id: impl std::fmt::Display + Serialize, how: &str) -> anyhow::Result<()> {
    let output = invocation.output;
    if output.is_json {
        output.json(&serde_json::json!({ "id": id }))
    } else {
        Ok(output.line(&format!("{id} {how}"))?)
    }
}

/// A list: as JSON, as a table, or a word where there is nothing.
fn print<T: Serialize>(
    invocation: &Invocation,
    things: &[T],
    header: &[&str],
    if_none: &str,
    row: impl Fn(&T) -> Vec<String>,
) -> anyhow::Result<()> {
    let output = invocation.output;
    if output.is_json {
        return output.json(&things);
    }
    if things.is_empty() {
        output.say(if_none);
        return Ok(());
    }
    let rows = things.iter().map(row).collect();
    Ok(output.line(&table::render(header, rows, output.stdout()))?)
}

/// Lists the holds.
pub(crate) async fn holds(invocation: &Invocation) -> anyhow::Result<()> {
    let server = Server::find(invocation)?;
    let holds = server.ask(async |control| control.holds().await).await?;
    print_holds(invocation, &holds)
}

fn print_holds(invocation: &Invocation, holds: &[HoldView]) -> anyhow::Result<()> {
    let now = invocation.clock.now();
    let row = |hold: &HoldView| {
        let task = hold.task_id.map(|id| format!("task {id}"));
        let project = hold.project.as_ref().map(|name| format!("project {name}"));
        let key = hold.key.as_ref().map(|key| format!("key {key}"));
        let until = hold.expires_at.map_or_else(|| "-".into(), show_time);
        vec![
            hold.id.to_string(),
            task.or(project).or(key).unwrap_or_else(|| "everything".into()),
            hold.owner.clone(),
            show_age(now, hold.created_at),
            until,
            one_line(&hold.reason),
        ]
    };
    print(invocation, holds, &["ID", "HELD", "OWNER", "SINCE", "UNTIL", "REASON"], "nothing is held", row)
}

/// Carries out one of the commands about limits.
pub(crate) async fn limits(invocation: &Invocation, command: &LimitsCommand) -> anyhow::Result<()> {
    let server = Server::find(invocation)?;
    match command {
        LimitsCommand::List => {
            let limits = server.ask(async |control| control.limits().await).await?;
            print_limits(invocation, &limits)
        }
        LimitsCommand::Show { key } => {
            let limit = server.ask(async |control| control.limit(key).await).await?;
            if invocation.output.is_json {
                return invocation.output.json(&limit);
            }
            print_limits(invocation, &[limit])
        }
        LimitsCommand::Set { key, max_running, tokens, per, burst } => {
            let per_seconds = per.and_then(|seconds| i64::try_from(seconds).ok());
            let rate = tokens.zip(per_seconds);
            let rate = rate.map(|(tokens, per_seconds)| RateLimit { tokens, per_seconds, burst: *burst });
            let new = NewLimit { max_running: *max_running, rate };
            let limit = server.ask(async |control| control.set_limit(key, &new).await).await?;
            print_limits(invocation, &[limit])
        }
        LimitsCommand::Remove { key } => {
            // Not asked twice: after a lost answer the second would find no limit.
            server.control.remove_limit(key).await.map_err(|error| server.explain(error))?;
            gone(invocation, key, "removed")
        }
    }
}

fn print_limits(invocation: &Invocation, limits: &[LimitView]) -> anyhow::Result<()> {
    let dash = || "-".to_owned();
    let row = |limit: &LimitView| {
        let most = limit.max_running.map_or_else(dash, |most| most.to_string());
        let rate =
            limit.rate.map(|rate| format!("{} in {} s, {} at once", rate.tokens, rate.per_seconds, rate.burst()));
        let left = limit.tokens_left.map_or_else(dash, |left| left.to_string());
        let next = limit.next_token_at.map_or_else(dash, show_time);
        vec![one_line(&limit.key), limit.running.to_string(), most, rate.unwrap_or_else(dash), left, next]
    };
    let header = ["KEY", "RUNNING", "MOST", "RATE", "LEFT", "NEXT"];
    print(invocation, limits, &header, "no key has a limit", row)
}

/// Shows the queue: a line for each kind of task and for each kind of worker.
pub(crate) async fn queue(invocation: &Invocation) -> anyhow::Result<()> {
    let server = Server::find(invocation)?;
    let queue = server.ask(async |control| control.queue().await).await?;
    let output = invocation.output;
    if output.is_json {
        return output.json(&queue);
    }
    let QueueView { for_machines, for_claims, parked, blocked, in_hand, machines, others } = queue;
    let tasks = [
        ("wait for a machine", for_machines),
        ("wait to be claimed", for_claims),
        ("wait for their time, a hold or money", parked),
        ("wait for another task", blocked),
        ("are in hand", in_hand),
    ];
    let rows = tasks.iter().map(|(what, count)| vec![(*what).to_owned(), count.to_string()]).collect();
    output.line(&table::render(&["TASKS THAT", "COUNT"], rows, output.stdout()))?;
    let row = |(what, room): (&str, Capacity)| {
        let numbers = [room.workers, room.capacity, room.load, room.free];
        std::iter::once(what.to_owned()).chain(numbers.iter().map(i64::to_string)).collect()
    };
    let rows = [("machines", machines), ("others", others)].into_iter().map(row).collect();
    Ok(output.line(&table::render(&["WORKERS", "COUNT", "AT ONCE", "HAVE", "FREE"], rows, output.stdout()))?)
}

/// Carries out one of the commands about projects.
pub(crate) async fn projects(invocation: &Invocation, command: &ProjectsCommand) -> anyhow::Result<()> {
    let server = Server::find(invocation)?;
    let projects = match command {
        ProjectsCommand::List => server.ask(async |control| control.projects().await).await?,
        ProjectsCommand::Weigh { name, weight } => {
            vec![server.ask(async |control| control.weigh_project(name, *weight).await).await?]
        }
    };
    let row = |project: &ProjectView| {
        let name = if project.name.is_empty() { "-".into() } else { one_line(&project.name) };
        let waits = if project.has_waiting { "yes" } else { "no" };
        let (weight, in_hand) = (project.weight.to_string(), project.in_hand.to_string());
        vec![name, weight, in_hand, waits.into(), project.tokens.to_string(), dollars(project.cost_micros)]
    };
    let header = ["PROJECT", "WEIGHT", "IN HAND", "WAITING", "TOKENS", "COST"];
    print(invocation, &projects, &header, "no project has work", row)
}
