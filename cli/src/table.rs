//! Tables: drawn on a terminal, aligned plain text otherwise, so that `grep`,
//! `awk` and `cut` find their way. Ids are never cut.
//!
//! Where a terminal is too narrow, what is worth least is left out, and the last
//! line says so; what is left and still does not fit runs on, unbroken by us.

use comfy_table::presets::NOTHING;
use comfy_table::{
    Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement, LineStyle, Table, TableStyle, Width,
};

use crate::output::{Face, one_line};

/// A line below the header, where somebody looks and it is not broken.
const DRAWN: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─'));
/// Between two columns, in characters.
const GAP: u16 = 2;
/// Where nothing fits anyway, free text is cut to this, in characters: the rest is in `--json`.
const FREE_TEXT_MAX: usize = 60;
/// Where nobody says how wide it may be, free text that others stand behind is cut to this, in characters: each other row
/// is filled up to the longest one.
const PADDED_TEXT_MAX: usize = 200;
/// What a column of free text needs at least, in characters: less is one word below the other.
const FREE_TEXT_MIN: u16 = 20;
/// What a narrow terminal can do without, the least of use first.
const SPARE: [&str; 40] = [
    "REGION",
    "MACHINE",
    "SIZE",
    "ZONE",
    "LAST",
    "STORED",
    "CHANGED",
    "ALERT AT",
    "SET ASIDE",
    "SENT",
    "RECEIVED",
    "METHOD",
    "QUEUED",
    "WAVE",
    "LATEST",
    "OVER TWICE",
    "ESTIMATE",
    "TOOK",
    "ATTEMPT",
    "GROUP",
    "SUBMITTED",
    "PRIORITY",
    "HEARD",
    "SEEN",
    "REPOSITORIES",
    "EVENTS",
    "SINCE",
    "LOAD",
    "TYPE",
    "FOR",
    "LEFT",
    "PINNED",
    "CRON",
    "OWNER",
    "UNTIL",
    "EARLIEST",
    "SLACK",
    "TASK",
    "WAITING",
    "NEEDS",
];

/// The text of a table. On a terminal, columns of free text may wrap.
pub(crate) fn render(header: &[&str], rows: Vec<Vec<String>>, face: Face) -> String {
    let width = if face.is_terminal { Table::new().width() } else { None };
    lay_out(header, rows, face, width)
}

/// In so many columns of characters; as wide as it is where nobody says.
fn lay_out(header: &[&str], rows: Vec<Vec<String>>, face: Face, width: Option<u16>) -> String {
    let rows = if width.is_none() { without_long_padding(header, rows) } else { rows };
    let mut table = fill(header, &rows, face, usize::MAX);
    let wanted = wanted_widths(&table, header);
    let left_out = width.map(|width| left_out(&worth(header, &rows), &wanted, width)).unwrap_or_default();
    let is_kept = |column: &usize| !left_out.contains(column);
    let needed: u16 = (0..header.len()).filter(is_kept).map(|column| wanted[column]).fold(0, u16::saturating_add);
    match width {
        Some(width) if needed <= width => {
            table.load_style(DRAWN).set_content_arrangement(ContentArrangement::Dynamic);
            table.set_width(width);
        }
        // A line across it would only be one more that the terminal breaks.
        Some(_) => table = fill(header, &rows, face, FREE_TEXT_MAX),
        None => (),
    }
    for (place, (column, name)) in table.column_iter_mut().zip(header).enumerate() {
        column.set_padding((0, GAP));
        column.set_cell_alignment(CellAlignment::Left);
        column.set_constraint(if left_out.contains(&place) {
            ColumnConstraint::Hidden
        } else if may_wrap(name) {
            ColumnConstraint::LowerBoundary(Width::Fixed(wanted[place]))
        } else {
            ColumnConstraint::ContentWidth
        });
    }
    let text = table.trim_fmt();
    let names: Vec<&str> = left_out.iter().map(|column| header[*column]).collect();
    match names.as_slice() {
        [] => text,
        names => format!("{text}\nleft out, for want of room: {}", names.join(", ")),
    }
}

/// With free text cut in all columns but the last, behind which nothing stands.
fn without_long_padding(header: &[&str], mut rows: Vec<Vec<String>>) -> Vec<Vec<String>> {
    let columns = (0..header.len().saturating_sub(1)).filter(|column| may_wrap(header[*column]));
    for column in columns {
        for cell in rows.iter_mut().filter_map(|row| row.get_mut(column)) {
            *cell = cut(&one_line(cell), PADDED_TEXT_MAX);
        }
    }
    rows
}

/// The cells, with free text of at most so many characters.
fn fill(header: &[&str], rows: &[Vec<String>], face: Face, most: usize) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    // Whether somebody looks, and in colour, has been found out once, for everything that is written.
    table.force_no_tty();
    if face.is_coloured {
        table.enforce_styling().style_text_only();
    }
    table.set_header(header.iter().copied());
    for row in rows {
        table.add_row(header.iter().zip(row).map(|(name, cell)| {
            let cell = if may_wrap(name) { cut(&one_line(cell), most) } else { one_line(cell) };
            match colour(name, &cell).filter(|_| face.is_coloured) {
                Some(colour) => Cell::new(cell).fg(colour),
                None => Cell::new(cell),
            }
        }));
    }
    table
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
        None => text.to_owned(),
    }
}

/// The columns that can be left out, the least of use first: those that say nothing in any row, then what is spare.
/// Never the first, which says what a row is about.
fn worth(header: &[&str], rows: &[Vec<String>]) -> Vec<usize> {
    let says_nothing = |place: &usize| rows.iter().all(|row| row.get(*place).is_none_or(|cell| cell == "-"));
    let mut columns: Vec<usize> = (1..header.len()).filter(says_nothing).collect();
    let spare = SPARE.iter().filter_map(|spare| header.iter().position(|name| name == spare));
    for place in spare.filter(|place| *place > 0) {
        if !columns.contains(&place) {
            columns.push(place);
        }
    }
    columns
}

/// What each column takes at least with its gap, in characters.
fn wanted_widths(table: &Table, header: &[&str]) -> Vec<u16> {
    let widths = table.column_max_content_widths().into_iter().zip(header);
    widths.map(|(content, name)| if may_wrap(name) { content.min(FREE_TEXT_MIN) } else { content } + GAP).collect()
}

/// Which of these columns, the least of use first, a terminal of this width has no room for.
fn left_out(worth: &[usize], wanted: &[u16], width: u16) -> Vec<usize> {
    let mut missing = wanted.iter().map(|wanted| i32::from(*wanted)).sum::<i32>() - i32::from(width);
    let mut out = Vec::new();
    for &place in worth {
        if missing > 0 {
            missing -= i32::from(wanted[place]);
            out.push(place);
        }
    }
    // A small column may fit beside what made room for a large one.
    let mut is_back = |place: &usize| {
        let with_it = missing + i32::from(wanted[*place]);
        missing = if with_it <= 0 { with_it } else { missing };
        with_it <= 0
    };
    let mut out: Vec<usize> = out.into_iter().rev().filter(|place| !is_back(place)).collect();
    out.sort_unstable();
    out
}

/// Only what people have written, or written down, can be long.
fn may_wrap(header: &str) -> bool {
    matches!(
        header,
        "TITLE" | "WAITING" | "REPOSITORIES" | "LAST ERROR" | "CHANGE" | "REASON" | "EVENTS" | "URL" | "VALUE"
    )
}

/// How a word about how something stands looks to whoever has a colourful terminal.
fn colour(header: &str, word: &str) -> Option<Color> {
    if !matches!(header, "STATUS" | "ITS STATUS" | "STATE" | "OUTCOME" | "VERDICT") {
        return None;
    }
    match word {
        "completed" | "succeeded" | "active" | "allowed" => Some(Color::Green),
        "ready" | "idle" => Some(Color::Cyan),
        "assigned" | "running" | "in_progress" | "creating" | "starting" | "resuming" | "draining" | "suspending"
        | "destroying" => Some(Color::Yellow),
        "failed" | "lost" | "setup_failed" | "timed_out" | "idle_timed_out" | "stalled" | "worker_lost"
        | "disabled" | "off" => Some(Color::Red),
        "cancelled" | "split" | "released" | "preempted" | "suspended" | "destroyed" => Some(Color::DarkGrey),
        _ if header == "VERDICT" => Some(Color::Red),
        _ => None,
    }
}

/// Words in one column.
pub(crate) fn joined(words: &[String]) -> Option<String> {
    (!words.is_empty()).then(|| words.join(", "))
}

/// An empty column would make those behind it the wrong ones for `awk`.
pub(crate) fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".into())
}

#[cfg(test)]
mod tests;
