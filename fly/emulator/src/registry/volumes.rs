//! Volumes: directories that outlive machines.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Contents, REGION, Registry};
use crate::machine::blocking;
use crate::refusal::Refusal;
use crate::{id, layout};

/// What Fly takes when no size is given.
const SIZE_GB: u32 = 3;
/// Fly's sizes.
const SIZES_GB: std::ops::RangeInclusive<u32> = 1..=500;

/// A volume. Its size is remembered, not enforced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VolumeRecord {
    pub(crate) id: String,
    pub(crate) app: String,
    pub(crate) name: String,
    pub(crate) region: String,
    pub(crate) size_gb: u32,
    pub(crate) encrypted: bool,
    pub(crate) created_at: DateTime<Utc>,
}

/// What a caller says of a volume to be made.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct NewVolume {
    name: String,
    region: Option<String>,
    size_gb: Option<u32>,
    encrypted: Option<bool>,
    source_volume_id: Option<String>,
    snapshot_id: Option<String>,
}

impl Registry {
    pub(crate) async fn create_volume(&self, app: &str, new: NewVolume) -> Result<VolumeRecord, Refusal> {
        self.app(app)?;
        let size_gb = new.size_gb.unwrap_or(SIZE_GB);
        if new.name.is_empty() {
            return Err(Refusal::invalid_argument("name is required"));
        }
        if !SIZES_GB.contains(&size_gb) {
            return Err(Refusal::invalid_argument("size_gb must be inside range [1, 500]"));
        }
        if new.source_volume_id.is_some() || new.snapshot_id.is_some() {
            return Err(Refusal::unprocessable("the emulator makes empty volumes only, no forks or restores"));
        }
        let volume = VolumeRecord {
            id: id::volume(&self.chance),
            app: app.to_owned(),
            name: new.name,
            region: first_region(new.region.as_deref()).unwrap_or(REGION).to_owned(),
            size_gb,
            encrypted: new.encrypted.unwrap_or(true),
            created_at: self.clock.now(),
        };
        let (directory, path) = (self.layout.volume_dir(&volume.id), self.layout.volume_file(&volume.id));
        let record = volume.clone();
        let made = blocking(move || {
            layout::make_private(&directory)?;
            layout::write(&path, &record)
        });
        made.await.map_err(|error| Refusal::internal("make the volume", &error))?;
        self.contents().volumes.insert(volume.id.clone(), volume.clone());
        Ok(volume)
    }

    pub(crate) fn volume(&self, app: &str, id: &str) -> Result<VolumeRecord, Refusal> {
        self.app(app)?;
        let contents = self.contents();
        let volume = contents.volumes.get(id).filter(|volume| volume.app == app);
        volume.cloned().ok_or_else(|| Refusal::not_found("volume"))
    }

    pub(crate) fn volumes(&self, app: &str) -> Result<Vec<VolumeRecord>, Refusal> {
        self.app(app)?;
        Ok(self.contents().volumes.values().filter(|volume| volume.app == app).cloned().collect())
    }

    /// The machine that has the volume.
    pub(crate) fn attached_machine(&self, volume: &str) -> Option<String> {
        self.contents().holder(volume)
    }

    /// Deletes a volume that no machine has, and what is on it.
    pub(crate) async fn delete_volume(&self, app: &str, id: &str) -> Result<VolumeRecord, Refusal> {
        let volume = self.volume(app, id)?;
        {
            let mut contents = self.contents();
            if let Some(machine) = contents.holder(id) {
                let bound = format!("volume is currently bound to machine: {machine}");
                return Err(Refusal::failed_precondition(bound));
            }
            // From here on no machine can be given it.
            contents.volumes.remove(id);
        }
        let (path, directory) = (self.layout.volume_file(id), self.layout.volume_dir(id));
        if let Err(error) = blocking(move || layout::remove(&path)).await {
            self.contents().volumes.insert(volume.id.clone(), volume);
            return Err(Refusal::internal("remove the volume's record", &error));
        }
        // Without its record it is gone; should this fail, the next start goes on with it.
        if let Err(error) = blocking(move || layout::remove(&directory)).await {
            tracing::warn!(fly.volume.id = id, %error, "a deleted volume's files are left over");
        }
        Ok(volume)
    }
}

impl Contents {
    /// The machine that has the volume.
    pub(super) fn holder(&self, volume: &str) -> Option<String> {
        let has_it = |handle: &super::Handle| handle.volumes.iter().any(|id| id == volume);
        self.machines.iter().find(|(_, handle)| has_it(handle)).map(|(id, _)| id.clone())
    }
}

/// The first of several regions in order of preference: here all are the same place.
pub(super) fn first_region(regions: Option<&str>) -> Option<&str> {
    regions?.split(',').map(str::trim).find(|region| !region.is_empty())
}
