//! Issues of a GitHub repository, as `GET /repos/OWNER/NAME/issues?state=all` lists them.
//! Pull requests, which that list has too, are left out. An issue needs those of the
//! file that a line of its text says it is blocked by or depends on.

use std::collections::BTreeSet;

use serde_json::value::RawValue;
use serde_json::{Map, Value};
use wire::import::{ImportedTask, Need};

use super::{Sourced, Wrong, as_text, words};

/// What leads to an issue's number in a line of its text.
const NEEDS: [&str; 4] = ["blocked by", "depends on", "needs", "after"];

pub(super) fn read(text: &str) -> Result<Vec<Sourced>, Wrong> {
    let at = |error: &serde_json::Error| Wrong::new(error.line(), error.to_string());
    let issues: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| at(&error))?;
    let mut tasks: Vec<Sourced> = Vec::new();
    for issue in issues {
        // The pieces are parts of the text, so their places in it tell their lines.
        let before = issue.get().as_ptr() as usize - text.as_ptr() as usize;
        let line = text[..before].matches('\n').count() + 1;
        let issue: Map<String, Value> = serde_json::from_str(issue.get())
            .map_err(|error| Wrong::new(line + error.line() - 1, error.to_string()))?;
        if !issue.contains_key("pull_request") {
            tasks.push(Sourced { line, task: task(issue).map_err(|what| Wrong::new(line, what))? });
        }
    }
    let keys: BTreeSet<String> = tasks.iter().filter_map(|one| one.task.key.clone()).collect();
    for Sourced { task, .. } in &mut tasks {
        let key = task.key.clone().unwrap_or_default();
        let named = named(&task.description).into_iter().filter(|number| keys.contains(number) && *number != key);
        task.needs = named.map(Need::on).collect();
    }
    Ok(tasks)
}

fn task(issue: Map<String, Value>) -> Result<ImportedTask, String> {
    let number = issue.get("number").and_then(Value::as_u64).ok_or("number: is missing")?;
    let title = issue.get("title").and_then(Value::as_str).ok_or("title: is missing")?;
    let text = |name: &str| issue.get(name).and_then(Value::as_str);
    let tags = labels(issue.get("labels"));
    // The first label that says how urgent.
    let said = tags.iter().find_map(|tag| words::priority(tag.rsplit([':', '/']).next()?).ok());
    let status = match (text("state"), text("state_reason")) {
        (Some("closed"), Some(reason)) => words::status(reason).or(words::status("closed")),
        (state, _) => state.and_then(words::status),
    };
    let mut task = ImportedTask {
        key: Some(number.to_string()),
        title: title.to_owned(),
        description: text("body").unwrap_or_default().to_owned(),
        status,
        priority: said.unwrap_or_default(),
        tags,
        ..ImportedTask::default()
    };
    for (name, value) in &issue {
        if let Some(text) = kept(name, value) {
            task.metadata.insert(format!("github.{name}"), text);
        }
    }
    Ok(task)
}

/// What is worth keeping: no addresses of the API, and people and milestones by their names.
fn kept(name: &str, value: &Value) -> Option<String> {
    let named = |value: &Value| value.get("login").or(value.get("title")).or(value.get("name")).and_then(as_text);
    match name {
        "number" | "title" | "body" | "labels" | "id" | "node_id" | "url" | "reactions" => None,
        "html_url" => as_text(value),
        _ if name.ends_with("_url") => None,
        _ => match value {
            Value::Object(_) => named(value),
            Value::Array(list) => as_text(&list.iter().filter_map(named).collect::<Vec<_>>().join(", ").into()),
            other => as_text(other),
        },
    }
}

fn labels(value: Option<&Value>) -> Vec<String> {
    let labels = value.and_then(Value::as_array).into_iter().flatten();
    let name = |label: &Value| label.as_str().or_else(|| label.get("name")?.as_str()).map(str::to_owned);
    labels.filter_map(name).collect()
}

/// The numbers that lines such as "Blocked by #12 and #13" name.
fn named(text: &str) -> BTreeSet<String> {
    let mut numbers = BTreeSet::new();
    for line in text.lines() {
        let line = line.trim_start_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
        let Some(rest) = NEEDS.iter().find_map(|words| line.strip_prefix(words)) else { continue };
        for part in rest.split('#').skip(1) {
            let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
            if !digits.is_empty() {
                numbers.insert(digits);
            }
        }
    }
    numbers
}
