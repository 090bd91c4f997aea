//! Machines: creation, orders, and the latest view of each.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::TimeDelta;
use fly::{HostStatus, Init, MachineConfig};
use kit::tasks::blocking;
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot, watch};

use super::volumes::first_region;
use super::{Contents, Handle, ORDERS, REGION, REMEMBERED, Registry, VolumeRecord};
use crate::machine::{Actor, Command, HowToStop, Lease, Order, Outcome, Record, State, Update};
use crate::process;
use crate::refusal::Refusal;
use crate::{decode, id, layout, sizes};

/// What a caller says of a machine to be made.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct NewMachine {
    name: Option<String>,
    region: Option<String>,
    config: Option<Map<String, Value>>,
    skip_launch: bool,
    /// Seconds for which it is its maker's alone.
    lease_ttl: Option<u32>,
}

/// What a caller says of a machine that is to become another.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct MachineUpdate {
    name: Option<String>,
    region: Option<String>,
    config: Option<Map<String, Value>>,
    current_version: Option<String>,
    skip_launch: bool,
    /// Seconds for which it is then the caller's alone.
    lease_ttl: Option<u32>,
}

/// A configuration that can be run.
pub(super) struct Runnable {
    pub(super) config: MachineConfig,
    pub(super) stop: HowToStop,
    pub(super) volumes: Vec<String>,
}

/// A machine's one program, where `init` does not say it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Process {
    #[serde(flatten)]
    init: Init,
    env: Option<BTreeMap<String, String>>,
}

/// Understands a configuration as far as this emulator does something about it.
pub(crate) fn understand(config: &Map<String, Value>) -> Result<MachineConfig, Refusal> {
    let processes = config.get("processes").filter(|processes| !processes.is_null()).cloned();
    let decoded = processes.map(|processes| decode::value("config.processes", processes)).transpose()?;
    let mut processes: Vec<Process> = decoded.unwrap_or_default();
    let mut config: MachineConfig = decode::value("config", Value::Object(config.clone()))?;
    if processes.len() > 1 {
        return Err(Refusal::unprocessable("config.processes: this emulator runs one process in a machine"));
    }
    if let Some(Process { init, env }) = processes.pop() {
        config.init.exec = init.exec.or(config.init.exec);
        config.init.entrypoint = init.entrypoint.or(config.init.entrypoint);
        config.init.cmd = init.cmd.or(config.init.cmd);
        config.env.extend(env.unwrap_or_default());
    }
    Ok(config)
}

/// None for none, as on Fly.
fn lease_ttl(seconds: Option<u32>) -> Option<TimeDelta> {
    seconds.filter(|seconds| *seconds > 0).map(|seconds| TimeDelta::seconds(i64::from(seconds)))
}

impl Registry {
    /// Understands a configuration that these machines can have.
    fn runnable(&self, config: &Map<String, Value>) -> Result<Runnable, Refusal> {
        sizes::check_guest(config)?;
        let runnable = self.known(config)?;
        if runnable.volumes.len() > 1 {
            return Err(Refusal::invalid_argument("config.mounts: a machine has one volume"));
        }
        self.driver.check(&runnable.config)?;
        sizes::check_image(config)?;
        Ok(runnable)
    }

    /// Understands the configuration of a machine that there is, though an emulator that was started otherwise would
    /// not have taken it.
    pub(super) fn known(&self, config: &Map<String, Value>) -> Result<Runnable, Refusal> {
        let mut config = understand(config)?;
        if config.init.command().is_empty() && !self.default_program.is_empty() {
            config.init.exec = Some(self.default_program.clone());
        }
        let stop = HowToStop::configured(config.stop_config.as_ref()).map_err(Refusal::invalid_argument)?;
        let mut volumes = Vec::new();
        for mount in &config.mounts {
            if process::place(std::path::Path::new("/"), &mount.path).is_none() {
                return Err(Refusal::invalid_argument(format!("mount path {:?} is not an absolute path", mount.path)));
            }
            let Some(volume) = &mount.volume else {
                return Err(Refusal::invalid_argument("config.mounts: name a volume, by its id or its name"));
            };
            volumes.push(volume.clone());
        }
        Ok(Runnable { config, stop, volumes })
    }

    /// Creates a machine and, unless that is to be skipped, starts it after the answer.
    pub(crate) async fn create_machine(self: &Arc<Self>, app: &str, new: NewMachine) -> Result<Arc<Record>, Refusal> {
        let mut config = new.config.ok_or_else(|| Refusal::invalid_argument("config is required"))?;
        // Who asks for the same machine again learns of the first one, whose volume is not free any more.
        sizes::check_machine_name(new.name.as_deref().unwrap_or_default())?;
        self.contents().check_name(app, new.name.as_deref().unwrap_or_default())?;
        self.find_volumes(app, &mut config, &[], new.region.as_deref())?;
        let Runnable { config: parsed, stop, volumes } = self.runnable(&config)?;
        let id = id::machine(&self.chance);
        let now = self.clock.now();
        let mut record = Record {
            name: new.name.filter(|name| !name.is_empty()).unwrap_or_else(|| format!("machine-{id}")),
            id,
            app: app.to_owned(),
            region: first_region(new.region.as_deref()).unwrap_or(REGION).to_owned(),
            instance_id: id::ulid(now, &self.chance),
            state: State::Created,
            config,
            created_at: now,
            updated_at: now,
            events: Vec::new(),
            lease: lease_ttl(new.lease_ttl).map(|ttl| Lease::of_new_machine(self.chance.hex::<8>(), ttl, now)),
            process: None,
            restarts: Vec::new(),
            versions: Vec::new(),
            is_cordoned: false,
            fixed_env: BTreeMap::new(),
            memory_limit_mb: None,
        };
        let names_region = first_region(new.region.as_deref()).is_some();
        let (view, orders) = self.contents().reserve(&mut record, names_region, volumes)?;
        let shown = Arc::new(record.clone());
        // A machine that is not to be launched rests as a stopped one; the answer still says `created`, as Fly's does.
        if new.skip_launch {
            record.state = State::Stopped;
        }
        view.send_replace(Arc::new(record.clone()));
        self.write_new(&record).await?;
        let mut actor = Actor::new(Arc::clone(self), record, parsed, stop, view);
        self.tasks.spawn("emulator-machine", async move {
            if !new.skip_launch {
                actor.launch().await;
            }
            actor.run(orders).await;
        });
        Ok(shown)
    }

    /// Gives a machine another configuration.
    pub(crate) async fn update_machine(
        &self,
        app: &str,
        id: &str,
        update: MachineUpdate,
        nonce: Option<String>,
    ) -> Result<Arc<Record>, Refusal> {
        let record = self.machine(app, id)?;
        let is_other = |given: Option<String>, own: &str| given.is_some_and(|given| !given.is_empty() && given != own);
        if is_other(update.name, &record.name) || is_other(update.region, &record.region) {
            return Err(Refusal::invalid_argument("a machine keeps the name and the region it was made with"));
        }
        let mut config = update.config.ok_or_else(|| Refusal::invalid_argument("config is required"))?;
        self.find_volumes(app, &mut config, &self.volumes_of(id), Some(&record.region))?;
        let Runnable { config: parsed, stop, volumes } = self.runnable(&config)?;
        let (current_version, launch) = (update.current_version, !update.skip_launch);
        let lease_ttl = lease_ttl(update.lease_ttl);
        let update = Update { config, parsed, stop, volumes, current_version, launch, lease_ttl };
        Ok(self.order(app, id, Order::Update(Box::new(update)), nonce).await?.record)
    }

    /// Puts the id of a volume that is free, or the machine's own, where a mount has only a volume's name.
    fn find_volumes(
        &self,
        app: &str,
        config: &mut Map<String, Value>,
        own: &[String],
        region: Option<&str>,
    ) -> Result<(), Refusal> {
        let contents = self.contents();
        let mounts = config.get_mut("mounts").and_then(Value::as_array_mut);
        for mount in mounts.into_iter().flatten().filter_map(Value::as_object_mut) {
            let is_said = |field: &str| mount.get(field).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
            if is_said("volume") || !is_said("name") {
                continue;
            }
            let name = mount["name"].as_str().unwrap_or_default();
            let is_it = |volume: &&VolumeRecord| {
                volume.app == app
                    && volume.name == name
                    && first_region(region).is_none_or(|wanted| wanted == volume.region)
                    && (own.contains(&volume.id) || contents.holder(&volume.id).is_none())
            };
            let found = contents.volumes.values().find(is_it).map(|volume| volume.id.clone());
            let none =
                || Refusal::failed_precondition(format!("no volume named {name:?} is free where this machine is"));
            let found = found.ok_or_else(none)?;
            mount.insert("volume".to_owned(), Value::String(found));
        }
        Ok(())
    }

    fn volumes_of(&self, machine: &str) -> Vec<String> {
        self.contents().machines.get(machine).map(|handle| handle.volumes.clone()).unwrap_or_default()
    }

    async fn write_new(&self, record: &Record) -> Result<(), Refusal> {
        let (directory, path) = (self.layout.machine_dir(&record.id), self.layout.machine_file(&record.id));
        let written = record.clone();
        let written = blocking(move || {
            kit::files::make_private(&directory)?;
            layout::write(&path, &written)
        });
        written.await.map_err(|error| {
            self.contents().machines.remove(&record.id);
            Refusal::internal("write the machine's record", &error)
        })
    }

    /// The latest view of a machine, which may be a destroyed one.
    pub(crate) fn machine(&self, app: &str, id: &str) -> Result<Arc<Record>, Refusal> {
        self.watch_machine(app, id).map(|view| Arc::clone(&view.borrow()))
    }

    /// The views of a machine as they change; of a destroyed one the last.
    pub(crate) fn watch_machine(&self, app: &str, id: &str) -> Result<watch::Receiver<Arc<Record>>, Refusal> {
        self.app(app)?;
        let contents = self.contents();
        let view = match contents.machines.get(id) {
            Some(handle) => handle.view.clone(),
            None => {
                let gone = contents.destroyed.iter().find(|record| record.id == id);
                let gone = gone.ok_or_else(|| Refusal::not_found("machine"))?;
                watch::channel(Arc::clone(gone)).1
            }
        };
        let is_of_app = view.borrow().app == app;
        if is_of_app { Ok(view) } else { Err(Refusal::not_found("machine")) }
    }

    /// The app of a machine that is not destroyed.
    pub(crate) fn app_of(&self, id: &str) -> Result<String, Refusal> {
        let contents = self.contents();
        let machine = contents.machines.get(id).ok_or_else(|| Refusal::not_found("machine"))?;
        let app = machine.view.borrow().app.clone();
        Ok(app)
    }

    /// The latest views of an app's machines, oldest first.
    pub(crate) fn machines(&self, app: &str, include_destroyed: bool) -> Result<Vec<Arc<Record>>, Refusal> {
        self.app(app)?;
        let contents = self.contents();
        let living = contents.machines.values().map(|handle| Arc::clone(&handle.view.borrow()));
        let destroyed = contents.destroyed.iter().filter(|_| include_destroyed).cloned();
        let mut machines: Vec<_> = living.chain(destroyed).filter(|record| record.app == app).collect();
        machines.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        Ok(machines)
    }

    /// Gives a machine an order and waits until it is carried out.
    pub(crate) async fn order(
        &self,
        app: &str,
        id: &str,
        order: Order,
        nonce: Option<String>,
    ) -> Result<Outcome, Refusal> {
        let record = self.machine(app, id)?;
        // Destruction is promised to whoever asks for it, and done where the host is heard again.
        let is_reachable = self.faults.host_status(&record) == HostStatus::Ok;
        if !is_reachable && !matches!(order, Order::Destroy { .. } | Order::Poke) {
            return Err(Refusal::deadline_exceeded("the machine's host does not answer"));
        }
        let orders = self.contents().machines.get(id).map(|handle| handle.orders.clone());
        let orders = orders.ok_or_else(|| Refusal::not_found("machine"))?;
        let (answer, result) = oneshot::channel();
        let sent = orders.send(Command { order, nonce, answer }).await;
        match (sent, result.await) {
            (Ok(()), Ok(result)) => result,
            // Its actor has ended: with the machine, or with the emulator.
            _ if self.tasks.is_stopping() => Err(Refusal::stopping()),
            _ => Err(Refusal::not_found("machine")),
        }
    }

    /// Lets go of a destroyed machine's name and volumes; it can be read for a while yet.
    pub(crate) fn forget(&self, id: &str) {
        let mut contents = self.contents();
        let Some(handle) = contents.machines.remove(id) else { return };
        let last = Arc::clone(&handle.view.borrow());
        contents.destroyed.push_back(last);
        let excess = contents.destroyed.len().saturating_sub(REMEMBERED);
        contents.destroyed.drain(..excess);
    }
}

/// Where a machine's views come from, and where its orders arrive.
type Ends = (watch::Sender<Arc<Record>>, mpsc::Receiver<Command>);

impl Contents {
    /// Takes the machine's name and volumes, if they are free.
    fn reserve(&mut self, record: &mut Record, names_region: bool, volumes: Vec<String>) -> Result<Ends, Refusal> {
        if !self.apps.contains_key(&record.app) {
            return Err(Refusal::not_found("app"));
        }
        self.check_name(&record.app, &record.name)?;
        for volume in &volumes {
            let known = self.volumes.get(volume).filter(|known| known.app == record.app);
            let known = known.ok_or_else(|| Refusal::malformed("volume not found"))?;
            if let Some(machine) = self.holder(volume) {
                let held = format!("volume {volume} is currently bound to machine: {machine}");
                return Err(Refusal::failed_precondition(held));
            }
            if !names_region {
                record.region.clone_from(&known.region);
            } else if known.region != record.region {
                let elsewhere = format!("volume {volume} is in region {}, not {}", known.region, record.region);
                return Err(Refusal::invalid_argument(elsewhere));
            }
        }
        Ok(self.insert(record, volumes))
    }

    /// Refuses a name that another machine of the app has.
    fn check_name(&self, app: &str, name: &str) -> Result<(), Refusal> {
        let is_namesake = |other: &Record| other.app == app && other.name == name;
        match self.machines.iter().find(|(_, handle)| is_namesake(&handle.view.borrow())) {
            Some((id, _)) => Err(Refusal::name_violation(id, name)),
            None => Ok(()),
        }
    }

    pub(super) fn insert(&mut self, record: &Record, volumes: Vec<String>) -> Ends {
        let (orders, arriving) = mpsc::channel(ORDERS);
        let (sender, view) = watch::channel(Arc::new(record.clone()));
        self.machines.insert(record.id.clone(), Handle { orders, view, volumes });
        (sender, arriving)
    }
}
