//! A server that is measured: a child process that listens on a port of loopback
//! and ends with this program.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use kit::process::{Sig, signal_group};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// The longest a start or a stop may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at whether it listens.
const BEAT: Duration = Duration::from_millis(1);
/// Of a log that ends a failure.
const LOG_LINES: usize = 10;

/// A process that listens, or soon will.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) process_id: u32,
    pub(crate) started: Instant,
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts the command, which has been told to listen on the address. What it says goes to
    /// a file in the directory.
    pub(crate) fn start(command: &mut Command, address: SocketAddr, directory: &Path) -> anyhow::Result<Self> {
        let log = directory.join("log");
        let output = File::create(&log)?;
        command.stdout(output.try_clone()?).stderr(output);
        let program = command.as_std().get_program().to_owned();
        let started = Instant::now();
        let child = command.spawn().with_context(|| format!("{} cannot be started", program.display()))?;
        let process_id = child.id().context("it has just been started")?;
        Ok(Self { address, process_id, started, child, log })
    }

    /// Waits until it accepts connections.
    pub(crate) async fn listens(&mut self) -> anyhow::Result<()> {
        while TcpStream::connect(self.address).await.is_err() {
            self.still_starts()?;
            tokio::time::sleep(BEAT).await;
        }
        Ok(())
    }

    /// Whether there is still hope that it will be ready.
    pub(crate) fn still_starts(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the server ended ({status}); its log ends with:\n{}", self.end_of_log());
        }
        if self.started.elapsed() > PATIENCE {
            bail!("the server was not ready within {PATIENCE:?}; its log ends with:\n{}", self.end_of_log());
        }
        Ok(())
    }

    /// Asks it to end and waits for that.
    pub(crate) async fn stop(mut self, signal: Sig) -> anyhow::Result<()> {
        signal_group(self.process_id, signal)?;
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended.map_err(|_| anyhow!("the server did not stop within {PATIENCE:?}"))??;
        Ok(())
    }

    fn end_of_log(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }
}

/// A port of loopback that nobody listens on at the moment.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
