//! An app's secrets. Values go in and never come out.

use std::collections::BTreeMap;

use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::Machines;
use crate::Secret;
use crate::call::Repeat;
use crate::error::{Action, Error};
use crate::lenient::null_as_default;

impl Machines {
    /// Reads the names of an app's secrets.
    pub async fn secrets(&self, app: &str) -> Result<Vec<Secret>, Error> {
        let call = self.api.call(Action::ListSecrets, app, Method::GET, &["apps", app, "secrets"]);
        call.json().await.map(|Listed { secrets }| secrets)
    }

    /// Sets and, where nothing is given, removes an app's secrets. Machines see that from their next start
    /// on. Gives the version of the secrets that holds it.
    pub async fn set_secrets(&self, app: &str, values: &BTreeMap<String, Option<String>>) -> Result<u64, Error> {
        let call = self.api.call(Action::WriteSecrets, app, Method::POST, &["apps", app, "secrets"]);
        let call = call.with(|request| request.json(&Values { values })).repeat(Repeat::Safe);
        call.json().await.map(|Written { version }| version)
    }
}

#[derive(Serialize)]
struct Values<'a> {
    values: &'a BTreeMap<String, Option<String>>,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(default, deserialize_with = "null_as_default")]
    secrets: Vec<Secret>,
}

#[derive(Deserialize)]
struct Written {
    /// Fly says it twice, as `version` and as `Version`.
    version: u64,
}
