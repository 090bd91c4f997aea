//! Fly's rate limits, kept on this side: per action and per machine or app one
//! call a second with a burst of three, for reading one machine five with a burst
//! of ten, for deleting apps a hundred a minute, and for making sprites ten in any
//! minute.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::Action;

/// How calls are paced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Pace {
    /// By Fly's limits.
    #[default]
    Fly,
    /// Not at all, as the local emulator can bear.
    Unlimited,
}

/// Longer queues than this are refused instead of waited in.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Past so many subjects, those that owe nothing are forgotten.
const SUBJECTS: usize = 4_096;

/// Fly's side of the limits, for who answers calls: a turn is free now or it is not.
#[derive(Debug, Default)]
pub struct Turnstile {
    limiter: Limiter,
}

impl Turnstile {
    /// Whether there is a turn for this action and machine or app at once. A call that is turned away takes none.
    pub fn lets_pass(&self, action: Action, subject: &str) -> bool {
        self.limiter.reserve_within(action, subject, Instant::now(), Duration::ZERO).is_ok()
    }
}

/// Hands out turns.
#[derive(Debug, Default)]
pub(crate) struct Limiter {
    pace: Pace,
    next: Mutex<BTreeMap<(Action, String), Instant>>,
}

/// The queue is too long.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

impl Limiter {
    pub(crate) fn new(pace: Pace) -> Self {
        Self { pace, next: Mutex::new(BTreeMap::new()) }
    }

    /// Waits for a turn; whoever asks first is first.
    pub(crate) async fn turn(&self, action: Action, subject: &str) -> Result<(), TooLong> {
        let wait = match self.pace {
            Pace::Fly => self.reserve(action, subject, Instant::now())?,
            Pace::Unlimited => Duration::ZERO,
        };
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }

    fn reserve(&self, action: Action, subject: &str, now: Instant) -> Result<Duration, TooLong> {
        self.reserve_within(action, subject, now, LONGEST_WAIT)
    }

    fn reserve_within(
        &self,
        action: Action,
        subject: &str,
        now: Instant,
        longest_wait: Duration,
    ) -> Result<Duration, TooLong> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        if next.len() > SUBJECTS {
            next.retain(|_, due| *due > now);
        }
        // However many apps there are, they are deleted one after the other; and so are sprites made.
        let subject = if matches!(action, Action::DeleteApp | Action::CreateSprite) { "" } else { subject };
        let due = next.entry((action, subject.to_owned())).or_insert(now);
        let (wait, ahead) = take_turn(action, due.saturating_duration_since(now));
        if wait > longest_wait {
            return Err(TooLong);
        }
        *due = now + ahead;
        Ok(wait)
    }
}

/// One turn every `interval`, and up to `burst` at once after a rest.
#[derive(Debug, Clone, Copy)]
struct Rate {
    interval: Duration,
    burst: u32,
}

const fn rate(action: Action) -> Rate {
    match action {
        Action::ReadMachine => Rate { interval: Duration::from_millis(200), burst: 10 },
        Action::DeleteApp => Rate { interval: Duration::from_millis(600), burst: 3 },
        // Three at once and seven more: ten in a minute, from whichever moment the API counts.
        Action::CreateSprite => Rate { interval: Duration::from_secs(8), burst: 3 },
        _ => Rate { interval: Duration::from_secs(1), burst: 3 },
    }
}

/// The generic cell rate algorithm: how long a call waits where the next turn of its action and subject is `ahead` from
/// now, and how far ahead the next one is then.
pub fn take_turn(action: Action, ahead: Duration) -> (Duration, Duration) {
    let Rate { interval, burst } = rate(action);
    (ahead.saturating_sub(interval * (burst - 1)), ahead + interval)
}

#[cfg(test)]
mod tests;
