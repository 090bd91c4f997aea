//! The one writer. Every request that waits when it begins a commit shares that
//! commit's sync; none is answered before it.
//!
//! While one group is being synced the next one gathers in the queue, so groups
//! grow with the load by themselves and no request waits for a timer.

use std::fs::File;
use std::time::Instant;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, TransactionBehavior, params};
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;
use wire::event::Receipt;

use super::AppendError;
use super::chain::{Head, Link};
use super::entry::{Batch, COLUMNS, NewEvent, Row};

const INSERT: &str = "
    INSERT INTO events (seq, id, type, task_id, execution_id, producer, created_at, schema_version, payload, link)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
    ON CONFLICT (id) DO NOTHING";
/// The log then begins behind this place, if it was there still.
const START_BEHIND: &str = "
    INSERT INTO start (one, seq, link) SELECT 1, seq, link FROM events WHERE seq = ?1
    ON CONFLICT (one) DO UPDATE SET seq = excluded.seq, link = excluded.link";
const PRUNE: &str = "DELETE FROM events WHERE seq <= ?1";
/// Only ever rows of the transaction that is still open.
const TAKE_BACK: &str = "DELETE FROM events WHERE seq > ?1";
/// Changes nothing, but unlike an update to the same values goes through the disk.
const PROBE: &str = "PRAGMA user_version = 0";

/// Something for the writer to do, and who waits for it.
pub(super) struct Job {
    pub(super) work: Work,
    pub(super) answer: oneshot::Sender<Answer>,
}

/// What there is to do.
pub(super) enum Work {
    /// Store these events, all or none.
    Append(Batch),
    /// Delete the oldest events up to a place, and store the record of it.
    Prune { through: u64, record: Batch },
    /// Write something, to see whether it can be done.
    Probe,
    /// Take no more work, and end when what was accepted is done.
    Close,
}

/// Receipts of what was appended; none for other work.
pub(super) type Answer = Result<Vec<Receipt>, AppendError>;

/// Owns the connection that writes.
pub(crate) struct Writer {
    connection: Connection,
    jobs: mpsc::Receiver<Job>,
    head: watch::Sender<Head>,
    /// Whether somebody else folds the journal into the database.
    leaves_journal: bool,
    /// Held, never read: while it lives no other process opens the log.
    _lock: File,
}

/// A transaction that is on disk.
struct Committed {
    head: Head,
    answers: Vec<Answer>,
}

impl Writer {
    pub(super) fn new(
        connection: Connection,
        jobs: mpsc::Receiver<Job>,
        lock: File,
    ) -> rusqlite::Result<(Self, watch::Receiver<Head>)> {
        let (head, commits) = watch::channel(head(&connection)?);
        Ok((Self { connection, jobs, head, leaves_journal: false, _lock: lock }, commits))
    }

    /// Leaves folding the journal into the database to Litestream, which must have copied it away before.
    pub(crate) fn leave_journal(&mut self) -> rusqlite::Result<()> {
        self.connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        self.leaves_journal = true;
        Ok(())
    }

    /// Writes until it is told to close, or nobody is left who could ask.
    pub(crate) fn run(mut self) {
        let most = self.jobs.max_capacity();
        let mut group = Vec::with_capacity(most);
        while self.jobs.blocking_recv_many(&mut group, most) > 0 {
            if group.iter().any(|job| matches!(job.work, Work::Close)) {
                // What was accepted before is still handed out.
                self.jobs.close();
            }
            self.write(&mut group);
        }
        if self.leaves_journal {
            return;
        }
        // Leaves one file behind, unless a reader is still at work; then opening folds the rest in.
        if let Err(error) = self.connection.pragma_update(None, "wal_checkpoint", "TRUNCATE") {
            tracing::warn!(%error, "the event log is closed with its journal beside it");
        }
    }

    /// Makes the disk full, as SQLite sees it.
    #[cfg(test)]
    pub(super) fn limit_pages(&self, pages: u32) {
        self.connection.pragma_update(None, "max_page_count", pages).unwrap();
    }

    /// Carries out the group and gives every answer, after the sync.
    fn write(&mut self, group: &mut Vec<Job>) {
        let began = Instant::now();
        match self.commit(group) {
            Ok(Committed { head, answers }) => {
                count(group, head.seq - self.head.borrow().seq, began);
                // Followers first: they read while the answers are still being handed out.
                self.head.send_if_modified(|before| std::mem::replace(before, head) != head);
                for (job, answer) in group.drain(..).zip(answers) {
                    // Who hung up finds the events when asking again.
                    job.answer.send(answer).ok();
                }
            }
            Err(error) => {
                tracing::error!(%error, requests = group.len(), "the event log cannot be written; nothing was stored");
                let answer = match error.sqlite_error_code() {
                    Some(ErrorCode::DiskFull) => AppendError::DiskFull,
                    _ => AppendError::Failed,
                };
                for job in group.drain(..) {
                    job.answer.send(Err(answer)).ok();
                }
            }
        }
    }

    /// Carries out the group in one transaction, which is taken back if anything but a
    /// request itself is at fault.
    fn commit(&mut self, group: &[Job]) -> rusqlite::Result<Committed> {
        let mut head = *self.head.borrow();
        let mut answers = Vec::with_capacity(group.len());
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for job in group {
            answers.push(match &job.work {
                Work::Append(batch) => append(&transaction, batch, &mut head)?,
                Work::Prune { through, record } => {
                    prune(&transaction, *through)?;
                    append(&transaction, record, &mut head)?
                }
                Work::Probe => transaction.execute_batch(PROBE).map(|()| Ok(Vec::new()))?,
                Work::Close => Ok(Vec::new()),
            });
        }
        transaction.commit()?;
        Ok(Committed { head, answers })
    }
}

/// Stores the events of one request, all or none.
fn append(transaction: &Connection, batch: &Batch, head: &mut Head) -> rusqlite::Result<Answer> {
    let before = *head;
    let mut receipts = Vec::with_capacity(batch.events.len());
    for (index, (event, digest)) in batch.events.iter().zip(&batch.digests).enumerate() {
        let next = head.then(*digest);
        let receipt = if insert(transaction, event, next)? {
            *head = next;
            Receipt { id: event.id, seq: next.seq, duplicate: false }
        } else if let Some(seq) = stored_as(transaction, event)? {
            Receipt { id: event.id, seq, duplicate: true }
        } else {
            transaction.prepare_cached(TAKE_BACK)?.execute([before.seq])?;
            *head = before;
            return Ok(Err(AppendError::Conflict { index, id: event.id }));
        };
        receipts.push(receipt);
    }
    Ok(Ok(receipts))
}

fn prune(transaction: &Connection, through: u64) -> rusqlite::Result<()> {
    transaction.prepare_cached(START_BEHIND)?.execute([through])?;
    transaction.prepare_cached(PRUNE)?.execute([through])?;
    Ok(())
}

/// The newest event's place; where old events were deleted and none is left, the last one's.
fn head(connection: &Connection) -> rusqlite::Result<Head> {
    const NEWEST: &str = "
        SELECT seq, link FROM (SELECT seq, link FROM events ORDER BY seq DESC LIMIT 1)
        UNION ALL SELECT seq, link FROM start
        LIMIT 1";
    let mut statement = connection.prepare(NEWEST)?;
    let mut rows = statement.query([])?;
    match rows.next()? {
        Some(row) => Ok(Head { seq: row.get(0)?, link: Link::read(row.get_ref(1)?)? }),
        None => Ok(Head::START),
    }
}

/// Whether the event's id was free.
fn insert(transaction: &Connection, event: &NewEvent, place: Head) -> rusqlite::Result<bool> {
    let NewEvent { id, kind, task_id, execution_id, producer, created_at, schema_version, payload } = event;
    let inserted = transaction.prepare_cached(INSERT)?.execute(params![
        place.seq,
        id.uuid().as_bytes(),
        kind,
        task_id.map(|id| Uuid::into_bytes(id.uuid())),
        execution_id.map(|id| Uuid::into_bytes(id.uuid())),
        producer,
        created_at.timestamp_micros(),
        schema_version,
        payload,
        place.link.as_bytes(),
    ])?;
    Ok(inserted == 1)
}

/// The place of the event if the one that has its id is the same.
fn stored_as(transaction: &Connection, event: &NewEvent) -> rusqlite::Result<Option<u64>> {
    let mut statement = transaction.prepare_cached(&format!("SELECT {COLUMNS} FROM events WHERE id = ?1"))?;
    statement.query_row([event.id.uuid().as_bytes()], |row| {
        let stored = Row::read(row)?;
        Ok(stored.is_same_as(event).then_some(stored.seq))
    })
}

fn count(group: &[Job], events: u64, began: Instant) {
    let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    metrics::counter!("event_store_events_appended_total").increment(events);
    metrics::counter!("event_store_commits_total").increment(1);
    metrics::counter!("event_store_commit_micros_total").increment(micros);
    metrics::counter!("event_store_commit_requests_total").increment(group.len() as u64);
    metrics::gauge!("event_store_group_size").set(group.len() as f64);
}
