//! Where a world is: its directory, its addresses, its secret and its settings.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};

use kit::{Chance, Clock};
use tempfile::TempDir;
use tokio::process::Command;
use wire::signature::Key;

use crate::command_line::{bare, program};
use crate::database::Postgres;
use crate::processes::{exists, kill_all_of};
use crate::service::Service;
use crate::sprites::Sprites;
use crate::world::World;

/// Below the range from which the kernel hands out ports to clients.
const PORTS_FROM: u16 = 17_600;
/// What the names of worlds' directories begin with; the id of the process they belong to follows.
const PREFIX: &str = "bifrost-world-";
const PORTS_OF_ONE: u16 = 10;
/// So many processes that follow each other have ports of their own as well as addresses: machines that are containers
/// reach all systems of this computer at one address.
const PROCESSES: u32 = 1_000;

/// Worlds of this process so far.
static WORLDS: AtomicU16 = AtomicU16::new(0);

/// What a world should be like, before there is one.
#[derive(Debug, Default)]
pub struct Plan {
    settings: BTreeMap<String, String>,
    arguments: Vec<String>,
    on_postgres: bool,
    in_one_process: bool,
    on_sprites: bool,
}

impl Plan {
    /// Sets a variable of every program's environment.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl ToString) -> Self {
        self.settings.insert(name.to_owned(), value.to_string());
        self
    }

    /// Gives every program these arguments besides its own.
    #[must_use]
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// Puts the control plane's data into Postgres; without this, into SQLite.
    #[must_use]
    pub fn on_postgres(mut self) -> Self {
        self.on_postgres = true;
        self
    }

    /// Runs everything as `bifrost up`; without this, as three programs.
    #[must_use]
    pub fn in_one_process(mut self) -> Self {
        self.in_one_process = true;
        self
    }

    /// Has sprites for machines, of a fake that starts real runners; as programs.
    #[must_use]
    pub fn on_sprites(mut self) -> Self {
        self.on_sprites = true;
        self
    }

    /// Starts the world and waits until it answers.
    pub async fn start(self) -> World {
        let services: &[Service] = match (self.in_one_process, self.on_sprites) {
            (true, _) => &[Service::System],
            (false, true) => &[Service::EventStore, Service::ControlPlane],
            (false, false) => &[Service::EventStore, Service::Emulator, Service::ControlPlane],
        };
        let mut world = World::on(self.lay_out().await).await;
        for service in services {
            world.run(*service).await;
        }
        world
    }

    async fn lay_out(self) -> Scene {
        let (clock, chance) = (Clock::system(), Chance::system());
        clear_up();
        let prefix = format!("{PREFIX}{}-", std::process::id());
        let directory = tempfile::Builder::new().prefix(&prefix).tempdir().expect("a temporary directory");
        for part in ["data", "home", "logs"] {
            std::fs::create_dir(directory.path().join(part)).expect("the world's directory may be written");
        }
        let postgres = if self.on_postgres { Some(Postgres::create(&chance).await) } else { None };
        let secret = Key::from_bytes(chance.bytes());
        let provider_token = chance.hex::<20>();
        let (base, settings, arguments) = (own_address(), self.settings, self.arguments);
        let sprites = match self.on_sprites {
            true => Some(Sprites::start(directory.path(), &provider_token).await),
            false => None,
        };
        let scene =
            Scene { directory, base, secret, provider_token, settings, arguments, postgres, sprites, clock, chance };
        // `bifrost up` keeps its secrets here; the programs alone are handed them.
        for (file, text) in [("event-secret", &scene.secret.reveal()), ("machines-api-token", &scene.provider_token)] {
            let file = scene.data().join(file);
            kit::files::replace(&file, text.as_bytes(), 0o600).expect("the data directory may be written");
        }
        scene
    }
}

/// A test that was killed could not end its world: ends those whose process is gone.
fn clear_up() {
    let found = std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
    for directory in found.map(|entry| entry.path()).filter(|path| owner(path).is_some_and(|owner| !exists(owner))) {
        kill_all_of(&directory);
        // Another world may be doing the same.
        std::fs::remove_dir_all(&directory).ok();
    }
}

/// The process that a world belongs to.
fn owner(directory: &Path) -> Option<i32> {
    directory.file_name()?.to_str()?.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

/// A loopback address and a first port that no other world of this computer has.
fn own_address() -> SocketAddr {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let process = u16::try_from(std::process::id() % PROCESSES).expect("it is small");
    let world = process + WORLDS.fetch_add(1, Ordering::Relaxed);
    SocketAddr::from((Ipv4Addr::new(127, 64 | high, middle, low), PORTS_FROM + world * PORTS_OF_ONE))
}

/// Where a world is.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) directory: TempDir,
    base: SocketAddr,
    pub(crate) secret: Key,
    /// What callers of the emulator must show.
    pub(crate) provider_token: String,
    settings: BTreeMap<String, String>,
    arguments: Vec<String>,
    pub(crate) postgres: Option<Postgres>,
    pub(crate) sprites: Option<Sprites>,
    pub(crate) clock: Clock,
    pub(crate) chance: Chance,
}

impl Scene {
    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.directory.path().join("logs")
    }

    /// Where a program listens. A system in one process has its other two ports where it likes.
    pub(crate) fn address(&self, service: Service) -> SocketAddr {
        let offset = match service {
            Service::ControlPlane | Service::System => 0,
            Service::EventStore => 1,
            Service::Emulator => 2,
        };
        SocketAddr::new(self.base.ip(), self.base.port() + offset)
    }

    /// Has programs that are started from now on listen at other ports.
    pub(crate) fn move_on(&mut self) {
        self.base.set_port(self.base.port() + PORTS_OF_ONE / 2);
    }

    pub(crate) fn url(&self, service: Service) -> String {
        format!("http://{}", self.address(service))
    }

    /// The call that starts a program.
    pub(crate) fn command(&self, service: Service) -> Command {
        let mut command = bare(program(), &self.home());
        command.args([service.command(), "--json", "--listen", &self.address(service).to_string(), "--data"]);
        command.arg(self.data()).args(&self.arguments).env("BIFROST_LOG", "info");
        if service != Service::System {
            command.env("FLY_EVENT_SECRET", self.secret.reveal()).env("FLY_API_TOKEN", &self.provider_token);
        }
        if service == Service::ControlPlane {
            command.env("BIFROST_EVENTS_URL", self.url(Service::EventStore));
            command.env("BIFROST_PUBLIC_URL", self.url(Service::ControlPlane));
            command.env("BIFROST_FLY_UNPACED", "true").env("BIFROST_ALLOW_LOCAL_REPOSITORIES", "true");
            match &self.sprites {
                Some(sprites) => sprites.choose(&mut command, &self.provider_token),
                None => {
                    let runner = serde_json::json!([program(), "runner"]).to_string();
                    command.env("FLY_FLAPS_BASE_URL", self.url(Service::Emulator));
                    command.env("BIFROST_RUNNER_COMMAND", runner).env("BIFROST_ALLOW_UNPINNED_IMAGE", "true");
                }
            }
        }
        if let Some(postgres) = &self.postgres {
            command.env("DATABASE_URL", postgres.url());
        }
        command.envs(&self.settings);
        command
    }
}
