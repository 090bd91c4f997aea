//! SQLite with no network: the same rows in the store's own table, with an ordinary
//! index by task where the store has its runs, from as many threads as there are
//! connections elsewhere, each row synced before its thread
//! goes on. What somebody would write who needs no server.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use kit::Tasks;
use rusqlite::{Connection, ToSql, TransactionBehavior};

use super::case::{Case, System};
use super::outcome::Outcome;
use super::records::{KIND, PRODUCER, Record};

/// The longest a thread waits for another's lock.
const BUSY: Duration = Duration::from_secs(10);
/// What finds a task's rows.
const INDEX: &str = "CREATE INDEX IF NOT EXISTS events_by_task ON events (task_id, seq) WHERE task_id IS NOT NULL";
/// What a column takes that is none of the event's own, such as a hash.
const OTHER: [u8; 32] = [0xa5; 32];

/// A database of the store's own making, and what goes into it.
pub(crate) struct Bare<'a> {
    pub(crate) database: &'a Path,
    pub(crate) payload: &'a str,
}

impl Bare<'_> {
    /// Writes the records in one of the three ways, until they are used up or the time is.
    pub(crate) fn write(
        &self,
        way: System,
        case: Case,
        records: &[Record],
        limit: Duration,
        tasks: &Tasks,
    ) -> anyhow::Result<Outcome> {
        let race = Race { records, batch: case.batch, limit, tasks };
        let connection = open(self.database)?;
        connection.execute_batch(INDEX)?;
        let insert = Insert::into(&connection, self.payload)?;
        let insert = &insert;
        let threads = 0..case.connections;
        match way {
            System::SqliteGrouped => grouped(open(self.database)?, insert, case.connections, &race),
            System::SqliteShared => {
                let connection = &Mutex::new(open(self.database)?);
                let turns = threads.map(|_| {
                    move |rows: &[Record]| {
                        let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
                        insert.commit(&mut connection, [rows])
                    }
                });
                Ok(race.run(turns.collect()))
            }
            _ => {
                let own = threads.map(|_| {
                    let mut connection = open(self.database)?;
                    Ok(move |rows: &[Record]| insert.commit(&mut connection, [rows]))
                });
                Ok(race.run(own.collect::<rusqlite::Result<_>>()?))
            }
        }
    }
}

/// What waits for the writer, and who waits for it.
struct Job<'a> {
    rows: &'a [Record],
    answer: SyncSender<Result<(), String>>,
}

/// One thread writes; whatever waits when it begins a commit shares that commit.
fn grouped(connection: Connection, insert: &Insert<'_>, threads: usize, race: &Race<'_>) -> anyhow::Result<Outcome> {
    thread::scope(|scope| {
        let (jobs, queue) = mpsc::sync_channel(threads);
        scope.spawn(move || write_groups(connection, insert, &queue));
        let waiting = (0..threads).map(|_| {
            let jobs = jobs.clone();
            let (answer, answered) = mpsc::sync_channel(1);
            move |rows| {
                let gone = || "the writer has ended".to_owned();
                jobs.send(Job { rows, answer: answer.clone() }).map_err(|_| gone())?;
                answered.recv().unwrap_or_else(|_| Err(gone()))
            }
        });
        let waiting = waiting.collect();
        // The writer ends when the last thread has.
        drop(jobs);
        Ok(race.run(waiting))
    })
}

fn write_groups(mut connection: Connection, insert: &Insert<'_>, queue: &Receiver<Job<'_>>) {
    while let Ok(first) = queue.recv() {
        let group: Vec<_> = std::iter::once(first).chain(queue.try_iter()).collect();
        let result = insert.commit(&mut connection, group.iter().map(|job| job.rows));
        for job in group {
            // A thread that does not wait any more has ended with the race.
            job.answer.send(result.clone()).ok();
        }
    }
}

/// The statement for one row.
struct Insert<'a> {
    sql: String,
    others: usize,
    payload: &'a str,
}

impl<'a> Insert<'a> {
    /// For the schema as it is: a column that an event does not know, such as a link of the hash
    /// chain, gets bytes of its size.
    fn into(connection: &Connection, payload: &'a str) -> rusqlite::Result<Self> {
        let mut columns =
            vec!["id", "type", "task_id", "execution_id", "producer", "created_at", "schema_version", "payload"];
        let known = columns.len();
        let mut statement = connection.prepare("SELECT name FROM pragma_table_info('events') WHERE type = 'BLOB'")?;
        let blobs: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        let others: Vec<_> = blobs.iter().map(String::as_str).filter(|blob| !columns.contains(blob)).collect();
        columns.extend(&others);
        let places: Vec<_> = (1..=columns.len()).map(|place| format!("?{place}")).collect();
        let sql = format!("INSERT INTO events ({}) VALUES ({})", columns.join(", "), places.join(", "));
        Ok(Self { sql, others: columns.len() - known, payload })
    }

    /// Stores the rows in one transaction, which is on disk when this returns.
    fn commit<'r>(
        &self,
        connection: &mut Connection,
        rows: impl IntoIterator<Item = &'r [Record]>,
    ) -> Result<(), String> {
        let commit = || {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for row in rows.into_iter().flatten() {
                self.execute(&transaction, row)?;
            }
            transaction.commit()
        };
        commit().map_err(|error: rusqlite::Error| error.to_string())
    }

    fn execute(&self, connection: &Connection, row: &Record) -> rusqlite::Result<usize> {
        let (id, task, execution) = (row.id.uuid(), row.task.uuid(), row.execution.uuid());
        let at = row.at.timestamp_micros();
        let own: [&dyn ToSql; 8] = [
            id.as_bytes(),
            &KIND,
            task.as_bytes(),
            execution.as_bytes(),
            &PRODUCER,
            &at,
            &wire::event::SCHEMA_VERSION,
            &self.payload,
        ];
        let others = std::iter::repeat_n(&OTHER as &dyn ToSql, self.others);
        let values = rusqlite::params_from_iter(own.into_iter().chain(others));
        connection.prepare_cached(&self.sql)?.execute(values)
    }
}

/// A connection on which a commit is on disk when it returns.
fn open(database: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(database)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

/// Records that threads take in turns.
struct Race<'a> {
    records: &'a [Record],
    batch: usize,
    limit: Duration,
    tasks: &'a Tasks,
}

impl<'a> Race<'a> {
    /// One thread for each way to store; each has one request under way.
    fn run<S>(&self, stores: Vec<S>) -> Outcome
    where
        S: FnMut(&'a [Record]) -> Result<(), String> + Send,
    {
        let next = &AtomicUsize::new(0);
        let began = Instant::now();
        let mut outcome = Outcome::default();
        thread::scope(|scope| {
            let threads = stores.into_iter().map(|store| scope.spawn(move || self.of_thread(store, next, began)));
            // All of them, before the first is waited for.
            for thread in threads.collect::<Vec<_>>() {
                let one = thread.join().expect("storing rows does not panic");
                outcome.sent += one.sent;
                outcome.refused += one.refused;
                outcome.refusal = outcome.refusal.take().or(one.refusal);
                outcome.latencies.extend(one.latencies);
                outcome.elapsed = outcome.elapsed.max(one.elapsed);
            }
        });
        outcome
    }

    fn of_thread(
        &self,
        mut store: impl FnMut(&'a [Record]) -> Result<(), String>,
        next: &AtomicUsize,
        began: Instant,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        while outcome.elapsed < self.limit && !self.tasks.is_stopping() {
            let request = next.fetch_add(1, Ordering::Relaxed);
            let Some(rows) = self.records.get(request * self.batch..(request + 1) * self.batch) else { break };
            let sent_at = Instant::now();
            if let Err(why) = store(rows) {
                outcome.refuse(why);
            }
            outcome.sent += 1;
            outcome.latencies.push(sent_at.elapsed());
            outcome.elapsed = began.elapsed();
        }
        outcome
    }
}

#[cfg(test)]
mod tests;
