//! How long to wait before trying again: exponential, capped, with jitter.

use std::time::Duration;

use crate::Chance;

/// A rule for waits; pure but for the chance handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The wait after the first failure.
    pub first: Duration,
    /// No wait is longer.
    pub most: Duration,
}

impl Backoff {
    /// The wait after the given number of failures in a row (1 is the first),
    /// between half and all of `first × 2^(failures-1)`, at most `most`.
    pub fn wait(&self, failures: u32, chance: &Chance) -> Duration {
        let doubled = self.first.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
        let full = doubled.min(self.most);
        let half = full / 2;
        let spread = u64::try_from((full - half).as_micros()).unwrap_or(u64::MAX);
        half + Duration::from_micros(chance.below(spread.saturating_add(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_cap_and_never_past_it() {
        let backoff = Backoff { first: Duration::from_millis(100), most: Duration::from_secs(2) };
        let chance = Chance::seeded(1);
        for (failures, low, high) in
            [(1, 50, 100), (2, 100, 200), (3, 200, 400), (10, 1_000, 2_000), (99, 1_000, 2_000)]
        {
            let wait = backoff.wait(failures, &chance).as_millis();
            assert!((low..=high).contains(&wait), "after {failures}: {wait}");
        }
    }
}
