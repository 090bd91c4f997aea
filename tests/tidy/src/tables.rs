//! A table belongs to the package whose migrations create it, and SQL about it
//! stands in that package's `store` files only.
//!
//! SQL keywords are written in upper case here, which is how a statement is told
//! from a sentence.

use std::collections::BTreeMap;

use crate::Offence;
use crate::rust_source::{RustSource, is_test_file};
use crate::tree::{File, Tree};

/// Words that stand before a table's name.
const BEFORE_A_TABLE: [&str; 4] = ["FROM", "INTO", "UPDATE", "JOIN"];

/// Tables made twice, and SQL about a table outside its store.
pub fn offences(tree: &Tree) -> Vec<Offence> {
    let mut offences = Vec::new();
    let owners = owners(tree, &mut offences);
    let control_plane = tree.of_kind("rs").filter(|file| file.path.starts_with("control-plane/"));
    for file in control_plane {
        let source = RustSource::of(file);
        for literal in source.literals() {
            for table in tables_in(&literal.text) {
                let Some(owner) = owners.get(table) else { continue };
                // A test may look at the rows of its own package without asking its store.
                let in_store = is_store(file) || source.is_test(literal.line);
                if package(&file.path) != Some(owner) || !in_store {
                    let cure = format!("SQL about `{table}` belongs to the `store` files of control-plane/{owner}");
                    offences.push(Offence::at(&file.path, literal.line, cure));
                }
            }
        }
    }
    offences
}

/// Table to package, from the migrations.
fn owners<'a>(tree: &'a Tree, offences: &mut Vec<Offence>) -> BTreeMap<String, &'a str> {
    let mut owners = BTreeMap::new();
    for file in tree.of_kind("sql") {
        let Some(package) = package(&file.path).filter(|_| file.folders().any(|folder| folder == "migrations")) else {
            continue;
        };
        for table in created_in(&file.text) {
            match owners.insert(table.clone(), package) {
                Some(other) if other != package => {
                    let cure = format!("`{table}` is made by control-plane/{other} as well: a table has one owner");
                    offences.push(Offence::in_file(&file.path, cure));
                }
                _ => (),
            }
        }
    }
    owners
}

/// `PACKAGE` of `control-plane/PACKAGE/…`; the edge itself owns no tables.
fn package(path: &str) -> Option<&str> {
    path.strip_prefix("control-plane/")?.split_once('/').map(|(package, _)| package)
}

fn is_store(file: &File) -> bool {
    !is_test_file(file) && (file.name() == "store.rs" || file.folders().any(|folder| folder == "store"))
}

fn words(sql: &str) -> impl Iterator<Item = &str> {
    sql.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty())
}

fn created_in(sql: &str) -> Vec<String> {
    let without_comments: Vec<&str> = sql.lines().map(|line| line.split("--").next().unwrap_or_default()).collect();
    let text = without_comments.join("\n");
    let words: Vec<&str> = words(&text).filter(|word| !["IF", "NOT", "EXISTS"].contains(word)).collect();
    words
        .windows(3)
        .filter(|three| three[0] == "CREATE" && three[1] == "TABLE")
        .map(|three| three[2].to_ascii_lowercase())
        .collect()
}

fn tables_in(sql: &str) -> Vec<&str> {
    let words: Vec<&str> = words(sql).collect();
    words.windows(2).filter(|two| BEFORE_A_TABLE.contains(&two[0])).map(|two| two[1]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIGRATION: (&str, &str) = (
        "control-plane/pets/migrations/sqlite/1_pets.sql",
        "-- CREATE TABLE shadows (id)\nCREATE TABLE IF NOT EXISTS parrots (id TEXT) STRICT;\nCREATE TABLE cages (id TEXT);",
    );

    #[track_caller]
    fn check(path: &str, code: &str, expect: &[&str]) {
        let found = offences(&Tree::of(&[MIGRATION, (path, code)]));
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), expect.len(), "{found:?}");
        assert!(found.iter().zip(expect).all(|(found, expect)| found.starts_with(expect)), "{found:?}");
    }

    #[test]
    fn sql_about_a_table_stays_in_its_packages_store() {
        let code = "//! x\nconst A: &str = \"SELECT 1 FROM parrots JOIN cages USING (id)\";";
        check("control-plane/pets/src/birds/store.rs", code, &[]);
        check("control-plane/pets/src/birds/store/claims.rs", code, &[]);
        let two = |path: &str| [format!("{path}:2: SQL about `parrots`"), format!("{path}:2: SQL about `cages`")];
        for path in ["control-plane/pets/src/birds.rs", "control-plane/zoo/src/store.rs", "control-plane/src/store.rs"]
        {
            check(path, code, &two(path).each_ref().map(String::as_str));
        }
    }

    #[test]
    fn every_kind_of_statement_is_seen_and_sentences_are_not() {
        for sql in
            ["INSERT INTO parrots", "UPDATE parrots SET a = 1", "DELETE FROM parrots", "x\n  FROM \\\n  parrots p"]
        {
            check("control-plane/src/a.rs", &format!("let a = \"{sql}\";"), &["control-plane/src/a.rs:1"]);
        }
        check(
            "control-plane/src/a.rs",
            "// DELETE FROM parrots\nlet a = \"no word from parrots\"; f(\"FROM stars\");",
            &[],
        );
    }

    #[test]
    fn tests_may_look_into_their_own_packages_tables_only() {
        let code = "let a = \"SELECT 1 FROM parrots\";";
        check("control-plane/pets/src/birds/tests.rs", code, &[]);
        check("control-plane/zoo/src/tests.rs", code, &["control-plane/zoo/src/tests.rs:1"]);
    }

    #[test]
    fn a_table_has_one_owner() {
        check("control-plane/zoo/migrations/sqlite/2_zoo.sql", "CREATE TABLE cages (id TEXT);", &["control-plane/zoo"]);
        check("control-plane/pets/migrations/postgres/1_pets.sql", "CREATE TABLE cages (id TEXT);", &[]);
    }
}
