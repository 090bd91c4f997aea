//! A repository with a remote, and a place for agents with a tmux server of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kit::{Chance, Clock, Vars};
use spawner::{
    Agent, AgentEnvironment, AgentHandle, Config, EndRecord, FleetError, Haste, NewAgent, SpawnError, Status, What,
};
use tokio::time::{Instant, MissedTickBehavior};
use wire::agent::AgentSpec;

/// Far more than anything here takes, for a computer that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);
const BEAT: Duration = Duration::from_millis(20);

pub(crate) struct Scene {
    pub(crate) config: Config,
    pub(crate) repository: PathBuf,
    pub(crate) clock: Clock,
    directory: tempfile::TempDir,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().canonicalize().expect("is there");
        let (remote, repository, home) = (root.join("remote"), root.join("app"), root.join("home"));
        fs::create_dir(&home).expect("makes");
        git(&root, &["init", "--quiet", "--bare", "--initial-branch=main", "remote"]).await;
        git(&root, &["clone", "--quiet", &remote.to_string_lossy(), "app"]).await;
        fs::write(repository.join("README"), "first\n").expect("writes");
        git(&repository, &["checkout", "--quiet", "-b", "main"]).await;
        git(&repository, &["add", "--all"]).await;
        git(&repository, &["commit", "--quiet", "--message=first"]).await;
        git(&repository, &["push", "--quiet", "--set-upstream", "origin", "main"]).await;
        let path = Vars::from_process().text("PATH").expect("a PATH").to_owned();
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let mut vars = Vars::from_pairs([
            ("HOME", text(&home)),
            ("PATH", path),
            ("TERM", "xterm-256color".into()),
            ("SHELL", "/bin/sh".into()),
            ("BIFROST_AGENTS_DIR", text(&root.join("agents"))),
            ("BIFROST_AGENTS_REPO", text(&repository)),
            ("BIFROST_AGENTS_TMUX_SOCKET", text(&root.join("tmux"))),
        ]);
        let inside = vec![env!("CARGO_BIN_EXE_bifrost-inside").into(), "inside".into()];
        let config = Config::from_vars(&mut vars, inside).expect("reads");
        vars.finish().expect("is well");
        Self { config, repository, clock: Clock::system(), directory }
    }

    pub(crate) fn root(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) async fn start(&self, new: &NewAgent) -> Result<AgentHandle, SpawnError> {
        spawner::start(&self.config, new, &self.clock, &Chance::system(), &mut |_| ()).await
    }

    pub(crate) async fn kill(&self, handle: &AgentHandle) -> Result<Agent, FleetError> {
        spawner::kill(&self.config, handle.id, Haste::Graceful, &self.clock).await
    }

    /// Waits until it has ended, and gives how.
    pub(crate) async fn ended(&self, handle: &AgentHandle) -> EndRecord {
        until("the agent has ended", async || spawner::find(&self.config, handle.id).await.expect("is known").end).await
    }

    /// Waits until a line of this text was shown.
    pub(crate) async fn shown(&self, handle: &AgentHandle, text: &str) -> Vec<String> {
        until(text, async || {
            let lines = spawner::logs(&self.config, handle.id, 200).await.expect("reads");
            lines.iter().any(|line| line.contains(text)).then_some(lines)
        })
        .await
    }

    pub(crate) async fn status(&self, handle: &AgentHandle) -> Status {
        spawner::find(&self.config, handle.id).await.expect("is known").status
    }

    /// A program in front of the real one, which notes its arguments, and what the script says.
    pub(crate) fn wrap(&self, name: &str, script: &str) -> PathBuf {
        let path = self.root().join(format!("wrapped-{name}"));
        let calls = self.calls(name);
        let text = format!(
            "#!/bin/sh\nprintf '[%s]' \"$@\" >> '{}'\necho >> '{0}'\n{script}\nexec {name} \"$@\"\n",
            calls.display()
        );
        fs::write(&path, text).expect("writes");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("sets");
        path
    }

    fn calls(&self, name: &str) -> PathBuf {
        self.root().join(format!("calls-{name}"))
    }

    /// The arguments of every call.
    pub(crate) fn called(&self, name: &str) -> String {
        fs::read_to_string(self.calls(name)).unwrap_or_default()
    }

    /// Nothing is left of what was started: no directory, no worktree, no branch.
    pub(crate) async fn assert_nothing_left(&self, branch: &str) {
        let left: Vec<_> =
            fs::read_dir(&self.config.base).into_iter().flatten().flatten().map(|entry| entry.file_name()).collect();
        assert!(left.iter().all(|name| name.to_string_lossy().starts_with('.')), "{left:?}");
        let worktrees = git(&self.repository, &["worktree", "list", "--porcelain"]).await;
        assert_eq!(worktrees.matches("worktree ").count(), 1, "{worktrees}");
        assert_eq!(git(&self.repository, &["branch", "--list", branch]).await, "");
        let mut sessions = kit::process::command("tmux");
        let sessions = sessions.arg("-S").arg(self.root().join("tmux")).arg("list-sessions").output().await;
        // Where there is no tmux there is no session.
        assert!(!sessions.is_ok_and(|output| !output.stdout.is_empty()), "a session is left");
    }

    pub(crate) async fn commit(&self, directory: &Path, name: &str, text: &str) {
        fs::write(directory.join(name), text).expect("writes");
        git(directory, &["add", "--all"]).await;
        git(directory, &["commit", "--quiet", &format!("--message={name}")]).await;
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // The server is this scene's own, and ends with it.
        let mut command = kit::process::command("tmux");
        command.arg("-S").arg(self.directory.path().join("tmux")).arg("kill-server").kill_on_drop(false);
        command.stderr(std::process::Stdio::null());
        drop(command.as_std_mut().status());
        // So do terminals in the background that a test which fails has left.
        for agent in fs::read_dir(&self.config.base).into_iter().flatten().flatten() {
            let own = agent.path().join(".agent");
            let leader = fs::read_to_string(own.join("supervisor")).ok().and_then(|text| text.parse().ok());
            if let (Some(leader), Ok(true)) = (leader, kit::lock::is_held(&own.join("alive"))) {
                drop(kit::process::signal_group(leader, kit::process::Sig::SIGTERM));
            }
        }
    }
}

/// A command with a terminal.
pub(crate) fn command(branch: &str, words: &[&str]) -> NewAgent {
    new(branch, What::Command(words.iter().map(ToString::to_string).collect()))
}

/// The mock agent, which does what its prompt says.
pub(crate) fn mock(branch: &str, prompt: &str) -> NewAgent {
    let spec = AgentSpec { name: "mock".into(), prompt: prompt.into(), model: None, session: None };
    new(branch, What::Agent(spec))
}

fn new(branch: &str, what: What) -> NewAgent {
    NewAgent {
        branch: branch.into(),
        what,
        environment: AgentEnvironment::default(),
        timeout: None,
        may_use_tmux: true,
        task_id: None,
        resume: None,
        server: None,
    }
}

/// The same without tmux.
pub(crate) fn alone(new: NewAgent) -> NewAgent {
    NewAgent { may_use_tmux: false, ..new }
}

/// Looks again and again until there is something to see; panics when there is nothing for too long.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < deadline, "not within {} s: {what}", PATIENCE.as_secs());
        beat.tick().await;
    }
}

/// Runs git as a person would, and gives what it says.
pub(crate) async fn git(directory: &Path, arguments: &[&str]) -> String {
    let mut command = kit::process::command("git");
    command.args(["-c", "user.name=A Person", "-c", "user.email=person@example.org"]).args(arguments);
    let output = command.current_dir(directory).output().await.expect("git runs");
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
