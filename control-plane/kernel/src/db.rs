//! The database: an embedded SQLite file, or Postgres. One writer and several
//! readers on SQLite; a pool of ten on Postgres (row CAIRN-7).

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};

use crate::{Error, Result};

/// The most connections held open (row CAIRN-7).
const CONNECTIONS_MAX: u32 = 10;
/// Readers beside SQLite's one writer.
const READERS: u32 = 4;
/// How long a request waits for a connection before it is refused.
const ACQUIRE_LIMIT: Duration = Duration::from_secs(5);

/// Where the database is.
#[derive(Clone, PartialEq, Eq)]
pub enum Address {
    /// A file; made when it is not there.
    Sqlite(PathBuf),
    /// `postgres://…`; may hold a password, so it is never shown.
    Postgres(String),
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(path) => f.debug_tuple("Sqlite").field(path).finish(),
            Self::Postgres(_) => f.write_str("Postgres([secret])"),
        }
    }
}

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> std::result::Result<Self, BadAddress> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Postgres(text.to_owned()));
        }
        let path = text.strip_prefix("sqlite://").or_else(|| text.strip_prefix("sqlite:")).unwrap_or(text);
        if path.is_empty() || path.contains("://") { Err(BadAddress) } else { Ok(Self::Sqlite(path.into())) }
    }
}

/// The text is not a database's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a database address: use postgres://user@host/name or a file's path")]
pub struct BadAddress;

/// An open database.
#[derive(Debug, Clone)]
pub enum Db {
    /// The embedded file.
    Sqlite {
        /// One connection; every write goes through it.
        writer: SqlitePool,
        /// Several that cannot write.
        reader: SqlitePool,
    },
    /// A server.
    Postgres(PgPool),
}

impl Db {
    /// Connects, and makes the file where there is none. Applies no migration.
    pub async fn open(address: &Address) -> Result<Self> {
        match address {
            Address::Sqlite(path) => Self::open_sqlite(path).await,
            Address::Postgres(url) => Self::open_postgres(url).await,
        }
    }

    async fn open_sqlite(path: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A 2xx promises that the state survives a power cut.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(ACQUIRE_LIMIT)
            .disable_statement_logging();
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(ACQUIRE_LIMIT)
            .connect_with(options.clone())
            .await
            .map_err(unavailable)?;
        let reader = SqlitePoolOptions::new()
            .max_connections(READERS)
            .min_connections(0)
            .acquire_timeout(ACQUIRE_LIMIT)
            .connect_lazy_with(options.pragma("query_only", "ON"));
        Ok(Self::Sqlite { writer, reader })
    }

    async fn open_postgres(url: &str) -> Result<Self> {
        let options = PgConnectOptions::from_str(url).map_err(unavailable)?.application_name("bifrost-control");
        let options = options.disable_statement_logging();
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .acquire_timeout(ACQUIRE_LIMIT)
            .connect_with(options)
            .await
            .map_err(unavailable)?;
        Ok(Self::Postgres(pool))
    }

    /// Closes every connection once the transactions in hand have ended.
    pub async fn close(&self) {
        match self {
            Self::Sqlite { writer, reader } => {
                reader.close().await;
                writer.close().await;
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

fn unavailable(source: sqlx::Error) -> Error {
    Error::Unavailable { dependency: "the database", source: Box::new(source) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_postgres_url_or_a_path_and_never_shows_a_password() {
        let postgres: Address = "postgres://u:hunter2@h/d".parse().expect("reads");
        assert_eq!(format!("{postgres:?}"), "Postgres([secret])");
        assert_eq!("sqlite://a/b.db".parse(), Ok(Address::Sqlite("a/b.db".into())));
        assert_eq!("a/b.db".parse(), Ok(Address::Sqlite("a/b.db".into())));
        assert_eq!("mysql://h/d".parse::<Address>(), Err(BadAddress));
    }
}
