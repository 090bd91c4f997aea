//! Issues of beads: a JSON object on each line. What blocks an issue is needed by it; its
//! other relations are shown and block nothing.

use serde_json::{Map, Value};
use wire::dependency::DependencyType;
use wire::import::{ImportedTask, Need};

use super::{Sourced, Wrong, as_text, words};

pub(super) fn read(text: &str) -> Result<Vec<Sourced>, Wrong> {
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let mut tasks: Vec<Sourced> = Vec::new();
    for (line, text) in lines {
        let issue: Map<String, Value> =
            serde_json::from_str(text).map_err(|error| Wrong::new(line, error.to_string()))?;
        tasks.push(Sourced { line, task: task(issue).map_err(|what| Wrong::new(line, what))? });
    }
    // Relations to what is not in the file come to nothing, and are kept as they were said.
    let keys: std::collections::HashSet<String> = tasks.iter().filter_map(|one| one.task.key.clone()).collect();
    for Sourced { task, .. } in &mut tasks {
        let (known, unknown): (Vec<Need>, Vec<Need>) =
            std::mem::take(&mut task.needs).into_iter().partition(|need| keys.contains(&need.key));
        task.needs = known;
        if !unknown.is_empty() {
            let names: Vec<String> = unknown.into_iter().map(|need| need.key).collect();
            task.metadata.insert("beads.elsewhere".into(), names.join(" "));
        }
    }
    Ok(tasks)
}

fn task(issue: Map<String, Value>) -> Result<ImportedTask, String> {
    let mut task = ImportedTask::default();
    for (name, value) in issue {
        let text = |value: &Value| value.as_str().map(str::to_owned).ok_or_else(|| format!("{name}: is no text"));
        match name.as_str() {
            "id" => task.key = Some(text(&value)?),
            "title" => task.title = text(&value)?,
            "description" => task.description = text(&value)?,
            "status" => task.status = words::status(&text(&value)?),
            "priority" => {
                task.priority = match value.as_u64() {
                    Some(number) => words::priority(&format!("P{number}"))?,
                    None => words::priority(&text(&value)?)?,
                };
            }
            "estimated_minutes" => {
                let minutes = value.as_i64().and_then(|minutes| i32::try_from(minutes).ok());
                task.effort_estimate = Some(minutes.ok_or("estimated_minutes: is no number of minutes")?);
            }
            "labels" => {
                task.tags = serde_json::from_value(value).map_err(|error| format!("labels: {error}"))?;
            }
            "dependencies" => task.needs = needs(&value)?,
            "_type" => (),
            _ => {
                if let Some(text) = as_text(&value) {
                    task.metadata.insert(format!("beads.{name}"), text);
                }
            }
        }
    }
    Ok(task)
}

fn needs(value: &Value) -> Result<Vec<Need>, String> {
    let relations = value.as_array().ok_or("dependencies: is no list")?;
    let mut needs: Vec<Need> = Vec::new();
    for relation in relations {
        let key = relation.get("depends_on_id").and_then(Value::as_str);
        let key = key.ok_or("dependencies: one of them has no depends_on_id")?;
        let blocks = matches!(relation.get("type").and_then(Value::as_str), None | Some("blocks"));
        let dependency_type = if blocks { DependencyType::Hard } else { DependencyType::Soft };
        match needs.iter_mut().find(|need| need.key == key) {
            Some(there) if blocks => there.dependency_type = DependencyType::Hard,
            Some(_) => (),
            None => needs.push(Need { dependency_type, ..Need::on(key) }),
        }
    }
    Ok(needs)
}
