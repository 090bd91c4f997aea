//! The client of the Machines API.

mod addresses;
mod apps;
mod leases;
mod metadata;
mod organizations;
mod platform;
mod secrets;
mod volumes;
mod wait;

use std::fmt;
use std::time::Duration;

use reqwest::Method;
use serde::Serialize;

use crate::call::{Api, Call, Repeat};
use crate::error::{Action, Error};
use crate::{
    Machine, MachineEvent, MachineFilter, MachineUpdate, MachineVersion, NewMachine, Pace, StopOptions, Token,
};

/// Where a lease is shown.
const NONCE: &str = "fly-machine-lease-nonce";
/// Fly shows no more events than that at once.
const EVENTS_MAX: usize = 50;

/// Calls the Machines API, Fly's or an emulator's. Clones share the rate limits.
#[derive(Clone)]
pub struct Machines {
    api: Api,
    /// The lease under which machines are changed.
    nonce: Option<String>,
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
        Self { api: Api::new(base_url, token, pace), nonce: None }
    }

    /// The base URL that it calls.
    pub fn url(&self) -> &str {
        self.api.base()
    }

    /// The same client, which gives a call up after so long, repeats included; [`Machines::wait`] has its own time.
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        Self { api: self.api.clone().with_deadline(deadline), nonce: self.nonce.clone() }
    }

    /// The same client, which shows this nonce of a lease with whatever it asks of a machine.
    pub fn under(&self, nonce: &str) -> Self {
        Self { api: self.api.clone(), nonce: Some(nonce.to_owned()) }
    }

    /// Creates a machine, and starts it unless told otherwise. Never repeated by itself: see [`Error::advice`].
    pub async fn create_machine(&self, app: &str, new: &NewMachine) -> Result<Machine, Error> {
        let call = self.api.call(Action::CreateMachine, app, Method::POST, &["apps", app, "machines"]);
        call.with(|request| request.json(new)).json().await
    }

    /// Reads an app's machines.
    pub async fn machines(&self, app: &str) -> Result<Vec<Machine>, Error> {
        self.api.call(Action::ListMachines, app, Method::GET, &["apps", app, "machines"]).json_or_default().await
    }

    /// Reads those of an app's machines that the filter names.
    pub async fn machines_where(&self, app: &str, filter: &MachineFilter) -> Result<Vec<Machine>, Error> {
        let call = self.api.call(Action::ListMachines, app, Method::GET, &["apps", app, "machines"]);
        call.with(|request| request.query(&filter.query())).json_or_default().await
    }

    /// Reads a machine. One that was destroyed may still be told about for a while.
    pub async fn machine(&self, app: &str, id: &str) -> Result<Machine, Error> {
        self.api.call(Action::ReadMachine, id, Method::GET, &["apps", app, "machines", id]).json().await
    }

    /// Gives a machine another configuration and, unless told otherwise, starts it anew with that; a
    /// suspended one loses its memory. Never repeated by itself: see [`Error::advice`].
    pub async fn update(&self, app: &str, id: &str, update: &MachineUpdate) -> Result<Machine, Error> {
        let call = self.on_machine(Action::UpdateMachine, Method::POST, app, id, &[]);
        call.with(|request| request.json(update)).json().await
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

    /// Stops a machine and starts it. Never repeated by itself: see [`Error::advice`].
    pub async fn restart(&self, app: &str, id: &str, options: &StopOptions) -> Result<(), Error> {
        let query = StopBody { signal: options.signal.as_deref(), timeout: options.timeout.map(go_duration) };
        let call = self.on_machine(Action::Restart, Method::POST, app, id, &["restart"]);
        call.with(|request| request.query(&query)).done().await
    }

    /// Keeps Fly's proxy from sending requests to a machine.
    pub async fn cordon(&self, app: &str, id: &str) -> Result<(), Error> {
        self.on_machine(Action::Cordon, Method::POST, app, id, &["cordon"]).repeat(Repeat::Safe).done().await
    }

    /// Lets requests reach a machine again.
    pub async fn uncordon(&self, app: &str, id: &str) -> Result<(), Error> {
        self.on_machine(Action::Uncordon, Method::POST, app, id, &["uncordon"]).repeat(Repeat::Safe).done().await
    }

    /// Reads what happened to a machine, newest first, as far back as Fly shows at once.
    pub async fn events(&self, app: &str, id: &str) -> Result<Vec<MachineEvent>, Error> {
        let call = self.on_machine(Action::ReadEvents, Method::GET, app, id, &["events"]);
        call.with(|request| request.query(&[("limit", EVENTS_MAX)])).json_or_default().await
    }

    /// Reads the versions that a machine had, newest first.
    pub async fn versions(&self, app: &str, id: &str) -> Result<Vec<MachineVersion>, Error> {
        self.on_machine(Action::ReadVersions, Method::GET, app, id, &["versions"]).json_or_default().await
    }

    /// Destroys a machine; with `force`, also one that runs. One that is gone is no error. Its volume stays.
    pub async fn destroy(&self, app: &str, id: &str, force: bool) -> Result<(), Error> {
        let call = self.on_machine(Action::DestroyMachine, Method::DELETE, app, id, &[]);
        gone_is_done(call.with(|request| request.query(&[("force", force)])).repeat(Repeat::Safe).done().await)
    }

    fn on_machine<'a>(&'a self, action: Action, method: Method, app: &str, id: &'a str, rest: &[&str]) -> Call<'a> {
        let path: Vec<&str> = ["apps", app, "machines", id].into_iter().chain(rest.iter().copied()).collect();
        let call = self.api.call(action, id, method, &path);
        match &self.nonce {
            Some(nonce) => call.with(|request| request.header(NONCE, nonce)),
            None => call,
        }
    }
}

#[derive(Serialize)]
struct StopBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<String>,
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
