//! Tables of times, among them the two days of the year on which clocks are changed.

use super::*;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time")
}

fn berlin(cron: &str) -> Timetable {
    Timetable::read(cron, "Europe/Berlin").expect("reads")
}

/// The next occurrences after a time, in UTC without the date's year.
fn next(table: &Timetable, after: &str, count: usize) -> Vec<String> {
    let first = table.next_after(at(after));
    let times = std::iter::successors(first, |time| table.next_after(*time));
    times.take(count).map(|time| time.format("%m-%dT%H:%M").to_string()).collect()
}

#[test]
fn times_are_those_of_the_zone() {
    assert_eq!(next(&berlin("0 9 * * MON-FRI"), "2027-01-08T08:00:00Z", 2), ["01-11T08:00", "01-12T08:00"]);
    assert_eq!(next(&berlin("0 9 * * *"), "2027-07-01T08:00:00Z", 1), ["07-02T07:00"], "summer time");
    let tokyo = Timetable::read("0 0 1 * *", "Asia/Tokyo").expect("reads");
    assert_eq!(next(&tokyo, "2027-01-01T00:00:00Z", 1), ["01-31T15:00"]);
}

#[test]
fn in_the_gap_a_fixed_time_fires_right_after_it_and_steps_go_on_behind_it() {
    // On 2027-03-28 at 01:00 UTC, two o'clock in Berlin becomes three o'clock.
    assert_eq!(next(&berlin("30 2 * * *"), "2027-03-27T12:00:00Z", 2), ["03-28T01:00", "03-29T00:30"]);
    assert_eq!(next(&berlin("*/30 * * * *"), "2027-03-28T00:15:00Z", 3), ["03-28T00:30", "03-28T01:00", "03-28T01:30"]);
}

#[test]
fn in_the_fold_a_fixed_time_fires_once_and_steps_fire_in_both_hours() {
    // On 2027-10-31 at 01:00 UTC, three o'clock in Berlin becomes two o'clock again.
    assert_eq!(next(&berlin("30 2 * * *"), "2027-10-30T12:00:00Z", 2), ["10-31T00:30", "11-01T01:30"]);
    assert_eq!(
        next(&berlin("*/30 2 * * *"), "2027-10-30T12:00:00Z", 5),
        ["10-31T00:00", "10-31T00:30", "10-31T01:00", "10-31T01:30", "11-01T01:00"]
    );
}

#[test]
fn the_newest_of_several_missed_occurrences_is_due() {
    let table = Timetable::read("0 * * * *", "UTC").expect("reads");
    let due = |next_at, now| table.due(at(next_at), at(now));
    assert_eq!(due("2027-01-01T05:00:00Z", "2027-01-01T04:59:59Z"), None);
    let on_time = Due { at: at("2027-01-01T05:00:00Z"), is_missed: false, next: Some(at("2027-01-01T06:00:00Z")) };
    assert_eq!(due("2027-01-01T05:00:00Z", "2027-01-01T05:00:01Z"), Some(on_time));
    let late = Due { at: at("2027-01-03T07:00:00Z"), is_missed: true, next: Some(at("2027-01-03T08:00:00Z")) };
    assert_eq!(due("2027-01-01T05:00:00Z", "2027-01-03T07:30:00Z"), Some(late));
    let back_in_time = Due { is_missed: false, ..late };
    assert_eq!(due("2027-01-01T05:00:00Z", "2027-01-03T07:00:30Z"), Some(back_in_time));
}

#[test]
fn a_rare_occurrence_of_long_ago_is_found() {
    let table = Timetable::read("0 0 1 1 *", "UTC").expect("reads");
    let due = table.due(at("2027-01-01T00:00:00Z"), at("2029-06-01T00:00:00Z")).expect("is due");
    assert_eq!((due.at, due.next), (at("2029-01-01T00:00:00Z"), Some(at("2030-01-01T00:00:00Z"))));
}

#[test]
fn what_cannot_be_read_is_named() {
    for (cron, zone, field) in [
        ("", "UTC", "cron"),
        ("* * * *", "UTC", "cron"),
        ("*/5 * * * * *", "UTC", "cron"),
        ("61 * * * *", "UTC", "cron"),
        ("0 0 * * *", "Berlin", "time_zone"),
        ("0 0 * * *", "", "time_zone"),
    ] {
        assert_eq!(Timetable::read(cron, zone).map(drop).map_err(|error| error.field), Err(field), "{cron} {zone}");
    }
    let never = Timetable::read("0 0 30 2 *", "UTC").expect("reads");
    assert_eq!(never.next_after(at("2027-01-01T00:00:00Z")), None);
}
