//! NATS servers with JetStream, of the test's own. They end with it.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Stdio;

use kit::Vars;
use kit::process::command;
use tempfile::TempDir;
use tokio::process::Child;

use super::world::until;
use crate::engine::EngineConfig;
use crate::replica::StreamConfig;

/// What the store asks of a server's configuration.
const JETSTREAM: &str =
    "max_payload: 9MB\njetstream { max_memory_store: 64MB, max_file_store: 1GB, store_dir: \"data\" }\n";

/// One server, and what it keeps while it is not running.
pub(super) struct Server {
    directory: TempDir,
    port: u16,
    process: Option<Child>,
}

impl Server {
    /// A server alone, on a free port.
    pub(super) async fn start() -> Self {
        Self::start_as("").await
    }

    /// With more lines of configuration.
    pub(super) async fn start_as(settings: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let process = run(directory.path(), "-1", &format!("{JETSTREAM}{settings}"));
        let ports = directory.path().join(format!("nats-server_{}.ports", process.id().expect("runs")));
        let look = async || client_port(&std::fs::read_to_string(&ports).ok()?);
        let port = until("nats-server says where it listens", look).await;
        let server = Self { directory, port, process: Some(process) };
        server.answers().await;
        server
    }

    /// Three that keep everything together, once they have found each other.
    pub(super) async fn cluster() -> [Self; 3] {
        let ports: [[u16; 2]; 3] = std::array::from_fn(|_| [free_port(), free_port()]);
        let routes = ports.iter().fold(String::new(), |mut text, [_, route]| {
            write!(text, "\"nats://127.0.0.1:{route}\", ").unwrap();
            text
        });
        let servers = [0, 1, 2].map(|number| {
            let directory = TempDir::new().unwrap();
            let [port, route] = ports[number];
            let settings = format!(
                "{JETSTREAM}server_name: node-{number}\n\
                 cluster {{ name: test, listen: \"127.0.0.1:{route}\", routes: [{routes}] }}\n"
            );
            let process = run(directory.path(), &port.to_string(), &settings);
            Self { directory, port, process: Some(process) }
        });
        for server in &servers {
            server.answers().await;
        }
        servers
    }

    /// Ends it as a power cut would, but for what the kernel has taken over.
    pub(super) async fn kill(&mut self) {
        self.process.take().expect("runs").kill().await.expect("is killed");
    }

    /// The same server again.
    pub(super) async fn restart(&mut self) {
        let configuration = std::fs::read_to_string(self.directory.path().join("nats.conf")).unwrap();
        let settings = configuration.split_once('\n').expect("a port and the rest").1;
        self.process = Some(run(self.directory.path(), &self.port.to_string(), settings));
        self.answers().await;
    }

    pub(super) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// A stream of its own on this server.
    pub(super) fn engine(&self) -> EngineConfig {
        engine(&[self.url()], None, &mut Vars::default())
    }

    async fn answers(&self) {
        let connect = async || tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.ok();
        until("nats-server answers", connect).await;
    }
}

/// The stream on these servers.
pub(super) fn engine(servers: &[String], replicas: Option<u8>, vars: &mut Vars) -> EngineConfig {
    EngineConfig::Jetstream(StreamConfig::new(servers, "test-events".into(), replicas, vars))
}

fn run(directory: &Path, port: &str, settings: &str) -> Child {
    std::fs::write(directory.join("nats.conf"), format!("listen: \"127.0.0.1:{port}\"\n{settings}")).unwrap();
    let mut command = command("nats-server");
    command.args(["--config", "nats.conf", "--ports_file_dir", ".", "--log", "nats.log"]).current_dir(directory);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("nats-server is installed (Debian: apt-get install nats-server)")
}

fn client_port(ports: &str) -> Option<u16> {
    let ports: serde_json::Value = serde_json::from_str(ports).ok()?;
    ports["nats"][0].as_str()?.rsplit(':').next()?.parse().ok()
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
