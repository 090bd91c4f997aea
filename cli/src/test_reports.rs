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
    output.line(&format!("{} {}", output.mark(report.success), report.headline()))?;
    let took = show_micros(report.duration_ms.saturating_mul(1_000));
    let tool = report.format.map_or_else(String::new, |format| format!(", as {format} told"));
    let command = report.command.join(" ");
    output.line(&format!(
        "  {} passed, {} failed, {} skipped in {took}{tool}; attempt {}: {command}",
        report.passed, report.failed, report.skipped, execution.number
    ))?;
    for test in &report.failures {
        let took = test.duration_ms.map_or_else(String::new, |ms| format!(" ({})", show_micros(ms * 1_000)));
        output.line(&format!("\n{}{took}", test.name))?;
        for line in test.message.lines() {
            output.line(&format!("    {line}"))?;
        }
    }
    let unnamed = report.failed.saturating_sub(report.failures.len() as u64);
    if unnamed > 0 {
        output.say(&format!("and {unnamed} more that are not named here"));
    }
    Ok(())
}
