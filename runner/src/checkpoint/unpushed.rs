//! Work that nobody pushed: commits, stashes and files that were not committed, kept in the mirror under
//! `refs/bifrost`, so that they outlive their workspace, are found by git alone, and can be pushed.
//!
//! | reference | what |
//! |---|---|
//! | `refs/bifrost/wip/<execution>` | HEAD where it was not pushed, and on it one commit with what was not committed |
//! | `refs/bifrost/branches/<execution>/<branch>` | every branch that was not pushed |
//! | `refs/bifrost/stashes/<execution>` | the stash |
//! | `refs/bifrost/commits/<execution>/<commit>` | commits that none of these leads to: earlier stashes, what HEAD was at, other worktrees, tags, notes |
//!
//! Nothing here deletes a branch that is not merged. A reference goes once everything it leads to is on a branch of
//! the remote; those that are no branches also after thirty days, but never those of the newest fifty executions.

mod clean;
pub(super) mod loose;
mod references;
mod unfinished;
pub(super) mod view;
pub(super) mod worktrees;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use wire::checkpoint::KeptWork;
use wire::id::ExecutionId;

use super::CheckpointError;
use super::changes::Changes;
use super::format::{Head, Manifest, RelativePath};
use crate::git::{Git, GitError, Place};
use crate::mirror::{self, fetch_arguments};
use crate::orders::Orders;
use crate::workspace::{Marker, Paths};

use unfinished::{Most, Work};

pub(crate) use references::{KEPT, is_beside_branches, wip as unfinished_work};

/// How many are named of what no commit has.
const LEFT_TOLD: usize = 50;

/// What was kept of a workspace.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// The references that it has in the mirror.
    pub(crate) references: Vec<String>,
    /// Where the workspace's own repository stood, if elsewhere than at the commit that was checked out.
    pub(crate) head: Option<Head>,
    /// Why what was not committed has no commit, where it has none.
    pub(crate) uncommitted: Option<String>,
    /// What no commit has, or not all of it, by name.
    pub(crate) left: Vec<String>,
}

/// Copies into the mirror what nobody pushed, and proves that it is there whole.
pub(crate) async fn keep(
    git: &Git,
    paths: &Paths,
    marker: &Marker,
    changes: &Changes,
    now: DateTime<Utc>,
) -> Result<Kept, CheckpointError> {
    let repository = paths.tree.join(".git");
    let is_changed = changes.is_any();
    let mut kept = Kept::default();
    if !is_untouched(&repository, &paths.mirror, &marker.commit) {
        kept = keep_commits(git, paths, marker, &repository, is_changed).await?;
    }
    if is_changed {
        let work = Work {
            paths: paths.clone(),
            reference: references::wip(marker.subject.execution_id),
            base: marker.commit.clone(),
            parent: kept.head.as_ref().map_or(&marker.commit, |head| &head.commit).clone(),
            title: marker.title.as_deref().unwrap_or("Work that was not committed").to_owned(),
            changes: changes.clone(),
        };
        match unfinished::commit(git, work, Most::BESIDE_A_CHECKPOINT, now).await {
            Ok(committed) => {
                settle(&mut kept.references, committed.reference, marker.subject.execution_id);
                kept.left = committed.left;
            }
            // The checkpoint has it all the same.
            Err(error) => {
                tracing::warn!("what was not committed has no reference of its own: {error}");
                kept.uncommitted = Some(error.to_string());
            }
        }
    }
    kept.left.extend(changes.repositories.iter().map(|path| format!("the repository {}", path.display())));
    let more = kept.left.len().saturating_sub(LEFT_TOLD);
    if more > 0 {
        kept.left.truncate(LEFT_TOLD);
        kept.left.push(format!("{more} more"));
    }
    let worktrees = worktrees::keep(git, paths, marker, now).await;
    kept.references.extend(worktrees.map_err(|error| CheckpointError::Worktree(error.to_string()))?);
    if !kept.references.is_empty() {
        let input: String = kept.references.iter().map(|name| format!("{name}\n")).collect();
        let input = format!("{input}^{}\n", marker.commit);
        let arguments = ["rev-list", "--objects", "--quiet", "--stdin"];
        git.run(Place::bare(&paths.mirror), arguments, input.as_bytes(), &Orders::none()).await?;
    }
    Ok(kept)
}

/// Notes under which reference uncommitted work is, or that there was none after all.
fn settle(references: &mut Vec<String>, reference: Option<String>, id: ExecutionId) {
    let wip = references::wip(id);
    match reference {
        Some(reference) if !references.contains(&reference) => references.insert(0, reference),
        Some(_) => (),
        None => references.retain(|name| *name != wip),
    }
}

async fn keep_commits(
    git: &Git,
    paths: &Paths,
    marker: &Marker,
    repository: &Path,
    is_changed: bool,
) -> Result<Kept, GitError> {
    let orders = Orders::none();
    let head = view::text(&repository.join("HEAD")).unwrap_or_default();
    let view = show(repository, paths, &marker.commit)?;
    let arguments = ["for-each-ref", "--format=%(objectname) %(refname)"];
    let listed = git.run(Place::bare(&view), arguments, b"", &orders).await?;
    let listed = String::from_utf8_lossy(&listed);
    let id = marker.subject.execution_id;
    let mut plan = references::plan(&listed, head.trim(), &marker.commit, id, is_changed);
    let tips = beside_branches(git, &view, paths, marker, &listed, &plan).await?;
    plan.copies.extend(tips.into_iter().map(|tip| (tip.clone(), references::commit(id, &tip))));
    if !plan.copies.is_empty() {
        let mut arguments = fetch_arguments(view.as_os_str());
        // There may be more of them than arguments have room.
        arguments.insert(1, "--stdin".into());
        let input: String = plan.copies.iter().map(|(from, to)| format!("+{from}:{to}\n")).collect();
        git.run(Place::bare(&paths.mirror), arguments, input.as_bytes(), &orders).await?;
    }
    let references = plan.copies.into_iter().map(|(_, to)| to).collect();
    Ok(Kept { references, head: plan.head, ..Kept::default() })
}

/// A view of a repository that a command may have written, its HEAD at this commit where it has none that is one.
pub(super) fn show(repository: &Path, paths: &Paths, commit: &str) -> Result<PathBuf, GitError> {
    let head = view::text(&repository.join("HEAD")).unwrap_or_default();
    let head = references::readable(head.trim(), commit);
    view::make(repository, &paths.mirror, paths.own(), head).map_err(GitError::View)
}

/// The commits that nothing leads to which is kept by its name, or is the remote's: of each line of them the last.
async fn beside_branches(
    git: &Git,
    view: &Path,
    paths: &Paths,
    marker: &Marker,
    listed: &str,
    plan: &references::Plan,
) -> Result<Vec<String>, GitError> {
    let ends = loose::ends(&paths.tree.join(".git")).map_err(GitError::View)?;
    let mut known = loose::tags(&paths.mirror).map_err(GitError::View)?;
    known.insert(marker.commit.clone());
    known.extend(plan.head.as_ref().map(|head| head.commit.clone()));
    let ends = references::loose(listed, ends, &known);
    if ends.is_empty() {
        return Ok(Vec::new());
    }
    let stash = listed.lines().filter_map(|line| line.strip_suffix(" refs/stash"));
    let known = known.iter().map(String::as_str).chain(stash).map(|known| format!("^{known}\n"));
    let input: String = ends.iter().map(|end| format!("{end}\n")).chain(known).collect();
    // What a log names may be gone.
    let options = ["rev-list", "--parents", "--ignore-missing", "--stdin", "--not", "--branches", "--remotes"];
    let commits = git.run(Place::bare(view), options, input.as_bytes(), &Orders::none()).await?;
    Ok(references::tips(&String::from_utf8_lossy(&commits)).into_iter().map(str::to_owned).collect())
}

/// Whether the repository has nothing of its own but the HEAD it was given. Spares git a start.
fn is_untouched(repository: &Path, mirror: &Path, commit: &str) -> bool {
    let Ok(packed) = view::text(&repository.join("packed-refs")) else { return false };
    let no_branch = fs::read_dir(repository.join("refs/heads")).is_ok_and(|mut branches| branches.next().is_none());
    let is_given = |ends: BTreeSet<String>| ends.iter().all(|end| end == commit) && !ends.is_empty();
    let tags = || Ok::<_, io::Error>(loose::tags(repository)?.is_subset(&loose::tags(mirror)?));
    no_branch
        && !packed.contains(" refs/heads/")
        && loose::ends(repository).is_ok_and(is_given)
        && tags().is_ok_and(|tags| tags)
}

/// Pushes what was kept to the repository it came from, under the same names.
pub(crate) async fn push(git: &Git, paths: &Paths, url: &str, references: &[String]) -> Result<(), GitError> {
    let copies: Vec<String> = references.iter().map(|name| format!("+{name}:{name}")).collect();
    mirror::push(git, &paths.mirror, url, &copies, &Orders::none()).await
}

/// Whether a mirror holds anything that nobody pushed.
pub(crate) async fn is_any(git: &Git, mirror: &Path) -> Result<bool, GitError> {
    let arguments = ["for-each-ref", "--count=1"].into_iter().chain(KEPT);
    Ok(!git.run(Place::bare(mirror), arguments, b"", &Orders::none()).await?.is_empty())
}

/// The name of the mirror that a workspace's repository borrows from, as far as that says so.
pub(crate) fn borrowed(tree: &Path) -> Option<String> {
    let text = view::text(&tree.join(".git/objects/info/alternates")).ok()?;
    Some(Path::new(text.trim_end()).parent()?.file_name()?.to_str()?.to_owned())
}

/// Gives a workspace that was just checked out the branches and the HEAD that a checkpoint's had, and has its
/// submodules be where those were.
pub(crate) async fn give_back(git: &Git, paths: &Paths, manifest: &Manifest) -> Result<(), GitError> {
    let repository = paths.tree.join(".git");
    let place = Place::bare(&repository);
    if let Some(head) = &manifest.head {
        give_back_branches(git, paths, manifest, head).await?;
    }
    if manifest.submodules.is_empty() {
        return Ok(());
    }
    let line = |(path, commit): &(RelativePath, String)| {
        [format!("160000 {commit}\t").as_bytes(), path.as_path().as_os_str().as_bytes(), b"\0"].concat()
    };
    let input: Vec<u8> = manifest.submodules.iter().flat_map(line).collect();
    let arguments = ["update-index", "--add", "-z", "--index-info"];
    git.run(place, arguments, &input, &Orders::none()).await.map(drop)
}

async fn give_back_branches(git: &Git, paths: &Paths, manifest: &Manifest, head: &Head) -> Result<(), GitError> {
    let orders = Orders::none();
    let repository = paths.tree.join(".git");
    let place = Place::bare(&repository);
    let mut arguments = fetch_arguments(paths.mirror.as_os_str());
    let from = references::branches(manifest.subject.execution_id);
    arguments.push(format!("+{from}/*:refs/heads/*").into());
    git.run(place, arguments, b"", &orders).await?;
    match &head.branch {
        Some(branch) => {
            git.run(place, ["update-ref", branch.as_str(), head.commit.as_str()], b"", &orders).await?;
            git.run(place, ["symbolic-ref", "HEAD", branch.as_str()], b"", &orders).await?;
        }
        None => drop(git.run(place, ["update-ref", "--no-deref", "HEAD", head.commit.as_str()], b"", &orders).await?),
    }
    git.run(place, ["read-tree", head.commit.as_str()], b"", &orders).await.map(drop)
}

/// What is kept in a mirror, as its files tell it.
pub(crate) fn listed(mirror: &Path, repository: &str) -> io::Result<Vec<KeptWork>> {
    let listed = mirror::objects_below(mirror, &KEPT)?;
    let listed = listed.ok_or_else(|| io::Error::other("only git can tell the references of the mirror"))?;
    let work = |(name, object): (String, String)| {
        let execution_id = references::left_by(&name)?;
        Some(KeptWork { execution_id, repository: repository.to_owned(), reference: name, commit: object })
    };
    Ok(listed.into_iter().filter_map(work).collect())
}

/// Removes references by the rule.
pub(crate) async fn prune(git: &Git, mirror: &Path, now: DateTime<Utc>) -> Result<usize, GitError> {
    let orders = Orders::none();
    let place = Place::bare(mirror);
    let arguments = ["for-each-ref", "--format=%(objectname) %(refname)"].into_iter().chain(KEPT);
    let listed = git.run(place, arguments, b"", &orders).await?;
    let kept = references::parse(&String::from_utf8_lossy(&listed));
    if kept.is_empty() {
        return Ok(0);
    }
    let input: String = kept.iter().map(|one| format!("{}\n", one.object)).collect();
    let arguments = ["rev-list", "--stdin", "--not", "--remotes", "--tags"];
    let unmerged = git.run(place, arguments, input.as_bytes(), &orders).await?;
    let gone = references::gone(&kept, &String::from_utf8_lossy(&unmerged), now);
    if gone.is_empty() {
        return Ok(0);
    }
    // Only what still leads where it was seen to lead.
    let input: String = gone.iter().map(|one| format!("delete {} {}\n", one.name, one.object)).collect();
    git.run(place, ["update-ref", "--stdin"], input.as_bytes(), &orders).await?;
    Ok(gone.len())
}

#[cfg(test)]
mod tests;
