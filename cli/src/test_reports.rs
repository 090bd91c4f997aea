//! `bifrost tests`: what came of a task's tests.

use serde::Serialize;
use wire::execution::ExecutionView;
use wire::id::ExecutionId;
use wire::test_report::TestReport;

use crate::args::TestsArguments;
use crate::connect::Server;
use crate::duration::show_micros;
use crate::exit::{Code, failure};
use crate::invocation::Invocation;
use crate::output::one_line;

/// A report, and the attempt that it is of.
#[derive(Serialize)]
struct OfAttempt<'a> {
    execution_id: ExecutionId,
    number: i32,
    #[serde(flatten)]
    report: &'a TestReport,
}

/// Shows the newest report.
pub(crate) async fn show(invocation: &Invocation, arguments: &TestsArguments) -> anyhow::Result<()> {
    let server = Server::find(invocation)?;
    let history = server.ask(async |control| control.executions(arguments.id).await).await?;
    let tested = |execution: &&ExecutionView| execution.tests.is_some();
    let newest = history.executions.iter().filter(tested).max_by_key(|execution| execution.number);
    let Some((execution, report)) = newest.and_then(|execution| Some((execution, execution.tests.as_ref()?))) else {
        let message = format!("no attempt at task {} has run tests", arguments.id);
        return Err(failure(Code::NotFound, message, "have them run with: bifrost run --tests"));
    };
    let output = invocation.output;
    if output.is_json {
        return output.json(&OfAttempt { execution_id: execution.id, number: execution.number, report });
    }
    output.line(&format!("{} {}", output.mark(report.success), one_line(&report.headline())))?;
    lines(report, execution.number).iter().try_for_each(|line| output.line(line))?;
    let unnamed = report.failed.saturating_sub(report.failures.len() as u64);
    if unnamed > 0 {
        output.say(&format!("and {unnamed} more that are not named here"));
    }
    Ok(())
}

/// What stands below the headline. Names and messages are what the tests' tool wrote, and so may hold anything.
fn lines(report: &TestReport, attempt: i32) -> Vec<String> {
    let took = show_micros(report.duration_ms.saturating_mul(1_000));
    let tool = report.format.map_or_else(String::new, |format| format!(", as {format} told"));
    let command = one_line(&report.command.join(" "));
    let mut lines = vec![format!(
        "  {} passed, {} failed, {} skipped in {took}{tool}; attempt {attempt}: {command}",
        report.passed, report.failed, report.skipped
    )];
    for test in &report.failures {
        let took =
            test.duration_ms.map_or_else(String::new, |ms| format!(" ({})", show_micros(ms.saturating_mul(1_000))));
        lines.push(String::new());
        lines.push(format!("{}{took}", one_line(&test.name)));
        lines.extend(test.message.lines().map(|line| format!("    {}", one_line(line))));
    }
    if let Some(said) = &report.last_words {
        lines.push(String::new());
        lines.push("no test is named that failed; the tool said last:".into());
        lines.extend(said.lines().map(|line| format!("    {}", one_line(line))));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_test_is_called_and_says_cannot_steer_the_terminal() {
        let report = serde_json::json!({
            "command": ["sh", "-c", "a\nb"], "success": false, "passed": 1, "failed": 1, "skipped": 0, "duration_ms": 2,
            "failures": [{ "name": "one\u{1b}[2J", "message": "left\r\nright\u{7}", "duration_ms": 1 }],
        });
        let said = lines(&serde_json::from_value(report).expect("a report"), 2);
        let expect = [
            "  1 passed, 1 failed, 0 skipped in 2 ms; attempt 2: sh -c a b",
            "",
            "one\u{fffd}[2J (1 ms)",
            "    left",
            "    right\u{fffd}",
        ];
        assert_eq!(said, expect);
    }

    #[test]
    fn a_tool_that_failed_without_a_test_is_shown_with_its_last_words() {
        let report = serde_json::json!({
            "command": ["go", "test"], "success": false, "passed": 0, "failed": 0, "skipped": 0, "duration_ms": 2,
            "last_words": "# p\nx.go:2: undefined: y\u{7}",
        });
        let said = lines(&serde_json::from_value(report).expect("a report"), 1);
        let expect =
            ["", "no test is named that failed; the tool said last:", "    # p", "    x.go:2: undefined: y\u{fffd}"];
        assert_eq!(said[1..], expect);
    }
}
