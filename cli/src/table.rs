//! Tables: drawn on a terminal, aligned plain text otherwise, so that `grep`,
//! `awk` and `cut` find their way. Ids are never cut.

use comfy_table::presets::{NOTHING, UTF8_HORIZONTAL_ONLY};
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table};

use crate::output::one_line;

/// The text of a table. On a terminal, columns of free text may wrap.
pub(crate) fn render(header: &[&str], rows: Vec<Vec<String>>, is_terminal: bool) -> String {
    lay_out(header, rows, is_terminal).trim_fmt()
}

fn lay_out(header: &[&str], rows: Vec<Vec<String>>, is_terminal: bool) -> Table {
    let mut table = Table::new();
    table.set_header(header.iter().copied());
    table.add_rows(rows.into_iter().map(|row| row.into_iter().map(|cell| one_line(&cell)).collect::<Vec<_>>()));
    if is_terminal {
        table.load_style(UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    } else {
        table.force_no_tty().load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    }
    for (column, name) in table.column_iter_mut().zip(header) {
        column.set_padding((0, 2));
        column.set_cell_alignment(CellAlignment::Left);
        if !may_wrap(name) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    table
}

/// Only what people have written, or written down, can be long.
fn may_wrap(header: &str) -> bool {
    matches!(header, "TITLE" | "REPOSITORIES" | "LAST ERROR" | "CHANGE" | "REASON" | "EVENTS" | "URL")
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
mod tests {
    use super::*;

    const ID: &str = "0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70";

    #[test]
    fn piped_tables_are_aligned_without_lines_or_tabs() {
        let rows = vec![
            vec!["1".into(), "a\u{1b}[2Jlong title".into(), "x".into()],
            vec!["22".into(), "short".into(), "y".into()],
        ];
        assert_eq!(
            render(&["N", "TITLE", "END"], rows, false),
            "N   TITLE            END\n1   a\u{fffd}[2Jlong title  x\n22  short            y"
        );
    }

    #[test]
    fn an_id_is_whole_however_narrow_the_terminal() {
        let rows = vec![vec![ID.into(), "many words that need a good deal of room ".repeat(9)]];
        let mut table = lay_out(&["ID", "TITLE"], rows, true);
        let text = table.set_width(60).trim_fmt();
        assert!(text.contains(ID), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
    }
}
