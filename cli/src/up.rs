//! The whole system in this process: for as long as one command, or until it is
//! stopped. The parts are the deployed ones and speak HTTP with each other.
//!
//! One system at a time has a data directory. A command that finds another
//! one's system there uses that.

mod addresses;
mod inside;
mod system;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use client::control::Control;
use tokio::time::{Instant, sleep};

use crate::args::{DEFAULT_LISTEN, MachineArguments, UpArguments};
use crate::connect::{self, KeySource};
use crate::exit::{Code, failure};
use crate::invocation::Invocation;
use crate::serve::no_containers;
use addresses::{Addresses, Listen};
pub(crate) use system::LOCK_FILE;
use system::{System, Wanted};

/// How long the end of a batch may take before the system stops without it.
const SETTLE_LIMIT: Duration = Duration::from_secs(10);
/// How long another command's system may take to answer, or to leave the data directory.
const TURN_LIMIT: Duration = Duration::from_secs(10);
const TURN_BEAT: Duration = Duration::from_millis(100);

/// Where the event store of the system listens that has the data directory, or had it last.
pub(crate) fn events_url(data: &Path) -> anyhow::Result<Option<String>> {
    Ok(Addresses::read(data)?.map(|addresses| addresses.events_url()))
}

/// Where the control plane of the system listens that has the data directory, and the file that says so. A file alone
/// is not believed: it may have come with somebody's repository, or tell of a port that is another's by now, and the
/// key would go there.
pub(crate) fn control_url(data: &Path) -> Option<(String, PathBuf)> {
    // A directory that is another's says nothing to us.
    let addresses = Addresses::read(data).ok().flatten()?;
    is_up(data).then(|| (addresses.control_url(), Addresses::file(data)))
}

/// Whether a process of this computer has the data directory.
fn is_up(data: &Path) -> bool {
    kit::lock::is_held(&data.join(LOCK_FILE)).unwrap_or(false)
}

/// What opens that event store.
pub(crate) fn event_secret(data: &Path) -> anyhow::Result<Option<String>> {
    Ok(kit::files::read_if_exists(&data.join(system::EVENT_SECRET_FILE))?)
}

/// A system to use for one command.
pub(crate) struct Embedded {
    /// Where its control plane listens.
    pub(crate) url: String,
    /// The key that opens it.
    pub(crate) api_key: String,
    own: Option<System>,
}

/// Brings the system up in the data directory, or finds the one that is up there.
pub(crate) async fn start_embedded(invocation: &Invocation, data: &Path) -> anyhow::Result<Embedded> {
    let lock = match turn(invocation, data).await? {
        Turn::Own(lock) => lock,
        Turn::Running(running) => return Ok(*running),
    };
    // One command, one batch: its machine goes to sleep as soon as it has nothing to do.
    let listen = Listen::Preferably(DEFAULT_LISTEN.parse().expect("an address"));
    let machines = MachineArguments::default();
    let wanted = Wanted { listen, database_url: None, suspend_after_ms: Some(0), machines };
    let system = System::start(invocation, data, lock, &wanted).await?;
    Ok(Embedded { url: system.addresses.control_url(), api_key: system.api_key.clone(), own: Some(system) })
}

/// The system that another process has up in the data directory, if it answers.
pub(crate) async fn running(invocation: &Invocation) -> anyhow::Result<Option<Embedded>> {
    let data = invocation.data()?;
    if !is_up(&data) {
        return Ok(None);
    }
    match find_running(invocation, &data).await? {
        Found::Running(running) => Ok(Some(*running)),
        Found::Unable(why) => Err(unable(&data, &why)),
        Found::Nobody => Ok(None),
    }
}

/// Whose turn it is in the data directory.
enum Turn {
    /// This command's.
    Own(File),
    /// That of a system which answers.
    Running(Box<Embedded>),
}

/// Waits until the directory is free or its system answers: one that starts or stops does neither.
async fn turn(invocation: &Invocation, data: &Path) -> anyhow::Result<Turn> {
    let deadline = Instant::now() + TURN_LIMIT;
    loop {
        if let Some(lock) = system::lock(data, Duration::ZERO)? {
            return Ok(Turn::Own(lock));
        }
        let found = find_running(invocation, data).await?;
        match found {
            Found::Running(running) => return Ok(Turn::Running(running)),
            Found::Unable(why) if Instant::now() >= deadline => return Err(unable(data, &why)),
            Found::Nobody if Instant::now() >= deadline => return Err(in_use(data)),
            Found::Unable(_) | Found::Nobody => (),
        }
        sleep(TURN_BEAT).await;
    }
}

/// The system that another process has up in a data directory.
enum Found {
    /// It answers.
    Running(Box<Embedded>),
    /// It answers that it cannot work.
    Unable(client::Error),
    /// Nobody answers.
    Nobody,
}

async fn find_running(invocation: &Invocation, data: &Path) -> anyhow::Result<Found> {
    let Some(addresses) = Addresses::read(data)? else { return Ok(Found::Nobody) };
    let Some((api_key, _)) = connect::find_key(&invocation.global, &invocation.vars)? else { return Ok(Found::Nobody) };
    let url = addresses.control_url();
    Ok(match Control::new(&url, &api_key).ready().await {
        Ok(()) => Found::Running(Box::new(Embedded { url, api_key, own: None })),
        Err(why) if why.code() == Some("not_ready") => Found::Unable(why),
        Err(_) => Found::Nobody,
    })
}

fn unable(data: &Path, why: &client::Error) -> anyhow::Error {
    let message = format!("the bifrost that uses the data directory {} cannot work now: {why}", data.display());
    failure(Code::TryLater, message, "see whether its disk is full (`df`), and what its own log says")
}

fn in_use(data: &Path) -> anyhow::Error {
    let message = format!("another bifrost uses the data directory {}", data.display());
    failure(Code::TryLater, message, "stop it, or name another directory with --data DIR")
}

impl Embedded {
    /// Lets the batch end and stops the system, if it is this command's own.
    pub(crate) async fn stop(self) {
        if let Some(system) = self.own {
            system.settled_within(SETTLE_LIMIT).await;
            system.stop().await;
        }
    }
}

/// Runs the system until it is told to stop.
pub(crate) async fn up(invocation: &Invocation, arguments: &UpArguments) -> anyhow::Result<()> {
    arguments.machines.check().map_err(|error| no_containers(&error))?;
    let data = invocation.prepare_data()?;
    let lock = system::lock(&data, kit::lock::PATIENCE)?.ok_or_else(|| in_use(&data))?;
    let wanted = Wanted {
        listen: Listen::Exactly(arguments.listen),
        database_url: arguments.database.database_url.clone(),
        suspend_after_ms: None,
        machines: arguments.machines.clone(),
    };
    let system = System::start(invocation, &data, lock, &wanted).await?;
    let told = kit::tasks::termination();
    welcome(invocation, &system)?;
    told.await;
    invocation.output.say("stopping; tasks that run are ended here and go on at the next start");
    tokio::select! {
        () = system.stop() => Ok(()),
        () = kit::tasks::termination() => {
            let message = "interrupted before everything had stopped";
            Err(failure(Code::Cancelled, message, "the next `bifrost up` takes over what is left"))
        }
    }
}

fn welcome(invocation: &Invocation, system: &System) -> anyhow::Result<()> {
    let output = invocation.output;
    let addresses = &system.addresses;
    let (key_variable, key_file) = match &system.key_source {
        KeySource::Variable(name) => (Some(*name), None),
        KeySource::File(path) => (None, Some(std::path::absolute(path)?)),
        KeySource::Embedded => (None, None),
    };
    if output.is_json {
        return output.json(&serde_json::json!({
            "control_plane": addresses.control_url(),
            "event_store": addresses.events_url(),
            "machines_api": addresses.emulator_url(),
            "api_key_file": key_file,
            "api_key_variable": key_variable,
        }));
    }
    output.line(&format!("control plane   {}", addresses.control_url()))?;
    output.line(&format!("event store     {}", addresses.events_url()))?;
    output.line(&format!("machines API    {}", addresses.emulator_url()))?;
    let key = key_file.map(|path| path.display().to_string()).or(key_variable.map(|name| format!("${name}")));
    output.line(&format!("API key         {}", key.unwrap_or_default()))?;
    output.line("")?;
    output.line("try it:  bifrost run --repo . -- git log -1 --oneline")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wiremock::matchers::path;
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;
    use crate::args::{ColorChoice, Global};
    use crate::exit::classify;

    #[tokio::test]
    async fn a_system_that_cannot_work_is_not_taken_for_none_and_its_reason_is_told() {
        let (directory, server) = (tempfile::tempdir().expect("makes"), MockServer::start().await);
        let problem = json!({
            "type": "about:blank", "title": "Not ready", "status": 503, "code": "not_ready",
            "detail": "the event store cannot be used",
        });
        let refused = ResponseTemplate::new(503).set_body_raw(problem.to_string(), "application/problem+json");
        Mock::given(path("/ready")).respond_with(refused).mount(&server).await;
        let data = directory.path().to_owned();
        let _lock = system::lock(&data, Duration::ZERO).expect("can be used").expect("is free");
        let addresses =
            json!({ "control": server.address(), "events": server.address(), "emulator": server.address() });
        std::fs::write(Addresses::file(&data), addresses.to_string()).expect("writes");
        std::fs::write(data.join(control_plane::API_KEY_FILE), "k".repeat(40)).expect("writes");
        let global =
            Global { url: None, api_key_file: None, data, json: false, reason: None, color: ColorChoice::Never };
        let found = running(&Invocation::new(global, kit::Vars::default())).await;
        let failure = classify(&found.err().expect("it cannot be used"));
        assert!(failure.message.ends_with("cannot work now: the event store cannot be used"), "{}", failure.message);
        assert_eq!(failure.code, Code::TryLater);
    }
}
