//! The agents of this computer: which there are, how each is, what it said, and how it is
//! ended. What others run in tmux is not seen.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kit::Clock;
use kit::process::{Sig, signal_group};
use kit::tasks::blocking;
use runner::local;
use serde::Serialize;
use wire::execution::Outcome;
use wire::id::ExecutionId;

use crate::config::Config;
use crate::error::FleetError;
use crate::handle::{AgentHandle, Desk, EndRecord, ProcessRef, Registered, Session};
use crate::plain;
use crate::tmux::Tmux;
use crate::turn;

/// How long a supervisor may take beyond the grace to note how its agent ended.
const NOTED_WITHIN: Duration = Duration::from_secs(10);
/// What is read of a log to find its last lines.
const TAIL_BYTES: u64 = 4 * 1024 * 1024;

/// How an agent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Its worktree is being made.
    Starting,
    /// Its terminal is there, and its process lives.
    Running,
    /// It has ended, and how is known.
    Ended(Outcome),
    /// It has ended, and nobody was left to note how.
    Lost,
}

impl Status {
    /// Whether it takes one of the places.
    pub fn is_active(self) -> bool {
        matches!(self, Self::Starting | Self::Running)
    }

    /// In a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Ended(outcome) => outcome.as_str(),
            Self::Lost => "lost",
        }
    }
}

/// An agent and how it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Agent {
    /// What is known of it.
    #[serde(flatten)]
    pub handle: AgentHandle,
    /// How it is.
    #[serde(serialize_with = "as_word")]
    pub status: Status,
    /// How it ended.
    pub end: Option<EndRecord>,
    /// What the control plane knows it as, where it is to know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<Registered>,
}

fn as_word<S: serde::Serializer>(status: &Status, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(status.as_str())
}

/// Every agent that was started here and not cleaned up, oldest first.
pub async fn list(config: &Config) -> Result<Vec<Agent>, FleetError> {
    let mut sessions = Sessions::new(config);
    let mut agents = Vec::new();
    for id in ids(&config.base).map_err(FleetError::file(&config.base))? {
        agents.extend(look(config, id, &mut sessions).await?);
    }
    Ok(agents)
}

/// Those that run, for whoever compares them with what should run.
pub async fn list_active(config: &Config) -> Result<Vec<AgentHandle>, FleetError> {
    let agents = list(config).await?.into_iter();
    Ok(agents.filter(|agent| agent.status == Status::Running).map(|agent| agent.handle).collect())
}

/// One of them.
pub async fn find(config: &Config, id: ExecutionId) -> Result<Agent, FleetError> {
    look(config, id, &mut Sessions::new(config)).await?.ok_or(FleetError::NotFound(id))
}

/// Whether its terminal is there and its process lives.
pub async fn is_alive(config: &Config, id: ExecutionId) -> Result<bool, FleetError> {
    Ok(find(config, id).await?.status == Status::Running)
}

async fn look(config: &Config, id: ExecutionId, sessions: &mut Sessions<'_>) -> Result<Option<Agent>, FleetError> {
    let desk = Desk::new(&config.base, id);
    let Some(handle) = desk.read_handle().map_err(FleetError::file(desk.root()))? else { return Ok(None) };
    let is_held = |path: PathBuf| kit::lock::is_held(&path).map_err(FleetError::file(path.clone()));
    let has_terminal = match &handle.process {
        ProcessRef::Tmux { socket: Some(socket), .. } => sessions.may_have(socket, id).await,
        ProcessRef::Tmux { socket: None, .. } => false,
        ProcessRef::Detached => true,
    };
    let is_starting = is_held(desk.starting())?;
    let is_supervised = is_held(desk.alive())?;
    // Read last: it is written before the lock is free.
    let end = desk.read_end().map_err(FleetError::file(desk.root()))?;
    let status = match &end {
        Some(end) => Status::Ended(end.outcome),
        None if is_starting => Status::Starting,
        None if is_supervised && has_terminal => Status::Running,
        None => Status::Lost,
    };
    let runtime = desk.read_runtime().map_err(FleetError::file(desk.root()))?;
    Ok(Some(Agent { handle, status, end, runtime }))
}

fn ids(base: &Path) -> io::Result<Vec<ExecutionId>> {
    let entries = match fs::read_dir(base) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let names = entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
    let mut ids: Vec<ExecutionId> = names.iter().filter_map(|name| name.to_str()?.parse().ok()).collect();
    ids.sort();
    Ok(ids)
}

/// Held while it is decided who may start, and who may go on with a session.
pub(crate) fn lock(base: &Path) -> PathBuf {
    base.join(".lock")
}

/// Another agent that is in a session, or is about to be. Asked with [`lock`] in hand.
pub(crate) fn in_session(base: &Path, own: ExecutionId, session: &Session) -> io::Result<Option<ExecutionId>> {
    for id in ids(base)?.into_iter().filter(|id| *id != own) {
        let desk = Desk::new(base, id);
        if desk.read_session()?.as_ref() == Some(session)
            && (kit::lock::is_held(&desk.starting())? || kit::lock::is_held(&desk.alive())?)
            && desk.read_end()?.is_none()
        {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

/// The sessions of each server, asked for once.
struct Sessions<'a> {
    config: &'a Config,
    /// Nothing where tmux does not say.
    known: BTreeMap<PathBuf, Option<BTreeMap<ExecutionId, PathBuf>>>,
}

impl<'a> Sessions<'a> {
    fn new(config: &'a Config) -> Self {
        Self { config, known: BTreeMap::new() }
    }

    /// Whether the server of this socket has the agent's session; where it does not say, it may have.
    async fn may_have(&mut self, socket: &Path, id: ExecutionId) -> bool {
        if !self.known.contains_key(socket) {
            let sessions = tmux(self.config, Some(socket)).sessions().await;
            if let Err(error) = &sessions {
                tracing::warn!("tmux does not say which sessions there are: {error}");
            }
            self.known.insert(socket.to_owned(), sessions.ok());
        }
        self.known[socket].as_ref().is_none_or(|sessions| sessions.contains_key(&id))
    }
}

/// The tmux server of this socket, or the one where new sessions go.
pub(crate) fn tmux(config: &Config, socket: Option<&Path>) -> Tmux {
    let socket = socket.map(Path::to_owned).or_else(|| config.tmux_socket.clone());
    Tmux { program: config.tmux.clone(), socket, environment: config.tmux_environment.clone() }
}

/// The server that has the agent's session, where it is in one.
pub(crate) fn tmux_of(config: &Config, handle: &AgentHandle) -> Option<Tmux> {
    match &handle.process {
        ProcessRef::Tmux { socket, .. } => Some(tmux(config, socket.as_deref())),
        ProcessRef::Detached => None,
    }
}

/// What a person types to look into its terminal; nothing where it is in no tmux.
pub fn attach_command(config: &Config, handle: &AgentHandle) -> Option<Vec<String>> {
    tmux_of(config, handle).map(|tmux| tmux.attach(handle.id))
}

/// The last lines that it showed, as text: what only a terminal understands is left out, as tmux does.
pub async fn logs(config: &Config, id: ExecutionId, lines: usize) -> Result<Vec<String>, FleetError> {
    let agent = find(config, id).await?;
    let shown = match tmux_of(config, &agent.handle) {
        Some(tmux) if agent.status == Status::Running => tmux.capture(id, lines).await.ok(),
        _ => None,
    };
    let desk = Desk::new(&config.base, id);
    let text = match shown {
        Some(text) => text,
        None => plain::text(&read_end_of(&desk).map_err(FleetError::file(desk.log()))?),
    };
    let all: Vec<&str> = text.trim_end().lines().collect();
    Ok(all[all.len().saturating_sub(lines)..].iter().map(|line| line.trim_end().to_owned()).collect())
}

/// The file that has what it says, to follow it.
pub fn log_path(config: &Config, id: ExecutionId) -> PathBuf {
    Desk::new(&config.base, id).log()
}

fn read_end_of(desk: &Desk) -> io::Result<String> {
    let mut text = Vec::new();
    for path in [desk.earlier_log(), desk.log()] {
        let mut file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            file => file?,
        };
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        file.read_to_end(&mut text)?;
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// How an agent is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Haste {
    /// Its process group gets SIGTERM and, after the grace, SIGKILL.
    Graceful,
    /// It gets SIGKILL: what it has not written is lost.
    AtOnce,
}

/// Ends an agent, then closes its session. One that has ended already is no error.
pub async fn kill(config: &Config, id: ExecutionId, haste: Haste, clock: &Clock) -> Result<Agent, FleetError> {
    let agent = find(config, id).await?;
    let desk = Desk::new(&config.base, id);
    if agent.status == Status::Starting {
        return Err(FleetError::Refused(format!("{id} is still being started; interrupt that with Ctrl-C")));
    }
    if agent.end.is_none() {
        end_supervisor(&desk, id, haste).await;
    }
    if let Some(tmux) = tmux_of(config, &agent.handle) {
        tmux.close(id).await?;
    }
    if desk.read_end().map_err(FleetError::file(desk.root()))?.is_none() {
        let message = Some("it was killed, and said nothing more".to_owned());
        let end = EndRecord { ended_at: clock.now(), outcome: Outcome::Cancelled, exit: None, message, report: None };
        desk.write_end(&end).map_err(FleetError::file(desk.root()))?;
    }
    find(config, id).await
}

/// Sees to it that an agent and its supervisor, if there is one, are gone.
pub(crate) async fn end_supervisor(desk: &Desk, id: ExecutionId, haste: Haste) {
    let leader = fs::read_to_string(desk.supervisor()).ok().and_then(|text| text.trim().parse().ok());
    // While the lock is held the number means nobody else.
    let leader: Option<u32> = leader.filter(|_| kit::lock::is_held(&desk.alive()).unwrap_or(false));
    if let Some(leader) = leader {
        let is_gone = match haste {
            Haste::Graceful => {
                tell(leader, Sig::SIGTERM);
                matches!(turn(&desk.alive(), grace(desk) + NOTED_WITHIN).await, Ok(Some(_)))
            }
            Haste::AtOnce => false,
        };
        if !is_gone {
            tell(leader, Sig::SIGKILL);
        }
    }
    blocking(move || local::end_forgotten(id)).await;
}

fn tell(leader: u32, signal: Sig) {
    if let Err(error) = signal_group(leader, signal) {
        tracing::warn!("process {leader} cannot be signalled: {error}");
    }
}

/// How long its agent was given.
fn grace(desk: &Desk) -> Duration {
    let written = desk.read_handle().ok().flatten().map(|handle| handle.grace_ms);
    Duration::from_millis(written.unwrap_or_default())
}
