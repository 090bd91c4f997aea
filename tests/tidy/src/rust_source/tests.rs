//! The scanner on every kind of token that could mislead a rule.

use super::*;

fn source(path: &str, text: &str) -> RustSource {
    RustSource::of(&File { path: path.into(), text: text.into() })
}

#[track_caller]
fn check(text: &str, code: &str, literals: &[&str]) {
    let source = source("src/a.rs", text);
    assert_eq!(source.code, code);
    assert_eq!(source.literals().map(|literal| literal.text.as_str()).collect::<Vec<_>>(), literals);
}

#[test]
fn comments_and_the_insides_of_literals_are_not_code() {
    check("let a = 1; // todo\nb", "let a = 1; \nb", &[]);
    check("//! doc\n/// doc\nfn a() {}", "\n\nfn a() {}", &[]);
    check("a /* b /* c */ \n d */ e", "a \n e", &[]);
    check(r#"f("x // y", z)"#, r#"f("", z)"#, &["x // y"]);
    check(r#"f("a\"b\\", "")"#, r#"f("", "")"#, &[r#"a"b\"#, ""]);
    check("r#\"a \"quoted\" b\"# + 1", "\"\" + 1", &["a \"quoted\" b"]);
    check("r\"a\\\" + br#\"b\"# + var\"c\"", "\"\" + b\"\" + var\"\"", &["a\\", "b", "c"]);
    check("\"FROM \\\n    parrots\" x", "\"\"\n x", &["FROM parrots"]);
}

#[test]
fn quotes_in_character_literals_and_lifetimes_open_nothing() {
    check(r#"('"', '\'', '\\', "s")"#, r#"(' ', ' ', ' ', "")"#, &["s"]);
    check("fn a<'a>(b: &'a str, c: &'static str) {}", "fn a<'a>(b: &'a str, c: &'static str) {}", &[]);
    check("['é', '\\u{e9}', b'\"'] \"s\"", "[' ', ' ', b' '] \"\"", &["s"]);
}

#[test]
fn a_literal_knows_its_line() {
    let source = source("src/a.rs", "a\n/* \n */\n\"one\ntwo\"\n\"three\"");
    let lines: Vec<_> = source.literals().map(|literal| (literal.line, literal.text.as_str())).collect();
    assert_eq!(lines, [(4, "one\ntwo"), (6, "three")]);
}

#[test]
fn tests_are_known_by_their_file_or_their_module() {
    for path in ["a/src/b/tests.rs", "a/tests/one.rs", "a/src/tests/one.rs", "tests/tidy/tests/one.rs"] {
        assert!(source(path, "fn a() {}").is_test(1), "{path}");
    }
    for path in ["a/src/b.rs", "tests/src/world.rs", "tests/tidy/src/lib.rs"] {
        assert!(!source(path, "fn a() {}").is_test(1), "{path}");
    }
    let inline = source("a/src/b.rs", "fn a() {}\n\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n");
    assert_eq!(inline.shipped_lines().map(|(line, _)| line).collect::<Vec<_>>(), [1, 2]);
    let beside = source("a/src/b.rs", "#[cfg(test)]\nmod tests;\nfn a() {}");
    assert!(!beside.is_test(3));
}

#[test]
fn a_word_stands_by_itself() {
    assert!(has_word("use kit::Clock;", "Clock"));
    assert!(has_word("async fn", "async"));
    assert!(!has_word("struct ClockSkew;", "Clock"));
    assert!(!has_word("let is_async = 1;", "async"));
    assert!(has_call("clock.sleep(a)", "sleep"));
    assert!(!has_call("no_sleep(a); sleep_until(b); let sleep = 1;", "sleep"));
}
