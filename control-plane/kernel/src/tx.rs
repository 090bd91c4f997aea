//! A transaction over either database. Committing writes what it has to tell the
//! outside and the audit, in one statement each, answers once all is on disk, and
//! fires the wake-up calls that were noted in it, in every control plane; dropping
//! it rolls everything back.

use std::time::Instant;

use sqlx::{AssertSqlSafe, Postgres, Transaction};

use crate::leader::{self, NotLeading};
use crate::sqlite::SqliteTransaction;
use crate::wall;
use crate::{Ctx, Db, Journal, Nudges, RequestScope, Result, audit, outbox};

/// A named transaction.
#[derive(Debug)]
pub struct Tx {
    inner: Inner,
    name: &'static str,
    began: Instant,
    nudges: Nudges,
    pending: Vec<&'static str>,
    told: Vec<outbox::store::Entry>,
    audited: Vec<audit::store::New>,
    /// Waited for by a commit that writes to SQLite.
    journal: Option<Journal>,
    /// The request that a commit of this is noted in.
    request: Option<RequestScope>,
    /// The epoch of the lead that must last until this is committed.
    epoch: Option<i64>,
}

/// The transaction of one of the databases; the macros of this package look inside.
#[derive(Debug)]
pub enum Inner {
    /// On the embedded file.
    Sqlite(SqliteTransaction),
    /// On a server.
    Postgres(Transaction<'static, Postgres>),
}

impl Tx {
    pub(crate) async fn begin(ctx: &Ctx, name: &'static str) -> Result<Self> {
        let request = RequestScope::current();
        let (inner, journal) = match &ctx.db {
            Db::Sqlite { writer, journal, .. } => {
                journal.check()?;
                (Inner::Sqlite(writer.begin().await?), Some(journal.clone()))
            }
            Db::Postgres(pool) => {
                (Inner::Postgres(pool.begin_with(AssertSqlSafe(wall::begin("BEGIN", ctx))).await?), None)
            }
        };
        if let Some(request) = &request {
            request.sees();
        }
        Ok(Self { journal, request, epoch: ctx.epoch(), ..Self::new(inner, ctx, name) })
    }

    /// Outside of a request what was read is on disk when this returns: something may be done on the strength
    /// of it. A request waits for that once, before it is answered.
    pub(crate) async fn read(ctx: &Ctx, name: &'static str) -> Result<Self> {
        let request = RequestScope::current();
        let inner = match &ctx.db {
            Db::Sqlite { reader, journal, .. } => {
                journal.check()?;
                let transaction = SqliteTransaction::read(reader).await?;
                if request.is_none() {
                    journal.settle().await?;
                }
                Inner::Sqlite(transaction)
            }
            Db::Postgres(pool) => {
                let begin = wall::begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", ctx);
                Inner::Postgres(pool.begin_with(AssertSqlSafe(begin)).await?)
            }
        };
        if let Some(request) = request {
            request.sees();
        }
        Ok(Self::new(inner, ctx, name))
    }

    fn new(inner: Inner, ctx: &Ctx, name: &'static str) -> Self {
        Self {
            inner,
            name,
            began: Instant::now(),
            nudges: ctx.nudges.clone(),
            pending: Vec::new(),
            told: Vec::new(),
            audited: Vec::new(),
            journal: None,
            request: None,
            epoch: None,
        }
    }

    /// Waits until no other transaction holds the same lock, then holds it to the end. For decisions
    /// over many rows, which row locks cannot guard; on SQLite the writer is alone anyway.
    pub async fn alone(&mut self, lock: i64) -> Result<()> {
        if let Inner::Postgres(connection) = &mut self.inner {
            sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(lock).execute(&mut **connection).await?;
        }
        Ok(())
    }

    /// For the macros of this package.
    pub fn inner(&mut self) -> &mut Inner {
        &mut self.inner
    }

    /// Notes a wake-up call that is due once this is committed.
    pub fn nudge(&mut self, name: &'static str) {
        if !self.pending.contains(&name) {
            self.pending.push(name);
        }
    }

    /// Notes what the outside must learn once this is committed.
    pub(crate) fn tell(&mut self, entry: outbox::store::Entry) {
        self.told.push(entry);
    }

    /// Notes a change for the audit.
    pub(crate) fn audit(&mut self, row: audit::store::New) {
        self.audited.push(row);
    }

    /// Makes everything true at once and, when it is on disk, gives the value back.
    pub async fn commit<T>(mut self, value: T) -> Result<T> {
        let (told, audited) = (std::mem::take(&mut self.told), std::mem::take(&mut self.audited));
        outbox::store::push_all(&mut self, &told).await?;
        audit::store::insert_all(&mut self, &audited).await?;
        if let Some(epoch) = self.epoch
            && !leader::store::is_still(&mut self, epoch).await?
        {
            return Err(NotLeading.into());
        }
        if let Some(journal) = &self.journal {
            journal.commit_begins();
        }
        match self.inner {
            Inner::Sqlite(transaction) => transaction.commit().await?,
            Inner::Postgres(transaction) => transaction.commit().await?,
        }
        let ticket = self.journal.as_ref().map(Journal::commit_ends);
        if let Some(request) = &self.request {
            request.commits();
        }
        // The connection is another's already.
        if let (Some(journal), Some(ticket)) = (&self.journal, ticket) {
            journal.wait(ticket).await?;
        }
        metrics::histogram!("db_transaction_seconds", "tx" => self.name).record(self.began.elapsed().as_secs_f64());
        for name in self.pending {
            self.nudges.nudge_everywhere(name);
        }
        Ok(value)
    }
}
