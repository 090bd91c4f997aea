//! The three ways against a table like the store's.

use tempfile::TempDir;

use super::*;
use crate::events::records::Source;

/// The shape of the store's table, with a column of its own beside the event's.
const TABLE: &str = "
    CREATE TABLE events (
        seq INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, type TEXT NOT NULL, task_id BLOB, execution_id BLOB,
        producer TEXT NOT NULL, created_at INTEGER NOT NULL, schema_version INTEGER NOT NULL, payload TEXT NOT NULL,
        link BLOB NOT NULL
    ) STRICT";

#[track_caller]
fn check(way: System, batch: usize) {
    let directory = TempDir::new().unwrap();
    let database = directory.path().join("events.db");
    open(&database).unwrap().execute_batch(TABLE).unwrap();
    let mut source = Source::new(3);
    let records = source.records(40);
    let case = Case { name: "a case", connections: 4, batch };
    let bare = Bare { database: &database, payload: source.payload() };
    let outcome = bare.write(way, case, &records, Duration::from_secs(60), &Tasks::new()).unwrap();
    assert_eq!((outcome.sent, outcome.refusal), (40 / batch, None), "{way:?}");
    assert_eq!(outcome.latencies.len(), 40 / batch, "{way:?}");
    let connection = open(&database).unwrap();
    let mut statement = connection.prepare("SELECT id FROM events ORDER BY id").unwrap();
    let stored = statement.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap();
    let mut expect: Vec<_> = records.iter().map(|record| record.id.uuid().as_bytes().to_vec()).collect();
    expect.sort_unstable();
    assert_eq!(stored.collect::<Result<Vec<_>, _>>().unwrap(), expect, "{way:?}");
}

#[test]
fn every_way_stores_every_row_once() {
    for way in [System::SqliteGrouped, System::SqliteShared, System::SqliteEach] {
        check(way, 1);
        check(way, 10);
    }
}

#[test]
fn a_row_that_is_refused_is_counted() {
    let directory = TempDir::new().unwrap();
    let database = directory.path().join("events.db");
    open(&database).unwrap().execute_batch(TABLE).unwrap();
    let mut source = Source::new(1);
    let record = source.records(1)[0];
    let case = Case { name: "a case", connections: 1, batch: 1 };
    let bare = Bare { database: &database, payload: source.payload() };
    let written = bare.write(System::SqliteGrouped, case, &[record; 2], Duration::from_secs(60), &Tasks::new());
    let outcome = written.unwrap();
    assert_eq!((outcome.sent, outcome.refused), (2, 1));
    assert_eq!(outcome.refusal.as_deref(), Some("UNIQUE constraint failed: events.id"));
}
