//! An agent on this computer: what is known of it, and where its parts lie.
//!
//! | in the directory of an agent | what |
//! |---|---|
//! | `<branch>` | its worktree |
//! | `.agent/handle.json` | what is known of it |
//! | `.agent/job.json` | its prompt and its environment, until its terminal has read them |
//! | `.agent/output.log` | what it said |
//! | `.agent/end.json` | how it ended |
//! | `.agent/starting`, `alive` | held by whoever starts it, and by what supervises it |
//! | `.agent/ready`, `keys` | pipes: that it runs, and what is typed to it outside tmux |
//! | `.agent/runtime.json` | what the control plane knows it as |
//! | `.agent/acks` | a socket: that it has read what was typed |
//! | `.agent/channel` | a socket: that it goes on, of the runner |
//! | `.agent/session.json` | the session that it is in, as far as that is known |
//! | `.agent/left` | that it has left its terminal, and its session is taken up again |
//!
//! A branch has no part that begins with a dot, so the two never meet.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use wire::agent::{AgentReport, AgentSpec};
use wire::execution::{Exit, Outcome};
use wire::id::{ExecutionId, RuntimeId, TaskId};
use wire::task::TaskSpec;

use crate::collision::Rules;

/// What is known of an agent that was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentHandle {
    /// By which everything else knows it.
    pub id: ExecutionId,
    /// The task that it works on.
    pub task_id: TaskId,
    /// The branch that it works on.
    pub branch: String,
    /// Where.
    pub worktree: PathBuf,
    /// The repository that the worktree belongs to.
    pub repository: PathBuf,
    /// The agent's name, or the command's program.
    pub agent: String,
    /// By what it is found.
    pub process: ProcessRef,
    /// What keeps it.
    pub mode: Mode,
    /// Whether something can be typed to it.
    pub has_terminal: bool,
    /// How long it may run.
    pub timeout_seconds: u64,
    /// Between SIGTERM and SIGKILL when it is ended.
    pub grace_ms: u64,
    /// When it was started.
    pub spawned_at: DateTime<Utc>,
    /// The control plane that its terminal is registered with, where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
}

/// By what an agent is found again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ProcessRef {
    /// A session of a tmux server.
    Tmux {
        /// Its name.
        session: String,
        /// The server's; nothing while it starts.
        socket: Option<PathBuf>,
    },
    /// A process that belongs to no terminal, and holds one of its own where one was asked for.
    Detached,
}

/// What keeps agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// This computer, without walls.
    Local,
}

/// How an agent ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndRecord {
    /// When.
    pub ended_at: DateTime<Utc>,
    /// In a word; one that ran for too long has `timed_out`.
    pub outcome: Outcome,
    /// Of its process.
    pub exit: Option<Exit>,
    /// What went wrong.
    pub message: Option<String>,
    /// What it said of itself: session, tokens, cost.
    pub report: Option<AgentReport>,
}

/// What was asked for in the environment of one agent. Secrets are in it, so nothing prints it.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AgentEnvironment(pub BTreeMap<String, String>);

impl fmt::Debug for AgentEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.keys().map(|name| (name, "[secret]"))).finish()
    }
}

/// A control plane, and what opens it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// Where it listens.
    pub url: String,
    /// Never in an argument, and in nobody's environment.
    pub api_key: String,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("url", &self.url).finish_non_exhaustive()
    }
}

/// What the control plane knows an agent's terminal as.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// The runtime; nothing before it is registered.
    pub id: Option<RuntimeId>,
    /// Why the control plane could not be told anything just now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What it takes to register a terminal, and to type there.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Registration {
    pub(crate) server: Server,
    pub(crate) agent: String,
    /// Only where somebody named one: the control plane does not know ours.
    pub(crate) task_id: Option<TaskId>,
    pub(crate) rules: Rules,
    /// Nothing where the terminal is in no tmux.
    pub(crate) tmux: Option<TmuxProgram>,
}

/// The tmux that has the terminal.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TmuxProgram {
    pub(crate) program: PathBuf,
    pub(crate) environment: BTreeMap<String, String>,
}

/// What the terminal is told, once.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) id: ExecutionId,
    pub(crate) task_id: TaskId,
    pub(crate) spec: TaskSpec,
    pub(crate) worktree: PathBuf,
    pub(crate) environment: AgentEnvironment,
    pub(crate) drivers: Option<PathBuf>,
    pub(crate) grace_ms: u64,
    pub(crate) registration: Option<Registration>,
    /// Which agent a command is.
    pub(crate) resume: Option<AgentSpec>,
}

impl Job {
    /// The agent whose session this is.
    pub(crate) fn agent(&self) -> Option<&AgentSpec> {
        self.spec.agent.as_ref().or(self.resume.as_ref())
    }
}

/// A session of an agent: of those on this computer, one at a time is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    pub(crate) agent: String,
    pub(crate) id: String,
}

impl Session {
    /// The one that an agent was given, where it was given one.
    pub(crate) fn given(agent: &AgentSpec) -> Option<Self> {
        agent.session.clone().map(|id| Self { agent: agent.name.clone(), id })
    }
}

/// Where the parts of one agent lie.
#[derive(Debug, Clone)]
pub(crate) struct Desk(PathBuf);

impl Desk {
    pub(crate) fn new(base: &Path, id: ExecutionId) -> Self {
        Self(base.join(id.to_string()))
    }

    pub(crate) fn at(root: &Path) -> Self {
        Self(root.to_owned())
    }

    pub(crate) fn root(&self) -> &Path {
        &self.0
    }

    pub(crate) fn own(&self) -> PathBuf {
        self.0.join(".agent")
    }

    fn part(&self, name: &str) -> PathBuf {
        self.own().join(name)
    }

    pub(crate) fn job(&self) -> PathBuf {
        self.part("job.json")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.part("output.log")
    }

    /// What was said before that.
    pub(crate) fn earlier_log(&self) -> PathBuf {
        self.part("output.1.log")
    }

    pub(crate) fn starting(&self) -> PathBuf {
        self.part("starting")
    }

    pub(crate) fn alive(&self) -> PathBuf {
        self.part("alive")
    }

    /// The process that holds [`Desk::alive`].
    pub(crate) fn supervisor(&self) -> PathBuf {
        self.part("supervisor")
    }

    pub(crate) fn ready(&self) -> PathBuf {
        self.part("ready")
    }

    pub(crate) fn keys(&self) -> PathBuf {
        self.part("keys")
    }

    /// Touched whenever a person has typed.
    pub(crate) fn typed(&self) -> PathBuf {
        self.part("typed")
    }

    /// One message after the other.
    pub(crate) fn sending(&self) -> PathBuf {
        self.part("sending")
    }

    pub(crate) fn sent(&self) -> PathBuf {
        self.part("sent.jsonl")
    }

    /// Copied hooks, which git is not to see.
    pub(crate) fn exclude(&self) -> PathBuf {
        self.part("exclude")
    }

    pub(crate) fn temporary(&self) -> PathBuf {
        self.part("tmp")
    }

    pub(crate) fn acks(&self) -> PathBuf {
        self.part("acks")
    }

    pub(crate) fn read_runtime(&self) -> io::Result<Option<Registered>> {
        read(&self.part("runtime.json"))
    }

    pub(crate) fn write_runtime(&self, registered: &Registered) -> io::Result<()> {
        write(&self.part("runtime.json"), registered)
    }

    pub(crate) fn read_session(&self) -> io::Result<Option<Session>> {
        read(&self.part("session.json"))
    }

    pub(crate) fn write_session(&self, session: &Session) -> io::Result<()> {
        write(&self.part("session.json"), session)
    }

    /// Whether nobody reads its terminal any more, although it has not ended.
    pub(crate) fn has_left_terminal(&self) -> bool {
        self.part("left").exists()
    }

    pub(crate) fn leave_terminal(&self) -> io::Result<()> {
        std::fs::write(self.part("left"), b"")
    }

    pub(crate) fn read_handle(&self) -> io::Result<Option<AgentHandle>> {
        read(&self.part("handle.json"))
    }

    pub(crate) fn write_handle(&self, handle: &AgentHandle) -> io::Result<()> {
        write(&self.part("handle.json"), handle)
    }

    pub(crate) fn read_end(&self) -> io::Result<Option<EndRecord>> {
        read(&self.part("end.json"))
    }

    pub(crate) fn write_end(&self, end: &EndRecord) -> io::Result<()> {
        write(&self.part("end.json"), end)
    }
}

fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> io::Result<Option<T>> {
    let Some(text) = kit::files::read_if_exists(path)? else { return Ok(None) };
    serde_json::from_str(&text).map(Some).map_err(io::Error::from)
}

fn write(path: &Path, value: &impl Serialize) -> io::Result<()> {
    kit::files::replace(path, &serde_json::to_vec_pretty(value).map_err(io::Error::from)?, 0o600)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_shown() {
        let environment = AgentEnvironment(BTreeMap::from([("TOKEN".to_owned(), "hunter2".to_owned())]));
        let server = Server { url: "http://here".into(), api_key: "hunter2".into() };
        let shown = format!("{environment:?} {environment:#?} {server:?}");
        assert!(shown.contains("TOKEN") && shown.contains("here") && !shown.contains("hunter2"), "{shown}");
    }
}
