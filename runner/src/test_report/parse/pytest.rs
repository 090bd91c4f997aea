//! What pytest prints for people: a section of each failure, the short summary, and a last line with the counts.

use super::{Tally, count_before, millis};

/// Lines of a section that say what went wrong.
const ERROR_LINE: &str = "E   ";

/// Reads the output; nothing where there is no last line with counts.
pub(super) fn parse(text: &str) -> Option<Tally> {
    let last = text.lines().rev().find_map(counts)?;
    let mut tally = Tally { passed: last.passed, failed: last.failed, skipped: last.skipped, ..Tally::default() };
    tally.duration_ms = last.took;
    let sections = sections(text);
    for line in text.lines() {
        let Some(rest) = line.strip_prefix("FAILED ").or_else(|| line.strip_prefix("ERROR ")) else { continue };
        let (name, short) = rest.split_once(" - ").unwrap_or((rest, ""));
        // Only the short summary names tests so.
        if !name.contains("::") && !name.ends_with(".py") {
            continue;
        }
        let own = name.split("::").skip(1).collect::<Vec<_>>().join(".");
        let setup = format!(" of {own}");
        let said = sections.iter().find(|(title, _)| *title == own || title.ends_with(&setup));
        let said = said.map(|(_, said)| said.as_str()).filter(|said| !said.is_empty()).unwrap_or(short);
        tally.name(name, said, None);
    }
    Some(tally)
}

struct Last {
    passed: u64,
    failed: u64,
    skipped: u64,
    took: Option<u64>,
}

/// `=== 1 failed, 2 passed in 0.12s ===`, with or without the frame.
fn counts(line: &str) -> Option<Last> {
    let line = line.trim_matches(['=', ' ']);
    let (counts, took) = line.rsplit_once(" in ")?;
    let took = took.split(['s', ' ']).next()?.parse().ok().and_then(millis);
    let count = |word: &str| count_before(counts, word);
    let known = ["passed", "failed", "skipped", "error", "errors", "xfailed", "xpassed", "deselected", "warnings"];
    let is_told = counts == "no tests ran" || known.iter().any(|word| count(word).is_some());
    let sum = |words: &[&str]| words.iter().filter_map(|word| count(word)).fold(0, u64::saturating_add);
    is_told.then(|| Last {
        passed: sum(&["passed", "xpassed"]),
        failed: sum(&["failed", "error", "errors"]),
        skipped: sum(&["skipped", "xfailed"]),
        took,
    })
}

/// The error lines of each section `____ title ____`.
fn sections(text: &str) -> Vec<(&str, String)> {
    let mut found: Vec<(&str, String)> = Vec::new();
    for line in text.lines() {
        let title = line.trim_matches('_').trim();
        if line.starts_with("__") && line.ends_with("__") && !title.is_empty() {
            if found.len() >= wire::limit::FAILED_TESTS {
                break;
            }
            found.push((title, String::new()));
        } else if line.starts_with("===") && !found.is_empty() {
            // The next part begins.
            found.push(("", String::new()));
        } else if let Some((_, said)) = found.last_mut()
            && let Some(error) = line.strip_prefix(ERROR_LINE)
        {
            said.push_str(error);
            said.push('\n');
        }
    }
    found
}
