//! What a step of a machine asks for, done: the process driver is called on threads
//! that may block.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use kit::backoff::Backoff;
use tokio::time::Instant;
use wire::worker::env::MACHINE_ROOT;

use super::actor::Actor;
use super::restart;
use super::state::{Effect, Event, Verdict};
use crate::layout;
use crate::process::{self, Exit, Launch};
use crate::refusal::Refusal;

/// The pause before an init that has ended is started again.
const RESTART_PAUSE: Backoff = Backoff { first: Duration::from_millis(100), most: Duration::from_secs(10) };
/// What machines see where this computer's own is not known.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What a shell answers for a program that is not there, and for one that cannot be run.
const NOT_FOUND: i32 = 127;
const NOT_EXECUTABLE: i32 = 126;

/// Runs what blocks where that is allowed.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("nothing that blocks here panics or is aborted")
}

impl Actor {
    /// Does it; gives back what follows, if that is known at once.
    pub(super) async fn carry_out(&mut self, effect: Effect) -> Result<Option<Event>, Refusal> {
        match effect {
            Effect::Boot => return Ok(Some(self.boot().await)),
            Effect::Resume => return self.resume().await.map(Some),
            Effect::Freeze => return Ok(Some(self.freeze().await)),
            Effect::Thaw => self.thaw().await.map_err(|error| Refusal::internal("let the machine run", &error))?,
            Effect::AskToStop => return Ok(self.ask_to_stop()),
            Effect::Kill => self.exit = self.bury().await?,
            Effect::DropRoot => self.drop_root().await,
            Effect::AwaitRestart => self.await_restart(),
            Effect::Remove => return self.remove().await.map(Some),
        }
        Ok(None)
    }

    /// A root that cannot be emptied keeps no machine from stopping.
    async fn drop_root(&self) {
        let root = self.root_dir();
        if let Err(error) = blocking(move || process::drop_root(&root)).await {
            tracing::error!(fly.machine.id = %self.record.id, %error, "a stopped machine's root could not be emptied");
        }
    }

    async fn boot(&mut self) -> Event {
        if self.registry.faults.fails_to_boot(&self.record) {
            return Event::BootFailed;
        }
        let launch = self.launch_plan();
        match blocking(move || process::spawn(&launch)).await {
            Ok(init) => {
                self.record.process = Some(init.identity().clone());
                self.init = Some(init);
                Event::Up
            }
            Err(error) => self.boot_failed(&error).await,
        }
    }

    /// As on Fly, a machine whose program cannot be started has been started and has ended.
    async fn boot_failed(&mut self, error: &io::Error) -> Event {
        let program = self.config.init.command().swap_remove(0);
        tracing::warn!(fly.machine.id = %self.record.id, program, %error, "a machine's program cannot be started");
        let directory = self.registry.layout.machine_dir(&self.record.id);
        let line = format!("cannot start {program}: {error}");
        if let Err(error) = blocking(move || process::log_line(&directory, &line)).await {
            tracing::warn!(fly.machine.id = %self.record.id, %error, "a machine's log cannot be written");
        }
        let code = if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE };
        let exit = Exit { code: Some(code), signal: None };
        self.exit = Some(exit);
        Event::InitEnded(self.verdict(exit))
    }

    async fn resume(&mut self) -> Result<Event, Refusal> {
        if self.init.is_none() {
            return Ok(self.boot().await);
        }
        // As on Fly, nobody is told: the machine boots, with its root as it was.
        if self.registry.faults.loses_snapshot(&self.record) {
            self.bury().await?;
            return Ok(self.boot().await);
        }
        match self.thaw().await {
            Ok(()) => Ok(Event::Up),
            Err(error) => {
                tracing::warn!(fly.machine.id = %self.record.id, %error, "a machine cannot be resumed, so it is booted");
                self.bury().await?;
                Ok(self.boot().await)
            }
        }
    }

    async fn thaw(&self) -> io::Result<()> {
        let Some(init) = &self.init else { return Ok(()) };
        let root = init.root(&self.record.id)?;
        blocking(move || process::thaw(&root)).await
    }

    async fn freeze(&mut self) -> Event {
        let frozen = match self.init.as_ref().map(|init| init.root(&self.record.id)) {
            Some(Ok(root)) => blocking(move || process::freeze(&root)).await,
            Some(Err(error)) => Err(error),
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

    fn ask_to_stop(&mut self) -> Option<Event> {
        let how = self.ordered_stop.or(self.configured_stop);
        let Some(init) = &self.init else { return Some(Event::InitEnded(Verdict::Stay)) };
        if let Err(error) = init.signal(how.signal()) {
            tracing::warn!(fly.machine.id = %self.record.id, %error, "a machine cannot be asked to stop");
        }
        self.stop_overdue = Some(Instant::now() + how.timeout());
        None
    }

    /// Ends every process of the machine and learns how its init ended.
    pub(super) async fn bury(&mut self) -> Result<Option<Exit>, Refusal> {
        let Some(init) = self.init.take() else { return Ok(None) };
        let killed = match init.root(&self.record.id) {
            // Before it is reaped: until then its id, and so its session's, is its own.
            Ok(root) => blocking(move || process::kill(&root)).await,
            Err(error) => Err(error),
        };
        if let Err(error) = killed {
            self.init = Some(init);
            return Err(Refusal::internal("end the machine's processes", &error));
        }
        self.record.process = None;
        Ok(Some(init.reap().await))
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

    fn root_dir(&self) -> PathBuf {
        self.registry.layout.machine_dir(&self.record.id).join("root")
    }

    fn launch_plan(&self) -> Launch {
        let root = self.root_dir();
        let mount = |mount: &fly::Mount| {
            let directory = self.registry.layout.volume_dir(mount.volume.as_deref()?);
            Some((process::place(&root, &mount.path)?, directory))
        };
        Launch {
            command: self.config.init.command(),
            env: self.environment(),
            directory: self.registry.layout.machine_dir(&self.record.id),
            mounts: self.config.mounts.iter().filter_map(mount).collect(),
            boot_id: self.registry.boot_id.clone(),
            root,
        }
    }

    /// What this computer lends, then the app's secrets, then what the machine is given, then what Fly itself sets.
    fn environment(&self) -> BTreeMap<String, String> {
        let record = &self.record;
        let mut env = BTreeMap::from([("PATH".to_owned(), PATH.to_owned())]);
        env.extend(self.registry.host_env.clone());
        env.extend(self.registry.secret_values(&record.app));
        env.extend(self.config.env.clone());
        let root = self.root_dir().display().to_string();
        let runtime = [
            ("FLY_APP_NAME", record.app.clone()),
            (process::MARK, record.id.clone()),
            ("FLY_ALLOC_ID", record.id.clone()),
            ("FLY_MACHINE_VERSION", record.instance_id.clone()),
            ("FLY_REGION", record.region.clone()),
            ("PRIMARY_REGION", record.region.clone()),
            ("FLY_IMAGE_REF", self.config.image.clone()),
            ("FLY_PRIVATE_IP", crate::registry::PRIVATE_IP.to_owned()),
            ("FLY_VM_MEMORY_MB", self.config.guest.memory_mb.to_string()),
            (MACHINE_ROOT, root),
        ];
        env.extend(runtime.map(|(name, value)| (name.to_owned(), value)));
        env
    }
}
