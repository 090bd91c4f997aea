//! Any table with a column of titles. Columns are known by their names in either case;
//! one that says nothing to us is kept as metadata under its name.

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use wire::import::{ImportedTask, Need};
use wire::task::TaskStatus;

use super::table::METADATA;
use super::{Sourced, Wrong, table, words};

pub(super) fn read(text: &str) -> Result<Vec<Sourced>, Wrong> {
    let mut rows = table::rows(text)?.into_iter();
    let Some((line, header)) = rows.next() else { return Ok(Vec::new()) };
    if !header.iter().any(|name| name.trim().eq_ignore_ascii_case("title")) {
        return Err(Wrong::new(line, "there is no column `title`"));
    }
    rows.map(|(line, cells)| {
        if cells.len() > header.len() {
            let what = format!("has {} cells, and the header has {}", cells.len(), header.len());
            return Err(Wrong::new(line, what));
        }
        let mut task = ImportedTask::default();
        for (name, cell) in header.iter().zip(cells) {
            take(&mut task, name.trim(), cell).map_err(|what| Wrong::new(line, what))?;
        }
        Ok(Sourced { line, task })
    })
    .collect()
}

fn take(task: &mut ImportedTask, name: &str, cell: String) -> Result<(), String> {
    if cell.trim().is_empty() {
        return Ok(());
    }
    match name.to_lowercase().as_str() {
        "title" => task.title = cell,
        "description" | "body" => task.description = cell,
        "key" | "id" => task.key = Some(cell.trim().to_owned()),
        "priority" => task.priority = words::priority(&cell)?,
        "status" | "state" => task.status = status(&cell)?,
        "effort_estimate" | "estimate" | "minutes" => {
            let minutes = cell.trim().parse();
            task.effort_estimate =
                Some(minutes.map_err(|_| format!("{name}: {cell:?} is no whole number of minutes"))?);
        }
        "needs" | "depends_on" | "blocked_by" => {
            task.needs = list(name, &cell, |key| Need::on(key))?;
        }
        "project" => task.project = Some(cell.trim().to_owned()),
        "keys" => task.keys = list(name, &cell, str::to_owned)?,
        "not_before" => task.not_before = Some(time(name, &cell)?),
        "deadline" => task.deadline = Some(time(name, &cell)?),
        "budget" => task.budget = Some(serde_json::from_str(&cell).map_err(|error| format!("budget: {error}"))?),
        "tags" | "labels" => task.tags = list(name, &cell, str::to_owned)?,
        "outcomes" => {
            let names: Vec<String> = list(name, &cell, str::to_owned)?;
            let read = names.iter().map(|name| name.parse()).collect::<Result<_, wire::outcome::NotAnOutcome>>();
            task.outcomes = read.map_err(|error| format!("outcomes: {error}"))?;
        }
        "spec" => task.spec = Some(serde_json::from_str(&cell).map_err(|error| format!("spec: {error}"))?),
        _ => {
            let key = name.strip_prefix(METADATA).unwrap_or(name);
            task.metadata.insert(key.to_owned(), cell);
        }
    }
    Ok(())
}

fn time(name: &str, cell: &str) -> Result<DateTime<Utc>, String> {
    let wrong = |_| format!("{name}: {cell:?} is no time such as 2026-01-31T12:00:00Z");
    DateTime::parse_from_rfc3339(cell.trim()).map(DateTime::from).map_err(wrong)
}

/// Our own word, or somebody else's for it.
fn status(word: &str) -> Result<Option<TaskStatus>, String> {
    let word = word.trim().to_lowercase();
    match (word.parse(), words::status(&word), word.as_str()) {
        (Ok(status), ..) => Ok(Some(status)),
        (Err(_), Some(status), _) => Ok(Some(status)),
        (Err(_), None, "open" | "todo" | "backlog" | "new") => Ok(None),
        (Err(error), None, _) => Err(format!("status: {error}; or open, todo, done, closed")),
    }
}

/// Words with semicolons or commas between, or a JSON array.
fn list<T: DeserializeOwned>(name: &str, cell: &str, word: impl Fn(&str) -> T) -> Result<Vec<T>, String> {
    if cell.trim_start().starts_with('[') {
        return serde_json::from_str(cell).map_err(|error| format!("{name}: {error}"));
    }
    Ok(cell.split([';', ',']).map(str::trim).filter(|part| !part.is_empty()).map(word).collect())
}
