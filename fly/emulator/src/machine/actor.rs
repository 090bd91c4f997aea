//! The one task that changes a machine. Orders and what happens to its processes
//! come to it one after the other; it decides by [`state::step`], does what follows,
//! keeps the record on disk, and only then answers.

use std::sync::Arc;
use std::time::Duration;

use fly::MachineConfig;
use kit::tasks::blocking;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::holding::Held;
use super::orders::Command;
use super::record::{Record, Source, exit_event};
use super::state::{self, Effect, Event, Found, State};
use super::stop::HowToStop;
use super::{restart, words};
use crate::driver::{Adopted, Body};
use crate::process::Exit;
use crate::refusal::Refusal;
use crate::registry::Registry;

/// When the emulator stops, no machine gets longer to do so. It is more than a runner gives its command (10 s, unless
/// it is told otherwise), so that one that has to kill a command has time to save what that left.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(30);

/// A machine's only writer.
pub(crate) struct Actor {
    pub(super) registry: Arc<Registry>,
    pub(super) record: Record,
    pub(super) config: MachineConfig,
    pub(super) configured_stop: HowToStop,
    pub(super) ordered_stop: HowToStop,
    pub(super) view: watch::Sender<Arc<Record>>,
    /// What it runs as, while it does.
    pub(super) body: Option<Body>,
    /// How an init ended, until that is noted.
    pub(super) exit: Option<Exit>,
    /// Why an effect failed that the machine has survived.
    pub(super) failure: Option<Refusal>,
    pub(super) stop_overdue: Option<Instant>,
    pub(super) restart_due: Option<Instant>,
    /// When its clock, which is behind, is set right.
    pub(super) clock_due: Option<Instant>,
    /// What it would do next, were it not held where it is.
    pub(super) held: Option<Held>,
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
            body: None,
            exit: None,
            failure: None,
            stop_overdue: None,
            restart_due: None,
            clock_due: None,
            held: None,
            is_changed: false,
        }
    }

    /// Starts a machine that was just created for that.
    pub(crate) async fn launch(&mut self) {
        self.happen(Event::Launch).await;
    }

    /// Finds what an emulator that was killed has left of the machine. `has_remains` says whether there
    /// is anything that carries its mark.
    pub(crate) async fn recover(&mut self, has_remains: bool) {
        let adopted = match &self.record.process {
            // It could not be told any more.
            Some(_) if self.record.fixed_env != self.registry.fixed_env => Ok(Adopted::Gone(Exit::default())),
            Some(trace) => {
                let directory = self.registry.layout.machine_dir(&self.record.id);
                self.registry.driver.adopt(trace, &directory).await
            }
            None => Ok(Adopted::Gone(Exit::default())),
        };
        let adopted = adopted.unwrap_or_else(|error| {
            tracing::warn!(fly.machine.id = %self.record.id, %error, "a machine's process cannot be adopted");
            Adopted::Gone(Exit::default())
        });
        let found = match adopted {
            Adopted::Alive(body) => {
                self.body = Some(*body);
                self.set_clock(None).await;
                Found::Alive
            }
            Adopted::Gone(exit) => {
                if has_remains {
                    self.end_remains().await;
                }
                self.exit = self.record.process.take().map(|_| exit);
                Found::Gone(self.verdict(exit))
            }
        };
        self.happen(Event::Recovered(found)).await;
    }

    async fn end_remains(&self) {
        if let Err(error) = self.registry.driver.end_remains(&self.record.id).await {
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
                () = ended(self.body.as_ref()), if self.held.is_none() => self.init_ended().await,
                () = due(self.stop_overdue) => self.happen(Event::StopOverdue).await,
                () = due(self.restart_due) => self.happen(Event::RestartDue).await,
                () = due(self.clock_due) => self.set_clock(None).await,
                () = due(self.held.as_ref().and_then(|held| held.until)) => self.stay_is_over().await,
            }
        }
    }

    async fn shut_down(mut self, commands: mpsc::Receiver<Command>) {
        // Whoever still waits for an answer learns that there will be none.
        drop(commands);
        // Whoever is held while it stops was never asked to, and is not asked any more.
        let is_held_stopping = self.held.take().is_some() && self.record.state == State::Stopping;
        let grace = if is_held_stopping { Duration::ZERO } else { SHUTDOWN_GRACE };
        let latest = Instant::now() + grace;
        let usual = self.configured_stop.timeout(self.registry.driver.grace());
        self.ordered_stop.timeout = Some(usual.min(grace));
        self.happen(Event::Shutdown).await;
        while self.record.state == State::Stopping {
            let overdue = self.stop_overdue.map_or(latest, |at| at.min(latest));
            tokio::select! {
                () = ended(self.body.as_ref()) => self.init_ended().await,
                () = tokio::time::sleep_until(overdue) => {
                    self.happen(Event::StopOverdue).await;
                    break;
                }
            }
        }
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

    async fn stay_is_over(&mut self) {
        if let Err(refusal) = self.poke().await {
            tracing::error!(fly.machine.id = %self.record.id, error = refusal.error, "a machine is in trouble");
        }
    }

    /// Something that nobody waits for.
    async fn happen(&mut self, event: Event) {
        if let Err(refusal) = self.apply(event).await {
            tracing::error!(fly.machine.id = %self.record.id, ?event, error = refusal.error, "a machine is in trouble");
        }
    }

    /// Lets it happen and writes what came of it.
    pub(super) async fn apply(&mut self, event: Event) -> Result<(), Refusal> {
        let done = self.steps(event).await;
        self.settle(done).await
    }

    /// Writes what came of it.
    pub(super) async fn settle(&mut self, done: Result<(), Refusal>) -> Result<(), Refusal> {
        let kept = self.keep().await;
        match self.failure.take() {
            Some(failure) => Err(failure),
            None => done.and(kept),
        }
    }

    /// A state that lasts is entered when all that belongs to it is done, one on the way to another before.
    pub(super) async fn steps(&mut self, event: Event) -> Result<(), Refusal> {
        let mut next = Some(event);
        while let Some(event) = next.take() {
            let (state, effects) =
                state::step(self.stands(event), event).map_err(|illegal| words::refusal(&self.record.id, illegal))?;
            // A machine that is created to be started may stay created for a while.
            if event == Event::Launch && self.hold(state, event, effects.clone()).is_none() {
                break;
            }
            next = self.come_to(state, event, effects).await?;
        }
        Ok(())
    }

    /// Where it stands, but that a fault lets one that is being replaced only stop.
    fn stands(&self, event: Event) -> State {
        let has_stopped = matches!(event, Event::InitEnded(_) | Event::StopOverdue);
        match self.record.state {
            State::Replacing if has_stopped && self.registry.faults.stops_after_update(&self.record) => State::Stopping,
            state => state,
        }
    }

    /// Shows a state that is on the way to another, and does what belongs to it unless it is held there.
    pub(super) async fn come_to(
        &mut self,
        state: State,
        event: Event,
        effects: Vec<Effect>,
    ) -> Result<Option<Event>, Refusal> {
        if !state.is_settled() {
            self.enter(state, event);
        }
        if effects.is_empty() {
            return self.arrive(state, event, effects).await;
        }
        self.held = None;
        match self.hold(state, event, effects) {
            Some(effects) => self.arrive(state, event, effects).await,
            None => Ok(None),
        }
    }

    /// Does what belongs to the state; gives back what follows, if that is known at once.
    pub(super) async fn arrive(
        &mut self,
        state: State,
        event: Event,
        effects: Vec<Effect>,
    ) -> Result<Option<Event>, Refusal> {
        let mut next = None;
        for effect in effects {
            next = self.carry_out(effect).await?.or(next);
        }
        if state.is_settled() {
            self.enter(state, event);
        }
        Ok(next)
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
        if let Some((kind, source)) = words::log_entry(event) {
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
        use State::{Destroying, Replacing, Restarting, Starting, Stopping, Suspended};
        let is_requested = matches!(previous, Stopping | Restarting | Replacing | Destroying | Suspended);
        let is_restarting = matches!(self.record.state, Restarting | Starting);
        let event = exit_event(exit, is_requested, is_restarting, self.registry.clock.now());
        self.note("exit", Source::Flyd, Some(event));
    }

    fn note(&mut self, kind: &str, source: Source, request: Option<Value>) {
        let now = self.registry.clock.now();
        self.record.note(kind, source, request, now, &self.registry.chance);
        self.is_changed = true;
    }

    pub(super) fn publish(&mut self) {
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

    pub(super) async fn write(&mut self, record: Arc<Record>) -> Result<(), Refusal> {
        let path = self.registry.layout.machine_file(&record.id);
        let written = blocking(move || crate::layout::write(&path, &*record)).await;
        written.map_err(|error| Refusal::internal("write the machine's record", &error))?;
        self.is_changed = false;
        Ok(())
    }
}

async fn ended(body: Option<&Body>) {
    match body {
        Some(body) => body.ended().await,
        None => std::future::pending().await,
    }
}

async fn due(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
