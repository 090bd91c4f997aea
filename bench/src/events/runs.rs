//! One run: a new, empty system, a warm-up, and the case against the clock.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use kit::Tasks;
use serde::Serialize;
use tempfile::TempDir;
use tokio::task::block_in_place;

use super::case::{Case, System};
use super::load::{Load, Protocol};
use super::outcome::Outcome;
use super::peers::{self, Peer, Programs};
use super::records::{Record, Source};
use super::sqlite::Bare;
use super::store::Store;
use crate::memory::{Usage, peak};

/// Tasks that the events are of.
const TASKS: usize = 1_000;
/// Events that are prepared for a second of warm-up; one that uses them up sooner is a shorter one.
const WARM_UP_RATE: f64 = 60_000.0;
/// What is prepared for each request that the warm-up lets expect.
const PREPARED: f64 = 1.5;

/// What every run has in common.
pub(crate) struct Bench<'a> {
    /// Our store.
    pub(crate) program: &'a Path,
    /// Of the peers.
    pub(crate) programs: &'a Programs,
    /// On the disk that is measured.
    pub(crate) directory: &'a Path,
    pub(crate) generator: Generator<'a>,
}

/// How long each run takes, and whose stop ends it.
pub(crate) struct Generator<'a> {
    pub(crate) warm_up: Duration,
    pub(crate) time: Duration,
    pub(crate) tasks: &'a Tasks,
}

/// What came of a run.
pub(crate) struct Measured {
    /// What exactly was measured, for a person.
    pub(crate) label: String,
    pub(crate) outcome: Outcome,
    /// Of our store's process, when the load ended.
    pub(crate) memory: Option<Memory>,
}

/// What a process took.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Memory {
    pub(crate) resident: u64,
    pub(crate) peak: u64,
}

impl Bench<'_> {
    /// Runs one case on one system.
    pub(crate) async fn run(&self, case: Case, system: System) -> anyhow::Result<Measured> {
        let directory = self.new_directory()?;
        match system {
            System::Store => self.store(case, directory.path()).await,
            System::SqliteGrouped | System::SqliteShared | System::SqliteEach => {
                self.sqlite(case, system, directory.path()).await
            }
            System::Postgres => {
                self.peer(case, peers::postgres::start(self.found(system)?, directory.path(), case.batch).await?).await
            }
            System::Redis => {
                self.peer(case, peers::redis::start(self.found(system)?, directory.path(), case.batch).await?).await
            }
            System::Jetstream => {
                self.peer(case, peers::jetstream::start(self.found(system)?, directory.path(), case.batch).await?).await
            }
        }
    }

    /// A directory on the disk, and a disk that has nothing left to write of earlier runs.
    pub(crate) fn new_directory(&self) -> anyhow::Result<TempDir> {
        block_in_place(nix::unistd::sync);
        let directory = tempfile::Builder::new().prefix("bifrost-bench-").tempdir_in(self.directory);
        directory.with_context(|| format!("cannot make a directory in {}", self.directory.display()))
    }

    async fn store(&self, case: Case, directory: &Path) -> anyhow::Result<Measured> {
        let store = Store::start(self.program, directory).await?;
        let (mut acknowledged, mut refusal) = (Vec::new(), None);
        let outcome = self.generator.load(&store.protocol, store.address(), case, |records, outcome| {
            acknowledged.extend(records.iter().take(outcome.sent * case.batch).map(|record| record.id));
            refusal = refusal.take().or_else(|| outcome.refusal.clone());
        })?;
        ensure!(refusal.is_none(), "our store refused an event: {}", refusal.unwrap_or_default());
        let usage = Usage::of(store.process_id)?;
        let memory = Memory { resident: usage.resident, peak: peak(store.process_id)? };
        store.holds(&acknowledged).await?;
        store.stop().await?;
        Ok(Measured { label: "bifrost-events".into(), outcome, memory: Some(memory) })
    }

    async fn sqlite(&self, case: Case, system: System, directory: &Path) -> anyhow::Result<Measured> {
        // The store makes the file, so that the schema is its own.
        Store::start(self.program, directory).await?.stop().await?;
        let mut source = Source::new(TASKS);
        let payload = source.payload().to_owned();
        let bare = Bare { database: &directory.join("events.db"), payload: &payload };
        let outcome = self.generator.timed(case, |requests, limit| {
            let records = source.records(requests * case.batch);
            bare.write(system, case, &records, limit, self.generator.tasks)
        })?;
        let label = match system {
            System::SqliteGrouped => "SQLite, shared commits",
            System::SqliteShared => "SQLite, one connection",
            _ => "SQLite, connection each",
        };
        Ok(Measured { label: label.into(), outcome, memory: None })
    }

    async fn peer(&self, case: Case, peer: Peer<impl Protocol>) -> anyhow::Result<Measured> {
        let outcome = self.generator.load(&peer.protocol, peer.server.address, case, |_, _| ())?;
        peer.server.stop(peer.end).await?;
        Ok(Measured { label: peer.label, outcome, memory: None })
    }

    fn found(&self, peer: System) -> anyhow::Result<&Path> {
        self.programs.of(peer).context("its programs are not installed")
    }
}

impl Generator<'_> {
    /// Puts a server under load; `answered` is told which records it was given in each part.
    pub(crate) fn load(
        &self,
        protocol: &impl Protocol,
        address: SocketAddr,
        case: Case,
        mut answered: impl FnMut(&[Record], &Outcome),
    ) -> anyhow::Result<Outcome> {
        let mut source = Source::new(TASKS);
        let mut load = block_in_place(|| Load::open(protocol, address, case.connections, self.tasks))?;
        self.timed(case, |requests, limit| {
            let records = source.records(requests * case.batch);
            let requests = records.chunks(case.batch).map(|some| protocol.request(&source, some));
            let outcome = load.run(&mut requests.collect::<Vec<_>>(), limit)?;
            answered(&records, &outcome);
            Ok(outcome)
        })
    }

    /// Warms up, then measures. `run` prepares so many requests and sends them for so long.
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts")]
    pub(crate) fn timed(
        &self,
        case: Case,
        mut run: impl FnMut(usize, Duration) -> anyhow::Result<Outcome>,
    ) -> anyhow::Result<Outcome> {
        block_in_place(|| {
            ensure!(!self.tasks.is_stopping(), "interrupted");
            let guess = (WARM_UP_RATE * self.warm_up.as_secs_f64()) as usize / case.batch;
            let warm = run(guess + case.connections, self.warm_up)?;
            let rate = warm.sent as f64 / warm.elapsed.as_secs_f64();
            let expected = (rate * self.time.as_secs_f64() * PREPARED) as usize;
            run(expected + case.connections, self.time)
        })
    }
}
