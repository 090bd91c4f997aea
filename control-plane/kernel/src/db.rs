//! The database: an embedded SQLite file, or Postgres. One writer and several
//! readers on SQLite; a pool of ten on Postgres (rows CAIRN-7, T-1.10a).

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};

use crate::journal::JournalFile;
use crate::plans::Renewal;
use crate::sqlite::Writer;
use crate::{Error, Journal, Result};

/// Bounds of the pool of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// Connections that are kept open even when nobody needs them.
    pub min: u32,
    /// The most connections held open.
    pub max: u32,
    /// Beyond the minimum, a connection that nobody has needed for so long is closed.
    pub idle_timeout: Duration,
    /// How long a request waits for a connection before it is refused.
    pub connection_timeout: Duration,
}

/// The pool on Postgres (row T-1.10a).
pub const POOL: Pool =
    Pool { min: 2, max: 10, idle_timeout: Duration::from_secs(30), connection_timeout: Duration::from_secs(5) };

/// Readers beside SQLite's one writer.
const READERS: u32 = 4;
/// A connection to Postgres that was idle for longer is tried before it is used.
const IDLE_TRUSTED: Duration = Duration::from_secs(1);
/// Transactions of one kind that write at once: some compute while the disk has others, and of the two kinds that
/// come often none takes the pool from everybody else.
const WRITERS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(2);
/// For what must not wait for the pool: the lease of the lead, wake-up calls between control planes.
const CONNECTIONS_APART: u32 = 2;
/// A transaction whose control plane stands still gives its locks back after so long.
const IDLE_IN_TRANSACTION: &str = "30s";
/// How Postgres finds rows for statements that stay prepared. Left to itself it plans one anew each time, which takes
/// longer than to carry it out, or plans it for good after its fifth use, and a plan that was good for a table of five
/// rows reads all of it, or hashes all of it, when it has a million. So each is planned once, without values, and by an
/// index: each statement of ours has one to go by; what has none still reads its table, as there is no other way. Such a
/// plan counts as so dear that Postgres would compile it, each time, which takes a hundred times as long as to read a
/// small table. (`crate::plans` does the same on SQLite.)
const PLANS: [(&str, &str); 5] = [
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
    ("plan_cache_mode", "force_generic_plan"),
];
/// Statements that each connection keeps prepared: more than there are.
const STATEMENTS: usize = 1_000;
/// Pages of journal after which a commit folds it into the database: 16 MiB. A page that many commits changed
/// is then copied once, and fewer commits wait for the copying.
const JOURNAL_PAGES: u32 = 4_000;
/// Kibibytes of pages that each connection to SQLite keeps in memory.
const CACHE_KIB: u32 = 8 * 1024;

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
        writer: Writer,
        /// Several that cannot write.
        reader: SqlitePool,
        /// Puts on disk what the writer has committed.
        journal: Journal,
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
        Self::open_sqlite_with(path, || {
            let mut file = JournalFile::open(path)?;
            Journal::start(move || file.sync())
        })
        .await
    }

    /// With a journal that is opened once the file's is there.
    pub(crate) async fn open_sqlite_with(
        path: &Path,
        open_journal: impl FnOnce() -> std::io::Result<Journal>,
    ) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A 2xx promises that the state survives a power cut: `Tx::commit` waits for the journal's sync.
            .synchronous(SqliteSynchronous::Normal)
            .foreign_keys(true)
            .busy_timeout(POOL.connection_timeout)
            .statement_cache_capacity(STATEMENTS)
            .pragma("cache_size", format!("-{CACHE_KIB}"))
            .pragma("wal_autocheckpoint", JOURNAL_PAGES.to_string())
            .pragma("temp_store", "MEMORY")
            .disable_statement_logging();
        let writer = Writer::connect(&options, POOL.connection_timeout).await.map_err(unavailable)?;
        // The first transaction makes the journal's file.
        writer.begin().await.map_err(unavailable)?.commit().await.map_err(unavailable)?;
        let journal = open_journal().map_err(|error| unavailable(error.into()))?;
        let reader = SqlitePoolOptions::new()
            .max_connections(READERS)
            .min_connections(0)
            .acquire_timeout(POOL.connection_timeout)
            .test_before_acquire(false)
            .connect_lazy_with(options.pragma("query_only", "ON"));
        Ok(Self::Sqlite { writer, reader, journal })
    }

    async fn open_postgres(url: &str) -> Result<Self> {
        let options = PgConnectOptions::from_str(url)
            .map_err(unavailable)?
            .application_name("bifrost-control")
            .options([("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION)])
            .options(PLANS)
            .statement_cache_capacity(STATEMENTS)
            .disable_statement_logging();
        let renewal = Arc::new(Renewal::new(POOL.max));
        let pool = PgPoolOptions::new()
            .min_connections(POOL.min)
            .max_connections(POOL.max)
            .idle_timeout(POOL.idle_timeout)
            .acquire_timeout(POOL.connection_timeout)
            .test_before_acquire(false)
            .before_acquire(move |connection, about| {
                let forgets = renewal.is_due();
                Box::pin(async move {
                    if forgets {
                        connection.execute("DISCARD PLANS").await?;
                    } else if about.idle_for > IDLE_TRUSTED {
                        // One that was of use a moment ago still is; asking would cost as much as a statement.
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_with(options)
            .await
            .map_err(unavailable)?;
        Ok(Self::Postgres(pool))
    }

    /// How many transactions that write it is worth to have open at once, of one kind.
    pub fn writers(&self) -> NonZeroUsize {
        match self {
            Self::Sqlite { .. } => NonZeroUsize::MIN,
            Self::Postgres(_) => WRITERS,
        }
    }

    /// The same database on a few connections of its own, where it has several; made when they are needed.
    pub(crate) fn apart(&self) -> Self {
        let Self::Postgres(pool) = self else { return self.clone() };
        let options = (*pool.connect_options()).clone();
        let few = PgPoolOptions::new().max_connections(CONNECTIONS_APART).acquire_timeout(POOL.connection_timeout);
        Self::Postgres(few.connect_lazy_with(options))
    }

    /// Waits until whatever can be read now would survive a power cut.
    pub async fn settle(&self) -> Result<()> {
        match self {
            Self::Sqlite { journal, .. } => journal.settle().await,
            Self::Postgres(_) => Ok(()),
        }
    }

    /// Closes every connection once the transactions in hand have ended (row T-1.10c).
    pub async fn close(&self) {
        let began = Instant::now();
        match self {
            Self::Sqlite { writer, reader, .. } => {
                reader.close().await;
                writer.close().await;
            }
            Self::Postgres(pool) => pool.close().await,
        }
        let waited_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(waited_ms, "the database's connections are drained and closed");
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
