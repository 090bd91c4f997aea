//! The JSON of `jest --json` and `vitest --reporter=json`: one object, after whatever else was printed.

use serde::Deserialize;

use super::{Tally, millis};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    num_passed_tests: u64,
    num_failed_tests: u64,
    #[serde(default)]
    num_pending_tests: u64,
    #[serde(default)]
    num_todo_tests: u64,
    #[serde(default)]
    test_results: Vec<Suite>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Suite {
    #[serde(default)]
    name: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    assertion_results: Vec<Test>,
    start_time: Option<f64>,
    end_time: Option<f64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Test {
    #[serde(default)]
    status: String,
    #[serde(default)]
    full_name: String,
    #[serde(default)]
    failure_messages: Vec<String>,
    duration: Option<f64>,
}

/// Reads the report; nothing where there is none.
pub(super) fn parse(text: &str) -> Option<Tally> {
    let report = objects(text).find_map(|text| {
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<Report>();
        values.next()?.ok()
    })?;
    let mut tally = Tally {
        passed: report.num_passed_tests,
        failed: report.num_failed_tests,
        skipped: report.num_pending_tests.saturating_add(report.num_todo_tests),
        ..Tally::default()
    };
    for suite in &report.test_results {
        let took = suite.end_time.zip(suite.start_time).and_then(|(end, start)| millis((end - start) / 1_000.0));
        took.into_iter().for_each(|took| tally.took(took));
        let failed = suite.assertion_results.iter().filter(|test| test.status == "failed");
        let mut is_told = false;
        for test in failed {
            is_told = true;
            let took = test.duration.and_then(|millis_taken| millis(millis_taken / 1_000.0));
            tally.name(&test.full_name, &test.failure_messages.join("\n"), took);
        }
        if suite.status == "failed" && !is_told {
            // It could not be run at all, so that none of its tests is counted.
            tally.fail(&suite.name, &suite.message, None);
        }
    }
    Some(tally)
}

/// The text from each line on that may begin the report.
fn objects(text: &str) -> impl Iterator<Item = &str> {
    let begins = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1));
    begins
        .map(move |at| &text[at..])
        .filter(|rest| rest.starts_with('{') && rest.contains("\"numPassedTests\""))
        .take(8)
}
