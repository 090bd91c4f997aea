//! Finds the event store itself and the secret that opens it, for its operator:
//! most commands reach events through the server and need neither.

use client::Error;
use client::events::{EventStore, Signer};
use kit::Vars;
use wire::signature::Key;

use crate::exit::{Code, Failure, failure};
use crate::invocation::Invocation;
use crate::up;

const URL: &str = "BIFROST_EVENTS_URL";
const SECRET: &str = "FLY_EVENT_SECRET";

/// The store that the environment names, else that of `bifrost up` in the data directory.
pub(super) fn find(invocation: &Invocation) -> anyhow::Result<EventStore> {
    let url = match invocation.vars.text(URL) {
        Some(url) => url.to_owned(),
        None => up::events_url(&invocation.data()?)?.ok_or_else(|| {
            let cure = format!("set {URL}, or name the data directory of `bifrost up` with --data");
            failure(Code::Configuration, "no event store is known here", cure)
        })?,
    };
    let signer = Signer {
        key: secret(invocation, &invocation.vars)?,
        key_id: None,
        clock: invocation.clock.clone(),
        chance: invocation.chance.clone(),
    };
    Ok(EventStore::new(&url, signer))
}

fn secret(invocation: &Invocation, vars: &Vars) -> anyhow::Result<Key> {
    let cure = || format!("set {SECRET} to the store's own, or name the data directory of `bifrost up` with --data");
    let text = match vars.text(SECRET) {
        Some(text) => Some(text.to_owned()),
        None => up::event_secret(&invocation.data()?)?,
    };
    let text = text.ok_or_else(|| failure(Code::Configuration, format!("no secret: {SECRET} is not set"), cure()))?;
    Key::parse(&text).map_err(|error| failure(Code::Configuration, format!("{SECRET}: {error}"), cure()))
}

/// What a failed call means to an operator. Pure.
pub(super) fn explain(error: Error, base: &str) -> Failure {
    let (code, help) = match &error {
        Error::Unreachable { .. } => (Code::Unavailable, format!("is it up, and is {URL} where it listens?")),
        Error::Unexpected { .. } => (Code::Internal, "use the same version of bifrost on both ends".into()),
        Error::Refused(problem) => match problem.status {
            401 | 403 => (Code::NoPermission, format!("{SECRET} must be the store's own, not a machine's key")),
            408 | 429 | 503 | 507 => (Code::TryLater, "try again in a moment".into()),
            _ => (Code::Internal, "the store's own log says more".into()),
        },
    };
    Failure { code, message: format!("the event store at {base}: {error}"), help: Some(help) }
}
