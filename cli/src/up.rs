//! The whole system in this process: for as long as one command, or until it is
//! stopped. The parts are the deployed ones and speak HTTP with each other.
//!
//! One system at a time has a data directory. A command that finds another
//! one's system there uses that.

mod addresses;
mod system;

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use client::control::Control;

use crate::args::UpArguments;
use crate::exit::{Code, failure};
use crate::invocation::Invocation;
use addresses::Addresses;
use system::{System, Wanted};

/// How long the end of a batch may take before the system stops without it.
const SETTLE_LIMIT: Duration = Duration::from_secs(10);

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
    // Whoever answers has the directory; if nobody does, its lock is free or about to be.
    if let Some(running) = find_running(invocation, data).await? {
        return Ok(running);
    }
    let lock = take(data)?;
    // One command, one batch: its machine goes to sleep as soon as it has nothing to do.
    let wanted = Wanted { listen: None, database_url: None, suspend_after_ms: Some(0) };
    let system = System::start(invocation, data, lock, &wanted).await?;
    Ok(Embedded { url: system.addresses.control_url(), api_key: system.api_key.clone(), own: Some(system) })
}

/// The system that is up in the data directory, if one answers there.
async fn find_running(invocation: &Invocation, data: &Path) -> anyhow::Result<Option<Embedded>> {
    if system::lock(data, Duration::ZERO)?.is_some() {
        return Ok(None);
    }
    let Some(addresses) = Addresses::read(data)? else { return Ok(None) };
    let api_key = control_plane::api_key_of(data, &invocation.chance)?;
    let url = addresses.control_url();
    let answers = Control::new(&url, &api_key).ready().await.is_ok();
    Ok(answers.then_some(Embedded { url, api_key, own: None }))
}

fn take(data: &Path) -> anyhow::Result<File> {
    system::lock(data, kit::lock::PATIENCE)?.ok_or_else(|| {
        let message = format!("another bifrost uses the data directory {}", data.display());
        failure(Code::TryLater, message, "stop it, or name another directory with --data DIR")
    })
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
    let data = invocation.prepare_data()?;
    let lock = take(&data)?;
    let wanted = Wanted {
        listen: Some(arguments.listen),
        database_url: arguments.database.database_url.clone(),
        suspend_after_ms: None,
    };
    let system = System::start(invocation, &data, lock, &wanted).await?;
    welcome(invocation, &system, &data)?;
    kit::tasks::termination().await;
    invocation.output.say("stopping; tasks that run are ended here and go on at the next start");
    system.stop().await;
    Ok(())
}

fn welcome(invocation: &Invocation, system: &System, data: &Path) -> anyhow::Result<()> {
    let output = invocation.output;
    let addresses = &system.addresses;
    let key = data.join(control_plane::API_KEY_FILE);
    if output.is_json {
        return output.json(&serde_json::json!({
            "control_plane": addresses.control_url(),
            "event_store": addresses.events_url(),
            "machines_api": addresses.emulator_url(),
            "api_key_file": key,
        }));
    }
    output.line(&format!("control plane   {}", addresses.control_url()))?;
    output.line(&format!("event store     {}", addresses.events_url()))?;
    output.line(&format!("machines API    {}", addresses.emulator_url()))?;
    output.line(&format!("API key         {}", key.display()))?;
    output.line("")?;
    output.line("try it:  bifrost run --repo . -- git log -1 --oneline")?;
    Ok(())
}
