//! Time as an argument. Always UTC, always whole microseconds (what Postgres keeps).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

/// Tells the time: the system's, or a test's.
#[derive(Debug, Clone)]
pub struct Clock {
    source: Source,
    /// How much later it is than the source says, in microseconds.
    ahead_us: Arc<AtomicI64>,
}

#[derive(Debug, Clone)]
enum Source {
    System,
    Manual(Arc<AtomicI64>),
}

/// What a clock was corrected by at some moment.
#[derive(Debug)]
pub struct Correction(i64);

impl Clock {
    /// The computer's clock.
    pub fn system() -> Self {
        Self::of(Source::System)
    }

    /// A clock that stands still until it is advanced; clones share it.
    pub fn manual(start: DateTime<Utc>) -> Self {
        Self::of(Source::Manual(Arc::new(AtomicI64::new(start.timestamp_micros()))))
    }

    fn of(source: Source) -> Self {
        Self { source, ahead_us: Arc::default() }
    }

    /// What it is corrected by so far.
    pub fn correction(&self) -> Correction {
        Correction(self.ahead_us.load(Ordering::SeqCst))
    }

    /// From now on it is so much later, for all clones: somebody whose clock is right says so of it as it was when this
    /// was its correction. Says whether it still was; else nothing is changed.
    pub fn correct(&self, was: &Correction, by: TimeDelta) -> bool {
        let more = was.0.saturating_add(by.num_microseconds().unwrap_or(0));
        self.ahead_us.compare_exchange(was.0, more, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// The same without what it was corrected by, now and later.
    #[must_use]
    pub fn uncorrected(&self) -> Self {
        Self::of(self.source.clone())
    }

    /// The time, in whole microseconds.
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everything else takes the time from")]
    pub fn now(&self) -> DateTime<Utc> {
        let told = match &self.source {
            Source::System => Utc::now().trunc_subsecs(6),
            Source::Manual(micros) => {
                DateTime::from_timestamp_micros(micros.load(Ordering::SeqCst)).unwrap_or(DateTime::UNIX_EPOCH)
            }
        };
        told.checked_add_signed(TimeDelta::microseconds(self.ahead_us.load(Ordering::SeqCst))).unwrap_or(told)
    }

    /// Moves a manual clock on; the system's clock moves by itself.
    pub fn advance(&self, by: Duration) {
        match &self.source {
            Source::System => (),
            Source::Manual(micros) => {
                let by = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
                micros.fetch_add(by, Ordering::SeqCst);
            }
        }
    }

    /// Sets a manual clock, also back, as an administrator or a resumed machine does with the system's.
    pub fn set(&self, now: DateTime<Utc>) {
        match &self.source {
            Source::System => (),
            Source::Manual(micros) => micros.store(now.timestamp_micros(), Ordering::SeqCst),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_can_be_set_back() {
        let clock = Clock::manual(DateTime::UNIX_EPOCH);
        clock.advance(Duration::from_secs(7));
        clock.set(DateTime::UNIX_EPOCH);
        assert_eq!(clock.now(), DateTime::UNIX_EPOCH);
    }

    #[test]
    fn a_manual_clock_moves_only_when_told_and_for_all_its_clones() {
        let clock = Clock::manual(DateTime::UNIX_EPOCH);
        let clone = clock.clone();
        clock.advance(Duration::from_micros(7));
        assert_eq!(clone.now().timestamp_micros(), 7);
        assert_eq!(clone.now(), clock.now());
    }

    #[test]
    fn two_who_see_the_same_mistake_correct_it_once() {
        let clock = Clock::manual(DateTime::UNIX_EPOCH);
        let was = clock.correction();
        assert!(clock.correct(&was, TimeDelta::seconds(9)));
        assert!(!clock.correct(&was, TimeDelta::seconds(9)));
        assert_eq!(clock.now().timestamp(), 9);
    }

    #[test]
    fn a_correction_is_for_all_clones_and_can_be_left_out() {
        let clock = Clock::manual(DateTime::UNIX_EPOCH);
        let (clone, bare) = (clock.clone(), clock.uncorrected());
        assert!(clone.correct(&clock.correction(), TimeDelta::seconds(9)));
        assert!(clone.correct(&clock.correction(), TimeDelta::seconds(-2)));
        clock.advance(Duration::from_secs(1));
        assert_eq!((clock.now().timestamp(), bare.now().timestamp()), (8, 1));
    }

    #[test]
    fn the_system_clock_tells_whole_microseconds() {
        assert_eq!(Clock::system().now().timestamp_subsec_nanos() % 1_000, 0);
    }
}
