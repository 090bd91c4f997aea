//! A pool, an emulator with a fault script, and a hand that moves both on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use emulator::{Config, Script};
use fly::{MachineState as At, Machines, Pace};
use kernel::{Ctx, Migration, Reconciler as _, Tx};
use kit::{Chance, Tasks, Vars};
use pool::kept::Known;
use pool::machines::Machine;
use pool::plan::{Action, Demand, Outlook};
use pool::{
    Credentials, EnsureApp, FlyMachines, Ledger, MIGRATIONS, Provider, Provision, Settings, SharedProvider, SharedWork,
    Watch, WorkOnDisks, machines, workers,
};
use tempfile::TempDir;
use uuid::Uuid;
use wire::id::MachineId;
use wire::machine::MachineState;
use wire::signature::Key;
use wire::worker::{PROTOCOL, Register};

pub(crate) const APP: &str = "runners";
/// Rounds of ten seconds: more than the longest ladder takes.
pub(crate) const ROUNDS: usize = 700;

pub(crate) fn migrations() -> Vec<Migration> {
    [kernel::MIGRATIONS, MIGRATIONS].concat()
}

/// Says what machines' disks alone have, as the slice does that knows checkpoints.
#[derive(Debug, Default)]
pub(crate) struct Said(Mutex<BTreeMap<MachineId, String>>);

impl Said {
    pub(crate) fn has(&self, machine: MachineId, what: &str) {
        self.0.lock().expect("no panic").insert(machine, what.into());
    }
}

impl WorkOnDisks for Said {
    fn of<'a>(&'a self, _: &'a mut Tx, machine: MachineId, _: DateTime<Utc>) -> Known<'a, Option<String>> {
        let what = self.0.lock().expect("no panic").get(&machine).cloned();
        Box::pin(async { Ok(what) })
    }

    fn gone<'a>(&'a self, _: &'a Ctx, _: &'a mut Tx, machine: MachineId) -> Known<'a, ()> {
        self.0.lock().expect("no panic").remove(&machine);
        Box::pin(async { Ok(()) })
    }
}

pub(crate) struct World {
    pub(crate) ctx: Ctx,
    pub(crate) settings: Arc<Settings>,
    pub(crate) machines: Machines,
    pub(crate) provider: SharedProvider,
    pub(crate) provision: Provision,
    pub(crate) said: Arc<Said>,
    pub(crate) watch: Watch,
    pub(crate) app: EnsureApp,
    ledger: Ledger,
    url: String,
    emulator: Tasks,
    /// Which start of its runner each machine reports.
    boots: BTreeMap<MachineId, u128>,
    /// Whether workers report in.
    pub(crate) are_workers_deaf: bool,
    _data: TempDir,
}

pub(crate) fn settings() -> Settings {
    Settings {
        step_wait: Duration::ZERO,
        provider: Provider {
            app: APP.into(),
            pool_name: "p1".into(),
            image: "example/image:1".into(),
            regions: vec!["iad".into(), "ewr".into()],
            // Ends by itself, should a test leave one behind.
            runner_command: Some(["sleep", "300"].map(str::to_owned).to_vec()),
            ..Provider::default()
        },
        ..Settings::default()
    }
}

/// The same where a step waits until a machine sleeps, as in production. The API waits for a second at least.
pub(crate) fn waiting() -> Settings {
    Settings { step_wait: Duration::from_millis(1), ..settings() }
}

/// The same where there is no other region to go to.
pub(crate) fn one_region() -> Settings {
    let provider = Provider { regions: vec!["iad".into()], ..settings().provider };
    Settings { provider, ..settings() }
}

impl World {
    pub(crate) async fn new(ctx: &Ctx, script: &str) -> Self {
        Self::with(ctx, script, settings()).await
    }

    pub(crate) async fn with(ctx: &Ctx, script: &str, settings: Settings) -> Self {
        let data = tempfile::tempdir().expect("a directory");
        let host = Vars::from_process();
        let path = host.text("PATH").map(|path| ("PATH", path.to_owned()));
        let mut vars = Vars::from_pairs(path);
        let faults = Script::from_toml(script).expect("a script");
        let config = Config { faults, ..Config::from_vars(data.path().to_owned(), &mut vars) };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let tasks = Tasks::new();
        let emulator =
            emulator::start(config, listener, ctx.clock.clone(), Chance::system(), &tasks).await.expect("starts");
        let token = "any".parse().expect("a token");
        let machines = Machines::with_pace(&emulator.url(), &token, Pace::Unlimited);
        let settings = Arc::new(settings);
        let provider: SharedProvider = Arc::new(FlyMachines::new(machines.clone(), &settings.provider));
        let said = Arc::new(Said::default());
        let provision = provision(&provider, &settings, said.clone());
        Self {
            ctx: ctx.clone(),
            machines,
            provision,
            said,
            watch: Watch::new(Arc::clone(&provider), Arc::clone(&settings)),
            app: EnsureApp::new(Arc::clone(&provider), &settings),
            ledger: Ledger::new(Arc::clone(&settings)),
            provider,
            settings,
            url: emulator.url(),
            emulator: tasks,
            boots: BTreeMap::new(),
            are_workers_deaf: false,
            _data: data,
        }
    }

    /// The control plane starts anew, on this database.
    pub(crate) fn start_on(&mut self, database: &Ctx) {
        let clock = self.ctx.clock.clone();
        self.ctx = database.clone();
        self.ctx.clock = clock;
        self.provision = provision(&self.provider, &self.settings, self.work());
        self.watch = Watch::new(Arc::clone(&self.provider), Arc::clone(&self.settings));
        self.app = EnsureApp::new(Arc::clone(&self.provider), &self.settings);
    }

    /// The control plane starts anew with another image for its machines.
    pub(crate) fn has_image(&mut self, image: &str) {
        let provider = Provider { image: image.into(), ..self.settings.provider.clone() };
        self.has_settings(Settings { provider, ..(*self.settings).clone() });
    }

    /// The control plane starts anew with another budget for a day.
    pub(crate) fn has_budget(&mut self, day_micros: i64) {
        self.has_settings(Settings { budget_day_micros: Some(day_micros), ..(*self.settings).clone() });
    }

    /// The control plane starts anew with a client that gives a call up after so long.
    pub(crate) fn gives_up_after(&mut self, deadline: Duration) {
        let machines = self.machines.with_deadline(deadline);
        self.provider = Arc::new(FlyMachines::new(machines, &self.settings.provider));
        let database = self.ctx.clone();
        self.start_on(&database);
    }

    /// The control plane starts anew, and calls what is at this address.
    pub(crate) fn calls(&mut self, url: &str) {
        let machines = Machines::with_pace(url, &"any".parse().expect("a token"), Pace::Unlimited);
        self.provider = Arc::new(FlyMachines::new(machines, &self.settings.provider));
        let database = self.ctx.clone();
        self.start_on(&database);
    }

    /// The same with what it called at first.
    pub(crate) fn calls_the_emulator(&mut self) {
        self.calls(&self.url.clone());
    }

    fn has_settings(&mut self, settings: Settings) {
        self.settings = Arc::new(settings);
        self.provision = provision(&self.provider, &self.settings, self.work());
    }

    /// Another fault script, from its beginning.
    pub(crate) async fn script(&self, script: &str) {
        let url = format!("{}/control/faults", self.url);
        let client = kit::http::client(Duration::from_secs(20));
        let answer = client.put(url).body(script.to_owned()).send().await.expect("answers");
        assert_eq!(answer.status().as_u16(), 204, "{script}");
    }

    /// Sends a machine on that the fault script holds.
    pub(crate) async fn poke(&self) {
        let id = self.row().await.provider_id.expect("is there");
        let url = format!("{}/control/machines/{id}/poke", self.url);
        let answer = kit::http::client(Duration::from_secs(20)).post(url).send().await.expect("answers");
        assert_eq!(answer.status().as_u16(), 200);
    }

    /// Whether each rule of the fault script has let something fail.
    pub(crate) async fn has_every_fault_struck(&self) -> bool {
        let client = kit::http::client(Duration::from_secs(20));
        let answer = client.get(format!("{}/control/faults", self.url)).send().await.expect("answers");
        let counts: serde_json::Value = answer.json().await.expect("JSON");
        let rules = ["call", "machine"].iter().flat_map(|kind| counts[kind].as_array().expect("a list"));
        let fired: Vec<u64> = rules.map(|rule| rule["fired"].as_u64().expect("a number")).collect();
        !fired.is_empty() && !fired.contains(&0)
    }

    pub(crate) async fn apply(&self, action: Action) -> usize {
        let mut tx = self.ctx.begin("test").await.expect("begins");
        let changed = machines::apply(&self.ctx, &mut tx, &self.settings, &[action]).await.expect("applies");
        tx.commit(changed).await.expect("commits")
    }

    /// What the planner says while so many tasks wait, done.
    pub(crate) async fn plan(&self, queued: usize) -> (Vec<Action>, Outlook) {
        let now = self.ctx.now();
        let mut tx = self.ctx.begin("test").await.expect("begins");
        let view = machines::view(&mut tx, &self.settings, now).await.expect("looks");
        let demand = Demand { queued, ..Demand::default() };
        let plan = pool::plan::plan(&view, &demand, (&*self.settings).into(), now);
        machines::apply(&self.ctx, &mut tx, &self.settings, &plan.actions).await.expect("applies");
        tx.commit((plan.actions, plan.outlook)).await.expect("commits")
    }

    pub(crate) async fn rows(&self) -> Vec<Machine> {
        machines::list(&self.ctx).await.expect("lists")
    }

    /// The machine in question: the first.
    pub(crate) async fn row(&self) -> Machine {
        self.rows().await.into_iter().next().expect("a machine")
    }

    /// What the provider has: machines, with their states, and volumes.
    pub(crate) async fn there(&self) -> (Vec<(String, At)>, usize) {
        let machines = self.machines.machines(APP).await.expect("lists");
        let machines = machines.into_iter().filter(|machine| machine.state != At::Destroyed);
        let machines = machines.map(|machine| (machine.name, machine.state)).collect();
        (machines, self.machines.volumes(APP).await.expect("lists").len())
    }

    /// The provider's id of the volume in question.
    pub(crate) async fn volume(&self) -> Option<String> {
        self.row().await.volume_provider_id
    }

    /// One beat of everything, ten seconds long. An error is the next beat's to repair.
    pub(crate) async fn beat(&mut self) {
        self.app.tick(&self.ctx).await.ok();
        self.provision.step_all(&self.ctx).await.ok();
        self.report_in().await;
        self.watch.tick(&self.ctx).await.ok();
        self.ledger.tick(&self.ctx).await.expect("the ledger is ours alone");
        self.ctx.clock.advance(Duration::from_secs(10));
    }

    /// Waits for what machines that start or stop run: a process takes real time, whatever the clock says.
    pub(crate) async fn keep_up(&self) {
        for machine in self.machines.machines(APP).await.expect("lists") {
            let to = match machine.state {
                At::Starting | At::Created => At::Started,
                At::Stopping => At::Stopped,
                _ => continue,
            };
            self.machines.wait(APP, &machine.id, to, None, Duration::from_secs(20)).await.expect("does so");
        }
    }

    /// The workers of machines that run say so.
    async fn report_in(&mut self) {
        if self.are_workers_deaf {
            return;
        }
        // A look that no fault of a row is about.
        let there = self.machines.machines(APP).await.unwrap_or_default();
        for row in self.rows().await {
            let Some(id) = &row.provider_id else { continue };
            let is_booting = matches!(row.state, MachineState::Starting | MachineState::Resuming);
            if !is_booting || !there.iter().any(|machine| machine.id == *id && machine.state == At::Started) {
                continue;
            }
            // A machine that is made anew boots anew.
            let boot =
                *self.boots.entry(row.id).or_insert(1) + u128::try_from(row.generation).expect("positive") * 1_000;
            hello(&self.ctx, row.id, Uuid::from_u128(boot)).await;
        }
    }

    /// The runners have started anew, as after a lost snapshot.
    pub(crate) async fn boot_anew(&mut self) {
        for row in self.rows().await {
            *self.boots.entry(row.id).or_insert(1) += 1;
        }
    }

    /// Beats until every machine has come to rest where it was to go, and nothing is left to clear away.
    #[track_caller]
    pub(crate) fn settle(&mut self) -> impl Future<Output = ()> + '_ {
        let caller = std::panic::Location::caller();
        async move {
            for _ in 0..ROUNDS {
                self.beat().await;
                let rows = self.rows().await;
                let at_rest = |row: &Machine| matches!(row.state, MachineState::Ready | MachineState::Suspended);
                if rows.iter().all(at_rest) {
                    return;
                }
            }
            panic!("no rest, says {caller}: {:?}", self.rows().await);
        }
    }

    /// A machine that is ready.
    pub(crate) async fn up(&mut self) {
        assert_eq!(self.apply(Action::Create).await, 1);
        self.settle().await;
    }

    /// A machine that sleeps and is so old that it is to be replaced.
    pub(crate) async fn aged_sleeper(&mut self) -> Machine {
        self.up().await;
        self.suspend().await;
        let sleeper = self.row().await;
        self.ctx.clock.advance(self.settings.machine_age_max);
        self.beat().await;
        sleeper
    }

    /// Puts the machine to sleep: its worker has saved its checkpoint.
    pub(crate) async fn suspend(&mut self) {
        let id = self.row().await.id;
        self.apply(Action::Suspend(id)).await;
        self.settle().await;
    }

    pub(crate) async fn wake(&mut self) {
        let id = self.row().await.id;
        assert_eq!(self.apply(Action::Resume(id)).await, 1);
        self.settle().await;
    }

    pub(crate) async fn destroy(&mut self) {
        let id = self.row().await.id;
        machines::destroy(&self.ctx, &self.work(), id, true).await.expect("ordered");
        self.settle().await;
    }

    pub(crate) fn work(&self) -> SharedWork {
        self.said.clone()
    }

    /// How often the record tells of something.
    pub(crate) async fn told(&self, kind: &str) -> Vec<serde_json::Value> {
        let mut tx = self.ctx.begin("test").await.expect("begins");
        let pending = kernel::outbox::pending(&mut tx, 10_000).await.expect("reads");
        pending.iter().filter(|event| event.kind == kind).map(payload).collect()
    }

    /// Lets so much time pass, beat by beat.
    pub(crate) async fn pass(&mut self, time: TimeDelta) {
        let until = self.ctx.now() + time;
        while self.ctx.now() < until {
            self.beat().await;
        }
    }

    /// Lets the time pass for which orphans that hold a disk are only reported.
    pub(crate) async fn skip_a_week(&mut self) {
        self.ctx.clock.advance(self.settings.orphan_keep);
        self.pass(TimeDelta::seconds(30)).await;
    }

    /// Lets the time pass for which replaced volumes are kept.
    pub(crate) async fn skip_an_hour(&mut self) {
        self.ctx.clock.advance(Duration::from_secs(3_700));
        self.pass(TimeDelta::seconds(30)).await;
    }

    pub(crate) async fn stop(self) {
        self.emulator.stop_within(Duration::from_secs(20)).await.expect("ends");
    }
}

pub(crate) fn payload(event: &wire::event::Event) -> serde_json::Value {
    serde_json::from_str(event.payload.get()).expect("JSON")
}

pub(crate) fn provision(provider: &SharedProvider, settings: &Arc<Settings>, work: SharedWork) -> Provision {
    let credentials = Credentials::new(&Key::from_bytes([1; 32]));
    Provision::new(Arc::clone(provider), Arc::clone(settings), work, credentials, Tasks::new())
}

/// A machine's worker says that it is there, in this boot.
pub(crate) async fn hello(ctx: &Ctx, machine_id: MachineId, boot: Uuid) {
    let hello =
        Register { machine_id, boot, protocol: PROTOCOL, version: "t".into(), capacity: 1, repositories: vec![] };
    let mut tx = ctx.begin("test").await.expect("begins");
    workers::register(ctx, &mut tx, &hello).await.expect("registers");
    tx.commit(()).await.expect("commits");
}
