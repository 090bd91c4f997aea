//! What a machine runs as: a process of this computer with all that it starts, or
//! a container. The machine's actor asks; here it is done, where it may block.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fly::MachineConfig;
use kit::tasks::blocking;
use kit::{Chance, Tasks};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use wire::worker::env::MACHINE_ROOT;

use crate::StartError;
use crate::config::Kind;
use crate::container::{self, Container, Containers, NoBoot, Wanted};
use crate::faults::{BadScript, Script};
use crate::layout::Layout;
use crate::process::{self, Exit, Identity, Init, Launch, Listed, Program, Root};
use crate::refusal::Refusal;

/// What machines see where this computer's own is not known.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What a shell answers for a program that is not there, and for one that cannot be run.
const NOT_FOUND: i32 = 127;
const NOT_EXECUTABLE: i32 = 126;
/// Fly's default.
const FLYS_GRACE: Duration = Duration::from_secs(5);
/// What is kept of each stream of a program in a machine; what comes after that is dropped.
const OUTPUT_BYTES: usize = 1024 * 1024;

/// What machines run as.
pub(crate) enum Driver {
    Process {
        /// What machines see of this computer's environment.
        host_env: BTreeMap<String, String>,
        boot_id: String,
    },
    Container(Containers),
}

/// What one machine runs as.
pub(crate) enum Body {
    Process(Init),
    Container(Container),
}

/// What a program in a machine has printed, and how it ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Executed {
    pub(crate) exit_code: Option<i32>,
    pub(crate) exit_signal: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

impl Executed {
    /// Adds to what a stream has brought, as far as there is room.
    pub(crate) fn keep(kept: &mut Vec<u8>, bytes: &[u8]) {
        let room = OUTPUT_BYTES.saturating_sub(kept.len()).min(bytes.len());
        kept.extend_from_slice(&bytes[..room]);
    }
}

/// By what a later emulator finds it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Trace {
    Process(Identity),
    Container(container::Trace),
}

/// What is left of a machine that an earlier emulator has started.
pub(crate) enum Adopted {
    Alive(Box<Body>),
    Gone(Exit),
}

/// All that is needed to start a machine.
pub(crate) struct Start {
    pub(crate) machine_id: String,
    pub(crate) config: MachineConfig,
    /// Whether the configuration says how large the machine is.
    pub(crate) is_sized: bool,
    pub(crate) env: BTreeMap<String, String>,
    /// Whether its clock may be behind later.
    pub(crate) may_lag: bool,
    /// The machine's directory, where its log is.
    pub(crate) directory: PathBuf,
    pub(crate) root: PathBuf,
    /// Where its volumes are seen, and where they are.
    pub(crate) mounts: Vec<(String, PathBuf)>,
    pub(crate) stop_signal: &'static str,
    pub(crate) stop_within: Option<Duration>,
}

impl Driver {
    pub(crate) async fn open(kind: &Kind, layout: &Layout, tasks: Tasks, chance: Chance) -> Result<Self, StartError> {
        match kind {
            Kind::Process { host_env } => {
                let boot_id = process::boot_id().map_err(unreadable)?;
                Ok(Self::Process { host_env: host_env.clone(), boot_id })
            }
            Kind::Container(settings) => {
                let containers = Containers::open(settings, layout.data(), tasks, chance).await;
                Ok(Self::Container(containers.map_err(StartError::Engine)?))
            }
        }
    }

    /// The machines that something is there of, whoever started it.
    pub(crate) async fn machines(&self) -> Result<BTreeSet<String>, StartError> {
        match self {
            Self::Process { .. } => blocking(process::machines_with_processes).await.map_err(unreadable),
            Self::Container(containers) => containers
                .machines()
                .await
                .map_err(|source| StartError::Data { path: "the container engine's list".into(), source }),
        }
    }

    /// Whether those machines are of this data directory alone.
    pub(crate) fn knows_its_own(&self) -> bool {
        matches!(self, Self::Container(_))
    }

    /// How long a machine has to end that does not say it: what Fly gives it, or row T-2.4b its container.
    pub(crate) fn grace(&self) -> Duration {
        match self {
            Self::Process { .. } => FLYS_GRACE,
            Self::Container(_) => container::GRACE,
        }
    }

    /// Refuses what cannot be run.
    pub(crate) fn check(&self, config: &MachineConfig) -> Result<(), Refusal> {
        match self {
            Self::Process { .. } if config.init.command().first().is_none_or(String::is_empty) => {
                let cure = "the process driver needs init.exec: it runs no images, so name the program and its \
                            arguments, or start the emulator with --run";
                Err(Refusal::unprocessable(cure))
            }
            Self::Container(_) if config.image.is_empty() => {
                Err(Refusal::invalid_argument("config.image: a container needs an image"))
            }
            Self::Process { .. } | Self::Container(_) => Ok(()),
        }
    }

    /// Refuses a fault script that asks for what these machines cannot do.
    pub(crate) fn check_script(&self, script: &Script) -> Result<(), BadScript> {
        let why_not = match self {
            _ if !script.lets_clocks_lag() => return Ok(()),
            Self::Container(_) => "a container has this computer's clock; leave it out, or let machines be processes",
            Self::Process { .. } if !process::clock::can_lag() => {
                "clocks can be behind on Linux on x86_64 and aarch64 only; leave it out"
            }
            Self::Process { .. } => return Ok(()),
        };
        Err(BadScript(format!("machine[].effect.clock_lag: {why_not}")))
    }

    /// What a machine sees besides what it is given.
    pub(crate) fn environment(&self, root: &Path) -> BTreeMap<String, String> {
        match self {
            Self::Process { host_env, .. } => {
                let mut env = BTreeMap::from([("PATH".to_owned(), PATH.to_owned())]);
                env.extend(host_env.clone());
                env.insert(MACHINE_ROOT.to_owned(), root.display().to_string());
                env
            }
            Self::Container(containers) => containers.environment(),
        }
    }

    pub(crate) async fn boot(&self, start: Start) -> Result<Body, NoBoot> {
        match self {
            Self::Process { boot_id, .. } => {
                let program = start.config.init.command().first().cloned().unwrap_or_default();
                let launch = start.launch(boot_id);
                let spawned = blocking(move || process::spawn(&launch)).await;
                spawned.map(Body::Process).map_err(|error| {
                    let is_missing = error.kind() == io::ErrorKind::NotFound;
                    let code = if is_missing { NOT_FOUND } else { NOT_EXECUTABLE };
                    NoBoot::Program { code, why: format!("{program}: {error}") }
                })
            }
            Self::Container(containers) => containers.boot(&start.wanted()).await.map(Body::Container),
        }
    }

    pub(crate) async fn adopt(&self, trace: &Trace, directory: &Path) -> io::Result<Adopted> {
        match (self, trace) {
            (Self::Process { boot_id, .. }, Trace::Process(identity)) => {
                let adopted = Init::adopt(identity, boot_id)?.map(Body::Process);
                Ok(adopted.map_or(Adopted::Gone(Exit::default()), |body| Adopted::Alive(Box::new(body))))
            }
            (Self::Container(containers), Trace::Container(trace)) => {
                Ok(match containers.adopt(trace, directory).await? {
                    container::Adopted::Alive(container) => Adopted::Alive(Box::new(Body::Container(container))),
                    container::Adopted::Gone(exit) => Adopted::Gone(exit),
                })
            }
            // The directory was another driver's, whose machines are not here.
            (Self::Process { .. }, Trace::Container(_)) | (Self::Container(_), Trace::Process(_)) => {
                Ok(Adopted::Gone(Exit::default()))
            }
        }
    }

    /// Runs a program in a started machine, and gathers what it prints.
    pub(crate) async fn execute(&self, trace: &Trace, program: Program) -> Result<Executed, Refusal> {
        let impossible = |why: String| Refusal::failed_precondition(format!("unable to exec: {why}"));
        match (self, trace) {
            (Self::Container(_), _) if !program.stdin.is_empty() => {
                Err(Refusal::unprocessable("stdin: a program in a container is given nothing to read"))
            }
            (Self::Container(containers), Trace::Container(trace)) => {
                let executed = containers.execute(trace, &program.command).await;
                executed.map_err(|failure| impossible(failure.to_string()))
            }
            (Self::Process { .. }, Trace::Process(_)) => {
                let name = program.command.first().cloned().unwrap_or_default();
                process::execute(&program).await.map_err(|error| impossible(format!("{name}: {error}")))
            }
            (Self::Process { .. }, Trace::Container(_)) | (Self::Container(_), Trace::Process(_)) => {
                Err(Refusal::not_found("machine"))
            }
        }
    }

    /// What runs in a started machine.
    pub(crate) async fn processes(&self, machine_id: &str, trace: &Trace) -> Result<Vec<Listed>, Refusal> {
        let Trace::Process(identity) = trace else {
            return Err(Refusal::unprocessable("a container's processes are its engine's to show"));
        };
        let root = identity.root(machine_id);
        let listed = blocking(move || process::list(&root)).await;
        listed.map_err(|error| Refusal::internal("look at the machine's processes", &error))
    }

    /// Ends whatever is there of a machine.
    pub(crate) async fn end_remains(&self, machine_id: &str) -> io::Result<()> {
        match self {
            Self::Process { .. } => {
                let root = Root::marked(machine_id);
                blocking(move || process::kill(&root)).await
            }
            Self::Container(containers) => containers.end_remains(machine_id).await,
        }
    }
}

fn unreadable(source: io::Error) -> StartError {
    StartError::Data { path: "/proc".into(), source }
}

impl Start {
    fn launch(self, boot_id: &str) -> Launch {
        let mounts = self.mounts.iter();
        let mounts = mounts.filter_map(|(path, at)| Some((process::place(&self.root, path)?, at.clone())));
        Launch {
            command: self.config.init.command(),
            mounts: mounts.collect(),
            env: self.env,
            may_lag: self.may_lag,
            directory: self.directory,
            root: self.root,
            boot_id: boot_id.to_owned(),
        }
    }

    fn wanted(self) -> Wanted {
        Wanted {
            machine_id: self.machine_id,
            image: self.config.image,
            init: self.config.init,
            env: self.env,
            metadata: self.config.metadata,
            guest: self.is_sized.then_some(self.config.guest),
            mounts: self.mounts,
            stop_signal: self.stop_signal,
            stop_within: self.stop_within,
            directory: self.directory,
        }
    }
}

impl Body {
    pub(crate) fn trace(&self) -> Trace {
        match self {
            Self::Process(init) => Trace::Process(init.identity().clone()),
            Self::Container(container) => Trace::Container(container.trace().clone()),
        }
    }

    /// Resolves when it has ended.
    pub(crate) async fn ended(&self) {
        match self {
            Self::Process(init) => init.ended().await,
            Self::Container(container) => container.ended().await,
        }
    }

    /// Sends a signal to its first process.
    pub(crate) async fn signal(&self, signal: Signal) -> io::Result<()> {
        match self {
            Self::Process(init) => init.signal(signal),
            Self::Container(container) => container.signal(signal).await,
        }
    }

    /// Tells it to end within the grace. Who calls this ends it after that; a container's engine does so too.
    pub(crate) async fn stop(&self, signal: Signal, grace: Duration) -> io::Result<()> {
        match self {
            Self::Process(init) => init.signal(signal),
            Self::Container(container) => container.stop(signal, grace).await,
        }
    }

    /// Stops all its processes, or none.
    pub(crate) async fn freeze(&self, machine_id: &str) -> io::Result<()> {
        match self {
            Self::Process(init) => {
                let root = init.root(machine_id)?;
                blocking(move || process::freeze(&root)).await
            }
            Self::Container(container) => container.freeze().await,
        }
    }

    /// Lets them run.
    pub(crate) async fn thaw(&self, machine_id: &str) -> io::Result<()> {
        match self {
            Self::Process(init) => {
                let root = init.root(machine_id)?;
                blocking(move || process::thaw(&root)).await
            }
            Self::Container(container) => container.thaw().await,
        }
    }

    /// Ends all its processes; how the first one has ended. Comes back when they could not be ended.
    pub(crate) async fn bury(self, machine_id: &str) -> Result<Exit, (Self, io::Error)> {
        match self {
            Self::Process(init) => {
                let killed = match init.root(machine_id) {
                    // Before it is reaped: until then its id, and so its session's, is its own.
                    Ok(root) => blocking(move || process::kill(&root)).await,
                    Err(error) => Err(error),
                };
                match killed {
                    Ok(()) => Ok(init.reap().await),
                    Err(error) => Err((Self::Process(init), error)),
                }
            }
            Self::Container(container) => match container.bury().await {
                Ok(exit) => Ok(exit),
                Err(error) => Err((Self::Container(container), error)),
            },
        }
    }
}
