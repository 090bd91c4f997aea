//! Files that decide touch nothing: no waiting, no SQL, no clock, no files, no HTTP.
//!
//! They are known by their role, which is their name, or that of the folder they are in.

use crate::Offence;
use crate::rust_source::{RustSource, has_word};
use crate::tree::{File, Tree};

/// The roles that decide (ARCHITECTURE.md, "Decide purely, act idempotently").
const ROLES: [&str; 5] = ["state", "policy", "plan", "graph", "format"];

/// What a decision must not need.
const WORLDLY: [&str; 6] = ["async", "sqlx", "reqwest", "Clock", "std::fs", "tokio"];

/// Where a pure file reaches for the world.
pub fn offences(tree: &Tree) -> Vec<Offence> {
    let mut offences = Vec::new();
    for file in tree.of_kind("rs").filter(|file| is_pure(file)) {
        for (line, code) in RustSource::of(file).shipped_lines() {
            for word in WORLDLY.iter().filter(|word| has_word(code, word)) {
                let cure = format!("a pure file has no `{word}`: take what is needed as an argument, act elsewhere");
                offences.push(Offence::at(&file.path, line, cure));
            }
        }
    }
    offences
}

fn is_pure(file: &File) -> bool {
    ROLES.contains(&file.stem()) || file.folders().any(|folder| ROLES.contains(&folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, code: &str, lines: usize) {
        let found = offences(&Tree::of(&[(path, code)]));
        assert_eq!(found.len(), lines, "{found:?}");
    }

    #[test]
    fn a_pure_file_that_touches_the_world_is_found() {
        for code in [
            "pub async fn step() {}",
            "use sqlx::Row;",
            "use reqwest::Client;",
            "fn a(clock: &kit::Clock) {}",
            "std::fs::read(path)",
            "tokio::time::timeout(a, b)",
        ] {
            for path in ["work/src/tasks/state.rs", "a/src/plan.rs", "a/src/plan/order.rs", "a/src/format.rs"] {
                check(path, code, 1);
            }
            check("work/src/tasks.rs", code, 0);
        }
    }

    #[test]
    fn what_only_sounds_worldly_is_left_alone() {
        check("a/src/graph.rs", "// sqlx would do\nstruct ClockSkew;\nlet a = \"tokio\";", 0);
        check("a/src/graph/tests.rs", "use kit::Clock;", 0);
        check("a/src/graph.rs", "fn a() {}\n#[cfg(test)]\nmod tests {\n    use kit::Clock;\n}", 0);
    }
}
