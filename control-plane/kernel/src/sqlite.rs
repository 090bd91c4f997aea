//! Transactions on SQLite. The one connection that writes is handed from one transaction straight to the
//! next, in the order in which they asked; sqlx's pool would look after it in between, which takes
//! longer than most transactions.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqlitePool, SqliteTransactionManager};
use sqlx::{Connection as _, Error, SqlSafeStr as _, Sqlite};
use sqlx_core::transaction::TransactionManager as _;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// The connection that writes. Clones share it.
#[derive(Debug, Clone)]
pub struct Writer {
    connection: Arc<Mutex<Option<SqliteConnection>>>,
    acquire_limit: Duration,
}

impl Writer {
    pub(crate) async fn connect(options: &SqliteConnectOptions, acquire_limit: Duration) -> Result<Self, Error> {
        let connection = SqliteConnection::connect_with(options).await?;
        Ok(Self { connection: Arc::new(Mutex::new(Some(connection))), acquire_limit })
    }

    pub(crate) async fn begin(&self) -> Result<SqliteTransaction, Error> {
        let turn = tokio::time::timeout(self.acquire_limit, Arc::clone(&self.connection).lock_owned());
        let turn = turn.await.map_err(|_| Error::PoolTimedOut)?;
        if turn.is_none() {
            return Err(Error::PoolClosed);
        }
        // Plain BEGIN would fail with BUSY when two readers turn writers.
        SqliteTransaction::begin(Held::Writer(turn), "BEGIN IMMEDIATE").await
    }

    /// Waits for the transaction in hand and lets none begin after it.
    pub(crate) async fn close(&self) {
        if let Some(connection) = self.connection.lock().await.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "the database was not closed cleanly; the next start mends it");
        }
    }
}

/// A transaction; dropping it rolls it back.
#[derive(Debug)]
pub struct SqliteTransaction {
    connection: Held,
    is_open: bool,
}

#[derive(Debug)]
enum Held {
    Writer(OwnedMutexGuard<Option<SqliteConnection>>),
    Reader(PoolConnection<Sqlite>),
}

impl SqliteTransaction {
    /// One that only reads. It looks at once, so that the moment it sees is the one of its beginning.
    pub(crate) async fn read(pool: &SqlitePool) -> Result<Self, Error> {
        Self::begin(Held::Reader(pool.acquire().await?), "BEGIN; SELECT count(*) FROM sqlite_schema").await
    }

    async fn begin(mut connection: Held, statement: &'static str) -> Result<Self, Error> {
        SqliteTransactionManager::begin(&mut connection, Some(statement.into_sql_str())).await?;
        Ok(Self { connection, is_open: true })
    }

    pub(crate) async fn commit(mut self) -> Result<(), Error> {
        SqliteTransactionManager::commit(&mut self.connection).await?;
        self.is_open = false;
        Ok(())
    }
}

impl Drop for SqliteTransaction {
    fn drop(&mut self) {
        if self.is_open {
            SqliteTransactionManager::start_rollback(&mut self.connection);
        }
    }
}

impl Deref for SqliteTransaction {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.connection
    }
}

impl DerefMut for SqliteTransaction {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }
}

/// A closed connection begins no transaction, so whoever holds one holds an open one.
const OPEN: &str = "it was open when the transaction began";

impl Deref for Held {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        match self {
            Self::Writer(guard) => guard.as_ref().expect(OPEN),
            Self::Reader(connection) => connection,
        }
    }
}

impl DerefMut for Held {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        match self {
            Self::Writer(guard) => guard.as_mut().expect(OPEN),
            Self::Reader(connection) => connection,
        }
    }
}
