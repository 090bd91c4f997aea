//! A link in Markdown from one file of the repository to another leads somewhere.

use crate::Offence;
use crate::tree::{File, Tree};

/// Links that lead nowhere, or out of the repository.
pub fn offences(tree: &Tree) -> Vec<Offence> {
    let mut offences = Vec::new();
    for file in tree.of_kind("md") {
        for (line, target) in links(&file.text) {
            if !resolve(file, target).is_some_and(|path| tree.has(&path)) {
                let cure = format!("the link `{target}` leads to no file of the repository: mend or drop it");
                offences.push(Offence::at(&file.path, line, cure));
            }
        }
    }
    offences
}

/// The targets of links that are paths, with their lines.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut links = Vec::new();
    let mut in_fence = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_fence = !in_fence;
        } else if !in_fence {
            let found = inline_targets(line).into_iter().chain(reference_target(line));
            links.extend(found.filter(|target| is_path(target)).map(|target| (index + 1, target)));
        }
    }
    links
}

/// Every `](target)` of a line that does not stand in backticks.
fn inline_targets(line: &str) -> Vec<&str> {
    let outside_code = line.split('`').step_by(2);
    outside_code
        .flat_map(|text| text.split("](").skip(1))
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| without_title(target))
        .collect()
}

/// The target of a line `[name]: target`.
fn reference_target(line: &str) -> Option<&str> {
    let (_, target) = line.strip_prefix('[')?.split_once("]: ")?;
    Some(without_title(target))
}

fn without_title(target: &str) -> &str {
    let target = target.split_whitespace().next().unwrap_or_default();
    target.trim_start_matches('<').trim_end_matches('>')
}

fn is_path(target: &str) -> bool {
    !target.is_empty() && !target.starts_with('#') && !target.contains("://") && !target.starts_with("mailto:")
}

/// The path from the root, or nothing where the link climbs out of it.
fn resolve(file: &File, target: &str) -> Option<String> {
    let path = target.split('#').next().unwrap_or_default();
    let mut parts: Vec<&str> =
        if path.starts_with('/') { Vec::new() } else { file.folders().filter(|part| !part.is_empty()).collect() };
    for part in path.split('/') {
        match part {
            "" | "." => (),
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, dead: &[&str]) {
        let tree = Tree::of(&[("README.md", ""), ("docs/adr/0001-a.md", ""), ("docs/a.md", text)]);
        let found: Vec<_> = offences(&tree).iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), dead.len(), "{found:?}");
        assert!(found.iter().zip(dead).all(|(found, dead)| found.starts_with(dead)), "{found:?}");
    }

    #[test]
    fn links_to_files_and_folders_of_the_repository_are_followed() {
        check("[a](adr/0001-a.md) [b](../README.md#top) [c](./adr/) [d](/README.md) [e](<a.md> \"title\")", &[]);
        check("# x\n[a](adr/0002-b.md) and [b](README.md)", &["docs/a.md:2: the link `adr/0002-b.md`", "docs/a.md:2"]);
        check("[a](../../etc/passwd)", &["docs/a.md:1"]);
        check("[a]: gone.md", &["docs/a.md:1: the link `gone.md`"]);
    }

    #[test]
    fn other_addresses_and_examples_are_not_followed() {
        check("[a](https://fly.io/docs) [b](#part) [c](mailto:a@b.c) `[d](gone.md)`", &[]);
        check("```\n[a](gone.md)\n```\n[b](gone.md)", &["docs/a.md:4"]);
    }
}
