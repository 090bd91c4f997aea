//! What is measured of every system, and what is wanted of ours beside it. Pure.

use clap::ValueEnum;
use serde::Serialize;

/// One way to write events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Connections, or threads where there is no network; each has one request under way.
    pub(crate) connections: usize,
    /// Events of one request.
    pub(crate) batch: usize,
}

/// Every way, in the order of the table.
pub(crate) const CASES: [Case; 5] = [
    Case { name: "single events, 1 connection", connections: 1, batch: 1 },
    Case { name: "single events, 16 connections", connections: 16, batch: 1 },
    Case { name: "single events, 64 connections", connections: 64, batch: 1 },
    Case { name: "single events, 256 connections", connections: 256, batch: 1 },
    Case { name: "batches of 100, 16 connections", connections: 16, batch: 100 },
];

/// Who keeps the events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum System {
    /// Ours: `bifrost-events` over HTTP, signed.
    Store,
    /// SQLite without a network: one thread writes for all and shares its commits among them.
    SqliteGrouped,
    /// SQLite without a network: the threads take turns on one connection.
    SqliteShared,
    /// SQLite without a network: each thread has a connection and waits for the lock.
    SqliteEach,
    /// PostgreSQL, prepared inserts.
    Postgres,
    /// Redis Streams, synced before each answer.
    Redis,
    /// NATS JetStream, files.
    Jetstream,
}

impl System {
    /// Whether it is a server of somebody else's.
    pub(crate) fn is_peer(self) -> bool {
        matches!(self, Self::Postgres | Self::Redis | Self::Jetstream)
    }

    /// How many times as fast as this system ours has to be in the case.
    pub(crate) fn wanted_times(self, case: Case) -> Option<f64> {
        match (self, case.batch, case.connections) {
            (Self::Store | Self::SqliteShared | Self::SqliteEach, ..) | (_, 1, 1) => None,
            (Self::SqliteGrouped, 1, _) => Some(0.9),
            (Self::Postgres, 1, _) => Some(1.5),
            (Self::Jetstream, 1, _) => Some(5.0),
            (Self::SqliteGrouped | Self::Redis, 100, _) => Some(1.2),
            (Self::Postgres, 100, _) => Some(2.0),
            (Self::SqliteGrouped | Self::Postgres | Self::Redis | Self::Jetstream, ..) => None,
        }
    }
}
