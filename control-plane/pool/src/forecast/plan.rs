//! The forecast itself: pure, over hours of the week.
//!
//! What recurs is what came in the same hour of at least two of the last four
//! weeks; later weeks count for more. It needs as many machines as its work keeps
//! busy, and as many as keep its greatest burst from being a queue that would wake
//! more (row FLY-037).

use chrono::{DateTime, TimeDelta, Utc};

/// Hours of a week.
pub const WEEK: i64 = 7 * 24;
/// How far ahead a machine is woken: longer than one is made in.
const LEAD: TimeDelta = TimeDelta::minutes(10);
/// How much a week counts, the last one first.
const WEIGHTS: [i64; 4] = [4, 3, 2, 1];

/// What came in one hour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hour {
    /// Hours since 1970.
    pub hour: i64,
    /// Tasks that were submitted.
    pub arrivals: i64,
    /// The most of them within five minutes.
    pub burst: i64,
    /// How long workers were busy with what they were given in it.
    pub busy_seconds: i64,
}

/// The hour that a moment lies in.
pub fn hour_of(at: DateTime<Utc>) -> i64 {
    at.timestamp().div_euclid(3_600)
}

/// The hours whose history is asked for: this one's and the coming one's of the last weeks.
pub fn hours_of_interest(now: DateTime<Utc>) -> Vec<i64> {
    let weeks = |hour: i64| (1..).zip(WEIGHTS).map(move |(week, _)| hour - week * WEEK);
    let (this, next) = (hour_of(now), hour_of(now + LEAD));
    let mut hours: Vec<i64> = weeks(this).chain(weeks(next)).collect();
    hours.dedup();
    hours
}

/// How many machines should be awake now. `first` is the first hour of the history.
pub fn machines(history: &[Hour], first: Option<i64>, queue_per_machine: usize, now: DateTime<Utc>) -> usize {
    let Some(first) = first else { return 0 };
    let (this, next) = (hour_of(now), hour_of(now + LEAD));
    let busy = seconds_of_one(history);
    [this, next].into_iter().map(|hour| of_hour(history, first, hour, queue_per_machine, busy)).max().unwrap_or(0)
}

/// How long one task keeps a worker busy, in seconds.
fn seconds_of_one(history: &[Hour]) -> i64 {
    let (arrivals, busy) =
        history.iter().fold((0, 0), |(arrivals, busy), hour| (arrivals + hour.arrivals, busy + hour.busy_seconds));
    busy.checked_div(arrivals).unwrap_or(0)
}

fn of_hour(history: &[Hour], first: i64, hour: i64, queue_per_machine: usize, seconds_of_one: i64) -> usize {
    let (mut weight, mut arrivals, mut burst, mut weeks) = (0, 0, 0, 0);
    for (week, counts) in (1..).zip(WEIGHTS) {
        let at = hour - week * WEEK;
        if at < first {
            continue;
        }
        weight += counts;
        let Some(came) = history.iter().find(|came| came.hour == at && came.arrivals > 0) else { continue };
        weeks += 1;
        arrivals += counts * came.arrivals;
        burst += counts * came.burst;
    }
    // Once is chance.
    if weeks < 2 || weight == 0 {
        return 0;
    }
    let ceil = |number: i64, by: i64| usize::try_from((number + by - 1) / by.max(1)).unwrap_or(0);
    let busy = ceil(arrivals * seconds_of_one, weight * 3_600);
    let queue = ceil(burst, weight * i64::try_from(queue_per_machine).unwrap_or(i64::MAX / weight));
    busy.max(queue)
}
