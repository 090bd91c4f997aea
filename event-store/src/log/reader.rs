//! Reads, on connections that cannot write. They see a snapshot and hold up
//! neither the writer nor each other.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use rusqlite::types::FromSqlError;
use rusqlite::{Connection, params};
use tokio::sync::Semaphore;
use wire::id::TaskId;

use super::entry::{COLUMNS, Row};
use super::postings::{self, Postings};

/// How much of the database readers map into memory instead of copying page by page, which
/// takes twice as long. The pages are the system's to take back.
const MAPPED_BYTES: i64 = 1 << 30;
/// Events that one read looks at, at most, while it finds none that were asked for.
const LOOKED_AT: usize = 50_000;

/// Which events to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selection {
    pub(crate) task: Option<TaskId>,
    pub(crate) filter: Filter,
    /// Only behind this sequence number.
    pub(crate) after: u64,
    /// At most so many.
    pub(crate) limit: usize,
    /// No further event once so many bytes were rendered; one always is.
    pub(crate) bytes: usize,
}

/// What no index answers: events are looked at one by one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) kind: Option<String>,
    /// Only those that happened then or later, by their producers' clocks.
    pub(crate) since: Option<DateTime<Utc>>,
}

/// Rendered events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) bytes: Vec<u8>,
    /// Every event up to here that was asked for is in it: the place to go on behind.
    pub(crate) seen: u64,
    /// Whether a bound cut it short: more may follow.
    pub(crate) is_full: bool,
}

/// Writes one event behind those before it.
pub(crate) type Render = fn(&mut Vec<u8>, &Row<'_>);

/// The database could not be read.
#[derive(Debug, thiserror::Error)]
#[error("the event log cannot be read")]
pub(crate) struct ReadError(#[source] rusqlite::Error);

/// A few connections, each lent to one read at a time.
pub(super) struct Readers {
    idle: Mutex<Vec<Connection>>,
    free: Arc<Semaphore>,
    postings: Arc<Mutex<Postings>>,
}

impl Readers {
    pub(super) fn open(path: &Path, count: usize, postings: Arc<Mutex<Postings>>) -> rusqlite::Result<Self> {
        let idle = (0..count).map(|_| open(path)).collect::<Result<_, _>>()?;
        Ok(Self { idle: Mutex::new(idle), free: Arc::new(Semaphore::new(count)), postings })
    }

    /// Nothing beyond `newest` is read, were it there.
    pub(super) async fn read(
        self: &Arc<Self>,
        selection: Selection,
        newest: u64,
        render: Render,
    ) -> Result<Page, ReadError> {
        let postings = self.postings.clone();
        let question = move |connection: &Connection| {
            // Before the snapshot: what comes into a run in between is then in both, not in neither.
            let young = selection.task.map(|task| postings::lock(&postings).of(task).to_vec());
            select(connection, &selection, &young.unwrap_or_default(), newest, render)
        };
        self.ask(question).await
    }

    /// Lends a connection to a question.
    pub(super) async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, ReadError> {
        let free = self.free.clone().acquire_owned().await.expect("the readers are never closed");
        let readers = self.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let connection = readers.take();
            let answer = question(&connection);
            readers.give_back(connection);
            // Not before: whoever asked may have gone long since.
            drop(free);
            answer
        });
        reading.await.expect("a read does not panic").map_err(ReadError)
    }

    fn take(&self) -> Connection {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop().expect("a permit stands for a connection")
    }

    fn give_back(&self, connection: Connection) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "mmap_size", MAPPED_BYTES)?;
    Ok(connection)
}

fn select(
    connection: &Connection,
    selection: &Selection,
    young: &[u64],
    newest: u64,
    render: Render,
) -> rusqlite::Result<Page> {
    // One snapshot for all that is looked up.
    let snapshot = connection.unchecked_transaction()?;
    let mut gathering = Gathering { selection, render, page: Page::default(), count: 0, looked_at: 0 };
    let is_full = match selection.task {
        None => of_all(&snapshot, newest, &mut gathering)?,
        Some(task) => of_task(&snapshot, task, young, newest, &mut gathering)?,
    };
    snapshot.finish()?;
    let mut page = gathering.page;
    page.is_full = is_full;
    if !is_full {
        page.seen = newest.max(selection.after);
    }
    Ok(page)
}

/// Whether the page is full.
fn of_all(connection: &Connection, newest: u64, gathering: &mut Gathering<'_>) -> rusqlite::Result<bool> {
    let query = format!("SELECT {COLUMNS} FROM events WHERE seq > ?1 AND seq <= ?2 ORDER BY seq");
    let mut statement = connection.prepare_cached(&query)?;
    let mut rows = statement.query([gathering.selection.after, newest])?;
    while let Some(row) = rows.next()? {
        if gathering.take(row)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the page is full. The task's places are those of its runs and the young ones, of
/// which some may have come into a run since.
fn of_task(
    connection: &Connection,
    task: TaskId,
    young: &[u64],
    newest: u64,
    gathering: &mut Gathering<'_>,
) -> rusqlite::Result<bool> {
    let mut runs =
        connection.prepare_cached("SELECT places FROM runs WHERE task_id = ?1 AND last > ?2 ORDER BY last")?;
    let mut events = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM events WHERE seq = ?1"))?;
    let mut after = gathering.selection.after;
    let mut look_up = |places: &[u64], gathering: &mut Gathering<'_>| -> rusqlite::Result<bool> {
        for place in places {
            if *place <= after {
                continue;
            }
            if *place > newest {
                return Ok(false);
            }
            after = *place;
            // One that is gone was deleted as too old.
            let mut rows = events.query([place])?;
            let Some(row) = rows.next()? else { continue };
            if row.get_ref(3)?.as_blob_or_null()? != Some(task.uuid().as_bytes()) {
                return Err(FromSqlError::Other("the task index names an event of another task".into()).into());
            }
            if gathering.take(row)? {
                return Ok(true);
            }
        }
        Ok(false)
    };
    let mut rows = runs.query(params![task.uuid().as_bytes(), gathering.selection.after])?;
    while let Some(row) = rows.next()? {
        if look_up(&postings::unpack(row.get_ref(0)?.as_blob()?)?, gathering)? {
            return Ok(true);
        }
    }
    look_up(young, gathering)
}

/// A page that is being put together.
struct Gathering<'a> {
    selection: &'a Selection,
    render: Render,
    page: Page,
    count: usize,
    looked_at: usize,
}

impl Gathering<'_> {
    /// Takes the event if it is asked for; whether that was the last one for this page.
    fn take(&mut self, row: &rusqlite::Row<'_>) -> rusqlite::Result<bool> {
        self.looked_at += 1;
        if self.selection.filter.takes(row)? {
            (self.render)(&mut self.page.bytes, &Row::read(row)?);
            self.count += 1;
        }
        self.page.seen = row.get(0)?;
        let Selection { limit, bytes, .. } = *self.selection;
        Ok(self.count == limit || self.page.bytes.len() >= bytes || self.looked_at == LOOKED_AT)
    }
}

impl Filter {
    /// Only columns before the payload are looked at, so that passing over a large event is cheap.
    fn takes(&self, row: &rusqlite::Row<'_>) -> rusqlite::Result<bool> {
        if let Some(kind) = &self.kind
            && row.get_ref(2)?.as_str()? != kind
        {
            return Ok(false);
        }
        if let Some(since) = self.since
            && row.get::<_, i64>(6)? < since.timestamp_micros()
        {
            return Ok(false);
        }
        Ok(true)
    }
}
