//! The story of what happens on this machine, as events in order.
//!
//! Events go through one bounded queue to whoever delivers them; when it is full,
//! whoever tells waits, and with it the command whose output is told.

use std::time::Duration;

use chrono::{DateTime, Utc};
use client::sender::Flushed;
use kit::{Chance, Clock};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use wire::event::{Event, LogData, LogPayload, PhasePayload, SCHEMA_VERSION, Stream, kind};
use wire::execution::{Cache, Phase, PhaseTiming};
use wire::id::{EventId, ExecutionId, MachineId, TaskId};

use crate::command::redaction::Secrets;
use crate::orders::{Halt, Orders};

/// Events that wait for their delivery in memory.
const QUEUE: usize = 256;
/// How much of a log is kept for whoever listens.
const HEARD_BYTES: usize = 8 * 1024 * 1024;

/// What the queue holds.
#[derive(Debug)]
pub(crate) enum Entry {
    /// To be delivered.
    Event(Event),
    /// Everything before this is to be delivered within the time, or else put on disk for good.
    Flush {
        /// How long to try.
        within: Duration,
        /// Where the answer goes.
        flushed: oneshot::Sender<Flushed>,
    },
}

/// Tells events. Clones tell into the same queue.
#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    queue: mpsc::Sender<Entry>,
    producer: String,
    clock: Clock,
    chance: Chance,
}

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Subject {
    pub(crate) task_id: TaskId,
    pub(crate) execution_id: ExecutionId,
}

impl Recorder {
    /// A recorder for this machine, and the end of the queue that its events come out of.
    pub(crate) fn new(machine: MachineId, clock: Clock, chance: Chance) -> (Self, mpsc::Receiver<Entry>) {
        let (queue, entries) = mpsc::channel(QUEUE);
        (Self { queue, producer: wire::signature::machine_key_id(machine), clock, chance }, entries)
    }

    /// Tells one event, about an execution where it is about one.
    pub(crate) async fn tell(&self, subject: Option<Subject>, kind: &str, payload: &impl Serialize) {
        let now = self.clock.now();
        let event = Event {
            id: EventId::mint(now, self.chance.bytes()),
            kind: kind.to_owned(),
            task_id: subject.map(|subject| subject.task_id),
            execution_id: subject.map(|subject| subject.execution_id),
            producer: self.producer.clone(),
            created_at: now,
            schema_version: SCHEMA_VERSION,
            payload: serde_json::value::to_raw_value(payload).expect("payloads are plain data"),
        };
        // Nobody takes events any more only while the process ends.
        drop(self.queue.send(Entry::Event(event)).await);
    }

    /// Waits until everything told so far is delivered, at most as long as given; says how safe it
    /// is then.
    pub(crate) async fn flush(&self, within: Duration) -> Flushed {
        let (flushed, answer) = oneshot::channel();
        let entry = Entry::Flush { within, flushed };
        let answer = async {
            match self.queue.send(entry).await {
                Ok(()) => answer.await.unwrap_or(Flushed::Unsafe),
                Err(_) => Flushed::Unsafe,
            }
        };
        // The queue before it may take as long again.
        tokio::time::timeout(within * 2, answer).await.unwrap_or(Flushed::Unsafe)
    }
}

/// The story of one execution. It falls silent when the lease is lost.
#[derive(Debug)]
pub(crate) struct Story {
    recorder: Recorder,
    subject: Subject,
    orders: Orders,
    secrets: Secrets,
    log_seq: u64,
    phases: Vec<PhaseTiming>,
    /// What was logged since somebody listens.
    heard: Option<Vec<u8>>,
}

/// A phase that has begun.
#[derive(Debug, Clone, Copy)]
#[must_use = "a phase that begins must end"]
pub(crate) struct Begun {
    phase: Phase,
    since: Instant,
}

impl Story {
    pub(crate) fn new(recorder: Recorder, subject: Subject, orders: Orders) -> Self {
        Self { recorder, subject, orders, secrets: Secrets::default(), log_seq: 0, phases: Vec::new(), heard: None }
    }

    pub(crate) fn subject(&self) -> Subject {
        self.subject
    }

    pub(crate) fn orders(&self) -> &Orders {
        &self.orders
    }

    /// What whoever logs for others has to keep out of it.
    pub(crate) fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// From now on these are secret.
    pub(crate) fn learn(&mut self, secrets: Secrets) {
        self.secrets = secrets;
    }

    /// By the machine's own clock, which files get their times of; it may be behind for a while after a resume.
    pub(crate) fn machine_now(&self) -> DateTime<Utc> {
        self.recorder.clock.uncorrected().now()
    }

    /// The phases that have ended so far.
    pub(crate) fn phases(&self) -> Vec<PhaseTiming> {
        self.phases.clone()
    }

    pub(crate) async fn tell(&self, kind: &str, payload: &impl Serialize) {
        if self.orders.standing() != Some(Halt::LeaseLost) {
            self.recorder.tell(Some(self.subject), kind, payload).await;
        }
    }

    /// Resolves when an event can be told without waiting. Giving this up loses nothing.
    pub(crate) async fn may_tell(&self) {
        drop(self.recorder.queue.reserve().await);
    }

    /// From now on what is logged is kept as well.
    pub(crate) fn listen(&mut self) {
        self.heard = Some(Vec::new());
    }

    /// What was logged since [`Story::listen`], the last of it where that is much.
    pub(crate) fn heard(&mut self) -> Vec<u8> {
        let mut heard = self.heard.take().unwrap_or_default();
        heard.drain(..heard.len().saturating_sub(HEARD_BYTES));
        heard
    }

    pub(crate) async fn log(&mut self, stream: Stream, bytes: Vec<u8>) {
        if let Some(heard) = &mut self.heard {
            heard.extend_from_slice(&bytes);
            if heard.len() > 2 * HEARD_BYTES {
                heard.drain(..heard.len() - HEARD_BYTES);
            }
        }
        let payload = LogPayload { seq: self.log_seq, stream, data: LogData::from_bytes(bytes) };
        self.log_seq += 1;
        self.tell(kind::EXECUTION_LOG, &payload).await;
    }

    pub(crate) async fn begin(&self, phase: Phase) -> Begun {
        let since = Instant::now();
        self.tell(kind::EXECUTION_PHASE, &PhasePayload { phase, micros: None, cache: None, detail: None }).await;
        Begun { phase, since }
    }

    pub(crate) async fn end(&mut self, begun: Begun, cache: Option<Cache>, detail: Option<String>) {
        let micros = u64::try_from(begun.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        let phase = begun.phase;
        match self.phases.iter_mut().find(|earlier| earlier.phase == phase) {
            // Where there was no room at first, it was gone through again.
            Some(earlier) => *earlier = PhaseTiming { phase, micros: earlier.micros.saturating_add(micros), cache },
            None => self.phases.push(PhaseTiming { phase, micros, cache }),
        }
        self.tell(kind::EXECUTION_PHASE, &PhasePayload { phase, micros: Some(micros), cache, detail }).await;
    }
}
