//! `bifrost events stats`: the state of the event store.

use wire::event::{Occupancy, Place, Stats};

use super::store;
use crate::duration::show_time;
use crate::invocation::Invocation;
use crate::table;

pub(super) async fn run(invocation: &Invocation) -> anyhow::Result<()> {
    let store = store::find(invocation)?;
    let stats = store.stats().await.map_err(|error| store::explain(error, store.base()))?;
    let output = invocation.output;
    if output.is_json {
        return output.json(&stats);
    }
    Ok(output.line(&table::render(&["WHAT", "VALUE"], rows(&stats), output.stdout()))?)
}

fn rows(stats: &Stats) -> Vec<Vec<String>> {
    let Stats { engine, schema_version, uptime_seconds, events, oldest, newest, disk, queue, followers } = stats;
    let rows = [
        ("events", events.to_string()),
        ("oldest", place(*oldest)),
        ("newest", place(*newest)),
        (
            "database",
            format!("{}, of which {} free for new events", size(disk.database_bytes), size(disk.reusable_bytes)),
        ),
        ("journal", size(disk.journal_bytes)),
        ("volume", format!("{}: {} of {} free", disk.level, size(disk.free_bytes), size(disk.volume_bytes))),
        ("queue", occupancy(*queue)),
        ("followers", occupancy(*followers)),
        ("up for", duration(*uptime_seconds)),
        ("engine", format!("{engine}, schema version {schema_version}")),
    ];
    rows.into_iter().map(|(what, value)| vec![what.to_owned(), value]).collect()
}

fn place(place: Option<Place>) -> String {
    place.map_or_else(|| "-".to_owned(), |Place { seq, created_at }| format!("{seq} of {}", show_time(created_at)))
}

fn occupancy(Occupancy { taken, bound }: Occupancy) -> String {
    format!("{taken} of {bound}")
}

fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let (mut amount, mut unit) = (bytes as f64, "bytes");
    for larger in UNITS {
        if amount < 1024.0 {
            break;
        }
        (amount, unit) = (amount / 1024.0, larger);
    }
    if unit == "bytes" { format!("{bytes} bytes") } else { format!("{amount:.1} {unit}") }
}

fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, ..) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use wire::event::{DiskStats, VolumeLevel};

    use super::*;
    use crate::output::Face;

    #[test]
    fn the_state_is_told_in_words_and_units_of_people() {
        let stats = Stats {
            engine: "sqlite".into(),
            schema_version: 2,
            uptime_seconds: 90_061,
            events: 7,
            oldest: Some(Place { seq: 4, created_at: DateTime::from_timestamp(1_700_000_000, 0).expect("in range") }),
            newest: None,
            disk: DiskStats {
                database_bytes: 3_145_728,
                reusable_bytes: 0,
                journal_bytes: 1_023,
                free_bytes: 1_073_741_824,
                volume_bytes: 2_254_857_830,
                level: VolumeLevel::Low,
            },
            queue: Occupancy { taken: 1, bound: 1_024 },
            followers: Occupancy { taken: 0, bound: 1_024 },
        };
        let text = table::render(&["WHAT", "VALUE"], rows(&stats), Face::PLAIN);
        let expect = "\
WHAT       VALUE
events     7
oldest     4 of 2023-11-14T22:13:20Z
newest     -
database   3.0 MiB, of which 0 bytes free for new events
journal    1023 bytes
volume     low: 1.0 GiB of 2.1 GiB free
queue      1 of 1024
followers  0 of 1024
up for     1d 1h
engine     sqlite, schema version 2";
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        assert_eq!(lines.join("\n"), expect);
    }

    #[test]
    fn a_duration_has_the_two_units_that_matter() {
        for (seconds, expect) in [(0, "0s"), (59, "59s"), (61, "1m 1s"), (3_660, "1h 1m"), (90_000, "1d 1h")] {
            assert_eq!(duration(seconds), expect);
        }
    }
}
