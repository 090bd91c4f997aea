//! The one task that changes a machine. Orders and what happens to its processes
//! come to it one after the other; it decides by [`state::step`], does what follows,
//! keeps the record on disk, and only then answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use fly::MachineConfig;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::lease;
use super::record::{Record, Source, exit_event};
use super::restart;
use super::state::{self, Event, Found, Illegal, State};
use super::stop::HowToStop;
use crate::process::{self, Exit, Init, Root};
use crate::refusal::Refusal;
use crate::registry::Registry;

/// When the emulator stops, no machine gets longer to do so.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);
/// Fly cannot save more memory than that.
const SUSPENDABLE_MB: u32 = 2_048;

/// What a caller wants of a machine.
#[derive(Debug)]
pub(crate) enum Order {
    /// Start or resume.
    Start,
    /// Suspend.
    Suspend,
    /// Stop.
    Stop(HowToStop),
    /// Stop and start.
    Restart(HowToStop),
    /// Destroy, with `force` even if it runs.
    Destroy { force: bool },
    /// Take or prolong the lease.
    AcquireLease { description: String, ttl: TimeDelta },
    /// Give the lease back.
    ReleaseLease,
    /// Change the metadata.
    ChangeMetadata(MetadataChange),
}

/// New metadata.
#[derive(Debug)]
pub(crate) struct MetadataChange {
    /// Whether what is not named is removed.
    pub(crate) replaces_all: bool,
    /// Nothing removes a key.
    pub(crate) values: BTreeMap<String, Option<String>>,
    /// The change is refused if the machine has another version.
    pub(crate) machine_version: Option<String>,
}

/// An order with the lease it is given under, and where its answer goes.
pub(crate) struct Command {
    pub(crate) order: Order,
    pub(crate) nonce: Option<String>,
    pub(crate) answer: oneshot::Sender<Result<Outcome, Refusal>>,
}

/// What an order led to.
pub(crate) struct Outcome {
    pub(crate) previous: State,
    pub(crate) record: Arc<Record>,
}

/// A machine's only writer.
pub(crate) struct Actor {
    pub(super) registry: Arc<Registry>,
    pub(super) record: Record,
    pub(super) config: MachineConfig,
    pub(super) configured_stop: HowToStop,
    pub(super) ordered_stop: HowToStop,
    view: watch::Sender<Arc<Record>>,
    pub(super) init: Option<Init>,
    /// How an init ended, until that is noted.
    pub(super) exit: Option<Exit>,
    /// Why an effect failed that the machine has survived.
    pub(super) failure: Option<Refusal>,
    pub(super) stop_overdue: Option<Instant>,
    pub(super) restart_due: Option<Instant>,
    is_changed: bool,
}

impl Actor {
    pub(crate) fn new(
        registry: Arc<Registry>,
        record: Record,
        config: MachineConfig,
        configured_stop: HowToStop,
        view: watch::Sender<Arc<Record>>,
    ) -> Self {
        Self {
            registry,
            record,
            config,
            configured_stop,
            ordered_stop: HowToStop::default(),
            view,
            init: None,
            exit: None,
            failure: None,
            stop_overdue: None,
            restart_due: None,
            is_changed: false,
        }
    }

    /// Starts a machine that was just created for that.
    pub(crate) async fn launch(&mut self) {
        self.happen(Event::Launch).await;
    }

    /// Finds what an emulator that was killed has left of the machine. `has_remains` says whether any
    /// process carries its mark.
    pub(crate) async fn recover(&mut self, has_remains: bool) {
        let adopted = match &self.record.process {
            Some(identity) => Init::adopt(identity, &self.registry.boot_id),
            None => Ok(None),
        };
        self.init = adopted.unwrap_or_else(|error| {
            tracing::warn!(fly.machine.id = %self.record.id, %error, "a machine's process cannot be adopted");
            None
        });
        let found = match &self.init {
            Some(_) => Found::Alive,
            None => {
                if has_remains {
                    self.end_remains().await;
                }
                // How it ended nobody has seen.
                self.exit = self.record.process.take().map(|_| Exit::default());
                Found::Gone(self.verdict(Exit::default()))
            }
        };
        self.happen(Event::Recovered(found)).await;
    }

    async fn end_remains(&self) {
        let root = Root::marked(&self.record.id);
        if let Err(error) = super::effects::blocking(move || process::kill(&root)).await {
            tracing::error!(fly.machine.id = %self.record.id, %error, "processes of a lost machine still run");
        }
    }

    /// Serves the machine until it is destroyed or the emulator stops; then no process of it is left.
    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let tasks = self.registry.tasks.clone();
        while self.record.state != State::Destroyed {
            tokio::select! {
                () = tasks.stopping() => return self.shut_down(commands).await,
                Some(command) = commands.recv() => self.obey(command).await,
                () = ended(self.init.as_ref()) => self.init_ended().await,
                () = due(self.stop_overdue) => self.happen(Event::StopOverdue).await,
                () = due(self.restart_due) => self.happen(Event::RestartDue).await,
            }
        }
    }

    async fn shut_down(mut self, commands: mpsc::Receiver<Command>) {
        // Whoever still waits for an answer learns that there will be none.
        drop(commands);
        let latest = Instant::now() + SHUTDOWN_GRACE;
        self.happen(Event::Shutdown).await;
        while self.record.state == State::Stopping {
            let overdue = self.stop_overdue.map_or(latest, |at| at.min(latest));
            tokio::select! {
                () = ended(self.init.as_ref()) => self.init_ended().await,
                () = tokio::time::sleep_until(overdue) => {
                    self.happen(Event::StopOverdue).await;
                    break;
                }
            }
        }
    }

    async fn obey(&mut self, command: Command) {
        let Command { order, nonce, answer } = command;
        let result = self.carry_out_order(order, nonce.as_deref()).await;
        self.ordered_stop = HowToStop::default();
        // A caller that has gone away needs no answer.
        drop(answer.send(result));
    }

    async fn carry_out_order(&mut self, order: Order, nonce: Option<&str>) -> Result<Outcome, Refusal> {
        let previous = self.record.state;
        match order {
            Order::AcquireLease { description, ttl } => self.acquire_lease(description, ttl, nonce).await?,
            Order::ReleaseLease => self.release_lease(nonce).await?,
            Order::ChangeMetadata(change) => self.change_metadata(change).await?,
            Order::Start => self.guarded(Event::Start, nonce).await?,
            Order::Suspend => {
                self.can_suspend()?;
                self.guarded(Event::Suspend, nonce).await?;
            }
            Order::Stop(how) => {
                self.ordered_stop = how;
                self.guarded(Event::Stop, nonce).await?;
            }
            Order::Restart(how) => {
                self.ordered_stop = how;
                self.guarded(Event::Restart, nonce).await?;
            }
            Order::Destroy { force } => self.guarded(Event::Destroy { force }, nonce).await?,
        }
        Ok(Outcome { previous, record: Arc::clone(&self.view.borrow()) })
    }

    fn can_suspend(&self) -> Result<(), Refusal> {
        let has_swap = self.config.init.swap_size_mb.is_some_and(|megabytes| megabytes > 0);
        if self.config.guest.memory_mb > SUSPENDABLE_MB || has_swap {
            let limits = format!("unable to suspend machine: it must have at most {SUSPENDABLE_MB} MB and no swap");
            return Err(Refusal::failed_precondition(limits));
        }
        Ok(())
    }

    async fn guarded(&mut self, event: Event, nonce: Option<&str>) -> Result<(), Refusal> {
        let now = self.registry.clock.now();
        lease::guard(self.record.lease.as_ref(), nonce, now).map_err(|held| self.held(held))?;
        self.apply(event).await
    }

    fn held(&self, lease: &lease::Lease) -> Refusal {
        let until = lease.expires_at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        Refusal::lease_held(&self.record.id, lease::OWNER, &until)
    }

    async fn acquire_lease(&mut self, description: String, ttl: TimeDelta, nonce: Option<&str>) -> Result<(), Refusal> {
        let new_nonce = self.registry.chance.hex::<8>();
        let now = self.registry.clock.now();
        let taken = lease::acquire(self.record.lease.as_ref(), nonce, new_nonce, description, ttl, now);
        let lease = taken.map_err(|held| self.held(&held))?;
        self.change(Record { lease: Some(lease), ..self.record.clone() }).await
    }

    async fn release_lease(&mut self, nonce: Option<&str>) -> Result<(), Refusal> {
        let now = self.registry.clock.now();
        let current = lease::current(self.record.lease.as_ref(), now).ok_or_else(|| Refusal::not_found("lease"))?;
        lease::guard(Some(current), nonce, now).map_err(|held| self.held(held))?;
        self.change(Record { lease: None, ..self.record.clone() }).await
    }

    async fn change_metadata(&mut self, change: MetadataChange) -> Result<(), Refusal> {
        if change.machine_version.is_some_and(|version| version != self.record.instance_id) {
            return Err(Refusal::failed_precondition("machine_version does not match the machine's version"));
        }
        let mut metadata = if change.replaces_all { Default::default() } else { self.record.metadata() };
        for (key, value) in change.values {
            match value {
                Some(value) => drop(metadata.insert(key, json!(value))),
                None => drop(metadata.remove(&key)),
            }
        }
        let mut record = self.record.clone();
        record.config.insert("metadata".to_owned(), Value::Object(metadata));
        self.change(record).await
    }

    /// Changes the record where nothing else is to be done; what cannot be written has not happened.
    async fn change(&mut self, mut record: Record) -> Result<(), Refusal> {
        record.updated_at = self.registry.clock.now();
        self.write(Arc::new(record.clone())).await?;
        self.record = record;
        self.publish();
        Ok(())
    }

    /// Ends what the init has left behind, and goes by the restart policy.
    async fn init_ended(&mut self) {
        match self.bury().await {
            Ok(exit) => {
                self.exit = exit;
                let verdict = self.verdict(exit.unwrap_or_default());
                self.happen(Event::InitEnded(verdict)).await;
            }
            // Its end is still to be seen, so this comes again.
            Err(refusal) => {
                tracing::error!(fly.machine.id = %self.record.id, error = refusal.error, "a machine does not end")
            }
        }
    }

    pub(super) fn verdict(&self, exit: Exit) -> state::Verdict {
        let recent = restart::recent(&self.record.restarts, self.registry.clock.now());
        restart::verdict(&self.config, exit, recent.len())
    }

    /// Something that nobody waits for.
    async fn happen(&mut self, event: Event) {
        if let Err(refusal) = self.apply(event).await {
            tracing::error!(fly.machine.id = %self.record.id, ?event, error = refusal.error, "a machine is in trouble");
        }
    }

    async fn apply(&mut self, event: Event) -> Result<(), Refusal> {
        let done = self.steps(event).await;
        let kept = self.keep().await;
        match self.failure.take() {
            Some(failure) => Err(failure),
            None => done.and(kept),
        }
    }

    /// A state that lasts is entered when all that belongs to it is done, one on the way to another before.
    async fn steps(&mut self, event: Event) -> Result<(), Refusal> {
        let mut next = Some(event);
        while let Some(event) = next.take() {
            let (state, effects) =
                state::step(self.record.state, event).map_err(|illegal| refusal(&self.record.id, illegal))?;
            if !state.is_settled() {
                self.enter(state, event);
            }
            for effect in effects {
                next = self.carry_out(effect).await?.or(next);
            }
            if state.is_settled() {
                self.enter(state, event);
            }
        }
        Ok(())
    }

    fn enter(&mut self, state: State, event: Event) {
        let previous = std::mem::replace(&mut self.record.state, state);
        if let Some(exit) = self.exit.take() {
            self.note_exit(exit, previous);
        }
        if previous == state {
            return;
        }
        (self.stop_overdue, self.restart_due) = (None, None);
        self.record.updated_at = self.registry.clock.now();
        self.is_changed = true;
        if let Some((kind, source)) = log_entry(event) {
            self.note(kind, source, None);
        }
        tracing::debug!(fly.machine.id = %self.record.id, from = previous.as_str(), to = state.as_str(), "machine moved");
        // A state that lasts is shown when it is on disk; that of a destroyed machine is having nothing there.
        if !state.is_settled() || state == State::Destroyed {
            self.publish();
        }
        if state == State::Destroyed {
            self.registry.forget(&self.record.id);
        }
    }

    fn note_exit(&mut self, exit: Exit, previous: State) {
        use State::{Destroying, Restarting, Starting, Stopping, Suspended};
        let is_requested = matches!(previous, Stopping | Restarting | Destroying | Suspended);
        let is_restarting = matches!(self.record.state, Restarting | Starting);
        let event = exit_event(exit, is_requested, is_restarting, self.registry.clock.now());
        self.note("exit", Source::Flyd, Some(event));
    }

    fn note(&mut self, kind: &str, source: Source, request: Option<Value>) {
        let now = self.registry.clock.now();
        self.record.note(kind, source, request, now, &self.registry.chance);
        self.is_changed = true;
    }

    fn publish(&mut self) {
        self.view.send_replace(Arc::new(self.record.clone()));
    }

    /// Writes and then shows the record if it has changed. Of a destroyed machine there is none.
    async fn keep(&mut self) -> Result<(), Refusal> {
        if !self.is_changed || self.record.state == State::Destroyed {
            return Ok(());
        }
        let written = self.write(Arc::new(self.record.clone())).await;
        // What has happened to its processes is so, even if it could not be written.
        self.publish();
        written
    }

    async fn write(&mut self, record: Arc<Record>) -> Result<(), Refusal> {
        let path = self.registry.layout.machine_file(&record.id);
        let written = super::effects::blocking(move || crate::layout::write(&path, &*record)).await;
        written.map_err(|error| Refusal::internal("write the machine's record", &error))?;
        self.is_changed = false;
        Ok(())
    }
}

/// What an event is called in the machine's log, and who made it happen. An exit is noted by itself.
fn log_entry(event: Event) -> Option<(&'static str, Source)> {
    Some(match event {
        Event::Launch => ("launch", Source::User),
        Event::Start => ("start", Source::User),
        Event::Suspend => ("suspend", Source::User),
        Event::Stop => ("stop", Source::User),
        Event::Restart => ("restart", Source::User),
        Event::Destroy { .. } => ("destroy", Source::User),
        Event::Up => ("start", Source::Flyd),
        Event::Frozen | Event::FreezeFailed => ("suspend", Source::Flyd),
        Event::StopOverdue | Event::Shutdown => ("stop", Source::Flyd),
        Event::RestartDue => ("restart", Source::Flyd),
        Event::Removed => ("destroy", Source::Flyd),
        Event::InitEnded(_) | Event::Recovered(_) => return None,
    })
}

/// Fly's words for what cannot be done in a state.
fn refusal(id: &str, Illegal { state, event }: Illegal) -> Refusal {
    let unable = |verb| {
        Refusal::failed_precondition(format!("unable to {verb} machine from current state: '{}'", state.as_str()))
    };
    match event {
        Event::Start | Event::Suspend | Event::Stop | Event::Restart | Event::Destroy { .. }
            if state == State::Destroyed =>
        {
            Refusal::not_found("machine")
        }
        Event::Start if matches!(state, State::Stopping | State::Suspending | State::Restarting) => {
            Refusal::failed_precondition("machine still active, refusing to start")
        }
        Event::Start => unable("start"),
        Event::Suspend => unable("suspend"),
        Event::Stop => unable("stop"),
        Event::Restart => unable("restart"),
        Event::Destroy { .. } => Refusal::failed_precondition(
            "unable to destroy machine, not currently stopped, suspended, failed or created",
        ),
        Event::Launch
        | Event::Up
        | Event::Frozen
        | Event::FreezeFailed
        | Event::InitEnded(_)
        | Event::StopOverdue
        | Event::RestartDue
        | Event::Removed
        | Event::Shutdown
        | Event::Recovered(_) => Refusal::bug(format!("{event:?} happened to machine {id} while {state:?}")),
    }
}

async fn ended(init: Option<&Init>) {
    match init {
        Some(init) => init.ended().await,
        None => std::future::pending().await,
    }
}

async fn due(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
