//! Schema versions: repeatable, all or nothing, never backwards (TEL-1).

use super::*;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).expect("in range")
}

fn dump(connection: &Connection) -> Vec<String> {
    let mut statement =
        connection.prepare("SELECT name || coalesce(sql, '') FROM sqlite_schema ORDER BY name").unwrap();
    let mut rows: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    rows.push(version(connection).unwrap().to_string());
    rows
}

#[test]
fn migrating_twice_changes_nothing() {
    let mut connection = Connection::open_in_memory().unwrap();
    migrate(&mut connection, MIGRATIONS, now()).unwrap();
    let first = dump(&connection);
    migrate(&mut connection, MIGRATIONS, now()).unwrap();
    assert_eq!(dump(&connection), first);
}

#[test]
fn the_events_table_has_the_columns_of_the_backlog_and_the_task() {
    let mut connection = Connection::open_in_memory().unwrap();
    migrate(&mut connection, MIGRATIONS, now()).unwrap();
    let mut statement = connection.prepare("SELECT name FROM pragma_table_info('events')").unwrap();
    let columns: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    for column in
        ["id", "type", "payload", "created_at", "seq", "task_id", "execution_id", "producer", "schema_version"]
    {
        assert!(columns.iter().any(|name| name == column), "{column} is missing in {columns:?}");
    }
}

#[test]
fn a_failing_migration_leaves_schema_and_version_untouched() {
    let mut connection = Connection::open_in_memory().unwrap();
    migrate(&mut connection, MIGRATIONS, now()).unwrap();
    let before = dump(&connection);
    let [first] = MIGRATIONS else { panic!("one migration") };
    let broken = [
        Migration { version: 1, name: first.name, sql: first.sql },
        Migration { version: 2, name: "broken", sql: "ALTER TABLE events ADD COLUMN extra TEXT; SELECT nonsense;" },
    ];
    assert!(matches!(migrate(&mut connection, &broken, now()), Err(MigrateError::Sqlite(_))));
    assert_eq!(dump(&connection), before);
}

#[test]
fn a_newer_database_is_refused() {
    let mut connection = Connection::open_in_memory().unwrap();
    migrate(&mut connection, MIGRATIONS, now()).unwrap();
    connection.execute("INSERT INTO schema_migrations VALUES (7, 'of the future', 0)", []).unwrap();
    let refused = migrate(&mut connection, MIGRATIONS, now());
    assert!(matches!(refused, Err(MigrateError::Newer { found: 7, known: 1 })));
}

#[test]
fn one_tasks_events_are_found_by_their_index() {
    let mut connection = Connection::open_in_memory().unwrap();
    migrate(&mut connection, MIGRATIONS, now()).unwrap();
    let query = "EXPLAIN QUERY PLAN SELECT * FROM events WHERE seq > ?1 AND task_id = ?2 ORDER BY seq LIMIT 10";
    let plan: String = connection.query_row(query, params![0, [0_u8; 16]], |row| row.get(3)).unwrap();
    assert!(plan.contains("events_by_task (task_id=? AND seq>?)"), "{plan}");
}
