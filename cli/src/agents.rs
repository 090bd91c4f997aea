//! `bifrost agents`: coding agents and commands on this computer, each in a worktree and a
//! terminal of its own. No server is asked; one that is known gets their terminals registered.

use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use spawner::{
    Agent, AgentEnvironment, AgentHandle, Cleaned, Config, FleetError, Haste, NewAgent, Server, SpawnError, Stray, What,
};
use wire::agent::AgentSpec;
use wire::id::{ExecutionId, RuntimeId};
use wire::runtime::NewTrigger;

use crate::args::{AgentsCommand, StartArguments};
use crate::connect;
use crate::duration::show_age;
use crate::exit::{self, Code, Failure, classify, failure};
use crate::invocation::Invocation;
use crate::output::one_line;
use crate::run::submission;
use crate::table;

mod attach;

/// One that takes longer to end is said to.
const PATIENCE: Duration = Duration::from_secs(1);
/// A control plane that is to hear of the end of one may take so long.
const DEREGISTERED_WITHIN: Duration = Duration::from_secs(5);
/// How a session stands that is left of an agent.
const STRAY: &str = "stray";

/// Carries out one of the commands; gives the exit code.
pub(crate) async fn run(invocation: &Invocation, command: &AgentsCommand) -> anyhow::Result<u8> {
    if let AgentsCommand::Inside { directory } = command {
        spawner::run_inside(directory, &invocation.vars, &invocation.clock, &invocation.chance).await?;
        return Ok(0);
    }
    if let AgentsCommand::Ack { through } = command {
        acknowledge(invocation, *through).await?;
        return Ok(0);
    }
    let config = config(invocation)?;
    match command {
        AgentsCommand::Start(arguments) => start(invocation, config, arguments).await?,
        AgentsCommand::List => list(invocation, &config).await?,
        AgentsCommand::Logs { id, lines } => logs(invocation, &config, *id, *lines).await?,
        AgentsCommand::Send { id, force } => send(invocation, &config, *id, *force).await?,
        AgentsCommand::Attach { id } => attach::attach(invocation, &config, *id).await?,
        AgentsCommand::Kill { ids, now } => {
            let haste = if *now { Haste::AtOnce } else { Haste::Graceful };
            return each(invocation, ids, async |id| kill(invocation, &config, id, haste).await).await;
        }
        AgentsCommand::Cleanup { ids, all_ended } => {
            let ended = if *all_ended { ended(&config).await? } else { ids.clone() };
            if ended.is_empty() && !invocation.output.is_json {
                invocation.output.say("no agent has ended");
            }
            return each(invocation, &ended, async |id| cleanup(invocation, &config, id).await).await;
        }
        AgentsCommand::Inside { .. } | AgentsCommand::Ack { .. } => unreachable!("carried out above"),
    }
    Ok(0)
}

fn config(invocation: &Invocation) -> anyhow::Result<Config> {
    let mut vars = invocation.vars.clone();
    let inside = vec![std::env::current_exe()?.into(), "agents".into(), "inside".into()];
    let config = Config::from_vars(&mut vars, inside);
    vars.finish()?;
    Ok(config.expect("nothing was wrong"))
}

async fn start(invocation: &Invocation, mut config: Config, arguments: &StartArguments) -> anyhow::Result<()> {
    if let Some(repo) = &arguments.repo {
        if repo.as_os_str().is_empty() {
            let cure = "name the repository, or leave --repo out for the current directory";
            return Err(failure(Code::Usage, "--repo is empty", cure));
        }
        config.repository = repo.clone();
    }
    if let Some(hooks) = &arguments.hooks {
        if !hooks.is_dir() {
            let message = format!("--hooks {}: is not a directory", hooks.display());
            return Err(failure(Code::Usage, message, "name one with the files that each worktree is to have"));
        }
        config.hooks = Some(std::path::absolute(hooks)?);
    }
    let new = NewAgent {
        branch: arguments.branch.clone(),
        what: what(arguments)?,
        resume: resume(arguments),
        environment: AgentEnvironment(submission::environment(&arguments.env, &invocation.vars)?),
        timeout: arguments.timeout.map(Duration::from_secs),
        may_use_tmux: !arguments.no_tmux,
        task_id: arguments.task,
        server: if arguments.no_register { None } else { server(invocation)? },
    };
    let output = invocation.output;
    let mut notice = |notice: &str| output.warn(notice);
    let started = spawner::start(&config, &new, &invocation.clock, &invocation.chance, &mut notice).await;
    let handle = started.map_err(|error| not_started(invocation, error))?;
    if output.is_json {
        return output.json(&handle);
    }
    output.line(&handle.id.to_string())?;
    output.say(&format!("it works in {}", handle.worktree.display()));
    if let Some(server) = &handle.server {
        output.say(&format!("its terminal is registered with {server}"));
    }
    output.hint(&format!("look at it with: {}", look(&config, &handle)));
    Ok(())
}

/// The control plane to register with: one that is named, or that is up in the data directory.
fn server(invocation: &Invocation) -> anyhow::Result<Option<Server>> {
    let Some((url, key)) = connect::known(invocation)? else { return Ok(None) };
    match key {
        Some(api_key) => Ok(Some(Server { url, api_key })),
        None => {
            let cure = "set BIFROST_API_KEY or name its file with --api-key-file, or leave it out with --no-register";
            invocation.output.warn(&format!("it is not registered with {url}, since there is no API key; {cure}"));
            Ok(None)
        }
    }
}

fn what(arguments: &StartArguments) -> anyhow::Result<What> {
    let (Some(name), Some(from)) = (&arguments.agent, &arguments.prompt) else {
        return Ok(What::Command(arguments.command.clone()));
    };
    let prompt = submission::read_prompt(from)?;
    let (model, session) = (arguments.model.clone(), arguments.session.clone());
    let agent = AgentSpec { name: name.clone(), prompt, model, session };
    agent.validate().map_err(|error| exit::refused("agents start", submission::option_of(error.field), &error))?;
    Ok(What::Agent(agent))
}

/// Which agent a command is: one that is named beside it.
fn resume(arguments: &StartArguments) -> Option<AgentSpec> {
    let name = arguments.agent.clone().filter(|_| arguments.prompt.is_none())?;
    let (model, session) = (arguments.model.clone(), arguments.session.clone());
    Some(AgentSpec { name, prompt: String::new(), model, session })
}

/// What a person types to see it.
fn look(config: &Config, handle: &AgentHandle) -> String {
    match spawner::attach_command(config, handle) {
        Some(words) => words.iter().map(|word| submission::quoted(word)).collect::<Vec<_>>().join(" "),
        None => format!("bifrost agents attach {}", handle.id),
    }
}

fn not_started(invocation: &Invocation, error: SpawnError) -> anyhow::Error {
    let (code, cure) = match &error {
        SpawnError::Refused { .. } => (Code::Usage, "see `bifrost agents start --help`"),
        SpawnError::SessionInUse { .. } => (Code::TryLater, "or leave --session out for a new one"),
        SpawnError::TooMany { .. } => (Code::TryLater, "see which run with `bifrost agents list`"),
        SpawnError::UnknownAgent(_) => (Code::Data, "check --agent; BIFROST_AGENTS adds agents"),
        SpawnError::NoRepository(_) => {
            (Code::NotFound, "run it inside of a git repository, or name one on this computer with --repo")
        }
        SpawnError::NoCommit(_) => (Code::Data, "commit something first: git add . && git commit"),
        SpawnError::Worktree(_) => (Code::Data, "see `git worktree list`, and choose another branch"),
        SpawnError::Install { said, .. } => {
            said.lines().for_each(|line| invocation.output.say(&one_line(line)));
            (Code::SetupFailed, "the same install must work in a fresh clone; nothing was left behind")
        }
        SpawnError::Process(_) => (Code::Unavailable, "check that the program is installed; nothing was left behind"),
        SpawnError::Timeout(_) => (Code::TimedOut, "nothing was left behind; try again"),
        SpawnError::Interrupted => (Code::Cancelled, "nothing was left behind"),
    };
    failure(code, error.to_string(), cure)
}

/// An error about an agent with its exit code and its cure.
fn refusal(error: FleetError) -> anyhow::Error {
    let (code, cure) = match &error {
        FleetError::NotFound(_) => (Code::NotFound, "see which there are with `bifrost agents list`".to_owned()),
        FleetError::StillRuns(id) => (Code::TryLater, format!("end it first: bifrost agents kill {id}")),
        FleetError::NotRunning(id) => (Code::Data, format!("see how it ended: bifrost agents logs {id}")),
        FleetError::NoTerminal(_) => {
            (Code::Data, "when it has ended, start another with --session to go on".to_owned())
        }
        FleetError::TakenUp { .. } => {
            let cure = "when it has ended, start another with --session to go on";
            (Code::TryLater, cure.to_owned())
        }
        FleetError::Refused(_) => (Code::Data, "see `bifrost agents --help`".to_owned()),
        FleetError::NotSaved(_) => (Code::Data, "mend that, or save the work by hand, and try again".to_owned()),
        FleetError::Program(_) => (Code::Unavailable, "see whether git and tmux work by hand".to_owned()),
        FleetError::File { .. } => (Code::InputOutput, "see who may read and write that".to_owned()),
    };
    failure(code, error.to_string(), cure)
}

/// What the computer has.
#[derive(Serialize)]
#[serde(untagged)]
enum Listed {
    /// An agent.
    Agent(Box<Agent>),
    /// A session that is left of one.
    Stray {
        /// In a word, as an agent's.
        status: &'static str,
        #[serde(flatten)]
        stray: Stray,
    },
}

fn stray(stray: Stray) -> Listed {
    Listed::Stray { status: STRAY, stray }
}

async fn list(invocation: &Invocation, config: &Config) -> anyhow::Result<()> {
    let agents = spawner::list(config).await.map_err(refusal)?;
    // What is known without tmux is shown all the same.
    let strays = spawner::strays(config).await.unwrap_or_else(|error| {
        tracing::warn!("tmux does not say which sessions there are: {error}");
        Vec::new()
    });
    let has_strays = !strays.is_empty();
    let agents = agents.into_iter().map(|agent| Listed::Agent(Box::new(agent)));
    let agents: Vec<Listed> = agents.chain(strays.into_iter().map(stray)).collect();
    let output = invocation.output;
    if output.is_json {
        return output.json(&agents);
    }
    if agents.is_empty() {
        output.say("no agents on this computer; `bifrost agents start --help` says how to start one");
        return Ok(());
    }
    let now = invocation.clock.now();
    let rows = agents.iter().map(|agent| row(agent, now)).collect();
    output.line(&table::render(&["ID", "STATUS", "AGENT", "SINCE", "BRANCH"], rows, output.stdout()))?;
    if has_strays {
        output.hint("the directory of a stray was removed while it ran: end it with bifrost agents kill ID");
    }
    Ok(())
}

fn row(listed: &Listed, now: DateTime<Utc>) -> Vec<String> {
    let Agent { handle, status, end, .. } = match listed {
        Listed::Agent(agent) => &**agent,
        Listed::Stray { status, stray } => {
            let unknown = || table::or_dash(None);
            return vec![stray.id.to_string(), (*status).to_owned(), unknown(), unknown(), unknown()];
        }
    };
    let since = end.as_ref().map_or(handle.spawned_at, |end| end.ended_at);
    let program = Path::new(&handle.agent).file_name().map(|name| name.to_string_lossy().into_owned());
    let (id, status) = (handle.id.to_string(), status.as_str().to_owned());
    vec![id, status, table::or_dash(program), show_age(now, since), handle.branch.clone()]
}

async fn logs(invocation: &Invocation, config: &Config, id: ExecutionId, lines: usize) -> anyhow::Result<()> {
    let lines = spawner::logs(config, id, lines).await.map_err(refusal)?;
    let output = invocation.output;
    if output.is_json {
        return output.json(&serde_json::json!({ "id": id, "lines": lines }));
    }
    // What a terminal was told by an agent is not for this one.
    Ok(lines.iter().try_for_each(|line| output.line(&one_line(line)))?)
}

async fn send(invocation: &Invocation, config: &Config, id: ExecutionId, force: bool) -> anyhow::Result<()> {
    let output = invocation.output;
    if io::stdin().is_terminal() {
        output.hint("write the text, and end it with Ctrl-D");
    }
    let text = io::read_to_string(io::stdin())?;
    let reason = invocation.global.reason.as_deref().filter(|_| force);
    let mut waits = || output.say("somebody types there; it waits");
    let sent = match spawner::send(config, id, &text, reason, &invocation.clock, &mut waits).await {
        Err(FleetError::TakenUp { runtime: Some(runtime), .. }) => return queue(invocation, id, runtime, &text).await,
        sent => sent.map_err(refusal)?,
    };
    if output.is_json {
        return output.json(&sent);
    }
    if sent.typed_over {
        output.warn("it was typed although somebody still types: it had waited long enough");
    }
    Ok(output.line(&format!("{id} was sent {} bytes", sent.bytes))?)
}

/// Has words wait for the session of an agent that has left its terminal, and says so: they are not sent yet.
async fn queue(invocation: &Invocation, id: ExecutionId, runtime: RuntimeId, text: &str) -> anyhow::Result<()> {
    let output = invocation.output;
    let server = connect::Server::find(invocation)?;
    let new = NewTrigger { text: text.trim_end_matches(['\n', '\r']).to_owned(), dedupe_key: None };
    // Not asked twice: after a lost answer the agent would be told twice.
    let trigger = server.control.trigger(runtime, &new).await.map_err(|error| server.explain(error))?;
    if output.is_json {
        return output.json(&serde_json::json!({ "queued": trigger }));
    }
    let number = trigger.number;
    output.line(&format!("{id} was sent nothing yet: trigger {number} waits for its session to be taken up again"))?;
    output.hint(&format!("see what becomes of it with: bifrost runtimes triggers {runtime}"));
    Ok(())
}

/// Called by an agent, or a hook of it.
async fn acknowledge(invocation: &Invocation, through: Option<i64>) -> anyhow::Result<()> {
    let channel = invocation.vars.text("BIFROST_AGENT").ok_or_else(|| {
        let cure = "this is for an agent that `bifrost agents start` has started and registered, and for its hooks";
        failure(Code::Usage, "BIFROST_AGENT is not set", cure)
    })?;
    let said = spawner::acknowledge(Path::new(channel), through).await;
    let read = said.map_err(|error| failure(Code::Data, error.to_string(), "see `bifrost agents ack --help`"))?;
    if invocation.output.is_json {
        return invocation.output.json(&serde_json::json!({ "read": read }));
    }
    Ok(invocation.output.line(&format!("read through {read}"))?)
}

async fn kill(invocation: &Invocation, config: &Config, id: ExecutionId, haste: Haste) -> anyhow::Result<Listed> {
    let ending = spawner::kill(config, id, haste, &invocation.clock);
    tokio::pin!(ending);
    let agent = tokio::select! {
        ended = &mut ending => ended,
        () = tokio::time::sleep(PATIENCE) => {
            invocation.output.say(&format!("{id} has up to {} s to end", config.grace.as_secs()));
            ending.await
        }
    };
    let agent = match agent {
        Err(FleetError::NotFound(_)) => {
            let ended = spawner::end_stray(config, id).await.map_err(refusal)?;
            if !invocation.output.is_json {
                invocation.output.line(&format!("{id} ended; its work was removed before"))?;
            }
            return Ok(stray(ended));
        }
        agent => agent.map_err(refusal)?,
    };
    deregister(invocation, &agent).await;
    if !invocation.output.is_json {
        let work = agent.handle.worktree.display();
        invocation.output.line(&format!("{id} {}; its work is in {work}", agent.status.as_str()))?;
    }
    Ok(Listed::Agent(Box::new(agent)))
}

/// Says that its runtime is gone: a supervisor that was killed could not. Where it cannot be said, the control plane finds
/// out by itself.
async fn deregister(invocation: &Invocation, agent: &Agent) {
    let (Some(registered), Some(runtime)) = (&agent.handle.server, agent.runtime.as_ref().and_then(|it| it.id)) else {
        return;
    };
    let known = connect::known(invocation).ok().flatten();
    // The key is for this one alone.
    let Some((url, Some(api_key))) = known.filter(|(url, _)| url == registered) else { return };
    let server = Server { url, api_key };
    match tokio::time::timeout(DEREGISTERED_WITHIN, spawner::deregister(&server, runtime)).await {
        Ok(Ok(_)) => (),
        Ok(Err(error)) => tracing::warn!("{registered} was not told that the runtime {runtime} is gone: {error}"),
        Err(_) => tracing::warn!("{registered} was not told that the runtime {runtime} is gone: it does not answer"),
    }
}

async fn ended(config: &Config) -> anyhow::Result<Vec<ExecutionId>> {
    let agents = spawner::list(config).await.map_err(refusal)?;
    Ok(agents.iter().filter(|agent| !agent.status.is_active()).map(|agent| agent.handle.id).collect())
}

async fn cleanup(invocation: &Invocation, config: &Config, id: ExecutionId) -> anyhow::Result<Cleaned> {
    let cleaned = spawner::cleanup(config, id, &invocation.clock).await.map_err(refusal)?;
    let output = invocation.output;
    if !output.is_json {
        let branch = if cleaned.branch_deleted { "its branch too" } else { "its branch stays" };
        output.line(&format!("{id} removed, {branch}: {}", cleaned.branch))?;
        if let Some(snapshot) = &cleaned.snapshot {
            output.say(&format!("what nobody had pushed is in {}", snapshot.display()));
        }
    }
    Ok(cleaned)
}

/// Does it for each, whatever becomes of the others; the exit code is the first failure's.
async fn each<T: Serialize>(
    invocation: &Invocation,
    ids: &[ExecutionId],
    mut act: impl AsyncFnMut(ExecutionId) -> anyhow::Result<T>,
) -> anyhow::Result<u8> {
    let (mut done, mut failed) = (Vec::new(), None);
    for &id in ids {
        match act(id).await {
            Ok(one) => done.push(one),
            Err(error) => {
                let Failure { code, message, help } = classify(&error);
                invocation.output.error(&message, help.as_deref());
                failed.get_or_insert(code);
            }
        }
    }
    if invocation.output.is_json {
        invocation.output.json(&done)?;
    }
    Ok(failed.map_or(0, Code::number))
}

#[cfg(test)]
mod tests;
