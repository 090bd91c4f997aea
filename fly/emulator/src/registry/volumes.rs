//! Volumes: directories that outlive machines.

use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use kit::tasks::blocking;
use serde::{Deserialize, Serialize};

use super::{Contents, REGION, Registry};
use crate::refusal::Refusal;
use crate::{id, layout, sizes};

/// What Fly takes when no size is given.
const SIZE_GB: u32 = 3;
/// Fly's sizes.
const SIZES_GB: std::ops::RangeInclusive<u32> = 1..=500;

/// Days that Fly keeps snapshots when nothing is said, and its limits.
const SNAPSHOT_DAYS: u32 = 5;
const SNAPSHOT_DAYS_ALL: std::ops::RangeInclusive<u32> = 1..=60;

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
    /// Stands for the host that it is pinned to: no two volumes are on one.
    #[serde(default)]
    pub(crate) zone: String,
    #[serde(default = "snapshot_days")]
    pub(crate) snapshot_retention: u32,
    /// Remembered; nothing is copied by itself.
    #[serde(default = "is_backed_up")]
    pub(crate) auto_backup_enabled: bool,
    /// Oldest first.
    #[serde(default)]
    pub(crate) snapshots: Vec<SnapshotRecord>,
}

/// What was on a volume at some time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SnapshotRecord {
    pub(crate) id: String,
    pub(crate) size: u64,
    pub(crate) created_at: DateTime<Utc>,
}

impl VolumeRecord {
    pub(crate) fn snapshot_ids(&self) -> impl Iterator<Item = &str> {
        self.snapshots.iter().map(|snapshot| snapshot.id.as_str())
    }
}

const fn snapshot_days() -> u32 {
    SNAPSHOT_DAYS
}

const fn is_backed_up() -> bool {
    true
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
    snapshot_retention: Option<u32>,
    auto_backup_enabled: Option<bool>,
}

/// New settings of a volume; what is absent stays.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct VolumeUpdate {
    snapshot_retention: Option<u32>,
    auto_backup_enabled: Option<bool>,
}

impl Registry {
    pub(crate) async fn create_volume(&self, app: &str, new: NewVolume) -> Result<VolumeRecord, Refusal> {
        self.app(app)?;
        sizes::check_volume_name(&new.name)?;
        let original = self.original(app, &new)?;
        let least_gb = original.as_ref().map_or(*SIZES_GB.start(), |(_, size_gb)| *size_gb);
        let size_gb = new.size_gb.unwrap_or_else(|| original.as_ref().map_or(SIZE_GB, |(_, size_gb)| *size_gb));
        if !(least_gb..=*SIZES_GB.end()).contains(&size_gb) {
            let rule = format!("size_gb must be inside range [{least_gb}, {}]", SIZES_GB.end());
            return Err(Refusal::invalid_argument(rule));
        }
        let snapshot_retention = new.snapshot_retention.unwrap_or(SNAPSHOT_DAYS);
        check_retention(snapshot_retention)?;
        let volume = VolumeRecord {
            id: id::volume(&self.chance),
            app: app.to_owned(),
            name: new.name,
            region: first_region(new.region.as_deref()).unwrap_or(REGION).to_owned(),
            size_gb,
            encrypted: new.encrypted.unwrap_or(true),
            created_at: self.clock.now(),
            zone: self.chance.hex::<4>(),
            snapshot_retention,
            auto_backup_enabled: new.auto_backup_enabled.unwrap_or(true),
            snapshots: Vec::new(),
        };
        let (directory, path) = (self.layout.volume_dir(&volume.id), self.layout.volume_file(&volume.id));
        let record = volume.clone();
        let made = blocking(move || {
            match original {
                Some((original, _)) => drop(layout::copy_tree(&original, &directory)?),
                None => kit::files::make_private(&directory)?,
            }
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

    /// The directory that a new volume is a copy of.
    fn original(&self, app: &str, new: &NewVolume) -> Result<Option<(PathBuf, u32)>, Refusal> {
        if let Some(source) = &new.source_volume_id {
            let source = self.volume(app, source)?;
            return Ok(Some((self.layout.volume_dir(&source.id), source.size_gb)));
        }
        let Some(snapshot) = &new.snapshot_id else { return Ok(None) };
        let volumes = self.volumes(app)?;
        let of = volumes.iter().find(|volume| volume.snapshot_ids().any(|id| id == snapshot));
        let of = of.ok_or_else(|| Refusal::not_found("snapshot"))?;
        Ok(Some((self.layout.snapshot_dir(snapshot), of.size_gb)))
    }

    /// Changes a volume's settings.
    pub(crate) async fn update_volume(
        self: &Arc<Self>,
        app: &str,
        id: &str,
        update: VolumeUpdate,
    ) -> Result<VolumeRecord, Refusal> {
        self.change_volume(app, id, move |volume| {
            volume.snapshot_retention = update.snapshot_retention.unwrap_or(volume.snapshot_retention);
            volume.auto_backup_enabled = update.auto_backup_enabled.unwrap_or(volume.auto_backup_enabled);
            check_retention(volume.snapshot_retention)
        })
        .await
    }

    /// Makes a volume larger, never smaller.
    pub(crate) async fn extend_volume(
        self: &Arc<Self>,
        app: &str,
        id: &str,
        size_gb: u32,
    ) -> Result<VolumeRecord, Refusal> {
        self.change_volume(app, id, move |volume| {
            if !SIZES_GB.contains(&size_gb) || size_gb < volume.size_gb {
                let rule = format!("size_gb must be inside range [{}, {}]", volume.size_gb, SIZES_GB.end());
                return Err(Refusal::invalid_argument(rule));
            }
            volume.size_gb = size_gb;
            Ok(())
        })
        .await
    }

    /// Copies what is on a volume now.
    pub(crate) async fn create_snapshot(self: &Arc<Self>, app: &str, id: &str) -> Result<(), Refusal> {
        let volume = self.volume(app, id)?;
        let (snapshot, created_at) = (id::snapshot(&self.chance), self.clock.now());
        let (from, to) = (self.layout.volume_dir(&volume.id), self.layout.snapshot_dir(&snapshot));
        let copied = blocking(move || layout::copy_tree(&from, &to)).await;
        let size = copied.map_err(|error| Refusal::internal("copy the volume", &error))?;
        let record = SnapshotRecord { id: snapshot, size, created_at };
        self.change_volume(app, id, move |volume| {
            volume.snapshots.push(record);
            Ok(())
        })
        .await
        .map(drop)
    }

    /// Changes a volume's record, on disk first.
    async fn change_volume(
        self: &Arc<Self>,
        app: &str,
        id: &str,
        change: impl FnOnce(&mut VolumeRecord) -> Result<(), Refusal> + Send + 'static,
    ) -> Result<VolumeRecord, Refusal> {
        let (registry, app, id) = (Arc::clone(self), app.to_owned(), id.to_owned());
        blocking(move || {
            let _turn = registry.changing();
            let mut volume = registry.volume(&app, &id)?;
            change(&mut volume)?;
            let written = layout::write(&registry.layout.volume_file(&id), &volume);
            written.map_err(|error| Refusal::internal("write the volume's record", &error))?;
            registry.contents().volumes.insert(id, volume.clone());
            Ok(volume)
        })
        .await
    }

    /// The machine that has the volume.
    pub(crate) fn attached_machine(&self, volume: &str) -> Option<String> {
        self.contents().holder(volume)
    }

    /// Deletes a volume that no machine has, what is on it and its snapshots.
    pub(crate) async fn delete_volume(self: &Arc<Self>, app: &str, id: &str) -> Result<VolumeRecord, Refusal> {
        let (registry, app, id) = (Arc::clone(self), app.to_owned(), id.to_owned());
        blocking(move || {
            let turn = registry.changing();
            let volume = registry.volume(&app, &id)?;
            {
                let mut contents = registry.contents();
                if let Some(machine) = contents.holder(&id) {
                    let bound = format!("volume is currently bound to machine: {machine}");
                    return Err(Refusal::failed_precondition(bound));
                }
                // From here on no machine can be given it.
                contents.volumes.remove(&id);
            }
            if let Err(error) = layout::remove(&registry.layout.volume_file(&id)) {
                registry.contents().volumes.insert(volume.id.clone(), volume);
                return Err(Refusal::internal("remove the volume's record", &error));
            }
            // Without its record it is gone, and nobody has to wait for its files; should this fail, the next
            // start goes on with it.
            drop(turn);
            let snapshots = volume.snapshot_ids().map(|snapshot| registry.layout.snapshot_dir(snapshot));
            for directory in snapshots.chain([registry.layout.volume_dir(&id)]) {
                if let Err(error) = layout::remove(&directory) {
                    tracing::warn!(fly.volume.id = id, %error, "a deleted volume's files are left over");
                }
            }
            Ok(volume)
        })
        .await
    }
}

impl Contents {
    /// The machine that has the volume.
    pub(super) fn holder(&self, volume: &str) -> Option<String> {
        let has_it = |handle: &super::Handle| handle.volumes.iter().any(|id| id == volume);
        self.machines.iter().find(|(_, handle)| has_it(handle)).map(|(id, _)| id.clone())
    }
}

fn check_retention(days: u32) -> Result<(), Refusal> {
    match SNAPSHOT_DAYS_ALL.contains(&days) {
        true => Ok(()),
        false => Err(Refusal::invalid_argument("snapshot_retention must be inside range [1, 60]")),
    }
}

/// The first of several regions in order of preference: here all are the same place.
pub(super) fn first_region(named: Option<&str>) -> Option<&str> {
    regions(named).next()
}

/// Regions, as a request names them.
pub(crate) fn regions(named: Option<&str>) -> impl Iterator<Item = &str> {
    named.into_iter().flat_map(|named| named.split(',')).map(str::trim).filter(|region| !region.is_empty())
}
