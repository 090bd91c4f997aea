//! Whether a log is what was once stored: every digest and link computed anew, from its
//! start or from a head that somebody kept, and the first event named that differs.
//!
//! Whoever can write the file can also chain it anew. Only heads that were kept elsewhere
//! show that, and that events were cut off the end.

use std::fmt;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Row as Found};
use serde::Serialize;

use super::{CHAINED, Database, Error, INDEXED_IN_RUNS, Stage, Watch, is_damage};
use crate::log::{COLUMNS, Digest, Head, Link, Row, postings};

/// Events read on one snapshot: long ones would keep a running store from folding its journal.
const WINDOW: u32 = 10_000;
/// Faults of pages that are told.
const FAULTS: u32 = 5;

/// What to hold a log against.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    /// Begin behind this one, which the log must contain; without it, at the log's start.
    pub(crate) since: Option<Head>,
    /// What the log must contain besides.
    pub(crate) heads: Vec<Head>,
    /// Whether to check every page and index as well, which reads the file once more.
    pub(crate) with_pages: bool,
}

impl Wanted {
    /// Everything there is.
    pub(super) fn whole() -> Self {
        Self { with_pages: true, ..Self::default() }
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    /// Events whose links are right, up to the first that is not.
    pub(crate) events: u64,
    /// The last of them.
    pub(crate) head: Head,
    /// What is wrong first.
    pub(crate) damage: Option<Damage>,
}

/// What is wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Damage {
    /// The event's content or link is not what was stored.
    Link { seq: u64 },
    /// Another event stands where this one belongs.
    Gap { seq: u64, found: u64 },
    /// The event's row cannot be read.
    Row { seq: u64, error: String },
    /// Nothing can be read from this event to the one before the next.
    Pages { seq: u64, next: Option<u64>, error: String },
    /// The chain is whole, but what stands around it is not, such as an index.
    Structure { faults: Vec<String> },
    /// Nothing can be read.
    Unreadable { error: String },
    /// The log ends before the kept head.
    CutOff { seq: u64, newest: u64 },
    /// The log has another history than the one the kept head stands for.
    Rewritten { seq: u64 },
    /// The log begins behind the kept head, so nothing can be said about it.
    HeadTooOld { seq: u64, start: u64 },
}

impl Damage {
    /// The first event that it is about.
    pub(crate) fn seq(&self) -> Option<u64> {
        match *self {
            Self::Link { seq }
            | Self::Gap { seq, .. }
            | Self::Row { seq, .. }
            | Self::Pages { seq, .. }
            | Self::CutOff { seq, .. }
            | Self::Rewritten { seq }
            | Self::HeadTooOld { seq, .. } => Some(seq),
            Self::Structure { .. } | Self::Unreadable { .. } => None,
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link { seq } => write!(f, "event {seq} is not what was stored: its link does not match"),
            Self::Gap { seq, found } => write!(f, "event {seq} is missing: event {found} stands in its place"),
            Self::Row { seq, error } => write!(f, "event {seq} cannot be read: {error}"),
            Self::Pages { seq, next: Some(next), error } => {
                write!(f, "nothing can be read from event {seq} to before event {next}: {error}")
            }
            Self::Pages { seq, next: None, error } => write!(f, "nothing can be read from event {seq} on: {error}"),
            Self::Structure { faults } => {
                write!(f, "every event is what was stored, but the database is damaged: {}", faults.join("; "))
            }
            Self::Unreadable { error } => write!(f, "this is no event log, or one too damaged to read: {error}"),
            Self::CutOff { seq, newest } => {
                write!(f, "the log ends at event {newest}, but once had event {seq}: events were cut off")
            }
            Self::Rewritten { seq } => {
                write!(
                    f,
                    "event {seq} or one before it is not what it was when the head was kept: history was rewritten"
                )
            }
            Self::HeadTooOld { seq, start } => {
                write!(
                    f,
                    "the events up to {start} were deleted, so the head kept at event {seq} says nothing any more"
                )
            }
        }
    }
}

/// Verifies the database at the path. Damage is a finding, not an error.
pub(crate) fn verify(path: &Path, wanted: &Wanted, watch: &Watch<'_>) -> Result<Report, Error> {
    let nothing = |damage| Report { events: 0, head: Head::START, damage: Some(damage) };
    match Database::open(path, watch).and_then(|database| inspect(&database, wanted, watch)) {
        Err(Error::Damaged { damage, .. }) => Ok(nothing(damage)),
        report => report,
    }
}

fn inspect(database: &Database, wanted: &Wanted, watch: &Watch<'_>) -> Result<Report, Error> {
    let found = database.version()?;
    if found < CHAINED {
        return Err(Error::Unchained { path: database.path.clone(), found });
    }
    let connection = &database.connection;
    let mut walk = Walk::begin(connection, wanted).map_err(|error| database.failed(error))?;
    // A page that cannot be read ends the walk when it comes to it.
    let newest = connection.query_row("SELECT max(seq) FROM events", [], |row| row.get::<_, Option<u64>>(0));
    let newest = newest.unwrap_or_default().unwrap_or(i64::MAX as u64);
    database.settle()?;
    while !walk.is_over {
        watch.tell(Stage::Verifying, walk.at.seq, newest)?;
        walk.window(connection, newest).map_err(|error| database.failed(error))?;
    }
    if walk.damage.is_none() && wanted.with_pages {
        watch.tell(Stage::CheckingPages, 0, 0)?;
        let mut faults = faults(connection).map_err(|error| database.failed(error))?;
        if faults.is_empty() && found >= INDEXED_IN_RUNS {
            // One snapshot, behind which a store beside this may write on.
            let snapshot = connection.unchecked_transaction().map_err(|error| database.failed(error))?;
            faults = postings::faults(&snapshot, walk.at.seq).map_err(|error| database.failed(error))?;
        }
        walk.damage = (!faults.is_empty()).then_some(Damage::Structure { faults });
    }
    Ok(Report { events: walk.events, head: walk.at, damage: walk.damage })
}

/// How far the chain was followed.
struct Walk {
    at: Head,
    /// Not yet come by, the nearest last.
    heads: Vec<Head>,
    events: u64,
    damage: Option<Damage>,
    is_over: bool,
}

impl Walk {
    fn begin(connection: &Connection, wanted: &Wanted) -> rusqlite::Result<Self> {
        let start = start(connection)?;
        let since = wanted.since.filter(|since| since.seq > start.seq);
        let mut heads = wanted.heads.clone();
        // One that lies at the start or before it is held against the start as any other.
        heads.extend(wanted.since.filter(|_| since.is_none()));
        heads.sort_by_key(|head| std::cmp::Reverse(head.seq));
        let mut walk = Self { at: start, heads, events: 0, damage: None, is_over: false };
        if let Some(since) = since {
            match link_at(connection, since.seq)? {
                Some(link) if link == since.link => walk.at = since,
                Some(_) => walk.end(Damage::Rewritten { seq: since.seq }),
                None => walk.end(absent(connection, since.seq)?),
            }
        }
        walk.come_by();
        Ok(walk)
    }

    fn end(&mut self, damage: Damage) {
        self.damage.get_or_insert(damage);
        self.is_over = true;
    }

    /// Holds the kept heads up to here against the chain.
    fn come_by(&mut self) {
        while let Some(head) = self.heads.pop_if(|head| head.seq <= self.at.seq) {
            if head.seq < self.at.seq {
                self.end(Damage::HeadTooOld { seq: head.seq, start: self.at.seq });
            } else if head.link != self.at.link {
                self.end(Damage::Rewritten { seq: head.seq });
            }
        }
    }

    /// Follows the chain over some events of one snapshot. An error is something in the way of reading.
    fn window(&mut self, connection: &Connection, newest: u64) -> rusqlite::Result<()> {
        let snapshot = connection.unchecked_transaction()?;
        let start = start(&snapshot)?;
        if start.seq > self.at.seq {
            // A running store has deleted old events meanwhile.
            self.at = start;
            self.come_by();
        }
        let sql =
            format!("SELECT {COLUMNS}, link FROM events WHERE seq > ?1 AND seq <= ?2 ORDER BY seq LIMIT {WINDOW}");
        let mut statement = snapshot.prepare_cached(&sql)?;
        let mut rows = statement.query([self.at.seq, newest])?;
        let mut seen = 0;
        while !self.is_over {
            match rows.next() {
                Ok(Some(row)) => self.follow(row),
                Ok(None) => break,
                Err(error) if is_damage(&error) => {
                    let next = readable_again(&snapshot, self.at.seq + 1, newest)?;
                    self.end(Damage::Pages { seq: self.at.seq + 1, next, error: error.to_string() });
                }
                Err(error) => return Err(error),
            }
            seen += 1;
        }
        if seen < WINDOW && !self.is_over {
            self.is_over = true;
            if let Some(head) = self.heads.pop() {
                self.end(Damage::CutOff { seq: head.seq, newest: self.at.seq });
            }
        }
        Ok(())
    }

    /// Takes the next event if it belongs there.
    fn follow(&mut self, row: &Found<'_>) {
        let seq = self.at.seq + 1;
        match read(row) {
            Ok((found, _, _)) if found != seq => self.end(Damage::Gap { seq, found }),
            Ok((_, digest, link)) => {
                let next = self.at.then(digest);
                if next.link == link {
                    self.at = next;
                    self.events += 1;
                    self.come_by();
                } else {
                    self.end(Damage::Link { seq });
                }
            }
            Err(error) => self.end(Damage::Row { seq, error: error.to_string() }),
        }
    }
}

fn read(row: &Found<'_>) -> rusqlite::Result<(u64, Digest, Link)> {
    let event = Row::read(row)?;
    Ok((event.seq, event.digest(), Link::read(row.get_ref("link")?)?))
}

/// The place and the link before the first event.
fn start(connection: &Connection) -> rusqlite::Result<Head> {
    let mut statement = connection.prepare_cached("SELECT seq, link FROM start")?;
    let start = statement.query_row([], |row| Ok(Head { seq: row.get(0)?, link: Link::read(row.get_ref(1)?)? }));
    Ok(start.optional()?.unwrap_or(Head::START))
}

fn link_at(connection: &Connection, seq: u64) -> rusqlite::Result<Option<Link>> {
    let mut statement = connection.prepare("SELECT link FROM events WHERE seq = ?1")?;
    statement.query_row([seq], |row| Link::read(row.get_ref(0)?)).optional()
}

/// Why the log does not have this event.
fn absent(connection: &Connection, seq: u64) -> rusqlite::Result<Damage> {
    let sql = "SELECT (SELECT min(seq) FROM events WHERE seq > ?1), (SELECT max(seq) FROM events)";
    connection.query_row(sql, [seq], |row| {
        Ok(match row.get(0)? {
            Some(found) => Damage::Gap { seq, found },
            None => Damage::CutOff { seq, newest: row.get::<_, Option<u64>>(1)?.unwrap_or_default() },
        })
    })
}

/// The first event from the given one on that can be read again, as nearly as seeking tells:
/// asked at doubled distances and then between them.
fn readable_again(connection: &Connection, from: u64, newest: u64) -> rusqlite::Result<Option<u64>> {
    let mut statement = connection
        .prepare(&format!("SELECT {COLUMNS}, link FROM events WHERE seq >= ?1 AND seq <= ?2 ORDER BY seq LIMIT 1"))?;
    let mut find = |place: u64| match statement.query_row([place, newest], |row| row.get::<_, u64>(0)) {
        Ok(seq) => Ok(Some(seq)),
        Err(rusqlite::Error::QueryReturnedNoRows) => Ok(None),
        Err(error) if is_damage(&error) => Ok(None),
        Err(error) => Err(error),
    };
    let (mut damaged, mut distance) = (from, 1);
    let mut found = loop {
        let place = from.saturating_add(distance);
        match find(place)? {
            Some(found) => break found,
            None if place > newest => return Ok(None),
            None => (damaged, distance) = (place, distance.saturating_mul(2)),
        }
    };
    while found - damaged > 1 {
        let middle = damaged + (found - damaged) / 2;
        match find(middle)? {
            // What is found lies at or behind the place that was asked for.
            Some(nearer) if nearer < found => found = nearer,
            Some(_) => break,
            None => damaged = middle,
        }
    }
    Ok(Some(found))
}

/// What is wrong with pages and indexes; an id that occurs twice is among it.
fn faults(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(&format!("PRAGMA integrity_check({FAULTS})"))?;
    let lines = statement.query_map([], |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>();
    match lines {
        Ok(lines) => Ok(lines.into_iter().filter(|line| line != "ok").collect()),
        Err(error) if is_damage(&error) => Ok(vec![error.to_string()]),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
