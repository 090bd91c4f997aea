//! A migration is written for both databases, and each step has its way back.

use std::collections::BTreeSet;

use crate::Offence;
use crate::tree::{File, Tree};

const DIALECTS: [&str; 2] = ["sqlite", "postgres"];
const DOWN: &str = ".down.sql";

/// Migrations that lack a dialect or a way back.
pub fn offences(tree: &Tree) -> Vec<Offence> {
    let paths: BTreeSet<&str> = tree.of_kind("sql").map(|file| file.path.as_str()).collect();
    tree.of_kind("sql")
        .filter_map(|file| Some((file, place(file)?)))
        .flat_map(|(file, place)| {
            let missing = wanted(file, &place).into_iter().filter(|path| !paths.contains(path.as_str()));
            missing.map(|path| Offence::in_file(&file.path, format!("{path} is missing: write it"))).collect::<Vec<_>>()
        })
        .collect()
}

/// Where a migration lives.
struct Place<'a> {
    folder: &'a str,
    dialect: &'a str,
}

fn place(file: &File) -> Option<Place<'_>> {
    let (folder, rest) = file.path.split_once("/migrations/")?;
    let (dialect, _) = rest.split_once('/')?;
    Some(Place { folder, dialect })
}

/// The other files that must be there when this one is.
fn wanted(file: &File, place: &Place<'_>) -> Vec<String> {
    let in_dialect = |dialect: &str, name: &str| format!("{}/migrations/{dialect}/{name}", place.folder);
    let mut wanted: Vec<String> = DIALECTS.iter().map(|dialect| in_dialect(dialect, file.name())).collect();
    wanted.push(match file.name().strip_suffix(DOWN) {
        Some(base) => in_dialect(place.dialect, &format!("{base}.sql")),
        None => in_dialect(place.dialect, &format!("{}{DOWN}", file.stem())),
    });
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPLETE: [&str; 4] = [
        "a/migrations/sqlite/1_x.sql",
        "a/migrations/sqlite/1_x.down.sql",
        "a/migrations/postgres/1_x.sql",
        "a/migrations/postgres/1_x.down.sql",
    ];

    #[test]
    fn each_missing_file_of_a_step_is_named() {
        for missing in COMPLETE {
            let rest: Vec<_> = COMPLETE.iter().filter(|path| **path != missing).map(|path| (*path, "")).collect();
            let found: Vec<_> = offences(&Tree::of(&rest)).iter().map(ToString::to_string).collect();
            assert!(
                !found.is_empty() && found.iter().all(|line| line.contains(&format!("{missing} is missing"))),
                "{found:?}"
            );
        }
        assert_eq!(offences(&Tree::of(&COMPLETE.map(|path| (path, "")))), []);
    }

    #[test]
    fn sql_outside_migrations_is_none_of_this() {
        assert_eq!(offences(&Tree::of(&[("docs/report.sql", ""), ("a/schema/1.sql", "")])), []);
    }
}
