//! Makes the task out of the command line, and refuses what no runner could
//! carry out before anything is started.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use kit::Vars;
use wire::agent::AgentSpec;
use wire::checkpoint::CheckpointView;
use wire::id::CheckpointId;
use wire::task::{FieldError, NewTask, TaskSpec};
use wire::test_report::TestsSpec;

use crate::args::{AdmissionArguments, EnvArgument, PullRequestArguments, RunArguments};
use crate::exit::{self, Code, failure};
use crate::invocation::Invocation;
use crate::output::one_line;
use crate::repository::{self, Source};

/// A title that was not given is the command, cut to this.
const TITLE_CHARS: usize = 80;

/// The task that the arguments mean.
pub(super) async fn prepare(invocation: &Invocation, arguments: &RunArguments) -> anyhow::Result<NewTask> {
    let directory = std::env::current_dir()?;
    let source = repository::resolve(&arguments.repo, arguments.reference.as_deref(), &directory).await?;
    task(invocation, arguments, source, None)
}

/// The task that begins from a checkpoint.
pub(super) fn from_checkpoint(
    invocation: &Invocation,
    arguments: &RunArguments,
    checkpoint: &CheckpointView,
) -> anyhow::Result<NewTask> {
    if arguments.repo != "." || arguments.reference.is_some() {
        let message = "--repo and --ref: the repository and the commit are the checkpoint's";
        return Err(failure(Code::Usage, message, "leave them out, or use `bifrost run`"));
    }
    let (repository, reference) = (checkpoint.repository.clone(), Some(checkpoint.commit.clone()));
    task(invocation, arguments, Source { repository, reference, uncommitted_files: 0 }, Some(checkpoint.id))
}

fn task(
    invocation: &Invocation,
    arguments: &RunArguments,
    source: Source,
    checkpoint: Option<CheckpointId>,
) -> anyhow::Result<NewTask> {
    let env = environment(&arguments.env, &invocation.vars)?;
    check_work(arguments)?;
    let agent = agent(arguments)?;
    // Before the title, which is made of the prompt.
    agent.as_ref().map_or(Ok(()), AgentSpec::validate).map_err(|error| refusal(&error))?;
    let (command, tests) = work(arguments);
    let task = NewTask {
        title: arguments.title.clone().unwrap_or_else(|| match &agent {
            Some(agent) => short(agent.prompt.lines().find(|line| !line.trim().is_empty()).unwrap_or_default()),
            None if arguments.command.is_empty() => "the repository's tests".to_owned(),
            None => title(&arguments.command),
        }),
        description: String::new(),
        priority: arguments.priority,
        effort_estimate: None,
        spec: Some(TaskSpec {
            repository: source.repository,
            reference: source.reference,
            command,
            agent,
            env,
            egress: arguments.egress.clone(),
            terminal: arguments.terminal,
            timeout_seconds: arguments.timeout,
            idle_timeout_seconds: arguments.idle_timeout,
            stall_timeout_seconds: arguments.stall_timeout,
            tests,
            checkpoint,
            push_unfinished: arguments.push_unfinished,
            pull_request: arguments.pull_request.spec(),
        }),
        project: arguments.admission.project.clone(),
        keys: arguments.admission.keys.clone(),
        not_before: arguments.admission.not_before,
        deadline: arguments.admission.deadline,
        budget: arguments.admission.budget.budget(),
    };
    task.validate().map_err(|error| refusal(&error))?;
    match source.uncommitted_files {
        0 => (),
        1 => invocation.output.warn("1 uncommitted file is not part of the run"),
        files => invocation.output.warn(&format!("{files} uncommitted files are not part of the run")),
    }
    Ok(task)
}

/// The variables of a command, with those that are only named taken from one's own.
pub(crate) fn environment(arguments: &[EnvArgument], vars: &Vars) -> anyhow::Result<BTreeMap<String, String>> {
    let value = |argument: &EnvArgument| match argument {
        EnvArgument::Set(name, value) => Ok((name.clone(), value.clone())),
        EnvArgument::Inherit(name) => vars.text(name).map(|value| (name.clone(), value.to_owned())).ok_or_else(|| {
            let cure = format!("set it, or give the value: --env {name}=VALUE");
            failure(Code::Usage, format!("--env {name}: it is not set in the own environment"), cure)
        }),
    };
    arguments.iter().map(value).collect()
}

/// The command and the tests: with `--tests`, the words behind the dashes are the tests' own.
fn work(arguments: &RunArguments) -> (Vec<String>, Option<TestsSpec>) {
    if !arguments.tests {
        return (arguments.command.clone(), None);
    }
    let (command, format, report) = (arguments.command.clone(), arguments.tests_format, arguments.tests_report.clone());
    (Vec::new(), Some(TestsSpec { command, format, report }))
}

/// What is done is asked of an agent or is a command; beside an agent, the words behind the dashes are its tests.
fn check_work(arguments: &RunArguments) -> anyhow::Result<()> {
    if arguments.agent.is_none() || arguments.tests || arguments.command.is_empty() {
        return Ok(());
    }
    let message = "--agent cannot be used with a command: the agent is what runs";
    Err(failure(Code::Usage, message, "leave one out, or say with --tests that the command tests what the agent did"))
}

/// The agent that is asked, with its prompt read.
fn agent(arguments: &RunArguments) -> anyhow::Result<Option<AgentSpec>> {
    let (Some(name), Some(from)) = (&arguments.agent, &arguments.prompt) else { return Ok(None) };
    let prompt = read_prompt(from)?;
    let (model, session) = (arguments.model.clone(), arguments.session.clone());
    Ok(Some(AgentSpec { name: name.clone(), prompt, model, session }))
}

/// What an agent is to do, from a file or standard input.
pub(crate) fn read_prompt(from: &Path) -> anyhow::Result<String> {
    let read = if from == Path::new("-") { io::read_to_string(io::stdin()) } else { fs::read_to_string(from) };
    read.map_err(|error| {
        let cure = "name a text file with what the agent is to do, or - for standard input";
        failure(Code::Usage, format!("--prompt {}: {error}", from.display()), cure)
    })
}

/// The command as a shell would be given it, on one line.
fn title(command: &[String]) -> String {
    let line = command.iter().map(|argument| quoted(argument)).collect::<Vec<_>>().join(" ");
    short(&line)
}

fn short(line: &str) -> String {
    let line = one_line(line.trim());
    if line.chars().count() <= TITLE_CHARS {
        return line;
    }
    let mut cut: String = line.chars().take(TITLE_CHARS - 1).collect();
    cut.push('…');
    cut
}

/// A word as a shell would be given it.
pub(crate) fn quoted(argument: &str) -> String {
    let is_plain = |character: char| character.is_alphanumeric() || "_-./=:,@%+".contains(character);
    if !argument.is_empty() && argument.chars().all(is_plain) {
        argument.to_owned()
    } else {
        format!("'{}'", argument.replace('\'', r"'\''"))
    }
}

/// The server's words for a field, with the name it has on the command line.
fn refusal(error: &FieldError) -> anyhow::Error {
    exit::refused("run", option_of(error.field), error)
}

/// What a field of a new task is on the command line.
pub(crate) fn option_of(field: &'static str) -> &'static str {
    match field {
        "title" => "--title",
        "spec.repository" => "--repo",
        "spec.reference" => "--ref",
        "spec.command" => "the command",
        "spec.agent.name" => "--agent",
        "spec.agent.prompt" => "--prompt",
        "spec.agent.model" => "--model",
        "spec.agent.session" => "--session",
        "spec.env" => "--env",
        "spec.egress" => "--egress",
        "spec.tests.command" => "the command",
        "spec.tests.report" => "--tests-report",
        "spec.terminal" => "--terminal",
        "spec.timeout_seconds" => "--timeout",
        "spec.idle_timeout_seconds" => "--idle-timeout",
        "spec.stall_timeout_seconds" => "--stall-timeout",
        other => {
            AdmissionArguments::option_of(other).or_else(|| PullRequestArguments::option_of(other)).unwrap_or(other)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Arguments, Command};

    fn run(line: &str) -> RunArguments {
        let words = line.split(' ').map(std::ffi::OsString::from).collect();
        match crate::args::read(words).expect("parses") {
            Arguments { command: Command::Run(arguments), .. } => *arguments,
            _ => panic!("not a run"),
        }
    }

    #[test]
    fn beside_an_agent_a_command_is_its_tests_or_refused() {
        assert!(check_work(&run("bifrost run --agent mock --prompt - --tests -- make test")).is_ok());
        assert!(check_work(&run("bifrost run --agent mock --prompt -")).is_ok());
        assert!(check_work(&run("bifrost run -- make test")).is_ok());
        let refused = check_work(&run("bifrost run --agent mock --prompt - -- make test")).expect_err("is refused");
        let refused = exit::classify(&refused);
        assert_eq!(refused.code, Code::Usage);
        assert!(refused.help.expect("a cure").contains("--tests"));
    }

    #[test]
    fn the_tests_of_an_agent_go_with_its_task() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), "Mend it.\n").expect("writes");
        let arguments =
            run(&format!("bifrost run --agent mock --prompt {} --tests -- make test", file.path().display()));
        let agent = agent(&arguments).expect("reads").expect("is asked");
        assert_eq!(agent.prompt, "Mend it.\n");
        let (command, tests) = work(&arguments);
        assert_eq!(
            (command, tests.expect("are run").command),
            (Vec::new(), vec!["make".to_owned(), "test".to_owned()])
        );
    }

    #[test]
    fn a_title_is_the_command_on_one_line_of_at_most_80_characters() {
        let command = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(title(&command(&["make", "test"])), "make test");
        assert_eq!(title(&command(&["sh", "-c", "echo 'a'\nls", ""])), r"sh -c 'echo '\''a'\'' ls' ''");
        let long = title(&command(&["ż".repeat(100).as_str()]));
        assert_eq!(long, format!("{}…", "ż".repeat(79)));
    }

    #[test]
    fn a_variable_is_given_or_taken_from_our_environment() {
        let vars = Vars::from_pairs([("TERM", "xterm")]);
        let arguments = [EnvArgument::Set("A".into(), "1".into()), EnvArgument::Inherit("TERM".into())];
        let expect = BTreeMap::from([("A".to_owned(), "1".to_owned()), ("TERM".to_owned(), "xterm".to_owned())]);
        assert_eq!(environment(&arguments, &vars).expect("both are there"), expect);
        let missing = environment(&[EnvArgument::Inherit("NOPE".into())], &vars).expect_err("is not set");
        assert_eq!(exit::classify(&missing).code, Code::Usage);
    }

    #[test]
    fn a_refused_field_has_its_name_from_the_command_line() {
        let error = FieldError { field: "spec.reference", message: "is not a branch".into() };
        assert_eq!(refusal(&error).to_string(), "--ref is not a branch");
    }
}
