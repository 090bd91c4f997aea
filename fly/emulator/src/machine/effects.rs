//! What a step of a machine asks for, done through the driver.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use fly::MachineConfig;
use kit::backoff::Backoff;
use kit::tasks::blocking;
use tokio::time::Instant;
use wire::worker::env::MACHINE_ROOT;

use super::actor::Actor;
use super::record::Record;
use super::restart;
use super::state::{Effect, Event, Verdict};
use super::stop::signal_name;
use crate::container::NoBoot;
use crate::driver::Start;
use crate::faults::ClockLag;
use crate::layout;
use crate::process::{self, Exit};
use crate::refusal::Refusal;
use crate::registry::{PRIVATE_IP, Registry};

/// The pause before an init that has ended is started again.
const RESTART_PAUSE: Backoff = Backoff { first: Duration::from_millis(100), most: Duration::from_secs(10) };

impl Actor {
    /// Does it; gives back what follows, if that is known at once.
    pub(super) async fn carry_out(&mut self, effect: Effect) -> Result<Option<Event>, Refusal> {
        match effect {
            Effect::Boot => return Ok(Some(self.boot().await)),
            Effect::Resume => return self.resume().await.map(Some),
            Effect::Freeze => return Ok(Some(self.freeze().await)),
            Effect::Thaw => self.thaw().await.map_err(|error| Refusal::internal("let the machine run", &error))?,
            Effect::AskToStop => return Ok(self.ask_to_stop().await),
            Effect::Kill => self.exit = self.bury().await?,
            Effect::DropRoot => self.drop_root().await,
            Effect::AwaitRestart => self.await_restart(),
            Effect::Remove => return self.remove().await.map(Some),
        }
        Ok(None)
    }

    /// A root that cannot be emptied keeps no machine from stopping.
    async fn drop_root(&self) {
        let root = self.registry.layout.machine_root(&self.record.id);
        if let Err(error) = blocking(move || process::drop_root(&root)).await {
            tracing::error!(fly.machine.id = %self.record.id, %error, "a stopped machine's root could not be emptied");
        }
    }

    async fn boot(&mut self) -> Event {
        if self.registry.faults.fails_to_boot(&self.record) {
            return Event::BootFailed;
        }
        match self.registry.driver.boot(self.start()).await {
            Ok(body) => {
                self.record.process = Some(body.trace());
                self.record.fixed_env = self.registry.fixed_env.clone();
                self.record.memory_limit_mb = None;
                self.body = Some(body);
                Event::Up
            }
            Err(no) => self.boot_failed(no).await,
        }
    }

    /// As on Fly, a machine whose program cannot be started has been started and has ended.
    async fn boot_failed(&mut self, no: NoBoot) -> Event {
        let (NoBoot::Program { why, .. } | NoBoot::Impossible(why)) = &no;
        let line = format!("cannot start: {why}");
        tracing::info!(fly.machine.id = %self.record.id, why, "a machine cannot be started");
        let directory = self.registry.layout.machine_dir(&self.record.id);
        if let Err(error) = blocking(move || process::log_line(&directory, &line)).await {
            tracing::warn!(fly.machine.id = %self.record.id, %error, "a machine's log cannot be written");
        }
        let NoBoot::Program { code, .. } = no else { return Event::BootFailed };
        let exit = Exit { code: Some(code), ..Exit::default() };
        self.exit = Some(exit);
        Event::InitEnded(self.verdict(exit))
    }

    async fn resume(&mut self) -> Result<Event, Refusal> {
        if self.body.is_none() {
            return Ok(self.boot().await);
        }
        // As on Fly, nobody is told: the machine boots, with its root as it was.
        if self.registry.faults.loses_snapshot(&self.record) {
            self.bury().await?;
            return Ok(self.boot().await);
        }
        let lag = self.registry.faults.clock_lag(&self.record);
        self.set_clock(lag).await;
        match self.thaw().await {
            Ok(()) => Ok(Event::Up),
            Err(error) => {
                tracing::warn!(fly.machine.id = %self.record.id, %error, "a machine cannot be resumed, so it is booted");
                self.bury().await?;
                Ok(self.boot().await)
            }
        }
    }

    /// Lets its clock be behind, or sets it right.
    pub(super) async fn set_clock(&mut self, lag: Option<ClockLag>) {
        self.clock_due = lag.and_then(ClockLag::time).map(|time| Instant::now() + time);
        let directory = self.registry.layout.machine_dir(&self.record.id);
        let behind = lag.map_or(Duration::ZERO, ClockLag::by);
        match blocking(move || process::clock::set(&directory, behind)).await {
            Ok(has_its_own) if has_its_own || lag.is_none() => (),
            Ok(_) => {
                let id = &self.record.id;
                tracing::warn!(fly.machine.id = %id, "a clock is not behind: the machine was started before the script");
            }
            Err(error) => tracing::warn!(fly.machine.id = %self.record.id, %error, "a machine's clock cannot be set"),
        }
    }

    async fn thaw(&self) -> io::Result<()> {
        match &self.body {
            Some(body) => body.thaw(&self.record.id).await,
            None => Ok(()),
        }
    }

    async fn freeze(&mut self) -> Event {
        let frozen = match &self.body {
            Some(body) => body.freeze(&self.record.id).await,
            None => Err(io::Error::new(io::ErrorKind::NotFound, "the machine has no process")),
        };
        match frozen {
            Ok(()) => Event::Frozen,
            Err(error) => {
                self.failure = Some(Refusal::deadline_exceeded(format!("unable to suspend machine: {error}")));
                Event::FreezeFailed
            }
        }
    }

    async fn ask_to_stop(&mut self) -> Option<Event> {
        let how = self.ordered_stop.or(self.configured_stop);
        let Some(body) = &self.body else { return Some(Event::InitEnded(Verdict::Stay)) };
        let grace = how.timeout(self.registry.driver.grace());
        if let Err(error) = body.stop(how.signal(), grace).await {
            tracing::warn!(fly.machine.id = %self.record.id, %error, "a machine cannot be asked to stop");
        }
        self.stop_overdue = Some(Instant::now() + grace);
        None
    }

    /// Ends every process of the machine and learns how its init ended.
    pub(super) async fn bury(&mut self) -> Result<Option<Exit>, Refusal> {
        let Some(body) = self.body.take() else { return Ok(None) };
        match body.bury(&self.record.id).await {
            Ok(exit) => {
                self.record.process = None;
                Ok(Some(exit))
            }
            Err((body, error)) => {
                self.body = Some(body);
                Err(Refusal::internal("end the machine's processes", &error))
            }
        }
    }

    fn await_restart(&mut self) {
        let now = self.registry.clock.now();
        self.record.restarts = restart::recent(&self.record.restarts, now);
        self.record.restarts.push(now);
        let failures = u32::try_from(self.record.restarts.len()).unwrap_or(u32::MAX);
        self.restart_due = Some(Instant::now() + RESTART_PAUSE.wait(failures, &self.registry.chance));
    }

    /// Without its record the machine is gone; what else there is can be removed after the answer.
    async fn remove(&mut self) -> Result<Event, Refusal> {
        let path = self.registry.layout.machine_file(&self.record.id);
        let removed = blocking(move || layout::remove(&path)).await;
        removed.map_err(|error| Refusal::internal("remove the machine's record", &error))?;
        let directory = self.registry.layout.machine_dir(&self.record.id);
        self.registry.tasks.spawn("emulator-remove", async move {
            let path = directory.display().to_string();
            if let Err(error) = blocking(move || layout::remove(&directory)).await {
                tracing::warn!(path, %error, "a destroyed machine's files are left over; the next start removes them");
            }
        });
        Ok(Event::Removed)
    }

    fn start(&self) -> Start {
        let mount = |mount: &fly::Mount| {
            let directory = self.registry.layout.volume_dir(mount.volume.as_deref()?);
            Some((mount.path.clone(), directory))
        };
        Start {
            machine_id: self.record.id.clone(),
            config: self.config.clone(),
            is_sized: self.record.config.get("guest").is_some_and(|guest| !guest.is_null()),
            env: environment(&self.registry, &self.record, &self.config),
            may_lag: self.registry.faults.may_lag(&self.record),
            directory: self.registry.layout.machine_dir(&self.record.id),
            root: self.registry.layout.machine_root(&self.record.id),
            mounts: self.config.mounts.iter().filter_map(mount).collect(),
            stop_signal: signal_name(self.configured_stop.signal()),
            stop_within: self.configured_stop.timeout,
        }
    }
}

/// What the driver lends, then the app's secrets, then what the machine is given, then what it cannot be told otherwise,
/// then what Fly itself sets.
pub(crate) fn environment(registry: &Registry, record: &Record, config: &MachineConfig) -> BTreeMap<String, String> {
    let lent = registry.driver.environment(&registry.layout.machine_root(&record.id));
    let mut env = lent.clone();
    env.extend(registry.secret_values(&record.app));
    env.extend(config.env.clone());
    env.extend(registry.fixed_env.clone());
    // Where it is.
    env.extend(lent.get_key_value(MACHINE_ROOT).map(|(name, root)| (name.clone(), root.clone())));
    let runtime = [
        ("FLY_APP_NAME", record.app.clone()),
        (process::MARK, record.id.clone()),
        ("FLY_ALLOC_ID", record.id.clone()),
        ("FLY_MACHINE_VERSION", record.instance_id.clone()),
        ("FLY_REGION", record.region.clone()),
        ("PRIMARY_REGION", record.region.clone()),
        ("FLY_IMAGE_REF", config.image.clone()),
        ("FLY_PRIVATE_IP", PRIVATE_IP.to_owned()),
        ("FLY_VM_MEMORY_MB", config.guest.memory_mb.to_string()),
    ];
    env.extend(runtime.map(|(name, value)| (name.to_owned(), value)));
    env
}
