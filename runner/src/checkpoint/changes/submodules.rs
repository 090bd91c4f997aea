//! Repositories inside a workspace's tree: submodules, and others that a command made there.
//!
//! Git compares of a submodule no more than where its HEAD is. Here each that is checked out is looked into: one with
//! changes, or with commits that its remote has not, goes into the checkpoint as it is, with what git keeps of it. Its
//! configuration and its hooks do not: a command wrote them, and they would be those of a workspace of the runner's.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use kit::tasks::blocking;

use super::{Changes, DENIED, walk};
use crate::checkpoint::CheckpointError;
use crate::checkpoint::unpushed::{self, loose, view};
use crate::git::{Git, GitError, Place, names};
use crate::mirror::submodules::below;
use crate::orders::Orders;
use crate::workspace::Paths;

/// What is kept of a repository that is inside another.
const SAVED: [&str; 11] = [
    "HEAD",
    "ORIG_HEAD",
    "MERGE_HEAD",
    "MERGE_AUTOSTASH",
    "CHERRY_PICK_HEAD",
    "packed-refs",
    "shallow",
    "index",
    "objects",
    "refs",
    "logs",
];
/// It could have the runner's git read what the command may not.
const BORROWED: &str = "objects/info/alternates";

/// Looks into the submodules, and adds what is found in them to what differs.
pub(super) async fn add(git: &Git, paths: &Paths, changes: &mut Changes) -> Result<(), CheckpointError> {
    let modules = paths.tree.join(".git/modules");
    let nested = changes.repositories.clone();
    let mut seen = BTreeSet::new();
    let has_some = fs::symlink_metadata(paths.tree.join(".gitmodules")).is_ok() || modules.exists();
    if has_some || !changes.submodules.is_empty() {
        let recorded = gitlinks(git, paths.compared()).await?;
        let replaced = std::mem::take(&mut changes.submodules).into_keys();
        let is_link = |path: &PathBuf| recorded.iter().any(|(link, _)| link == path);
        // A file of the repository has become a directory, with another repository in it.
        changes.deleted.extend(replaced.filter(|path| !is_link(path)));
        for (path, commit) in recorded {
            let found = look(git, paths, path.clone(), Some(commit.clone())).await?;
            changes.submodules.insert(path, found.head.filter(|head| *head != commit));
            changes.inside.extend(found.files);
            changes.repositories.extend(found.repositories);
            seen.extend(found.seen);
        }
    }
    for path in nested {
        // Made by `git submodule add`: to the repository around it it is one already.
        if repository(&paths.tree, &path).is_some_and(|own| own.starts_with(&modules)) {
            let found = look(git, paths, path.clone(), None).await?;
            changes.present.retain(|file| !file.starts_with(&path));
            changes.inside.extend(found.files);
            changes.repositories.extend(found.repositories);
            changes.submodules.insert(path, found.head);
            seen.extend(found.seen);
        }
    }
    // Those that are no longer checked out, such as of a directory that was removed.
    for own in below(&modules)?.difference(&seen) {
        let at = own.strip_prefix(&paths.tree).map_err(io::Error::other)?;
        let shown = unpushed::show(own, paths, "");
        if shown.is_ok() && has_commits(git, &shown?, own, None).await? {
            changes.inside.extend(kept(&paths.tree, at, Some(own.clone()))?);
            changes.repositories.insert(at.to_owned());
        }
    }
    Ok(())
}

/// What is in a submodule.
#[derive(Default)]
struct Found {
    /// Where it stands.
    head: Option<String>,
    /// All of it, where it has work in it.
    files: BTreeSet<PathBuf>,
    /// It, and those in it, that have.
    repositories: BTreeSet<PathBuf>,
    /// What git keeps of it, and of those in it, whether they have or not.
    seen: BTreeSet<PathBuf>,
}

/// What git says of a submodule.
struct State {
    head: Option<String>,
    has_work: bool,
    inner: Vec<(PathBuf, String)>,
}

type Looking<'a> = Pin<Box<dyn Future<Output = Result<Found, CheckpointError>> + Send + 'a>>;

fn look<'a>(git: &'a Git, paths: &'a Paths, at: PathBuf, recorded: Option<String>) -> Looking<'a> {
    Box::pin(async move {
        let place = paths.tree.join(&at);
        let mut found = Found::default();
        // What is a link, or lies behind one, is not the submodule's.
        if !place.canonicalize().is_ok_and(|real| real == place) || !place.is_dir() {
            return Ok(found);
        }
        let own = repository(&paths.tree, &at);
        found.seen.extend(own.clone());
        let state = match &own {
            None => None,
            Some(own) => match ask(git, paths, &place, own, recorded.as_deref()).await {
                // Nothing can be told of it, so that all of it counts as work.
                Err(GitError::Failed { stderr, .. }) if !stderr.contains(DENIED) => None,
                Err(GitError::View(_)) => None,
                state => Some(state?),
            },
        };
        let Some(state) = state else {
            found.files = everything(&paths.tree, &at, own).await?;
            found.repositories = if found.files.is_empty() { BTreeSet::new() } else { [at].into() };
            return Ok(found);
        };
        found.head = state.head;
        for (inner, commit) in state.inner {
            let inside = look(git, paths, at.join(inner), Some(commit)).await?;
            found.files.extend(inside.files);
            found.repositories.extend(inside.repositories);
            found.seen.extend(inside.seen);
        }
        if let Some(own) = own
            && (state.has_work || !found.files.is_empty() || recorded.is_none())
        {
            found.files.extend(listed(git, paths, &at, own).await?);
            found.repositories.insert(at);
        }
        Ok(found)
    })
}

/// The repository of what is checked out here, where it is the tree's own: beside the files, or with the other submodules'.
fn repository(tree: &Path, at: &Path) -> Option<PathBuf> {
    let place = tree.join(at);
    let git = place.join(".git");
    if fs::symlink_metadata(&git).ok()?.is_dir() {
        return Some(git);
    }
    let text = view::text(&git).ok()?;
    let found = place.join(text.strip_prefix("gitdir: ")?.trim_end()).canonicalize().ok()?;
    found.starts_with(tree.join(".git/modules")).then_some(found)
}

async fn ask(git: &Git, paths: &Paths, place: &Path, own: &Path, recorded: Option<&str>) -> Result<State, GitError> {
    let index = own.join("index");
    let shown = unpushed::show(own, paths, recorded.unwrap_or_default())?;
    if !fs::symlink_metadata(&index).is_ok_and(|meta| meta.is_file()) {
        return Err(GitError::View(io::Error::other(format!("{} is no file", index.display()))));
    }
    let compared = Place { repository: Some(&shown), tree: Some(place), index: Some(&index) };
    let status = super::status(git, compared, "normal").await?;
    let has_submodules = fs::symlink_metadata(place.join(".gitmodules")).is_ok() || own.join("modules").exists();
    let inner = if has_submodules { gitlinks(git, compared).await? } else { Vec::new() };
    let has_work = !status.changed.is_empty() || has_commits(git, &shown, own, recorded).await?;
    Ok(State { head: status.head, has_work, inner })
}

/// Whether anything in a repository leads to a commit that is neither on a branch of its remote nor known.
async fn has_commits(git: &Git, shown: &Path, own: &Path, recorded: Option<&str>) -> Result<bool, GitError> {
    let ends = loose::ends(own).and_then(|mut ends| {
        ends.extend(loose::loose_tags(own)?);
        Ok(ends)
    });
    let ends = ends.map_err(GitError::View)?;
    let known = recorded.map(|commit| format!("^{commit}\n"));
    let input: String = ends.iter().map(|end| format!("{end}\n")).chain(known).collect();
    let options = ["rev-list", "--max-count=1", "--ignore-missing", "--stdin", "--branches", "--not", "--remotes"];
    Ok(!git.run(Place::bare(shown), options, input.as_bytes(), &Orders::none()).await?.is_empty())
}

/// All that a repository's index has and git does not ignore, with what git keeps of it.
async fn listed(git: &Git, paths: &Paths, at: &Path, own: PathBuf) -> Result<BTreeSet<PathBuf>, CheckpointError> {
    let (place, index) = (paths.tree.join(at), own.join("index"));
    let shown = unpushed::show(&own, paths, "")?;
    let asked = Place { repository: Some(&shown), tree: Some(&place), index: Some(&index) };
    let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let listed = git.run(asked, arguments, b"", &Orders::none()).await?;
    let (tree, at) = (paths.tree.clone(), at.to_owned());
    Ok(blocking(move || {
        let mut files = kept(&tree, &at, Some(own))?;
        for name in names::of(&listed) {
            let path = at.join(names::path(name));
            match fs::symlink_metadata(tree.join(&path)) {
                Ok(meta) if meta.is_file() || meta.is_symlink() => drop(files.insert(path)),
                // A repository that nobody made a submodule; one that is is looked into by itself.
                Ok(meta) if meta.is_dir() && name.ends_with(b"/") => walk(&tree, &path, &mut files)?,
                _ => (),
            }
        }
        Ok::<_, io::Error>(files)
    })
    .await?)
}

/// Every file below a directory that git can say nothing of, with what it keeps there.
async fn everything(tree: &Path, at: &Path, own: Option<PathBuf>) -> io::Result<BTreeSet<PathBuf>> {
    let (tree, at) = (tree.to_owned(), at.to_owned());
    blocking(move || {
        let mut files = BTreeSet::new();
        walk(&tree, &at, &mut files)?;
        files.retain(|path| !path.starts_with(at.join(".git")));
        files.extend(kept(&tree, &at, own)?);
        Ok(files)
    })
    .await
}

/// What git keeps of a repository, as far as it goes into a checkpoint.
fn kept(tree: &Path, at: &Path, own: Option<PathBuf>) -> io::Result<BTreeSet<PathBuf>> {
    let mut files = BTreeSet::new();
    let Some(own) = own else { return Ok(files) };
    let own = own.strip_prefix(tree).map_err(io::Error::other)?;
    for name in SAVED {
        let path = own.join(name);
        match fs::symlink_metadata(tree.join(&path)) {
            Ok(meta) if meta.is_dir() => walk(tree, &path, &mut files)?,
            Ok(_) => drop(files.insert(path)),
            Err(_) => (),
        }
    }
    files.insert(at.join(".git"));
    let is_file = |path: &PathBuf| fs::symlink_metadata(tree.join(path)).is_ok_and(|meta| meta.is_file());
    files.retain(|path| is_file(path) && *path != own.join(BORROWED));
    Ok(files)
}

/// The submodules that an index has, with the commits that it wants of them.
pub(crate) async fn gitlinks(git: &Git, place: Place<'_>) -> Result<Vec<(PathBuf, String)>, GitError> {
    let staged = git.run(place, ["ls-files", "-z", "--stage"], b"", &Orders::none()).await?;
    let link = |line: &[u8]| {
        let (about, path) = names::entry(line.strip_prefix(b"160000 ")?)?;
        Some((path, about.split(' ').next()?.to_owned()))
    };
    Ok(names::of(&staged).filter_map(link).collect())
}
