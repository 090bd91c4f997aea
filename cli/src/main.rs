//! `bifrost`, the program: reads the command line, carries it out, and turns
//! whatever happened into an exit code and at most one error with its cure.

mod args;
mod claims;
mod exit;
mod invocation;
mod output;

mod connect;
mod cost;
mod count;
mod duration;
mod outage;
mod repository;
mod table;

mod admission;
mod agents;
mod attach;
mod audit;
mod busy;
mod checkpoints;
mod database;
mod doctor;
mod egress;
mod events;
mod machines;
mod manual;
mod proposals;
mod run;
mod runtimes;
mod serve;
mod strategies;
mod stream;
mod tasks;
mod test_reports;
mod up;
mod webhooks;
mod workers;

use std::process::ExitCode;

use clap::CommandFactory;
use kit::Vars;
use wire::event::Stream;

use crate::args::{Arguments, Command, EgressCommand, TasksCommand};
use crate::exit::{Code, classify, is_closed_output};
use crate::invocation::Invocation;

/// Sets how much the log on standard error says, such as `info` or `work=debug,info`.
const LOG: &str = "BIFROST_LOG";

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { global, command } = match args::read(std::env::args_os().collect()) {
        Ok(arguments) => arguments,
        Err(error) => return refuse(&error),
    };
    let invocation = Invocation::new(global, Vars::from_process());
    kit::telemetry::init_logs(invocation.vars.text(LOG).unwrap_or(default_log(&command)));
    if let Err(error) = kit::process::keep_inherited_files() {
        tracing::warn!("commands may use what this program was started with: {error}");
    }
    match dispatch(&invocation, &command).await {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let failure = classify(&error);
            if !is_closed_output(&error) {
                invocation.output.error(&failure.message, failure.help.as_deref());
            }
            ExitCode::from(failure.code.number())
        }
    }
}

/// Help and the version come this way as well, and are no failure.
fn refuse(error: &clap::Error) -> ExitCode {
    // There is nowhere left to complain to if this cannot be written.
    drop(error.print());
    if error.use_stderr() { ExitCode::from(Code::Usage.number()) } else { ExitCode::SUCCESS }
}

/// A service tells its story; a command has its own words for what matters.
fn default_log(command: &Command) -> &'static str {
    match command {
        Command::Up(_)
        | Command::ControlPlane(_)
        | Command::EventStore(_)
        | Command::Emulator(_)
        | Command::Egress(EgressCommand::Serve(_))
        | Command::Runner => "info",
        Command::Run(_)
        | Command::Agents(_)
        | Command::Tasks(_)
        | Command::Checkpoints(_)
        | Command::Tests(_)
        | Command::Ready { .. }
        | Command::Graph { .. }
        | Command::Claim(_)
        | Command::Renew(_)
        | Command::Complete(_)
        | Command::Release(_)
        | Command::Plan(_)
        | Command::Hold(_)
        | Command::Unhold { .. }
        | Command::Holds
        | Command::Limits(_)
        | Command::Queue
        | Command::Projects(_)
        | Command::Budgets(_)
        | Command::Schedules(_)
        | Command::Machines(_)
        | Command::Cost(_)
        | Command::Egress(EgressCommand::Show { .. })
        | Command::Workers(_)
        | Command::Runtimes(_)
        | Command::Strategies(_)
        | Command::Proposals(_)
        | Command::Events(_)
        | Command::Webhooks(_)
        | Command::Stream(_)
        | Command::Audit(_)
        | Command::Database(_)
        | Command::Doctor
        | Command::Busy(_)
        | Command::Attach(_)
        | Command::MockAgent { .. }
        | Command::GitCredential { .. }
        | Command::GitSsh { .. }
        | Command::Completions { .. }
        | Command::Man { .. } => "error",
    }
}

async fn dispatch(invocation: &Invocation, command: &Command) -> anyhow::Result<u8> {
    match command {
        Command::Run(arguments) => return run::run(invocation, arguments).await,
        Command::Agents(command) => return agents::run(invocation, command).await,
        Command::Claim(arguments) => return claims::claim(invocation, arguments).await,
        Command::Renew(arguments) => claims::renew(invocation, arguments).await?,
        Command::Complete(arguments) => claims::complete(invocation, arguments).await?,
        Command::Release(arguments) => claims::release(invocation, arguments).await?,
        Command::Doctor => return doctor::run(invocation).await,
        Command::Attach(arguments) => return attach::attach(invocation, arguments).await,
        Command::Busy(arguments) => busy::say(invocation, arguments).await?,
        Command::MockAgent { arguments } => return Ok(runner::run_mock_agent(arguments).await),
        Command::GitCredential { arguments } => runner::answer_git(arguments, std::io::stdin(), std::io::stdout())?,
        Command::GitSsh { arguments } => {
            return Ok(u8::from(!runner::may_reach_by_ssh(arguments, std::io::stderr())?));
        }
        Command::Tasks(command) => tasks::run(invocation, command).await?,
        Command::Checkpoints(command) => return checkpoints::run(invocation, command).await,
        Command::Tests(arguments) => test_reports::show(invocation, arguments).await?,
        Command::Ready { id } => tasks::run(invocation, &TasksCommand::Ready { id: *id }).await?,
        Command::Graph { dot } => tasks::run(invocation, &TasksCommand::Graph { dot: *dot }).await?,
        Command::Plan(arguments) => {
            tasks::forecast::plan(invocation, &connect::Server::find(invocation)?, arguments).await?;
        }
        Command::Hold(arguments) => admission::hold(invocation, arguments).await?,
        Command::Unhold { ids } => admission::unhold(invocation, ids).await?,
        Command::Holds => admission::holds(invocation).await?,
        Command::Limits(command) => admission::limits(invocation, command).await?,
        Command::Queue => admission::queue(invocation).await?,
        Command::Projects(command) => admission::projects(invocation, command).await?,
        Command::Budgets(command) => admission::budgets(invocation, command).await?,
        Command::Schedules(command) => admission::schedules(invocation, command).await?,
        Command::Machines(command) => machines::run(invocation, command).await?,
        Command::Cost(command) => return cost::run(invocation, command).await,
        Command::Workers(command) => workers::run(invocation, command).await?,
        Command::Proposals(command) => proposals::run(invocation, command).await?,
        Command::Runtimes(command) => runtimes::run(invocation, command).await?,
        Command::Strategies(command) => strategies::run(invocation, command).await?,
        Command::Egress(command) => egress::run(invocation, command).await?,
        Command::Events(command) => events::run(invocation, command).await?,
        Command::Webhooks(command) => webhooks::run(invocation, command).await?,
        Command::Stream(arguments) => stream::follow(invocation, arguments).await?,
        Command::Audit(arguments) => audit::list(invocation, arguments).await?,
        Command::Database(command) => database::run(invocation, command).await?,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Arguments::command(), "bifrost", &mut script);
            invocation.output.raw(Stream::Stdout, &script)?;
        }
        Command::Man { directory } => manual::write(invocation, directory)?,
        Command::Up(arguments) => up::up(invocation, arguments).await?,
        Command::ControlPlane(arguments) => serve::control_plane(invocation, arguments).await?,
        Command::EventStore(arguments) => serve::event_store(invocation, arguments).await?,
        Command::Emulator(arguments) => serve::emulator(invocation, arguments).await?,
        Command::Runner => serve::runner(invocation).await?,
    }
    Ok(0)
}
