//! Reads, on connections that cannot write. They see a snapshot and hold up
//! neither the writer nor each other.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, ToSql};
use tokio::sync::Semaphore;
use wire::id::TaskId;

use super::entry::{COLUMNS, Row};

/// Which events to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selection {
    pub(crate) task: Option<TaskId>,
    pub(crate) kind: Option<String>,
    /// Only behind this sequence number.
    pub(crate) after: u64,
    /// At most so many.
    pub(crate) limit: usize,
    /// No further event once so many bytes were rendered; one always is.
    pub(crate) bytes: usize,
}

/// Rendered events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) bytes: Vec<u8>,
    /// The sequence number of the last one.
    pub(crate) last: Option<u64>,
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

    pub(super) async fn read(self: &Arc<Self>, selection: Selection, render: Render) -> Result<Page, ReadError> {
        let _free = self.free.acquire().await.expect("the readers are never closed");
        let readers = self.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let connection = readers.take();
            let page = select(&connection, &selection, render);
            readers.give_back(connection);
            page
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

fn select(connection: &Connection, selection: &Selection, render: Render) -> rusqlite::Result<Page> {
    let task = selection.task.map(|task| task.uuid().into_bytes());
    let mut parameters: Vec<(&str, &dyn ToSql)> = vec![(":after", &selection.after), (":limit", &selection.limit)];
    parameters.extend(task.as_ref().map(|task| (":task", task as &dyn ToSql)));
    parameters.extend(selection.kind.as_ref().map(|kind| (":type", kind as &dyn ToSql)));
    let mut statement = connection.prepare_cached(&query(task.is_some(), selection.kind.is_some()))?;
    let mut rows = statement.query(parameters.as_slice())?;
    let mut page = Page::default();
    let mut count = 0;
    while let Some(row) = rows.next()? {
        let row = Row::read(row)?;
        render(&mut page.bytes, &row);
        page.last = Some(row.seq);
        count += 1;
        page.is_full = count == selection.limit || page.bytes.len() >= selection.bytes;
        if page.is_full {
            break;
        }
    }
    Ok(page)
}

fn query(by_task: bool, by_kind: bool) -> String {
    let task = if by_task { "AND task_id = :task" } else { "" };
    let kind = if by_kind { "AND type = :type" } else { "" };
    format!("SELECT {COLUMNS} FROM events WHERE seq > :after {task} {kind} ORDER BY seq LIMIT :limit")
}
