//! The runner's parts for a person's own computer: dependencies put into a working tree
//! from a store, and one agent or command supervised as on a machine, but without a
//! control plane, without a volume of its own and without walls.
//!
//! What holds on a machine holds here: a frozen install, the prompt on standard input
//! alone, secrets kept out of what is told, and nothing left running at the end. Nobody
//! is told of it but who asked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kit::tasks::blocking;
use kit::{Chance, Clock};
use tokio::sync::{mpsc, watch};
use wire::agent::AgentReport;
use wire::event::{LogPayload, kind};
use wire::execution::{Exit, Outcome};
use wire::id::{ExecutionId, MachineId, TaskId};
use wire::task::TaskSpec;

use crate::agent;
use crate::agent::driver::{Driver, Drivers};
use crate::agent::keys::Keys;
use crate::agent::reading::Taken;
use crate::background::Background;
use crate::channel::{self, Channel};
use crate::command::program;
use crate::command::redaction::Secrets;
use crate::command::{self, Job};
use crate::config::Limits;
use crate::dependencies::{self, Terms};
use crate::execution::end::End;
use crate::execution::running;
use crate::git::Git;
use crate::isolation::{Isolation, Openings};
use crate::leftovers;
use crate::orders::{Halt, Orders};
use crate::record::{Entry, Recorder, Story, Subject};
use crate::room::Room;
use crate::setup::NotReady;
use crate::terminal::Stage;
pub use crate::terminal::{Input, Life};
use crate::turns::Turns;
use crate::volume::{self, Volume};
use crate::workspace::Paths;

/// How much is told at once: nobody but the caller reads it.
const OUTPUT_BYTES: u64 = u64::MAX;
/// Whose package managers' caches they are: a person's own code shares them.
const LOCAL: &str = "local";

/// Whom it is done for.
#[derive(Debug, Clone, Copy)]
pub struct Whose {
    /// The task.
    pub task_id: TaskId,
    /// This attempt at it.
    pub execution_id: ExecutionId,
}

impl From<Whose> for Subject {
    fn from(whose: Whose) -> Self {
        Self { task_id: whose.task_id, execution_id: whose.execution_id }
    }
}

/// Where dependencies are installed.
#[derive(Debug)]
pub struct Place<'a> {
    /// What package managers installed, for every tree; one installation at a time may use it.
    pub store: &'a Path,
    /// The working tree.
    pub tree: &'a Path,
    /// The home that package managers see: that of the person.
    pub home: &'a Path,
    /// For their temporary files.
    pub temporary: &'a Path,
    /// What they see of the environment.
    pub environment: &'a BTreeMap<String, String>,
    /// The longest that one of them may take.
    pub within: Duration,
}

/// What an installation is good for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Installed {
    /// Variables that whatever uses the dependencies needs.
    pub variables: BTreeMap<String, String>,
    /// Goes before the PATH.
    pub programs: Option<PathBuf>,
    /// The package managers, and what one of them could not do.
    pub detail: Vec<String>,
}

/// Why there are no dependencies.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct NotInstalled {
    /// What is wrong and what to do about it.
    pub message: String,
    /// What the package manager said.
    pub said: String,
}

/// Installs what the tree's lockfiles ask for, or takes it from the store.
pub async fn install(
    place: &Place<'_>,
    whose: Whose,
    clock: &Clock,
    chance: &Chance,
) -> Result<Installed, NotInstalled> {
    let (recorder, mut entries) = recorder(clock, chance);
    let room = room(place, recorder.clone(), clock, chance).await.map_err(|error| NotInstalled {
        message: format!("{error:#}; free space, or name another directory for dependencies"),
        said: String::new(),
    })?;
    let mut story = Story::new(recorder, whose.into(), Orders::none());
    // Of a workspace only what an installation touches: there is no mirror here.
    let paths = Paths {
        name: LOCAL.to_owned(),
        tree: place.tree.to_owned(),
        mirror: PathBuf::new(),
        index: PathBuf::new(),
        home: place.home.to_owned(),
        temporary: place.temporary.to_owned(),
    };
    let terms = Terms { within: place.within, variables: BTreeMap::new(), reads: Vec::new() };
    let mut said = Vec::new();
    let prepared = {
        let preparing = dependencies::prepare(&room, &mut story, &paths, &terms);
        tokio::pin!(preparing);
        loop {
            tokio::select! {
                prepared = &mut preparing => break prepared,
                Some(entry) = entries.recv() => said.extend(log_of(entry).unwrap_or_default()),
            }
        }
    };
    while let Ok(entry) = entries.try_recv() {
        said.extend(log_of(entry).unwrap_or_default());
    }
    match prepared {
        Ok(ready) => Ok(Installed { variables: ready.variables, programs: ready.programs, detail: ready.detail }),
        Err(NotReady::Halted(_)) => unreachable!("nobody can give an order"),
        Err(NotReady::Failed { message, .. }) => {
            Err(NotInstalled { message, said: String::from_utf8_lossy(&said).into_owned() })
        }
    }
}

/// A room of which only the dependencies are used.
async fn room(place: &Place<'_>, recorder: Recorder, clock: &Clock, chance: &Chance) -> anyhow::Result<Arc<Room>> {
    let root = place.store.to_owned();
    let limits = Limits::default();
    let volume = blocking(move || Volume::open(&root, limits.reserve_bytes)).await?;
    kit::files::make_private(place.temporary)?;
    let environment = place.environment.clone();
    let git = Git::new(volume.root(), &environment, limits.git, None)?;
    Ok(Arc::new(Room {
        volume: Arc::new(volume),
        git,
        platform: Arc::default(),
        environment,
        credentials: None,
        drivers: Drivers::built_in(),
        keys: Keys::default(),
        isolation: Arc::new(Isolation::none()),
        stage: Arc::default(),
        secrets: Secrets::default(),
        limits,
        recorder,
        background: Background::default(),
        turns: Turns::default(),
        clock: clock.clone(),
        chance: chance.clone(),
    }))
}

/// What is run, and within which bounds.
#[derive(Debug)]
pub struct Work<'a> {
    /// Whom it is done for.
    pub whose: Whose,
    /// The agent or the command, its time, and whether it has a terminal.
    pub spec: &'a TaskSpec,
    /// The agents there are.
    pub drivers: &'a Drivers,
    /// Where it works.
    pub directory: &'a Path,
    /// Where what it must not see is for a moment, and its channel while it runs.
    pub own: &'a Path,
    /// All of its environment, but for what says whose it is.
    pub environment: &'a BTreeMap<String, String>,
    /// Between SIGTERM and SIGKILL when it is ended.
    pub grace: Duration,
    /// What the agent's session had taken before.
    pub before: Taken,
}

/// How it ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Finished {
    /// In a word.
    pub outcome: Outcome,
    /// Of the process.
    pub exit: Option<Exit>,
    /// What went wrong, for a person.
    pub message: Option<String>,
    /// What an agent said of itself.
    pub report: Option<AgentReport>,
}

/// Why it could not be started.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotStarted(String);

/// Whether an agent of this name is known.
pub fn check_agent(drivers: &Drivers, name: &str) -> Result<(), NotStarted> {
    driver(drivers, name).map(drop)
}

fn driver<'a>(drivers: &'a Drivers, name: &str) -> Result<&'a Driver, NotStarted> {
    drivers.get(name).ok_or_else(|| {
        let names = drivers.names().join(", ");
        NotStarted(format!("no agent is called {name}; there are {names}, see docs/agents.md"))
    })
}

/// Whether it could be started: the agent is known, and its program or the command's is there.
pub fn check(work: &Work<'_>) -> Result<(), NotStarted> {
    let name = match &work.spec.agent {
        Some(spec) => driver(work.drivers, &spec.name)?.command(spec).swap_remove(0),
        None => work.spec.command.first().cloned().unwrap_or_default(),
    };
    let path = work.environment.get("PATH").map(String::as_str).unwrap_or_default();
    program::find(&name, path, work.directory).map(drop).map_err(|refused| NotStarted(refused.to_string()))
}

/// Runs it to its end. What it says goes to `show` as it comes, without secrets; what is `typed` goes to its
/// terminal where it has one; when `halted` resolves it is ended, with a grace. While it runs, `life` has it.
pub async fn run(
    work: &Work<'_>,
    mut typed: mpsc::Receiver<Input>,
    halted: impl Future<Output = ()>,
    life: watch::Sender<Option<Life>>,
    mut show: impl FnMut(&[u8]),
) -> Result<Finished, NotStarted> {
    leftovers::adopt_orphans();
    let (clock, chance) = (Clock::system(), Chance::system());
    let launch = work.spec.agent.as_ref().map(|agent| agent::prepare(work.drivers, &Keys::default(), agent, work.own));
    let launch = launch.transpose();
    let launch = launch.map_err(|error| NotStarted(error.to_string()))?;
    let (recorder, mut entries) = recorder(&clock, &chance);
    let (commander, orders) = Orders::new();
    let mut story = Story::new(recorder, work.whose.into(), orders);
    let stage = Arc::new(Stage::telling(life));
    let channel = Channel::open(work.own).map_err(|error| NotStarted(format!("its channel: {error}")))?;
    let job = job(work, stage.clone(), &channel);
    let secrets = job.secrets.clone();
    let ran = {
        let running = running::run(&mut story, work.spec, job, launch, work.before);
        let typing = async {
            while let Some(input) = typed.recv().await {
                if let Some(to) = stage.watch(work.whose.execution_id).and_then(|seat| seat.typed) {
                    // Whoever left in this moment takes nothing more.
                    drop(to.send(input).await);
                }
            }
            std::future::pending::<()>().await;
        };
        let halting = async {
            halted.await;
            commander.halt(Halt::Cancelled);
            std::future::pending::<()>().await;
        };
        let hearing = channel.serve(secrets);
        tokio::pin!(running, typing, halting, hearing);
        loop {
            tokio::select! {
                // First: it is there before anything is typed to it.
                biased;
                ran = &mut running => break ran,
                Some(entry) = entries.recv() => log_of(entry).map(|bytes| show(&bytes)).unwrap_or_default(),
                () = &mut typing => (),
                () = &mut halting => (),
                () = &mut hearing => (),
            }
        }
    };
    while let Ok(entry) = entries.try_recv() {
        log_of(entry).map(|bytes| show(&bytes)).unwrap_or_default();
    }
    let end = match &ran.heard {
        Some(heard) => End::of_agent(ran.ended, heard, work.spec),
        None => End::of_command(ran.ended, work.spec),
    };
    let end = end.expect("there is no lease to lose");
    let report = ran.heard.map(|heard| heard.report);
    Ok(Finished { outcome: end.outcome, exit: end.exit, message: end.message, report })
}

/// Kills what is left of a run whose supervisor was itself killed.
pub fn end_forgotten(execution: ExecutionId) {
    leftovers::end_forgotten(&BTreeSet::from([execution.to_string()]));
}

/// Removes a directory with all that is in it, also what a run has closed to its owner.
pub fn remove(directory: &Path) -> std::io::Result<()> {
    volume::remove(directory)
}

fn job(work: &Work<'_>, stage: Arc<Stage>, channel: &Channel) -> Job {
    let Work { whose, spec, .. } = work;
    let mut environment = work.environment.clone();
    environment.insert("BIFROST_TASK_ID".into(), whose.task_id.to_string());
    environment.insert(channel::VARIABLE.into(), channel.path.to_string_lossy().into_owned());
    environment.insert(leftovers::MARK.into(), whose.execution_id.to_string());
    Job {
        arguments: spec.command.clone(),
        directory: work.directory.to_owned(),
        secrets: Secrets::new(Secrets::of_environment(&environment)),
        environment,
        timeout: Duration::from_secs(spec.timeout_seconds()),
        idle_timeout: None,
        stall_timeout: None,
        grace: work.grace,
        hold: command::HELD_AT_MOST,
        agent_exit: Limits::default().agent_exit,
        output_bytes: OUTPUT_BYTES,
        input: None,
        stage,
        has_terminal: spec.terminal,
        signs: channel.signs(),
        isolation: Arc::new(Isolation::none()),
        openings: Openings::default(),
    }
}

fn recorder(clock: &Clock, chance: &Chance) -> (Recorder, mpsc::Receiver<Entry>) {
    Recorder::new(MachineId::mint(clock.now(), chance.bytes()), clock.clone(), chance.clone())
}

/// What an event says of a log.
fn log_of(entry: Entry) -> Option<Vec<u8>> {
    match entry {
        Entry::Event(event) if event.kind == kind::EXECUTION_LOG => {
            let payload: LogPayload = serde_json::from_str(event.payload.get()).ok()?;
            Some(payload.data.to_bytes())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
