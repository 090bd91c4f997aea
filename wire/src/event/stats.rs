//! The event store as its operator sees it, and what it records of itself.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Link;
use crate::task::text_enum;

text_enum! {
    /// What the room that is left on the event store's volume allows.
    VolumeLevel, "volume level" {
        /// Everything.
        Ample = "ample",
        /// Everything still, but somebody should look.
        Low = "low",
        /// Reads; new events are refused.
        Full = "full",
    }
}

/// The state of an event store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// What keeps the events: `sqlite`.
    pub engine: String,
    /// The version of the database's schema.
    pub schema_version: u32,
    /// How long the store has been up.
    pub uptime_seconds: u64,
    /// Events that are kept.
    pub events: u64,
    /// The oldest of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<Place>,
    /// The newest of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<Place>,
    /// Its files and its volume.
    pub disk: DiskStats,
    /// Requests that wait for the writer.
    pub queue: Occupancy,
    /// Streams that are open.
    pub followers: Occupancy,
}

/// Where in the log an event is, and when it happened by its producer's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Its sequence number.
    pub seq: u64,
    /// When it happened.
    pub created_at: DateTime<Utc>,
}

/// The files of an event store and the volume they are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskStats {
    /// The database, with what is free inside it.
    pub database_bytes: u64,
    /// Of those, free for new events.
    pub reusable_bytes: u64,
    /// The journal beside it.
    pub journal_bytes: u64,
    /// Free on the volume.
    pub free_bytes: u64,
    /// The whole volume.
    pub volume_bytes: u64,
    /// What follows from it.
    pub level: VolumeLevel,
}

/// How much of something bounded is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Occupancy {
    /// So much is taken,
    pub taken: u64,
    /// of so much.
    pub bound: u64,
}

/// The volume of the event store came below or above its first mark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumePayload {
    /// What the room that is left allows.
    pub level: VolumeLevel,
    /// Free on the volume.
    pub free_bytes: u64,
    /// The whole volume.
    pub volume_bytes: u64,
}

/// The oldest events were deleted, as the retention asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrunedPayload {
    /// The first that was deleted.
    pub first: u64,
    /// The last that was deleted; the log begins behind it.
    pub last: u64,
    /// The link of the last one, from which the chain goes on.
    pub link: Link,
}
