//! How wrong our clock is, by what an answer's `Date` says: a machine that was
//! suspended wakes with a clock that is behind, and nobody there tells it.

use chrono::{DateTime, TimeDelta, Utc};
use kit::Clock;
use reqwest::header::{DATE, HeaderMap};

/// A `Date` is in whole seconds, and a call takes its time: less than this says nothing.
const CERTAIN: TimeDelta = TimeDelta::seconds(2);

/// Corrects our clock by an answer to a call that was sent then.
pub(crate) fn correct(clock: &Clock, sent: DateTime<Utc>, answer: &HeaderMap) {
    let Some(told) = answer.get(DATE).and_then(|date| DateTime::parse_from_rfc2822(date.to_str().ok()?).ok()) else {
        return;
    };
    let was = clock.correction();
    let Some(by) = by(sent, clock.now(), told.to_utc()) else { return };
    if clock.correct(&was, by) {
        tracing::info!(by_ms = by.num_milliseconds(), "the clock is corrected by the server's");
    }
}

/// How much later it is than our clock says, if that is certain (pure).
fn by(sent: DateTime<Utc>, received: DateTime<Utc>, told: DateTime<Utc>) -> Option<TimeDelta> {
    // It is at least as late as the server said, however long its answer was on the way.
    let least = told - received;
    // And the server did not answer before it was asked, unless our clock was moved in the meantime.
    let most = told + TimeDelta::seconds(1) - sent;
    if least > CERTAIN {
        Some(least)
    } else if most < -CERTAIN && least <= most {
        Some(most)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::milliseconds(ms)
    }

    #[test]
    fn a_clock_is_corrected_only_by_what_is_certain() {
        for (what, sent_ms, received_ms, told_s, expect_ms) in [
            ("right", 100_300, 100_310, 100, None),
            ("behind", 100_300, 100_310, 700, Some(599_690)),
            ("ahead", 700_300, 700_310, 100, Some(-599_300)),
            ("a poll that was held", 100_300, 130_300, 130, None),
            ("behind, and a poll that was held", 100_300, 130_300, 730, Some(599_700)),
            ("an answer that waited while we slept", 100_300, 3_700_000, 130, None),
            ("put back while we slept", 100_300, -470_000, 130, Some(600_000)),
            ("put right during the call", 100_300, 700_400, 700, None),
            ("put back by a little during the call", 103_000, 97_500, 99, None),
        ] {
            let by = by(at(sent_ms), at(received_ms), at(told_s * 1_000));
            assert_eq!(by.map(|by| by.num_milliseconds()), expect_ms, "{what}");
        }
    }

    #[test]
    fn an_answer_without_a_date_says_nothing() {
        let clock = Clock::manual(at(0));
        let mut answer = HeaderMap::new();
        correct(&clock, at(0), &answer);
        assert_eq!(clock.now(), at(0));
        answer.insert(DATE, "Thu, 01 Jan 1970 00:10:00 GMT".parse().expect("a value"));
        correct(&clock, at(0), &answer);
        assert_eq!(clock.now(), at(600_000));
    }
}
