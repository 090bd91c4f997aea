//! What callers want of a machine, done in its actor one after the other. A lease
//! in somebody else's hands refuses all of it but reading and metadata.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::TimeDelta;
use fly::MachineConfig;
use rustix::process::Signal;
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use super::actor::Actor;
use super::lease;
use super::record::{Record, Source};
use super::state::{self, Event, State};
use super::stop::HowToStop;
use super::words;
use crate::refusal::Refusal;

/// Fly cannot save more memory than that.
const SUSPENDABLE_MB: u32 = 2_048;

/// What a caller wants of a machine. It may hold secrets, so it does not print itself.
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
    /// Give it another configuration.
    Update(Box<Update>),
    /// Keep requests from it, or let them reach it again.
    Cordon(bool),
    /// Send its first process a signal.
    Signal(Signal),
    /// Let it take so much memory, in MB.
    LimitMemory(u32),
    /// Let it go on, if it is held.
    Poke,
}

/// Another configuration.
pub(crate) struct Update {
    /// As it was sent.
    pub(crate) config: Map<String, Value>,
    /// As far as it is understood.
    pub(crate) parsed: MachineConfig,
    pub(crate) stop: HowToStop,
    pub(crate) volumes: Vec<String>,
    /// The update is refused if the machine has another version.
    pub(crate) current_version: Option<String>,
    pub(crate) launch: bool,
    /// For how long it is then the caller's alone.
    pub(crate) lease_ttl: Option<TimeDelta>,
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

impl Actor {
    pub(super) async fn obey(&mut self, command: Command) {
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
            Order::Update(update) => self.update(*update, nonce).await?,
            Order::Cordon(is_cordoned) => self.cordon(is_cordoned, nonce).await?,
            Order::Signal(signal) => self.signal(signal, nonce).await?,
            Order::LimitMemory(megabytes) => self.limit_memory(megabytes, nonce).await?,
            Order::Poke => self.poke().await?,
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
        self.guard(nonce)?;
        self.apply(event).await
    }

    fn guard(&self, nonce: Option<&str>) -> Result<(), Refusal> {
        let now = self.registry.clock.now();
        lease::guard(self.record.lease.as_ref(), nonce, now).map_err(|held| self.lease_held(held))
    }

    /// The new configuration is on disk before anything is done about it.
    async fn update(&mut self, update: Update, nonce: Option<&str>) -> Result<(), Refusal> {
        self.guard(nonce)?;
        if update.current_version.is_some_and(|version| version != self.record.instance_id) {
            return Err(Refusal::concurrent_update());
        }
        let mounted = self.config.mounts.iter().filter_map(|mount| mount.volume.clone());
        if !update.volumes.iter().cloned().eq(mounted) {
            return Err(Refusal::invalid_argument("config.mounts: a machine keeps the volumes it was made with"));
        }
        let event = Event::Replace { launch: update.launch };
        state::step(self.record.state, event).map_err(|illegal| words::refusal(&self.record.id, illegal))?;
        let mut record = self.record.clone();
        record.replace_config(update.config, self.registry.clock.now(), &self.registry.chance);
        if let Some(ttl) = update.lease_ttl {
            record.lease = Some(self.lease(String::new(), ttl, nonce)?);
        }
        self.change(record).await?;
        self.ordered_stop = self.configured_stop;
        (self.config, self.configured_stop) = (update.parsed, update.stop);
        self.apply(event).await
    }

    async fn cordon(&mut self, is_cordoned: bool, nonce: Option<&str>) -> Result<(), Refusal> {
        self.guard(nonce)?;
        let mut record = Record { is_cordoned, ..self.record.clone() };
        let kind = if is_cordoned { "cordon" } else { "uncordon" };
        record.note(kind, Source::User, None, self.registry.clock.now(), &self.registry.chance);
        self.change(record).await
    }

    async fn signal(&mut self, signal: Signal, nonce: Option<&str>) -> Result<(), Refusal> {
        self.guard(nonce)?;
        let body = self.body.as_ref().filter(|_| self.record.state == State::Started);
        let body = body.ok_or_else(|| words::unable("signal", self.record.state))?;
        body.signal(signal).await.map_err(|error| Refusal::internal("signal the machine", &error))
    }

    /// It is remembered until the next boot, and shown; nothing takes memory from a process.
    async fn limit_memory(&mut self, megabytes: u32, nonce: Option<&str>) -> Result<(), Refusal> {
        self.guard(nonce)?;
        let most = self.config.guest.memory_mb;
        if !(1..=most).contains(&megabytes) {
            return Err(Refusal::invalid_argument(format!("limit_mb must be inside range [1, {most}]")));
        }
        self.change(Record { memory_limit_mb: Some(megabytes), ..self.record.clone() }).await
    }

    fn lease_held(&self, lease: &lease::Lease) -> Refusal {
        let until = lease.expires_at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        Refusal::lease_held(&self.record.id, lease::OWNER, &until)
    }

    async fn acquire_lease(&mut self, description: String, ttl: TimeDelta, nonce: Option<&str>) -> Result<(), Refusal> {
        let lease = self.lease(description, ttl, nonce)?;
        self.change(Record { lease: Some(lease), ..self.record.clone() }).await
    }

    /// A new lease, or the caller's own for longer.
    fn lease(&self, description: String, ttl: TimeDelta, nonce: Option<&str>) -> Result<lease::Lease, Refusal> {
        let new_nonce = self.registry.chance.hex::<8>();
        let now = self.registry.clock.now();
        let taken = lease::acquire(self.record.lease.as_ref(), nonce, new_nonce, description, ttl, now);
        taken.map_err(|held| self.lease_held(&held))
    }

    async fn release_lease(&mut self, nonce: Option<&str>) -> Result<(), Refusal> {
        let now = self.registry.clock.now();
        lease::current(self.record.lease.as_ref(), now).ok_or_else(|| Refusal::not_found("lease"))?;
        self.guard(nonce)?;
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
}
