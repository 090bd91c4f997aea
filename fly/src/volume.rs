//! Volumes, as the Machines API takes and gives them.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::config::Guest;
use crate::lenient::{null_as_default, time_if_readable};
use crate::machine::HostStatus;

/// A volume to create. Names of volumes need not be unique: an ambiguous failure
/// is cleared up by looking for the name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NewVolume {
    /// Lower-case letters, digits and underscores, at most 30.
    pub name: String,
    /// Where; Fly chooses when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// 1 to 500; Fly takes 3 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_gb: Option<u32>,
    /// Encrypted at rest; Fly does when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encrypted: Option<bool>,
    /// On another host than the app's other volumes of this name; Fly does when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require_unique_zone: Option<bool>,
    /// Days that snapshots are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_retention: Option<u32>,
    /// Daily snapshots; Fly makes them when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_backup_enabled: Option<bool>,
    /// A copy of this volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_volume_id: Option<String>,
    /// What this snapshot holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_id: Option<String>,
    /// The machine that is to run with it, so that its host has room for that machine too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute: Option<Guest>,
}

/// A volume, as the API shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its id, such as `vol_…`.
    pub id: String,
    /// Its name, which others may have too.
    #[serde(default, deserialize_with = "null_as_default")]
    pub name: String,
    /// Such as `created` or `pending_destroy`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub state: String,
    /// Where it is.
    #[serde(default, deserialize_with = "null_as_default")]
    pub region: String,
    /// Its provisioned size.
    #[serde(default, deserialize_with = "null_as_default")]
    pub size_gb: u32,
    /// Whether it is encrypted at rest.
    #[serde(default, deserialize_with = "null_as_default")]
    pub encrypted: bool,
    /// The machine that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attached_machine_id: Option<String>,
    /// Whether its host answers.
    #[serde(default, deserialize_with = "null_as_default")]
    pub host_status: HostStatus,
    /// Stands for the host that it is pinned to.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub zone: String,
    /// Days that its snapshots are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_retention: Option<u32>,
    /// Whether there is a snapshot of it every day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_backup_enabled: Option<bool>,
    /// When it was made.
    #[serde(default, deserialize_with = "time_if_readable", skip_serializing_if = "Option::is_none")]
    pub created_at: Option<DateTime<Utc>>,
}

/// New settings of a volume; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeUpdate {
    /// Days that its snapshots are kept, 1 to 60.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_retention: Option<u32>,
    /// Whether there is a snapshot of it every day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_backup_enabled: Option<bool>,
}

/// What a volume held at some time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Its id, such as `vs_…`.
    pub id: String,
    /// Such as `created`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub status: String,
    /// Stored bytes, which cost.
    #[serde(default, deserialize_with = "null_as_default")]
    pub size: u64,
    /// Days that it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_days: Option<u32>,
    /// When it was made.
    #[serde(default, deserialize_with = "time_if_readable", skip_serializing_if = "Option::is_none")]
    pub created_at: Option<DateTime<Utc>>,
}
