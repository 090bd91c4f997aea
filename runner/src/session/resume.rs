//! Notices that the machine was suspended: time passed in which nothing ran, or
//! the clock was put right behind our back. Connections are then dead without a
//! sign of it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use kit::Clock;
use tokio::time::{Instant, sleep_until};

use super::board::Board;

const BEAT: Duration = Duration::from_millis(500);
/// The same while something is in hand, which is held as soon as it shows.
const BUSY_BEAT: Duration = Duration::from_millis(100);
/// A busy machine may hold a beat up for less than this.
const GAP: Duration = Duration::from_secs(5);
/// The clocks of one machine drift apart by less than this within a beat.
const DRIFT: Duration = Duration::from_secs(2);

/// Looks at both clocks twice a second, and more often while something is in hand.
#[derive(Debug)]
pub(super) struct Resume {
    clock: Clock,
    wall: DateTime<Utc>,
    steady: Instant,
}

impl Resume {
    pub(super) fn new(clock: Clock) -> Self {
        Self { wall: clock.now(), clock, steady: Instant::now() }
    }

    /// Resolves after a suspension. Giving it up loses nothing.
    pub(super) async fn noticed(&mut self, board: &Board) {
        loop {
            sleep_until(self.steady + if board.is_idle() { BEAT } else { BUSY_BEAT }).await;
            let is_past = self.is_past();
            (self.wall, self.steady) = (self.clock.now(), Instant::now());
            if is_past {
                return;
            }
        }
    }

    /// Whether there was one since the last beat: what a wake brings may come before the next.
    pub(super) fn is_past(&self) -> bool {
        was_suspended(self.clock.now() - self.wall, self.steady.elapsed())
    }
}

/// Whether a beat of so much time by either clock means a suspension (pure).
fn was_suspended(wall: chrono::TimeDelta, steady: Duration) -> bool {
    let steady_ms = i64::try_from(steady.as_millis()).unwrap_or(i64::MAX);
    let drift = wall.num_milliseconds().abs_diff(steady_ms);
    steady > GAP || u128::from(drift) > DRIFT.as_millis()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suspension_shows_on_one_clock_or_the_other() {
        for (wall_ms, steady_ms, expect) in [
            (500, 500, false),
            (4_000, 4_000, false),  // a busy machine
            (90_000, 90_000, true), // stopped by a signal: both went on
            (90_000, 500, true),    // a snapshot: the steady clock stood still
            (-9_000, 500, true),    // the clock was put back
            (1_500, 500, false),
        ] {
            let wall = chrono::TimeDelta::milliseconds(wall_ms);
            assert_eq!(was_suspended(wall, Duration::from_millis(steady_ms)), expect, "{wall_ms} {steady_ms}");
        }
    }
}
