//! Fly's rate limits, kept on this side: per action and per machine or app one
//! call a second with a burst of three, and for reading one machine five with a
//! burst of ten.

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

/// Hands out turns.
#[derive(Debug)]
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
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        if next.len() > SUBJECTS {
            next.retain(|_, due| *due > now);
        }
        let due = next.entry((action, subject.to_owned())).or_insert(now);
        let (wait, after) = take_turn(*due, now, rate(action));
        if wait > LONGEST_WAIT {
            return Err(TooLong);
        }
        *due = after;
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
        _ => Rate { interval: Duration::from_secs(1), burst: 3 },
    }
}

/// The generic cell rate algorithm: how long to wait from `now`, and when the next turn is due.
fn take_turn(due: Instant, now: Instant, rate: Rate) -> (Duration, Instant) {
    let credit = rate.interval * (rate.burst - 1);
    let due = due.max(now);
    (due.duration_since(now).saturating_sub(credit), due + rate.interval)
}

#[cfg(test)]
mod tests;
