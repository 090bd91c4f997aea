//! Every environment variable of ours is on the configuration page, and every
//! one on the page is read somewhere.

use std::collections::{BTreeMap, BTreeSet};

use crate::Offence;
use crate::tree::Tree;

/// The page.
const PAGE: &str = "docs/configuration.md";
/// What the names of our variables begin with.
const PREFIXES: [&str; 5] = ["BIFROST_", "CAIRN_", "DATABASE_", "FLY_E", "FLY_API_"];

/// Variables that are on one side only.
pub fn offences(tree: &Tree) -> Vec<Offence> {
    let mut read: BTreeMap<&str, (&str, usize)> = BTreeMap::new();
    for file in tree.of_kind("rs").filter(|file| !is_test(&file.path)) {
        for (index, line) in file.text.lines().enumerate() {
            for name in line.split('"').skip(1).step_by(2).filter(|text| is_variable(text)) {
                read.entry(name).or_insert((&file.path, index + 1));
            }
        }
    }
    let page = tree.of_kind("md").find(|file| file.path == PAGE).map(|file| file.text.as_str()).unwrap_or_default();
    let said: BTreeSet<&str> = page.split('`').filter(|text| is_variable(text)).collect();
    let unsaid = read.iter().filter(|(name, _)| !said.contains(*name)).map(|(name, (path, line))| {
        Offence::at(path, *line, format!("{name} is not on {PAGE}: say there what it is and its default"))
    });
    let unread = said
        .iter()
        .filter(|name| !read.contains_key(*name))
        .map(|name| Offence::at(PAGE, 1, format!("nothing reads {name}: drop it")));
    unsaid.chain(unread).collect()
}

fn is_test(path: &str) -> bool {
    path.ends_with("tests.rs") || path.split('/').any(|part| part == "tests" || part == "bench")
}

fn is_variable(text: &str) -> bool {
    let is_name = text.len() > 8 && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    is_name && PREFIXES.iter().any(|prefix| text.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_on_one_side_only_is_found() {
        let tree = Tree::of(&[
            ("a/src/lib.rs", "//! x\nlet a = vars.text(\"BIFROST_HIDDEN\");\nlet b = vars.or(\"BIFROST_SAID\", 1);"),
            ("docs/configuration.md", "| `BIFROST_SAID` | |\n| `BIFROST_GHOST` | |"),
        ]);
        let found: Vec<String> = offences(&tree).iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("a/src/lib.rs:2: BIFROST_HIDDEN"), "{found:?}");
        assert!(found[1].contains("BIFROST_GHOST"), "{found:?}");
    }
}
