//! When a schedule's next task is due: a cron expression read in a time zone, and
//! what is made of occurrences that nobody could serve. Pure.
//!
//! Where clocks are put forward, an expression with fixed times whose time does not
//! exist that day fires at the first minute after the gap, and one with steps or
//! wildcards goes on behind it. Where they are put back, fixed times fire once, at
//! the first of the two, and steps and wildcards in both.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

/// An occurrence that is served later than this was missed.
const PATIENCE: TimeDelta = TimeDelta::seconds(60);
/// Of a long outage, occurrences are looked for in its last part first.
const RECENT: TimeDelta = TimeDelta::days(2);

/// A cron expression and where its clock hangs.
#[derive(Debug, Clone)]
pub(crate) struct Timetable {
    cron: Cron,
    zone: Tz,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Due {
    /// The newest occurrence.
    pub(crate) at: DateTime<Utc>,
    /// Whether it is later than it may be.
    pub(crate) is_missed: bool,
    /// The next one, if there ever is one.
    pub(crate) next: Option<DateTime<Utc>>,
}

/// Which of the two texts cannot be read, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unreadable {
    pub(crate) field: &'static str,
    pub(crate) message: String,
}

impl Timetable {
    /// Reads five fields and the name of a zone.
    pub(crate) fn read(cron: &str, zone: &str) -> Result<Self, Unreadable> {
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(cron).map_err(|error| Unreadable {
            field: "cron",
            message: format!("cannot be read ({error}); write five fields, such as \"30 2 * * MON-FRI\""),
        })?;
        let zone = zone.parse::<Tz>().map_err(|_| Unreadable {
            field: "time_zone",
            message: "is no time zone; give an IANA name such as Europe/Berlin, or UTC".into(),
        })?;
        Ok(Self { cron, zone })
    }

    /// The first occurrence after the time.
    pub(crate) fn next_after(&self, time: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let next = self.cron.find_next_occurrence(&time.with_timezone(&self.zone), false).ok()?;
        Some(next.with_timezone(&Utc))
    }

    /// What is due now, where `next_at` was the next occurrence when anybody looked last.
    pub(crate) fn due(&self, next_at: DateTime<Utc>, now: DateTime<Utc>) -> Option<Due> {
        if next_at > now {
            return None;
        }
        let at = self.newest(now - RECENT, now).filter(|at| *at > next_at);
        let at = at.or_else(|| self.newest(next_at, now)).unwrap_or(next_at);
        Some(Due { at, is_missed: now - at > PATIENCE, next: self.next_after(now) })
    }

    /// The newest occurrence after the one time and not after the other.
    fn newest(&self, after: DateTime<Utc>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        std::iter::successors(self.next_after(after), |at| self.next_after(*at)).take_while(|at| *at <= now).last()
    }
}

#[cfg(test)]
mod tests;
