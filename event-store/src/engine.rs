//! Where a write goes. Reads come from the log on this machine either way.
//!
//! With `sqlite` that log is the only one. With `jetstream` every write goes through a
//! stream that several machines share, and the log is this machine's copy of it.

#[cfg(feature = "jetstream")]
use std::sync::Arc;

use chrono::{DateTime, Utc};
use clap::ValueEnum;
use kit::Vars;
use serde::Serialize;
use wire::event::Receipt;

use crate::log::{AppendError, Batch, Log};
#[cfg(feature = "jetstream")]
use crate::replica::{Replica, StreamConfig};

/// The file beside the database which says that the log is the copy of a stream.
pub(crate) const COPY_MARK: &str = "stream.json";

/// What is chosen on the command line.
#[derive(Debug, Clone, clap::Args)]
pub struct EngineArguments {
    /// What keeps the events.
    #[arg(long, env = "BIFROST_EVENTS_ENGINE", default_value = "sqlite", value_name = "ENGINE")]
    pub engine: EngineName,
    /// NATS servers of `--engine jetstream`, such as nats://10.0.0.1:4222 or tls://nats.internal;
    /// several with commas. Credentials go into the environment.
    #[cfg(feature = "jetstream")]
    #[arg(long, env = "BIFROST_NATS_URL", value_name = "URL", value_delimiter = ',')]
    pub nats: Vec<String>,
    /// The stream, made if missing, and the first word of its subjects.
    #[cfg(feature = "jetstream")]
    #[arg(long, env = "BIFROST_NATS_STREAM", default_value = "bifrost-events", value_name = "NAME")]
    pub nats_stream: String,
    /// NATS servers that keep each event; 1 for a new stream unless it is given.
    #[cfg(feature = "jetstream")]
    #[arg(long, env = "BIFROST_NATS_REPLICAS", value_name = "COUNT", value_parser = clap::value_parser!(u8).range(1..=5))]
    pub nats_replicas: Option<u8>,
}

/// The engines there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EngineName {
    /// This machine's disk alone.
    Sqlite,
    /// A NATS JetStream stream, of which each machine has a copy.
    #[cfg(feature = "jetstream")]
    Jetstream,
}

impl Default for EngineArguments {
    fn default() -> Self {
        Self {
            engine: EngineName::Sqlite,
            #[cfg(feature = "jetstream")]
            nats: Vec::new(),
            #[cfg(feature = "jetstream")]
            nats_stream: String::new(),
            #[cfg(feature = "jetstream")]
            nats_replicas: None,
        }
    }
}

impl EngineArguments {
    /// The engine, with what it needs of the environment; what is wrong is noted there.
    #[cfg_attr(not(feature = "jetstream"), expect(unused_variables, reason = "SQLite needs none of it"))]
    pub fn config(self, vars: &mut Vars) -> EngineConfig {
        match self.engine {
            EngineName::Sqlite => EngineConfig::Sqlite,
            #[cfg(feature = "jetstream")]
            EngineName::Jetstream => {
                EngineConfig::Jetstream(StreamConfig::new(&self.nats, self.nats_stream, self.nats_replicas, vars))
            }
        }
    }
}

/// An engine and how to reach it.
#[derive(Debug, Clone, Default)]
pub enum EngineConfig {
    /// This machine's disk alone.
    #[default]
    Sqlite,
    /// A stream on NATS servers.
    #[cfg(feature = "jetstream")]
    Jetstream(StreamConfig),
}

/// Takes writes.
#[derive(Clone)]
pub(crate) enum Engine {
    Sqlite(Log),
    #[cfg(feature = "jetstream")]
    Jetstream(Arc<Replica>),
}

impl Engine {
    /// Stores the events, all or none; they are durable, and in the log, when this returns.
    pub(crate) async fn append(&self, batch: Batch) -> Result<Vec<Receipt>, AppendError> {
        match self {
            Self::Sqlite(log) => log.append(batch).await,
            #[cfg(feature = "jetstream")]
            Self::Jetstream(replica) => replica.append(batch).await,
        }
    }

    /// Records something of this store and its machine. A log that several machines share does not
    /// speak of one of them: there their metrics and their own logs do.
    pub(crate) async fn append_own(
        &self,
        kind: &str,
        payload: &impl Serialize,
        now: DateTime<Utc>,
    ) -> Result<(), AppendError> {
        match self {
            Self::Sqlite(log) => log.append_own(kind, payload, now).await,
            #[cfg(feature = "jetstream")]
            Self::Jetstream(_) => Ok(()),
        }
    }

    /// What it is called in `/v1/stats`.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            #[cfg(feature = "jetstream")]
            Self::Jetstream(_) => "jetstream",
        }
    }

    /// Whether a write would succeed now.
    pub(crate) async fn probe(&self) -> Result<(), AppendError> {
        match self {
            Self::Sqlite(log) => log.probe().await,
            #[cfg(feature = "jetstream")]
            Self::Jetstream(replica) => replica.probe().await,
        }
    }

    /// Has the log's writer end when everything accepted so far is answered.
    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(log) => log.close().await,
            #[cfg(feature = "jetstream")]
            Self::Jetstream(replica) => replica.close().await,
        }
    }
}
