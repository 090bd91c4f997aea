//! Schema versions (row TEL-1): each migration runs in one transaction together
//! with its version's row, once, in order; a database that is newer than the
//! program is refused; each migration has a way back.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use sqlx::AssertSqlSafe;

use crate::{Ctx, Error, Inner, Result, Sql, Tx, execute, fetch_all, plans, wall};

/// One step of the schema, in both dialects and both directions.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// Time-ordered: `YYYYMMDDhhmmss_slice_what`.
    pub name: &'static str,
    /// The way forward.
    pub up: Sql,
    /// The way back.
    pub down: Sql,
}

/// Reads a migration of the calling package from `migrations/{sqlite,postgres}/NAME.sql` and `NAME.down.sql`.
#[macro_export]
macro_rules! migration {
    ($name:literal) => {
        $crate::Migration {
            name: $name,
            up: $crate::Sql {
                sqlite: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/sqlite/", $name, ".sql")),
                postgres: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/postgres/", $name, ".sql")),
            },
            down: $crate::Sql {
                sqlite: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/sqlite/", $name, ".down.sql")),
                postgres: include_str!(concat!(
                    env!("CARGO_MANIFEST_DIR"),
                    "/migrations/postgres/",
                    $name,
                    ".down.sql"
                )),
            },
        }
    };
}

/// The database was made by a newer program.
#[derive(Debug, thiserror::Error)]
#[error("the database is newer than this program (it has {0}); install the newer version again")]
pub struct NewerDatabase(pub String);

/// Two servers that start at once must not both migrate.
const LOCK: i64 = 7_600;

crate::sql! {
    CREATE_VERSIONS: "CREATE TABLE IF NOT EXISTS schema_migrations (name TEXT NOT NULL PRIMARY KEY, applied_at TEXT NOT NULL) STRICT",
        postgres "CREATE TABLE IF NOT EXISTS schema_migrations (name TEXT NOT NULL PRIMARY KEY, applied_at TIMESTAMPTZ NOT NULL)";
    APPLIED: "SELECT name FROM schema_migrations";
    RECORD: "INSERT INTO schema_migrations (name, applied_at) VALUES ($1, $2)";
    FORGET: "DELETE FROM schema_migrations WHERE name = $1";
}

/// Brings the schema up to date; gives how many steps that took.
pub async fn migrate(ctx: &Ctx, migrations: &[Migration]) -> Result<usize> {
    let mut tx = ctx.of_maintenance().begin("kernel.migrate").await?;
    tx.alone(LOCK).await?;
    let made = make(&mut tx, migrations, ctx.now()).await?;
    tx.commit(made).await
}

/// Brings the schema up to date within a transaction.
pub(crate) async fn make(tx: &mut Tx, migrations: &[Migration], now: DateTime<Utc>) -> Result<usize> {
    execute!(tx, CREATE_VERSIONS)?;
    if let Some(unknown) = unknown(tx, migrations).await? {
        return Err(Error::Internal(NewerDatabase(unknown).into()));
    }
    let applied = applied(tx).await?;
    let mut ordered: Vec<&Migration> = migrations.iter().filter(|m| !applied.contains(m.name)).collect();
    ordered.sort_by_key(|migration| migration.name);
    if !ordered.is_empty() {
        wall::store::raze(tx).await?;
    }
    for migration in &ordered {
        script(tx, migration.up, migration.name).await?;
        record(tx, migration.name, now).await?;
    }
    wall::store::build(tx).await?;
    plans::settle(tx).await?;
    Ok(ordered.len())
}

/// A step that the database has and this program does not know.
pub(crate) async fn unknown(tx: &mut Tx, migrations: &[Migration]) -> Result<Option<String>> {
    let known: BTreeSet<&str> = migrations.iter().map(|migration| migration.name).collect();
    Ok(applied(tx).await?.into_iter().find(|name| !known.contains(name.as_str())))
}

/// How the database's version differs from this program's.
pub(crate) async fn differences(tx: &mut Tx, migrations: &[Migration]) -> Result<Vec<String>> {
    let applied = applied(tx).await?;
    let missing = migrations.iter().filter(|migration| !applied.contains(migration.name));
    let mut differences: Vec<String> = missing.map(|migration| format!("it lacks {}", migration.name)).collect();
    if let Some(unknown) = unknown(tx, migrations).await? {
        differences.push(format!("it has {unknown}, which this program does not know"));
    }
    Ok(differences)
}

/// Takes the newest steps back, down to and without the named one.
pub async fn revert(ctx: &Ctx, migrations: &[Migration], down_to: &str) -> Result<usize> {
    let mut tx = ctx.of_maintenance().begin("kernel.revert").await?;
    tx.alone(LOCK).await?;
    let applied = applied(&mut tx).await?;
    let mut ordered: Vec<&Migration> =
        migrations.iter().filter(|m| m.name > down_to && applied.contains(m.name)).collect();
    ordered.sort_by_key(|migration| std::cmp::Reverse(migration.name));
    wall::store::raze(&mut tx).await?;
    for migration in &ordered {
        script(&mut tx, migration.down, migration.name).await?;
        execute!(tx, FORGET, migration.name)?;
    }
    wall::store::build(&mut tx).await?;
    tx.commit(ordered.len()).await
}

async fn applied(tx: &mut Tx) -> Result<BTreeSet<String>> {
    let rows = fetch_all!(tx, (String,), APPLIED)?;
    Ok(rows.into_iter().map(|(name,)| name).collect())
}

async fn record(tx: &mut Tx, name: &'static str, now: DateTime<Utc>) -> Result<()> {
    execute!(tx, RECORD, name, now)?;
    Ok(())
}

/// Runs a script of several statements.
pub(crate) async fn script(tx: &mut Tx, sql: Sql, name: &str) -> Result<()> {
    let done = match tx.inner() {
        Inner::Sqlite(connection) => {
            sqlx::raw_sql(AssertSqlSafe(sql.sqlite)).execute(&mut **connection).await.map(drop)
        }
        Inner::Postgres(connection) => {
            sqlx::raw_sql(AssertSqlSafe(sql.postgres)).execute(&mut **connection).await.map(drop)
        }
    };
    done.map_err(|error| Error::Internal(anyhow::Error::new(error).context(format!("migration {name} failed"))))
}

#[cfg(test)]
mod tests;
