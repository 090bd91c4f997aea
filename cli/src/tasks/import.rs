//! Submits the tasks of a file, one JSON object on each line: all of them, or
//! none. A line may give its task a name, and list the names of those it needs.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Map, Value};
use wire::batch::{BatchDependency, NewBatch, NewGraph};
use wire::limit::TASKS_PER_BATCH;
use wire::task::NewTask;

use super::print_tasks;
use crate::connect::Server;
use crate::exit::{Code, failure};
use crate::invocation::Invocation;

/// Reads the file and submits what it holds.
pub(super) async fn import(invocation: &Invocation, server: &Server, file: &Path) -> anyhow::Result<()> {
    let graph = plan(&read(file)?).map_err(|(line, what)| {
        let message = format!("{}, line {line}: {what}", file.display());
        failure(Code::Data, message, "nothing was submitted; `bifrost tasks --help` shows a line")
    })?;
    let batch = NewBatch::Graph(graph);
    let key = invocation.chance.hex::<16>();
    let tasks = server.ask(async |control| control.submit_batch(&batch, &key).await).await?;
    if invocation.output.is_json {
        return invocation.output.json(&tasks);
    }
    print_tasks(invocation, &tasks, "no tasks")
}

pub(super) fn read(file: &Path) -> anyhow::Result<String> {
    let text =
        if file == Path::new("-") { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(file) };
    text.map_err(|error| {
        let message = format!("{} cannot be read: {error}", file.display());
        failure(Code::NotFound, message, "name a file of JSON lines, or - for standard input")
    })
}

/// What the lines say, or the number of the line that is wrong and what is wrong with it. Pure.
fn plan(text: &str) -> Result<NewGraph, (usize, String)> {
    let lines: Vec<(usize, &str)> = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()).collect();
    if let Some((number, _)) = lines.get(TASKS_PER_BATCH) {
        return Err((*number, format!("there are more than {TASKS_PER_BATCH} tasks; part the file")));
    }
    let mut graph = NewGraph::default();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut needs: Vec<(usize, Vec<String>)> = Vec::new();
    for (number, text) in lines {
        let line = read_line(text).map_err(|what| (number, what))?;
        if let Some(key) = line.key
            && places.insert(key.clone(), graph.tasks.len()).is_some()
        {
            return Err((number, format!("the key {key:?} is another line's already")));
        }
        needs.push((number, line.needs));
        graph.tasks.push(line.task);
    }
    for (task, (number, keys)) in needs.into_iter().enumerate() {
        for key in keys {
            let place = places.get(&key).copied();
            let depends_on = place.ok_or_else(|| (number, format!("no line has the key {key:?}, which it needs")))?;
            graph.dependencies.push(BatchDependency::on(task, depends_on));
        }
    }
    Ok(graph)
}

struct Line {
    key: Option<String>,
    needs: Vec<String>,
    task: NewTask,
}

fn read_line(text: &str) -> Result<Line, String> {
    let mut fields: Map<String, Value> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let key = fields.remove("key").map(serde_json::from_value).transpose();
    let key = key.map_err(|error| format!("key: {error}"))?;
    let needs = fields.remove("needs").map(serde_json::from_value).transpose();
    let needs = needs.map_err(|error| format!("needs: {error}"))?.unwrap_or_default();
    let task: NewTask = serde_json::from_value(Value::Object(fields)).map_err(|error| error.to_string())?;
    task.validate().map_err(|error| error.to_string())?;
    Ok(Line { key, needs, task })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_needs_others_by_their_keys_in_whatever_order_they_stand() {
        let text = "{\"title\":\"b\",\"needs\":[\"x\"]}\n\n{\"title\":\"a\",\"key\":\"x\"}\n";
        let graph = plan(text).expect("reads");
        assert_eq!(graph.tasks.iter().map(|task| task.title.as_str()).collect::<Vec<_>>(), ["b", "a"]);
        let expect = BatchDependency::on(0, 1);
        assert_eq!(graph.dependencies, [expect]);
    }

    #[test]
    fn a_wrong_line_is_named_by_its_number() {
        let many = "{\"title\":\"a\"}\n".repeat(101);
        for (text, number, said) in [
            ("{\"title\":\"a\"}\n[]", 2, "map"),
            ("\n{\"titel\":\"a\"}", 2, "titel"),
            ("{\"title\":\"\"}", 1, "title"),
            ("{\"title\":\"a\",\"key\":7}", 1, "key"),
            ("{\"title\":\"a\",\"needs\":[\"z\"]}", 1, "\"z\""),
            ("{\"title\":\"a\",\"key\":\"k\"}\n{\"title\":\"b\",\"key\":\"k\"}", 2, "already"),
            (&many, 101, "more than 100"),
        ] {
            let (line, what) = plan(text).expect_err("is refused");
            assert!(line == number && what.contains(said), "{text}: {line}: {what}");
        }
    }
}
