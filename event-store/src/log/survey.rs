//! What the store asks of its log about itself. Every question is cheap however
//! long the log is.

use chrono::{DateTime, Utc};
use rusqlite::types::FromSqlError;
use rusqlite::{Connection, OptionalExtension, Row};
use wire::event::Place;

use super::chain::Link;

/// The events that are kept: all between these two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) oldest: Place,
    pub(crate) newest: Place,
}

impl Extent {
    /// How many they are; there are no gaps.
    pub(crate) fn count(&self) -> u64 {
        self.newest.seq - self.oldest.seq + 1
    }
}

/// What the database takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pages {
    pub(crate) used_bytes: u64,
    /// Of deleted events, free for new ones.
    pub(crate) reusable_bytes: u64,
}

/// An event that may have to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Old {
    pub(crate) seq: u64,
    pub(crate) created_at: DateTime<Utc>,
    /// About what the database spends on it.
    pub(crate) bytes: u64,
}

/// What an event takes besides its payload: its other fields and its places in the indexes, generously.
const FIELDS_BYTES: u64 = 256;

/// Nothing while there is no event.
pub(super) fn extent(connection: &Connection) -> rusqlite::Result<Option<Extent>> {
    let end = |order: &str| -> rusqlite::Result<Option<Place>> {
        let query = format!("SELECT seq, created_at FROM events ORDER BY seq {order} LIMIT 1");
        let place = |row: &Row<'_>| Ok(Place { seq: row.get(0)?, created_at: time(row, 1)? });
        connection.prepare_cached(&query)?.query_row([], place).optional()
    };
    // One snapshot, so that both ends are of the same log.
    let snapshot = connection.unchecked_transaction()?;
    let ends = end("ASC")?.zip(end("DESC")?);
    snapshot.finish()?;
    Ok(ends.map(|(oldest, newest)| Extent { oldest, newest }))
}

pub(super) fn pages(connection: &Connection) -> rusqlite::Result<Pages> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, u64>(0));
    let (size, all, free) = (number("page_size")?, number("page_count")?, number("freelist_count")?);
    Ok(Pages { used_bytes: all.saturating_sub(free) * size, reusable_bytes: free * size })
}

/// The oldest events up to a place, so many at most. Payloads are measured, not read.
pub(super) fn oldest(connection: &Connection, through: u64, most: usize) -> rusqlite::Result<Vec<Old>> {
    const OLDEST: &str = "
        SELECT seq, created_at, octet_length(payload) FROM events WHERE seq <= ?1 ORDER BY seq LIMIT ?2";
    let mut statement = connection.prepare_cached(OLDEST)?;
    let old = |row: &Row<'_>| {
        Ok(Old { seq: row.get(0)?, created_at: time(row, 1)?, bytes: row.get::<_, u64>(2)? + FIELDS_BYTES })
    };
    statement.query_map((through, most), old)?.collect()
}

/// The link of the event at a place.
pub(super) fn link(connection: &Connection, seq: u64) -> rusqlite::Result<Option<Link>> {
    let mut statement = connection.prepare_cached("SELECT link FROM events WHERE seq = ?1")?;
    statement.query_row([seq], |row| Link::read(row.get_ref(0)?)).optional()
}

fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<DateTime<Utc>> {
    let micros: i64 = row.get(column)?;
    Ok(DateTime::from_timestamp_micros(micros).ok_or(FromSqlError::OutOfRange(micros))?)
}
