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
}
