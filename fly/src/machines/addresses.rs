//! An app's addresses.

use reqwest::Method;
use serde::Deserialize;

use super::{Machines, gone_is_done};
use crate::call::Repeat;
use crate::error::{Action, Error};
use crate::lenient::null_as_default;
use crate::{Address, NewAddress};

impl Machines {
    /// Reads an app's addresses.
    pub async fn addresses(&self, app: &str) -> Result<Vec<Address>, Error> {
        let call = self.api.call(Action::ListAddresses, app, Method::GET, &["apps", app, "ip_assignments"]);
        call.json().await.map(|Listed { ips }| ips)
    }

    /// Gives an app an address. Never repeated by itself: see [`Error::advice`].
    pub async fn assign_address(&self, app: &str, new: &NewAddress) -> Result<Address, Error> {
        let call = self.api.call(Action::AssignAddress, app, Method::POST, &["apps", app, "ip_assignments"]);
        call.with(|request| request.json(new)).json().await
    }

    /// Takes an address from an app. One that is gone is no error.
    pub async fn release_address(&self, app: &str, ip: &str) -> Result<(), Error> {
        let path = ["apps", app, "ip_assignments", ip];
        let call = self.api.call(Action::ReleaseAddress, app, Method::DELETE, &path);
        gone_is_done(call.repeat(Repeat::Safe).done().await)
    }
}

#[derive(Deserialize)]
struct Listed {
    #[serde(default, deserialize_with = "null_as_default")]
    ips: Vec<Address>,
}
