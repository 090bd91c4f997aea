//! Tests as a service: what is to be run, and what came of it.

use serde::{Deserialize, Serialize};

use crate::limit;
use crate::task::{FieldError, check_words, text_enum, wrong};

text_enum! {
    /// How a tool tells of its tests.
    TestFormat, "test format" {
        /// What `cargo test` prints for people.
        Cargo = "cargo",
        /// Lines of JSON of libtest: `cargo test -- --format json`, `cargo nextest run --message-format libtest-json`.
        LibtestJson = "libtest_json",
        /// What `cargo nextest run` prints for people.
        Nextest = "nextest",
        /// What pytest prints for people.
        Pytest = "pytest",
        /// `go test -json`.
        GoJson = "go_json",
        /// The Test Anything Protocol.
        Tap = "tap",
        /// JUnit's XML, which nearly every tool can write.
        Junit = "junit",
        /// The JSON of `jest --json` and `vitest --reporter=json`.
        Jest = "jest",
    }
}

/// Which tests a task runs in its workspace, after its command or agent has ended well, or in place of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TestsSpec {
    /// Program and arguments; found out from the repository when absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// How the tool tells of its tests; found out from what it writes when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<TestFormat>,
    /// A file that the tool writes, relative to the workspace; what it prints when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<String>,
}

impl TestsSpec {
    /// Refuses what no runner could carry out, before any work.
    pub fn validate(&self) -> Result<(), FieldError> {
        if !self.command.is_empty() {
            check_words("spec.tests.command", &self.command)?;
        }
        let Some(report) = &self.report else { return Ok(()) };
        let stays_inside = !report.starts_with('/') && report.split('/').all(|part| part != "..");
        if report.is_empty() || report.len() > limit::REPORT_PATH_BYTES || report.contains('\0') || !stays_inside {
            let message = format!(
                "must name a file below the workspace, such as target/junit.xml, in at most {} bytes",
                limit::REPORT_PATH_BYTES
            );
            return Err(wrong("spec.tests.report", message));
        }
        Ok(())
    }
}

/// What came of the tests of an execution: the payload of `tests.report`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TestReport {
    /// How the tool told of them; nothing where it told of none that could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<TestFormat>,
    /// What was run.
    #[serde(default)]
    pub command: Vec<String>,
    /// Whether the tool ended well, no test failed, and what was named could be read.
    pub success: bool,
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed, or could not be run.
    pub failed: u64,
    /// Tests that were passed over.
    pub skipped: u64,
    /// How long they took, in milliseconds: as the tool says, or else as its process took.
    pub duration_ms: u64,
    /// The first [`crate::limit::FAILED_TESTS`] that failed.
    #[serde(default)]
    pub failures: Vec<FailedTest>,
    /// Why the report or the form that the task names could not be read, where it could not. What is counted then is
    /// what the tool printed, and no word that the tests passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread: Option<String>,
    /// The end of what the tool printed, where it failed and named no test that did: it may not have been built. Cut to
    /// [`crate::limit::TEST_MESSAGE_CHARS`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_words: Option<String>,
}

/// A test that failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FailedTest {
    /// Its name, with what it is part of.
    pub name: String,
    /// What the tool says of it, cut to [`crate::limit::TEST_MESSAGE_CHARS`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// How long it took, where the tool says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
}

/// What a report without a command says: none was named, and none was found.
const NO_TESTS: &str = "the repository has no tests that are known here; name their command";

impl TestReport {
    /// Cuts what is longer than anybody should have to keep. For what machines tell, which are not trusted.
    #[must_use]
    pub fn bounded(self) -> Self {
        let cut = |text: &str, chars: usize| text.chars().filter(|c| *c != '\0').take(chars).collect::<String>();
        let failure = |test: FailedTest| FailedTest {
            name: cut(&test.name, limit::TEST_NAME_CHARS),
            message: cut(&test.message, limit::TEST_MESSAGE_CHARS),
            duration_ms: test.duration_ms,
        };
        let command = self.command.iter().take(limit::COMMAND_SHOWN).map(|word| cut(word, limit::TEST_NAME_CHARS));
        Self {
            command: command.collect(),
            failures: self.failures.into_iter().take(limit::FAILED_TESTS).map(failure).collect(),
            unread: self.unread.map(|why| cut(&why, limit::TEST_MESSAGE_CHARS)),
            last_words: self.last_words.map(|said| cut(&said, limit::TEST_MESSAGE_CHARS)),
            ..self
        }
    }

    /// In one line, such as `2 of 41 tests failed: a, b`.
    pub fn headline(&self) -> String {
        match &self.unread {
            Some(why) => format!("{}; {why}", self.counted()),
            None => self.counted(),
        }
    }

    fn counted(&self) -> String {
        let ran = self.passed.saturating_add(self.failed);
        let tests = |count: u64| if count == 1 { "1 test".to_owned() } else { format!("{count} tests") };
        if self.format.is_none() {
            return match (self.success, self.command.is_empty()) {
                _ if self.unread.is_some() => "no test was told of".into(),
                (_, true) => NO_TESTS.into(),
                (true, false) => "the tests ended well, and told of none that could be read".into(),
                (false, false) => "the tests failed, and told of none that could be read".into(),
            };
        }
        if self.failed == 0 {
            let but = if self.success || self.unread.is_some() { "" } else { ", and yet the tool failed" };
            return format!("{} passed{but}", tests(self.passed));
        }
        let mut names: Vec<&str> = self.failures.iter().take(3).map(|test| test.name.as_str()).collect();
        if self.failed > names.len() as u64 {
            names.push("…");
        }
        format!("{} of {} failed: {}", self.failed, tests(ran), names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_stays_below_the_workspace() {
        for (report, is_right) in
            [("target/junit.xml", true), ("a..b", true), ("/etc/passwd", false), ("a/../../b", false), ("", false)]
        {
            let spec = TestsSpec { report: Some(report.into()), ..TestsSpec::default() };
            assert_eq!(spec.validate().is_ok(), is_right, "{report}");
        }
        let spec = TestsSpec { command: vec![String::new()], ..TestsSpec::default() };
        assert_eq!(spec.validate().expect_err("names none").field, "spec.tests.command");
    }

    #[test]
    fn a_report_is_told_in_one_line_and_cut() {
        let failure = |name: &str| FailedTest { name: name.into(), message: "m".repeat(9_999), duration_ms: None };
        let report = TestReport {
            format: Some(TestFormat::Tap),
            command: vec!["x".into()],
            success: false,
            passed: 39,
            failed: 4,
            skipped: 0,
            duration_ms: 1,
            failures: ["a", "b\0", "c", "d"].map(failure).to_vec(),
            unread: None,
            last_words: None,
        };
        assert_eq!(report.headline(), "4 of 43 tests failed: a, b\0, c, …");
        let cut = report.bounded();
        assert_eq!(cut.failures[1].name, "b");
        assert_eq!(cut.failures[0].message.len(), limit::TEST_MESSAGE_CHARS);
        let green = TestReport { failed: 0, failures: vec![], success: true, ..cut };
        assert_eq!(green.headline(), "39 tests passed");
        let unsure = TestReport { success: false, ..green };
        assert_eq!(unsure.headline(), "39 tests passed, and yet the tool failed");
        let unread = TestReport { unread: Some("no report r.xml".into()), ..unsure };
        assert_eq!(unread.headline(), "39 tests passed; no report r.xml");
        let untold = TestReport { format: None, passed: 0, ..unread };
        assert_eq!(untold.headline(), "no test was told of; no report r.xml");
        let untold = TestReport { unread: None, ..untold };
        assert_eq!(untold.headline(), "the tests failed, and told of none that could be read");
        let ended = TestReport { success: true, ..untold.clone() };
        assert_eq!(ended.headline(), "the tests ended well, and told of none that could be read");
        let none = "the repository has no tests that are known here; name their command";
        assert_eq!(TestReport { command: vec![], ..untold }.headline(), none);
    }
}
