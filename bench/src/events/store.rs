//! Our event store as a process, on a directory of its own: started, loaded,
//! asked for everything it acknowledged, and stopped.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use client::events::{EventStore, Signer};
use kit::process::Sig;
use kit::{Chance, Clock};
use uuid::Uuid;
use wire::id::{EventId, TaskId};
use wire::signature::{Key, SECRET_BYTES_MIN};

use super::http::Http;
use super::server::{Server, free_address};
use crate::system;

/// Between two questions to `/ready`.
const ASK_EVERY: Duration = Duration::from_millis(1);
/// Events of one page when all are read.
pub(crate) const PAGE: u32 = 10_000;

/// An event store that is ready.
pub(crate) struct Store {
    pub(crate) process_id: u32,
    pub(crate) protocol: Http,
    /// From the start of the process until `/ready` said yes.
    pub(crate) ready_after: Duration,
    server: Server,
    client: EventStore,
}

impl Store {
    /// Starts the program on the data directory, which is made if missing.
    pub(crate) async fn start(program: &Path, data: &Path) -> anyhow::Result<Self> {
        let key = Key::from_bytes(Chance::system().bytes::<SECRET_BYTES_MIN>());
        let address = free_address()?;
        std::fs::create_dir_all(data)?;
        let signer = Signer { key: key.clone(), key_id: None, clock: Clock::system(), chance: Chance::system() };
        let client = EventStore::new(&format!("http://{address}"), signer);
        let mut command = system::program(program);
        command.args(["--listen", &address.to_string(), "--data"]).arg(data);
        command.env("FLY_EVENT_SECRET", key.reveal());
        let mut server = Server::start(&mut command, address, data)?;
        while client.ready().await.is_err() {
            server.still_starts()?;
            tokio::time::sleep(ASK_EVERY).await;
        }
        let ready_after = server.started.elapsed();
        let protocol = Http { key, clock: Clock::system() };
        Ok(Self { process_id: server.process_id, protocol, ready_after, server, client })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// Reads everything and checks that each of these is there once and nothing is there twice.
    pub(crate) async fn holds(&self, acknowledged: &[EventId]) -> anyhow::Result<()> {
        let mut stored: Vec<Uuid> = Vec::new();
        loop {
            let page = self.client.feed(stored.len() as u64, PAGE).await.context("cannot read what was stored")?;
            let Some(last) = page.events.last() else { break };
            stored.extend(page.events.iter().map(|event| event.id.uuid()));
            ensure!(last.seq == stored.len() as u64, "the sequence numbers have a gap before {}", last.seq);
        }
        let count = stored.len();
        stored.sort_unstable();
        stored.dedup();
        ensure!(stored.len() == count, "{} events are stored twice", count - stored.len());
        let lost = acknowledged.iter().filter(|id| stored.binary_search(&id.uuid()).is_err()).count();
        ensure!(lost == 0, "{lost} acknowledged events are lost");
        Ok(())
    }

    /// How many events of a task one page brings.
    pub(crate) async fn count_of(&self, task: TaskId, limit: u32) -> anyhow::Result<usize> {
        Ok(self.client.task_events(task, 0, limit).await?.events.len())
    }

    /// Stops it in order.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.server.stop(Sig::SIGTERM).await
    }
}
