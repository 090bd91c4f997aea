//! When something may be typed into a terminal that a person types in as well (pure):
//! not while they do, but not for ever later either (rows ORK-6.4c and d).

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// How much a person at the terminal is given way to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// Nobody types once nothing was typed for so long.
    pub quiet: Duration,
    /// While somebody types, it is looked again after so long.
    pub recheck: Duration,
    /// The longest that a message waits.
    pub defer_max: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self { quiet: Duration::from_secs(20), recheck: Duration::from_secs(5), defer_max: Duration::from_secs(60) }
    }
}

/// What to do with a message now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Nobody types.
    Write,
    /// Somebody types: look again then.
    Wait(DateTime<Utc>),
    /// Somebody still types, but it has waited long enough.
    WriteAnyway,
}

/// Decides about a message that has waited since `queued`.
pub fn decide(rules: Rules, now: DateTime<Utc>, last_typed: Option<DateTime<Utc>>, queued: DateTime<Utc>) -> Decision {
    // A key from the time to come, after a clock was set back, has just been typed.
    let is_quiet = last_typed.is_none_or(|typed| (now - typed).to_std().is_ok_and(|since| since >= rules.quiet));
    if is_quiet {
        return Decision::Write;
    }
    let give_up = queued + rules.defer_max;
    if now >= give_up { Decision::WriteAnyway } else { Decision::Wait((now + rules.recheck).min(give_up)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Decision::{Wait, Write, WriteAnyway};

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000 + seconds, 0).expect("in range")
    }

    #[track_caller]
    fn check(rules: Rules, rows: &[(i64, Option<i64>, Decision)]) {
        for (now, typed, expect) in rows {
            let decision = decide(rules, at(*now), typed.map(at), at(0));
            assert_eq!(decision, *expect, "now {now}, typed {typed:?}");
        }
    }

    #[test]
    fn by_default_a_message_waits_for_20_quiet_seconds_looks_every_5_and_gives_up_after_60() {
        let rows = [
            (0, None, Write),
            (0, Some(-20), Write),
            (0, Some(-19), Wait(at(5))),
            (0, Some(0), Wait(at(5))),
            (5, Some(-19), Write),
            (5, Some(4), Wait(at(10))),
            (24, Some(4), Write),
            (23, Some(4), Wait(at(28))),
            (57, Some(55), Wait(at(60))),
            (60, Some(59), WriteAnyway),
            (60, Some(40), Write),
            (3_600, Some(3_599), WriteAnyway),
        ];
        check(Rules::default(), &rows);
    }

    #[test]
    fn each_value_can_be_another() {
        let rules = |quiet, recheck, defer_max| Rules {
            quiet: Duration::from_secs(quiet),
            recheck: Duration::from_secs(recheck),
            defer_max: Duration::from_secs(defer_max),
        };
        check(rules(3, 5, 60), &[(0, Some(-3), Write), (0, Some(-2), Wait(at(5)))]);
        check(rules(20, 1, 60), &[(0, Some(0), Wait(at(1)))]);
        check(rules(20, 5, 7), &[(5, Some(4), Wait(at(7))), (7, Some(4), WriteAnyway)]);
        check(rules(20, 5, 0), &[(0, Some(0), WriteAnyway)]);
        check(rules(0, 5, 60), &[(0, Some(0), Write)]);
    }

    #[test]
    fn a_clock_that_was_set_back_makes_nobody_wait_for_longer_than_the_bound() {
        check(
            Rules::default(),
            &[(0, Some(500), Wait(at(5))), (60, Some(500), WriteAnyway), (-9, Some(-9), Wait(at(-4)))],
        );
    }
}
