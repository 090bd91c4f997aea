//! The one writer. Every request that waits when it begins a group shares that group's
//! commit and sync; none is answered before it.
//!
//! ```text
//! requests ──▶ queue ──▶ writer: one transaction ──▶ syncer: one sync ──▶ answers, followers
//! ```
//! While one group is being synced the writer commits the next, and behind that the one
//! after gathers in the queue; so groups grow with the load by themselves, and no request
//! waits for a timer. Where nobody else waits there is nothing to do meanwhile, and the
//! writer syncs by itself, which spares a lone client the way to another thread.

use std::fs::File;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, Statement, params};
use tokio::sync::{oneshot, watch};
use uuid::Uuid;
use wire::event::Receipt;
use wire::id::TaskId;

use super::AppendError;
use super::chain::{Head, Link};
use super::checkpoint::{self, Checkpointer, Progress};
use super::entry::{Batch, COLUMNS, NewEvent, Row};
use super::followed::Followed;
use super::postings::{self, Change, Postings};
use super::sync::{Group, SyncFailed, Syncer};

/// Groups under way: one that is synced, one that is written.
const GROUPS: usize = 2;

const INSERT: &str = "
    INSERT INTO events (seq, id, type, task_id, execution_id, producer, created_at, schema_version, payload, link)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
    ON CONFLICT (id) DO NOTHING";
/// The log then begins behind this place, if it was there still.
const START_BEHIND: &str = "
    INSERT INTO start (one, seq, link) SELECT 1, seq, link FROM events WHERE seq = ?1
    ON CONFLICT (one) DO UPDATE SET seq = excluded.seq, link = excluded.link";
/// Runs that reach further stay; a reader passes over what is gone.
const PRUNE_RUNS: &str = "
    DELETE FROM runs WHERE last <= ?1
    AND task_id IN (SELECT task_id FROM events WHERE seq <= ?1 AND task_id IS NOT NULL)";
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
    jobs: tokio::sync::mpsc::Receiver<Job>,
    /// The newest event that was committed; it may not be on disk yet.
    head: Head,
    syncer: Syncer,
    checkpointer: Checkpointer,
    progress: Progress,
    postings: Arc<Mutex<Postings>>,
    /// SQLite's locks on the database end when a file of it is closed, so this one outlives all
    /// that writes.
    database: File,
    /// Held, never read: while it lives no other process opens the log.
    _lock: File,
}

/// The log's files, and two connections that may write.
pub(super) struct Files {
    pub(super) connection: Connection,
    pub(super) for_checkpoints: Connection,
    pub(super) database: File,
    pub(super) journal: File,
    pub(super) lock: File,
}

impl Writer {
    pub(super) fn new(
        files: Files,
        jobs: tokio::sync::mpsc::Receiver<Job>,
        followed: Arc<Followed>,
        postings: Arc<Mutex<Postings>>,
    ) -> rusqlite::Result<(Self, watch::Receiver<Head>)> {
        let Files { connection, for_checkpoints, database, journal, lock } = files;
        let head = newest(&connection)?;
        *postings::lock(&postings) = Postings::load(&connection, head.seq)?;
        let (durable, commits) = watch::channel(head);
        let syncer = Syncer { journal, head: durable, followed };
        let (checkpointer, progress) = Checkpointer::new(for_checkpoints);
        let writer = Self { connection, jobs, head, syncer, checkpointer, progress, postings, database, _lock: lock };
        Ok((writer, commits))
    }

    /// Folds in what an earlier process left in the journal. Were it there only because the system
    /// has not noticed that it could not write it, this would.
    pub(crate) fn fold_in(&self) -> rusqlite::Result<()> {
        checkpoint::fold(&self.connection).map(drop)
    }

    /// Leaves folding the journal into the database to Litestream, which must have copied it away before.
    pub(crate) fn leave_journal(&mut self) -> rusqlite::Result<()> {
        self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        self.progress.leave_journal();
        Ok(())
    }

    /// Writes until it is told to close, or nobody is left who could ask, or it cannot go on.
    pub(crate) fn run(self) {
        let Self { database, connection, jobs, head, syncer, checkpointer, progress, postings, .. } = self;
        let leaves_journal = progress.leaves_journal();
        let ended = thread::scope(|threads| -> anyhow::Result<()> {
            let (committed, to_sync) = mpsc::sync_channel(GROUPS);
            let (emptied, empty) = mpsc::channel();
            let spare = (0..GROUPS).map(|_| Group::default()).collect();
            let (connection, syncer) = (&connection, &syncer);
            let committer = Committer { connection, jobs, head, syncer, committed, empty, spare, progress, postings };
            let thread = |name: &str| thread::Builder::new().name(name.into());
            thread("event-syncer").spawn_scoped(threads, move || syncer.run(&to_sync, &emptied))?;
            thread("event-checkpointer").spawn_scoped(threads, || checkpointer.run(&database))?;
            // At its end their channels close, and they finish what they have.
            committer.run()?;
            Ok(())
        });
        if let Err(error) = ended {
            tracing::error!(error = format!("{error:#}"), "the event writer cannot begin");
        }
        if leaves_journal {
            return;
        }
        // Leaves one file behind, unless a reader is still at work; then opening folds the rest in.
        if let Err(error) = connection.pragma_update(None, "wal_checkpoint", "TRUNCATE") {
            tracing::warn!(%error, "the event log is closed with its journal beside it");
        }
    }

    /// Makes the disk full, as SQLite sees it.
    #[cfg(test)]
    pub(super) fn limit_pages(&self, pages: u32) {
        self.connection.pragma_update(None, "max_page_count", pages).unwrap();
    }
}

/// Carries out group after group.
struct Committer<'a> {
    connection: &'a Connection,
    jobs: tokio::sync::mpsc::Receiver<Job>,
    head: Head,
    syncer: &'a Syncer,
    committed: SyncSender<Group>,
    empty: Receiver<Group>,
    /// Groups that are under way nowhere.
    spare: Vec<Group>,
    progress: Progress,
    postings: Arc<Mutex<Postings>>,
}

impl Committer<'_> {
    fn run(mut self) -> rusqlite::Result<()> {
        let mut statements = Statements::prepare(self.connection)?;
        let most = self.jobs.max_capacity();
        let mut jobs = Vec::with_capacity(most);
        // Room first: what comes while both groups are under way joins the next one. There is
        // none any more once the syncer has failed.
        while let Some(group) = self.spare.pop().or_else(|| self.empty.recv().ok()) {
            if self.jobs.blocking_recv_many(&mut jobs, most) == 0 {
                break;
            }
            if jobs.iter().any(|job| matches!(job.work, Work::Close)) {
                // What was accepted before is still handed out.
                self.jobs.close();
            }
            let group = self.write(&mut statements, &mut jobs, group);
            // Where even taking back fails, only a new connection helps: a restart.
            if self.complete(group).is_err() || !self.connection.is_autocommit() {
                break;
            }
            if self.progress.should_finish()
                && let Err(error) = checkpoint::fold(self.connection)
            {
                tracing::warn!(%error, "the event journal cannot be folded into the database");
            }
        }
        Ok(())
    }

    /// Has the group synced and answered: here if that keeps nobody waiting, else beside the next.
    fn complete(&mut self, group: Group) -> Result<(), SyncFailed> {
        self.spare.extend(self.empty.try_iter());
        let is_alone = self.spare.len() == GROUPS - 1;
        if is_alone && self.jobs.is_empty() {
            self.spare.push(self.syncer.complete(group)?);
            return Ok(());
        }
        self.committed.send(group).map_err(|_| SyncFailed)
    }

    /// Carries out the jobs in one transaction; their answers go into the group.
    fn write(&mut self, statements: &mut Statements<'_>, jobs: &mut Vec<Job>, mut group: Group) -> Group {
        let began = Instant::now();
        match self.commit(statements, jobs) {
            Ok((head, answers)) => {
                count(jobs, head.seq - self.head.seq, began);
                self.progress.add(jobs.iter().map(Job::bytes).sum());
                self.head = head;
                group.head = Some(head);
                group.answers.extend(jobs.drain(..).zip(answers));
            }
            Err(error) => {
                tracing::error!(%error, requests = jobs.len(), "the event log cannot be written; nothing was stored");
                let answer = match error.sqlite_error_code() {
                    Some(ErrorCode::DiskFull) => AppendError::DiskFull,
                    _ => AppendError::Failed,
                };
                group.answers.extend(jobs.drain(..).map(|job| (job, Err(answer))));
            }
        }
        group
    }

    /// One transaction, which is taken back if anything but a request itself is at fault.
    fn commit(&self, statements: &mut Statements<'_>, jobs: &[Job]) -> rusqlite::Result<(Head, Vec<Answer>)> {
        let mut head = self.head;
        let mut answers = Vec::with_capacity(jobs.len());
        let mut pruned = 0;
        statements.begin.execute([])?;
        let done = jobs.iter().try_for_each(|job| {
            answers.push(match &job.work {
                Work::Append(batch) => statements.append(batch, &mut head)?,
                Work::Prune { through, record } => {
                    prune(self.connection, *through)?;
                    pruned = pruned.max(*through);
                    statements.append(record, &mut head)?
                }
                Work::Probe => self.connection.execute_batch(PROBE).map(|()| Ok(Vec::new()))?,
                Work::Close => Ok(Vec::new()),
            });
            Ok(())
        });
        let indexed = done.and_then(|()| statements.index(&self.postings, head));
        match indexed.and_then(|change| statements.commit.execute([]).map(|_| change)) {
            Ok(change) => {
                let mut postings = postings::lock(&self.postings);
                postings.apply(change);
                postings.forget(pruned);
                Ok((head, answers))
            }
            Err(error) => {
                statements.places.clear();
                // SQLite may have done so itself, as it does when the disk is full.
                if !self.connection.is_autocommit() {
                    statements.roll_back.execute([])?;
                }
                Err(error)
            }
        }
    }
}

impl Job {
    /// The task of each event that it stores.
    pub(super) fn tasks(&self) -> impl Iterator<Item = TaskId> {
        let events = match &self.work {
            Work::Append(batch) | Work::Prune { record: batch, .. } => batch.events.as_slice(),
            Work::Probe | Work::Close => &[],
        };
        events.iter().filter_map(|event| event.task_id)
    }

    fn bytes(&self) -> usize {
        match &self.work {
            Work::Append(batch) => batch.bytes(),
            // The pages that it touches, roughly.
            Work::Prune { .. } => 1024 * 1024,
            // Rare, and where nothing else is written it is what has the journal folded in.
            Work::Probe => checkpoint::EVERY_BYTES,
            Work::Close => 0,
        }
    }
}

/// What is done for each event, prepared once.
struct Statements<'a> {
    begin: Statement<'a>,
    commit: Statement<'a>,
    roll_back: Statement<'a>,
    insert: Statement<'a>,
    find: Statement<'a>,
    take_back: Statement<'a>,
    add_run: Statement<'a>,
    /// Of the transaction that is open: the new events' tasks and places.
    places: Vec<(TaskId, u64)>,
}

impl<'a> Statements<'a> {
    fn prepare(connection: &'a Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            begin: connection.prepare("BEGIN IMMEDIATE")?,
            commit: connection.prepare("COMMIT")?,
            roll_back: connection.prepare("ROLLBACK")?,
            insert: connection.prepare(INSERT)?,
            find: connection.prepare(&format!("SELECT {COLUMNS} FROM events WHERE id = ?1"))?,
            take_back: connection.prepare(TAKE_BACK)?,
            add_run: connection.prepare(postings::ADD_RUN)?,
            places: Vec::new(),
        })
    }

    /// Stores the events of one request, all or none.
    fn append(&mut self, batch: &Batch, head: &mut Head) -> rusqlite::Result<Answer> {
        let before = *head;
        let mut receipts = Vec::with_capacity(batch.events.len());
        for (index, (event, digest)) in batch.events.iter().zip(&batch.digests).enumerate() {
            let next = head.then(*digest);
            let receipt = if self.insert(event, next)? {
                *head = next;
                self.places.extend(event.task_id.map(|task| (task, next.seq)));
                Receipt { id: event.id, seq: next.seq, duplicate: false }
            } else if let Some(seq) = self.stored_as(event)? {
                Receipt { id: event.id, seq, duplicate: true }
            } else {
                self.take_back.execute([before.seq])?;
                while self.places.pop_if(|(_, place)| *place > before.seq).is_some() {}
                *head = before;
                return Ok(Err(AppendError::Conflict { index, id: event.id }));
            };
            receipts.push(receipt);
        }
        Ok(Ok(receipts))
    }

    /// Writes down the runs that are due once the transaction has all its events.
    fn index(&mut self, postings: &Mutex<Postings>, head: Head) -> rusqlite::Result<Change> {
        let change = postings::lock(postings).plan(std::mem::take(&mut self.places), head.seq);
        change.runs.iter().try_for_each(|run| postings::add_run(&mut self.add_run, run))?;
        Ok(change)
    }

    /// Whether the event's id was free.
    fn insert(&mut self, event: &NewEvent, place: Head) -> rusqlite::Result<bool> {
        let NewEvent { id, kind, task_id, execution_id, producer, created_at, schema_version, payload } = event;
        let inserted = self.insert.execute(params![
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
    fn stored_as(&mut self, event: &NewEvent) -> rusqlite::Result<Option<u64>> {
        self.find.query_row([event.id.uuid().as_bytes()], |row| {
            let stored = Row::read(row)?;
            Ok(stored.is_same_as(event).then_some(stored.seq))
        })
    }
}

/// The oldest events go, and the log begins behind them.
fn prune(transaction: &Connection, through: u64) -> rusqlite::Result<()> {
    transaction.prepare_cached(START_BEHIND)?.execute([through])?;
    transaction.prepare_cached(PRUNE_RUNS)?.execute([through])?;
    transaction.prepare_cached(PRUNE)?.execute([through])?;
    Ok(())
}

/// The newest event's place; where old events were deleted and none is left, the last one's.
fn newest(connection: &Connection) -> rusqlite::Result<Head> {
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

fn count(jobs: &[Job], events: u64, began: Instant) {
    metrics::counter!("event_store_events_appended_total").increment(events);
    metrics::histogram!("event_store_commit_seconds").record(began.elapsed());
    metrics::histogram!("event_store_group_requests").record(jobs.len() as f64);
}
