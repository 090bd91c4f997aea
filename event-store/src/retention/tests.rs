//! What goes and what stays.

use std::thread;

use futures_util::future::join_all;
use rusqlite::Connection;
use tempfile::TempDir;
use wire::event::kind;

use super::*;
use crate::log::{DATABASE, Filter, Render, Selection};

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).expect("in range")
}

fn days_ago(days: i64) -> DateTime<Utc> {
    now() - TimeDelta::days(days)
}

fn old(seq: u64, age_days: i64, bytes: u64) -> Old {
    Old { seq, created_at: days_ago(age_days), bytes }
}

fn days(days: u32) -> Keep {
    Keep { days: NonZeroU32::new(days), bytes: None }
}

fn bytes(text: &str) -> Keep {
    Keep { days: None, bytes: Some(text.parse().expect("is one")) }
}

#[test]
fn only_a_run_of_the_oldest_goes_and_only_what_is_too_old_or_too_much() {
    let events = [old(5, 9, 10), old(6, 8, 10), old(7, 1, 10), old(8, 9, 10)];
    let cases = [
        (None, 0, None),
        (Some(20), 0, None),
        (Some(7), 0, Some((5, 6))),
        (Some(0), 0, Some((5, 8))),
        (None, 1, Some((5, 5))),
        (None, 10, Some((5, 5))),
        (None, 11, Some((5, 6))),
        (Some(7), 21, Some((5, 8))),
        (None, 1_000, Some((5, 8))),
    ];
    for (age, excess, expect) in cases {
        let found = step(&events, age.map(days_ago), excess).map(|step| (step.first, step.last));
        assert_eq!(found, expect, "{age:?} {excess}");
    }
    assert_eq!(step(&[], Some(now()), 1), None);
}

#[test]
fn one_transaction_deletes_only_so_much() {
    let large: Vec<Old> = (1..10).map(|seq| old(seq, 9, STEP_BYTES / 4)).collect();
    assert_eq!(step(&large, Some(now()), 0).map(|step| step.last), Some(4));
}

#[test]
fn what_is_kept_is_read_as_people_write_it() {
    assert_eq!("1M".parse(), Ok(KeptBytes(1_048_576)));
    for wrong in ["1K", "10%", "", "much"] {
        assert_eq!(wrong.parse::<KeptBytes>(), Err(NotKeptBytes), "{wrong}");
    }
}

#[test]
fn a_little_more_goes_than_must() {
    assert_eq!(excess(100, 100), 0);
    assert_eq!(excess(101, 100), 6);
}

/// A log whose writer runs.
fn open(directory: &TempDir) -> Log {
    let (log, writer) = Log::open(directory.path(), now()).expect("opens");
    thread::spawn(move || writer.run());
    log
}

/// Sequence numbers and types of everything that is kept.
async fn kept(log: &Log) -> Vec<(u64, String)> {
    let render: Render = |out, row| {
        row.write_json(out);
        out.push(b'\n');
    };
    let selection = Selection { task: None, filter: Filter::default(), after: 0, limit: 10_000, bytes: usize::MAX };
    let page = log.read(selection, render).await.expect("reads");
    let lines = page.bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let events = lines.map(|line| serde_json::from_slice::<wire::event::StoredEvent>(line).expect("is an event"));
    events.map(|event| (event.seq, event.kind)).collect()
}

#[tokio::test]
async fn what_is_too_old_goes_and_leaves_its_record() {
    let directory = TempDir::new().unwrap();
    let log = open(&directory);
    for (number, age) in [9, 8, 1, 9, 0].into_iter().enumerate() {
        log.append_own("test", &number, days_ago(age)).await.expect("stores");
    }
    let link = log.link(2).await.expect("reads").expect("is there");
    assert_eq!(round(days(7), &log, now()).await.expect("deletes"), 2);
    let kinds = kept(&log).await;
    let expect = [(3, "test"), (4, "test"), (5, "test"), (6, kind::LOG_PRUNED)];
    assert!(kinds.iter().map(|(seq, kind)| (*seq, kind.as_str())).eq(expect), "{kinds:?}");
    assert_eq!(round(days(7), &log, now()).await.expect("has nothing to do"), 0);
    let database = Connection::open(directory.path().join(DATABASE)).unwrap();
    let start = |row: &rusqlite::Row<'_>| Ok((row.get::<_, u64>(0)?, row.get::<_, Vec<u8>>(1)?));
    let start = database.query_row("SELECT seq, link FROM start", [], start).unwrap();
    assert_eq!(start, (2, link.as_bytes().to_vec()));
    let payload: String = database.query_row("SELECT payload FROM events WHERE seq = 6", [], |row| row.get(0)).unwrap();
    let payload: PrunedPayload = serde_json::from_str(&payload).unwrap();
    assert_eq!(payload, PrunedPayload { first: 1, last: 2, link: Link(*link.as_bytes()) });
}

#[tokio::test]
async fn the_newest_stays_however_old_and_the_place_goes_on_after_a_restart() {
    let directory = TempDir::new().unwrap();
    let log = open(&directory);
    for number in 0..3 {
        log.append_own("test", &number, days_ago(100)).await.expect("stores");
    }
    assert_eq!(round(days(1), &log, now()).await.expect("deletes"), 2);
    let head = log.head();
    assert_eq!(kept(&log).await.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [3, 4]);
    log.close().await;
    drop(log);
    let log = open(&directory);
    assert_eq!(log.head(), head);
    log.append_own("test", &3, now()).await.expect("stores");
    assert_eq!(log.head().seq, 5);
}

#[tokio::test]
async fn a_log_that_is_too_large_gives_way_and_its_pages_are_used_again() {
    let directory = TempDir::new().unwrap();
    let log = open(&directory);
    let keep = bytes("1M");
    let fill = async || {
        for number in 0..20 {
            log.append_own("test", &format!("{number}{}", "x".repeat(100_000)), now()).await.expect("stores");
        }
    };
    fill().await;
    assert!(round(keep, &log, now()).await.expect("deletes") > 5);
    let pages = log.pages().await.expect("reads");
    assert!(pages.used_bytes <= 1024 * 1024 && pages.reusable_bytes > 500_000, "{pages:?}");
    let all = pages.used_bytes + pages.reusable_bytes;
    for _ in 0..5 {
        fill().await;
        round(keep, &log, now()).await.expect("deletes");
    }
    let later = log.pages().await.expect("reads");
    assert!(later.used_bytes + later.reusable_bytes <= 2 * all, "{later:?} after {all}");
}

#[tokio::test]
async fn many_small_steps_delete_no_more_than_they_must() {
    let directory = TempDir::new().unwrap();
    let log = open(&directory);
    // In turn within a group, and so in order.
    for first in (0..2_500).step_by(100) {
        let age = days_ago(if first < 2_300 { 9 } else { 0 });
        let payloads: Vec<i64> = (first..first + 100).collect();
        join_all(payloads.iter().map(|number| log.append_own("test", number, age))).await;
    }
    assert_eq!(round(days(7), &log, now()).await.expect("deletes"), 2_300);
    let kept = kept(&log).await;
    assert_eq!(kept.first().map(|(seq, _)| *seq), Some(2_301));
    assert_eq!(kept.iter().filter(|(_, kind)| kind == kind::LOG_PRUNED).count(), 3);
}
