//! An emulator to test, the program that it is deployed as, and a look at the
//! processes of this computer that does not go through its code.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use emulator::{Config, Emulator, EngineAddress, Kind, NETWORK, Script, Settings};
use fly::{
    Init, Machine, MachineConfig, MachineState, Machines, Mount, NewApp, NewMachine, NewVolume, Pace, Restart,
    RestartPolicy, StopConfig, Volume,
};
use kit::{Chance, Clock, Tasks, Vars};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::Child;
use tokio::time::Instant;

/// Nothing here takes long; this is for a computer that is busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const APP: &str = "runners";

/// A data directory. Whatever a failed test has left running is ended with it.
pub(crate) struct Data(TempDir);

impl Data {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        let root = format!("FLY_EMULATOR_ROOT={}/", self.path().canonicalize().expect("there").display());
        for pid in pids().filter(|pid| environment(*pid).iter().any(|variable| variable.starts_with(root.as_bytes()))) {
            kill(Pid::from_raw(pid), Signal::SIGKILL).ok();
        }
    }
}

/// An emulator in this process, with an app.
pub(crate) struct World {
    pub(crate) data: Data,
    pub(crate) tasks: Tasks,
    pub(crate) emulator: Emulator,
    pub(crate) machines: Machines,
}

impl World {
    pub(crate) async fn start() -> Self {
        let world = Self::on(Data::new()).await;
        create_app(&world.machines).await;
        world
    }

    /// The same with another configuration.
    pub(crate) async fn with(options: impl FnOnce(Config) -> Config) -> Self {
        let (data, tasks) = (Data::new(), Tasks::new());
        let config = options(Config::from_vars(data.path().to_owned(), &mut host_vars()));
        let emulator = start_with(config, &tasks).await.expect("starts");
        let machines = client(&emulator.url());
        create_app(&machines).await;
        Self { data, tasks, emulator, machines }
    }

    /// With a fault script in TOML.
    pub(crate) async fn failing(script: &str) -> Self {
        let faults = Script::from_toml(script).expect("a script");
        Self::with(|config| Config { faults, ..config }).await
    }

    /// Sends a held machine on.
    pub(crate) async fn poke(&self, id: &str) -> Value {
        let poked = self.http("POST", &format!("/control/machines/{id}/poke")).send().await.expect("answered");
        poked.json::<Value>().await.expect("JSON")["state"].clone()
    }

    /// An emulator on a directory that may have been another's.
    pub(crate) async fn on(data: Data) -> Self {
        let tasks = Tasks::new();
        let emulator = start_on(data.path(), &tasks).await.expect("starts");
        let machines = client(&emulator.url());
        Self { data, tasks, emulator, machines }
    }

    /// Stops it as a signal would, and gives the directory back.
    pub(crate) async fn stop(self) -> Data {
        self.tasks.stop_within(PATIENCE).await.expect("ends");
        self.data
    }

    /// Creates a machine and waits until it runs.
    pub(crate) async fn run(&self, new: &NewMachine) -> Machine {
        let machine = self.machines.create_machine(APP, new).await.expect("created");
        self.until(&machine.id, MachineState::Started).await;
        machine
    }

    pub(crate) async fn until(&self, id: &str, state: MachineState) {
        self.machines.wait(APP, id, state, None, PATIENCE).await.expect("the state is reached");
    }

    pub(crate) async fn state(&self, id: &str) -> MachineState {
        self.machines.machine(APP, id).await.expect("readable").state
    }

    pub(crate) async fn volume(&self) -> Volume {
        volume(&self.machines).await
    }

    pub(crate) fn root(&self, id: &str) -> PathBuf {
        self.data.path().join("machines").join(id).join("root")
    }

    /// What the machine has printed; nothing before its first start.
    pub(crate) fn log(&self, id: &str) -> String {
        std::fs::read_to_string(self.data.path().join("machines").join(id).join("log")).unwrap_or_default()
    }

    /// Any route, as it is on the wire.
    pub(crate) fn http(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = method.parse().expect("a method");
        kit::http::client(PATIENCE).request(method, format!("{}{path}", self.emulator.url()))
    }
}

pub(crate) async fn start_on(data: &Path, tasks: &Tasks) -> Result<Emulator, emulator::StartError> {
    start_with(Config::from_vars(data.to_owned(), &mut host_vars()), tasks).await
}

pub(crate) async fn start_with(config: Config, tasks: &Tasks) -> Result<Emulator, emulator::StartError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    emulator::start(config, listener, Clock::system(), Chance::system(), tasks).await
}

/// Machines are containers of the engine at this socket.
pub(crate) fn in_containers(engine: &Path) -> Kind {
    let engine = EngineAddress::Socket(engine.to_owned());
    Kind::Container(Settings { engine, network: NETWORK.to_owned(), egress_proxy: None })
}

fn host_vars() -> Vars {
    let host = Vars::from_process();
    let lent = ["PATH", "HOME", "LANG"].into_iter().filter_map(|name| Some((name, host.text(name)?.to_owned())));
    Vars::from_pairs(lent.chain([("NOT_FOR_MACHINES", "secret".to_owned())]))
}

pub(crate) fn client(url: &str) -> Machines {
    Machines::with_pace(url, &"any".parse().expect("a token"), Pace::Unlimited)
}

pub(crate) async fn create_app(machines: &Machines) {
    let app = NewApp { name: APP.to_owned(), org_slug: "personal".to_owned(), network: None };
    machines.create_app(&app).await.expect("created");
}

pub(crate) async fn volume(machines: &Machines) -> Volume {
    let new = NewVolume { name: "cache".to_owned(), ..NewVolume::default() };
    machines.create_volume(APP, &new).await.expect("created")
}

/// A machine that runs a script, stops when told by SIGTERM, and is not restarted.
pub(crate) fn script(name: &str, script: &str) -> NewMachine {
    NewMachine {
        name: name.to_owned(),
        config: MachineConfig {
            image: "example/image:1".to_owned(),
            env: BTreeMap::from([("GIVEN".to_owned(), "yes".to_owned())]),
            init: Init { exec: Some(["sh", "-c", script].map(str::to_owned).to_vec()), ..Init::default() },
            restart: Restart { policy: RestartPolicy::No, ..Restart::default() },
            stop_config: Some(StopConfig { signal: Some("SIGTERM".to_owned()), ..StopConfig::default() }),
            ..MachineConfig::default()
        },
        ..NewMachine::default()
    }
}

/// The same with a volume at `/.sprite`.
pub(crate) fn with_volume(mut new: NewMachine, volume: &Volume) -> NewMachine {
    let mount = Mount { volume: Some(volume.id.clone()), path: "/.sprite".to_owned(), ..Mount::default() };
    new.config.mounts = vec![mount];
    new
}

/// `bifrost-emulator`, as it is deployed.
pub(crate) struct Program {
    child: Child,
    url: String,
    pub(crate) machines: Machines,
}

impl Program {
    pub(crate) async fn start(data: &Path) -> Self {
        Self::start_as(data, &[]).await
    }

    /// Its machines are containers of the engine at this socket.
    pub(crate) async fn in_containers(data: &Path, engine: &Path) -> Self {
        Self::start_as(data, &["--machines", "container", "--engine", &format!("unix://{}", engine.display())]).await
    }

    async fn start_as(data: &Path, arguments: &[&str]) -> Self {
        let mut child = kit::process::command(env!("CARGO_BIN_EXE_bifrost-emulator"))
            .args(["--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .args(arguments)
            .env("BIFROST_LOG", "info")
            .env_remove("FLY_API_TOKEN")
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let url = loop {
            let line = lines.next_line().await.expect("readable").expect("it says where it listens");
            if let Some((_, rest)) = line.split_once("\"address\":\"") {
                break format!("http://{}", rest.split('"').next().expect("an address"));
            }
        };
        Self { child, machines: client(&url), url }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// What has happened to a machine, newest first.
    pub(crate) async fn events(&self, id: &str) -> Vec<Value> {
        let url = format!("{}/v1/apps/{APP}/machines/{id}/events", self.url);
        kit::http::client(PATIENCE).get(url).send().await.expect("answered").json().await.expect("JSON")
    }

    /// Ends it as a power cut would.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.expect("killed");
    }

    /// Ends it as an operator would.
    pub(crate) async fn terminate(mut self) -> std::process::ExitStatus {
        let id = self.child.id().expect("runs");
        kit::process::signal_group(id, kit::process::Sig::SIGTERM).expect("signalled");
        self.child.wait().await.expect("ends")
    }
}

/// The states of all processes that carry the machine's mark, dead ones left out. One that is just replacing itself
/// (`exec`) shows no environment for a moment and is missed: wait for the number that is expected.
pub(crate) fn states(id: &str) -> Vec<(i32, char)> {
    let mark = format!("FLY_MACHINE_ID={id}").into_bytes();
    let is_marked = |pid: &i32| environment(*pid).contains(&mark);
    pids().filter(is_marked).filter_map(|pid| Some((pid, state(pid)?))).filter(|(_, state)| *state != 'Z').collect()
}

/// The processes with exactly these arguments, dead ones left out.
pub(crate) fn running(arguments: &[&str]) -> Vec<(i32, char)> {
    let line: String = arguments.iter().map(|argument| format!("{argument}\0")).collect();
    let runs_it = |pid: &i32| std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|read| read == line.as_bytes());
    pids().filter(runs_it).filter_map(|pid| Some((pid, state(pid)?))).filter(|(_, state)| *state != 'Z').collect()
}

fn environment(pid: i32) -> Vec<Vec<u8>> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect()
}

fn pids() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").expect("readable");
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn state(pid: i32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

pub(crate) fn are_frozen(states: &[(i32, char)]) -> bool {
    !states.is_empty() && states.iter().all(|(_, state)| *state == 'T')
}

/// Waits until it is so.
#[track_caller]
pub(crate) fn until(what: &str, is_so: impl Fn() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let deadline = Instant::now() + PATIENCE;
        let mut beat = tokio::time::interval(Duration::from_millis(5));
        while !is_so() {
            assert!(Instant::now() < deadline, "{what}: never, says {caller}");
            beat.tick().await;
        }
    }
}
