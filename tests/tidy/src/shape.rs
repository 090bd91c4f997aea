//! What a file looks like from outside: it says what it promises, has a name
//! that says what it is, and is small enough to read.

use crate::Offence;
use crate::tree::{File, Tree};

/// Nothing written by hand is longer.
const MOST_LINES: usize = 800;

/// Names that say nothing, so that anything ends up there.
const EMPTY_NAMES: [&str; 7] = ["util", "utils", "helper", "helpers", "common", "manager", "managers"];

/// Files that do not open with `//!`, are too long, or are badly named.
pub fn offences(tree: &Tree) -> Vec<Offence> {
    let rust = tree.of_kind("rs").flat_map(|file| [no_opening(file), module_file(file), empty_name(file)]);
    let long = ["rs", "js", "sql"].into_iter().flat_map(|kind| tree.of_kind(kind)).map(too_long);
    rust.chain(long).flatten().collect()
}

fn no_opening(file: &File) -> Option<Offence> {
    let opens = file
        .text
        .lines()
        .next()
        .is_some_and(|line| line.strip_prefix("//!").is_some_and(|rest| !rest.trim().is_empty()));
    (!opens).then(|| Offence::at(&file.path, 1, "open with `//!` and what this file promises"))
}

fn module_file(file: &File) -> Option<Offence> {
    (file.name() == "mod.rs").then(|| Offence::in_file(&file.path, "name it after its folder: `foo.rs` beside `foo/`"))
}

fn empty_name(file: &File) -> Option<Offence> {
    let name = file.folders().chain([file.stem()]).find(|name| EMPTY_NAMES.contains(name))?;
    Some(Offence::in_file(&file.path, format!("`{name}` says nothing: name it after what it holds")))
}

fn too_long(file: &File) -> Option<Offence> {
    let lines = file.text.lines().count();
    (lines > MOST_LINES)
        .then(|| Offence::in_file(&file.path, format!("{lines} lines, {MOST_LINES} at most: part it along its nouns")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, text: &str, expect: &[&str]) {
        let found: Vec<_> = offences(&Tree::of(&[(path, text)])).iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), expect.len(), "{found:?}");
        assert!(found.iter().zip(expect).all(|(found, expect)| found.contains(expect)), "{found:?}");
    }

    #[test]
    fn a_file_opens_with_what_it_promises() {
        check("a/src/b.rs", "//! Promises.\nfn a() {}", &[]);
        for text in ["", "use a::b;", "// not this\n//! Late.", "//!\n//! Empty first.", "#![allow(x)]\n//! Late."] {
            check("a/src/b.rs", text, &["a/src/b.rs:1: open with"]);
        }
    }

    #[test]
    fn a_name_says_what_is_inside() {
        check("a/src/b/mod.rs", "//! x", &["beside `foo/`"]);
        for path in ["a/src/utils.rs", "a/src/helpers/b.rs", "a/src/task/manager.rs", "tests/common/a.rs"] {
            check(path, "//! x", &["says nothing"]);
        }
        check("a/src/managers_meeting.rs", "//! x", &[]);
    }

    #[test]
    fn a_file_is_short_enough_to_read() {
        let lines = |count: usize| format!("//! x\n{}", "\n".repeat(count - 1));
        check("a/src/b.rs", &lines(MOST_LINES), &[]);
        check("a/src/b.rs", &lines(MOST_LINES + 1), &["801 lines"]);
        check("ui/app.js", &lines(MOST_LINES + 1), &["801 lines"]);
    }
}
