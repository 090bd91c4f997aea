//! What is told of an attempt to who comes after it (row RU-11): which tests failed, and how (pure).

use std::fmt::Write as _;

use wire::agent::AgentSpec;
use wire::limit::PROMPT_CHARS;
use wire::task::TaskSpec;
use wire::test_report::TestReport;

use super::{Ending, Execution};

/// Tests that are told with what they said; of further ones the names are told.
const TOLD_WHOLE: usize = 10;
/// What is told at most: the task itself must keep the agent's attention.
const LESSON_CHARS: usize = 16_000;

/// The specification as the next attempt is given it: where the last tests failed, the agent's prompt says so.
pub(crate) fn add(spec: TaskSpec, tested: Option<Execution>) -> TaskSpec {
    let number = tested.as_ref().map_or(0, |execution| execution.number);
    let report = tested.and_then(|execution| execution.ending).and_then(|ending| ending.tests);
    let Some((agent, report)) = spec.agent.as_ref().zip(report.filter(|report| !report.success)) else { return spec };
    let room = PROMPT_CHARS.saturating_sub(agent.prompt.chars().count()).min(LESSON_CHARS);
    let lesson: String = lesson(number, &report).chars().take(room).collect();
    let agent = AgentSpec { prompt: format!("{}{lesson}", agent.prompt), ..agent.clone() };
    TaskSpec { agent: Some(agent), ..spec }
}

/// What an attempt said of its failure, and what its tests said.
pub(crate) fn failure(ending: &Ending) -> String {
    let message = ending.message.as_deref().unwrap_or_default();
    let report = ending.tests.as_deref().filter(|report| !report.success);
    let said = report.map(told).filter(|said| !said.is_empty());
    let tests = said.map(|said| format!("\n{said}")).unwrap_or_default();
    [message, &tests].concat().chars().take(LESSON_CHARS).collect()
}

fn lesson(number: i32, report: &TestReport) -> String {
    let command = if report.command.is_empty() { String::new() } else { format!(" (`{}`)", report.command.join(" ")) };
    format!(
        "\n\nAttempt {number} at this was followed by tests{command} that failed: {}.\n{}\n\nSee to it that they pass \
         this time.\n",
        report.headline(),
        told(report)
    )
}

/// The tests that failed, or, where none is named, what their tool said last.
fn told(report: &TestReport) -> String {
    match report.last_words.as_deref().filter(|_| report.failures.is_empty()) {
        Some(said) => said.lines().map(|line| format!("\n    {line}")).collect(),
        None => failures(report),
    }
}

fn failures(report: &TestReport) -> String {
    let mut text = String::new();
    for test in report.failures.iter().take(TOLD_WHOLE) {
        write!(text, "\n- {}", test.name).expect("a string takes anything");
        for line in test.message.lines() {
            write!(text, "\n    {line}").expect("a string takes anything");
        }
    }
    let rest: Vec<&str> = report.failures.iter().skip(TOLD_WHOLE).map(|test| test.name.as_str()).collect();
    if !rest.is_empty() {
        write!(text, "\n- and: {}", rest.join(", ")).expect("a string takes anything");
    }
    text
}

#[cfg(test)]
mod tests {
    use wire::test_report::{FailedTest, TestFormat};

    use super::*;

    fn report(failures: usize) -> TestReport {
        let failure = |number| FailedTest {
            name: format!("test_{number}"),
            message: format!("expected {number}\nfound 7"),
            duration_ms: None,
        };
        TestReport {
            format: Some(TestFormat::Pytest),
            command: vec!["pytest".into(), "-q".into()],
            success: false,
            passed: 3,
            failed: failures as u64,
            skipped: 0,
            duration_ms: 10,
            failures: (0..failures).map(failure).collect(),
            unread: None,
            last_words: None,
        }
    }

    #[test]
    fn what_failed_is_told_with_what_it_said_and_the_rest_by_name() {
        let text = lesson(2, &report(1));
        let expect = "\n\nAttempt 2 at this was followed by tests (`pytest -q`) that failed: 1 of 4 tests failed: test_0.\n\
            \n- test_0\n    expected 0\n    found 7\n\nSee to it that they pass this time.\n";
        assert_eq!(text, expect);
        let unbuilt = TestReport { last_words: Some("x.go:2: undefined: y\nFAIL".into()), ..report(0) };
        assert!(lesson(1, &unbuilt).contains("\n    x.go:2: undefined: y\n    FAIL\n"), "{}", lesson(1, &unbuilt));
        let many = lesson(1, &report(12));
        assert!(many.contains("- test_9\n") && many.contains("- and: test_10, test_11\n"), "{many}");
    }
}
