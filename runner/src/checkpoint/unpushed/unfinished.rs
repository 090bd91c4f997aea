//! What was not committed, as one commit in the mirror: made by `git fast-import` from the files that are known to
//! differ, so that neither the tree is walked again nor the workspace's own repository asked.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use super::clean::{self, Form};
use crate::checkpoint::changes::Changes;
use crate::git::{Git, GitError, Place, names};
use crate::orders::Orders;
use crate::workspace::Paths;

/// More than this is left to the checkpoint alone: git would take longer over it than the checkpoint did.
const BYTES_MAX: u64 = 32 * 1024 * 1024;
const FILES_MAX: usize = 20_000;
const GITMODULES: &str = ".gitmodules";
const GITLINK: &str = "160000";

/// How much a commit is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Most {
    pub(super) files: usize,
    pub(super) bytes: u64,
}

impl Most {
    /// Where the checkpoint has it as well.
    pub(super) const BESIDE_A_CHECKPOINT: Self = Self { files: FILES_MAX, bytes: BYTES_MAX };
    /// Where nothing else has it. All of it is in memory for a moment.
    pub(super) const ALONE: Self = Self { files: 8 * FILES_MAX, bytes: 8 * BYTES_MAX };
}

/// What is to be committed.
#[derive(Debug)]
pub(super) struct Work {
    /// With the tree that it is in, and the index that this was checked out by.
    pub(super) paths: Paths,
    /// Under which name it is kept.
    pub(super) reference: String,
    /// The commit that it is measured against.
    pub(super) base: String,
    /// The commit that it goes on top of.
    pub(super) parent: String,
    pub(super) title: String,
    pub(super) changes: Changes,
}

/// Why there is no commit of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotCommitted {
    #[error("it is more than {} files or {} MiB", .0.files, .0.bytes / 1024 / 1024)]
    TooMuch(Most),
    #[error("the volume has no room for it")]
    NoRoom,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Git(#[from] GitError),
}

/// What became of it.
pub(super) struct Committed {
    /// The reference; none where all of it is in `parent`.
    pub(super) reference: Option<String>,
    /// What is not in it, or not all of it, by name.
    pub(super) left: Vec<String>,
}

/// Commits the changed files on top of the parent.
pub(super) async fn commit(git: &Git, work: Work, most: Most, now: DateTime<Utc>) -> Result<Committed, NotCommitted> {
    let orders = Orders::none();
    let Work { paths, reference, base, parent, title, changes } = work;
    let place = Place::bare(&paths.mirror);
    let forms = clean::forms(git, &paths, &changes, most).await?;
    let mut left: Vec<String> = forms.iter().filter_map(|(path, form)| left_out(path, form)).collect();
    // Changes are measured against the commit that was checked out, wherever HEAD is now.
    let base_tree = match parent == base {
        true => None,
        false => {
            let tree = format!("{base}^{{tree}}");
            let answer = git.run(place, ["rev-parse", "--verify", tree.as_str()], b"", &orders).await?;
            Some(String::from_utf8_lossy(&answer).trim().to_owned())
        }
    };
    let needs_parents = !left.is_empty() || !changes.repositories.is_empty() || is_there(&paths, GITMODULES);
    let before =
        if base_tree.is_some() && needs_parents { entries(git, place, &parent).await? } else { BTreeMap::new() };
    let pointers: Vec<PathBuf> =
        forms.iter().filter(|(_, form)| matches!(form, Form::Pointer(_))).map(|(path, _)| path.clone()).collect();
    let head = Beginning {
        reference: reference.clone(),
        parent: parent.clone(),
        base: base_tree,
        before,
        seconds: now.timestamp(),
        message: format!("{title}\n"),
    };
    let (tree, mirror) = (paths.tree.clone(), paths.mirror.clone());
    let input = kit::tasks::blocking(move || {
        let input = stream(&tree, &head, &changes, &forms)?;
        has_room(&mirror, input.len())?.then_some(input).ok_or(NotCommitted::NoRoom)
    });
    let input = input.await?;
    let options = ["-c", "core.compression=1", "fast-import", "--quiet", "--done", "--force"];
    git.run(place, options, &input, &orders).await?;
    if !pointers.is_empty() {
        // Of what was only pulled, others have the content.
        let arguments = ["diff-tree", "-r", "-z", "--name-only", "--no-renames", &base, &reference];
        let differing = git.run(place, arguments, b"", &orders).await?;
        let differing: BTreeSet<&[u8]> = names::of(&differing).collect();
        let changed = pointers.iter().filter(|path| differing.contains(path.as_os_str().as_bytes()));
        left.extend(changed.map(|path| format!("the content of {} (Git LFS)", path.display())));
    }
    let trees = [format!("{reference}^{{tree}}"), format!("{parent}^{{tree}}")];
    let answer = git.run(place, ["rev-parse", trees[0].as_str(), trees[1].as_str()], b"", &orders).await?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let mut lines = answer.lines();
    if lines.next() != lines.next() {
        return Ok(Committed { reference: Some(reference), left });
    }
    // All of it was committed: HEAD is all there is to keep, if anything.
    if parent == base {
        git.run(place, ["update-ref", "-d", reference.as_str()], b"", &orders).await?;
        return Ok(Committed { reference: None, left });
    }
    git.run(place, ["update-ref", reference.as_str(), parent.as_str()], b"", &orders).await?;
    Ok(Committed { reference: Some(reference), left })
}

fn left_out(path: &Path, form: &Form) -> Option<String> {
    match form {
        Form::Filtered(filter) => Some(format!("{} (filter {filter})", path.display())),
        Form::Object(_) | Form::Pointer(_) => None,
    }
}

fn is_there(paths: &Paths, name: &str) -> bool {
    fs::symlink_metadata(paths.tree.join(name)).is_ok()
}

/// The mode and the object of everything in a commit.
async fn entries(git: &Git, place: Place<'_>, commit: &str) -> Result<BTreeMap<PathBuf, (String, String)>, GitError> {
    let tree = git.run(place, ["ls-tree", "-r", "-z", commit], b"", &Orders::none()).await?;
    let entry = |line: &[u8]| {
        let (about, path) = names::entry(line)?;
        let mut words = about.split(' ');
        let (mode, object) = (words.next()?.to_owned(), words.nth(1)?.to_owned());
        Some((path, (mode, object)))
    };
    Ok(names::of(&tree).filter_map(entry).collect())
}

/// Whether so much fits, and the checkpoint after it: that one goes before.
fn has_room(mirror: &Path, bytes: usize) -> io::Result<bool> {
    let space = nix::sys::statvfs::statvfs(mirror)?;
    #[expect(clippy::useless_conversion, reason = "the width of these differs between systems")]
    let free = u64::from(space.blocks_available()).saturating_mul(u64::from(space.fragment_size()));
    Ok(free / 3 > bytes as u64)
}

struct Beginning {
    reference: String,
    parent: String,
    /// The tree that the changes are measured against, where it is not the parent's.
    base: Option<String>,
    /// What the parent has, as far as the changes do not tell what becomes of it.
    before: BTreeMap<PathBuf, (String, String)>,
    seconds: i64,
    message: String,
}

/// What fast-import reads.
fn stream(
    tree: &Path,
    head: &Beginning,
    changes: &Changes,
    forms: &BTreeMap<PathBuf, Form>,
) -> Result<Vec<u8>, NotCommitted> {
    let mut out = format!(
        "feature done\ncommit {}\ncommitter Bifrost <bifrost@localhost> {} +0000\ndata {}\n{}\nfrom {}\n",
        head.reference,
        head.seconds,
        head.message.len(),
        head.message,
        head.parent
    )
    .into_bytes();
    if let Some(base) = &head.base {
        out.extend_from_slice(format!("deleteall\nM 040000 {base} \"\"\n").as_bytes());
    }
    for path in changes.deleted.iter().filter(|path| may_be_in_git(path)) {
        push_deleted(&mut out, path);
    }
    let submodules = submodules(tree, head, changes);
    let is_inside = |path: &Path| path.ancestors().any(|above| submodules.contains_key(above));
    for path in changes.present.iter().filter(|path| may_be_in_git(path) && !is_inside(path)) {
        let place = tree.join(path);
        let meta = fs::symlink_metadata(&place)?;
        let mode = match meta.permissions().mode() & 0o100 {
            _ if meta.is_symlink() => "120000",
            0 => "100644",
            _ => "100755",
        };
        let content = match forms.get(path) {
            Some(Form::Filtered(_)) if head.base.is_none() => continue,
            Some(Form::Filtered(_)) => {
                match head.before.get(path) {
                    Some((mode, object)) => push_object(&mut out, mode, object, path),
                    None => push_deleted(&mut out, path),
                }
                continue;
            }
            Some(Form::Object(object)) => {
                push_object(&mut out, mode, object, path);
                continue;
            }
            Some(Form::Pointer(pointer)) => pointer.clone(),
            None if meta.is_symlink() => fs::read_link(&place)?.into_os_string().into_vec(),
            None => fs::read(&place)?,
        };
        out.extend_from_slice(format!("M {mode} inline ").as_bytes());
        push_path(&mut out, path);
        out.extend_from_slice(format!("data {}\n", content.len()).as_bytes());
        out.extend_from_slice(&content);
        out.push(b'\n');
    }
    for (path, commit) in submodules {
        push_object(&mut out, GITLINK, commit, path);
    }
    out.extend_from_slice(b"\ndone\n");
    Ok(out)
}

/// The submodules that the parent has or that stand elsewhere, each with its commit. Of one that stands where it was
/// checked out, what the parent says of it holds.
fn submodules<'a>(tree: &Path, head: &'a Beginning, changes: &'a Changes) -> BTreeMap<&'a Path, &'a str> {
    let is_there = |path: &Path| fs::symlink_metadata(tree.join(path)).is_ok_and(|meta| meta.is_dir());
    let of_parent = head.before.iter().filter(|(path, (mode, _))| mode == GITLINK && is_there(path));
    let of_parent = of_parent.map(|(path, (_, commit))| (path.as_path(), commit.as_str()));
    of_parent.chain(changes.moved().map(|(path, commit)| (path.as_path(), commit.as_str()))).collect()
}

fn push_deleted(out: &mut Vec<u8>, path: &Path) {
    out.extend_from_slice(b"D ");
    push_path(out, path);
}

fn push_object(out: &mut Vec<u8>, mode: &str, object: &str, path: &Path) {
    out.extend_from_slice(format!("M {mode} {object} ").as_bytes());
    push_path(out, path);
}

/// Git keeps no file of a repository inside the repository.
fn may_be_in_git(path: &Path) -> bool {
    let is_gits = |part: &OsStr| part.eq_ignore_ascii_case(".git") || part.eq_ignore_ascii_case("git~1");
    !path.iter().any(is_gits)
}

/// Quoted, whatever bytes it is made of.
fn push_path(out: &mut Vec<u8>, path: &Path) {
    out.push(b'"');
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            byte => out.push(*byte),
        }
    }
    out.extend_from_slice(b"\"\n");
}
