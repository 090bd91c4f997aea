//! What one would use instead: servers of others, as Debian packages them, each
//! told to sync before it acknowledges.

pub(crate) mod jetstream;
pub(crate) mod postgres;
pub(crate) mod redis;

use std::io::Read;
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::Args;
use kit::process::Sig;

use super::case::System;
use super::server::Server;

/// Where their programs are; one that is not named is left out.
#[derive(Debug, Args)]
pub(crate) struct Programs {
    /// The directory of PostgreSQL's server programs
    #[arg(long, value_name = "DIR")]
    postgres: Option<PathBuf>,
    /// The `redis-server` to measure
    #[arg(long, value_name = "FILE")]
    redis: Option<PathBuf>,
    /// The `nats-server` to measure
    #[arg(long, value_name = "FILE")]
    nats: Option<PathBuf>,
}

impl Programs {
    /// Where a peer's programs are; nothing where they are not, or the system is no peer.
    pub(crate) fn of(&self, system: System) -> Option<&Path> {
        match system {
            System::Postgres => self.postgres.as_deref(),
            System::Redis => self.redis.as_deref(),
            System::Jetstream => self.nats.as_deref(),
            System::Store | System::SqliteGrouped | System::SqliteShared | System::SqliteEach => None,
        }
    }
}

/// A peer that is ready.
pub(crate) struct Peer<P> {
    pub(crate) server: Server,
    pub(crate) protocol: P,
    /// What it is, with its version.
    pub(crate) label: String,
    /// Ends it at once: its data is not needed any more.
    pub(crate) end: Sig,
}

/// The first word of what `--version` prints that looks like one.
async fn version(program: &Path) -> anyhow::Result<String> {
    let output = kit::process::command(program).arg("--version").output().await;
    let output = output.with_context(|| format!("{} cannot be started", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut words = text.split_whitespace().map(|word| word.trim_start_matches(|c: char| !c.is_ascii_digit()));
    Ok(words.find(|word| !word.is_empty()).unwrap_or("of unknown version").to_owned())
}

/// Reads from a new connection until `is_enough`.
fn read_until(stream: &mut TcpStream, is_enough: impl Fn(&[u8]) -> bool) -> anyhow::Result<Vec<u8>> {
    let mut received = Vec::new();
    let mut piece = [0; 4_096];
    while !is_enough(&received) {
        let count = stream.read(&mut piece).context("the server says nothing")?;
        ensure!(count > 0, "the server closed the connection: {}", String::from_utf8_lossy(&received));
        received.extend_from_slice(&piece[..count]);
    }
    Ok(received)
}

/// A line without its end, and what is behind it.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(2).position(|two| two == b"\r\n")?;
    Some((&bytes[..end], &bytes[end + 2..]))
}
