//! The database's schema and its versions.
//!
//! Each migration runs in one transaction with the row that records it, so a
//! failing one leaves neither behind; the same holds for going back. A merged
//! migration is never edited.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::chain::Link;
use super::entry::{COLUMNS, Row};
use super::postings;

/// One step from a version to the next, and back.
pub(crate) struct Migration {
    pub(crate) version: u32,
    pub(crate) name: &'static str,
    pub(crate) up: &'static str,
    /// What SQL cannot say, behind `up`.
    pub(crate) then: Option<fn(&Transaction<'_>) -> rusqlite::Result<()>>,
    pub(crate) down: &'static str,
    /// What is gone once it is taken back, for the person who is asked.
    pub(crate) loses: &'static str,
}

/// All steps, oldest first, numbered from 1 without gaps.
pub(crate) const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "events",
        // Ids are the 16 bytes of a UUID; times are microseconds since 1970.
        up: "
            CREATE TABLE events (
                seq INTEGER PRIMARY KEY,
                id BLOB NOT NULL UNIQUE,
                type TEXT NOT NULL,
                task_id BLOB,
                execution_id BLOB,
                producer TEXT NOT NULL,
                created_at INTEGER NOT NULL,
                schema_version INTEGER NOT NULL,
                payload TEXT NOT NULL
            ) STRICT;
            CREATE INDEX events_by_task ON events (task_id, seq) WHERE task_id IS NOT NULL;
        ",
        then: None,
        down: "DROP TABLE events",
        loses: "every event",
    },
    Migration {
        version: 2,
        name: "chain",
        // `start` has a row once old events were deleted: the place and the link before the first that is left.
        up: "
            ALTER TABLE events ADD COLUMN link BLOB NOT NULL DEFAULT x'';
            CREATE TABLE start (
                one INTEGER PRIMARY KEY CHECK (one = 1),
                seq INTEGER NOT NULL,
                link BLOB NOT NULL
            ) STRICT;
        ",
        then: Some(link_all),
        down: "DROP TABLE start; ALTER TABLE events DROP COLUMN link",
        loses: "the hash chain, and with it every way to tell whether the log was changed in the meantime",
    },
    Migration {
        version: 3,
        name: "runs",
        // See `postings`; a row is named by the last of its places.
        up: "
            CREATE TABLE runs (
                task_id BLOB NOT NULL,
                last INTEGER NOT NULL,
                places BLOB NOT NULL,
                PRIMARY KEY (task_id, last)
            ) STRICT, WITHOUT ROWID;
        ",
        then: Some(index_in_runs),
        down: "
            DROP TABLE runs;
            CREATE INDEX events_by_task ON events (task_id, seq) WHERE task_id IS NOT NULL;
        ",
        loses: "nothing; writing becomes slower",
    },
];

const CREATE_VERSIONS: &str = "
    CREATE TABLE IF NOT EXISTS schema_migrations (
        version INTEGER PRIMARY KEY,
        name TEXT NOT NULL,
        applied_at INTEGER NOT NULL
    ) STRICT";

/// Why the schema is not at the wanted version.
#[derive(Debug)]
pub(crate) enum MigrateError {
    Newer { found: u32, known: u32 },
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for MigrateError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// The version that a database has when all migrations were applied.
pub(crate) const fn known(migrations: &[Migration]) -> u32 {
    match migrations.last() {
        Some(last) => last.version,
        None => 0,
    }
}

/// Applies what is missing; again, it changes nothing. A newer database is left alone.
pub(crate) fn migrate(
    connection: &mut Connection,
    migrations: &[Migration],
    now: DateTime<Utc>,
) -> Result<(), MigrateError> {
    let found = check(connection, migrations)?;
    for migration in migrations.iter().filter(|migration| migration.version > found) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(migration.up)?;
        if let Some(then) = migration.then {
            then(&transaction)?;
        }
        transaction.execute(
            "INSERT INTO schema_migrations (version, name, applied_at) VALUES (?1, ?2, ?3)",
            params![migration.version, migration.name, now.timestamp_micros()],
        )?;
        transaction.commit()?;
        tracing::info!(version = migration.version, name = migration.name, "migrated the event database");
    }
    Ok(())
}

/// Takes back every migration above `target`, newest first, for an older program to open the
/// database. What those migrations added is gone.
pub(crate) fn revert(connection: &mut Connection, migrations: &[Migration], target: u32) -> Result<(), MigrateError> {
    let found = check(connection, migrations)?;
    for migration in migrations.iter().rev().filter(|migration| (target + 1..=found).contains(&migration.version)) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(migration.down)?;
        transaction.execute("DELETE FROM schema_migrations WHERE version = ?1", [migration.version])?;
        transaction.commit()?;
        tracing::info!(
            version = migration.version,
            name = migration.name,
            "took back a migration of the event database"
        );
    }
    Ok(())
}

/// The version found, unless this program does not know it.
pub(crate) fn check(connection: &Connection, migrations: &[Migration]) -> Result<u32, MigrateError> {
    connection.execute(CREATE_VERSIONS, [])?;
    let (found, known) = (version(connection)?, known(migrations));
    if found > known { Err(MigrateError::Newer { found, known }) } else { Ok(found) }
}

pub(crate) fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.query_row("SELECT coalesce(max(version), 0) FROM schema_migrations", [], |row| row.get(0))
}

/// Gives every event that was stored before there was a chain its link.
fn link_all(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let mut events = transaction.prepare(&format!("SELECT {COLUMNS} FROM events ORDER BY seq"))?;
    let mut store = transaction.prepare("UPDATE events SET link = ?2 WHERE seq = ?1")?;
    let mut link = Link::START;
    let mut rows = events.query([])?;
    while let Some(row) = rows.next()? {
        let row = Row::read(row)?;
        if link == Link::START && row.seq > 1 {
            // The older ones were deleted, and with the chain, what is known of them.
            transaction.execute("INSERT INTO start VALUES (1, ?1, ?2)", params![row.seq - 1, link.as_bytes()])?;
        }
        link = link.then(row.digest());
        store.execute(params![row.seq, link.as_bytes()])?;
    }
    Ok(())
}

fn index_in_runs(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    postings::index_all(transaction)?;
    transaction.execute_batch("DROP INDEX events_by_task")
}

#[cfg(test)]
mod tests;
