//! Notes that people left in the source of a repository: lines with `TODO` and the like, as they are in HEAD.
//!
//! A note is known by its file and its words, not by its line: it is the same one after lines came before it.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::Found;
use super::sources::Git;

const WITHIN: Duration = Duration::from_secs(60);

pub(super) async fn look(asked: &Git) -> anyhow::Result<Vec<Found>> {
    // Whatever a person has configured.
    let mut arguments = vec!["grep", "--no-color", "--no-column", "-z", "-n", "-I", "-w", "--full-name"];
    for word in &asked.words {
        arguments.extend(["-e", word]);
    }
    arguments.push("HEAD");
    let Some(listed) = git(&asked.path, &arguments).await? else { return Ok(Vec::new()) };
    let origin = git(&asked.path, &["config", "--get", "remote.origin.url"]).await?;
    let top = git(&asked.path, &["rev-parse", "--show-toplevel"]).await?.unwrap_or_default();
    let name = name(origin.as_deref().unwrap_or(&top));
    let mut found = read(&listed, &asked.words, &name);
    found.truncate(asked.most);
    Ok(found)
}

/// What git prints; nothing where it finds nothing.
async fn git(directory: &Path, arguments: &[&str]) -> anyhow::Result<Option<String>> {
    let mut command = kit::process::command("git");
    command.arg("-C").arg(directory).args(arguments).env("LC_ALL", "C").env("GIT_OPTIONAL_LOCKS", "0");
    let ran = tokio::time::timeout(WITHIN, command.output()).await;
    let output = ran.context("git took longer than a minute")?.context("git cannot be started")?;
    match output.status.code() {
        Some(0) => Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned())),
        Some(1) => Ok(None),
        _ => bail!("{}", crate::output::one_line(String::from_utf8_lossy(&output.stderr).trim())),
    }
}

/// What a repository is known by: its remote without scheme and user, or the last part of its path.
fn name(of: &str) -> String {
    let of = of.trim().trim_end_matches('/');
    let of = of.strip_suffix(".git").unwrap_or(of);
    let remote = of.split_once("://").map(|(_, rest)| rest).or_else(|| of.contains('@').then_some(of));
    match remote {
        Some(remote) => remote.rsplit_once('@').map_or(remote, |(_, rest)| rest).replace(':', "/"),
        None => of.rsplit('/').next().unwrap_or_default().to_owned(),
    }
}

/// Reads lines of `HEAD:path`, NUL, number, NUL, text.
fn read(listed: &str, words: &[String], name: &str) -> Vec<Found> {
    let mut known = BTreeSet::new();
    let found = |line: &str| {
        let mut parts = line.splitn(3, '\0');
        let (path, number, text) = (parts.next()?.strip_prefix("HEAD:")?, parts.next()?, parts.next()?.trim());
        // From the word on: what is before it is the code, or the sign of a comment.
        let at = words.iter().filter_map(|word| text.find(word.as_str())).min()?;
        let note = text[at..].trim();
        let digest = blake3::hash(note.as_bytes()).to_hex();
        let source = format!("git:{name}:{path}#{}", &digest[..12]);
        let word = words.iter().find(|word| note.starts_with(word.as_str()))?;
        known.insert(source.clone()).then(|| Found {
            source,
            title: format!("{note} ({path})"),
            text: format!("{path}:{number}\n\n    {text}"),
            tags: vec![word.to_lowercase()],
            url: None,
        })
    };
    listed.lines().filter_map(found).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_the_same_one_wherever_it_stands_in_its_file() {
        let words = ["TODO".to_owned(), "FIXME".to_owned()];
        let listed = "HEAD:src/a.rs\x007\x00    // TODO(ann): mend this\nHEAD:src/a.rs\x009\x00# TODO(ann): mend this\n\
                      HEAD:b:c\x001\x00x(); // see FIXME and TODO\nnonsense\n";
        let found = read(listed, &words, "app");
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].title, "TODO(ann): mend this (src/a.rs)");
        assert!(found[0].source.starts_with("git:app:src/a.rs#"), "{}", found[0].source);
        assert_eq!(
            (found[1].tags.as_slice(), found[1].title.as_str()),
            (&["fixme".to_owned()][..], "FIXME and TODO (b:c)")
        );
        let later = read("HEAD:src/a.rs\x0099\x00// TODO(ann): mend this\n", &words, "app");
        assert_eq!(later[0].source, found[0].source);
    }

    #[test]
    fn a_repository_is_named_by_where_it_came_from() {
        for (of, expect) in [
            ("https://me:secret@git.example/o/app.git\n", "git.example/o/app"),
            ("git@git.example:o/app", "git.example/o/app"),
            ("/home/me/app/", "app"),
        ] {
            assert_eq!(name(of), expect);
        }
    }
}
