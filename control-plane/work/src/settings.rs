//! What the operator decides about work.

use std::time::Duration;

/// Bounds of leases and repetition.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a lease lasts without a heartbeat.
    pub lease: Duration,
    /// How often a worker heartbeats while it executes.
    pub heartbeat: Duration,
    /// How often a task may lose its worker before it counts as failed: it may be what kills them.
    pub losses_max: i32,
    /// How long an execution runs before it is called stale (row CAIRN-30).
    pub stale_after: Duration,
    /// What a machine of the pool costs at most while it works, in millionths of a dollar for an hour.
    pub machine_micros_per_hour: i64,
    /// Whether every machine costs that, whatever its own price is.
    pub is_machine_price_fixed: bool,
    /// How long a machine that nobody needs is kept for work that is nowhere else.
    pub keep_work: Duration,
    /// Whether `file://` repositories are accepted: only where machines share this computer's files.
    pub allow_local_repositories: bool,
}

impl Settings {
    /// What an hour of a machine with this price of its own costs, in millionths of a dollar; the price is in
    /// picodollars a second. One that is not known counts as the most.
    pub(crate) fn micros_per_hour_of(&self, machine_rate: Option<i64>) -> i64 {
        match machine_rate.and_then(|rate| u64::try_from(rate).ok()) {
            Some(rate) if !self.is_machine_price_fixed => micros_per_hour(rate),
            Some(_) | None => self.machine_micros_per_hour,
        }
    }
}

/// Picodollars a second as millionths of a dollar for an hour, rounded up.
pub fn micros_per_hour(rate: u64) -> i64 {
    i64::try_from(rate.saturating_mul(3_600).div_ceil(1_000_000)).unwrap_or(i64::MAX)
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(60),
            heartbeat: Duration::from_secs(15),
            losses_max: 10,
            stale_after: Duration::from_secs(2 * 3_600),
            // A shared-cpu-2x with 2 GB in Fly's cheapest regions.
            machine_micros_per_hour: 15_820,
            is_machine_price_fixed: false,
            keep_work: Duration::from_secs(30 * 24 * 3_600),
            allow_local_repositories: false,
        }
    }
}
