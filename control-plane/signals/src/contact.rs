//! Pure: when to speak to the event store, and what its silence calls for.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// A store that nothing is sent to is looked at so often: runners may have events that wait.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Between two attempts to wake it. Fly may refuse a start for seconds after a stop.
const WAKE_EVERY: Duration = Duration::from_secs(10);
/// One failure may be a connection that broke, or a store that is being started.
const FAILURES_OF_AN_OUTAGE: u32 = 2;

/// What is known of the event store.
#[derive(Debug, Clone, Default)]
pub(crate) struct Contact {
    spoken_at: Option<DateTime<Utc>>,
    /// After a failure, how long to leave it alone.
    rest: Option<Duration>,
    outage: Option<Outage>,
}

#[derive(Debug, Clone)]
struct Outage {
    since: DateTime<Utc>,
    woken_at: Option<DateTime<Utc>>,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing.
    Rest,
    /// Ask whether it answers.
    Look,
    /// Send what waits.
    Deliver,
}

/// What an unanswered probe calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Measures {
    /// Say that the store is away: once in an outage.
    pub(crate) alert: bool,
    /// Try to wake it.
    pub(crate) wake: bool,
}

impl Contact {
    pub(crate) fn due(&self, now: DateTime<Utc>, has_events: bool) -> Due {
        let after = match (self.rest, has_events) {
            (Some(rest), _) => rest,
            (None, true) => Duration::ZERO,
            (None, false) => LOOK_EVERY,
        };
        match (has_passed(self.spoken_at, now, after), has_events) {
            (false, _) => Due::Rest,
            (true, true) => Due::Deliver,
            (true, false) => Due::Look,
        }
    }

    /// The store has answered; how long it was away, if it was.
    pub(crate) fn answered(&mut self, now: DateTime<Utc>) -> Option<TimeDelta> {
        self.spoken_at = Some(now);
        self.rest = None;
        self.outage.take().map(|outage| now - outage.since)
    }

    /// The store took nothing, for a reason that will pass.
    pub(crate) fn failed(&mut self, now: DateTime<Utc>, rest: Duration) {
        self.spoken_at = Some(now);
        self.rest = Some(rest);
    }

    /// The store did not answer its probe; `failures` in a row, this one included.
    pub(crate) fn away(&mut self, now: DateTime<Utc>, failures: u32, rest: Duration) -> Measures {
        self.failed(now, rest);
        if failures < FAILURES_OF_AN_OUTAGE {
            return Measures { alert: false, wake: false };
        }
        let alert = self.outage.is_none();
        let outage = self.outage.get_or_insert(Outage { since: now, woken_at: None });
        let wake = has_passed(outage.woken_at, now, WAKE_EVERY);
        if wake {
            outage.woken_at = Some(now);
        }
        Measures { alert, wake }
    }
}

/// Whether so much time has passed. A clock that was set back must not make anybody wait for it.
fn has_passed(since: Option<DateTime<Utc>>, now: DateTime<Utc>, after: Duration) -> bool {
    since.is_none_or(|since| (now - since).to_std().is_ok_and(|passed| passed >= after) || now < since)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: Duration = Duration::from_secs(4);

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000 + seconds, 0).expect("in range")
    }

    #[test]
    fn events_go_at_once_and_an_idle_store_is_looked_at_now_and_then() {
        let mut contact = Contact::default();
        assert_eq!(contact.due(at(0), false), Due::Look);
        assert_eq!(contact.answered(at(0)), None);
        for (seconds, has_events, due) in
            [(0, true, Due::Deliver), (9, true, Due::Deliver), (9, false, Due::Rest), (10, false, Due::Look)]
        {
            assert_eq!(contact.due(at(seconds), has_events), due, "after {seconds} s");
        }
    }

    #[test]
    fn after_a_failure_nothing_is_due_for_a_while_unless_the_clock_was_set_back() {
        let mut contact = Contact::default();
        contact.failed(at(0), REST);
        for (seconds, due) in [(0, Due::Rest), (3, Due::Rest), (4, Due::Deliver), (-3_600, Due::Deliver)] {
            assert_eq!(contact.due(at(seconds), true), due, "after {seconds} s");
        }
        assert_eq!(contact.due(at(4), false), Due::Look);
    }

    #[test]
    fn an_outage_is_said_once_and_calls_for_a_wake_now_and_then() {
        let mut contact = Contact::default();
        let measures = |alert, wake| Measures { alert, wake };
        for (seconds, failures, expect) in [
            (0, 1, measures(false, false)),
            (1, 2, measures(true, true)),
            (5, 3, measures(false, false)),
            (11, 4, measures(false, true)),
            (-3_600, 5, measures(false, true)),
        ] {
            assert_eq!(contact.away(at(seconds), failures, REST), expect, "after {seconds} s");
        }
        assert_eq!(contact.answered(at(61)), Some(TimeDelta::seconds(60)));
        assert_eq!(contact.away(at(62), 2, REST), measures(true, true), "another outage");
    }
}
