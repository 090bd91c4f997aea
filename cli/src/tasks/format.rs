//! Files of tasks in other programs' forms, read as lines that an import takes. Whatever
//! a form has that a task does not is kept as metadata, and whatever is wrong is named
//! by its line and field.

mod beads;
mod csv;
mod github;
mod jsonl;
mod linear;
mod table;
mod words;

use clap::ValueEnum;
use serde_json::Value;
use wire::import::ImportedTask;

pub(super) use table::write;

/// Whose form a file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A task of the API as a JSON object on each line, as `bifrost tasks export` writes it
    Jsonl,
    /// Columns such as title, priority, key and needs
    Csv,
    /// The issues of beads, a JSON object on each line
    Beads,
    /// The issues of a GitHub repository, as its REST API lists them
    Github,
    /// The issues of Linear, exported as CSV
    Linear,
}

/// A task and the line on which it begins.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sourced {
    pub(super) line: usize,
    pub(super) task: ImportedTask,
}

/// What is wrong, and on which line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) line: usize,
    pub(super) what: String,
}

impl Wrong {
    fn new(line: usize, what: impl Into<String>) -> Self {
        Self { line, what: what.into() }
    }
}

/// The form that a file seems to have, by its name and its beginning.
pub(super) fn guess(name: &str, text: &str) -> Format {
    let begin = text.trim_start_matches('\u{feff}').trim_start();
    if begin.starts_with('[') {
        return Format::Github;
    }
    if begin.starts_with('{') {
        let first: Option<Value> = begin.lines().next().and_then(|line| serde_json::from_str(line).ok());
        let is_beads = first.is_some_and(|first| first.get("id").is_some() && first.get("key").is_none());
        return if is_beads { Format::Beads } else { Format::Jsonl };
    }
    let header = begin.lines().next().unwrap_or_default().to_lowercase();
    let has = |column: &str| header.split(',').any(|cell| cell.trim().trim_matches('"') == column);
    if has("id") && has("team") && has("title") {
        Format::Linear
    } else if name.ends_with(".csv") || has("title") {
        Format::Csv
    } else {
        Format::Jsonl
    }
}

/// Reads a whole file.
pub(super) fn read(format: Format, text: &str) -> Result<Vec<Sourced>, Wrong> {
    let text = text.trim_start_matches('\u{feff}');
    let tasks = match format {
        Format::Jsonl => jsonl::read(text),
        Format::Csv => csv::read(text),
        Format::Beads => beads::read(text),
        Format::Github => github::read(text),
        Format::Linear => linear::read(text),
    }?;
    for Sourced { line, task } in &tasks {
        task.validate().map_err(|error| Wrong::new(*line, error.to_string()))?;
    }
    Ok(tasks)
}

/// A value as metadata keeps it; nothing where it says nothing.
fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(text.clone()),
        Value::Array(list) if list.is_empty() => None,
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests;
