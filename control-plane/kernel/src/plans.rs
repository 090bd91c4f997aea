//! How the databases find rows: by plans that suit large tables, though the tables are empty on the first day.
//!
//! SQLite's planner knows the sizes of tables and indexes from `sqlite_stat1` only, and guesses without. A guess can read
//! all tasks of a tenant where an index has the three that are asked for; what ANALYZE would find on the first day is
//! wrong on the thousandth. So the table is filled with what holds when it matters: large tables, small indexes of
//! what is open, columns that tell rows apart as their names say. (SQLite's documentation of ANALYZE names this way of
//! keeping plans as they are.)
//!
//! Postgres' planner knows a table's size when it plans, and by the settings of our connections ([`crate::Db`]) it plans
//! a statement once. The plan of a table that was nearly empty reads all of it, and is kept until the table is
//! analysed, which takes a minute at best and may be turned off. So each connection's plans are made anew now and
//! then ([`Renewal`]).

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::{Inner, Result, Tx, execute, fetch_all, fetch_one, rows};

/// Rows of a table, for the planner.
const ROWS: u64 = 1_000_000;
/// Rows of an index that has a part of them: of what is open, or due.
const ROWS_OF_PART: u64 = 10_000;

crate::sql! {
    IS_THERE: "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_stat1')", postgres "SELECT FALSE";
    // Makes `sqlite_stat1`, of the table that is there from the beginning.
    ANALYZE_LEAST: "ANALYZE schema_migrations", postgres "SELECT 1";
    FORGET: "DELETE FROM sqlite_stat1", postgres "SELECT 1";
    KNOWN: "SELECT tbl, coalesce(idx, ''), stat FROM sqlite_stat1", postgres "SELECT '', '', '' WHERE FALSE";
    TELL: "INSERT INTO sqlite_stat1 (tbl, idx, stat) SELECT value ->> 0, nullif(value ->> 1, ''), value ->> 2 FROM json_each($1)",
        postgres "SELECT CAST($1 AS TEXT)";
    // What is told of here is read again by the connections that are open.
    READ_AGAIN: "ANALYZE sqlite_schema", postgres "SELECT 1";
    INDEXES: "SELECT t.name, coalesce(i.name, ''), coalesce(i.\"unique\", 0) = 1, coalesce(i.partial, 0) = 1, \
                     coalesce((SELECT group_concat(coalesce(c.name, '')) FROM pragma_index_info(i.name) c), '') \
              FROM pragma_table_list t LEFT JOIN pragma_index_list(t.name) i \
              WHERE t.type = 'table' AND t.schema = 'main' AND t.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
        postgres "SELECT '', '', FALSE, FALSE, '' WHERE FALSE";
}

/// An index of a table, or a table without one: their names, whether it is unique, whether it is of a part of the
/// rows, and its columns, an expression being nameless.
type Index = (String, String, bool, bool, String);
/// A row of `sqlite_stat1`.
type Stat = (String, String, String);

/// Tells SQLite what it plans for, where it has not been told yet. Does nothing on Postgres.
pub(crate) async fn settle(tx: &mut Tx) -> Result<()> {
    if matches!(tx.inner(), Inner::Postgres(_)) {
        return Ok(());
    }
    if !fetch_one!(tx, (bool,), IS_THERE)?.0 {
        execute!(tx, ANALYZE_LEAST)?;
    }
    let told: BTreeSet<Stat> = fetch_all!(tx, Index, INDEXES)?.iter().map(stat).collect();
    let known: BTreeSet<Stat> = fetch_all!(tx, Stat, KNOWN)?.into_iter().collect();
    if known != told {
        execute!(tx, FORGET)?;
        execute!(tx, TELL, &rows(&told.into_iter().collect::<Vec<_>>())?)?;
        execute!(tx, READ_AGAIN)?;
    }
    Ok(())
}

/// The rows that there are, and how many of them have the same first column, the same first two, and so on.
fn stat((table, index, is_unique, is_partial, columns): &Index) -> Stat {
    let rows = if *is_partial { ROWS_OF_PART } else { ROWS };
    let mut stat = vec![rows];
    let mut values = 1_u64;
    if !index.is_empty() {
        for column in columns.split(',') {
            values = values.saturating_mul(values_of(column));
            stat.push((rows / values).max(1));
        }
        if let Some(last) = stat.last_mut().filter(|_| *is_unique) {
            *last = 1;
        }
    }
    let stat: Vec<String> = stat.iter().map(u64::to_string).collect();
    (table.clone(), index.clone(), stat.join(" "))
}

/// How many values a column has, as its name says.
fn values_of(column: &str) -> u64 {
    match column {
        "id" | "seq" | "position" | "place" => ROWS,
        "name" | "hash" | "dedup_key" => 100_000,
        // An index whose first column had the same value in all rows would count as useless.
        "tenant_id" => 3,
        // An expression.
        "" => 1_000,
        id if id.ends_with("_id") => 200_000,
        moment if moment.ends_with("_at") || moment.ends_with("_until") || moment == "deadline" => 50_000,
        _ => 5,
    }
}

/// When connections to Postgres forget their plans: each about a second after the first was opened, after two, after
/// four, and so on up to a minute, then each minute. So a table that grows steadily has about doubled since it was
/// planned for, and nobody notices that a hundred statements are planned again.
#[derive(Debug)]
pub(crate) struct Renewal {
    began: Instant,
    connections: u32,
    state: Mutex<Round>,
}

#[derive(Debug, Default)]
struct Round {
    number: u64,
    /// Connections that are still to forget theirs.
    left: u32,
}

impl Renewal {
    /// Of so many connections, which are taken in turns.
    pub(crate) fn new(connections: u32) -> Self {
        Self { began: Instant::now(), connections, state: Mutex::default() }
    }

    /// Whether the connection that is taken now is to forget its plans.
    pub(crate) fn is_due(&self) -> bool {
        self.is_due_after(self.began.elapsed())
    }

    fn is_due_after(&self, passed: Duration) -> bool {
        let number = round(passed);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.number < number {
            *state = Round { number, left: self.connections };
        }
        let is_due = state.left > 0;
        state.left = state.left.saturating_sub(1);
        is_due
    }
}

/// How many rounds have begun by then.
fn round(passed: Duration) -> u64 {
    let minute = u64::from(60_u64.ilog2()) + 1;
    match passed.as_secs() {
        0 => 0,
        seconds @ 1..60 => u64::from(seconds.ilog2()) + 1,
        seconds => minute + seconds / 60,
    }
}

#[cfg(test)]
mod tests;
