//! Commits that no branch need lead to, as a repository's files name them: those that HEAD and the stash once were,
//! those of other worktrees, of tags, notes and whatever else refers to something, and of what is under way, such as a
//! merge. Whether they are on a branch all the same, or there at all, git must tell.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use super::references::is_object;
use super::view::text;

/// What names commits in the directory of a repository, and in that of each worktree.
const STATES: [&str; 6] =
    ["HEAD", "MERGE_HEAD", "MERGE_AUTOSTASH", "CHERRY_PICK_HEAD", "rebase-merge/autostash", "rebase-apply/autostash"];
const LOGS: [&str; 2] = ["logs/HEAD", "logs/refs/stash"];
/// What leads to the commits below these is kept by its name, or is a remote's.
const NAMED: [&str; 2] = ["refs/heads", "refs/remotes"];
const TAGS: &str = "refs/tags";

/// The objects that are named, but for those of branches and tags.
pub(in crate::checkpoint) fn ends(repository: &Path) -> io::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let mut places = vec![repository.to_owned()];
    places.extend(children(&repository.join("worktrees"))?.into_iter().map(|entry| entry.path()));
    for place in places {
        for name in STATES {
            found.extend(text(&place.join(name))?.lines().filter_map(object));
        }
        for name in LOGS {
            found.extend(logged(&text(&place.join(name))?).into_iter().filter_map(object));
        }
    }
    let is_other = |name: &str| ![NAMED[0], NAMED[1], TAGS].iter().any(|place| is_below(name, place));
    found.extend(packed(repository, is_other)?);
    loose(repository, "refs", &is_other, &mut found)?;
    Ok(found)
}

/// The objects of all tags.
pub(in crate::checkpoint) fn tags(repository: &Path) -> io::Result<BTreeSet<String>> {
    let mut found = loose_tags(repository)?;
    found.extend(packed(repository, |name| is_below(name, TAGS))?);
    Ok(found)
}

/// The objects of the tags that came since the repository was cloned.
pub(in crate::checkpoint) fn loose_tags(repository: &Path) -> io::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    loose(repository, TAGS, &|_| true, &mut found)?;
    Ok(found)
}

/// Every object that a log names, but for those that the next one was committed on: that leads to them.
fn logged(log: &str) -> BTreeSet<&str> {
    let (mut named, mut followed) = (BTreeSet::new(), BTreeSet::new());
    for line in log.lines() {
        let (ids, message) = line.split_once('\t').unwrap_or((line, ""));
        let mut ids = ids.split(' ');
        let (Some(old), Some(new)) = (ids.next(), ids.next()) else { continue };
        named.extend([old, new]);
        if message.starts_with("commit: ") || message.starts_with("commit (merge): ") {
            followed.insert(old);
        }
    }
    &named - &followed
}

fn packed(repository: &Path, wanted: impl Fn(&str) -> bool) -> io::Result<BTreeSet<String>> {
    let text = text(&repository.join("packed-refs"))?;
    let named = text.lines().filter_map(|line| line.split_once(' ')).filter(|(_, name)| wanted(name));
    Ok(named.filter_map(|(id, _)| object(id)).collect())
}

fn loose(
    repository: &Path,
    name: &str,
    wanted: &impl Fn(&str) -> bool,
    found: &mut BTreeSet<String>,
) -> io::Result<()> {
    for entry in children(&repository.join(name))? {
        let name = format!("{name}/{}", entry.file_name().to_string_lossy());
        match entry.file_type()? {
            _ if !wanted(&name) => (),
            kind if kind.is_dir() => loose(repository, &name, wanted, found)?,
            _ => found.extend(object(text(&entry.path())?.trim())),
        }
    }
    Ok(())
}

fn children(directory: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(directory) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(Vec::new()),
        entries => entries?.collect(),
    }
}

fn is_below(name: &str, place: &str) -> bool {
    name.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// An id that is one, and not that of nothing.
fn object(text: &str) -> Option<String> {
    (is_object(text) && text.bytes().any(|byte| byte != b'0')).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_committed_on_is_followed_and_what_was_amended_or_left_is_not() {
        let log = "0 a n <e> 1 +0000\tclone: from x\na b n <e> 1 +0000\tcommit: one\nb c n <e> 1 +0000\tcommit (amend): one\n\
                   c d n <e> 1 +0000\tcommit: two\nd a n <e> 1 +0000\tcheckout: moving from d to main\nhalf\n";
        assert_eq!(logged(log).into_iter().collect::<Vec<_>>(), ["0", "b", "d"]);
    }
}
