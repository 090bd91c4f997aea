//! The driver `container`: a machine is a container of Docker or podman, hardened
//! as row T-2.3 says, in a network without a way out.
//!
//! It is driven over the engine's HTTP API (row RU-32), so no `docker` program is
//! needed and no value of a machine's environment is in an argument list. That API
//! takes the environment in the request itself: `--env-file` is a file that the
//! `docker` program reads for the same field, and a crash could leave behind (rows
//! T-2.3b, T-2.11d). What the engine and the machine's record know of it, they keep
//! for their owners for as long as the machine exists: docs/emulator.md says so.
//!
//! A container is made at each start and removed at each stop, as a machine's root
//! is. Its labels say whose it is: an emulator that was killed finds its own again
//! and touches no other.

mod address;
mod end;
mod engine;
mod exec;
mod frames;
mod plan;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kit::tasks::blocking;
use kit::{Chance, Tasks};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use wire::worker::env::PROXIES;

pub use address::{BadAddress, EngineAddress};
pub(crate) use plan::{GRACE, Wanted};

use crate::driver::Executed;
use crate::machine::signal_name;
use crate::process::{Exit, open_log};
use engine::{Engine, Failure};
use plan::Rules;

/// The network that machines are in; nothing but the egress proxy leads out of it.
pub const NETWORK: &str = "fleet-egress";
/// Whom containers run as where the emulator itself is root: the user of our images.
const USER: (u32, u32) = (10_001, 10_001);
/// The profile that containers run under.
const SECCOMP: &str = include_str!("container/fleet-seccomp.json");

/// How containers are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where the engine listens.
    pub engine: EngineAddress,
    /// The network they are in.
    pub network: String,
    /// The proxy that their programs are told of.
    pub egress_proxy: Option<String>,
}

/// The engine, and what all containers have in common.
pub(crate) struct Containers {
    engine: Arc<Engine>,
    rules: Rules,
    egress_proxy: Option<String>,
    tasks: Tasks,
    chance: Chance,
}

/// By what a container is found again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trace {
    pub(crate) container: String,
    /// Where its output begins in the machine's log.
    pub(crate) log_from: u64,
    /// By which signal its engine tells it to end; nothing of those that were made before this was noted.
    #[serde(default)]
    pub(crate) stop_signal: Option<String>,
}

/// A machine's container, which runs or has just ended.
pub(crate) struct Container {
    engine: Arc<Engine>,
    trace: Trace,
    exit: watch::Receiver<Option<Exit>>,
    /// Dropped when all of its output is in the log.
    log: watch::Receiver<()>,
    tasks: Tasks,
    /// Dropped with this: what waits for its end then waits no longer.
    held: watch::Sender<()>,
}

/// Why a machine does not run.
#[derive(Debug)]
pub(crate) enum NoBoot {
    /// Its program cannot be started; the exit code that a shell would give.
    Program { code: i32, why: String },
    /// There is no container for it.
    Impossible(String),
}

/// What is left of a container that was traced.
pub(crate) enum Adopted {
    Alive(Container),
    Gone(Exit),
}

impl Containers {
    /// Finds the engine and the network, which is made where it is missing.
    pub(crate) async fn open(settings: &Settings, data: &Path, tasks: Tasks, chance: Chance) -> Result<Self, NoEngine> {
        let at = |failure| NoEngine { engine: settings.engine.to_string(), failure };
        let engine = Engine::connect(&settings.engine).await.map_err(at)?;
        engine.ensure_network(&settings.network).await.map_err(at)?;
        let own = (rustix::process::getuid(), rustix::process::getgid());
        let is_root = own.0.is_root();
        let user = if is_root { USER } else { (own.0.as_raw(), own.1.as_raw()) };
        let seccomp =
            if engine.is_podman { data.join("fleet-seccomp.json").display().to_string() } else { SECCOMP.into() };
        if engine.is_podman {
            // It wants a file where Docker wants the text.
            let written = kit::files::replace(Path::new(&seccomp), SECCOMP.as_bytes(), 0o644);
            written.map_err(|error| at(Failure::Local(error)))?;
        }
        let rules = Rules {
            network: settings.network.clone(),
            user,
            seccomp,
            keeps_ids: engine.is_podman && engine.is_rootless,
            data: data.display().to_string(),
        };
        let egress_proxy = settings.egress_proxy.clone();
        Ok(Self { engine: Arc::new(engine), rules, egress_proxy, tasks, chance })
    }

    /// What every machine's programs are told besides their own environment.
    pub(crate) fn environment(&self) -> BTreeMap<String, String> {
        self.egress_proxy.iter().flat_map(|url| PROXIES.map(|name| (name.to_owned(), url.clone()))).collect()
    }

    /// The machines that this data directory's containers are of.
    pub(crate) async fn machines(&self) -> io::Result<BTreeSet<String>> {
        Ok(self.engine.machines(&self.rules.data).await?)
    }

    /// Makes and starts the machine's container; one that an earlier try left is removed first.
    pub(crate) async fn boot(&self, wanted: &Wanted) -> Result<Container, NoBoot> {
        self.give_volumes(wanted).await.map_err(|error| NoBoot::Impossible(error.to_string()))?;
        let name = plan::name(&wanted.machine_id);
        let impossible = |failure: Failure| NoBoot::Impossible(failure.to_string());
        self.engine.remove(&name).await.map_err(impossible)?;
        let id = self.create(&name, wanted).await.map_err(impossible)?;
        let directory = wanted.directory.clone();
        let log_from = blocking(move || Ok::<_, io::Error>(open_log(&directory)?.metadata()?.len())).await;
        let started = match log_from {
            Ok(log_from) => self.engine.start(&id).await.map(|()| log_from),
            Err(error) => Err(Failure::Local(error)),
        };
        match started {
            Ok(log_from) => {
                let trace = Trace { container: id, log_from, stop_signal: Some(wanted.stop_signal.to_owned()) };
                Ok(self.watch(trace, wanted.directory.clone()))
            }
            Err(failure) => {
                if let Err(failure) = self.engine.remove(&id).await {
                    tracing::warn!(container = id, %failure, "a container that did not start is left over");
                }
                Err(not_started(&failure))
            }
        }
    }

    async fn create(&self, name: &str, wanted: &Wanted) -> Result<String, Failure> {
        let request = plan::create(wanted, &self.rules);
        match self.engine.create(name, &request).await {
            Err(failure) if failure.is_not_found() => {
                self.engine.pull(&wanted.image).await?;
                self.engine.create(name, &request).await
            }
            other => other,
        }
    }

    /// As Fly does, gives each volume to the user that will write on it.
    async fn give_volumes(&self, wanted: &Wanted) -> io::Result<()> {
        if !rustix::process::getuid().is_root() {
            return Ok(());
        }
        let (user, group) = self.rules.user;
        for (_, directory) in &wanted.mounts {
            let directory = directory.clone();
            blocking(move || give(&directory, user, group)).await?;
        }
        Ok(())
    }

    /// Finds a container again that an earlier emulator has started.
    pub(crate) async fn adopt(&self, trace: &Trace, directory: &Path) -> io::Result<Adopted> {
        let Some(state) = self.engine.inspect(&trace.container).await? else {
            return Ok(Adopted::Gone(Exit::default()));
        };
        let container = self.watch(trace.clone(), directory.to_owned());
        if state.is_alive() {
            return Ok(Adopted::Alive(container));
        }
        let exit = state.exit();
        container.bury().await?;
        Ok(Adopted::Gone(exit))
    }

    /// Ends whatever is there of a machine.
    pub(crate) async fn end_remains(&self, machine_id: &str) -> io::Result<()> {
        Ok(self.engine.remove(&plan::name(machine_id)).await?)
    }

    /// Runs a program in a container and gathers what it prints.
    pub(crate) async fn execute(&self, trace: &Trace, command: &[String]) -> Result<Executed, Failure> {
        exec::run(&self.engine, &trace.container, command).await
    }

    fn watch(&self, trace: Trace, directory: PathBuf) -> Container {
        let (exit_seen, exit) = watch::channel(None);
        let (log_open, log) = watch::channel(());
        let (engine, id) = (Arc::clone(&self.engine), trace.container.clone());
        self.tasks.spawn("emulator-container", end::watch(engine, id, exit_seen, self.chance.clone()));
        let engine = Arc::clone(&self.engine);
        self.tasks.spawn("emulator-log", end::keep_log(engine, trace.clone(), directory, log_open));
        let (engine, tasks) = (Arc::clone(&self.engine), self.tasks.clone());
        Container { engine, trace, exit, log, tasks, held: watch::Sender::new(()) }
    }
}

impl Container {
    pub(crate) fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Resolves when it has ended.
    pub(crate) async fn ended(&self) {
        // Its watcher sees the end of every container before it goes.
        drop(self.exit.clone().wait_for(Option::is_some).await);
    }

    /// Sends a signal to its first process.
    pub(crate) async fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(self.engine.kill(&self.trace.container, signal_name(signal)).await?)
    }

    /// Tells it to end; who gives it longer than the grace is killed by the engine (row T-2.4b). Does not wait for that.
    /// Podman knows only the signal that a container was made with, so another one is sent, and its sender counts.
    pub(crate) async fn stop(&self, signal: Signal, grace: Duration) -> io::Result<()> {
        if self.trace.stop_signal.as_deref() != Some(signal_name(signal)) {
            return self.signal(signal).await;
        }
        let (engine, id, mut held) = (Arc::clone(&self.engine), self.trace.container.clone(), self.held.subscribe());
        self.tasks.spawn("emulator-stop", async move {
            let stopped = tokio::select! {
                stopped = engine.stop(&id, grace) => stopped,
                _ = held.changed() => Ok(()),
            };
            if let Err(failure) = stopped {
                tracing::warn!(container = id, %failure, "the engine does not stop a container");
            }
        });
        Ok(())
    }

    /// Stops all its processes.
    pub(crate) async fn freeze(&self) -> io::Result<()> {
        Ok(self.engine.pause(&self.trace.container).await?)
    }

    /// Lets them run.
    pub(crate) async fn thaw(&self) -> io::Result<()> {
        Ok(self.engine.unpause(&self.trace.container).await?)
    }

    /// Ends it, if it runs yet, and removes it when its output is in the log; how it ended.
    pub(crate) async fn bury(&self) -> io::Result<Exit> {
        let seen = *self.exit.borrow();
        let exit = match seen {
            Some(exit) => exit,
            None => {
                let state = self.engine.inspect(&self.trace.container).await?;
                match state {
                    Some(state) if !state.is_alive() => state.exit(),
                    _ => Exit { signal: Some(Signal::KILL.as_raw()), ..Exit::default() },
                }
            }
        };
        if seen.is_some() {
            end::logged(self.log.clone()).await;
        }
        self.engine.remove(&self.trace.container).await?;
        Ok(exit)
    }
}

/// The address that this computer has in the network of containers, which is made if it is missing:
/// there the egress proxy listens.
pub async fn gateway(settings: &Settings) -> Result<String, NoEngine> {
    let found = async {
        let engine = Engine::connect(&settings.engine).await?;
        engine.ensure_network(&settings.network).await?;
        engine.gateway(&settings.network).await
    };
    found.await.map_err(|failure| NoEngine { engine: settings.engine.to_string(), failure })
}

/// Brings the image of machines here, unless it is here: for who would learn of it from a machine's log only.
pub async fn ensure_image(settings: &Settings, image: &str) -> Result<(), NoImage> {
    let found = async { Engine::connect(&settings.engine).await?.ensure_image(image).await };
    found.await.map_err(|failure| NoImage { image: image.to_owned(), engine: settings.engine.to_string(), failure })
}

/// There is no such image, and none can be had.
#[derive(Debug, thiserror::Error)]
#[error("the container engine at {engine} has no image {image}, and cannot pull it: {failure}")]
pub struct NoImage {
    image: String,
    engine: String,
    failure: Failure,
}

/// The engine cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the container engine at {engine} cannot be used: {failure}")]
pub struct NoEngine {
    engine: String,
    failure: Failure,
}

/// A shell's words for it.
fn not_started(failure: &Failure) -> NoBoot {
    let why = failure.to_string();
    let says = |words: &[&str]| words.iter().any(|word| why.contains(word));
    match failure {
        Failure::Refused { .. } if says(&["executable file not found", "no such file or directory"]) => {
            NoBoot::Program { code: 127, why }
        }
        Failure::Refused { .. } if says(&["permission denied"]) => NoBoot::Program { code: 126, why },
        _ => NoBoot::Impossible(why),
    }
}

/// Gives a directory with all that is in it to a user, unless it is that user's already.
fn give(directory: &Path, user: u32, group: u32) -> io::Result<()> {
    let metadata = std::fs::symlink_metadata(directory)?;
    if metadata.uid() == user {
        return Ok(());
    }
    if metadata.is_dir() {
        for entry in std::fs::read_dir(directory)? {
            give(&entry?.path(), user, group)?;
        }
    }
    // Last, so that one that was interrupted begins anew.
    std::os::unix::fs::lchown(directory, Some(user), Some(group))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::SECCOMP;

    /// What looks into other processes or changes the machine must not come back by a careless edit.
    #[test]
    fn the_profile_lets_through_what_it_names_and_nothing_dangerous() {
        let profile: Value = serde_json::from_str(SECCOMP).expect("JSON");
        assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
        let rules = profile["syscalls"].as_array().expect("rules");
        let free = rules.iter().filter(|rule| rule["action"] == "SCMP_ACT_ALLOW" && rule["args"].is_null());
        let free: Vec<&str> =
            free.flat_map(|rule| rule["names"].as_array()).flatten().filter_map(Value::as_str).collect();
        for dangerous in [
            "mount",
            "umount2",
            "pivot_root",
            "unshare",
            "setns",
            "clone",
            "clone3",
            "ptrace",
            "process_vm_readv",
            "process_vm_writev",
            "pidfd_getfd",
            "bpf",
            "perf_event_open",
            "userfaultfd",
            "io_uring_setup",
            "keyctl",
            "add_key",
            "init_module",
            "finit_module",
            "kexec_load",
            "reboot",
            "swapon",
            "open_by_handle_at",
            "settimeofday",
            "clock_settime",
            "syslog",
            "chroot",
            "personality",
        ] {
            assert!(!free.contains(&dangerous), "{dangerous}");
        }
        for needed in ["execve", "openat", "mmap", "futex", "socket", "connect", "landlock_create_ruleset"] {
            assert!(free.contains(&needed), "{needed}");
        }
    }
}
