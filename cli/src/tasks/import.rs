//! Files of tasks: submits what they hold, all of it or nothing, and writes what is there.

use std::io::Write as _;
use std::path::Path;

use wire::import::{Imported, ImportedTask};
use wire::limit::TASKS_PER_IMPORT;

use super::format::{self, Format, Sourced};
use crate::args::ExportFormat;
use crate::connect::Server;
use crate::count::counted;
use crate::exit::{Code, failure};
use crate::invocation::Invocation;
use crate::table;

/// Reads the file and submits what it holds.
pub(super) async fn import(
    invocation: &Invocation,
    server: &Server,
    file: &Path,
    form: Option<Format>,
) -> anyhow::Result<()> {
    let tasks = tasks_of(file, form)?;
    if tasks.len() > TASKS_PER_IMPORT {
        let message = format!("{} holds {} tasks, and an import takes {TASKS_PER_IMPORT}", file.display(), tasks.len());
        return Err(failure(Code::Data, message, "part the file; later parts can need earlier tasks by their ids"));
    }
    let (lines, tasks): (Vec<usize>, Vec<ImportedTask>) = tasks.into_iter().map(|one| (one.line, one.task)).unzip();
    let key = invocation.chance.hex::<16>();
    let imported = server.ask(async |control| control.import(&tasks, &key).await).await;
    let imported = imported.map_err(|error| in_the_file(error, file, &lines))?;
    print(invocation, &imported, &tasks)
}

/// What a file holds, in the order of its lines.
pub(super) fn tasks_of(file: &Path, form: Option<Format>) -> anyhow::Result<Vec<Sourced>> {
    let text = read(file, "name a file, or - for standard input")?;
    let form = form.unwrap_or_else(|| format::guess(&file.to_string_lossy(), &text));
    let tasks = format::read(form, &text).map_err(|wrong| {
        let message = format!("{}, line {}: {}", file.display(), wrong.line, wrong.what);
        failure(Code::Data, message, "nothing was submitted; `bifrost tasks import --help` shows what a file holds")
    })?;
    if tasks.is_empty() {
        return Err(failure(Code::Data, format!("{} holds no task", file.display()), "nothing was submitted"));
    }
    Ok(tasks)
}

/// A file's text, or that of standard input.
pub(crate) fn read(file: &Path, cure: &'static str) -> anyhow::Result<String> {
    let text =
        if file == Path::new("-") { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(file) };
    text.map_err(|error| {
        let message = format!("{} cannot be read: {error}", file.display());
        failure(Code::NotFound, message, cure)
    })
}

/// The server counts the tasks that were sent; people count the lines of their file.
fn in_the_file(error: anyhow::Error, file: &Path, lines: &[usize]) -> anyhow::Error {
    let text = format!("{error:#}");
    let line = text.strip_prefix("lines[").and_then(|rest| rest.split_once(']'));
    let Some((number, what)) = line else { return error };
    let Some(line) = number.parse::<usize>().ok().and_then(|number| lines.get(number.checked_sub(1)?)) else {
        return error;
    };
    let message = format!("{}, line {line}: {}", file.display(), what.trim_start_matches(['.', ':', ' ']));
    failure(Code::Data, message, "nothing was submitted")
}

fn print(invocation: &Invocation, imported: &Imported, tasks: &[ImportedTask]) -> anyhow::Result<()> {
    let output = invocation.output;
    if output.is_json {
        return output.json(&imported.tasks);
    }
    let row = |(id, task): (&wire::import::ImportedId, &ImportedTask)| {
        vec![id.id.to_string(), id.key.clone().unwrap_or_else(|| "-".into()), task.title.clone()]
    };
    let rows = imported.tasks.iter().zip(tasks).map(row).collect();
    output.line(&table::render(&["ID", "KEY", "TITLE"], rows, output.stdout()))?;
    let tasks = counted(imported.tasks.len(), "task", "tasks");
    output.say(&format!("{tasks}, {}", counted(imported.dependencies, "dependency", "dependencies")));
    Ok(())
}

/// Writes every task, to the file or to standard output.
pub(super) async fn export(
    invocation: &Invocation,
    server: &Server,
    form: ExportFormat,
    file: Option<&Path>,
) -> anyhow::Result<()> {
    let tasks = server.ask(async |control| control.export().await).await?;
    let text = match form {
        ExportFormat::Jsonl => {
            let lines: Vec<String> = tasks.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
            lines.into_iter().map(|line| line + "\n").collect()
        }
        ExportFormat::Csv => format::write(&tasks),
    };
    let Some(file) = file else {
        return Ok(invocation.output.raw(wire::event::Stream::Stdout, text.as_bytes())?);
    };
    let written = std::fs::File::create(file).and_then(|mut to| to.write_all(text.as_bytes()));
    written.map_err(|error| {
        failure(
            Code::InputOutput,
            format!("{} cannot be written: {error}", file.display()),
            "nothing is lost; name another file",
        )
    })?;
    invocation.output.say(&format!("{} written to {}", counted(tasks.len(), "task", "tasks"), file.display()));
    Ok(())
}
