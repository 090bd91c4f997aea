//! The command line: what can be written, what each option means, and examples.
//! Nothing is decided here.

mod admission;
mod agents;
mod audit;
mod checkpoints;
mod claims;
mod database;
mod help;
mod machines;
mod proposals;
mod pull_request;
mod runtimes;
mod strategies;
mod tasks;
mod webhooks;
mod workers;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use event_store::program::{Backup, Export, Migrate, Restore, Verify};
use wire::id::{HoldId, TaskId};
use wire::task::Priority;
use wire::test_report::TestFormat;

pub(crate) use admission::{
    AdmissionArguments, BudgetsCommand, HoldArguments, LimitsCommand, ProjectsCommand, SchedulesCommand,
};
pub(crate) use agents::{AgentsCommand, StartArguments};
pub(crate) use audit::AuditArguments;
pub(crate) use checkpoints::{CheckpointsCommand, TestsArguments};
pub(crate) use claims::{ClaimArguments, CompleteArguments, ReleaseArguments, RenewArguments};
pub(crate) use database::DatabaseCommand;
pub(crate) use machines::{CostCommand, MachinesCommand};
pub(crate) use proposals::ProposalsCommand;
pub(crate) use pull_request::PullRequestArguments;
pub(crate) use runtimes::RuntimesCommand;
pub(crate) use strategies::StrategiesCommand;
pub(crate) use tasks::{
    ChangedFields, CreateArguments, ExportFormat, MetadataCommand, OutcomesCommand, PlanArguments, Selected,
    TasksCommand,
};
pub(crate) use webhooks::{SecretArgument, StreamArguments, WebhooksCommand};
pub(crate) use workers::{AboutWorker, WorkersCommand};

/// Where `bifrost up` listens, and where the other commands look for it.
pub(crate) const DEFAULT_LISTEN: &str = "127.0.0.1:7600";

/// Run commands and coding agents on machines that cost nothing while they wait
#[derive(Parser)]
#[command(name = "bifrost", version, max_term_width = 100, after_help = help::BIFROST,
          after_long_help = help::bifrost_long())]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Reads the command line. `--color` holds for help and for what is wrong with the line as well.
pub(crate) fn read(words: Vec<OsString>) -> Result<Arguments, clap::Error> {
    let mut command = lenient(Arguments::command()).color(color_of(&words));
    let matches = command.try_get_matches_from_mut(&words).map_err(|error| without_environment(error, &words))?;
    Arguments::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// What is wrong with a line, with a usage that does not name the options that the environment gives: it would read as if
/// they had to be written.
fn without_environment(error: clap::Error, words: &[OsString]) -> clap::Error {
    fn deaf(command: clap::Command) -> clap::Command {
        command.mut_args(|argument| argument.env(None::<&'static str>)).mut_subcommands(deaf)
    }
    let mut command = deaf(lenient(Arguments::command())).color(color_of(words));
    match command.try_get_matches_from_mut(words) {
        Err(again) if again.use_stderr() && again.kind() == error.kind() => again,
        Err(_) | Ok(_) => error,
    }
}

/// The grammar, with values that begin with a minus: `--dollars -5` is a wrong number of dollars, for whoever reads it to
/// refuse with its range, and no option that nobody knows.
fn lenient(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|argument| {
        let is_time = argument.get_value_names().is_some_and(|names| names.iter().any(|name| name == "TIME"));
        match argument.get_action().takes_values() && !argument.is_last_set() {
            true if is_time => argument.allow_hyphen_values(true),
            true => argument.allow_negative_numbers(true),
            false => argument,
        }
    });
    command.mut_subcommands(lenient)
}

/// What the line says about colours, which has to be known before it is read; what stands behind `--` is another's.
fn color_of(words: &[OsString]) -> clap::ColorChoice {
    let mut ours = words.iter().filter_map(|word| word.to_str()).take_while(|word| *word != "--");
    let said = ours.find_map(|word| word.strip_prefix("--color").map(|value| value.strip_prefix('=')));
    let said = said.map(|value| value.or_else(|| ours.next()));
    match said.flatten().map(|value| ColorChoice::from_str(value, false)) {
        Some(Ok(ColorChoice::Always)) => clap::ColorChoice::Always,
        Some(Ok(ColorChoice::Never)) => clap::ColorChoice::Never,
        Some(Ok(ColorChoice::Auto) | Err(_)) | None => clap::ColorChoice::Auto,
    }
}

#[derive(Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The server to use, such as http://127.0.0.1:7600
    #[arg(long, global = true, env = "BIFROST_URL", value_name = "URL")]
    pub(crate) url: Option<String>,
    /// A file that holds the API key [default: the variable BIFROST_API_KEY, then DIR/api-key]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) api_key_file: Option<PathBuf>,
    /// The data directory: databases, keys and local machines
    #[arg(long, global = true, env = "BIFROST_DATA", value_name = "DIR", default_value = ".bifrost")]
    pub(crate) data: PathBuf,
    /// Write results as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Why: the audit keeps it with whatever the command changes
    #[arg(long, global = true, value_name = "TEXT", value_parser = parse_reason)]
    pub(crate) reason: Option<String>,
    /// When to use colours; NO_COLOR is honoured
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = ColorChoice::Auto)]
    pub(crate) color: ColorChoice,
}

fn parse_reason(text: &str) -> Result<String, String> {
    let most = wire::limit::REASON_CHARS;
    if text.trim().is_empty() || text.chars().count() > most || text.chars().any(char::is_control) {
        return Err(format!("write 1 to {most} characters, on one line"));
    }
    Ok(text.trim().to_owned())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal
    Auto,
    /// Even in a file
    Always,
    /// Not at all
    Never,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run a command in a repository and show it live
    #[command(after_help = help::RUN, after_long_help = help::run_long())]
    Run(Box<RunArguments>),
    /// Watch a running task's command, and type to it
    #[command(after_help = help::ATTACH)]
    Attach(AttachArguments),
    /// Start coding agents on this computer, each in a worktree and a terminal of its own
    #[command(subcommand, after_help = help::agents::AGENTS)]
    Agents(AgentsCommand),
    /// List, inspect and steer tasks
    #[command(subcommand, after_help = help::TASKS)]
    Tasks(TasksCommand),
    /// See what machines have saved of workspaces, and begin from it
    #[command(subcommand, after_help = help::CHECKPOINTS)]
    Checkpoints(CheckpointsCommand),
    /// Show what came of a task's tests
    #[command(after_help = help::TESTS)]
    Tests(TestsArguments),
    /// List the tasks that may start now, or say whether one may
    #[command(after_help = help::READY)]
    Ready {
        /// The task's id
        #[arg(value_name = "TASK")]
        id: Option<TaskId>,
    },
    /// Show which tasks need which
    #[command(after_help = help::GRAPH)]
    Graph {
        /// Write it for Graphviz
        #[arg(long)]
        dot: bool,
    },
    /// Take a task to work on it outside the pool, and begin
    #[command(after_help = help::CLAIM)]
    Claim(ClaimArguments),
    /// Keep a claimed task for longer
    #[command(after_help = help::claims::RENEW)]
    Renew(RenewArguments),
    /// Say that a task which was claimed, or begun by hand, is done
    #[command(after_help = help::claims::COMPLETE)]
    Complete(CompleteArguments),
    /// Give a claimed task back: it is ready again
    #[command(after_help = help::claims::RELEASE)]
    Release(ReleaseArguments),
    /// Say how tasks would go, what they would cost and what would wait: those of a file, or those that are open
    #[command(after_help = help::PLAN)]
    Plan(PlanArguments),
    /// Hold a task, a project, everything with a key, or all work
    #[command(after_help = help::HOLD)]
    Hold(HoldArguments),
    /// Remove holds
    #[command(after_help = help::admission::UNHOLD)]
    Unhold {
        /// The holds' ids
        #[arg(required = true, value_name = "HOLD")]
        ids: Vec<HoldId>,
    },
    /// List what is held, by whom, and why
    #[command(after_help = help::admission::HOLDS)]
    Holds,
    /// Say how many tasks with a key may run at once, and how often one may start
    #[command(subcommand, after_help = help::LIMITS)]
    Limits(LimitsCommand),
    /// Show how many tasks wait, and for what, and how much the workers could take
    #[command(after_help = help::QUEUE)]
    Queue,
    /// See the projects, and say which share of the workers each gets
    #[command(subcommand, after_help = help::PROJECTS)]
    Projects(ProjectsCommand),
    /// Bound what a project, or all work, may spend in a day, a week or a month
    #[command(subcommand, after_help = help::BUDGETS)]
    Budgets(BudgetsCommand),
    /// Submit a task again and again
    #[command(subcommand, after_help = help::SCHEDULES)]
    Schedules(SchedulesCommand),
    /// See and steer the machines of the pool
    #[command(subcommand, after_help = help::MACHINES)]
    Machines(MachinesCommand),
    /// Show what the machines cost, and check that nothing runs that should not
    #[command(subcommand, after_help = help::COST)]
    Cost(CostCommand),
    /// See what tasks have asked of the world outside, or run the proxy that they ask through
    #[command(subcommand, after_help = help::EGRESS)]
    Egress(EgressCommand),
    /// See the registered workers, and register your own
    #[command(subcommand, after_help = help::WORKERS)]
    Workers(WorkersCommand),
    /// Look for work elsewhere, and decide what becomes of what was found
    #[command(subcommand, after_help = help::proposals::PROPOSALS)]
    Proposals(ProposalsCommand),
    /// See agents' terminals, and have words typed to their agents
    #[command(subcommand, after_help = help::runtimes::RUNTIMES)]
    Runtimes(RuntimesCommand),
    /// Say what is done by itself when a task fails
    #[command(subcommand, after_help = help::STRATEGIES)]
    Strategies(StrategiesCommand),
    /// Read the record, and keep it: verify it, back it up, export it
    #[command(subcommand, after_help = help::EVENTS)]
    Events(EventsCommand),
    /// Have others told of what happens, over HTTP
    #[command(subcommand, after_help = help::WEBHOOKS)]
    Webhooks(WebhooksCommand),
    /// Print what happens, while it happens
    #[command(after_help = help::STREAM)]
    Stream(StreamArguments),
    /// See who changed what, when and why
    #[command(after_help = help::AUDIT)]
    Audit(AuditArguments),
    /// Copy, back up, restore and check the control plane's database
    #[command(subcommand, name = "db", after_help = help::DATABASE)]
    Database(DatabaseCommand),
    /// Check this computer and the server, one thing after the other
    #[command(after_help = help::DOCTOR)]
    Doctor,
    /// Write a completion script for a shell
    #[command(after_help = help::COMPLETIONS)]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write the manual pages, one for each command
    #[command(after_help = help::MAN)]
    Man {
        /// The directory, such as ~/.local/share/man/man1; made where there is none
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// Run the whole system in this process
    #[command(after_help = help::UP)]
    Up(UpArguments),
    /// Run the control plane alone, as deployed
    #[command(after_help = help::CONTROL_PLANE)]
    ControlPlane(ControlPlaneArguments),
    /// Run the event store alone, as deployed
    #[command(after_help = help::EVENT_STORE)]
    EventStore(EventStoreArguments),
    /// Run the local Machines API alone
    #[command(after_help = help::EMULATOR)]
    Emulator(EmulatorArguments),
    /// Run the runner alone, as on a machine
    #[command(after_help = help::RUNNER)]
    Runner,
    /// Say, in a task's command, that work goes on, and keep its machine awake for a while
    #[command(after_help = help::BUSY)]
    Busy(BusyArguments),
    /// Answer the runner's git when a remote asks who it is
    #[command(hide = true)]
    GitCredential {
        /// The file of credentials, whose submodules are fetched if any are, and git's operation
        arguments: Vec<String>,
    },
    /// Answer the runner's git whether it may go by ssh for a submodule
    #[command(hide = true)]
    GitSsh {
        /// Whose submodules are fetched, and what git gives to ssh
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Be the mock agent: carry the prompt on standard input out
    #[command(hide = true)]
    MockAgent {
        /// As `drivers.toml` of the runner says
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct AttachArguments {
    /// The task
    pub(crate) task: TaskId,
    /// Pass on what is typed; the task must have been submitted with --terminal
    #[arg(long)]
    pub(crate) write: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BusyArguments {
    /// How long the machine stays awake, even when the command ends before; at most 1h
    #[arg(long = "for", value_name = "TIME", value_parser = parse_busy)]
    pub(crate) time: Option<u64>,
}

fn parse_busy(text: &str) -> Result<u64, String> {
    let seconds = crate::duration::parse_seconds(text)?;
    let most = wire::limit::BUSY_SECONDS_MAX;
    if seconds > most {
        return Err(format!("must be at most {}h; ask again before it is over", most / 3_600));
    }
    Ok(seconds)
}

#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// The repository: a URL, or a path on this computer, of which only what is committed runs
    #[arg(long, value_name = "URL|PATH", default_value = ".")]
    pub(crate) repo: String,
    /// A branch, a tag or a commit [default: HEAD of a path, the default branch of a URL]
    #[arg(long = "ref", value_name = "REF")]
    pub(crate) reference: Option<String>,
    /// A variable for the command; with the name alone, the value is taken from the own environment.
    /// It is kept with the task, so it is no place for a secret; an agent's key is the machine's (docs/agents.md)
    #[arg(long, value_name = "K[=V]", value_parser = EnvArgument::parse)]
    pub(crate) env: Vec<EnvArgument>,
    /// Allow it this host as well where machines have an egress proxy; *.example.org is everything below. Again for more
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) egress: Vec<String>,
    /// The longest the command may run, such as 90s, 30m, 2h or 1d [default: 30m]
    #[arg(long, value_name = "TIME", value_parser = crate::duration::parse_seconds)]
    pub(crate) timeout: Option<u64>,
    /// The longest the command may be silent and idle, such as 5m [default: no bound]
    #[arg(long, value_name = "TIME", value_parser = crate::duration::parse_seconds)]
    pub(crate) idle_timeout: Option<u64>,
    /// The longest the command may go on without output and without a commit, such as 30m [default: no bound]
    #[arg(long, value_name = "TIME", value_parser = crate::duration::parse_seconds)]
    pub(crate) stall_timeout: Option<u64>,
    /// Give the command a terminal, for `bifrost attach --write`
    #[arg(long, conflicts_with = "agent")]
    pub(crate) terminal: bool,
    /// How urgent, from 1 to 5, 5 first
    #[arg(long, value_name = "1..5", default_value = "3")]
    pub(crate) priority: Priority,
    /// What lists call the task [default: the command]
    #[arg(long)]
    pub(crate) title: Option<String>,
    #[command(flatten)]
    pub(crate) admission: AdmissionArguments,
    /// Print the task's id and leave it running on the server
    #[arg(long)]
    pub(crate) detach: bool,
    /// Ask this coding agent in place of a command: claude_code, codex, gemini, opencode or mock
    #[arg(long, value_name = "AGENT", requires = "prompt")]
    pub(crate) agent: Option<String>,
    /// What the agent is to do: a file, or - for standard input
    #[arg(long, value_name = "FILE", requires = "agent")]
    pub(crate) prompt: Option<PathBuf>,
    /// The model that the agent is to use [default: the agent's]
    #[arg(long, requires = "agent")]
    pub(crate) model: Option<String>,
    /// A session of the agent to go on with, as an earlier run named it
    #[arg(long, requires = "agent")]
    pub(crate) session: Option<String>,
    /// Run tests and read their report: those of the command, or of the repository where there is none; after
    /// the agent, where one is asked
    #[arg(long)]
    pub(crate) tests: bool,
    /// How the tests' tool tells of them [default: found out from what it writes]
    #[arg(long, value_name = "FORMAT", requires = "tests")]
    pub(crate) tests_format: Option<TestFormat>,
    /// The file in the workspace to which it writes its report [default: what it prints is read]
    #[arg(long, value_name = "FILE", requires = "tests")]
    pub(crate) tests_report: Option<String>,
    /// Push work that nobody pushed to the repository, under refs/bifrost/wip/, besides keeping it on the machine
    #[arg(long)]
    pub(crate) push_unfinished: bool,
    #[command(flatten)]
    pub(crate) pull_request: PullRequestArguments,
    /// The command and its arguments; no shell reads them
    #[arg(last = true, required_unless_present_any = ["agent", "tests"], value_name = "CMD")]
    pub(crate) command: Vec<String>,
}

/// One `--env`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EnvArgument {
    /// `K=V`
    Set(String, String),
    /// `K`
    Inherit(String),
}

impl EnvArgument {
    fn parse(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        if name.is_empty() {
            return Err("write NAME=VALUE, or NAME to take the value from the own environment".into());
        }
        Ok(match value {
            Some(value) => Self::Set(name.into(), value.into()),
            None => Self::Inherit(name.into()),
        })
    }
}

#[derive(Subcommand)]
pub(crate) enum EgressCommand {
    /// Print what a task has asked of the egress proxy, and what became of it
    #[command(after_help = help::events::EGRESS_SHOW)]
    Show {
        /// The task's id
        #[arg(value_name = "TASK")]
        id: TaskId,
    },
    /// Run the egress proxy, as deployed
    #[command(after_help = help::EGRESS_SERVE)]
    Serve(egress::program::Arguments),
}

#[derive(Subcommand)]
pub(crate) enum EventsCommand {
    /// Print the newest events of all tasks and go on as more happen
    #[command(after_help = help::events::TAIL)]
    Tail {
        /// Begin with so many events that are there already
        #[arg(long, short = 'n', default_value_t = 10, conflicts_with = "after")]
        lines: u64,
        /// Begin behind this place in the log instead; 0 is its beginning
        #[arg(long, value_name = "SEQ")]
        after: Option<u64>,
        /// Stop at the end of the log
        #[arg(long)]
        no_follow: bool,
    },
    /// Print every event of one task
    #[command(after_help = help::events::GET)]
    Get {
        /// The task's id
        #[arg(value_name = "TASK")]
        id: TaskId,
    },
    /// Show how the event store is: its events, its disk, who waits and who follows
    #[command(after_help = help::events::STATS)]
    Stats,
    /// Print the log's head, signed by the event store: what the log can be held against later
    #[command(after_help = help::EVENTS_HEAD)]
    Head {
        /// Save it to this file as well
        #[arg(long, value_name = "FILE")]
        save: Option<PathBuf>,
    },
    #[command(flatten)]
    Files(FilesCommand),
}

/// What is done with the files of the data directory's event log.
#[derive(Clone, Subcommand)]
pub(crate) enum FilesCommand {
    /// Check that the log is what was once stored
    #[command(after_help = help::EVENTS_VERIFY)]
    Verify(Verify),
    /// Copy the log to a file
    #[command(after_help = help::EVENTS_BACKUP)]
    Backup(Backup),
    /// Make a backup the log of a data directory that has none
    #[command(after_help = help::EVENTS_RESTORE)]
    Restore(Restore),
    /// Write events as lines of JSON or as CSV
    #[command(after_help = help::EVENTS_EXPORT)]
    Export(Export),
    /// Take the log's database back to an older schema, for an older program
    #[command(after_help = help::EVENTS_MIGRATE)]
    Migrate(Migrate),
}

#[derive(Args)]
pub(crate) struct UpArguments {
    /// Where to listen for people and tools
    #[arg(long, value_name = "ADDR", default_value = DEFAULT_LISTEN)]
    pub(crate) listen: SocketAddr,
    #[command(flatten)]
    pub(crate) database: DatabaseArguments,
    #[command(flatten)]
    pub(crate) machines: MachineArguments,
}

/// The machines of a local system, and what they may reach.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct MachineArguments {
    #[command(flatten)]
    pub(crate) options: emulator::MachineOptions,
    /// What containers may reach, in place of the built-in list (docs/egress.md)
    #[arg(long, value_name = "FILE")]
    pub(crate) egress_allow: Option<PathBuf>,
    /// Let containers reach this host as well, such as git.example.org or *.example.org:8443
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) egress_host: Vec<String>,
}

impl MachineArguments {
    /// Refuses what says something about containers where machines are none.
    pub(crate) fn check(&self) -> Result<(), emulator::NoContainers> {
        let rules = [("--egress-allow", self.egress_allow.is_some()), ("--egress-host", !self.egress_host.is_empty())];
        self.options.check(&rules)
    }
}

#[derive(Args)]
pub(crate) struct ControlPlaneArguments {
    /// Where to listen
    #[arg(long, value_name = "ADDR", default_value = DEFAULT_LISTEN)]
    pub(crate) listen: SocketAddr,
    #[command(flatten)]
    pub(crate) database: DatabaseArguments,
}

#[derive(Debug, Args)]
pub(crate) struct DatabaseArguments {
    /// The database, such as postgres://host/name; one with a password belongs in the variable,
    /// where other users do not see it [default: SQLite in the data directory]
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub(crate) database_url: Option<String>,
}

#[derive(Args)]
pub(crate) struct EventStoreArguments {
    /// Where to listen; on Fly, only on the private network
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7601")]
    pub(crate) listen: SocketAddr,
    /// Listen on an address that is neither loopback nor private
    #[arg(long)]
    pub(crate) allow_public: bool,
    #[command(flatten)]
    pub(crate) keep: event_store::Keep,
}

#[derive(Args)]
pub(crate) struct EmulatorArguments {
    /// Where to listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7602")]
    pub(crate) listen: SocketAddr,
    #[command(flatten)]
    pub(crate) options: emulator::Options,
}

#[cfg(test)]
mod tests;
