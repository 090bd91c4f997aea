//! Comma-separated values (RFC 4180): rows with the line each begins on, and the way back.

use std::collections::BTreeSet;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use wire::import::{ImportedTask, Need};

use super::Wrong;

/// A row: its line, and its cells.
pub(super) type Row = (usize, Vec<String>);

/// The rows of a text; empty lines are none.
pub(super) fn rows(text: &str) -> Result<Vec<Row>, Wrong> {
    let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
    let (mut line, mut began, mut quoted_since) = (1, 1, None);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        line += usize::from(character == '\n');
        match (character, quoted_since) {
            ('"', Some(_)) if characters.peek() == Some(&'"') => {
                cell.push('"');
                characters.next();
            }
            ('"', Some(_)) => {
                quoted_since = None;
                if !matches!(characters.peek(), None | Some(',' | '\n' | '\r')) {
                    return Err(Wrong::new(
                        line,
                        "a quoted cell goes on behind its closing quote; double a quote that is meant",
                    ));
                }
            }
            ('"', None) if cell.is_empty() => quoted_since = Some(line),
            (',', None) => row.push(std::mem::take(&mut cell)),
            ('\r', None) if characters.peek() == Some(&'\n') => (),
            ('\n', None) => {
                end_row(&mut rows, &mut row, &mut cell, began);
                began = line;
            }
            (character, _) => cell.push(character),
        }
    }
    if let Some(since) = quoted_since {
        return Err(Wrong::new(since, "a quoted cell that begins here is never closed"));
    }
    end_row(&mut rows, &mut row, &mut cell, began);
    Ok(rows)
}

fn end_row(rows: &mut Vec<Row>, row: &mut Vec<String>, cell: &mut String, began: usize) {
    if !row.is_empty() || !cell.trim().is_empty() {
        row.push(std::mem::take(cell));
        rows.push((began, std::mem::take(row)));
    }
    cell.clear();
}

/// Tasks as rows that an import reads, with a column for each key of their metadata.
pub(crate) fn write(tasks: &[ImportedTask]) -> String {
    let keys: BTreeSet<&String> = tasks.iter().flat_map(|task| task.metadata.keys()).collect();
    let names = [
        "key",
        "title",
        "description",
        "status",
        "priority",
        "effort_estimate",
        "project",
        "keys",
        "not_before",
        "deadline",
        "budget",
        "needs",
        "tags",
        "outcomes",
        "spec",
    ];
    let header = names.iter().map(|name| (*name).to_owned()).chain(keys.iter().map(|key| format!("{METADATA}{key}")));
    let mut text = line(header);
    for task in tasks {
        let cells = [
            task.key.clone().unwrap_or_default(),
            task.title.clone(),
            task.description.clone(),
            task.status.map(|status| status.to_string()).unwrap_or_default(),
            task.priority.get().to_string(),
            task.effort_estimate.map(|minutes| minutes.to_string()).unwrap_or_default(),
            task.project.clone().unwrap_or_default(),
            list(&task.keys),
            time(task.not_before),
            time(task.deadline),
            object(task.budget.as_ref()),
            needs(&task.needs),
            list(&task.tags),
            list(&task.outcomes.iter().map(ToString::to_string).collect::<Vec<_>>()),
            object(task.spec.as_ref()),
        ];
        let metadata = keys.iter().map(|key| task.metadata.get(*key).cloned().unwrap_or_default());
        text.push_str(&line(cells.into_iter().chain(metadata)));
    }
    text
}

fn time(time: Option<DateTime<Utc>>) -> String {
    time.map(|time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true)).unwrap_or_default()
}

fn object<T: Serialize>(value: Option<&T>) -> String {
    value.map(|value| serde_json::to_string(value).expect("plain data")).unwrap_or_default()
}

/// Before the name of a column that is kept as metadata.
pub(super) const METADATA: &str = "metadata.";

/// Names with semicolons between, and JSON where a name alone does not say it.
fn needs(needs: &[Need]) -> String {
    let is_plain = |need: &Need| *need == Need::on(need.key.as_str()) && !need.key.contains([';', ',', '[']);
    if needs.iter().all(is_plain) {
        return needs.iter().map(|need| need.key.as_str()).collect::<Vec<_>>().join(";");
    }
    serde_json::to_string(needs).expect("plain data")
}

fn list(words: &[String]) -> String {
    if words.iter().any(|word| word.contains([';', ',', '[']) || word.trim() != word) {
        return serde_json::to_string(words).expect("plain data");
    }
    words.join(";")
}

fn line(cells: impl Iterator<Item = String>) -> String {
    let quoted = |cell: String| {
        let is_plain = !cell.contains(['"', ',', '\n', '\r']) && cell.trim() == cell;
        if is_plain { cell } else { format!("\"{}\"", cell.replace('"', "\"\"")) }
    };
    format!("{}\n", cells.map(quoted).collect::<Vec<_>>().join(","))
}
