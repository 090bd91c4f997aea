//! Reads, on connections that cannot write. They see a snapshot and hold up
//! neither the writer nor each other.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use rusqlite::{Connection, ToSql};
use tokio::sync::Semaphore;
use wire::id::TaskId;

use super::entry::{COLUMNS, Row};

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
    free: Semaphore,
}

impl Readers {
    pub(super) fn open(path: &Path, count: usize) -> rusqlite::Result<Self> {
        let idle = (0..count).map(|_| open(path)).collect::<Result<_, _>>()?;
        Ok(Self { idle: Mutex::new(idle), free: Semaphore::new(count) })
    }

    /// Nothing beyond `newest` is read, were it there.
    pub(super) async fn read(
        self: &Arc<Self>,
        selection: Selection,
        newest: u64,
        render: Render,
    ) -> Result<Page, ReadError> {
        self.ask(move |connection| select(connection, &selection, newest, render)).await
    }

    /// Lends a connection to a question.
    pub(super) async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, ReadError> {
        let _free = self.free.acquire().await.expect("the readers are never closed");
        let readers = self.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let connection = readers.take();
            let answer = question(&connection);
            readers.give_back(connection);
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
    Ok(connection)
}

fn select(connection: &Connection, selection: &Selection, newest: u64, render: Render) -> rusqlite::Result<Page> {
    let task = selection.task.map(|task| task.uuid().into_bytes());
    let mut parameters: Vec<(&str, &dyn ToSql)> = vec![(":after", &selection.after), (":newest", &newest)];
    parameters.extend(task.as_ref().map(|task| (":task", task as &dyn ToSql)));
    let mut statement = connection.prepare_cached(&query(task.is_some()))?;
    let mut rows = statement.query(parameters.as_slice())?;
    let mut page = Page { bytes: Vec::new(), seen: newest.max(selection.after), is_full: false };
    let (mut count, mut looked_at) = (0, 0);
    while let Some(row) = rows.next()? {
        looked_at += 1;
        if selection.filter.takes(row)? {
            let row = Row::read(row)?;
            render(&mut page.bytes, &row);
            count += 1;
        }
        if count == selection.limit || page.bytes.len() >= selection.bytes || looked_at == LOOKED_AT {
            page.seen = row.get(0)?;
            page.is_full = true;
            break;
        }
    }
    Ok(page)
}

fn query(by_task: bool) -> String {
    let task = if by_task { "AND task_id = :task" } else { "" };
    format!("SELECT {COLUMNS} FROM events WHERE seq > :after AND seq <= :newest {task} ORDER BY seq")
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
