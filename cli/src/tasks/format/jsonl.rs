//! Our own form: a line is what the API takes.

use wire::import::ImportedTask;

use super::{Sourced, Wrong};

pub(super) fn read(text: &str) -> Result<Vec<Sourced>, Wrong> {
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(line, text)| {
            let task: ImportedTask = serde_json::from_str(text).map_err(|error| Wrong::new(line, error.to_string()))?;
            Ok(Sourced { line, task })
        })
        .collect()
}
