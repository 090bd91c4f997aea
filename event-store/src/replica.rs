//! The log of several machines: a NATS JetStream stream that all of them write to, and on
//! each of them a copy that is read.
//!
//! ```text
//! append ─▶ publish: one request, one message ─▶ stream ─▶ follower: in the stream's order ─▶ log
//!        ◀─ acknowledged by NATS, and in the log here ◀──────────────────────────────────────┘
//! ```
//! Every store applies the same messages in the same order by the same rules, so all copies
//! are the same, sequence numbers and hash chain included. What an event's id decides, a
//! duplicate or a conflict, is decided when its message is applied, by everything before it,
//! however long ago. The stream's own window against duplicates only saves room.
//!
//! Nothing is acknowledged that NATS has not acknowledged and this machine's disk does not
//! have. While NATS is away, writes are refused and reads go on.

mod config;
mod connect;
mod follower;
mod message;
mod position;
mod waiting;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::connection::State as Connection;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::Context;
use async_nats::jetstream::publish::PublishAck;
use async_nats::jetstream::stream::Stream;
use kit::{Chance, Tasks};
use tokio::sync::watch;
use wire::event::Receipt;

pub use config::StreamConfig;

use crate::log::{AppendError, Batch, Log};
use connect::Connected;
use follower::{Follower, Progress};
use message::{FORMAT, HEADER_FORMAT};
use position::Position;
use waiting::{HEADER_REQUEST, Waiting};

/// The longest from a publication until this machine's copy has it.
const APPLIED_WITHIN: Duration = Duration::from_secs(10);
/// The longest answer to whether a write would succeed.
const PROBED_WITHIN: Duration = Duration::from_secs(2);
/// What a stop leaves to the follower.
const STOP: Duration = Duration::from_secs(5);

/// Why a store cannot work on the stream.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No server answers, or none lets us in.
    #[error("cannot connect to NATS at {servers}; check that it runs, and its credentials")]
    Connect {
        /// Those that were tried.
        servers: String,
        /// What the client said.
        #[source]
        source: async_nats::Error,
    },
    /// The credentials cannot be read.
    #[error("cannot use the credentials in {}, which BIFROST_NATS_CREDENTIALS names", path.display())]
    Credentials {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The servers take only messages that are too small.
    #[error(
        "the NATS server takes messages of {found} bytes, {needed} are needed; set max_payload: 9MB in its configuration"
    )]
    Payload {
        /// Its limit.
        found: usize,
        /// What the largest request needs.
        needed: usize,
    },
    /// The stream is neither there nor can it be made.
    #[error(
        "cannot use the stream {name}; check that JetStream is enabled, and has as many servers as replicas are asked for"
    )]
    Stream {
        /// Its name.
        name: String,
        /// What the server said.
        #[source]
        source: async_nats::Error,
    },
    /// The stream was made for something else.
    #[error("the stream {name} is not fit: {what}; change it, or give another name with --nats-stream")]
    Unfit {
        /// Its name.
        name: String,
        /// What is wrong with it.
        what: String,
    },
    /// The directory has events that never were in the stream.
    #[error("the data directory {} has events of its own; a copy of a stream begins in an empty directory", .0.display())]
    NotACopy(PathBuf),
    /// The directory has another stream's events.
    #[error(
        "the data directory {} is a copy of another stream, {found}; a copy of this one begins in an empty directory",
        directory.display()
    )]
    OtherStream {
        /// The directory.
        directory: PathBuf,
        /// That stream's name.
        found: String,
    },
    /// The note of how far the copy goes cannot be used.
    #[error("cannot read or write {}; check who owns it", path.display())]
    Position {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// The door to the stream, and the end of the copying.
pub(crate) struct Replica {
    log: Log,
    name: String,
    context: Context,
    stream: Stream,
    progress: watch::Receiver<Progress>,
    waiting: Arc<Waiting>,
    chance: Chance,
    /// The follower, which outlives the requests that wait for it.
    following: Tasks,
}

impl Replica {
    /// Connects to the stream and begins to copy it into the log, which lies in the directory.
    /// Should the copy ever be unable to go on, `tasks` are stopped.
    pub(crate) async fn open(
        config: &StreamConfig,
        log: Log,
        directory: &Path,
        tasks: &Tasks,
    ) -> Result<Self, OpenError> {
        let Connected { context, stream, losses } = connect::connect(config).await?;
        let position = Position::open(directory, stream.cached_info(), log.head().seq)?;
        let (waiting, following) = (Arc::new(Waiting::default()), Tasks::new());
        let (follower, progress) =
            Follower::new(log.clone(), directory.to_owned(), stream.clone(), losses, position, waiting.clone());
        following.spawn("stream follower", follower.run(following.clone(), tasks.clone()));
        let (name, chance) = (config.name.clone(), Chance::system());
        Ok(Self { log, name, context, stream, progress, waiting, chance, following })
    }

    /// Stores the events, all or none: they are in the stream and in the log when this returns.
    pub(crate) async fn append(&self, batch: Batch) -> Result<Vec<Receipt>, AppendError> {
        self.may_write()?;
        let batch = Arc::new(batch);
        // What is known already need not be said again to everybody.
        if let Some(receipts) = self.log.known(&batch).await? {
            return Ok(receipts);
        }
        let stored = tokio::time::timeout(APPLIED_WITHIN, self.publish(&batch)).await;
        stored.unwrap_or_else(|_| {
            tracing::warn!("an acknowledged message of the stream did not come back in time");
            Err(AppendError::Unreachable)
        })
    }

    /// Whether NATS answers, the copy is up to date and the disk can be written.
    pub(crate) async fn probe(&self) -> Result<(), AppendError> {
        self.may_write()?;
        match tokio::time::timeout(PROBED_WITHIN, self.stream.get_info()).await {
            Ok(Ok(_)) => self.log.probe().await,
            Ok(Err(_)) | Err(_) => Err(AppendError::Unreachable),
        }
    }

    /// Ends the copying, then the log.
    pub(crate) async fn close(&self) {
        if let Err(error) = self.following.stop_within(STOP).await {
            tracing::warn!(%error, "the stream's follower is left behind");
        }
        self.log.close().await;
    }

    fn may_write(&self) -> Result<(), AppendError> {
        if self.context.client().connection_state() != Connection::Connected {
            return Err(AppendError::Unreachable);
        }
        self.progress.borrow().may_write
    }

    async fn publish(&self, batch: &Arc<Batch>) -> Result<Vec<Receipt>, AppendError> {
        let events = batch.clone();
        let encoding = tokio::task::spawn_blocking(move || {
            let body = message::encode(events.events());
            (message::id(&body), body)
        });
        let (id, body) = encoding.await.expect("writing JSON does not panic");
        let subject = message::subject(&self.name, batch.events());
        let request = self.chance.hex::<16>();
        let answer = self.waiting.expect(&request);
        let mut headers = HeaderMap::new();
        headers.insert(HEADER_FORMAT, FORMAT);
        headers.insert(HEADER_REQUEST, request);
        headers.insert(NATS_MESSAGE_ID, id);
        let acknowledged = match self.context.publish_with_headers(subject, headers, body).await {
            Ok(acknowledgement) => acknowledgement.await,
            Err(error) => Err(error),
        };
        match acknowledged {
            Ok(PublishAck { duplicate: false, .. }) => answer.come().await,
            Ok(PublishAck { sequence, .. }) => self.stored_before(batch, sequence).await,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "NATS has not acknowledged a request");
                Err(AppendError::Unreachable)
            }
        }
    }

    /// The answer to a message that the stream has already, at this place.
    async fn stored_before(&self, batch: &Arc<Batch>, sequence: u64) -> Result<Vec<Receipt>, AppendError> {
        let mut progress = self.progress.clone();
        let applied = progress.wait_for(|progress| progress.sequence >= sequence).await.is_ok();
        match applied.then_some(self.log.known(batch).await?).flatten() {
            Some(receipts) => Ok(receipts),
            // A server that has just taken over may speak of a message that never got stored. It
            // forgets after the window, and until then nothing is promised.
            None => Err(AppendError::Unreachable),
        }
    }
}
