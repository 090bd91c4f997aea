//! The conversation with the control plane: register, ask for work, say how it
//! goes, until told to stop or nobody has answered for too long.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use client::Error;
use client::events::{EventStore, Signer};
use client::sender::{self, Flushed, Sender};
use client::worker::Worker;
use kit::Tasks;
use kit::backoff::Backoff;
use kit::tasks::blocking;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use wire::checkpoint::KeptWork;
use wire::id::{AttachmentId, CheckpointId, ExecutionId};
use wire::limit::POLL_SECONDS_MAX;
use wire::signature::Key;
use wire::worker::{EventAccess, Instruction, Lease, PROTOCOL, Poll, Register, Registered};

use crate::checkpoint;
use crate::config::Config;
use crate::health;
use crate::leftovers;
use crate::orders::Halt;
use crate::record::Entry;
use crate::room::{Opened, Room};

mod attachment;
mod board;
mod errand;
mod hold;
mod inventory;
mod reports;
mod resume;
mod silence;
use board::{Board, Taken, Work};
use errand::LAST_WORD;
use inventory::Inventory;
use reports::Link;
use resume::Resume;
use silence::Silence;

const RETRY: Backoff = Backoff { first: Duration::from_millis(100), most: Duration::from_secs(10) };
/// Before asking again when the answer was of no use, so that a confused server is not flooded.
const PAUSE: Duration = Duration::from_secs(1);
/// How long the last checkpoint may take while the runner stops.
const LAST_CHECKPOINT: Duration = Duration::from_secs(20);
/// One request to the event store: far below the store's own bounds.
const BATCH_EVENTS: usize = 500;
const BATCH_BYTES: usize = 2 * 1024 * 1024;

/// Works until `tasks` are told to stop.
pub(crate) async fn run(config: Config, opened: Opened, tasks: &Tasks) -> anyhow::Result<()> {
    let Opened { room, entries } = opened;
    let (earlier, old) = (room.clone(), room.volume.execution_ids().unwrap_or_default());
    blocking(move || {
        leftovers::end_forgotten(&old.iter().map(ToString::to_string).collect());
        for id in old {
            earlier.isolation.disband(&earlier.volume.execution(id));
        }
    })
    .await;
    let mut session = Session::new(config, room, entries);
    let ended = session.work(tasks).await;
    session.close().await;
    ended
}

struct Session {
    config: Config,
    room: Arc<Room>,
    boot: uuid::Uuid,
    link: watch::Sender<Option<Link>>,
    board: Arc<Board>,
    execution: Option<JoinHandle<()>>,
    events: Events,
    /// Its own, because they must outlive the stop for as long as the last events take.
    tasks: Tasks,
    checkpointed_batch: Option<i64>,
    inventory: Inventory,
    check_is_due: bool,
    failures: u32,
    silence: Silence,
    /// When the control plane answered last.
    heard: watch::Sender<Option<Instant>>,
}

/// Where events go: nowhere before the first registration says where the store is.
enum Events {
    Waiting(mpsc::Receiver<Entry>),
    Going(Sender),
}

/// What the session waits for.
enum Step {
    Stopping,
    Resumed,
    Ended,
    Answered(Result<Instruction, Error>),
}

/// What the session does next, and how long it waits before it polls.
enum Then {
    Poll(Duration),
    Register(Duration),
}

impl Session {
    fn new(config: Config, room: Arc<Room>, entries: mpsc::Receiver<Entry>) -> Self {
        let boot = uuid::Builder::from_random_bytes(room.chance.bytes()).into_uuid();
        Self {
            config,
            room,
            boot,
            link: watch::Sender::new(None),
            board: Arc::default(),
            execution: None,
            events: Events::Waiting(entries),
            tasks: Tasks::new(),
            checkpointed_batch: None,
            inventory: Inventory::default(),
            check_is_due: true,
            failures: 0,
            silence: Silence::since(Instant::now()),
            heard: watch::Sender::new(None),
        }
    }

    async fn work(&mut self, tasks: &Tasks) -> anyhow::Result<()> {
        self.tasks.spawn_until_stopped("heartbeats", reports::heartbeats(self.link.subscribe(), self.board.clone()));
        if let Some(hold) = &self.config.hold {
            let keeping = hold::keep(hold.clone(), self.board.clone(), self.heard.subscribe());
            self.tasks.spawn_until_stopped("hold", keeping);
        }
        let Some(mut worker) = self.register(tasks).await? else { return Ok(()) };
        self.check_if_due().await;
        let mut resume = Resume::new(self.room.clock.uncorrected());
        self.tell_checkpoints(&worker).await;
        let mut polling = Box::pin(next(worker.clone(), self.poll().await, Duration::ZERO));
        loop {
            let step = tokio::select! {
                biased;
                () = tasks.stopping() => Step::Stopping,
                () = ended(&mut self.execution) => Step::Ended,
                () = resume.noticed(&self.board) => Step::Resumed,
                answer = &mut polling => Step::Answered(answer),
            };
            let then = match step {
                Step::Stopping => return Ok(()),
                Step::Ended => {
                    self.end_execution();
                    // The poll that is held open stays: it may be about to bring the next lease.
                    continue;
                }
                Step::Resumed => {
                    self.board.pulse.doubt();
                    Then::Register(Duration::ZERO)
                }
                Step::Answered(Ok(instruction)) => {
                    self.note_answer();
                    self.check_is_due |= resume.is_past();
                    Then::Poll(self.follow(instruction).await)
                }
                Step::Answered(Err(error)) if reports::is_unknown_worker(&error) => Then::Register(PAUSE),
                Step::Answered(Err(error)) => Then::Poll(self.note_failure(&error)?),
            };
            let pause = match then {
                Then::Poll(pause) => pause,
                Then::Register(pause) => {
                    // A fresh registration comes with fresh connections: old ones may be dead.
                    self.check_is_due = true;
                    let Some(registered) = self.register(tasks).await? else { return Ok(()) };
                    worker = registered;
                    pause
                }
            };
            self.tell_checkpoints(&worker).await;
            polling = Box::pin(next(worker.clone(), self.poll().await, pause));
        }
    }

    /// Registers, as often as it takes. Nothing comes back when the runner is to stop.
    async fn register(&mut self, tasks: &Tasks) -> anyhow::Result<Option<Worker>> {
        let register = Register {
            machine_id: self.config.machine_id,
            boot: self.boot,
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            capacity: 1,
            repositories: self.room.volume.repository_names(),
        };
        loop {
            let (url, token) = (&self.config.control_url, &self.config.machine_token);
            let registering = Worker::register(url, token, &register, &self.room.clock);
            let registered = tokio::select! {
                () = tasks.stopping() => return Ok(None),
                registered = registering => registered,
            };
            let error = match registered {
                Ok((worker, registered)) => {
                    self.take_registration(&worker, &registered)?;
                    return Ok(Some(worker));
                }
                Err(error) => error,
            };
            let pause = self.note_failure(&error)?;
            tokio::select! {
                () = tasks.stopping() => return Ok(None),
                () = tokio::time::sleep(pause) => (),
            }
        }
    }

    fn take_registration(&mut self, worker: &Worker, registered: &Registered) -> anyhow::Result<()> {
        tracing::info!("registered as worker {}", registered.worker_id);
        self.note_answer();
        let heartbeat = Duration::from_secs(registered.heartbeat_seconds.max(1));
        self.link.send_replace(Some(Link { worker: worker.clone(), heartbeat }));
        let store = self.event_store(&registered.events)?;
        match &self.events {
            Events::Going(sender) => sender.redirect(store),
            Events::Waiting(_) => {
                let limits = sender::Limits {
                    spool_bytes: self.room.limits.spool_bytes,
                    batch_events: BATCH_EVENTS,
                    batch_bytes: BATCH_BYTES,
                };
                let sender =
                    Sender::open(&self.room.volume.spool(), store, limits, self.room.chance.clone(), &self.tasks)
                        .context("the event spool cannot be opened")?;
                let waiting = std::mem::replace(&mut self.events, Events::Going(sender.clone()));
                if let Events::Waiting(entries) = waiting {
                    self.tasks.spawn("events", deliver(entries, sender, self.tasks.clone()));
                }
            }
        }
        Ok(())
    }

    fn event_store(&self, access: &EventAccess) -> anyhow::Result<EventStore> {
        let key = Key::parse(&access.key).context("the control plane gave a key for events that is none")?;
        let (clock, chance) = (self.room.clock.clone(), self.room.chance.clone());
        Ok(EventStore::new(&access.url, Signer { key, key_id: Some(access.key_id.clone()), clock, chance }))
    }

    /// What is read of the volume for it is read elsewhere: it may be many files.
    async fn poll(&self) -> Poll {
        let running = self.board.running();
        let (volume, in_hand) = (self.room.volume.clone(), running.clone());
        let (repositories, checkpoints, kept) = blocking(move || {
            // What is in hand is not saved yet, and not in need of it.
            let is_left = |work: &KeptWork| {
                !work.is_unsaved() || in_hand.iter().all(|running| running.execution_id != work.execution_id)
            };
            let kept = checkpoint::kept_work(&volume).map(|kept| kept.into_iter().filter(is_left).collect());
            (volume.repository_names(), checkpoint::held(&volume), kept)
        })
        .await;
        if let Err(error) = &kept {
            tracing::warn!("the control plane does not hear what nobody pushed, and goes by what it knows: {error}");
        }
        Poll {
            wait_seconds: POLL_SECONDS_MAX,
            running,
            checkpointed_batch: self.checkpointed_batch,
            repositories,
            checkpoints: checkpoints.ok(),
            kept: kept.ok(),
            attaches: true,
        }
    }

    /// Does what it is told, and says how long to wait before asking again.
    async fn follow(&mut self, instruction: Instruction) -> Duration {
        let was_of_use = match instruction {
            Instruction::Wait => true,
            Instruction::Execute(lease) => self.take(*lease).await,
            Instruction::Cancel { execution_id } => self.board.halt(execution_id, Halt::Cancelled),
            Instruction::Attach { attachment, execution_id, write } => {
                self.attach(attachment, execution_id, write);
                true
            }
            // A machine that sleeps delivers nothing, and one that is destroyed never will: while the
            // event store is away, the batch is not over.
            Instruction::Checkpoint { .. } if self.board.is_idle() && !self.is_all_told().await => false,
            Instruction::Checkpoint { batch } if self.board.is_idle() => {
                health::settle_all(&self.room).await;
                self.checkpointed_batch = Some(batch);
                true
            }
            Instruction::Checkpoint { .. } => false,
            Instruction::Pin { checkpoint_id, pinned } => self.pin(checkpoint_id, pinned),
        };
        if was_of_use { Duration::ZERO } else { PAUSE }
    }

    /// Keeps a checkpoint whatever else is saved, or no longer; the next poll says so.
    fn pin(&self, id: CheckpointId, pinned: bool) -> bool {
        match checkpoint::pin(&self.room.volume, id, pinned) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!("the pin of checkpoint {id} cannot be written down: {error}");
                false
            }
        }
    }

    /// Comes to whoever attaches, beside everything else.
    fn attach(&self, attachment: AttachmentId, execution: ExecutionId, write: bool) {
        let Some(link) = self.link.borrow().clone() else { return };
        let seat = self.room.stage.watch(execution);
        let coming = attachment::run(link.worker, attachment, seat, write);
        self.tasks.spawn_until_stopped("attachment", coming);
    }

    /// Whether the event store has answered for every event so far.
    async fn is_all_told(&self) -> bool {
        self.room.recorder.flush(self.room.limits.flush).await == Flushed::Delivered
    }

    /// Tells of the checkpoints that the control plane has not heard of from this process.
    async fn tell_checkpoints(&mut self, worker: &Worker) {
        self.inventory.tell(&self.room, worker).await;
    }

    async fn take(&mut self, lease: Lease) -> bool {
        self.check_if_due().await;
        let id = lease.execution_id;
        self.take_grant(&lease);
        match self.board.take(lease) {
            Taken::Begin(work) => self.begin(*work),
            Taken::Waits => (),
            Taken::Ignored => {
                tracing::debug!("execution {id} is in hand already");
                return false;
            }
        }
        true
    }

    /// Sees to it that the events of the execution go with the grant that its lease came with.
    fn take_grant(&self, lease: &Lease) {
        let id = lease.execution_id;
        let Events::Going(sender) = &self.events else { return };
        match lease.grant.as_deref().map(|grant| sender.grant(id, grant)) {
            Some(Ok(())) => (),
            Some(Err(error)) => tracing::error!("the event store will refuse the record of execution {id}: {error}"),
            None => tracing::warn!(
                "the lease of execution {id} came without a grant, without which newer event stores refuse its \
                 record: bring the control plane up to date"
            ),
        }
    }

    fn begin(&mut self, work: Work) {
        tracing::info!("execution {} begins", work.lease.execution_id);
        let (room, links) = (self.room.clone(), self.link.subscribe());
        self.execution = Some(self.tasks.spawn("execution", errand::run(room, links, work)));
    }

    fn end_execution(&mut self) {
        self.execution = None;
        if let Some(next) = self.board.end_current() {
            self.begin(*next);
        }
    }

    /// Looks whether the volume is as it was left, while nothing works on it.
    async fn check_if_due(&mut self) {
        if self.check_is_due && self.board.is_idle() {
            health::check(&self.room).await;
            self.check_is_due = false;
        }
    }

    fn note_answer(&mut self) {
        let now = Instant::now();
        self.silence = Silence::since(now);
        self.failures = 0;
        self.heard.send_replace(Some(now));
    }

    /// Notes that the control plane was not heard, and says how long to wait: not at all the
    /// first time, for a connection that died while the machine was suspended.
    fn note_failure(&mut self, error: &Error) -> anyhow::Result<Duration> {
        self.failures += 1;
        self.check_is_due = true;
        let silence = self.silence.failed(Instant::now());
        if silence > self.room.limits.silence && self.board.is_idle() {
            bail!("the control plane has not answered for {silence:?}, so this machine is forgotten: {error}");
        }
        if self.failures == 1 {
            tracing::info!("the control plane did not answer: {error}");
            return Ok(Duration::ZERO);
        }
        tracing::warn!("the control plane did not answer {} times in a row: {error}", self.failures);
        Ok(RETRY.wait(self.failures - 1, &self.room.chance))
    }

    /// Ends what is in hand, delivers what can be delivered, and leaves nothing behind.
    async fn close(mut self) {
        if let Events::Going(sender) = &self.events {
            sender.lift_bound();
        }
        self.board.halt_all(Halt::Stopping);
        if let Some(execution) = self.execution.take() {
            let limit = self.room.limits.grace + LAST_CHECKPOINT + self.room.limits.flush + LAST_WORD;
            if tokio::time::timeout(limit, execution).await.is_err() {
                tracing::warn!("the execution in hand did not end within {limit:?}");
            }
        }
        if let Err(error) = self.room.background.stop(LAST_WORD).await {
            tracing::warn!("what was being made ready is left: {error}");
        }
        if let Events::Going(_) = self.events
            && !self.is_all_told().await
        {
            tracing::warn!("some events stay in the spool until the runner starts again");
        }
        if let Err(error) = self.tasks.stop_within(LAST_WORD).await {
            tracing::warn!("{error}");
        }
    }
}

async fn next(worker: Worker, poll: Poll, pause: Duration) -> Result<Instruction, Error> {
    tokio::time::sleep(pause).await;
    worker.next(&poll).await
}

async fn ended(execution: &mut Option<JoinHandle<()>>) {
    match execution {
        Some(handle) => {
            if let Err(error) = handle.await {
                // A bug; whoever supervises this process gives the lease to somebody else.
                std::panic::resume_unwind(error.into_panic());
            }
        }
        None => std::future::pending().await,
    }
}

/// Passes on what is told, and after the stop what was told before it: the queue is memory, the
/// spool is not.
async fn deliver(mut entries: mpsc::Receiver<Entry>, sender: Sender, tasks: Tasks) {
    loop {
        let entry = tokio::select! {
            biased;
            () = tasks.stopping(), if !entries.is_closed() => {
                entries.close();
                continue;
            }
            entry = entries.recv() => entry,
        };
        match entry {
            Some(Entry::Event(event)) => sender.send(event).await,
            Some(Entry::Flush { within, flushed }) => drop(flushed.send(sender.flush(within).await)),
            None => return,
        }
    }
}

#[cfg(test)]
mod tests;
