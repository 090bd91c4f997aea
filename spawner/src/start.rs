//! Starting an agent: worktree, hooks, dependencies, terminal, in this order. What fails
//! leaves nothing: each step that was begun is undone.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use kit::tasks::blocking;
use kit::{Chance, Clock};
use nix::sys::stat::Mode as FileMode;
use runner::local::{self, Whose};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use wire::agent::AgentSpec;
use wire::id::{ExecutionId, TaskId};
use wire::task::TaskSpec;

use crate::branch::Branch;
use crate::config::Config;
use crate::error::{ProgramError, SpawnError};
use crate::fleet::{self, Haste};
use crate::git::Git;
use crate::handle::{
    AgentEnvironment, AgentHandle, Desk, Job, Mode, ProcessRef, Registration, Server, Session, TmuxProgram,
};
use crate::hooks;
use crate::tmux::{self, Tmux};
use crate::{TURN_WITHIN, turn};

/// How long a checkout of another agent may hold ours up.
const WORKTREE_WITHIN: Duration = Duration::from_secs(600);
/// How often it is looked whether what was started is still there.
const BEAT: Duration = Duration::from_millis(250);
/// What of a package manager's words an error shows: there is no log of them, and npm says why first and then at length
/// how it is used.
const SAID_LINES: usize = 200;

/// What is to be started.
#[derive(Debug, Clone)]
pub struct NewAgent {
    /// The branch to work on; made from HEAD where there is none.
    pub branch: String,
    /// An agent and its prompt, or a command, which gets the terminal.
    pub what: What,
    /// What it finds in its environment besides what everybody does.
    pub environment: AgentEnvironment,
    /// How long it may run, if not as long as agents do.
    pub timeout: Option<Duration>,
    /// Whether it may run in tmux.
    pub may_use_tmux: bool,
    /// The task that it works on, where there is one.
    pub task_id: Option<TaskId>,
    /// Which agent a command is, in its session: with what waits there, that is taken up again once the command has
    /// ended. Its prompt is not used.
    pub resume: Option<AgentSpec>,
    /// The control plane that its terminal is registered with, where there is one.
    pub server: Option<Server>,
}

/// What runs.
#[derive(Debug, Clone)]
pub enum What {
    /// A coding agent, which is given its prompt and understood by what it prints.
    Agent(AgentSpec),
    /// A program and its arguments, whose output nobody reads but people.
    Command(Vec<String>),
}

/// Starts an agent. `notice` hears what a person should know and need not.
pub async fn start(
    config: &Config,
    new: &NewAgent,
    clock: &Clock,
    chance: &Chance,
    notice: &mut dyn FnMut(&str),
) -> Result<AgentHandle, SpawnError> {
    let branch = Branch::parse(&new.branch).map_err(|message| SpawnError::refused("branch", message))?;
    if let What::Agent(spec) = &new.what {
        spec.validate().map_err(|error| SpawnError::refused("agent", error.to_string()))?;
        local::check_agent(&config.drivers, &spec.name).map_err(|error| SpawnError::UnknownAgent(error.to_string()))?;
    }
    if let Some(resume) = &new.resume {
        check_resume(config, resume)?;
    }
    let id = ExecutionId::mint(clock.now(), chance.bytes());
    let desk = Desk::new(&config.base, id);
    let worktree = branch.worktree(desk.root()).map_err(|message| SpawnError::refused("branch", message))?;
    let here = Git::at(&config.git, &config.repository);
    let (repository, base) = find_repository(&here, config).await?;
    let is_branch = here.agrees(["check-ref-format", "--branch", branch.as_str()]).await.map_err(worktree_failed)?;
    if !is_branch {
        return Err(SpawnError::refused("branch", "git takes no such name for a branch"));
    }
    let spec = spec(config, new, &repository);
    let process = match new.may_use_tmux && fleet::tmux(config, None).is_there().await {
        true => ProcessRef::Tmux { session: tmux::session(id), socket: None },
        false => ProcessRef::Detached,
    };
    let handle = AgentHandle {
        id,
        task_id: new.task_id.unwrap_or_else(|| TaskId::mint(clock.now(), chance.bytes())),
        branch: branch.as_str().to_owned(),
        worktree,
        repository,
        agent: match &new.what {
            What::Agent(spec) => spec.name.clone(),
            What::Command(words) => {
                let named = new.resume.as_ref().map(|resume| resume.name.clone());
                named.or_else(|| words.first().cloned()).unwrap_or_default()
            }
        },
        process,
        mode: Mode::Local,
        has_terminal: spec.terminal,
        timeout_seconds: spec.timeout_seconds(),
        grace_ms: u64::try_from(config.grace.as_millis()).unwrap_or(u64::MAX),
        spawned_at: clock.now(),
        server: new.server.as_ref().map(|server| server.url.clone()),
    };
    let agent = match &new.what {
        What::Agent(spec) => Some(spec),
        What::Command(_) => new.resume.as_ref(),
    };
    let _starting = admit(config, &desk, &handle, agent.and_then(Session::given)).await?;
    let mut start = Start { config, new, spec, base, desk, handle, has_branch: false, launched: None, clock, chance };
    let done = tokio::select! {
        done = start.build(notice) => done,
        () = kit::tasks::termination() => Err(SpawnError::Interrupted),
    };
    match done {
        Ok(()) => Ok(start.handle),
        Err(error) => {
            start.undo().await;
            Err(error)
        }
    }
}

fn check_resume(config: &Config, resume: &AgentSpec) -> Result<(), SpawnError> {
    let as_if_asked = AgentSpec { prompt: "go on".into(), ..resume.clone() };
    as_if_asked.validate().map_err(|error| SpawnError::refused("agent", error.to_string()))?;
    if resume.session.is_none() {
        return Err(SpawnError::refused("session", "a command that is an agent needs it; name it with --session"));
    }
    match config.drivers.can_resume(&resume.name) {
        true => Ok(()),
        false => Err(SpawnError::refused("agent", format!("{} cannot go on with a session", resume.name))),
    }
}

fn worktree_failed(error: ProgramError) -> SpawnError {
    SpawnError::Worktree(error.to_string())
}

/// The main worktree of the repository that is meant, and the commit that new branches begin at.
async fn find_repository(here: &Git, config: &Config) -> Result<(PathBuf, String), SpawnError> {
    let named = config.repository.display();
    // Git would be said to be missing, since it cannot be started there.
    if !config.repository.is_dir() {
        return Err(SpawnError::NoRepository(format!("there is no directory {named}")));
    }
    let listed = here.text(["worktree", "list", "--porcelain"]).await;
    let listed = listed.map_err(|error| {
        SpawnError::NoRepository(format!("{named} is no git repository that can be used ({error})"))
    })?;
    let main = listed.lines().next().and_then(|line| line.strip_prefix("worktree ")).unwrap_or_default();
    let base = here.text(["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]).await;
    let base = base.map_err(|_| SpawnError::NoCommit(main.to_owned()))?;
    Ok((PathBuf::from(main), base))
}

fn spec(config: &Config, new: &NewAgent, repository: &Path) -> TaskSpec {
    let (agent, command) = match &new.what {
        What::Agent(spec) => (Some(spec.clone()), Vec::new()),
        What::Command(words) => (None, words.clone()),
    };
    TaskSpec {
        repository: repository.to_string_lossy().into_owned(),
        terminal: agent.is_none(),
        command,
        agent,
        timeout_seconds: Some(new.timeout.unwrap_or(config.timeout).as_secs()),
        ..TaskSpec::default()
    }
}

/// Takes a place among those that may run at once. What comes back is held until the agent runs.
async fn admit(
    config: &Config,
    desk: &Desk,
    handle: &AgentHandle,
    session: Option<Session>,
) -> Result<File, SpawnError> {
    let process = |error: std::io::Error| {
        let base = config.base.display();
        SpawnError::Process(format!(
            "{base}: {error}; it must be a directory that you may write, see BIFROST_AGENTS_DIR"
        ))
    };
    kit::files::make_private(&config.base).map_err(process)?;
    let _turn = turn(&fleet::lock(&config.base), TURN_WITHIN)
        .await
        .map_err(process)?
        .ok_or(SpawnError::Timeout(TURN_WITHIN))?;
    let running = fleet::list(config).await.map_err(|error| SpawnError::Process(error.to_string()))?;
    let running = running.iter().filter(|agent| agent.status.is_active()).count();
    if running >= config.agents_max {
        return Err(SpawnError::TooMany { running });
    }
    if let Some(session) = &session
        && let Some(by) = fleet::in_session(&config.base, handle.id, session).map_err(process)?
    {
        let (agent, session) = (session.agent.clone(), session.id.clone());
        return Err(SpawnError::SessionInUse { agent, session, by });
    }
    kit::files::make_private(&desk.own()).map_err(process)?;
    let held = kit::lock::take(&desk.starting(), Duration::ZERO).map_err(process)?;
    if let Some(session) = &session {
        desk.write_session(session).map_err(process)?;
    }
    desk.write_handle(handle).map_err(process)?;
    held.ok_or_else(|| SpawnError::Process("the agent's directory is somebody else's".into()))
}

/// An agent that is being started.
struct Start<'a> {
    config: &'a Config,
    new: &'a NewAgent,
    spec: TaskSpec,
    base: String,
    desk: Desk,
    handle: AgentHandle,
    /// Whether the branch was there before.
    has_branch: bool,
    /// What was started, until it is known to run.
    launched: Option<Launched>,
    clock: &'a Clock,
    chance: &'a Chance,
}

impl Start<'_> {
    async fn build(&mut self, notice: &mut dyn FnMut(&str)) -> Result<(), SpawnError> {
        self.add_worktree().await?;
        self.copy_hooks().await.map_err(|error| SpawnError::Worktree(format!("the hooks: {error}")))?;
        let installed = self.install(notice).await?;
        let environment = self.environment(installed);
        self.launch(environment).await
    }

    async fn add_worktree(&mut self) -> Result<(), SpawnError> {
        // Git looks whether a branch is in another worktree, and then makes one: of two at once both would.
        let lock = self.config.base.join(".worktrees");
        let held = turn(&lock, WORKTREE_WITHIN)
            .await
            .map_err(|error| SpawnError::Worktree(format!("{}: {error}", lock.display())))?;
        let _turn = held.ok_or_else(|| SpawnError::Worktree("others are being made for too long; try again".into()))?;
        let git = self.git();
        let branch = &self.handle.branch;
        // Asked before it is made: only what we make is undone.
        self.has_branch = true;
        if !git.has_branch(branch).await.map_err(worktree_failed)? {
            // By itself, so that of two who begin at once one has made it, and the other takes nothing away.
            let create = format!("create refs/heads/{branch} {}\n", self.base);
            git.bytes(["update-ref", "--stdin"], create.as_bytes()).await.map_err(worktree_failed)?;
            self.has_branch = false;
        }
        let path = self.handle.worktree.to_string_lossy().into_owned();
        git.bytes(["worktree", "add", "--quiet", &path, branch], b"").await.map(drop).map_err(worktree_failed)
    }

    fn git(&self) -> Git {
        Git::at(&self.config.git, &self.handle.repository)
    }

    async fn copy_hooks(&self) -> std::io::Result<()> {
        let Some(from) = self.config.hooks.clone() else { return Ok(()) };
        let to = self.handle.worktree.clone();
        let copied = blocking(move || hooks::copy(&from, &to)).await?;
        // What the person's git passes over in every repository stays passed over.
        let named = self.git().text(["config", "--type=path", "--get", "core.excludesFile"]).await.ok();
        let home = self.config.environment.get("HOME").map(|home| Path::new(home).join(".config/git/ignore"));
        let theirs = named.map(PathBuf::from).or(home);
        let theirs = theirs.and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
        fs::write(self.desk.exclude(), format!("{theirs}\n{}", hooks::exclusions(&copied)))
    }

    async fn install(&self, notice: &mut dyn FnMut(&str)) -> Result<local::Installed, SpawnError> {
        let within = Duration::from_secs(self.handle.timeout_seconds);
        let failed = |message: String| SpawnError::Install { message, said: String::new() };
        let kept = &self.config.dependencies;
        kit::files::make_private(kept).map_err(|error| failed(error.to_string()))?;
        // Agents that are started at once install one after the other: the store has one owner at a time.
        let turn = turn(&kept.join("turn"), within).await.map_err(|error| failed(error.to_string()))?;
        let _turn = turn.ok_or_else(|| failed("another agent's installation takes too long".into()))?;
        // A directory of its own, since what is unfinished in it is cleared away.
        let store = kept.join("store");
        let home = self.config.environment.get("HOME").map_or_else(|| self.desk.own(), PathBuf::from);
        let place = local::Place {
            store: &store,
            tree: &self.handle.worktree,
            home: &home,
            temporary: &self.desk.temporary(),
            environment: &self.config.environment,
            within,
        };
        let whose = Whose { task_id: self.handle.task_id, execution_id: self.handle.id };
        let installed = local::install(&place, whose, self.clock, self.chance).await;
        let installed = installed.map_err(|error| {
            let lines: Vec<&str> = error.said.lines().collect();
            let said = lines[lines.len().saturating_sub(SAID_LINES)..].join("\n");
            SpawnError::Install { message: error.message, said }
        })?;
        // A bare name is a package manager that did its work; the rest says what one could not do.
        installed.detail.iter().filter(|line| line.contains(':')).for_each(|line| notice(line));
        Ok(installed)
    }

    fn environment(&self, installed: local::Installed) -> BTreeMap<String, String> {
        let mut all = self.config.environment.clone();
        if let Some(programs) = installed.programs {
            let path = all.get("PATH").cloned().unwrap_or_default();
            all.insert("PATH".into(), format!("{}:{path}", programs.display()));
        }
        all.extend(installed.variables);
        if self.handle.has_terminal {
            all.insert("TERM".into(), "xterm-256color".into());
        }
        let exclude = self.desk.exclude();
        if exclude.exists() {
            all.insert("GIT_CONFIG_COUNT".into(), "1".into());
            all.insert("GIT_CONFIG_KEY_0".into(), "core.excludesFile".into());
            all.insert("GIT_CONFIG_VALUE_0".into(), exclude.to_string_lossy().into_owned());
        }
        let driver = self.spec.agent.as_ref().and_then(|agent| self.config.drivers.get(&agent.name));
        all.extend(driver.map(|driver| self.config.keys.of(driver)).unwrap_or_default());
        all.extend(self.new.environment.0.clone());
        all
    }

    async fn launch(&mut self, environment: BTreeMap<String, String>) -> Result<(), SpawnError> {
        let whose = Whose { task_id: self.handle.task_id, execution_id: self.handle.id };
        let work = local::Work {
            whose,
            spec: &self.spec,
            drivers: &self.config.drivers,
            directory: &self.handle.worktree,
            own: &self.desk.own(),
            environment: &environment,
            grace: self.config.grace,
            before: runner::Taken::default(),
        };
        local::check(&work).map_err(|error| SpawnError::Process(error.to_string()))?;
        let job = Job {
            id: self.handle.id,
            task_id: self.handle.task_id,
            spec: self.spec.clone(),
            worktree: self.handle.worktree.clone(),
            environment: AgentEnvironment(environment),
            drivers: self.config.drivers_file.clone(),
            grace_ms: self.handle.grace_ms,
            registration: self.registration(),
            resume: self.new.resume.clone(),
        };
        let process = |error: std::io::Error| SpawnError::Process(error.to_string());
        let text = serde_json::to_vec(&job).map_err(std::io::Error::from).map_err(process)?;
        kit::files::replace(&self.desk.job(), &text, 0o600).map_err(process)?;
        for path in [self.desk.ready(), self.desk.keys()] {
            nix::unistd::mkfifo(&path, FileMode::S_IRUSR | FileMode::S_IWUSR).map_err(|error| process(error.into()))?;
        }
        // Open for writing as well, so that it has no end before somebody has written.
        let ready = pipe::OpenOptions::new().read_write(true).open_receiver(self.desk.ready()).map_err(process)?;
        let mut words = self.config.inside.clone();
        words.push(OsString::from(self.desk.root()));
        let launched = self.open_terminal(&words).await?;
        let launched = self.launched.insert(launched);
        let waited = tokio::time::timeout(self.config.start_within, launched.until_ready(self.handle.id, ready)).await;
        waited.map_err(|_| SpawnError::Timeout(self.config.start_within))??;
        self.desk.write_handle(&self.handle).map_err(process)
    }

    fn registration(&self) -> Option<Registration> {
        let is_in_tmux = matches!(self.handle.process, ProcessRef::Tmux { .. });
        Some(Registration {
            server: self.new.server.clone()?,
            agent: self.handle.agent.clone(),
            task_id: self.new.task_id,
            rules: self.config.rules,
            tmux: is_in_tmux.then(|| TmuxProgram {
                program: self.config.tmux.clone(),
                environment: self.config.tmux_environment.clone(),
            }),
        })
    }

    async fn open_terminal(&mut self, words: &[OsString]) -> Result<Launched, SpawnError> {
        if let ProcessRef::Tmux { socket, .. } = &mut self.handle.process {
            let tmux = fleet::tmux(self.config, None);
            let opened = tmux.open(self.handle.id, &self.handle.worktree, words).await;
            let opened = opened.map_err(|error| SpawnError::Process(format!("{error}; --no-tmux does without it")))?;
            *socket = Some(opened.clone());
            return Ok(Launched::Tmux(fleet::tmux(self.config, Some(&opened))));
        }
        let mut command = kit::process::session(&words[0]);
        command.args(&words[1..]).kill_on_drop(false).current_dir(&self.handle.worktree);
        command.env_clear().envs(&self.config.tmux_environment).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().map_err(|error| SpawnError::Process(error.to_string()))?;
        Ok(Launched::Child(Box::new(child)))
    }

    /// Takes back whatever was made.
    async fn undo(&mut self) {
        if let Some(Launched::Child(child)) = &mut self.launched
            && let Err(error) = child.kill().await
        {
            tracing::warn!("the terminal of {} cannot be ended: {error}", self.handle.id);
        }
        if let ProcessRef::Tmux { socket, .. } = &self.handle.process
            && let Err(error) = fleet::tmux(self.config, socket.as_deref()).close(self.handle.id).await
        {
            tracing::warn!("the session of {} cannot be closed: {error}", self.handle.id);
        }
        fleet::end_supervisor(&self.desk, self.handle.id, Haste::AtOnce).await;
        let git = self.git();
        let path = self.handle.worktree.to_string_lossy().into_owned();
        // Twice, since one that is being checked out is locked.
        if git.bytes(["worktree", "remove", "--force", "--force", &path], b"").await.is_err() {
            // There was none, or half of one.
            remove(&self.handle.worktree);
            git.bytes(["worktree", "prune"], b"").await.ok();
        }
        let reference = format!("refs/heads/{}", self.handle.branch);
        if !self.has_branch {
            // Only as it was made: nobody has worked on it.
            git.bytes(["update-ref", "-d", &reference, &self.base], b"").await.ok();
        }
        remove(self.desk.root());
    }
}

/// What is not there is removed.
fn remove(directory: &Path) {
    if let Err(error) = local::remove(directory) {
        tracing::warn!("{} cannot be removed: {error}", directory.display());
    }
}

/// What was started, until it says so itself.
enum Launched {
    Tmux(Tmux),
    Child(Box<tokio::process::Child>),
}

impl Launched {
    async fn until_ready(&mut self, id: ExecutionId, mut ready: pipe::Receiver) -> Result<(), SpawnError> {
        let mut beat = tokio::time::interval(BEAT);
        let mut said = Vec::new();
        loop {
            let is_there = tokio::select! {
                read = ready.read_buf(&mut said) => {
                    read.map_err(|error| SpawnError::Process(error.to_string()))?;
                    true
                }
                _ = beat.tick() => self.is_there(id).await,
            };
            // One that has ended already may have said it in the meantime.
            ready.try_read_buf(&mut said).ok();
            match said.strip_suffix(b"\n") {
                Some(b"ok") => return Ok(()),
                Some(complaint) => return Err(SpawnError::Process(String::from_utf8_lossy(complaint).into_owned())),
                None if is_there => (),
                None => return Err(SpawnError::Process("the terminal ended at once".into())),
            }
        }
    }

    async fn is_there(&mut self, id: ExecutionId) -> bool {
        match self {
            Self::Tmux(tmux) => tmux.sessions().await.is_ok_and(|sessions| sessions.contains_key(&id)),
            Self::Child(child) => matches!(child.try_wait(), Ok(None)),
        }
    }
}
