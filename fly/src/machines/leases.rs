//! Leases: the right to change a machine, for a while.

use std::time::Duration;

use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::Machines;
use crate::Lease;
use crate::error::{Action, Error};

impl Machines {
    /// Reads who has the right to change a machine; refused with 404 where nobody has.
    pub async fn lease(&self, app: &str, id: &str) -> Result<Lease, Error> {
        let call = self.on_machine(Action::ReadLease, Method::GET, app, id, &["lease"]);
        call.json().await.map(|Envelope { data }| data)
    }

    /// Takes the right to change a machine for `ttl`; refused while somebody has it.
    /// [Under](Machines::under) its own lease it is prolonged.
    pub async fn acquire_lease(&self, app: &str, id: &str, description: &str, ttl: Duration) -> Result<Lease, Error> {
        let body = LeaseBody { description, ttl: ttl.as_secs() };
        let call = self.on_machine(Action::AcquireLease, Method::POST, app, id, &["lease"]);
        call.with(|request| request.json(&body)).json().await.map(|Envelope { data }| data)
    }

    /// Gives a lease back.
    pub async fn release_lease(&self, app: &str, id: &str, nonce: &str) -> Result<(), Error> {
        let holder = self.under(nonce);
        holder.on_machine(Action::ReleaseLease, Method::DELETE, app, id, &["lease"]).done().await
    }
}

#[derive(Serialize)]
struct LeaseBody<'a> {
    description: &'a str,
    ttl: u64,
}

/// What lease answers come in, against what the OpenAPI document says.
#[derive(Deserialize)]
struct Envelope {
    data: Lease,
}
