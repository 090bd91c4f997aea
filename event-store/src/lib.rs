//! The event store: a durable, append-only log of events behind HTTP.
//!
//! It promises that an event is on disk before its 201, that sequence numbers
//! have no gaps, that the same event written twice is one event, and that every
//! request except the probes is signed. It listens only where it is told to and
//! refuses public addresses unless told so in as many words.
//!
//! ```text
//! POST /v1/events              append one event or a batch        http/append.rs ──▶ engine.rs ──▶ log/writer.rs
//! GET  /v1/events[/{task_id}]  a page                             http/read.rs   ──▶ log/reader.rs
//!      … Accept: text/event-stream                                http/follow.rs ──▶ log/reader.rs
//! GET  /health /ready /metrics
//! ```

pub mod engine;
mod http;
mod log;
pub mod program;
#[cfg(feature = "jetstream")]
pub mod replica;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use axum::serve::ListenerExt;
use kit::{Clock, Tasks, Vars};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use wire::signature::Key;

use engine::{COPY_MARK, Engine, EngineConfig};
pub use log::OpenError;
use log::{Log, Writer};
#[cfg(feature = "jetstream")]
use replica::Replica;

/// What a stop leaves to requests that are under way.
const DRAIN: Duration = Duration::from_secs(5);
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
}

impl Config {
    /// Takes `FLY_EVENT_SECRET` (required, base64 of at least 32 bytes) and
    /// `FLY_EVENT_SECRET_PREVIOUS` from the environment.
    pub fn from_vars(vars: &mut Vars, data: PathBuf) -> Option<Self> {
        let secret = read_secret(vars, "FLY_EVENT_SECRET");
        let previous_secret = read_secret(vars, "FLY_EVENT_SECRET_PREVIOUS");
        if vars.text("FLY_EVENT_SECRET").is_none() {
            vars.problem("FLY_EVENT_SECRET: is not set; make one with: openssl rand -base64 32");
        }
        Some(Self { data, secret: secret?, previous_secret, engine: EngineConfig::default() })
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
    let (log, writer) = opening.await.expect("opening a database does not panic")?;
    let writer_end = start_writer(writer).map_err(StartError::Thread)?;
    let engine = open_engine(&config, &log, tasks).await?;
    if let Some(metrics) = metrics.clone() {
        tasks.spawn_until_stopped("event metrics", condense(metrics));
    }
    let address = listener.local_addr().map(|address| address.to_string()).unwrap_or_default();
    tracing::info!(address, data = %config.data.display(), newest = log.head().seq, "the event store accepts events");
    let router = http::router(config, log, engine.clone(), clock, metrics, tasks.clone());
    tasks.spawn("event store", serve(listener, router, engine, writer_end, tasks.clone()));
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

async fn serve(
    listener: TcpListener,
    router: axum::Router,
    engine: Engine,
    mut writer_end: oneshot::Receiver<()>,
    tasks: Tasks,
) {
    let listener = listener.tap_io(|connection| {
        // Small answers must not wait for more; a connection that refuses is slower, not wrong.
        connection.set_nodelay(true).ok();
    });
    let stop = tasks.clone();
    let server = axum::serve(listener, router).with_graceful_shutdown(async move { stop.stopping().await });
    let drained = async {
        tasks.stopping().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        _ = server.into_future() => (),
        () = drained => tracing::warn!("connections were still open when the event store stopped"),
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
