//! Where there is room, as the Machines API tells it.

use serde::{Deserialize, Serialize};

use crate::config::Guest;
use crate::lenient::null_as_default;

/// Where to look for room, and for what.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacementQuery {
    /// For whom: its quotas count.
    pub org_slug: String,
    /// What is to run there; Fly takes a `performance-1x` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute: Option<Guest>,
    /// Regions in order of preference, such as `iad,dfw`; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// How many; 0 asks for the organisation's limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// The volume that each would have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_name: Option<String>,
    /// And its size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_size_bytes: Option<u64>,
}

/// A region with room.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Which.
    pub region: String,
    /// How many machines there is room for.
    #[serde(default, deserialize_with = "null_as_default")]
    pub count: u64,
    /// How many may be made at once.
    #[serde(default, deserialize_with = "null_as_default")]
    pub concurrency: u64,
}

/// The regions that there are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Regions {
    /// The one next to the caller.
    #[serde(default, deserialize_with = "null_as_default", alias = "Nearest")]
    pub nearest: String,
    /// All of them.
    #[serde(default, deserialize_with = "null_as_default", alias = "Regions")]
    pub regions: Vec<Region>,
}

/// A region.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Region {
    /// Such as `fra`.
    pub code: String,
    /// For people.
    #[serde(default, deserialize_with = "null_as_default")]
    pub name: String,
    /// Whether nothing new should be made there.
    #[serde(default, deserialize_with = "null_as_default")]
    pub deprecated: bool,
    /// Whether only paying organisations may use it.
    #[serde(default, deserialize_with = "null_as_default")]
    pub requires_paid_plan: bool,
}
