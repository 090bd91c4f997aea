//! What tasks need of each other, written and shown.

use std::collections::HashMap;

use client::control::TaskFilter;
use wire::dependency::{DependencyGraph, GraphNode, NeededTask, NewDependency};
use wire::id::TaskId;
use wire::outcome::Condition;
use wire::task::TaskStatus;

use super::{dot, print_tasks};
use crate::connect::Server;
use crate::exit::{Code, failure};
use crate::invocation::Invocation;
use crate::table;

/// The most tasks that one list gives.
const LIST_MAX: u32 = 1_000;

/// Makes a task need others, each as `like` says.
pub(super) async fn depend(
    invocation: &Invocation,
    server: &Server,
    id: TaskId,
    on: &[TaskId],
    like: &NewDependency,
) -> anyhow::Result<()> {
    for needed in on {
        let new = NewDependency { depends_on_task_id: *needed, ..like.clone() };
        // Not asked twice: after a lost answer the second would be refused, since the dependency is there already.
        let added = server.control.depend(id, &new).await.map_err(|error| server.explain(error))?;
        if invocation.output.is_json {
            invocation.output.json(&added)?;
        } else {
            let group = added.group.map(|group| format!(", or another of {group}")).unwrap_or_default();
            let words = format!("{id} needs {needed} ({}, {}{group})", added.dependency_type, added.condition);
            invocation.output.line(&words)?;
        }
    }
    Ok(())
}

/// Takes what one task needs of another back: everything, or what asks for the condition.
pub(super) async fn undepend(
    invocation: &Invocation,
    server: &Server,
    id: TaskId,
    on: TaskId,
    condition: Option<&Condition>,
) -> anyhow::Result<()> {
    let needed = server.ask(async |control| control.dependencies(id).await).await?;
    let is_meant = |needed: &NeededTask| {
        needed.depends_on_task.id == on && condition.is_none_or(|condition| *condition == needed.dependency.condition)
    };
    let found: Vec<_> = needed.into_iter().filter(is_meant).map(|needed| needed.dependency).collect();
    if found.is_empty() {
        let message = format!("{id} does not need that of {on}");
        return Err(failure(Code::NotFound, message, "`bifrost tasks needs` shows what it needs"));
    }
    for dependency in found {
        server.control.undepend(id, dependency.id).await.map_err(|error| server.explain(error))?;
        if invocation.output.is_json {
            invocation.output.json(&dependency)?;
        } else {
            invocation.output.line(&format!("{id} no longer needs {on} ({})", dependency.condition))?;
        }
    }
    Ok(())
}

/// Lists what a task needs.
pub(super) async fn needs(invocation: &Invocation, server: &Server, id: TaskId) -> anyhow::Result<()> {
    let needed = server.ask(async |control| control.dependencies(id).await).await?;
    let output = invocation.output;
    if output.is_json {
        return output.json(&needed);
    }
    if needed.is_empty() {
        output.say("it needs no other task");
        return Ok(());
    }
    let row = |needed: &NeededTask| {
        let task = &needed.depends_on_task;
        let NeededTask { dependency, .. } = needed;
        let is_true = if dependency.satisfied { "yes" } else { "no" }.to_owned();
        let group = dependency.group.clone().unwrap_or_else(|| "-".into());
        let kind = dependency.dependency_type.to_string();
        let (id, condition, status) = (task.id.to_string(), dependency.condition.to_string(), task.status.to_string());
        vec![id, kind, condition, is_true, group, status, task.title.clone()]
    };
    let rows = needed.iter().map(row).collect();
    let header = ["ID", "TYPE", "FOR", "TRUE", "GROUP", "STATUS", "TITLE"];
    Ok(output.line(&table::render(&header, rows, output.stdout()))?)
}

/// Lists the tasks that may start now.
pub(super) async fn all_ready(invocation: &Invocation, server: &Server) -> anyhow::Result<()> {
    let filter = TaskFilter {
        status: Some(TaskStatus::Ready),
        blocked: Some(false),
        limit: Some(LIST_MAX),
        ..TaskFilter::default()
    };
    let tasks = server.ask(async |control| control.tasks(&filter).await).await?;
    print_tasks(invocation, &tasks, "no task may start now")
}

/// Says whether what a task needs lets it start.
pub(super) async fn ready(invocation: &Invocation, server: &Server, id: TaskId) -> anyhow::Result<()> {
    let readiness = server.ask(async |control| control.readiness(id).await).await?;
    let output = invocation.output;
    if output.is_json {
        return output.json(&readiness);
    }
    if readiness.ready {
        return Ok(output.line(&format!("{id} waits for no other task"))?);
    }
    output.line(&format!("{id} waits for"))?;
    Ok(readiness.unsatisfied.iter().try_for_each(|needed| output.line(&needed.to_string()))?)
}

/// Lists the tasks that wait for a task.
pub(super) async fn blocks(invocation: &Invocation, server: &Server, id: TaskId) -> anyhow::Result<()> {
    let blocks = server.ask(async |control| control.blocks(id).await).await?;
    if invocation.output.is_json {
        return invocation.output.json(&blocks);
    }
    print_tasks(invocation, &blocks.tasks, "no task waits for it")
}

/// Prints the ids of the tasks that wait for a task, directly or through others.
pub(super) async fn impact(invocation: &Invocation, server: &Server, id: TaskId) -> anyhow::Result<()> {
    let impact = server.ask(async |control| control.blocking_impact(id).await).await?;
    let output = invocation.output;
    if output.is_json {
        return output.json(&impact);
    }
    if impact.blocked_task_ids.is_empty() {
        output.say("no task waits for it");
    }
    Ok(impact.blocked_task_ids.iter().try_for_each(|blocked| output.line(&blocked.to_string()))?)
}

/// Shows which tasks need which.
pub(super) async fn graph(invocation: &Invocation, server: &Server, dot: bool) -> anyhow::Result<()> {
    let graph = server.ask(async |control| control.dependency_graph().await).await?;
    let output = invocation.output;
    if graph.truncated {
        output.warn("there are more tasks than a graph holds; the less urgent ones are left out");
    }
    if dot {
        return Ok(output.line(&dot::render(&graph))?);
    }
    if output.is_json {
        return output.json(&graph);
    }
    if graph.edges.is_empty() {
        output.say("no task needs another");
        return Ok(());
    }
    let header = ["TASK", "STATUS", "NEEDED", "TYPE", "ITS STATUS"];
    Ok(output.line(&table::render(&header, rows(&graph), output.stdout()))?)
}

fn rows(graph: &DependencyGraph) -> Vec<Vec<String>> {
    let nodes: HashMap<TaskId, &GraphNode> = graph.nodes.iter().map(|node| (node.id, node)).collect();
    let status = |id| nodes.get(&id).map_or_else(|| "-".to_owned(), |node| node.status.to_string());
    let edges = graph.edges.iter();
    edges
        .map(|edge| {
            let (task, needed) = (edge.target, edge.source);
            let kind = edge.dependency_type.to_string();
            vec![task.to_string(), status(task), needed.to_string(), kind, status(needed)]
        })
        .collect()
}
