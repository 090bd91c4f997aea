//! Metadata: marks on a machine. A change makes no new version of it, and no
//! lease guards it.

use std::collections::BTreeMap;

use reqwest::Method;
use serde::Serialize;

use super::{Machines, gone_is_done};
use crate::call::Repeat;
use crate::error::{Action, Error};

impl Machines {
    /// Reads a machine's metadata.
    pub async fn metadata(&self, app: &str, id: &str) -> Result<BTreeMap<String, String>, Error> {
        self.on_machine(Action::ReadMetadata, Method::GET, app, id, &["metadata"]).json_or_default().await
    }

    /// Sets one word of a machine's metadata; that makes no new version of the machine.
    pub async fn set_metadata(&self, app: &str, id: &str, key: &str, value: &str) -> Result<(), Error> {
        let call = self.on_machine(Action::WriteMetadata, Method::POST, app, id, &["metadata", key]);
        call.with(|request| request.json(&MetadataBody { value })).repeat(Repeat::Safe).done().await
    }

    /// Takes one word out of a machine's metadata. One that is gone is no error.
    pub async fn remove_metadata(&self, app: &str, id: &str, key: &str) -> Result<(), Error> {
        let call = self.on_machine(Action::WriteMetadata, Method::DELETE, app, id, &["metadata", key]);
        gone_is_done(call.repeat(Repeat::Safe).done().await)
    }

    /// Sets and, where nothing is given, removes words of a machine's metadata; the others stay.
    pub async fn merge_metadata(
        &self,
        app: &str,
        id: &str,
        changes: &BTreeMap<String, Option<String>>,
    ) -> Result<(), Error> {
        // The empty text removes a word, and unlike `null` it is in the OpenAPI document.
        let metadata = changes.iter().map(|(key, value)| (key.as_str(), value.as_deref().unwrap_or("")));
        let body = AllMetadata { metadata: metadata.collect(), machine_version: None };
        let call = self.on_machine(Action::WriteMetadata, Method::PATCH, app, id, &["metadata"]);
        call.with(|request| request.json(&body)).repeat(Repeat::Safe).done().await
    }

    /// Replaces a machine's metadata, if the machine has the version in which that was read.
    pub async fn replace_metadata(
        &self,
        app: &str,
        id: &str,
        metadata: &BTreeMap<String, String>,
        version: Option<&str>,
    ) -> Result<(), Error> {
        let metadata = metadata.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let body = AllMetadata { metadata, machine_version: version };
        let call = self.on_machine(Action::WriteMetadata, Method::PUT, app, id, &["metadata"]);
        call.with(|request| request.json(&body)).repeat(Repeat::Safe).done().await
    }
}

#[derive(Serialize)]
struct MetadataBody<'a> {
    value: &'a str,
}

#[derive(Serialize)]
struct AllMetadata<'a> {
    metadata: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    machine_version: Option<&'a str>,
}
