//! What a pipe gets, and what fits on a screen.

use super::*;

const ID: &str = "0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70";
const SCREEN: Face = Face { is_terminal: true, is_coloured: false };
const TASKS: [&str; 7] = ["ID", "STATUS", "PRIORITY", "NEEDS", "SUBMITTED", "WAITING", "TITLE"];

fn tasks() -> Vec<Vec<String>> {
    let title = "many words that need a good deal of room ".repeat(3);
    let waiting = "2 other tasks, the first of which is not completed".to_owned();
    let words = ["in_progress", "3", "-", "12 min ago"].map(str::to_owned);
    vec![[ID.to_owned()].into_iter().chain(words).chain([waiting, title]).collect()]
}

fn widest(text: &str) -> usize {
    text.lines().map(|line| line.chars().count()).max().unwrap_or(0)
}

#[test]
fn piped_tables_are_aligned_without_lines_or_tabs() {
    let rows = vec![
        vec!["1".into(), "a\u{1b}[2Jlong title".into(), "x".into()],
        vec!["22".into(), "short".into(), "y".into()],
    ];
    assert_eq!(
        render(&["N", "TITLE", "END"], rows, Face::PLAIN),
        "N   TITLE            END\n1   a\u{fffd}[2Jlong title  x\n22  short            y"
    );
}

#[test]
fn one_long_text_does_not_fill_the_other_rows_with_blanks() {
    let rows = vec![vec!["1".into(), "x".repeat(9_999), "long".into()], vec!["2".into(), "y".into(), "short".into()]];
    let text = render(&["N", "CHANGE", "REASON"], rows, Face::PLAIN);
    assert!(widest(&text) < 220, "{}", widest(&text));
    assert!(text.contains("x…  long") && text.lines().last().is_some_and(|line| line.ends_with("  short")), "{text}");
    // Nothing stands behind the last column.
    let rows = vec![vec!["1".into(), "x".repeat(999)]];
    assert!(render(&["N", "TITLE"], rows, Face::PLAIN).ends_with(&"x".repeat(999)));
}

#[test]
fn an_id_is_whole_however_narrow_the_terminal() {
    let rows = vec![vec![ID.into(), "many words that need a good deal of room ".repeat(9)]];
    let text = lay_out(&["ID", "TITLE"], rows, SCREEN, Some(60));
    assert!(text.contains(ID), "{text}");
    assert!(widest(&text) <= 60, "{text}");
}

#[test]
fn a_narrow_terminal_is_spared_what_is_worth_least_and_told_so() {
    for (width, gone) in [
        (80, Some("PRIORITY, SUBMITTED, WAITING")),
        (100, Some("PRIORITY, NEEDS, SUBMITTED")),
        (120, Some("NEEDS")),
        (200, None),
    ] {
        let text = lay_out(&TASKS, tasks(), SCREEN, Some(width));
        assert!(text.contains(ID) && widest(&text) <= usize::from(width), "{width}:\n{text}");
        let said = text.lines().last().and_then(|line| line.strip_prefix("left out, for want of room: "));
        assert_eq!(said, gone, "{width}:\n{text}");
        assert!(text.contains("many words that"), "the title has room at {width}:\n{text}");
    }
}

#[test]
fn what_fits_in_no_way_runs_on_and_is_broken_by_nobody_but_the_terminal() {
    let text = lay_out(&TASKS, tasks(), SCREEN, Some(60));
    let lines: Vec<&str> = text.lines().collect();
    let [header, row, said] = lines.as_slice() else { panic!("{text}") };
    assert!(header.starts_with("ID ") && header.ends_with("TITLE"), "{text}");
    assert!(row.contains(ID) && row.ends_with('…') && row.chars().count() < 120, "{text}");
    assert_eq!(*said, "left out, for want of room: PRIORITY, NEEDS, SUBMITTED, WAITING");
}

#[test]
fn how_something_stands_is_coloured_only_where_colours_are_wanted() {
    let rows = || vec![vec![ID.to_owned(), "failed".to_owned(), "failed".to_owned()]];
    let header = ["ID", "STATUS", "TITLE"];
    let coloured = lay_out(&header, rows(), Face { is_terminal: false, is_coloured: true }, None);
    assert_eq!(coloured.matches('\u{1b}').count(), 2, "one word, on and off: {coloured:?}");
    assert!(!lay_out(&header, rows(), SCREEN, Some(80)).contains('\u{1b}'));
}
