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
    let up = "ALTER TABLE events ADD COLUMN extra TEXT; SELECT nonsense;";
    let broken = [Migration { version: known(MIGRATIONS) + 1, name: "broken", up, then: None, down: "", loses: "" }];
    assert!(matches!(migrate(&mut connection, &broken, now()), Err(MigrateError::Sqlite(_))));
    assert_eq!(dump(&connection), before);
}

#[test]
fn a_newer_database_is_refused() {
    let mut connection = Connection::open_in_memory().unwrap();
    migrate(&mut connection, MIGRATIONS, now()).unwrap();
    connection.execute("INSERT INTO schema_migrations VALUES (7, 'of the future', 0)", []).unwrap();
    let refused = migrate(&mut connection, MIGRATIONS, now());
    assert!(matches!(refused, Err(MigrateError::Newer { found: 7, known: 3 })));
}

#[test]
fn every_migration_can_be_taken_back_and_applied_again() {
    let mut connection = Connection::open_in_memory().unwrap();
    let mut dumps = Vec::new();
    for last in 1..=MIGRATIONS.len() {
        migrate(&mut connection, &MIGRATIONS[..last], now()).unwrap();
        dumps.push(dump(&connection));
    }
    for last in (1..MIGRATIONS.len()).rev() {
        revert(&mut connection, MIGRATIONS, MIGRATIONS[last - 1].version).unwrap();
        assert_eq!(dump(&connection), dumps[last - 1]);
    }
    migrate(&mut connection, MIGRATIONS, now()).unwrap();
    assert_eq!(Some(&dump(&connection)), dumps.last());
}

#[test]
fn events_of_before_the_chain_are_linked() {
    let mut connection = Connection::open_in_memory().unwrap();
    migrate(&mut connection, &MIGRATIONS[..1], now()).unwrap();
    for seq in 1..=3_u8 {
        let insert = "INSERT INTO events VALUES (?1, ?2, 'test', NULL, NULL, 'tests', 0, 1, '{}')";
        connection.execute(insert, params![seq, [seq; 16]]).unwrap();
    }
    migrate(&mut connection, MIGRATIONS, now()).unwrap();
    let mut statement = connection.prepare(&format!("SELECT {COLUMNS}, link FROM events ORDER BY seq")).unwrap();
    let mut rows = statement.query([]).unwrap();
    let mut link = Link::START;
    while let Some(row) = rows.next().unwrap() {
        link = link.then(Row::read(row).unwrap().digest());
        assert_eq!(Link::read(row.get_ref("link").unwrap()).unwrap(), link);
    }
    assert_ne!(link, Link::START);
}

#[test]
fn a_log_whose_beginning_was_deleted_is_linked_from_where_it_begins() {
    let mut connection = Connection::open_in_memory().unwrap();
    migrate(&mut connection, &MIGRATIONS[..1], now()).unwrap();
    let insert = "INSERT INTO events VALUES (5, ?1, 'test', NULL, NULL, 'tests', 0, 1, '{}')";
    connection.execute(insert, [[5; 16]]).unwrap();
    migrate(&mut connection, MIGRATIONS, now()).unwrap();
    let start: u64 = connection.query_row("SELECT seq FROM start", [], |row| row.get(0)).unwrap();
    assert_eq!(start, 4);
}

#[test]
fn one_tasks_runs_are_found_by_their_key() {
    let mut connection = Connection::open_in_memory().unwrap();
    migrate(&mut connection, MIGRATIONS, now()).unwrap();
    let query = "EXPLAIN QUERY PLAN SELECT places FROM runs WHERE task_id = ?1 AND last > ?2 ORDER BY last";
    let plan: String = connection.query_row(query, params![[0_u8; 16], 0], |row| row.get(3)).unwrap();
    assert_eq!(plan, "SEARCH runs USING PRIMARY KEY (task_id=? AND last>?)");
}

#[test]
fn events_of_before_the_runs_are_in_runs_and_come_back_into_the_index() {
    let mut connection = Connection::open_in_memory().unwrap();
    migrate(&mut connection, &MIGRATIONS[..2], now()).unwrap();
    let insert = "INSERT INTO events VALUES (?1, ?2, 'test', ?3, NULL, 'tests', 0, 1, '{}', x'')";
    for seq in 1..=7_u8 {
        let task = (seq != 4).then_some([seq % 2; 16]);
        connection.execute(insert, params![seq, [seq; 16], task]).unwrap();
    }
    migrate(&mut connection, MIGRATIONS, now()).unwrap();
    let mut statement = connection.prepare("SELECT task_id, last, places FROM runs").unwrap();
    let row =
        |row: &rusqlite::Row<'_>| Ok((row.get::<_, [u8; 16]>(0)?, row.get::<_, u64>(1)?, row.get::<_, Vec<u8>>(2)?));
    let runs: Vec<_> = statement.query_map([], row).unwrap().map(Result::unwrap).collect();
    drop(statement);
    let places: Vec<_> = runs.iter().map(|(_, _, places)| postings::unpack(places).unwrap()).collect();
    assert_eq!((runs[0].0, runs[0].1, runs[1].0, runs[1].1), ([0; 16], 6, [1; 16], 7));
    assert_eq!(places, [vec![2, 6], vec![1, 3, 5, 7]]);
    revert(&mut connection, MIGRATIONS, 2).unwrap();
    let query = "EXPLAIN QUERY PLAN SELECT * FROM events WHERE seq > ?1 AND task_id = ?2 ORDER BY seq LIMIT 10";
    let plan: String = connection.query_row(query, params![0, [0_u8; 16]], |row| row.get(3)).unwrap();
    assert!(plan.contains("events_by_task (task_id=? AND seq>?)"), "{plan}");
}
