//! `bifrost tasks create`: one task from the words of the command line.
//!
//! What it needs and its tags come with it in one request, so that it cannot start
//! before they are there.

use std::path::Path;

use wire::import::{ImportedTask, Need};
use wire::task::{FieldError, NewTask, TaskView};

use super::import;
use crate::args::{AdmissionArguments, CreateArguments};
use crate::connect::Server;
use crate::exit::{self, Code, Failure, classify, failure};
use crate::invocation::Invocation;

/// Creates the task, and prints its id.
pub(super) async fn create(
    invocation: &Invocation,
    server: &Server,
    arguments: &CreateArguments,
) -> anyhow::Result<()> {
    let new = new_task(arguments)?;
    let key = arguments.idempotency_key.clone().unwrap_or_else(|| invocation.chance.hex::<16>());
    let task = if arguments.needs.is_empty() && arguments.tags.is_empty() {
        server.ask(async |control| control.submit(&new, &key).await).await?
    } else {
        import_one(server, arguments, &new, &key).await?
    };
    let output = invocation.output;
    if output.is_json {
        return output.json(&task);
    }
    output.line(&task.id.to_string())?;
    output.say(&format!("see it with: bifrost tasks show {}", task.id));
    Ok(())
}

/// The task itself; refused before anything is sent where it breaks a bound.
fn new_task(arguments: &CreateArguments) -> anyhow::Result<NewTask> {
    let description = match (&arguments.description, &arguments.description_file) {
        (Some(text), _) => text.clone(),
        (None, Some(file)) => read_description(file)?,
        (None, None) => String::new(),
    };
    let AdmissionArguments { project, keys, not_before, deadline, budget } = arguments.admission.clone();
    let new = NewTask {
        title: arguments.title.clone(),
        description,
        priority: arguments.priority,
        effort_estimate: arguments.effort,
        spec: None,
        project,
        keys,
        not_before,
        deadline,
        budget: budget.budget(),
    };
    new.validate().map_err(|error| refusal(&error))?;
    Ok(new)
}

fn read_description(file: &Path) -> anyhow::Result<String> {
    let text = import::read(file, "name a text file, or - for standard input")?;
    Ok(text.trim_end().to_owned())
}

/// The server's words for a field, with the name it has on the command line.
fn refusal(error: &FieldError) -> anyhow::Error {
    let option = match error.field {
        "title" => "the title",
        "description" => "--description",
        "effort_estimate" => "--effort",
        other => AdmissionArguments::option_of(other).unwrap_or(other),
    };
    exit::refused("tasks create", option, error)
}

/// With what it needs and its tags, as an import of one line.
async fn import_one(
    server: &Server,
    arguments: &CreateArguments,
    new: &NewTask,
    key: &str,
) -> anyhow::Result<TaskView> {
    let lines = [line(arguments, new)];
    let imported = server.ask(async |control| control.import(&lines, key).await).await.map_err(without_line)?;
    let Some(id) = imported.tasks.first().map(|task| task.id) else {
        return Err(failure(Code::Internal, "the server made no task of it", "see `bifrost tasks list`"));
    };
    server.ask(async |control| control.task(id).await).await
}

fn line(arguments: &CreateArguments, new: &NewTask) -> ImportedTask {
    let NewTask { title, description, priority, effort_estimate, spec, project, keys, not_before, deadline, budget } =
        new.clone();
    ImportedTask {
        title,
        description,
        priority,
        effort_estimate,
        spec,
        project,
        keys,
        not_before,
        deadline,
        budget,
        needs: arguments.needs.iter().map(|task| Need::on(task.to_string())).collect(),
        tags: arguments.tags.clone(),
        ..ImportedTask::default()
    }
}

/// An import counts lines; here there is only one.
fn without_line(error: anyhow::Error) -> anyhow::Error {
    let Failure { code, message, help } = classify(&error);
    let message =
        message.strip_prefix("lines[1]").map_or(message.as_str(), |rest| rest.trim_start_matches(['.', ':', ' ']));
    Failure { code, message: message.to_owned(), help }.into()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Arguments, Command, TasksCommand};

    const ID: &str = "0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70";

    fn parse(line: &[&str]) -> CreateArguments {
        let line = ["bifrost", "tasks", "create"].iter().chain(line).copied();
        match Arguments::try_parse_from(line).expect("parses").command {
            Command::Tasks(TasksCommand::Create(arguments)) => *arguments,
            _ => panic!("not a new task"),
        }
    }

    #[test]
    fn a_task_is_what_the_options_say() {
        let arguments = parse(&[
            "Write it",
            "--description",
            "all of it",
            "--priority",
            "5",
            "--effort",
            "30",
            "--project",
            "web",
            "--key",
            "db",
            "--budget-dollars",
            "2.50",
            "--budget-machine-time",
            "2h",
            "--needs",
            ID,
            "--tag",
            "a",
            "--tag",
            "b",
        ]);
        let new = new_task(&arguments).expect("is sound");
        let expect = serde_json::json!({
            "title": "Write it", "description": "all of it", "priority": 5, "effort_estimate": 30, "project": "web",
            "keys": ["db"], "budget": { "dollars": "2.50", "machine_seconds": 7_200 },
        });
        assert_eq!(serde_json::to_value(&new).expect("plain data"), expect);
        let expect = serde_json::json!({
            "title": "Write it", "description": "all of it", "priority": 5, "effort_estimate": 30, "project": "web",
            "keys": ["db"], "budget": { "dollars": "2.50", "machine_seconds": 7_200 },
            "needs": [{ "key": ID, "dependency_type": "hard", "condition": "completed" }], "tags": ["a", "b"],
        });
        assert_eq!(serde_json::to_value(line(&arguments, &new)).expect("plain data"), expect);
    }

    #[test]
    fn what_is_refused_has_its_name_from_the_command_line() {
        for (line, option) in [
            (&[""][..], "the title"),
            (&["t", "--effort=-1"], "--effort"),
            (&["t", "--budget-tokens", "0"], "--budget-tokens"),
            (&["t", "--project", ""], "--project"),
        ] {
            let error = new_task(&parse(line)).expect_err("is refused");
            assert!(error.to_string().starts_with(option), "{line:?}: {error}");
        }
    }
}
