//! A running `bifrost-events`, and what it tells about itself.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use chrono::DateTime;
use client::events::{EventStore, Signer};
use kit::process::{Sig, command, signal_group};
use kit::starting::address;
use kit::{Chance, Clock};
use tokio::process::Child;
use wire::event::Event;
use wire::id::{EventId, TaskId};
use wire::signature::Key;

/// Nothing in a test takes longer unless it is broken.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) fn key() -> Key {
    Key::from_bytes([1; 32])
}

pub(crate) fn task(number: u8) -> TaskId {
    TaskId::mint(DateTime::UNIX_EPOCH, [number; 10])
}

pub(crate) fn event(number: u64, of: TaskId) -> Event {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&number.to_be_bytes());
    Event {
        id: EventId::mint(DateTime::UNIX_EPOCH, random),
        kind: "test".into(),
        task_id: Some(of),
        execution_id: None,
        producer: "tests".into(),
        created_at: DateTime::UNIX_EPOCH,
        schema_version: 1,
        payload: serde_json::value::to_raw_value(&number).expect("a number is JSON"),
    }
}

/// A client that signs with the program's secret.
pub(crate) fn client_of(address: SocketAddr, key: Key) -> EventStore {
    let signer = Signer { key, key_id: None, clock: Clock::system(), chance: Chance::system() };
    EventStore::new(&format!("http://{address}"), signer)
}

/// The program; killed when dropped.
pub(crate) struct Program {
    pub(crate) address: SocketAddr,
    pub(crate) store: EventStore,
    child: Child,
}

impl Program {
    /// Starts it on a free port of this machine.
    pub(crate) async fn start(data: &Path) -> Self {
        Self::start_as(&[], data, "127.0.0.1:0", &[]).await
    }

    /// Starts it through another command, such as `ip netns exec NAME`, and waits until it says
    /// where it listens.
    pub(crate) async fn start_as(through: &[&str], data: &Path, listen: &str, environment: &[(&str, &str)]) -> Self {
        let mut words = through.iter().copied().chain([env!("CARGO_BIN_EXE_bifrost-events")]);
        let mut command = command(words.next().expect("there is one"));
        command.args(words).args(["--listen", listen, "--data"]).arg(data);
        command.env("FLY_EVENT_SECRET", key().reveal()).envs(environment.iter().copied());
        let mut child = command.stderr(Stdio::piped()).spawn().expect("starts");
        let address = address(&mut child).await.parse().expect("an address");
        Self { address, store: client_of(address, key()), child }
    }

    /// One of its metrics; 0 where it was never counted.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        let page = kit::http::client(DEADLINE).get(format!("http://{}/metrics", self.address)).send().await;
        let page = page.expect("answers").text().await.expect("is text");
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse().expect("a whole number"))
    }

    /// The memory that it has in use, in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        let pid = self.child.id().expect("runs");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("is Linux");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("has memory");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Tells it to stop and waits until it has.
    pub(crate) async fn stop(mut self) {
        signal_group(self.child.id().expect("runs"), Sig::SIGTERM).expect("is told to stop");
        let status = tokio::time::timeout(DEADLINE, self.child.wait()).await.expect("stops").expect("ends");
        assert!(status.success(), "{status}");
    }

    /// Ends it where it stands.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.expect("is killed");
    }
}
