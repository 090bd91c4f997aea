//! Every place that starts a process stands in docs/process-starts.md, and nothing else does: whoever reads the page
//! has seen them all (row T-8.7).

use crate::Offence;
use crate::rust_source::RustSource;
use crate::tree::Tree;
use crate::words::is_shipped;

const PAGE: &str = "docs/process-starts.md";
/// The two ways to start one; `clippy.toml` refuses all others.
const STARTS: [&str; 2] = ["command", "session"];

/// Places that start processes and are not on the page, and rows of places that start none.
pub fn offences(tree: &Tree) -> Vec<Offence> {
    let page = tree.file(PAGE).map(|page| page.text.as_str()).unwrap_or_default();
    let named: Vec<(usize, &str)> =
        page.lines().enumerate().flat_map(|(index, line)| places(line).map(move |place| (index + 1, place))).collect();
    let lies_in =
        |path: &str, place: &str| path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let mut offences = Vec::new();
    for file in tree.of_kind("rs").filter(|file| is_shipped(&file.path)) {
        let source = RustSource::of(file);
        let start = source.lines().find(|(line, code)| !source.is_test(*line) && starts(code));
        if let Some((line, _)) = start
            && !named.iter().any(|(_, place)| lies_in(&file.path, place))
        {
            let cure = format!("it starts a process: add it to {PAGE} with what keeps that harmless");
            offences.push(Offence::at(&file.path, line, cure));
        }
    }
    for (line, place) in named {
        if !tree.of_kind("rs").any(|file| lies_in(&file.path, place)) {
            offences.push(Offence::at(PAGE, line, format!("there is no `{place}`: drop it, or name where it went")));
        }
    }
    offences
}

/// The paths in the first cell of a row.
fn places(line: &str) -> impl Iterator<Item = &str> {
    let cell = line.strip_prefix("| ").and_then(|row| row.split(" |").next()).unwrap_or_default();
    cell.split('`').skip(1).step_by(2)
}

fn starts(code: &str) -> bool {
    STARTS.iter().any(|name| {
        code.contains(&format!("process::{name}"))
            || code.split_once("process::{").is_some_and(|(_, taken)| taken.contains(name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = "| where | what |\n|---|---|\n| `a/src/b.rs`, `c` | git |\n";

    #[track_caller]
    fn check(page: &str, path: &str, code: &str, expect: &[&str]) {
        let tree = Tree::of(&[(PAGE, page), ("a/src/b.rs", ""), ("c/src/d.rs", ""), (path, code)]);
        let found: Vec<String> = offences(&tree).iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), expect.len(), "{found:?}");
        for (found, expect) in found.iter().zip(expect) {
            assert!(found.contains(expect), "{found}");
        }
    }

    #[test]
    fn a_place_that_starts_a_process_stands_on_the_page() {
        for code in ["kit::process::command(a)", "process::session(a)", "use kit::process::{self, command};"] {
            check(ROW, "a/src/other.rs", code, &["a/src/other.rs:1"]);
            check(ROW, "cc/src/d.rs", code, &["cc/src/d.rs:1"]);
            check(ROW, "c/src/deep/e.rs", code, &[]);
            check(ROW, "a/src/other/tests.rs", code, &[]);
            check(ROW, "bench/src/other.rs", code, &[]);
        }
        check(ROW, "a/src/other.rs", "use crate::process::Bounds; // process::command", &[]);
    }

    #[test]
    fn a_row_of_a_place_that_is_gone_is_found() {
        check(&format!("{ROW}| `a/src/gone.rs` | git |\n"), "a/src/e.rs", "", &["docs/process-starts.md:4"]);
    }
}
