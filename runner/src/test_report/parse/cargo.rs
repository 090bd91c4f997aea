//! What `cargo test` prints for people: a line for each test, what failed ones wrote between `---- NAME stdout ----`
//! and the next blank heading, and a result for each program of tests.

use super::{Tally, count_before, millis};

/// How a result begins.
const RESULT: &str = "test result: ";

/// Reads the output; nothing where no program of tests told its result.
pub(super) fn parse(text: &str) -> Option<Tally> {
    let mut tally = Tally::default();
    let mut is_told = false;
    let mut section: Option<(String, String)> = None;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" ----")) {
            close(&mut tally, section.take());
            section = Some((test_name(name).to_owned(), String::new()));
        } else if line == "failures:" || line.starts_with(RESULT) {
            close(&mut tally, section.take());
        } else if let Some((_, said)) = &mut section {
            said.push_str(line);
            said.push('\n');
        }
        if let Some(name) = failed(line) {
            tally.name(name, "", None);
        }
        if let Some(result) = line.strip_prefix(RESULT) {
            is_told = true;
            let count = |word: &str| count_before(result, word).unwrap_or(0);
            tally.passed = tally.passed.saturating_add(count("passed"));
            tally.failed = tally.failed.saturating_add(count("failed"));
            tally.skipped = tally.skipped.saturating_add(count("ignored"));
            let seconds = result.rsplit_once("finished in ").and_then(|(_, rest)| rest.strip_suffix('s')?.parse().ok());
            seconds.and_then(millis).into_iter().for_each(|took| tally.took(took));
        }
    }
    close(&mut tally, section);
    is_told.then_some(tally)
}

/// `test NAME ... FAILED`, of which a test's own output may have torn the end off the line.
fn failed(line: &str) -> Option<&str> {
    let (name, verdict) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    (verdict == "FAILED" || verdict.starts_with("FAILED ")).then(|| test_name(name))
}

/// Without what is said of a test besides its name.
fn test_name(name: &str) -> &str {
    let name = name.strip_suffix(" stdout").unwrap_or(name);
    name.strip_suffix(" - should panic").unwrap_or(name)
}

fn close(tally: &mut Tally, section: Option<(String, String)>) {
    if let Some((name, said)) = section {
        tally.say(&name, &said);
    }
}
