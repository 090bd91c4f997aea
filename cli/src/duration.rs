//! Durations as people write and read them. Pure.

use chrono::{DateTime, SecondsFormat, Utc};

/// Reads `90s`, `30m`, `2h` or `1d` as seconds.
pub(crate) fn parse_seconds(text: &str) -> Result<u64, String> {
    const EXPECTED: &str = "write a whole number and a unit, such as 90s, 30m, 2h or 1d";
    let unit = text.chars().last().ok_or(EXPECTED)?;
    let seconds_per_unit = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(EXPECTED.into()),
    };
    let number = &text[..text.len() - unit.len_utf8()];
    // `u64::from_str` would also take a plus sign.
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(EXPECTED.into());
    }
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(seconds_per_unit));
    let most = wire::limit::TIMEOUT_SECONDS_MAX;
    match seconds {
        Some(seconds) if (1..=most).contains(&seconds) => Ok(seconds),
        _ => Err(format!("must be from 1s to {}d", most / 86_400)),
    }
}

/// Microseconds with as many digits as a person reads: `0.3 ms`, `540 ms`, `1.24 s`, `2 min 05 s`, `3 h 07 min`.
pub(crate) fn show_micros(micros: u64) -> String {
    let seconds = micros / 1_000_000;
    match micros {
        0..1_000 => format!("0.{} ms", micros / 100),
        1_000..1_000_000 => format!("{} ms", micros / 1_000),
        1_000_000..60_000_000 => format!("{seconds}.{:02} s", micros / 10_000 % 100),
        60_000_000..3_600_000_000 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3_600, seconds / 60 % 60),
    }
}

/// A moment, as everybody reads it: `2026-01-31T12:00:00Z`.
pub(crate) fn show_time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// How long ago it was, in one unit; a time to come is `now`, since clocks differ a little.
pub(crate) fn show_age(now: DateTime<Utc>, then: DateTime<Utc>) -> String {
    match (now - then).num_seconds() {
        ..1 => "now".into(),
        seconds @ 1..60 => format!("{seconds} s ago"),
        seconds @ 60..3_600 => format!("{} min ago", seconds / 60),
        seconds @ 3_600..86_400 => format!("{} h ago", seconds / 3_600),
        seconds => format!("{} d ago", seconds / 86_400),
    }
}

/// The microseconds from one time to another; none if the second is the earlier one.
pub(crate) fn micros_between(from: DateTime<Utc>, to: DateTime<Utc>) -> u64 {
    (to - from).num_microseconds().and_then(|micros| u64::try_from(micros).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_a_unit_are_seconds() {
        for (text, seconds) in [("1s", 1), ("90s", 90), ("30m", 1_800), ("2h", 7_200), ("1d", 86_400), ("7d", 604_800)]
        {
            assert_eq!(parse_seconds(text), Ok(seconds), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_the_cure() {
        for text in ["", "30", "m", "+5m", "-5m", "1.5h", "5 m", "5w", "5ż", "1h30m"] {
            let error = parse_seconds(text).expect_err(text);
            assert!(error.contains("such as 90s"), "{text}: {error}");
        }
        for text in ["0s", "8d", "604801s", "99999999999999999999d", "18446744073709551615d"] {
            assert_eq!(parse_seconds(text), Err("must be from 1s to 7d".into()), "{text}");
        }
    }

    #[test]
    fn spans_have_the_unit_that_reads_best() {
        for (micros, text) in [
            (0, "0.0 ms"),
            (340, "0.3 ms"),
            (3_900, "3 ms"),
            (999_999, "999 ms"),
            (1_240_000, "1.24 s"),
            (59_999_999, "59.99 s"),
            (125_000_000, "2 min 05 s"),
            (11_220_000_000, "3 h 07 min"),
        ] {
            assert_eq!(show_micros(micros), text);
        }
    }

    #[test]
    fn ages_have_one_unit_and_are_never_negative() {
        let then = DateTime::UNIX_EPOCH;
        for (seconds, text) in
            [(-5, "now"), (0, "now"), (59, "59 s ago"), (60, "1 min ago"), (7_199, "1 h ago"), (200_000, "2 d ago")]
        {
            assert_eq!(show_age(then + chrono::TimeDelta::seconds(seconds), then), text);
        }
    }
}
