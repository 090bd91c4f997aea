//! An engine of containers for tests: podman's service, on a socket of its own in a
//! directory that it is given. Its containers are in root's one store, and outlive it:
//! whoever makes some removes them.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::{Instant, MissedTickBehavior};

/// What podman needs to be told inside small virtual machines.
const CONFIGURATION: &str = r#"
[engine]
cgroup_manager = "cgroupfs"
runtime = "runc"
events_logger = "file"
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
"#;
/// The service of a test that was killed ends by itself after so long; no test lives longer.
const IDLE: &str = "--time=300";
/// Far more than it takes, for a computer that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(20);
const BEAT: Duration = Duration::from_millis(10);

/// `podman system service`, for as long as this is there.
#[derive(Debug)]
pub struct Podman {
    directory: PathBuf,
    _service: Child,
}

impl Podman {
    /// Starts it and waits until it listens.
    pub async fn start(directory: &Path) -> io::Result<Self> {
        let directory = directory.to_owned();
        std::fs::write(configuration(&directory), CONFIGURATION)?;
        let mut service = podman(&directory)
            .args(["system", "service", IDLE, &url(&directory)])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let deadline = Instant::now() + PATIENCE;
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while let Err(error) = UnixStream::connect(socket(&directory)) {
            if let Some(status) = service.try_wait()? {
                return Err(io::Error::other(format!("podman's service ended with {status}")));
            }
            if Instant::now() >= deadline {
                return Err(error);
            }
            beat.tick().await;
        }
        Ok(Self { directory, _service: service })
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        socket(&self.directory)
    }

    /// The same as `DOCKER_HOST` has it.
    pub fn url(&self) -> String {
        url(&self.directory)
    }

    /// The file that tells podman what it needs to be told here, for `CONTAINERS_CONF`.
    pub fn configuration(&self) -> PathBuf {
        configuration(&self.directory)
    }

    /// A call of podman, configured as its service is.
    pub fn command(&self) -> Command {
        podman(&self.directory)
    }
}

fn podman(directory: &Path) -> Command {
    let mut command = kit::process::command("podman");
    command.env("CONTAINERS_CONF", configuration(directory));
    command
}

fn configuration(directory: &Path) -> PathBuf {
    directory.join("containers.conf")
}

fn socket(directory: &Path) -> PathBuf {
    directory.join("podman.sock")
}

fn url(directory: &Path) -> String {
    format!("unix://{}", socket(directory).display())
}
