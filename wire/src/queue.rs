//! How much waits, and how much could be worked on at once (decision C-36: what is given counts as load).

use serde::{Deserialize, Serialize};

/// The queue at a moment, as `GET /v1/queue` shows it. Of more than 10,000 tasks of a kind 10,000 are told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QueueView {
    /// Tasks that a machine of the pool could take now.
    pub for_machines: i64,
    /// Tasks without a spec, which whoever claims could take now.
    pub for_claims: i64,
    /// Tasks that are ready but for their time, a hold on them or their own budget.
    pub parked: i64,
    /// Tasks that wait for another.
    pub blocked: i64,
    /// Tasks that somebody has.
    pub in_hand: i64,
    /// The machines of the pool that take tasks.
    pub machines: Capacity,
    /// The other workers that are counted on.
    pub others: Capacity,
}

/// What workers take together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Capacity {
    /// How many there are.
    pub workers: i64,
    /// Executions that they take at once.
    pub capacity: i64,
    /// Executions that they have.
    pub load: i64,
    /// Executions that they could take now.
    pub free: i64,
}

impl Capacity {
    /// With one more worker.
    #[must_use]
    pub fn and(self, capacity: i64, load: i64) -> Self {
        Self {
            workers: self.workers + 1,
            capacity: self.capacity + capacity,
            load: self.load + load,
            // One that has more than it takes has no room, and takes none from another.
            free: self.free + (capacity - load).max(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_with_too_much_takes_no_room_from_another() {
        let both = Capacity::default().and(2, 3).and(4, 1);
        assert_eq!(both, Capacity { workers: 2, capacity: 6, load: 4, free: 3 });
    }
}
