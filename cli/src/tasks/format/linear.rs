//! Issues of Linear, exported as CSV. An estimate is in points there, so it is kept and
//! not taken for minutes.

use std::collections::HashSet;

use wire::dependency::DependencyType;
use wire::import::{ImportedTask, Need};

use super::{Sourced, Wrong, table, words};

pub(super) fn read(text: &str) -> Result<Vec<Sourced>, Wrong> {
    let mut rows = table::rows(text)?.into_iter();
    let Some((line, header)) = rows.next() else { return Ok(Vec::new()) };
    for wanted in ["id", "title"] {
        if !header.iter().any(|name| name.trim().eq_ignore_ascii_case(wanted)) {
            return Err(Wrong::new(line, format!("there is no column `{wanted}`")));
        }
    }
    let mut tasks: Vec<Sourced> = Vec::new();
    for (line, cells) in rows {
        let mut task = ImportedTask::default();
        for (name, cell) in header.iter().zip(cells) {
            take(&mut task, name.trim(), cell).map_err(|what| Wrong::new(line, what))?;
        }
        tasks.push(Sourced { line, task });
    }
    let keys: HashSet<String> = tasks.iter().filter_map(|one| one.task.key.clone()).collect();
    for Sourced { task, .. } in &mut tasks {
        task.needs.retain(|need| keys.contains(&need.key));
    }
    Ok(tasks)
}

fn take(task: &mut ImportedTask, name: &str, cell: String) -> Result<(), String> {
    if cell.trim().is_empty() {
        return Ok(());
    }
    let words = || cell.split(',').map(str::trim).filter(|word| !word.is_empty());
    match name.to_lowercase().as_str() {
        "id" => task.key = Some(cell.trim().to_owned()),
        "title" => task.title = cell,
        "description" => task.description = cell,
        "priority" => task.priority = words::priority(&cell)?,
        "labels" => task.tags = words().map(str::to_owned).collect(),
        "status" => {
            task.status = words::status(&cell);
            task.metadata.insert("linear.Status".into(), cell);
        }
        "blocked by" => task.needs.extend(words().map(Need::on)),
        "parent issue" => {
            task.needs.push(Need { dependency_type: DependencyType::Soft, ..Need::on(cell.trim()) });
            task.metadata.insert("linear.Parent issue".into(), cell);
        }
        _ => {
            task.metadata.insert(format!("linear.{name}"), cell);
        }
    }
    Ok(())
}
