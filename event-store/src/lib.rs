//! The event store: a durable, append-only log of events behind HTTP.
//!
//! It promises that an event is on disk before its 201, that sequence numbers
//! have no gaps, that the same event written twice is one event, and that every
//! request except the probes is signed. It listens only where it is told to and
//! refuses public addresses unless told so in as many words; `serve` says who may
//! connect.
//!
//! ```text
//! POST /v1/events              append one event or a batch        http/append.rs ──▶ engine.rs ──▶ log/writer.rs
//! GET  /v1/events[/{task_id}]  a page                             http/read.rs   ──▶ log/reader.rs
//!      … Accept: text/event-stream                                http/follow.rs ──▶ log/reader.rs
//! GET  /v1/head /v1/stats          how the log is              http/status.rs ─▶ log/survey.rs, volume.rs
//! GET  /health /ready /metrics
//! by itself: volume.rs warns and refuses before the disk is full, retention.rs deletes what need not be kept
//! ```
//!
//! A write's body is JSON (one event, an array, or `{"events": […]}`; no content
//! type, `application/json` or `text/json`) or an event on each line
//! (`application/x-ndjson`), as it is or in one `content-encoding` of `gzip` and
//! `zstd`. It is signed as it is sent: a compressed body over its compressed bytes.
//! It has at most 1,000 events and 8 MiB, compressed and not.

mod archive;
pub mod engine;
mod http;
mod log;
mod meters;
pub mod program;
#[cfg(feature = "jetstream")]
pub mod replica;
mod retention;
pub mod serve;
mod volume;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kit::{Clock, Tasks, Vars};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use wire::signature::Key;

pub use http::Ungranted;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use http::fuzzing;
pub use log::OpenError;
pub use retention::{Keep, KeptBytes, NotKeptBytes};
pub use volume::{Amount, Marks, NotAnAmount};

use engine::{COPY_MARK, Engine, EngineConfig};
use log::{Log, Writer};
#[cfg(feature = "jetstream")]
use replica::Replica;
use serve::{Limits, Peers};
use volume::Volume;

/// How often the numbers behind `/metrics` are condensed, whether or not anybody reads them.
const UPKEEP: Duration = Duration::from_secs(30);

/// What an event store must know to start.
#[derive(Debug, Clone)]
pub struct Config {
    /// The directory of the database; made if missing.
    pub data: PathBuf,
    /// The secret that operators and the control plane sign with, and machines' keys come from.
    pub secret: Key,
    /// The secret before it, accepted while it is being replaced.
    pub previous_secret: Option<Key>,
    /// What keeps the events.
    pub engine: EngineConfig,
    /// Who may connect.
    pub peers: Peers,
    /// What connections may take.
    pub limits: Limits,
    /// Whether machines need a grant for the executions they write about.
    pub ungranted: Ungranted,
    /// What is kept.
    pub keep: Keep,
    /// How little room on the volume is too little.
    pub marks: Marks,
    /// Whether Litestream copies the database away. Then it, and nobody else, folds the journal in.
    pub is_replicated: bool,
}

impl Config {
    /// The secrets that the environment names, for checking what an event store signed.
    pub fn secrets(vars: &mut Vars) -> Vec<Key> {
        ["FLY_EVENT_SECRET", "FLY_EVENT_SECRET_PREVIOUS"]
            .into_iter()
            .filter_map(|name| read_secret(vars, name))
            .collect()
    }

    /// A store of these data and this secret that is like others in everything else.
    pub fn new(data: PathBuf, secret: Key) -> Self {
        Self {
            data,
            secret,
            previous_secret: None,
            engine: EngineConfig::default(),
            peers: Peers::Everybody,
            limits: Limits::default(),
            ungranted: Ungranted::Refused,
            keep: Keep::default(),
            marks: Marks::default(),
            is_replicated: false,
        }
    }

    /// Takes `FLY_EVENT_SECRET` (required, base64 of at least 32 bytes) and the other settings
    /// from the environment, which also tells whether this is Fly.
    pub fn from_vars(vars: &mut Vars, data: PathBuf) -> Option<Self> {
        let secret = read_secret(vars, "FLY_EVENT_SECRET");
        let previous_secret = read_secret(vars, "FLY_EVENT_SECRET_PREVIOUS");
        if vars.text("FLY_EVENT_SECRET").is_none() {
            vars.problem("FLY_EVENT_SECRET: is not set; make one with: openssl rand -base64 32");
        }
        let peers = Peers::from_vars(vars);
        let is_accepted = vars.or("BIFROST_EVENTS_UNGRANTED", false);
        let ungranted = if is_accepted { Ungranted::Accepted } else { Ungranted::Refused };
        let keep =
            Keep { days: vars.optional("BIFROST_EVENTS_KEEP_DAYS"), bytes: vars.optional("BIFROST_EVENTS_KEEP_BYTES") };
        let Marks { warn, stop } = Marks::default();
        let marks =
            Marks { warn: vars.or("BIFROST_EVENTS_WARN_FREE", warn), stop: vars.or("BIFROST_EVENTS_STOP_FREE", stop) };
        let is_replicated = vars.text("BIFROST_EVENTS_REPLICA").is_some();
        Some(Self { previous_secret, peers, ungranted, keep, marks, is_replicated, ..Self::new(data, secret?) })
    }

    /// Notes what does not go with the engine.
    #[cfg_attr(not(feature = "jetstream"), expect(unused_variables, reason = "with SQLite everything goes"))]
    pub fn check(&self, vars: &mut Vars) {
        #[cfg(feature = "jetstream")]
        if matches!(self.engine, EngineConfig::Jetstream(_)) {
            if self.keep != Keep::default() {
                vars.problem(
                    "--keep-days, --keep-bytes: with --engine jetstream every event is kept, since a copy of the \
                     stream that deletes some is none; leave them out, and BIFROST_EVENTS_KEEP_DAYS and \
                     BIFROST_EVENTS_KEEP_BYTES",
                );
            }
            if self.is_replicated {
                vars.problem(
                    "BIFROST_EVENTS_REPLICA: with --engine jetstream the stream is the copy, and a database that \
                     Litestream restores cannot go on with it; leave it out",
                );
            }
        }
    }
}

fn read_secret(vars: &mut Vars, name: &str) -> Option<Key> {
    match Key::parse(vars.text(name)?) {
        Ok(key) => Some(key),
        Err(error) => {
            vars.problem(format!("{name}: {error}"));
            None
        }
    }
}

/// Why the event store did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its database cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The system gives it no thread to write with.
    #[error("cannot start the event writer's thread")]
    Thread(#[source] io::Error),
    /// Its log is a copy, and would be one no longer.
    #[error(
        "the data directory {} is the copy of a stream; start with --engine jetstream, or remove {COPY_MARK} from it \
         to go on without the stream",
        .0.display()
    )]
    Copy(PathBuf),
    /// It cannot work on the stream.
    #[cfg(feature = "jetstream")]
    #[error(transparent)]
    Stream(#[from] replica::OpenError),
}

/// Starts an event store on the listener; it accepts requests when this returns. It ends with
/// the tasks: everything accepted gets its answer, then the database is closed. Should the
/// writer ever die, it stops the tasks by itself.
pub async fn start(
    config: Config,
    listener: TcpListener,
    clock: Clock,
    metrics: Option<PrometheusHandle>,
    tasks: &Tasks,
) -> Result<(), StartError> {
    let (data, opened_at) = (config.data.clone(), clock.now());
    let opening = tokio::task::spawn_blocking(move || Log::open(&data, opened_at));
    let (log, mut writer) = opening.await.expect("opening a database does not panic")?;
    if config.is_replicated {
        writer.leave_journal().map_err(|source| OpenError::Database { path: config.data.clone(), source })?;
    } else if let Err(error) = writer.fold_in() {
        tracing::warn!(%error, "the event journal cannot be folded into the database; it waits for room");
    }
    let volume = Arc::new(Volume::new(config.data.clone(), config.marks));
    let writer_end = start_writer(writer).map_err(StartError::Thread)?;
    let engine = open_engine(&config, &log, tasks).await?;
    meters::describe();
    if let Some(metrics) = metrics.clone() {
        tasks.spawn_until_stopped("event metrics", condense(metrics));
    }
    let address = listener.local_addr().map(|address| address.to_string()).unwrap_or_default();
    tracing::info!(address, data = %config.data.display(), newest = log.head().seq, "the event store accepts events");
    let watching = volume::watch(volume.clone(), log.clone(), engine.clone(), clock.clone());
    tasks.spawn_until_stopped("event volume", watching);
    tasks.spawn_until_stopped("event retention", retention::enforce(config.keep, log.clone(), clock.clone()));
    let (peers, limits) = (config.peers, config.limits);
    let router = http::router(config, log, engine.clone(), volume, clock, metrics, tasks.clone());
    let stop = tasks.clone();
    tasks.spawn("event store", async move {
        run(serve::serve(listener, router, peers, limits, &stop), engine, writer_end, &stop).await;
    });
    Ok(())
}

/// Finds out where writes go.
#[cfg_attr(not(feature = "jetstream"), expect(unused_variables, reason = "only a copy can fail to go on"))]
async fn open_engine(config: &Config, log: &Log, tasks: &Tasks) -> Result<Engine, StartError> {
    match &config.engine {
        EngineConfig::Sqlite if config.data.join(COPY_MARK).exists() => Err(StartError::Copy(config.data.clone())),
        EngineConfig::Sqlite => Ok(Engine::Sqlite(log.clone())),
        #[cfg(feature = "jetstream")]
        EngineConfig::Jetstream(stream) => {
            Ok(Engine::Jetstream(Replica::open(stream, log.clone(), &config.data, tasks).await?.into()))
        }
    }
}

/// Runs the writer on a thread of its own; the receiver resolves when it has ended.
fn start_writer(writer: Writer) -> io::Result<oneshot::Receiver<()>> {
    let (ended, end) = oneshot::channel();
    std::thread::Builder::new().name("event-writer".into()).spawn(move || {
        writer.run();
        // Nobody may be waiting any more.
        ended.send(()).ok();
    })?;
    Ok(end)
}

/// Serves until the stop is given, then closes the log.
async fn run(serving: impl Future<Output = ()>, engine: Engine, mut writer_end: oneshot::Receiver<()>, tasks: &Tasks) {
    tokio::select! {
        () = serving => (),
        _ = &mut writer_end => {
            tracing::error!("the event writer has died; stopping, so that a restart can mend it");
            tasks.stop();
            return;
        }
    }
    engine.close().await;
    // An error means that it has ended already, which is all that is waited for.
    writer_end.await.ok();
    tracing::info!("the event store has closed its database");
}

async fn condense(metrics: PrometheusHandle) {
    loop {
        tokio::time::sleep(UPKEEP).await;
        metrics.run_upkeep();
    }
}

#[cfg(test)]
mod tests;
