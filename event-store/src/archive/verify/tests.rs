//! Whatever is changed in a log is found, and by its number where it is an event's own.

use std::fs;
use std::path::PathBuf;

use kit::Chance;
use rusqlite::params;
use tempfile::TempDir;

use super::super::tests::{event, now, quiet, store_with};
use super::*;
use crate::log::DATABASE;
use crate::log::schema::{self, MIGRATIONS};

const EVENTS: u64 = 60;

/// A closed log, some of whose payloads take pages of their own.
fn log() -> (TempDir, PathBuf) {
    let data = store_with((1..=EVENTS).map(|number| {
        let padding = "x".repeat(if number % 10 == 0 { 9_000 } else { 40 * number as usize });
        event(number, &format!("{{\"number\": \"<{number}>\", \"padding\": \"{padding}\"}}"))
    }));
    let path = data.path().join(DATABASE);
    (data, path)
}

fn check(path: &Path, wanted: &Wanted) -> Report {
    quiet(|watch| verify(path, wanted, watch)).expect("can be looked at")
}

fn damage(path: &Path) -> Option<Damage> {
    check(path, &Wanted::whole()).damage
}

fn head_at(path: &Path, seq: u64) -> Head {
    let connection = Connection::open(path).expect("opens");
    Head { seq, link: link_at(&connection, seq).expect("reads").expect("is there") }
}

fn change(path: &Path, sql: &str) {
    Connection::open(path).expect("opens").execute_batch(sql).expect(sql);
}

/// Changes the log's content, then chains it anew as if nothing had happened.
fn rewrite(path: &Path, sql: &str) {
    change(path, sql);
    let mut connection = Connection::open(path).expect("opens");
    schema::revert(&mut connection, MIGRATIONS, CHAINED - 1).expect("reverts");
    schema::migrate(&mut connection, MIGRATIONS, now()).expect("migrates");
}

#[test]
fn a_log_verifies_from_its_start_and_from_any_head_of_it() {
    let (_data, path) = log();
    let newest = head_at(&path, EVENTS);
    assert_eq!(check(&path, &Wanted::whole()), Report { events: EVENTS, head: newest, damage: None });
    for seq in [1, 17, EVENTS] {
        let since = Wanted { since: Some(head_at(&path, seq)), ..Wanted::default() };
        assert_eq!(check(&path, &since), Report { events: EVENTS - seq, head: newest, damage: None });
        let kept = Wanted { heads: vec![newest, Head::START, head_at(&path, seq)], ..Wanted::default() };
        assert_eq!(check(&path, &kept), Report { events: EVENTS, head: newest, damage: None });
    }
}

#[test]
fn a_running_stores_log_is_verified_beside_it() {
    let data = TempDir::new().expect("a directory");
    super::super::tests::while_running(data.path(), |append| {
        append((1..=20).map(|number| event(number, "{}")).collect());
        let report = check(&data.path().join(DATABASE), &Wanted::whole());
        assert_eq!((report.events, report.damage), (20, None));
    });
}

#[test]
fn any_changed_field_of_an_event_names_the_event() {
    for change_one in [
        "id = x'00112233445566778899aabbccddeeff'",
        "type = 'other'",
        "task_id = NULL",
        "execution_id = id",
        "producer = 'tests '",
        "created_at = created_at + 1",
        "schema_version = 2",
        "payload = payload || ' '",
        "link = zeroblob(32)",
        "link = x''",
    ] {
        let (_data, path) = log();
        change(&path, &format!("UPDATE events SET {change_one} WHERE seq = 17"));
        assert_eq!(damage(&path).and_then(|damage| damage.seq()), Some(17), "{change_one}");
    }
}

#[test]
fn a_missing_event_is_named() {
    for (seq, found) in [(1, 2), (17, 18), (EVENTS - 1, EVENTS)] {
        let (_data, path) = log();
        change(&path, &format!("DELETE FROM events WHERE seq = {seq}"));
        assert_eq!(damage(&path), Some(Damage::Gap { seq, found }));
    }
}

#[test]
fn only_a_kept_head_shows_that_events_were_cut_off() {
    let (_data, path) = log();
    let kept = head_at(&path, EVENTS);
    change(&path, "DELETE FROM events WHERE seq > 50");
    assert_eq!(damage(&path), None);
    let cut_off = Some(Damage::CutOff { seq: EVENTS, newest: 50 });
    assert_eq!(check(&path, &Wanted { heads: vec![kept], ..Wanted::default() }).damage, cut_off);
    assert_eq!(check(&path, &Wanted { since: Some(kept), ..Wanted::default() }).damage, cut_off);
}

#[test]
fn a_head_whose_event_is_missing_is_a_gap() {
    let (_data, path) = log();
    let since = Wanted { since: Some(head_at(&path, 17)), ..Wanted::default() };
    change(&path, "DELETE FROM events WHERE seq = 17");
    assert_eq!(check(&path, &since).damage, Some(Damage::Gap { seq: 17, found: 18 }));
}

#[test]
fn only_a_kept_head_shows_a_history_that_was_rewritten() {
    let (_data, path) = log();
    let (before, after) = (head_at(&path, 16), head_at(&path, 40));
    rewrite(&path, "UPDATE events SET payload = '{}' WHERE seq = 17");
    assert_eq!(damage(&path), None);
    let rewritten = Some(Damage::Rewritten { seq: 40 });
    assert_eq!(check(&path, &Wanted { heads: vec![after], ..Wanted::default() }).damage, rewritten);
    assert_eq!(check(&path, &Wanted { since: Some(after), ..Wanted::default() }).damage, rewritten);
    assert_eq!(check(&path, &Wanted { heads: vec![before], ..Wanted::default() }).damage, None);
}

#[test]
fn a_log_whose_old_events_were_deleted_verifies_from_what_is_left() {
    let (_data, path) = log();
    let (deleted, last_deleted, kept) = (head_at(&path, 9), head_at(&path, 10), head_at(&path, 11));
    let connection = Connection::open(&path).expect("opens");
    let insert = "INSERT INTO start (one, seq, link) VALUES (1, 10, ?1)";
    connection.execute(insert, params![last_deleted.link.as_bytes()]).expect("inserts");
    connection.execute("DELETE FROM events WHERE seq <= 10", []).expect("deletes");
    drop(connection);
    let held = |head| check(&path, &Wanted { heads: vec![head], with_pages: true, since: None });
    for head in [kept, last_deleted] {
        let report = held(head);
        assert_eq!((report.events, report.damage), (EVENTS - 10, None));
    }
    let too_old = Some(Damage::HeadTooOld { seq: 9, start: 10 });
    assert_eq!(held(deleted).damage, too_old);
    assert_eq!(check(&path, &Wanted { since: Some(deleted), ..Wanted::default() }).damage, too_old);
    change(&path, "UPDATE start SET link = zeroblob(32)");
    assert_eq!(held(kept).damage, Some(Damage::Link { seq: 11 }));
}

/// Every value of every row, or nothing where they cannot all be read.
fn rows(path: &Path) -> Option<Vec<String>> {
    let connection = Connection::open(path).ok()?;
    let sql = "SELECT format('%d|%Q|%Q|%Q|%Q|%Q|%d|%d|%Q|%Q', seq, hex(id), type, hex(task_id), hex(execution_id),
        producer, created_at, schema_version, hex(payload), hex(link)) FROM events ORDER BY seq";
    let mut statement = connection.prepare(sql).ok()?;
    statement.query_map([], |row| row.get(0)).ok()?.collect::<rusqlite::Result<_>>().ok()
}

/// What verifying finds after a flip at each place of the file that has these bytes, where rows then are the same or not.
fn flips(path: &Path, text: &[u8], flip: u8, is_same: bool) -> Vec<Report> {
    let (bytes, stored) = (fs::read(path).expect("reads"), rows(path));
    let mut reports = Vec::new();
    for at in (0..bytes.len()).filter(|at| bytes[*at..].starts_with(text)) {
        let mut flipped = bytes.clone();
        flipped[at + 1] ^= flip;
        fs::write(path, flipped).expect("writes");
        if (rows(path) == stored) == is_same {
            reports.push(check(path, &Wanted::whole()));
            reports.extend(is_same.then(|| check(path, &Wanted::default())));
        }
    }
    fs::write(path, bytes).expect("writes");
    reports
}

#[test]
fn a_flipped_byte_of_a_payload_names_its_event() {
    let (_data, path) = log();
    for number in 1..=EVENTS {
        for flip in [1, 0x80] {
            let reports = flips(&path, format!("<{number}>").as_bytes(), flip, false);
            let named: Vec<_> =
                reports.into_iter().map(|report| report.damage.and_then(|damage| damage.seq())).collect();
            assert_eq!(named, [Some(number)], "{number} ^ {flip}");
        }
    }
}

#[test]
fn an_id_that_only_its_index_has_otherwise_is_found_unless_pages_are_left_out() {
    let (_data, path) = log();
    let reports = flips(&path, event(17, "").id.uuid().as_bytes(), 0x40, true);
    let damages: Vec<_> = reports.into_iter().map(|report| report.damage).collect();
    assert!(matches!(damages[..], [Some(Damage::Structure { .. }), None]), "{damages:?}");
}

#[test]
fn no_flipped_byte_that_changes_an_event_goes_unseen() {
    let (_data, path) = log();
    let (bytes, stored, chance) = (fs::read(&path).expect("reads"), rows(&path).expect("reads"), Chance::seeded(3));
    let anywhere = (0..400).map(|_| chance.below(bytes.len() as u64) as usize);
    let in_page_headers = (0..bytes.len()).step_by(4_096).flat_map(|page| page..page + 12);
    let mut seen = 0;
    for at in anywhere.chain(in_page_headers).collect::<Vec<_>>() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << chance.below(8);
        fs::write(&path, flipped).expect("writes");
        // A schema version of the future is the one change that is refused as such.
        let found = quiet(|watch| verify(&path, &Wanted::whole(), watch)).map(|report| report.damage);
        if rows(&path).as_ref() != Some(&stored) {
            assert!(!matches!(found, Ok(None)), "a flip at byte {at} changed an event unseen");
            seen += 1;
        }
    }
    assert!(seen > 300, "only {seen} flips changed anything");
}

#[test]
fn a_file_that_was_cut_short_or_is_none_is_said_so() {
    let (_data, path) = log();
    let bytes = fs::read(&path).expect("reads");
    for length in [1, 100, 4_096, 8_192, bytes.len() / 2, bytes.len() - 4_096, bytes.len() - 1] {
        fs::write(&path, &bytes[..length]).expect("writes");
        assert_ne!(damage(&path), None, "{length}");
    }
    fs::write(&path, "no database at all, but a text that is a good deal longer than a hundred bytes. ".repeat(9))
        .expect("writes");
    assert!(matches!(damage(&path), Some(Damage::Unreadable { .. })));
}

#[test]
fn a_page_that_cannot_be_read_names_the_events_around_it() {
    let (_data, path) = log();
    let bytes = fs::read(&path).expect("reads");
    let text = b"<17>";
    let at = bytes.windows(text.len()).position(|window| window == text).expect("is in the file");
    let mut zeroed = bytes.clone();
    zeroed[at / 4_096 * 4_096..(at / 4_096 + 1) * 4_096].fill(0);
    fs::write(&path, zeroed).expect("writes");
    match damage(&path) {
        Some(Damage::Pages { seq, next: Some(next), .. }) => assert!(seq <= 17 && 17 < next, "{seq} to {next}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_log_of_before_the_chain_is_refused_with_the_cure() {
    let (_data, path) = log();
    let mut connection = Connection::open(&path).expect("opens");
    schema::revert(&mut connection, MIGRATIONS, CHAINED - 1).expect("reverts");
    drop(connection);
    let refused = quiet(|watch| verify(&path, &Wanted::whole(), watch));
    assert!(matches!(refused, Err(Error::Unchained { found: 1, .. })), "{refused:?}");
}
