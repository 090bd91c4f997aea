//! How long the control plane has not been heard: a forgotten machine must not
//! live for ever, but one that was suspended has not been forgotten.

use std::time::Duration;

use tokio::time::Instant;

/// No single failure counts for more than this: a suspended machine hears nothing either.
const STEP: Duration = Duration::from_secs(60);

/// Adds up the time between failures in a row (pure).
#[derive(Debug)]
pub(super) struct Silence {
    total: Duration,
    since: Instant,
}

impl Silence {
    pub(super) fn since(now: Instant) -> Self {
        Self { total: Duration::ZERO, since: now }
    }

    /// Notes one more failure, and gives the silence so far.
    pub(super) fn failed(&mut self, now: Instant) -> Duration {
        self.total += (now - self.since).min(STEP);
        self.since = now;
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_add_up_and_a_suspension_counts_little() {
        let mut now = Instant::now();
        let mut silence = Silence::since(now);
        for (passed, expect) in [(5, 5), (10, 15), (86_400, 75), (0, 75)] {
            now += Duration::from_secs(passed);
            assert_eq!(silence.failed(now), Duration::from_secs(expect));
        }
    }
}
