//! What `cargo nextest run` prints for people: a line with its verdict for each test, what a failed one wrote
//! indented below, and a summary.

use super::{Tally, count_before, millis};

/// Verdicts of tests that failed. Some are of one character more where there is a signal.
const FAILED: [&str; 6] = ["FAIL", "SIGABRT", "SIGSEGV", "SIGKILL", "TIMEOUT", "LEAK-FAIL"];

/// Reads the output; nothing where there is no summary.
pub(super) fn parse(text: &str) -> Option<Tally> {
    let mut tally = Tally::default();
    let mut is_told = false;
    let mut said: Option<(String, String)> = None;
    for line in text.lines() {
        match status(line) {
            Some(("Summary", took, rest)) => {
                close(&mut tally, said.take());
                is_told = true;
                let count = |word: &str| count_before(rest, word).unwrap_or(0);
                tally.passed = count("passed");
                tally.failed = count("failed").saturating_add(count("timed")).saturating_add(count("exec"));
                tally.skipped = count("skipped");
                tally.duration_ms = took;
            }
            Some((verdict, took, name)) => {
                close(&mut tally, said.take());
                let name = without_place(name);
                // A failure is told again below the summary.
                let is_known = tally.failures.iter().any(|test| test.name == name);
                if FAILED.contains(&verdict) && !is_known {
                    tally.name(name, "", took);
                    said = Some((name.to_owned(), String::new()));
                }
            }
            None => {
                if let Some((_, said)) = &mut said {
                    said.push_str(line.strip_prefix("    ").unwrap_or(line));
                    said.push('\n');
                }
            }
        }
    }
    close(&mut tally, said);
    is_told.then_some(tally)
}

/// `        FAIL [   0.004s] rest`, taken apart.
fn status(line: &str) -> Option<(&str, Option<u64>, &str)> {
    if !line.starts_with(' ') {
        return None;
    }
    let (verdict, rest) = line.trim_start().split_once(" [")?;
    let (took, rest) = rest.split_once("] ")?;
    let took = took.trim().trim_start_matches('>').strip_suffix('s')?.trim().parse().ok().and_then(millis);
    let is_verdict = |c: char| c.is_ascii_uppercase() || c == '-' || c.is_ascii_digit();
    (verdict == "Summary" || (!verdict.is_empty() && verdict.chars().all(is_verdict))).then_some((verdict, took, rest))
}

/// Newer versions say `(3/17) ` before the name.
fn without_place(name: &str) -> &str {
    let name = name.trim();
    let rest = name.strip_prefix('(').and_then(|rest| rest.split_once(") "));
    rest.filter(|(place, _)| place.contains('/')).map_or(name, |(_, name)| name.trim())
}

fn close(tally: &mut Tally, said: Option<(String, String)>) {
    if let Some((name, said)) = said {
        tally.say(&name, &said);
    }
}
