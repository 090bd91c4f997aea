//! What real tools wrote (`examples`), and what none ever would.

use proptest::prelude::*;

use super::*;

fn check(text: &str, format: TestFormat, counts: (u64, u64, u64), names: &[&str]) -> Tally {
    let found = parse(None, text).expect("is read");
    assert_eq!(found.format, format);
    let tally = found.tally;
    assert_eq!((tally.passed, tally.failed, tally.skipped), counts, "{format}");
    assert_eq!(tally.failures.iter().map(|test| test.name.as_str()).collect::<Vec<_>>(), names, "{format}");
    assert_eq!(parse(Some(format), text).map(|read| read.tally).as_ref(), Some(&tally));
    tally
}

fn said<'a>(tally: &'a Tally, name: &str) -> &'a str {
    &tally.failures.iter().find(|test| test.name == name).expect("failed").message
}

#[test]
fn cargo_test() {
    let names = ["tests::does_not_panic", "tests::fails", "tests::inner::also_fails"];
    let text = include_str!("examples/cargo.txt");
    let mut sorted = parse(None, text).expect("is read").tally.failures;
    sorted.sort_by(|one, other| one.name.cmp(&other.name));
    assert_eq!(sorted.iter().map(|test| test.name.as_str()).collect::<Vec<_>>(), names);
    let tally = parse(None, text).expect("is read").tally;
    assert_eq!((tally.passed, tally.failed, tally.skipped), (2, 3, 1));
    assert!(said(&tally, "tests::fails").starts_with("said before\n"), "{}", said(&tally, "tests::fails"));
    assert!(said(&tally, "tests::fails").contains("left: 1\n right: 2"));
    assert!(said(&tally, "tests::inner::also_fails").contains("deep\ntrouble"));
    assert!(tally.duration_ms.is_some());
}

#[test]
fn libtest_json() {
    for text in [include_str!("examples/libtest.json"), include_str!("examples/nextest.json")] {
        let found = parse(None, text).expect("is read");
        assert_eq!(found.format, TestFormat::LibtestJson);
        let tally = found.tally;
        assert_eq!((tally.failed, tally.skipped), (3, 1));
        assert!((1..=2).contains(&tally.passed), "{}", tally.passed);
        let fails = tally.failures.iter().find(|test| test.name.ends_with("tests::fails")).expect("failed");
        assert!(fails.message.contains("numbers differ"), "{}", fails.message);
    }
}

#[test]
fn nextest() {
    let names = ["fixture tests::does_not_panic", "fixture tests::fails", "fixture tests::inner::also_fails"];
    let tally = check(include_str!("examples/nextest.txt"), TestFormat::Nextest, (1, 3, 1), &names);
    assert!(said(&tally, names[1]).contains("left: 1\n right: 2"), "{}", said(&tally, names[1]));
    assert!(tally.failures.iter().all(|test| test.duration_ms.is_some()));
    assert_eq!(tally.duration_ms, Some(259));
}

#[test]
fn pytest() {
    let names = [
        "test_things.py::test_fails",
        "test_things.py::test_even[1]",
        "test_things.py::TestGroup::test_in_class",
        "test_things.py::test_needs",
    ];
    for text in [include_str!("examples/pytest.txt"), include_str!("examples/pytest-quiet.txt")] {
        let tally = check(text, TestFormat::Pytest, (2, 4, 2), &names);
        assert!(said(&tally, names[0]).contains("At index 1 diff: 2 != 3"), "{}", said(&tally, names[0]));
        assert_eq!(said(&tally, names[2]), "ValueError: in a class");
        assert_eq!(said(&tally, names[3]), "RuntimeError: no database");
        assert!(tally.duration_ms.is_some());
    }
}

#[test]
fn junit() {
    let pytest = include_str!("examples/pytest.xml");
    let names = [
        "test_things::test_fails",
        "test_things::test_even[1]",
        "test_things::test_needs",
        "test_things.TestGroup::test_in_class",
    ];
    let tally = check(pytest, TestFormat::Junit, (2, 4, 2), &names);
    assert!(said(&tally, names[0]).contains("assert [1, 2] == [1, 3]"));
    let node = include_str!("examples/node.xml");
    let found = parse(None, node).expect("is read").tally;
    assert!(found.failures.iter().any(|test| test.message.contains("deep & <trouble>")), "{found:?}");
    let nextest = include_str!("examples/nextest.xml");
    assert_eq!(parse(None, nextest).expect("is read").tally.failed, 3);
}

#[test]
fn tap() {
    let node = include_str!("examples/node.tap");
    let tally = check(node, TestFormat::Tap, (2, 2, 2), &["fails", "group > inner fails"]);
    assert!(said(&tally, "fails").contains("1 !== 2"), "{}", said(&tally, "fails"));
    let perl = include_str!("examples/perl.tap");
    let tally = check(perl, TestFormat::Tap, (1, 2, 2), &["fails", "planned tests"]);
    assert!(said(&tally, "fails").contains("expected: '2'"));
    assert_eq!(said(&tally, "planned tests"), "1 were planned and never told of");
    check("1..0 # skip nothing to do\n", TestFormat::Tap, (0, 0, 0), &[]);
    check("ok\nnot ok 2 Bail\nBail out! no database\n", TestFormat::Tap, (1, 2, 0), &["Bail", "Bail out!"]);
    let names = ["Bail out!", "planned tests"];
    let tally = check("1..3\nok 1 - a\nBail out! no database\n", TestFormat::Tap, (1, 2, 0), &names);
    assert_eq!(said(&tally, "planned tests"), "2 were planned and never told of");
}

#[test]
fn subtests_of_tap_are_named_each_with_its_own_message() {
    let node = include_str!("examples/node-nested.tap");
    let names = ["math > subtracts", "math > deep > roots", "lonely"];
    let tally = check(node, TestFormat::Tap, (3, 3, 0), &names);
    assert!(said(&tally, names[0]).contains("\n  1 !== 3\n"), "{}", said(&tally, names[0]));
    assert!(!said(&tally, names[0]).contains("Subtest:"), "{}", said(&tally, names[0]));
    assert!(said(&tally, names[1]).contains("error: 'no root'"), "{}", said(&tally, names[1]));
    assert!(said(&tally, names[2]).contains("error: 'alone'"), "{}", said(&tally, names[2]));
    for (text, counts, names) in [
        // The parent fails for itself; it is passed over with all that it has; it never comes.
        ("    ok 1 - a\nnot ok 1 - p\n", (1, 1, 0), &["p"][..]),
        ("    not ok 1 - a\nnot ok 1 - p # TODO\n", (0, 0, 1), &[]),
        ("ok 1 - b\n    not ok 1 - a\n", (1, 1, 0), &["a"]),
        // What a test prints is no subtest.
        ("    ok then\nok 1 - b\n", (1, 0, 0), &[]),
        ("not ok 1 - b\n  ---\n    not ok 7 - c\n  ...\n", (0, 1, 0), &["b"]),
    ] {
        check(text, TestFormat::Tap, counts, names);
    }
}

#[test]
fn a_program_of_tests_that_cargo_saw_end_is_named_with_its_tests() {
    let lost = "running 5 tests\ntest tests::a ... ok\ntest tests::b ... FAILED\n";
    let cause = "error: test failed, to rerun pass `--lib`\n\nCaused by:\n  process didn't exit successfully: `/t/fx-1` \
        (signal: 6, SIGABRT: process abort signal)\n";
    let doctest = "\nrunning 1 test\ntest src/lib.rs - (line 1) ... FAILED\n\nfailures:\n\n\
        ---- src/lib.rs - (line 1) stdout ----\nrunning 9 tests\n\nfailures:\n    src/lib.rs - (line 1)\n\n\
        test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.23s\n";
    let names = ["tests::b", "src/lib.rs - (line 1)", "a program of tests --lib"];
    // Cargo tells of it on its other stream, which may be read before or behind.
    for text in [[lost, cause, doctest].concat(), [cause, lost, doctest].concat(), [lost, doctest, cause].concat()] {
        let tally = check(&text, TestFormat::Cargo, (1, 5, 0), &names);
        let expect =
            "ended after it had told of 2 of its 5 tests: `/t/fx-1` (signal: 6, SIGABRT: process abort signal)";
        assert_eq!(said(&tally, names[2]), expect);
    }
    check(&[lost, cause].concat(), TestFormat::Cargo, (1, 4, 0), &[names[0], names[2]]);
}

#[test]
fn the_head_of_a_junit_suite_counts_where_it_says_more() {
    for (text, counts, names) in [
        (r#"<testsuite name="s" tests="3" failures="2"><testcase name="a"/></testsuite>"#, (1, 2, 0), &["s"][..]),
        (
            r#"<testsuites><testsuite tests="3" errors="1" skipped="1"/></testsuites>"#,
            (1, 1, 1),
            &["a suite without a name"],
        ),
        (
            r#"<testsuite name="o" tests="2" failures="2"><testsuite name="i" tests="2" failures="2"><testcase name="a">
                <failure/></testcase></testsuite></testsuite>"#,
            (0, 2, 0),
            &["a", "i"],
        ),
        // One that failed twice is one.
        (
            r#"<testsuite tests="1" failures="1" errors="1"><testcase name="a"><failure/><error/></testcase></testsuite>"#,
            (0, 1, 0),
            &["a"],
        ),
        (r#"<testsuite tests="1"><testcase name="a"/><testcase name="b"/></testsuite>"#, (2, 0, 0), &[]),
    ] {
        check(text, TestFormat::Junit, counts, names);
    }
}

#[test]
fn what_only_a_junit_reports_own_head_explains_stays_as_it_is_written() {
    let text = r#"<!DOCTYPE t [<!ENTITY n "x">]><testsuite><testcase name="is &n;"><failure>not &n;</failure></testcase></testsuite>"#;
    let tally = check(text, TestFormat::Junit, (0, 1, 0), &["is &n;"]);
    assert_eq!(said(&tally, "is &n;"), "not &n;");
}

#[test]
fn jest_and_vitest() {
    for text in [include_str!("examples/jest.json"), include_str!("examples/vitest.json")] {
        let text = format!("some words before\n{text}");
        let found = parse(None, &text).expect("is read");
        assert_eq!(found.format, TestFormat::Jest);
        let tally = found.tally;
        assert_eq!((tally.passed, tally.failed, tally.skipped), (1, 2, 2));
        let fails = tally.failures.iter().find(|test| test.name == "group fails").expect("failed");
        assert!(fails.message.contains("toEqual") || fails.message.contains("deeply equal"), "{}", fails.message);
        assert!(tally.failures.iter().any(|test| test.name.ends_with("broken.test.js")), "{:?}", tally.failures);
    }
}

/// As `go doc test2json` describes it: go is not where these tests were written.
#[test]
fn go() {
    let text = r#"{"Action":"start","Package":"example.org/a"}
{"Action":"run","Package":"example.org/a","Test":"TestGood"}
{"Action":"output","Package":"example.org/a","Test":"TestGood","Output":"=== RUN   TestGood\n"}
{"Action":"pass","Package":"example.org/a","Test":"TestGood","Elapsed":0}
{"Action":"run","Package":"example.org/a","Test":"TestBad"}
{"Action":"output","Package":"example.org/a","Test":"TestBad","Output":"=== RUN   TestBad\n"}
{"Action":"output","Package":"example.org/a","Test":"TestBad","Output":"    a_test.go:9: got 1, want 2\n"}
{"Action":"output","Package":"example.org/a","Test":"TestBad","Output":"--- FAIL: TestBad (0.25s)\n"}
{"Action":"fail","Package":"example.org/a","Test":"TestBad","Elapsed":0.25}
{"Action":"skip","Package":"example.org/a","Test":"TestSlow","Elapsed":0}
{"Action":"fail","Package":"example.org/a","Elapsed":0.3}
{"ImportPath":"example.org/b [example.org/b.test]","Action":"build-output","Output":"b.go:3: undefined: x\n"}
{"ImportPath":"example.org/b [example.org/b.test]","Action":"build-fail"}
{"Action":"fail","Package":"example.org/b","Elapsed":0,"FailedBuild":"example.org/b [example.org/b.test]"}
"#;
    let names = ["example.org/a.TestBad", "example.org/b [example.org/b.test]"];
    let tally = check(text, TestFormat::GoJson, (1, 2, 1), &names);
    assert_eq!(said(&tally, names[0]), "    a_test.go:9: got 1, want 2");
    assert_eq!(said(&tally, names[1]), "b.go:3: undefined: x");
    assert_eq!((tally.failures[0].duration_ms, tally.duration_ms), (Some(250), Some(300)));
}

#[test]
fn a_go_test_that_its_package_ended_under_is_named_with_what_it_printed() {
    let event =
        |action: &str, test: &str, more: &str| format!("{{\"Action\":\"{action}\",\"Package\":\"p\"{test}{more}}}\n");
    let test = |name: &str| format!(",\"Test\":\"{name}\"");
    let output = |text: &str| format!(",\"Output\":\"{text}\\n\"");
    let (hang, deep, waits) = (test("TestZHang"), test("TestZHang/deep"), test("TestWaits"));
    let text = [
        event("run", &test("TestA"), ""),
        event("pass", &test("TestA"), ""),
        event("run", &waits, ""),
        event("pause", &waits, ""),
        event("run", &hang, ""),
        event("run", &deep, ""),
        event("output", &deep, &output("about to hang")),
        event("output", &deep, &output("panic: test timed out after 1s")),
        event("output", "", &output("FAIL\\tp\\t2.007s")),
        event("fail", "", ",\"Elapsed\":2.007"),
    ]
    .concat();
    let tally = check(&text, TestFormat::GoJson, (1, 1, 0), &["p.TestZHang/deep"]);
    assert_eq!(tally.failures[0].message, "about to hang\npanic: test timed out after 1s\nFAIL\tp\t2.007s");
}

#[test]
fn the_end_of_what_was_printed_is_in_whole_lines() {
    assert_eq!(last_words("\n\u{1b}[31merror\u{1b}[0m: x\n\n").as_deref(), Some("error: x"));
    assert_eq!(last_words(" \n"), None);
    let long = format!("{}\nerror: ż\n", "ż".repeat(TEST_MESSAGE_CHARS));
    assert_eq!(last_words(&long).as_deref(), Some("error: ż"));
    assert_eq!(last_words(&"ż".repeat(9_999)).expect("an end").chars().count(), TEST_MESSAGE_CHARS);
}

#[test]
fn what_is_no_report_is_none() {
    for text in ["", "hello", "{}", "<html></html>", "ok then", "FAILED x::y - z", "{\"Action\":1}", "1..x"] {
        assert_eq!(parse(None, text), None, "{text}");
        for format in TestFormat::ALL {
            parse(Some(*format), text);
        }
    }
}

/// Pieces of every form, so that chance puts together what nearly is one.
fn piece() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "test a ... FAILED\n",
        "---- a stdout ----\n",
        "failures:\n",
        "test result: FAILED. 1 passed; 99999999999999999999 failed; finished in 1e99s\n",
        "{\"type\":\"test\",\"event\":\"failed\",\"name\":\"a\",\"exec_time\":-1}\n",
        "{\"type\":\"suite\",\"event\":\"started\"}\n",
        "        FAIL [   0.0s] (1/4) a\n",
        "     Summary [ 18446744073709551616s] 1 tests run: 18446744073709551615 passed, 1 failed\n",
        "FAILED t.py::a - x\n",
        "____ a ____\n",
        "E   x\n",
        "== 18446744073709551615 failed, 1 error in 1s ==\n",
        "{\"Action\":\"output\",\"Package\":\"p\",\"Test\":\"T\",\"Output\":\"x\\n\"}\n",
        "{\"Action\":\"fail\",\"Package\":\"p\"}\n",
        "1..18446744073709551615\n",
        "not ok 1 - a # TODO\n",
        "not ok\n",
        "Bail out!\n",
        "    not ok 1 - a\n",
        "                                                                    ok 1 - deep\n",
        "  ---\n",
        "running 18446744073709551615 tests\n",
        "  process didn't exit successfully: x\n",
        "{\"Action\":\"run\",\"Package\":\"p\",\"Test\":\"T/u\"}\n",
        "<testsuite tests=\"18446744073709551615\" failures=\"7\">",
        "<testsuites><testsuite>",
        "<testcase name=\"a\" time=\"NaN\">",
        "<failure message=\"&#x110000;&lt;\">",
        "&unknown;&#0;",
        "<![CDATA[x",
        "</testcase>",
        "\u{1b}[31",
        "\u{1b}",
        "ż",
        "{\"numPassedTests\":1,\"numFailedTests\":2}\n",
    ]);
    prop_oneof![4 => words.prop_map(str::to_owned), 1 => ".{0,40}"]
}

proptest! {
    #[test]
    fn nothing_makes_it_panic_and_what_it_keeps_is_bounded(pieces in prop::collection::vec(piece(), 0..40), times in 1..40_usize) {
        let text = pieces.concat().repeat(times);
        for format in TestFormat::ALL.iter().copied().map(Some).chain([None]) {
            let Some(Read { tally, .. }) = parse(format, &text) else { continue };
            prop_assert!(tally.failures.len() <= FAILED_TESTS);
            for test in &tally.failures {
                prop_assert!(test.name.chars().count() <= TEST_NAME_CHARS);
                prop_assert!(test.message.chars().count() <= TEST_MESSAGE_CHARS);
            }
        }
    }

    #[test]
    fn what_a_tool_wrote_may_break_off_anywhere(at in any::<prop::sample::Index>(), flip in any::<prop::sample::Index>()) {
        let all: [&[u8]; 6] = [
            include_bytes!("examples/cargo.txt"),
            include_bytes!("examples/nextest.txt"),
            include_bytes!("examples/pytest.xml"),
            include_bytes!("examples/jest.json"),
            include_bytes!("examples/node.tap"),
            include_bytes!("examples/libtest.json"),
        ];
        for bytes in all {
            let mut bytes = bytes[..at.index(bytes.len())].to_vec();
            if !bytes.is_empty() {
                let place = flip.index(bytes.len());
                bytes[place] ^= 0x15;
            }
            parse(None, &String::from_utf8_lossy(&bytes));
        }
    }
}
