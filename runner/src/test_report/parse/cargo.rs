//! What `cargo test` prints for people: a line for each test, what failed ones wrote between `---- NAME stdout ----`
//! and the next blank heading, and a result for each program of tests. One that told no result was ended on the way.

use super::{Tally, count_before, millis};

/// How a result begins.
const RESULT: &str = "test result: ";

/// How cargo tells that a program of tests was ended, after the line that says which.
const ENDED: &str = "process didn't exit successfully: ";

/// A program of tests that has begun.
#[derive(Debug, Default)]
struct Program {
    /// The tests that it has.
    tests: u64,
    passed: u64,
    failed: u64,
    ignored: u64,
}

/// Reads the output; nothing where no program of tests told its result, or was ended before.
pub(super) fn parse(text: &str) -> Option<Tally> {
    let mut tally = Tally::default();
    let mut is_told = false;
    let mut program: Option<Program> = None;
    // Of those that told no result, and in the same order what cargo says of them: it does so on another stream.
    let (mut lost, mut causes): (Vec<Program>, Vec<(&str, &str)>) = (Vec::new(), Vec::new());
    let mut which = "";
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
        if let Some(tests) = begins(line).filter(|_| section.is_none()) {
            lost.extend(program.replace(Program { tests, ..Program::default() }));
        }
        if let Some(name) = failed(line) {
            tally.name(name, "", None);
        }
        if let Some(program) = &mut program {
            program.note(line);
        }
        if let Some(rerun) = line.strip_prefix("error: test failed, to rerun pass ") {
            which = rerun.trim_matches('`');
        } else if let Some(how) = line.trim_start().strip_prefix(ENDED) {
            causes.push((which, how));
        }
        if let Some(result) = line.strip_prefix(RESULT) {
            is_told = true;
            program = None;
            let count = |word: &str| count_before(result, word).unwrap_or(0);
            tally.passed = tally.passed.saturating_add(count("passed"));
            tally.failed = tally.failed.saturating_add(count("failed"));
            tally.skipped = tally.skipped.saturating_add(count("ignored"));
            let seconds = result.rsplit_once("finished in ").and_then(|(_, rest)| rest.strip_suffix('s')?.parse().ok());
            seconds.and_then(millis).into_iter().for_each(|took| tally.took(took));
        }
    }
    close(&mut tally, section);
    lost.extend(program);
    is_told |= !lost.is_empty() && !causes.is_empty();
    let causes = causes.into_iter().map(Some).chain(std::iter::repeat(None));
    lost.iter().zip(causes).for_each(|(program, cause)| program.lose(&mut tally, cause));
    is_told.then_some(tally)
}

impl Program {
    fn note(&mut self, line: &str) {
        let Some((_, verdict)) = line.strip_prefix("test ").and_then(|rest| rest.rsplit_once(" ... ")) else { return };
        match verdict.split([' ', ',']).next() {
            Some("ok") => self.passed += 1,
            Some("FAILED") => self.failed += 1,
            Some("ignored") => self.ignored += 1,
            _ => (),
        }
    }

    /// Counts one that told no result: what it never told of could not be run.
    fn lose(&self, tally: &mut Tally, cause: Option<(&str, &str)>) {
        let told = self.passed + self.failed + self.ignored;
        let missing = self.tests.saturating_sub(told).max(1);
        tally.passed = tally.passed.saturating_add(self.passed);
        tally.failed = tally.failed.saturating_add(self.failed).saturating_add(missing);
        tally.skipped = tally.skipped.saturating_add(self.ignored);
        let (which, how) = cause.unwrap_or(("", "it told no result"));
        let name = ["a program of tests", which].join(" ");
        tally.name(&name, &format!("ended after it had told of {told} of its {} tests: {how}", self.tests), None);
    }
}

/// `running 3 tests`, by which a program begins.
fn begins(line: &str) -> Option<u64> {
    let (count, of) = line.strip_prefix("running ")?.split_once(' ')?;
    matches!(of, "test" | "tests").then(|| count.parse().ok())?
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
