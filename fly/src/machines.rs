//! The client of the Machines API.

mod wait;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use reqwest::Method;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::call::{Api, Call, Repeat};
use crate::error::{Action, Error};
use crate::{App, Lease, Machine, NewApp, NewMachine, NewVolume, Pace, StopOptions, Token, Volume};

/// A new app is readable after at most so long.
const APP_READABLE_WITHIN: Duration = Duration::from_secs(60);

/// Calls the Machines API, Fly's or an emulator's. Clones share the rate limits.
#[derive(Clone)]
pub struct Machines {
    api: Api,
}

impl fmt::Debug for Machines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machines").field("base", &self.api.base()).finish_non_exhaustive()
    }
}

impl Machines {
    /// A client that keeps Fly's rate limits; `base_url` is without `/v1`, such as `https://api.machines.dev`.
    pub fn new(base_url: &str, token: &Token) -> Self {
        Self::with_pace(base_url, token, Pace::Fly)
    }

    /// A client with the given pace.
    pub fn with_pace(base_url: &str, token: &Token, pace: Pace) -> Self {
        Self { api: Api::new(base_url, token, pace) }
    }

    /// Creates an app and waits until it is readable. One that exists and is ours is taken as it is.
    pub async fn create_app(&self, app: &NewApp) -> Result<(), Error> {
        let call = self.api.call(Action::CreateApp, &app.org_slug, Method::POST, &["apps"]);
        match call.with(|request| request.json(app)).done().await {
            Ok(()) => self.wait_for_app(&app.name).await,
            Err(refused) if is_name_taken(&refused) => self.app(&app.name).await.map(drop).map_err(|_| refused),
            Err(error) => Err(error),
        }
    }

    /// Fly answers 404 and 401 for a while after it has created an app.
    async fn wait_for_app(&self, app: &str) -> Result<(), Error> {
        let until = Instant::now() + APP_READABLE_WITHIN;
        let mut failures = 0;
        loop {
            match self.app(app).await {
                Ok(_) => return Ok(()),
                Err(error) if !matches!(error.status(), Some(401 | 404)) || Instant::now() >= until => {
                    return Err(error);
                }
                Err(_) => failures += 1,
            }
            tokio::time::sleep(self.api.pause(failures)).await;
        }
    }

    /// Reads an app.
    pub async fn app(&self, app: &str) -> Result<App, Error> {
        self.api.call(Action::ReadApp, app, Method::GET, &["apps", app]).json().await
    }

    /// Creates a machine, and starts it unless told otherwise. Never repeated by itself: see [`Error::advice`].
    pub async fn create_machine(&self, app: &str, new: &NewMachine) -> Result<Machine, Error> {
        let call = self.api.call(Action::CreateMachine, app, Method::POST, &["apps", app, "machines"]);
        call.with(|request| request.json(new)).json().await
    }

    /// Reads an app's machines.
    pub async fn machines(&self, app: &str) -> Result<Vec<Machine>, Error> {
        self.api.call(Action::ListMachines, app, Method::GET, &["apps", app, "machines"]).json().await
    }

    /// Reads a machine. One that was destroyed may still be told about for a while.
    pub async fn machine(&self, app: &str, id: &str) -> Result<Machine, Error> {
        self.api.call(Action::ReadMachine, id, Method::GET, &["apps", app, "machines", id]).json().await
    }

    /// Starts a stopped machine, or resumes a suspended one.
    pub async fn start(&self, app: &str, id: &str) -> Result<(), Error> {
        self.on_machine(Action::Start, Method::POST, app, id, &["start"]).repeat(Repeat::Safe).done().await
    }

    /// Saves a started machine's memory and stops paying for it.
    pub async fn suspend(&self, app: &str, id: &str) -> Result<(), Error> {
        self.on_machine(Action::Suspend, Method::POST, app, id, &["suspend"]).repeat(Repeat::Safe).done().await
    }

    /// Asks a machine to stop; it is killed when it takes too long. Its root file system is lost.
    pub async fn stop(&self, app: &str, id: &str, options: &StopOptions) -> Result<(), Error> {
        let body = StopBody { signal: options.signal.as_deref(), timeout: options.timeout.map(go_duration) };
        let call = self.on_machine(Action::Stop, Method::POST, app, id, &["stop"]);
        call.with(|request| request.json(&body)).repeat(Repeat::Safe).done().await
    }

    /// Destroys a machine; with `force`, also one that runs. One that is gone is no error. Its volume stays.
    pub async fn destroy(&self, app: &str, id: &str, force: bool) -> Result<(), Error> {
        let call = self.on_machine(Action::DestroyMachine, Method::DELETE, app, id, &[]);
        gone_is_done(call.with(|request| request.query(&[("force", force)])).repeat(Repeat::Safe).done().await)
    }

    /// Takes the right to change a machine for `ttl`; refused while somebody has it.
    pub async fn acquire_lease(&self, app: &str, id: &str, description: &str, ttl: Duration) -> Result<Lease, Error> {
        let body = LeaseBody { description, ttl: ttl.as_secs() };
        let call = self.on_machine(Action::AcquireLease, Method::POST, app, id, &["lease"]);
        call.with(|request| request.json(&body)).json().await.map(|Envelope { data }| data)
    }

    /// Gives a lease back.
    pub async fn release_lease(&self, app: &str, id: &str, nonce: &str) -> Result<(), Error> {
        let call = self.on_machine(Action::ReleaseLease, Method::DELETE, app, id, &["lease"]);
        call.with(|request| request.header("fly-machine-lease-nonce", nonce)).done().await
    }

    /// Reads a machine's metadata.
    pub async fn metadata(&self, app: &str, id: &str) -> Result<BTreeMap<String, String>, Error> {
        self.on_machine(Action::ReadMetadata, Method::GET, app, id, &["metadata"]).json().await
    }

    /// Sets one word of a machine's metadata; that makes no new version of the machine.
    pub async fn set_metadata(&self, app: &str, id: &str, key: &str, value: &str) -> Result<(), Error> {
        let call = self.on_machine(Action::WriteMetadata, Method::POST, app, id, &["metadata", key]);
        call.with(|request| request.json(&MetadataBody { value })).repeat(Repeat::Safe).done().await
    }

    /// Creates a volume. Never repeated by itself: see [`Error::advice`].
    pub async fn create_volume(&self, app: &str, new: &NewVolume) -> Result<Volume, Error> {
        let call = self.api.call(Action::CreateVolume, app, Method::POST, &["apps", app, "volumes"]);
        call.with(|request| request.json(new)).json().await
    }

    /// Reads an app's volumes.
    pub async fn volumes(&self, app: &str) -> Result<Vec<Volume>, Error> {
        self.api.call(Action::ListVolumes, app, Method::GET, &["apps", app, "volumes"]).json().await
    }

    /// Reads a volume.
    pub async fn volume(&self, app: &str, id: &str) -> Result<Volume, Error> {
        self.api.call(Action::ReadVolume, id, Method::GET, &["apps", app, "volumes", id]).json().await
    }

    /// Destroys a volume and what is on it. One that is gone is no error.
    pub async fn destroy_volume(&self, app: &str, id: &str) -> Result<(), Error> {
        let call = self.api.call(Action::DestroyVolume, id, Method::DELETE, &["apps", app, "volumes", id]);
        gone_is_done(call.repeat(Repeat::Safe).done().await)
    }

    fn on_machine<'a>(&'a self, action: Action, method: Method, app: &str, id: &'a str, rest: &[&str]) -> Call<'a> {
        let path: Vec<&str> = ["apps", app, "machines", id].into_iter().chain(rest.iter().copied()).collect();
        self.api.call(action, id, method, &path)
    }
}

#[derive(Serialize)]
struct StopBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<String>,
}

#[derive(Serialize)]
struct LeaseBody<'a> {
    description: &'a str,
    ttl: u64,
}

#[derive(Serialize)]
struct MetadataBody<'a> {
    value: &'a str,
}

/// What lease answers come in, against what the OpenAPI document says.
#[derive(Deserialize)]
struct Envelope {
    data: Lease,
}

fn is_name_taken(error: &Error) -> bool {
    match error {
        Error::Refused { status: 422, code, message, .. } => {
            code.as_deref() == Some("name_taken") || message.contains("Name has already been taken")
        }
        _ => false,
    }
}

fn gone_is_done(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(error) if error.status() == Some(404) => Ok(()),
        other => other,
    }
}

/// As Go writes durations.
fn go_duration(duration: Duration) -> String {
    match duration.subsec_millis() {
        0 => format!("{}s", duration.as_secs()),
        _ => format!("{}ms", duration.as_millis()),
    }
}

#[cfg(test)]
mod tests;
