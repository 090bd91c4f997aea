//! Reads a schedule.

use std::str::FromStr;

use chrono::{NaiveTime, Weekday};

use super::{Entry, Schedule};

/// More machines than anybody keeps warm.
const MACHINES_MAX: usize = 1_000;

/// The text is not a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadSchedule(String);

impl std::fmt::Display for BadSchedule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:?} is no entry of a schedule: write DAYS HH:MM-HH:MM MACHINES, such as mon-fri 08:00-18:00 2",
            self.0
        )
    }
}

impl std::error::Error for BadSchedule {}

impl FromStr for Schedule {
    type Err = BadSchedule;

    fn from_str(text: &str) -> Result<Self, BadSchedule> {
        let entries = text.split(';').map(str::trim).filter(|entry| !entry.is_empty());
        entries.map(|text| entry(text).ok_or_else(|| BadSchedule(text.to_owned()))).collect::<Result<_, _>>().map(Self)
    }
}

fn entry(text: &str) -> Option<Entry> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [day_words, hours, machines] = words.as_slice() else { return None };
    let (from, until) = hours.split_once('-')?;
    let machines = machines.parse().ok().filter(|machines| *machines <= MACHINES_MAX)?;
    Some(Entry { days: days(day_words)?, from: time(from)?, until: time(until)?, machines })
}

fn time(text: &str) -> Option<NaiveTime> {
    if text == "24:00" { Some(NaiveTime::MIN) } else { NaiveTime::parse_from_str(text, "%H:%M").ok() }
}

/// `*`, or days and ranges of days with commas between them.
fn days(text: &str) -> Option<Vec<Weekday>> {
    if text == "*" {
        return days("mon-sun");
    }
    let mut found = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (mut day, last): (Weekday, Weekday) = (first.parse().ok()?, last.parse().ok()?);
        found.push(day);
        while day != last {
            day = day.succ();
            found.push(day);
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::*;

    #[test]
    fn a_schedule_says_how_many_are_awake_when() {
        let schedule: Schedule =
            "mon-fri 08:00-18:00 2; fri,sat 22:00-02:00 1; * 12:00-13:00 3;".parse().expect("reads");
        let check = |at: &str, machines| {
            let at: DateTime<Utc> = at.parse().expect("a time");
            assert_eq!(schedule.machines(at), machines, "{at}");
        };
        // 2026-11-23 is a Monday.
        check("2026-11-23T07:59:59Z", 0);
        check("2026-11-23T08:00:00Z", 2);
        check("2026-11-23T12:30:00Z", 3);
        check("2026-11-23T18:00:00Z", 0);
        check("2026-11-27T23:00:00Z", 1);
        check("2026-11-28T01:59:00Z", 1);
        check("2026-11-29T01:00:00Z", 1);
        check("2026-11-29T23:00:00Z", 0);
        assert_eq!("".parse(), Ok(Schedule::default()));
        let always: Schedule = "* 00:00-24:00 1".parse().expect("reads");
        assert_eq!(always.machines("2026-11-23T23:59:59Z".parse().expect("a time")), 1);
    }

    #[test]
    fn what_is_no_schedule_is_refused_with_the_form() {
        for text in
            ["2", "mon 8-18 2", "mon 08:00-18:00", "noday 08:00-18:00 1", "mon 08:00-18:00 -1", "mon 25:00-26:00 1"]
        {
            let error = text.parse::<Schedule>().expect_err(text).to_string();
            assert!(error.contains("mon-fri 08:00-18:00 2"), "{error}");
        }
    }
}
