//! How many machines are kept awake though nothing waits for them: by the
//! operator's schedule.

mod format;

use chrono::{DateTime, Datelike, NaiveTime, Utc, Weekday};

pub use format::BadSchedule;

/// When how many machines are kept awake; nothing is never. Written as `mon-fri 08:00-18:00 2; sat 10:00-12:00 1`,
/// in UTC; a range of hours may go past midnight, and `*` is every day.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Schedule(Vec<Entry>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    days: Vec<Weekday>,
    from: NaiveTime,
    /// At this time it is over; the same as `from` is a whole day.
    until: NaiveTime,
    machines: usize,
}

impl Schedule {
    /// How many machines are to be awake: the most that an entry asks for.
    pub fn machines(&self, now: DateTime<Utc>) -> usize {
        self.0.iter().filter(|entry| entry.is_on(now)).map(|entry| entry.machines).max().unwrap_or(0)
    }

    /// The most that are ever to be awake.
    pub(crate) fn most(&self) -> usize {
        self.0.iter().map(|entry| entry.machines).max().unwrap_or(0)
    }
}

impl Entry {
    fn is_on(&self, now: DateTime<Utc>) -> bool {
        let (today, time) = (now.weekday(), now.time());
        if self.from < self.until {
            return self.days.contains(&today) && (self.from..self.until).contains(&time);
        }
        // Past midnight it is still the day before's.
        (self.days.contains(&today) && time >= self.from) || (self.days.contains(&today.pred()) && time < self.until)
    }
}
