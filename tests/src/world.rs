//! A world: its programs, and what a user or an operator can do in it.

mod tasks;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use client::control::Control;
use client::events::{EventStore, Signer};
use fly::{Machines, Pace};
use reqwest::StatusCode;
use serde::de::DeserializeOwned;
use wire::id::EventId;
use wire::machine::{MachineState, MachineView};

use crate::command_line::{CommandLine, Output};
use crate::leftovers;
use crate::level::{PATIENCE, until};
use crate::processes::{Process, kill_all_of};
use crate::repository::Repository;
use crate::scene::{Plan, Scene};
use crate::service::{Program, Service, output_of, tail};

/// The app that the pool's machines belong to, by default.
pub(crate) const APP: &str = "bifrost-runner";

/// A system of real processes and a repository to run things in.
#[derive(Debug)]
pub struct World {
    /// A repository with one commit.
    pub repository: Repository,
    pub(crate) scene: Scene,
    pub(crate) programs: BTreeMap<Service, Program>,
}

impl World {
    /// Plans a world; [`Plan::start`] makes it.
    pub fn plan() -> Plan {
        // A batch is over soon and a lost worker is noticed soon: nobody wants to wait for either here.
        Plan::default().set("BIFROST_LEASE_SECONDS", 4).set("BIFROST_SUSPEND_AFTER_MS", 500)
    }

    /// A world of three programs with SQLite.
    pub async fn start() -> Self {
        Self::plan().start().await
    }

    /// A world in which nothing runs yet.
    pub(crate) async fn on(scene: Scene) -> Self {
        let repository = Repository::create(scene.directory.path().join("repository")).await;
        Self { repository, scene, programs: BTreeMap::new() }
    }

    /// Starts a program and waits until it answers.
    pub async fn run(&mut self, service: Service) {
        self.launch(service);
        self.until_up().await;
    }

    /// Starts a program and does not wait.
    pub fn launch(&mut self, service: Service) {
        let program = Program::start(service, self.scene.command(service), &self.scene.logs());
        assert!(self.programs.insert(service, program).is_none(), "there is one already");
    }

    /// Ends a program at once, wherever it is.
    pub async fn kill(&mut self, service: Service) {
        self.programs.remove(&service).expect("it runs").kill().await;
    }

    /// Ends a program as an operator would; it must end well.
    pub async fn stop(&mut self, service: Service) {
        let status = self.programs.remove(&service).expect("it runs").terminate().await;
        assert!(status.success(), "{} ended with {status}", service.command());
    }

    /// Starts a program that is expected to end by itself.
    pub async fn start_anyway(&self, service: Service) -> Output {
        CommandLine::from(self.scene.command(service)).output().await
    }

    /// Kills a program and starts it again.
    pub async fn restart(&mut self, service: Service) {
        self.kill(service).await;
        self.run(service).await;
    }

    /// Has programs that are started from now on listen elsewhere; once in a world's life.
    pub fn move_on(&mut self) {
        self.scene.move_on();
    }

    /// Waits until every program that was started answers.
    pub async fn until_up(&mut self) {
        for (service, program) in &mut self.programs {
            program.answers(&format!("{}/health", self.scene.url(*service))).await;
        }
        if self.programs.contains_key(&Service::System) {
            // It says where its parts are once all of them serve.
            until("the system says where it is", PATIENCE, async || self.try_welcome()).await;
        }
    }

    /// The program under test, for commands that call it themselves.
    pub fn program(&self) -> PathBuf {
        crate::command_line::program()
    }

    /// The directory that everything of this world is in.
    pub fn directory(&self) -> &Path {
        self.scene.directory.path()
    }

    /// The data directory of its programs.
    pub fn data(&self) -> PathBuf {
        self.scene.data()
    }

    /// The control plane's URL.
    pub fn url(&self) -> String {
        self.scene.url(Service::ControlPlane)
    }

    /// What nobody but its owner may learn.
    pub fn secrets(&self) -> Vec<String> {
        let secret = self.scene.secret.reveal();
        let bare = secret.trim_start_matches("whsec_").to_owned();
        vec![self.api_key(), self.scene.provider_token.clone(), secret, bare]
    }

    /// What all programs have logged so far.
    pub fn logs(&self) -> String {
        let logs = std::fs::read_dir(self.scene.logs()).expect("is there").flatten();
        logs.map(|log| std::fs::read_to_string(log.path()).expect("is text")).collect()
    }

    /// The first API key.
    pub fn api_key(&self) -> String {
        let text = std::fs::read_to_string(self.data().join("api-key")).expect("the control plane has made a key");
        text.trim().to_owned()
    }

    /// The control plane's client, with the first API key.
    pub fn control(&self) -> Control {
        Control::new(&self.url(), &self.api_key())
    }

    /// The event store's client, with an operator's signature.
    pub fn events(&self) -> EventStore {
        let (clock, chance) = (self.scene.clock.clone(), self.scene.chance.clone());
        let signer = Signer { key: self.scene.secret.clone(), key_id: None, clock, chance };
        EventStore::new(&self.url_of_part(Service::EventStore, "event_store"), signer)
    }

    /// The Machines API's client.
    pub fn provider(&self) -> Machines {
        let token = self.scene.provider_token.parse().expect("a token of ours is one");
        Machines::with_pace(&self.url_of_part(Service::Emulator, "machines_api"), &token, Pace::Unlimited)
    }

    /// Lets calls and machines fail from now on, by a script of docs/emulator.md.
    pub async fn let_fail(&self, script: &str) {
        let url = format!("{}/control/faults", self.url_of_part(Service::Emulator, "machines_api"));
        let request = kit::http::client(PATIENCE).put(url).bearer_auth(&self.scene.provider_token);
        let answer = request.body(script.to_owned()).send().await.expect("the emulator answers");
        assert_eq!(answer.status(), StatusCode::NO_CONTENT, "{script}");
    }

    /// What the runner of a machine has logged so far.
    pub fn runner_log(&self, machine: &MachineView) -> String {
        let id = machine.provider_id.as_deref().expect("it was made");
        let log = self.data().join("emulator").join("machines").join(id).join("log");
        std::fs::read_to_string(&log).unwrap_or_else(|error| panic!("{}: {error}", log.display()))
    }

    /// The fake whose sprites are the machines.
    pub fn sprites(&self) -> &emulator::sprites::Sprites {
        &self.scene.sprites.as_ref().expect("the world is on sprites").fake
    }

    /// The pool's app at the provider.
    pub fn app(&self) -> &'static str {
        APP
    }

    /// A system in one process prints where its parts are.
    fn url_of_part(&self, alone: Service, part: &str) -> String {
        if !self.programs.contains_key(&Service::System) {
            return self.scene.url(alone);
        }
        self.welcome()[part].as_str().expect("it says where its parts are").to_owned()
    }

    /// What `bifrost up --json` has printed.
    pub fn welcome(&self) -> serde_json::Value {
        self.try_welcome().expect("it has printed one JSON object")
    }

    fn try_welcome(&self) -> Option<serde_json::Value> {
        let text = std::fs::read_to_string(output_of(Service::System, &self.scene.logs())).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// An id for an event.
    pub fn event_id(&self) -> EventId {
        EventId::mint(self.scene.clock.now(), self.scene.chance.bytes())
    }

    /// A call of the program by a person who uses this world's server.
    pub fn bifrost(&self, arguments: &[&str]) -> CommandLine {
        let call = CommandLine::new(&self.scene.home(), arguments);
        call.env("BIFROST_URL", self.url()).env("BIFROST_DATA", self.data()).in_directory(self.repository.path())
    }

    /// Waits until a machine of the pool stands so.
    pub async fn until_machine(&self, state: MachineState) -> MachineView {
        let control = self.control();
        let what = format!("a machine is {state}");
        until(&what, PATIENCE, async || {
            control.machines().await.ok()?.into_iter().find(|machine| machine.state == state)
        })
        .await
    }

    /// Every process of this world.
    pub fn processes(&self) -> Vec<Process> {
        Process::all_of(self.directory())
    }

    /// The runners' processes. A child that a runner has just started looks like one until it is the
    /// program it shall be, so those with a runner for a parent are left out.
    pub fn runners(&self) -> Vec<Process> {
        let looks_like_one = |process: &Process| process.arguments.get(1).is_some_and(|command| command == "runner");
        let found: Vec<Process> = self.processes().into_iter().filter(looks_like_one).collect();
        let is_child = |process: &Process| found.iter().any(|other| other.pid == process.parent);
        found.iter().filter(|process| !is_child(process)).cloned().collect()
    }

    /// The processes of this world that have this word among their arguments.
    pub fn processes_with(&self, argument: &str) -> Vec<Process> {
        let all = self.processes().into_iter();
        all.filter(|process| process.arguments.iter().any(|word| word == argument)).collect()
    }

    /// Reads from the control plane what its client has no method for.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        let text = self.get_text(path).await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}"))
    }

    /// What the control plane measures.
    pub async fn metrics(&self) -> String {
        self.get_text("/metrics").await
    }

    pub(crate) async fn get_text(&self, path: &str) -> String {
        let request = kit::http::client(PATIENCE).get(format!("{}{path}", self.url())).bearer_auth(self.api_key());
        let answer = request.send().await.expect("the control plane answers");
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.text().await.expect("the answer is whole")
    }

    /// The end of a test: nothing waits to be told, nothing is held, nothing exists that nobody
    /// knows; then everything stops when asked to, and leaves nothing behind.
    pub async fn finish(mut self) {
        leftovers::settle(&self).await;
        // First nobody decides any more, then the machines end, then those who listen to them.
        for service in [Service::ControlPlane, Service::Emulator, Service::EventStore, Service::System] {
            if self.programs.contains_key(&service) {
                self.stop(service).await;
            }
            if let Some(sprites) = self.scene.sprites.as_ref().filter(|_| service == Service::ControlPlane) {
                assert_eq!(sprites.fake.strange_calls(), Vec::<String>::new(), "every call is documented");
                sprites.fake.stop().await;
            }
        }
        leftovers::search(self.directory()).await;
        if let Some(postgres) = &self.scene.postgres {
            postgres.drop().await;
        }
    }

    /// The last lines of every program's log, for a person who wants to know why a test failed.
    #[expect(clippy::print_stderr, reason = "the test's output is where that person looks")]
    fn tell(&self) {
        let logs = std::fs::read_dir(self.scene.logs()).into_iter().flatten().flatten();
        for log in logs.map(|entry| entry.path()) {
            eprintln!("== {}\n{}", log.display(), tail(&log));
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell();
        }
        // All programs first: one of them would start again what another has lost.
        self.programs.values_mut().for_each(Program::begin_kill);
        kill_all_of(self.scene.directory.path());
    }
}
