//! Machines and volumes as the control plane's API shows them.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::id::{MachineId, VolumeId};
use crate::task::text_enum;

text_enum! {
    /// Where a machine of the pool stands. What the provider says is only evidence;
    /// this is what the pool has decided and seen through.
    MachineState, "machine state" {
        /// Its volume and machine are being made.
        Creating = "creating",
        /// It is being started, or restarted after a crash; its worker has not reported in.
        Starting = "starting",
        /// Its worker has reported in.
        Ready = "ready",
        /// Its batch is over; its worker is saving a checkpoint.
        Draining = "draining",
        /// It is being suspended.
        Suspending = "suspending",
        /// It costs nothing.
        Suspended = "suspended",
        /// It is being woken; its worker has not reported in.
        Resuming = "resuming",
        /// It and its volume are being destroyed.
        Destroying = "destroying",
        /// It is gone; the row stays for the record.
        Destroyed = "destroyed",
    }
}

/// A machine of the pool, as every answer shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MachineView {
    /// Its id in the pool.
    pub id: MachineId,
    /// Its name at the provider.
    pub name: String,
    /// Its id at the provider, once known.
    pub provider_id: Option<String>,
    /// Where it is.
    pub region: Option<String>,
    /// Where it stands.
    pub state: MachineState,
    /// The volume that keeps its caches and checkpoints.
    pub volume_id: Option<VolumeId>,
    /// The repositories its volume holds.
    pub repositories: Vec<String>,
    /// What went wrong last.
    pub error: Option<String>,
    /// When the pool decided to have it.
    pub created_at: DateTime<Utc>,
    /// When its state last changed.
    pub state_since: DateTime<Utc>,
    /// The image that it runs.
    #[serde(default)]
    pub image: String,
    /// Executions that its worker was given since the provider made it.
    #[serde(default)]
    pub executions: i64,
    /// How often it was to be woken and had to boot, because its memory was lost.
    #[serde(default)]
    pub cold_starts: i32,
    /// Why it is being replaced, if it is.
    #[serde(default)]
    pub retiring: Option<String>,
    /// How far its recovery has come, if it does not move on as it should.
    #[serde(default)]
    pub recovery: Option<String>,
}

/// Why an operator gives a machine up, as sent to `POST /v1/machines/{id}/abandon`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Abandonment {
    /// 1 to 500 characters; kept in the record.
    pub reason: String,
    /// Also one that alone has somebody's work, which is then lost.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
}

/// Why an operator gives up all machines of an app that is gone, as sent to `POST /v1/machines/abandon`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AppAbandonment {
    /// The pool's app at the provider: whoever says it knows what is given up.
    pub app: String,
    /// 1 to 500 characters; kept in the record.
    pub reason: String,
}

/// What a sweep is to do, as sent to `POST /v1/machines/sweep`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SweepOrder {
    /// Reap what carries the pool's mark without waiting for its age.
    #[serde(default)]
    pub reap: bool,
}

text_enum! {
    /// What the provider has that no row of the pool knows.
    OrphanKind, "orphan kind" {
        /// A machine.
        Machine = "machine",
        /// A volume.
        Volume = "volume",
    }
}

/// Something of this pool at the provider that no row knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OrphanView {
    /// Its id at the provider.
    pub provider_id: String,
    /// What it is.
    pub kind: OrphanKind,
    /// Its name at the provider.
    pub name: String,
    /// Where it is.
    pub region: String,
    /// How often it was seen.
    pub sightings: i32,
    /// When it was seen first.
    pub first_seen_at: DateTime<Utc>,
    /// When it was destroyed, if it was.
    pub reaped_at: Option<DateTime<Utc>>,
    /// Why it could not be destroyed, if that was tried.
    pub error: Option<String>,
    /// Whether only an operator's order has it destroyed: no row ever knew it, and it was there when the control
    /// plane first looked, so that it may be what a database knows that was lost.
    #[serde(default)]
    pub needs_approval: bool,
}

/// What the last comparison with the provider found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SweepView {
    /// When registry and provider were compared last; never where the provider did not answer yet.
    pub compared_at: Option<DateTime<Utc>>,
    /// Machines that the provider lists and no row knows, those without the pool's mark included: they are
    /// counted against the cap and left alone.
    pub strangers: i32,
    /// What carries the pool's mark and has no row, the newest first; the reaped of the last day included.
    pub orphans: Vec<OrphanView>,
    /// Machines of the registry that the provider no longer has, or that stand where they should not.
    pub astray: Vec<MachineView>,
    /// Volumes that outlived their machines for the work on them, the newest first.
    #[serde(default)]
    pub kept: Vec<KeptVolumeView>,
}

/// A volume that outlived its machine, or was replaced, and stays because it alone has somebody's work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KeptVolumeView {
    /// Its id in the pool.
    pub id: VolumeId,
    /// Its id at the provider.
    pub provider_id: Option<String>,
    /// Where it is.
    pub region: String,
    /// Its size.
    pub size_gb: i32,
    /// The machine that had it.
    pub machine_id: Option<MachineId>,
    /// What is on it.
    pub what: String,
    /// Since when no machine has it.
    pub kept_since: DateTime<Utc>,
}
