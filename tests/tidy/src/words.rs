//! Words that do not enter: unfinished code, tests that do not run or may pass
//! by panicking, waiting by the clock in tests, and shells between us and a process.

use crate::Offence;
use crate::rust_source::{RustSource, has_call};
use crate::tree::Tree;

/// What is never written, and what to do instead.
const NEVER: [(&str, &str); 4] = [
    ("todo!(", "finish it, or leave it out"),
    ("unimplemented!(", "finish it, or leave it out"),
    ("#[ignore", "let it run, or delete it"),
    ("#[should_panic", "return an error and compare it"),
];

/// Ways to let time pass.
const SLEEPS: [&str; 2] = ["sleep", "sleep_until"];

/// What is not shipped: tests and measurements.
const NOT_SHIPPED: [&str; 3] = ["bench/", "tests/", "fuzz/"];

/// Texts for a person, who may have a task start a shell.
const SHOWN: &str = "cli/src/args/";

/// Programs that would read an argument as a script.
const SHELLS: [&str; 6] = ["sh", "bash", "dash", "zsh", "/bin/sh", "/bin/bash"];

/// Where a forbidden word stands in code.
pub fn offences(tree: &Tree) -> Vec<Offence> {
    let mut offences = Vec::new();
    for file in tree.of_kind("rs") {
        let source = RustSource::of(file);
        for (line, code) in source.lines() {
            for (word, cure) in NEVER.iter().filter(|(word, _)| code.contains(word)) {
                offences.push(Offence::at(&file.path, line, format!("`{word}` does not enter: {cure}")));
            }
            if source.is_test(line) && sleeps(code) {
                let cure = "a test does not sleep: advance the clock, settle, or wait on a level with a deadline";
                offences.push(Offence::at(&file.path, line, cure));
            }
        }
    }
    offences
}

/// Where a shell would stand between us and a process (row T-8.7).
pub fn shell_offences(tree: &Tree) -> Vec<Offence> {
    let mut offences = Vec::new();
    let may_have_none = |path: &str| is_shipped(path) && !path.starts_with(SHOWN);
    for file in tree.of_kind("rs").filter(|file| may_have_none(&file.path)) {
        let source = RustSource::of(file);
        for literal in source.literals().filter(|literal| !source.is_test(literal.line)) {
            if SHELLS.contains(&literal.text.as_str()) || literal.text.contains("sh -c") {
                let cure = "no shell reads what others wrote: start the program itself, with an argument vector";
                offences.push(Offence::at(&file.path, literal.line, cure));
            }
        }
    }
    offences
}

/// Whether what is written there runs at somebody else's. `testing.rs` and fakes are compiled for tests only.
pub(crate) fn is_shipped(path: &str) -> bool {
    !NOT_SHIPPED.iter().any(|folder| path.starts_with(folder))
        && !path.split('/').any(|part| matches!(part, "testing" | "testing.rs" | "fake" | "fake.rs"))
}

/// Where the control plane would tell the event store something past its outbox, so that a crash
/// between a change and its news would lose the news (row T-7.9e). Only `signals` delivers.
pub fn publish_offences(tree: &Tree) -> Vec<Offence> {
    let mut offences = Vec::new();
    let publishers = |path: &str| path.starts_with("control-plane/") && !path.starts_with("control-plane/signals/");
    for file in tree.of_kind("rs").filter(|file| publishers(&file.path) && file.text.contains("EventStore")) {
        let source = RustSource::of(file);
        for (line, code) in source.lines().filter(|(line, code)| !source.is_test(*line) && has_call(code, "append")) {
            let cure = format!("`{}` goes past the outbox: push it there, in the change's transaction", code.trim());
            offences.push(Offence::at(&file.path, line, cure));
        }
    }
    offences
}

/// A call of something named sleep; its definition is none.
fn sleeps(code: &str) -> bool {
    !code.contains("fn sleep") && SLEEPS.iter().any(|name| has_call(code, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rule: fn(&Tree) -> Vec<Offence>, path: &str, code: &str, expect: usize) {
        let found = rule(&Tree::of(&[(path, code)]));
        assert_eq!(found.len(), expect, "{code}: {found:?}");
    }

    #[test]
    fn news_that_go_past_the_outbox_are_found() {
        let code = "fn f(store: &EventStore) { store.append(&[event]).await }";
        check(publish_offences, "control-plane/work/src/a.rs", code, 1);
        check(publish_offences, "control-plane/signals/src/a.rs", code, 0);
        check(publish_offences, "runner/src/a.rs", code, 0);
        check(publish_offences, "control-plane/work/src/a.rs", "fn f(all: &mut Vec<u8>) { all.append(more) }", 0);
    }

    #[test]
    fn unfinished_code_and_tests_that_prove_nothing_are_found() {
        for code in ["todo!()", "unimplemented!(\"x\")", "#[ignore = \"slow\"]", "#[should_panic]"] {
            check(offences, "a/src/b.rs", code, 1);
            check(offences, "a/src/b.rs", &format!("// {code}"), 0);
        }
    }

    #[test]
    fn a_test_that_sleeps_is_found_and_code_may_wait() {
        let calls = ["thread::sleep(a)", "tokio::time::sleep(a).await", "clock.sleep(a).await", "sleep_until(a)"];
        for code in calls {
            check(offences, "a/src/b/tests.rs", code, 1);
            check(offences, "a/src/b.rs", &format!("#[cfg(test)]\nmod tests {{\n{code}\n}}"), 1);
            check(offences, "a/src/b.rs", code, 0);
        }
        check(offences, "a/src/b/tests.rs", "no_sleep(a); let sleep = 1; command(\"sleep\"); timeout(a, b)", 0);
    }

    #[test]
    fn a_shell_is_found_where_processes_are_started() {
        for code in ["command(\"sh\").arg(\"-c\")", "command(\"/bin/bash\")", "run(\"sh -c 'ls'\")"] {
            check(shell_offences, "runner/src/b.rs", code, 1);
            check(shell_offences, "control-plane/work/src/b.rs", code, 1);
            check(shell_offences, "runner/src/b/tests.rs", code, 0);
            check(shell_offences, "runner/src/testing.rs", code, 0);
            check(shell_offences, "cli/src/args/help.rs", code, 0);
            check(shell_offences, "bench/src/b.rs", code, 0);
            for package in ["cli", "egress", "event-store", "snapshot", "client", "github", "kit", "fly", "spawner"] {
                check(shell_offences, &format!("{package}/src/b.rs"), code, 1);
            }
        }
        check(shell_offences, "runner/src/b.rs", "// sh -c\nlet a = \"show\";", 0);
    }
}
