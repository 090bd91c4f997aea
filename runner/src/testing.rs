//! What tests share: a runner's room in a temporary directory, and real remotes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use client::sender::Flushed;
use kit::{Chance, Clock};
use tokio::sync::mpsc;
use wire::event::{Event, LogPayload, Stream, kind};
use wire::id::{ExecutionId, MachineId, TaskId};
use wire::task::TaskSpec;
use wire::worker::{Completion, Lease};

use crate::config::{Config, Limits};
use crate::execution;
use crate::orders::Orders;
use crate::record::{Entry, Subject};
use crate::room::{Opened, Room};

pub(crate) mod faulty;

/// Long enough for a busy machine; reached only by a test that fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A runner's room, and what it tells.
pub(crate) struct Scene {
    pub(crate) room: Arc<Room>,
    pub(crate) entries: mpsc::Receiver<Entry>,
    pub(crate) directory: tempfile::TempDir,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        Self::with(|_| ()).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::in_directory(tempfile::tempdir().expect("a directory"), change).await
    }

    pub(crate) async fn in_directory(directory: tempfile::TempDir, change: impl FnOnce(&mut Config)) -> Self {
        crate::isolation::close_this_process();
        crate::leftovers::adopt_orphans();
        let mut config = config(directory.path());
        change(&mut config);
        crate::isolation::rights::take(config.isolation).expect("takes them");
        let Opened { room, entries } = Room::open(&config, Clock::system(), Chance::system()).await.expect("opens");
        Self { room, entries, directory }
    }

    /// The same volume after the runner was killed and started again.
    pub(crate) async fn reopened(self) -> Self {
        let Self { room, entries, directory } = self;
        // What was under way in the background ends with the process, too.
        room.background.stop(PATIENCE).await.expect("ends");
        drop((room, entries));
        let config = config(directory.path());
        let Opened { room, entries } = Room::open(&config, Clock::system(), Chance::system()).await.expect("opens");
        Self { room, entries, directory }
    }

    pub(crate) fn lease(&self, remote: &Remote, reference: Option<&str>, command: &[&str]) -> Lease {
        let now = self.room.clock.now();
        Lease {
            execution_id: ExecutionId::mint(now, self.room.chance.bytes()),
            task_id: TaskId::mint(now, self.room.chance.bytes()),
            fence: 1,
            spec: TaskSpec {
                repository: remote.url(),
                reference: reference.map(Into::into),
                command: command.iter().map(ToString::to_string).collect(),
                ..TaskSpec::default()
            },
            grant: None,
            egress_pass: None,
        }
    }

    /// Carries a lease out and gives what was told meanwhile.
    pub(crate) async fn carry_out(&mut self, lease: &Lease, orders: Orders) -> (Option<Completion>, Vec<Event>) {
        let room = self.room.clone();
        self.collect(execution::carry_out(&room, lease, orders)).await
    }

    /// Runs a shell script on a repository's default branch.
    pub(crate) async fn run(&mut self, remote: &Remote, script: &str) -> (Completion, Vec<Event>) {
        let lease = self.lease(remote, None, &["sh", "-c", script]);
        let (completion, events) = self.carry_out(&lease, Orders::none()).await;
        (completion.expect("the lease was not lost"), events)
    }

    /// Does the work and gives what was told meanwhile.
    pub(crate) async fn collect<T>(&mut self, work: impl Future<Output = T>) -> (T, Vec<Event>) {
        self.watch(work, |_| ()).await
    }

    /// As [`Scene::collect`], showing what was told so far after each event.
    pub(crate) async fn watch<T>(
        &mut self,
        work: impl Future<Output = T>,
        mut look: impl FnMut(&[Event]),
    ) -> (T, Vec<Event>) {
        let mut events = Vec::new();
        tokio::pin!(work);
        let done = loop {
            tokio::select! {
                done = &mut work => break done,
                Some(entry) = self.entries.recv() => {
                    events.extend(event(entry));
                    look(&events);
                }
                () = tokio::time::sleep(PATIENCE) => panic!("nothing happens any more; told so far: {events:#?}"),
            }
        };
        while let Ok(entry) = self.entries.try_recv() {
            events.extend(event(entry));
        }
        (done, events)
    }
}

fn event(entry: Entry) -> Option<Event> {
    match entry {
        Entry::Event(event) => Some(event),
        Entry::Flush { flushed, .. } => {
            flushed.send(Flushed::Delivered).ok();
            None
        }
    }
}

pub(crate) fn config(directory: &Path) -> Config {
    let path = kit::Vars::from_process().text("PATH").expect("a PATH").to_owned();
    Config {
        control_url: "http://127.0.0.1:9".into(),
        machine_id: MachineId::mint(Clock::system().now(), Chance::system().bytes()),
        machine_token: "the-machine-token".into(),
        sprite_dir: directory.join("sprite"),
        tool_environment: [("PATH".to_owned(), path), ("LANG".to_owned(), "C.UTF-8".to_owned())].into(),
        credentials: None,
        drivers: crate::agent::driver::Drivers::built_in(),
        keys: crate::agent::keys::Keys::default(),
        // Tests of commands look at their processes by number.
        isolation: crate::isolation::Demand::Off,
        hidden: Vec::new(),
        is_emulated: false,
        hold: None,
        limits: Limits {
            grace: Duration::from_millis(500),
            agent_exit: Duration::from_secs(2),
            // A test is not about how full this machine's disk is; a part of a small volume is less.
            reserve_bytes: 64 << 20,
            ..Limits::default()
        },
    }
}

pub(crate) fn subject() -> Subject {
    let (now, chance) = (Clock::system().now(), Chance::system());
    Subject { task_id: TaskId::mint(now, chance.bytes()), execution_id: ExecutionId::mint(now, chance.bytes()) }
}

/// What a stream of the command said, put together again.
pub(crate) fn output(events: &[Event], wanted: Stream) -> String {
    let bytes: Vec<u8> =
        logs(events).into_iter().filter(|log| log.stream == wanted).flat_map(|log| log.data.to_bytes()).collect();
    String::from_utf8(bytes).expect("text")
}

pub(crate) fn logs(events: &[Event]) -> Vec<LogPayload> {
    let logs = events.iter().filter(|event| event.kind == kind::EXECUTION_LOG);
    logs.map(|event| serde_json::from_str(event.payload.get()).expect("a log payload")).collect()
}

pub(crate) fn kinds(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.kind.as_str()).collect()
}

/// A file system in memory of a few megabytes. A test that needs one has `small_volume` in its name.
pub(crate) struct SmallVolume(tempfile::TempDir);

impl SmallVolume {
    pub(crate) fn mount(megabytes: usize) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let size = format!("size={megabytes}m");
        let mut mount = kit::process::command("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(directory.path());
        let mounted = mount.as_std_mut().status().expect("starts");
        assert!(mounted.success(), "only root can mount a small file system");
        Self(directory)
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().join("sprite")
    }

    pub(crate) fn directory(&self) -> tempfile::TempDir {
        tempfile::tempdir_in(self.0.path()).expect("a directory")
    }
}

impl Drop for SmallVolume {
    fn drop(&mut self) {
        let mut unmount = kit::process::command("umount");
        // What is still open in it goes with the process.
        drop(unmount.arg("--lazy").arg(self.0.path()).as_std_mut().status());
    }
}

/// A repository that somebody else has.
pub(crate) struct Remote {
    directory: tempfile::TempDir,
}

impl Remote {
    /// One commit with the given files on `main`.
    pub(crate) async fn with(files: &[(&str, &str)]) -> Self {
        Self::in_directory(tempfile::tempdir().expect("a directory"), files).await
    }

    pub(crate) async fn in_directory(directory: tempfile::TempDir, files: &[(&str, &str)]) -> Self {
        let remote = Self { directory };
        remote.git(&["init", "--quiet", "--initial-branch=main"]).await;
        remote.commit(files).await;
        remote
    }

    pub(crate) async fn new() -> Self {
        Self::with(&[("README", "hello\n"), ("src/lib.txt", "one\ntwo\n"), (".gitignore", "ignored\n")]).await
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn url(&self) -> String {
        format!("file://{}", self.path().display())
    }

    /// Commits the files and gives the commit's id.
    pub(crate) async fn commit(&self, files: &[(&str, &str)]) -> String {
        for (name, text) in files {
            let path = self.path().join(name);
            fs::create_dir_all(path.parent().expect("has one")).expect("makes");
            fs::write(path, text).expect("writes");
        }
        self.git(&["add", "--all"]).await;
        self.git(&["commit", "--quiet", "--allow-empty", "--message=work"]).await;
        self.git(&["rev-parse", "HEAD"]).await
    }

    pub(crate) async fn git(&self, arguments: &[&str]) -> String {
        git(self.path(), arguments).await
    }
}

/// Runs git as a person would, and gives what it says.
pub(crate) async fn git(directory: &Path, arguments: &[&str]) -> String {
    let mut command = kit::process::command("git");
    command.args([
        "-c",
        "user.name=A Person",
        "-c",
        "user.email=person@example.org",
        "-c",
        "protocol.file.allow=always",
    ]);
    command
        .args(arguments)
        .current_dir(directory)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1");
    let output = command.output().await.expect("git runs");
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Everything below a directory, by relative path.
pub(crate) fn names_below(directory: &Path) -> Vec<PathBuf> {
    fn walk(root: &Path, at: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(at).into_iter().flatten().flatten() {
            let path = entry.path();
            found.push(path.strip_prefix(root).expect("below").to_owned());
            if path.is_dir() && !path.is_symlink() {
                walk(root, &path, found);
            }
        }
    }
    let mut found = Vec::new();
    walk(directory, directory, &mut found);
    found.sort();
    found
}

/// Waits for a level; whoever calls sets the deadline.
pub(crate) async fn until(level: impl AsyncFn() -> bool) {
    while !level().await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether a process with exactly this command line is alive.
pub(crate) fn is_running(command_line: &str) -> bool {
    let wanted = command_line.replace(' ', "\0");
    let entries = fs::read_dir("/proc").expect("lists").flatten();
    entries
        .filter_map(|entry| fs::read_to_string(entry.path().join("cmdline")).ok())
        .any(|line| line.trim_end_matches('\0') == wanted)
}
