//! The database's schema and its versions.
//!
//! Each migration runs in one transaction with the row that records it, so a
//! failing one leaves neither behind. A merged migration is never edited.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, TransactionBehavior, params};

/// One step from a version to the next.
pub(super) struct Migration {
    pub(super) version: u32,
    pub(super) name: &'static str,
    pub(super) sql: &'static str,
}

/// All steps, oldest first, numbered from 1 without gaps.
pub(super) const MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    name: "events",
    // Ids are the 16 bytes of a UUID; times are microseconds since 1970.
    sql: "
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
}];

const CREATE_VERSIONS: &str = "
    CREATE TABLE IF NOT EXISTS schema_migrations (
        version INTEGER PRIMARY KEY,
        name TEXT NOT NULL,
        applied_at INTEGER NOT NULL
    ) STRICT";

/// Why the schema is not up to date.
#[derive(Debug)]
pub(super) enum MigrateError {
    Newer { found: u32, known: u32 },
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for MigrateError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Applies what is missing; again, it changes nothing. A newer database is left alone.
pub(super) fn migrate(
    connection: &mut Connection,
    migrations: &[Migration],
    now: DateTime<Utc>,
) -> Result<(), MigrateError> {
    connection.execute(CREATE_VERSIONS, [])?;
    let known = migrations.last().map_or(0, |migration| migration.version);
    let found = version(connection)?;
    if found > known {
        return Err(MigrateError::Newer { found, known });
    }
    for migration in migrations.iter().filter(|migration| migration.version > found) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(migration.sql)?;
        transaction.execute(
            "INSERT INTO schema_migrations (version, name, applied_at) VALUES (?1, ?2, ?3)",
            params![migration.version, migration.name, now.timestamp_micros()],
        )?;
        transaction.commit()?;
        tracing::info!(version = migration.version, name = migration.name, "migrated the event database");
    }
    Ok(())
}

fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.query_row("SELECT coalesce(max(version), 0) FROM schema_migrations", [], |row| row.get(0))
}

#[cfg(test)]
mod tests;
