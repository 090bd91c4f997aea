//! What stands beside tasks: keys with values, and tags.

use std::collections::BTreeMap;

use wire::id::TaskId;
use wire::limit::METADATA_TASKS;
use wire::metadata::{CustomField, MetadataAnswer, NewMetadata, Tags};

use super::print_tasks;
use crate::args::MetadataCommand;
use crate::connect::Server;
use crate::invocation::Invocation;
use crate::output::one_line;
use crate::table;

/// Carries out one of the commands.
pub(super) async fn run(invocation: &Invocation, server: &Server, command: &MetadataCommand) -> anyhow::Result<()> {
    match command {
        MetadataCommand::Set { id, key, value } => set(invocation, server, *id, key, value).await,
        MetadataCommand::Get { id, key } => get(invocation, server, *id, key.as_deref()).await,
        MetadataCommand::Show { ids } => show(invocation, server, ids).await,
        MetadataCommand::Keys => keys(invocation, server).await,
    }
}

async fn set(invocation: &Invocation, server: &Server, id: TaskId, key: &str, value: &str) -> anyhow::Result<()> {
    let new = NewMetadata { key: key.into(), value: value.into() };
    let view = server.ask(async |control| control.set_metadata(id, &new).await).await?;
    let output = invocation.output;
    if output.is_json {
        return output.json(&view);
    }
    Ok(output.line(&format!("{}={}", one_line(&view.key), one_line(&view.value)))?)
}

async fn get(invocation: &Invocation, server: &Server, id: TaskId, key: Option<&str>) -> anyhow::Result<()> {
    let answer = server.ask(async |control| control.metadata(id, key).await).await?;
    let output = invocation.output;
    if output.is_json {
        return output.json(&answer);
    }
    match answer {
        MetadataAnswer::One(value) => Ok(output.line(&one_line(&value))?),
        MetadataAnswer::All(entries) => {
            let line = |(key, value): (&String, &String)| format!("{}={}", one_line(key), one_line(value));
            Ok(entries.iter().map(line).try_for_each(|text| output.line(&text))?)
        }
    }
}

/// In the order in which they were named; a task with nothing beside it has no line.
async fn show(invocation: &Invocation, server: &Server, ids: &[TaskId]) -> anyhow::Result<()> {
    let mut found = BTreeMap::new();
    for ids in ids.chunks(METADATA_TASKS) {
        found.extend(server.ask(async |control| control.metadata_of_tasks(ids).await).await?);
    }
    let output = invocation.output;
    if output.is_json {
        return output.json(&found);
    }
    let rows_of = |id: &TaskId| {
        let entries = found.get(id).into_iter().flatten();
        let row = |(key, value): (&String, &String)| vec![id.to_string(), key.clone(), value.clone()];
        entries.map(row).collect::<Vec<_>>()
    };
    let rows: Vec<_> = ids.iter().flat_map(rows_of).collect();
    if rows.is_empty() {
        output.say("nothing stands beside them");
        return Ok(());
    }
    Ok(output.line(&table::render(&["TASK", "KEY", "VALUE"], rows, output.stdout()))?)
}

async fn keys(invocation: &Invocation, server: &Server) -> anyhow::Result<()> {
    let fields = server.ask(async |control| control.custom_fields().await).await?;
    let output = invocation.output;
    if output.is_json {
        return output.json(&fields);
    }
    let row = |field: &CustomField| vec![field.usage_count.to_string(), field.name.clone()];
    let rows = fields.iter().map(row).collect();
    Ok(output.line(&table::render(&["TASKS", "KEY"], rows, output.stdout()))?)
}

/// Gives a task these tags.
pub(super) async fn tag(invocation: &Invocation, server: &Server, id: TaskId, tags: &[String]) -> anyhow::Result<()> {
    let tags = Tags { tags: tags.to_vec() };
    let tags = server.ask(async |control| control.tag(id, &tags).await).await?;
    let output = invocation.output;
    if output.is_json {
        return output.json(&tags);
    }
    Ok(tags.tags.iter().try_for_each(|tag| output.line(&one_line(tag)))?)
}

/// Lists the tasks that carry a tag.
pub(super) async fn tagged(invocation: &Invocation, server: &Server, tag: &str) -> anyhow::Result<()> {
    let tasks = server.ask(async |control| control.tagged(tag).await).await?;
    print_tasks(invocation, &tasks, "no task carries it")
}
