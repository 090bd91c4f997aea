//! Everything an execution works with on this machine: the volume, the tools,
//! the bounds, the clock, and where its story goes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use kit::tasks::blocking;
use kit::{Chance, Clock};
use snapshot::Store;
use tokio::sync::{OnceCell, mpsc};
use wire::id::CheckpointId;
use wire::worker::Lease;

use crate::agent::driver::Drivers;
use crate::agent::keys::Keys;
use crate::background::Background;
use crate::command::redaction::Secrets;
use crate::config::{Config, Limits};
use crate::egress;
use crate::git::credential::{self, Helper};
use crate::git::{self, Git};
use crate::isolation::Isolation;
use crate::record::{Entry, Recorder};
use crate::terminal::Stage;
use crate::turns::Turns;
use crate::volume::Volume;

/// Shared by everything that runs in this process.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) volume: Arc<Volume>,
    pub(crate) git: Git,
    pub(crate) environment: BTreeMap<String, String>,
    /// What is compiled here is compiled for; asked for when something is installed.
    pub(crate) platform: Arc<OnceCell<String>>,
    pub(crate) credentials: Option<Helper>,
    pub(crate) drivers: Drivers,
    /// What those authenticate with.
    pub(crate) keys: Keys,
    pub(crate) isolation: Arc<Isolation>,
    pub(crate) stage: Arc<Stage>,
    /// What nothing that is told may hold.
    pub(crate) secrets: Secrets,
    pub(crate) limits: Limits,
    pub(crate) recorder: Recorder,
    pub(crate) background: Background,
    pub(crate) turns: Turns,
    pub(crate) clock: Clock,
    pub(crate) chance: Chance,
}

/// A room, and the end of the queue that its events come out of.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) room: Arc<Room>,
    pub(crate) entries: mpsc::Receiver<Entry>,
}

impl Room {
    /// Takes the volume.
    pub(crate) async fn open(config: &Config, clock: Clock, chance: Chance) -> anyhow::Result<Opened> {
        let root: PathBuf = config.sprite_dir.clone();
        let reserve = config.limits.reserve_bytes;
        let volume = blocking(move || Volume::open(&root, reserve)).await;
        let volume = volume.context("the runner cannot take its volume")?;
        let store = Store::new(&volume.chunks()).and_then(|store| store.tidy());
        store.context("the store of the checkpoints cannot be used")?;
        let environment = config.tool_environment.clone();
        let credentials = git::directory(volume.root())
            .and_then(|directory| credential::helper(config.credentials.as_ref(), &directory))
            .context("git's credentials cannot be put on the volume")?;
        let git = Git::new(volume.root(), &environment, config.limits.git, credentials.as_ref());
        let git = git.context("git cannot be set up")?;
        let (recorder, entries) = Recorder::new(config.machine_id, clock.clone(), chance.clone());
        let volume = Arc::new(volume);
        let drivers = config.drivers.clone();
        // One that is put into the file later is not known.
        let passwords = credentials.as_ref().map(Helper::passwords).transpose().unwrap_or_default();
        let passwords = passwords.unwrap_or_default();
        let secrets = passwords.iter().chain([&config.machine_token]).map(String::as_str);
        let secrets = Secrets::new(secrets.chain(config.keys.values()));
        // Whoever reads the file of credentials could be anybody to every remote.
        let file = credentials.iter().map(|helper| helper.file.clone());
        let hidden: Vec<PathBuf> = config.hidden.iter().cloned().chain(file).collect();
        let isolation = Isolation::probe(&volume, config.isolation, &hidden, config.limits.memory_bytes).await;
        let (background, turns) = (Background::default(), Turns::default());
        let room = Self {
            volume,
            git,
            platform: Arc::default(),
            environment,
            credentials,
            drivers,
            keys: config.keys.clone(),
            stage: Arc::default(),
            isolation: Arc::new(isolation),
            secrets,
            limits: config.limits,
            recorder,
            background,
            turns,
            clock,
            chance,
        };
        Ok(Opened { room: Arc::new(room), entries })
    }

    /// The same for one execution: what its git, package managers and command ask of an egress proxy
    /// is asked in its name.
    pub(crate) fn in_the_name_of(&self, lease: &Lease) -> Self {
        let pass = lease.egress_pass.as_deref().or(lease.grant.as_deref());
        let proxies = pass.map(|pass| egress::proxies(&self.environment, pass)).unwrap_or_default();
        let mut environment = self.environment.clone();
        environment.extend(proxies.clone());
        Self {
            volume: Arc::clone(&self.volume),
            git: self.git.with(proxies),
            environment,
            platform: Arc::clone(&self.platform),
            credentials: self.credentials.clone(),
            drivers: self.drivers.clone(),
            keys: self.keys.clone(),
            isolation: Arc::clone(&self.isolation),
            stage: Arc::clone(&self.stage),
            secrets: self.secrets.clone(),
            limits: self.limits,
            recorder: self.recorder.clone(),
            background: self.background.clone(),
            turns: self.turns.clone(),
            clock: self.clock.clone(),
            chance: self.chance.clone(),
        }
    }

    /// A word that sorts by time and was not used before, for names of things set aside.
    pub(crate) fn mark(&self) -> String {
        CheckpointId::mint(self.clock.now(), self.chance.bytes()).to_string()
    }
}
