//! Events as lines of JSON or as CSV, for other programs. It takes as much memory as one
//! event, however many there are.

use std::io::Write;
use std::path::Path;

use chrono::{DateTime, Utc};
use rusqlite::ToSql;
use wire::id::TaskId;

use super::{Database, Error, Stage, Watch, write_error};
use crate::log::{COLUMNS, Row};

/// Places looked at on one snapshot.
const WINDOW: u64 = 10_000;

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// One JSON object a line
    Ndjson,
    /// Comma-separated values (RFC 4180), the payload as JSON text
    Csv,
}

/// Which events are written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selected {
    pub(crate) task: Option<TaskId>,
    pub(crate) kind: Option<String>,
    /// Those that happened then or later, by their producers' clocks.
    pub(crate) since: Option<DateTime<Utc>>,
    /// Those that happened before.
    pub(crate) until: Option<DateTime<Utc>>,
    /// Only behind this place.
    pub(crate) after: u64,
}

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Exported {
    pub(crate) events: u64,
    /// The place of the newest event that was looked at: where a later export goes on behind.
    pub(crate) seen: u64,
    /// Payloads that stood on several lines.
    pub(crate) joined: u64,
}

/// Writes the selected events that are there now, oldest first.
pub(crate) fn export(
    data: &Path,
    selected: &Selected,
    format: Format,
    out: &mut dyn Write,
    watch: &Watch<'_>,
) -> Result<Exported, Error> {
    let database = Database::of_store(data, watch)?;
    database.version()?;
    let failed = |error| database.failed(error);
    let sql = "SELECT coalesce(min(seq), 1) - 1, coalesce(max(seq), 0) FROM events";
    let (start, newest): (u64, u64) =
        database.connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed)?;
    database.settle()?;
    let mut statement = database.connection.prepare(&query(selected)).map_err(failed)?;
    let task = selected.task.map(|task| task.uuid().into_bytes());
    let (since, until) =
        (selected.since.map(|at| at.timestamp_micros()), selected.until.map(|at| at.timestamp_micros()));
    let mut exported = Exported { seen: selected.after.max(start), ..Exported::default() };
    let mut line = Vec::new();
    if format == Format::Csv {
        write(out, CSV_HEADER.as_bytes())?;
    }
    while exported.seen < newest {
        watch.tell(Stage::Exporting, exported.seen, newest)?;
        let to = newest.min(exported.seen + WINDOW);
        let mut parameters: Vec<(&str, &dyn ToSql)> = vec![(":after", &exported.seen), (":to", &to)];
        parameters.extend(task.as_ref().map(|task| (":task", task as &dyn ToSql)));
        parameters.extend(selected.kind.as_ref().map(|kind| (":type", kind as &dyn ToSql)));
        parameters.extend(since.as_ref().map(|at| (":since", at as &dyn ToSql)));
        parameters.extend(until.as_ref().map(|at| (":until", at as &dyn ToSql)));
        let mut rows = statement.query(parameters.as_slice()).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let row = Row::read(row).map_err(failed)?;
            line.clear();
            match format {
                Format::Ndjson => exported.joined += u64::from(ndjson(&mut line, &row)),
                Format::Csv => csv(&mut line, &row),
            }
            write(out, &line)?;
            exported.events += 1;
        }
        drop(rows);
        exported.seen = to;
    }
    out.flush().map_err(|source| write_error(Path::new("the export"), source))?;
    Ok(exported)
}

fn write(out: &mut dyn Write, bytes: &[u8]) -> Result<(), Error> {
    out.write_all(bytes).map_err(|source| write_error(Path::new("the export"), source))
}

fn query(selected: &Selected) -> String {
    let mut sql = format!("SELECT {COLUMNS} FROM events WHERE seq > :after AND seq <= :to");
    for (condition, is_wanted) in [
        (" AND task_id = :task", selected.task.is_some()),
        (" AND type = :type", selected.kind.is_some()),
        (" AND created_at >= :since", selected.since.is_some()),
        (" AND created_at < :until", selected.until.is_some()),
    ] {
        sql.push_str(if is_wanted { condition } else { "" });
    }
    sql.push_str(" ORDER BY seq");
    sql
}

/// One line. Says whether the payload stood on several: within JSON a line break can only
/// stand between tokens, where a blank means the same.
fn ndjson(line: &mut Vec<u8>, row: &Row<'_>) -> bool {
    row.write_json(line);
    let mut was_joined = false;
    for byte in line.iter_mut().filter(|byte| matches!(**byte, b'\n' | b'\r')) {
        *byte = b' ';
        was_joined = true;
    }
    line.push(b'\n');
    was_joined
}

const CSV_HEADER: &str = "seq,id,type,task_id,execution_id,producer,created_at,schema_version,payload\r\n";

fn csv(line: &mut Vec<u8>, row: &Row<'_>) {
    let fields = row.texts();
    for (index, field) in fields.iter().enumerate() {
        if index > 0 {
            line.push(b',');
        }
        quote(line, field.as_bytes());
    }
    line.extend_from_slice(b"\r\n");
}

fn quote(line: &mut Vec<u8>, field: &[u8]) {
    if !field.iter().any(|byte| matches!(byte, b',' | b'"' | b'\r' | b'\n')) {
        line.extend_from_slice(field);
        return;
    }
    line.push(b'"');
    for byte in field {
        line.extend_from_slice(if *byte == b'"' { b"\"\"" } else { std::slice::from_ref(byte) });
    }
    line.push(b'"');
}
