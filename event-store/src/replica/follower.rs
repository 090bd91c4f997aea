//! Copies the stream into the log, message after message.
//!
//! All that decides what the log becomes is in the messages and their order: one request
//! is stored whole or, for a conflict, not at all. Requests that arrive together share a
//! transaction. A disk that fails holds the copy up; it never makes it skip a message,
//! since that copy would differ from the others from there on.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::stream::{RawMessageErrorKind, Stream};
use async_nats::jetstream::{Message, consumer::PullConsumer};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::ReadyChunks;
use kit::Tasks;
use tokio::sync::{Semaphore, watch};

use super::connect::DEADLINE;
use super::message::{self, FORMAT, HEADER_FORMAT};
use super::position::{Position, made_at_us};
use super::waiting::{Answer, HEADER_REQUEST, Waiting};
use crate::log::{AppendError, Batch, Log};

/// What one pull brings at most. Larger than the largest message.
const PULL_MESSAGES: usize = 512;
const PULL_BYTES: usize = 16 * 1024 * 1024;
/// A pull ends when nothing came for so long, and a little later it is given up.
const PULL: Duration = Duration::from_secs(1);
const LATE: Duration = Duration::from_secs(4);
/// Between two tries of what failed.
const PAUSE: Duration = Duration::from_millis(500);
/// The servers forget a consumer that nobody has asked for so long.
const ABANDONED: Duration = Duration::from_secs(30);
/// The place is noted after so many messages, and when there is nothing else to do.
const NOTED_EVERY: u64 = 1_000;

/// How far the copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Progress {
    /// The last message that is in the log.
    pub(super) sequence: u64,
    /// Whether a write would come back soon, and why not.
    pub(super) may_write: Result<(), AppendError>,
}

/// Why the copying was broken off.
enum Trouble {
    /// It may work in a moment.
    Passing(async_nats::Error),
    /// It will not, or the copy would differ from the others.
    Lasting(String),
    /// The log takes no more.
    Closed,
}

/// Anything the client says is taken for a fault of the servers or of the network.
impl<E: Into<async_nats::Error>> From<E> for Trouble {
    fn from(error: E) -> Self {
        Self::Passing(error.into())
    }
}

/// A message, or why it could not be delivered.
type Delivered = Result<Message, async_nats::Error>;
/// What a pull brings, as it comes.
type Pulled = ReadyChunks<pull::Batch>;

/// A message as far as it matters here.
struct Request {
    /// Whose request it was, in that process's own words.
    request: String,
    body: Bytes,
}

/// Owns the writing into the log.
pub(super) struct Follower {
    log: Log,
    directory: PathBuf,
    stream: Stream,
    losses: watch::Receiver<()>,
    position: Position,
    /// The sequence number that was last noted in the directory.
    noted: u64,
    /// The last message that the stream is known to have. While the copy lacks it, a write would
    /// have to wait for all that is before.
    last: u64,
    progress: watch::Sender<Progress>,
    waiting: Arc<Waiting>,
    /// What comes from the stream is bounded by the pulls, so the claims on it are for nothing.
    unclaimed: Arc<Semaphore>,
}

impl Follower {
    pub(super) fn new(
        log: Log,
        directory: PathBuf,
        stream: Stream,
        losses: watch::Receiver<()>,
        position: Position,
        waiting: Arc<Waiting>,
    ) -> (Self, watch::Receiver<Progress>) {
        let start = Progress { sequence: position.sequence, may_write: Err(AppendError::Behind) };
        let (progress, watched) = watch::channel(start);
        let (noted, last, unclaimed) = (position.sequence, u64::MAX, Arc::new(Semaphore::new(0)));
        (Self { log, directory, stream, losses, position, noted, last, progress, waiting, unclaimed }, watched)
    }

    /// Copies until `own` are stopped. Where it cannot go on, `all` are stopped.
    pub(super) async fn run(mut self, own: Tasks, all: Tasks) {
        loop {
            let trouble = tokio::select! {
                Err(trouble) = self.copy() => trouble,
                () = own.stopping() => break,
            };
            match trouble {
                Trouble::Passing(error) => {
                    tracing::warn!(%error, at = self.position.sequence, "the stream is asked again from where the copy is");
                    self.tell(Err(AppendError::Unreachable));
                }
                Trouble::Lasting(what) => {
                    tracing::error!("the copy of the stream cannot go on: {what}");
                    self.tell(Err(AppendError::Failed));
                    all.stop();
                    break;
                }
                Trouble::Closed => break,
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => (),
                () = own.stopping() => break,
            }
        }
        self.note().await;
    }

    /// Copies until something is wrong.
    async fn copy(&mut self) -> Result<Infallible, Trouble> {
        self.losses.mark_unchanged();
        self.check().await?;
        let consumer = self.consumer().await?;
        loop {
            let pull = consumer.batch().max_messages(PULL_MESSAGES).max_bytes(PULL_BYTES).expires(PULL);
            let mut messages = pull.messages().await?.ready_chunks(PULL_MESSAGES);
            let mut is_idle = true;
            while let Some(chunk) = self.next(&mut messages).await? {
                is_idle = false;
                self.apply(chunk).await?;
            }
            if is_idle && self.position.sequence < self.last {
                return Err("a pull brought nothing although the stream has more".to_owned().into());
            }
            if is_idle {
                self.note().await;
                self.check().await?;
            }
        }
    }

    /// What has arrived, or nothing at the end of the pull. What was under way when a connection
    /// was lost does not come any more.
    async fn next(&mut self, messages: &mut Pulled) -> Result<Option<Vec<Delivered>>, Trouble> {
        tokio::select! {
            chunk = tokio::time::timeout(PULL + LATE, messages.next()) => Ok(chunk?),
            _ = self.losses.changed() => Err("the connection was lost".to_owned().into()),
        }
    }

    /// Whether the stream is the one that was copied, as far as it was, and whether there is more.
    async fn check(&mut self) -> Result<(), Trouble> {
        let info = self.stream.get_info().await?;
        let (copied, last) = (self.position.sequence, info.state.last_sequence);
        if made_at_us(&info) != self.position.made_at_us {
            return Err(Trouble::Lasting("the stream was deleted and made anew; begin in an empty directory".into()));
        }
        if last < copied {
            // One that takes over may have to catch up itself.
            return Err(format!("the stream ends at {last}, before what was copied of it, {copied}").into());
        }
        if copied > 0 && self.message_at(copied).await? != self.position.message {
            return Err(Trouble::Lasting(format!(
                "message {copied} of the stream is not the one that was copied; NATS has lost acknowledged messages"
            )));
        }
        self.last = last;
        if copied == last {
            self.tell(Ok(()));
        }
        Ok(())
    }

    /// The id of a message; empty where it has none, or is gone.
    async fn message_at(&self, sequence: u64) -> Result<String, Trouble> {
        match self.stream.get_raw_message(sequence).await {
            Ok(message) => Ok(text(&message.headers, NATS_MESSAGE_ID.as_ref())),
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(String::new()),
            Err(error) => Err(error.into()),
        }
    }

    /// Delivers every message behind the copy, in order; it is the servers' to forget.
    async fn consumer(&self) -> Result<PullConsumer, Trouble> {
        let config = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: self.position.sequence + 1 },
            ack_policy: AckPolicy::None,
            inactive_threshold: ABANDONED,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        };
        Ok(tokio::time::timeout(DEADLINE, self.stream.create_consumer(config)).await??)
    }

    async fn apply(&mut self, messages: Vec<Delivered>) -> Result<(), Trouble> {
        let mut broken = None;
        let mut requests = Vec::with_capacity(messages.len());
        let mut position = self.position.clone();
        for message in messages {
            match message.map_err(Trouble::from).and_then(|message| Self::take(&message, &mut position)) {
                Ok(request) => requests.extend(request),
                Err(trouble) => {
                    broken = Some(trouble);
                    break;
                }
            }
        }
        let answers = self.store(&requests).await?;
        position.event = self.log.head().seq;
        self.position = position;
        let is_current = self.position.sequence >= self.last;
        self.tell(if is_current { Ok(()) } else { Err(AppendError::Behind) });
        for (Request { request, .. }, answer) in requests.iter().zip(answers) {
            self.waiting.tell(request, answer);
        }
        if self.position.sequence - self.noted >= NOTED_EVERY {
            self.note().await;
        }
        broken.map_or(Ok(()), Err)
    }

    /// The request that comes next, if the message is one; moves the position on to it.
    fn take(message: &Message, position: &mut Position) -> Result<Option<Request>, Trouble> {
        let sequence = message.info()?.stream_sequence;
        if sequence != position.sequence + 1 {
            return Err(format!("message {} is missing from the stream", position.sequence + 1).into());
        }
        let headers = message.headers.clone().unwrap_or_default();
        let request = match text(&headers, HEADER_FORMAT).as_str() {
            FORMAT => Some(Request { request: text(&headers, HEADER_REQUEST), body: message.payload.clone() }),
            "" => {
                tracing::warn!(sequence, "a message of the stream is none of ours and passed over");
                None
            }
            newer => {
                let what =
                    format!("message {sequence} has format {newer}, which this program does not know; update it");
                return Err(Trouble::Lasting(what));
            }
        };
        position.sequence = sequence;
        position.message = text(&headers, NATS_MESSAGE_ID.as_ref());
        Ok(request)
    }

    /// Stores each request whole or not at all, and as many as possible in one transaction.
    async fn store(&self, requests: &[Request]) -> Result<Vec<Answer>, Trouble> {
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        let (lengths, answer) = self.store_as_one(requests).await?;
        match answer {
            Ok(receipts) => {
                let mut receipts = receipts.into_iter();
                Ok(lengths.into_iter().map(|length| Ok(receipts.by_ref().take(length).collect())).collect())
            }
            Err(conflict) if requests.len() == 1 => Ok(vec![Err(conflict)]),
            Err(_) => {
                let mut answers = Vec::with_capacity(requests.len());
                for request in requests {
                    answers.push(self.store_as_one(std::slice::from_ref(request)).await?.1);
                }
                Ok(answers)
            }
        }
    }

    /// How many events each request has, and their receipts together, or the conflict for which
    /// none of them was stored. Tries until the disk lets it.
    async fn store_as_one(&self, requests: &[Request]) -> Result<(Vec<usize>, Answer), Trouble> {
        loop {
            let (batch, lengths) = self.read(requests).await?;
            match self.log.append(batch).await {
                answer @ (Ok(_) | Err(AppendError::Conflict { .. })) => return Ok((lengths, answer)),
                Err(AppendError::Closed) => return Err(Trouble::Closed),
                Err(error) => {
                    self.tell(Err(error));
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn read(&self, requests: &[Request]) -> Result<(Batch, Vec<usize>), Trouble> {
        let bodies: Vec<Bytes> = requests.iter().map(|request| request.body.clone()).collect();
        let claim = self.unclaimed.clone().try_acquire_many_owned(0).expect("nothing is always free");
        let reading = tokio::task::spawn_blocking(move || {
            let (mut events, mut lengths) = (Vec::new(), Vec::with_capacity(bodies.len()));
            for body in bodies {
                let read = message::decode(&body)?;
                lengths.push(read.len());
                events.extend(read);
            }
            Ok::<_, serde_json::Error>((Batch::new(events, claim), lengths))
        });
        let read = reading.await.expect("reading JSON does not panic");
        read.map_err(|error| Trouble::Lasting(format!("a message of the stream cannot be read: {error}")))
    }

    fn tell(&self, may_write: Result<(), AppendError>) {
        metrics::gauge!("event_store_stream_sequence").set(self.position.sequence as f64);
        let now = Progress { sequence: self.position.sequence, may_write };
        self.progress.send_if_modified(|before| std::mem::replace(before, now) != now);
    }

    /// A note that cannot be written is written later; until then more would be applied again.
    async fn note(&mut self) {
        if self.noted == self.position.sequence {
            return;
        }
        let (position, directory) = (self.position.clone(), self.directory.clone());
        let noting = tokio::task::spawn_blocking(move || position.save(&directory));
        match noting.await.expect("writing a file does not panic") {
            Ok(()) => self.noted = self.position.sequence,
            Err(error) => tracing::warn!(%error, "how far the copy of the stream is cannot be noted"),
        }
    }
}

fn text(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).map(|value| value.as_str().to_owned()).unwrap_or_default()
}
