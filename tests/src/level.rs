//! The one way to wait: for something to be so, with a limit.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

/// Far more than anything here takes, for a computer that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(60);

const BEAT: Duration = Duration::from_millis(20);

/// Looks again and again until there is something to see; panics when there is nothing for too long.
pub async fn until<T>(what: &str, limit: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < deadline, "not within {} s: {what}", limit.as_secs());
        beat.tick().await;
    }
}
