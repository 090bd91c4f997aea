//! Volumes and their snapshots.

use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::{Machines, gone_is_done};
use crate::call::Repeat;
use crate::error::{Action, Error};
use crate::lenient::null_as_default;
use crate::{NewVolume, Snapshot, Volume, VolumeUpdate};

impl Machines {
    /// Creates a volume. Never repeated by itself: see [`Error::advice`].
    pub async fn create_volume(&self, app: &str, new: &NewVolume) -> Result<Volume, Error> {
        let call = self.api.call(Action::CreateVolume, app, Method::POST, &["apps", app, "volumes"]);
        call.with(|request| request.json(new)).json().await
    }

    /// Reads an app's volumes.
    pub async fn volumes(&self, app: &str) -> Result<Vec<Volume>, Error> {
        self.api.call(Action::ListVolumes, app, Method::GET, &["apps", app, "volumes"]).json_or_default().await
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

    /// Changes a volume's settings.
    pub async fn update_volume(&self, app: &str, id: &str, update: &VolumeUpdate) -> Result<Volume, Error> {
        let call = self.api.call(Action::UpdateVolume, id, Method::PUT, &["apps", app, "volumes", id]);
        call.with(|request| request.json(update)).repeat(Repeat::Safe).json().await
    }

    /// Makes a volume larger; says whether its machine sees that only after a restart.
    pub async fn extend_volume(&self, app: &str, id: &str, size_gb: u32) -> Result<bool, Error> {
        let call = self.api.call(Action::ExtendVolume, id, Method::PUT, &["apps", app, "volumes", id, "extend"]);
        let call = call.with(|request| request.json(&Extension { size_gb })).repeat(Repeat::Safe);
        call.json().await.map(|Extended { needs_restart }| needs_restart)
    }

    /// Reads a volume's snapshots.
    pub async fn snapshots(&self, app: &str, id: &str) -> Result<Vec<Snapshot>, Error> {
        let path = ["apps", app, "volumes", id, "snapshots"];
        self.api.call(Action::ListSnapshots, id, Method::GET, &path).json_or_default().await
    }

    /// Makes a snapshot of a volume, which takes a while and then is in the list. Never repeated by itself.
    pub async fn create_snapshot(&self, app: &str, id: &str) -> Result<(), Error> {
        let path = ["apps", app, "volumes", id, "snapshots"];
        self.api.call(Action::CreateSnapshot, id, Method::POST, &path).done().await
    }
}

#[derive(Serialize)]
struct Extension {
    size_gb: u32,
}

#[derive(Deserialize)]
struct Extended {
    #[serde(default, deserialize_with = "null_as_default")]
    needs_restart: bool,
}
