//! Tests of a workspace, run by a runner for real.

use wire::event::kind;
use wire::execution::{Exit, Failure, Outcome};
use wire::task::TaskSpec;
use wire::test_report::{TestFormat, TestReport, TestsSpec};
use wire::worker::Completion;

use crate::orders::Orders;
use crate::testing::{Remote, Scene, kinds};

const RED: &str =
    "echo 1..3; echo ok 1 - a; echo not ok 2 - b; echo '  ---'; echo '  expected: 7'; echo '  ...'; echo ok 3 - c";

async fn tested(files: &[(&str, &str)], tests: TestsSpec, command: &[&str]) -> (Completion, Vec<wire::event::Event>) {
    let (mut scene, remote) = (Scene::new().await, Remote::with(files).await);
    let mut lease = scene.lease(&remote, None, command);
    lease.spec = TaskSpec { tests: Some(tests), ..lease.spec };
    let (completion, events) = scene.carry_out(&lease, Orders::none()).await;
    (completion.expect("the lease was not lost"), events)
}

fn script(text: &str) -> TestsSpec {
    TestsSpec { command: ["sh", "-c", text].map(str::to_owned).to_vec(), ..TestsSpec::default() }
}

fn told(events: &[wire::event::Event]) -> TestReport {
    let event = events.iter().find(|event| event.kind == kind::TESTS_REPORT).expect("told");
    serde_json::from_str(event.payload.get()).expect("a report")
}

#[tokio::test]
async fn a_test_that_fails_fails_the_execution_whatever_the_tools_exit() {
    let (completion, events) = tested(&[("README", "x")], script(RED), &[]).await;
    let report = completion.tests.expect("told");
    assert_eq!((report.format, report.passed, report.failed, report.success), (Some(TestFormat::Tap), 2, 1, false));
    assert_eq!((report.failures[0].name.as_str(), report.failures[0].message.as_str()), ("b", "expected: 7"));
    assert_eq!(completion.outcome, Outcome::Failed);
    assert_eq!(completion.message.as_deref(), Some("1 of 3 tests failed: b"));
    assert_eq!(told(&events), report);
    assert_eq!(kinds(&events).last(), Some(&kind::EXECUTION_FINISHED));
}

#[tokio::test]
async fn tests_that_pass_and_a_tool_that_fails_all_the_same() {
    let (completion, _) = tested(&[("README", "x")], script("echo ok 1 - a"), &[]).await;
    assert_eq!((completion.outcome, completion.tests.expect("told").passed), (Outcome::Succeeded, 1));
    let (completion, _) = tested(&[("README", "x")], script("echo ok 1 - a; exit 9"), &[]).await;
    assert_eq!(completion.outcome, Outcome::Failed);
    assert_eq!(
        completion.message.as_deref(),
        Some("1 test passed, and yet the tool failed (exit code 9); it said last: ok 1 - a")
    );
}

#[tokio::test]
async fn a_tool_that_fails_without_a_test_is_told_with_its_last_words_and_without_secrets() {
    let settings = "[env]\nMY_TOKEN = \"hunter2-hunter2\"";
    let tests = script("echo '# p' >&2; echo 'x.go:2: undefined: y' hunter2-hunter2 >&2; exit 2");
    let (completion, events) = tested(&[(".bifrost.toml", settings)], tests, &[]).await;
    let said = "x.go:2: undefined: y [secret]";
    let report = completion.tests.expect("told");
    assert_eq!(
        (report.last_words.as_deref(), told(&events)),
        (Some("# p\nx.go:2: undefined: y [secret]"), report.clone())
    );
    let expect = "the tests failed, and told of none that could be read (exit code 2); it said last: ";
    assert_eq!(completion.message, Some(format!("{expect}{said}")));
    // A test that failed has said it itself.
    let (completion, _) = tested(&[("README", "x")], script(&format!("{RED}; exit 2")), &[]).await;
    assert_eq!(completion.tests.expect("told").last_words, None);
}

#[tokio::test]
async fn tests_follow_a_command_that_ended_well_and_no_other() {
    let tests = || script("test -f made && echo ok 1 - made");
    let (completion, _) = tested(&[("README", "x")], tests(), &["touch", "made"]).await;
    assert_eq!((completion.outcome, completion.tests.expect("told").passed), (Outcome::Succeeded, 1));
    let (completion, events) = tested(&[("README", "x")], tests(), &["false"]).await;
    assert_eq!((completion.outcome, completion.tests), (Outcome::Failed, None));
    assert!(!kinds(&events).contains(&kind::TESTS_REPORT));
}

#[tokio::test]
async fn the_repositorys_own_tests_are_found_and_none_is_said_to_be_there() {
    let makefile = "test:\n\t@echo ok 1 - by make\n";
    let (completion, _) = tested(&[("Makefile", makefile)], TestsSpec::default(), &[]).await;
    let report = completion.tests.expect("told");
    assert_eq!((report.passed, report.command.join(" ").as_str()), (1, "make test"));
    let (completion, events) = tested(&[("README", "x")], TestsSpec::default(), &[]).await;
    assert_eq!((completion.outcome, completion.failure), (Outcome::Failed, None::<Failure>));
    assert_eq!(completion.exit, Some(Exit::Code(127)));
    let said = "the repository has no tests that are known here; name their command";
    assert_eq!(completion.message.as_deref(), Some(said));
    assert!(!completion.tests.expect("told").success);
    assert!(!kinds(&events).contains(&kind::EXECUTION_LOG), "it is said once");
}

#[tokio::test]
async fn a_report_file_is_read_and_one_outside_the_workspace_is_not() {
    let xml = r#"<testsuites><testsuite><testcase name="a" time="0.5"/></testsuite></testsuites>"#;
    let tests = |path: &str, text: &str| TestsSpec { report: Some(path.into()), ..script(text) };
    let (completion, _) = tested(&[("r.xml", xml)], tests("r.xml", "touch r.xml; echo ignored"), &[]).await;
    let report = completion.tests.expect("told");
    assert_eq!((report.format, report.passed, report.duration_ms), (Some(TestFormat::Junit), 1, 500));
    let outside = "ln -s /etc/hostname link.xml; echo ok 1 - printed";
    let (completion, _) = tested(&[("r.xml", xml)], tests("link.xml", outside), &[]).await;
    assert_eq!(completion.tests.expect("told").format, Some(TestFormat::Tap));
}

#[tokio::test]
async fn tests_have_not_passed_whose_report_was_named_and_cannot_be_read() {
    let whole = "<testsuite><testcase name='a'/></testsuite>";
    let write = |text: &str| format!("echo \"{text}\" > r.xml; echo ok 1 - a");
    let named = |format, report: Option<&str>, text: &str| TestsSpec {
        format,
        report: report.map(str::to_owned),
        ..script(text)
    };
    let (junit, tap) = (Some(TestFormat::Junit), Some(TestFormat::Tap));
    for (tests, expect) in [
        (
            named(None, Some("r.xml"), "echo ok 1 - a"),
            Some("the report r.xml cannot be read: the tests did not write it"),
        ),
        (named(None, Some("r.xml"), "mkdir r.xml"), Some("the report r.xml cannot be read: r.xml is no file")),
        (named(None, Some("r.xml"), &write("nonsense")), Some("the report r.xml is not of any form that is known")),
        (named(tap, Some("r.xml"), &write(whole)), Some("the report r.xml is not of the form tap")),
        (named(None, Some("r.xml"), &write(&whole[..32])), Some("the report r.xml breaks off before its end; mend")),
        (named(None, Some("r.xml"), &write("<testsuite><testcase name='a'/><")), Some("breaks off before its end")),
        (named(junit, None, "echo ok 1 - a"), Some("what the tests printed is not of the form junit")),
        (named(junit, None, &format!("echo \"{}\"", &whole[..32])), Some("breaks off before its end")),
        (named(junit, None, &format!("echo \"{whole}\"")), None),
        (named(junit, Some("r.xml"), &write(whole)), None),
        (named(junit, Some("r.xml"), &write("<testsuites/>")), None),
        (named(None, None, "true"), None),
    ] {
        let asked = tests.command.join(" ");
        let (completion, _) = tested(&[("README", "x")], tests, &[]).await;
        let report = completion.tests.expect("told");
        let (outcome, said) = (completion.outcome, completion.message.unwrap_or_default());
        assert_eq!(
            (outcome == Outcome::Succeeded, report.success),
            (expect.is_none(), expect.is_none()),
            "{asked}: {said}"
        );
        assert!(said.contains(expect.unwrap_or_default()), "{asked}: {said}");
    }
    // A test that failed is what a person wants to know first.
    let (completion, _) = tested(&[("README", "x")], named(None, Some("r.xml"), RED), &[]).await;
    let said = completion.message.expect("a message");
    assert!(said.starts_with("1 of 3 tests failed: b; the report r.xml cannot be read"), "{said}");
}

#[tokio::test]
async fn a_report_is_told_without_the_secrets_however_it_was_written() {
    let case = |said: &str| format!("<testcase name='{said}'><failure>not {said}</failure></testcase>");
    let xml = format!("<testsuite>{}{}</testsuite>", case("hunter2-hunter2"), case("hunter2&#45;hunter2"));
    let settings = "[env]\nMY_TOKEN = \"hunter2-hunter2\"";
    let tests = TestsSpec { report: Some("r.xml".into()), ..script("touch r.xml") };
    let (completion, events) = tested(&[("r.xml", &xml), (".bifrost.toml", settings)], tests, &[]).await;
    let report = completion.tests.expect("told");
    assert_eq!((report.failed, told(&events)), (2, report.clone()));
    let failures = report.failures.iter().map(|test| (test.name.as_str(), test.message.as_str()));
    assert_eq!(failures.collect::<Vec<_>>(), [("[secret]", "not [secret]"); 2]);
    assert!(!completion.message.expect("a message").contains("hunter2"));
}

#[tokio::test]
async fn a_report_that_was_there_before_and_was_not_written_is_not_read() {
    let junit = "<testsuite><testcase name=\"old\"/></testsuite>";
    for (wrote, expect) in
        [("true", (Some(TestFormat::Tap), 2, 1)), ("touch report.xml", (Some(TestFormat::Junit), 1, 0))]
    {
        let tests = TestsSpec { report: Some("report.xml".into()), ..script(&format!("{RED}; {wrote}")) };
        let (completion, _) = tested(&[("report.xml", junit)], tests, &[]).await;
        let report = completion.tests.expect("told");
        assert_eq!((report.format, report.passed, report.failed), expect, "{wrote}");
    }
}
