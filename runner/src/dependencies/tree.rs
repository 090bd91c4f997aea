//! Installed directories, kept on the volume and put into workspaces by hard
//! links: no byte is copied.
//!
//! A tree is known by its index, which is written last. Because a workspace shares
//! its files with the tree, a command could change them in place; each file is
//! therefore checked against the index when it is used, and a tree that was
//! changed is not used again.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::checkpoint::format::RelativePath;
use crate::volume;

const INDEX: &str = "index.json";
const CONTENTS: &str = "contents";
/// Scripts of a virtual environment that name its place are never larger.
const SCRIPT_BYTES_MAX: u64 = 1024 * 1024;

/// What a tree holds.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Index {
    /// The workspace it was installed in.
    origin: String,
    entries: Vec<Entry>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    path: RelativePath,
    #[serde(flatten)]
    what: What,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum What {
    Directory {
        mode: u32,
    },
    Link {
        target: RelativePath,
    },
    File {
        size: u64,
        modified: (i64, i64),
        /// It names the workspace it was installed in.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        names_origin: bool,
    },
}

/// Whether a tree could be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Used {
    Yes,
    /// There is none.
    Absent,
    /// It is not as it was saved.
    Changed,
}

/// Saves the directories of this name under the workspace as a tree, in one step.
pub(super) fn save(workspace: &Path, directories: &str, unfinished: &Path, tree: &Path) -> io::Result<()> {
    volume::remove(unfinished)?;
    let contents = unfinished.join(CONTENTS);
    volume::make_private(&contents)?;
    let mut index = Index { origin: workspace.to_string_lossy().into_owned(), entries: Vec::new() };
    let mut found = Vec::new();
    find(workspace, Path::new(""), directories, &mut found)?;
    for directory in found {
        volume::make_private(&contents.join(directory.parent().unwrap_or(Path::new(""))))?;
        take(workspace, &contents, &directory, &mut index)?;
    }
    finish(&index, unfinished, tree)
}

/// Notes that an installation was done whose result is not in the workspace.
pub(super) fn save_nothing(unfinished: &Path, tree: &Path) -> io::Result<()> {
    volume::remove(unfinished)?;
    volume::make_private(unfinished)?;
    finish(&Index::default(), unfinished, tree)
}

fn finish(index: &Index, unfinished: &Path, tree: &Path) -> io::Result<()> {
    let text = serde_json::to_vec(index).expect("an index is plain data");
    kit::files::replace(&unfinished.join(INDEX), &text, 0o600)?;
    volume::remove(tree)?;
    fs::rename(unfinished, tree)
}

/// Puts a tree into a workspace, and marks it as used.
pub(super) fn put(tree: &Path, workspace: &Path) -> io::Result<Used> {
    let Some(text) = kit::files::read_if_exists(&tree.join(INDEX))? else { return Ok(Used::Absent) };
    let Ok(index) = serde_json::from_str::<Index>(&text) else { return Ok(Used::Changed) };
    for entry in &index.entries {
        let (Some(from), Some(to)) = (entry.path.below(&tree.join(CONTENTS)), entry.path.below(workspace)) else {
            return Ok(Used::Changed);
        };
        if !put_entry(&entry.what, &index.origin, workspace, &from, &to)? {
            return Ok(Used::Changed);
        }
    }
    touch(tree)?;
    Ok(Used::Yes)
}

/// Marks a tree as used now: the least recently used are removed first.
fn touch(tree: &Path) -> io::Result<()> {
    use nix::sys::stat::{UtimensatFlags, utimensat};
    use nix::sys::time::TimeSpec;
    let now = TimeSpec::UTIME_NOW;
    Ok(utimensat(nix::fcntl::AT_FDCWD, tree, &now, &now, UtimensatFlags::FollowSymlink)?)
}

/// Keeps the most recently used trees.
pub(super) fn prune(trees: Vec<PathBuf>, keep: usize) -> io::Result<()> {
    let mut by_use: Vec<(i64, i64, PathBuf)> = trees
        .into_iter()
        .filter_map(|tree| fs::metadata(&tree).ok().map(|meta| (meta.mtime(), meta.mtime_nsec(), tree)))
        .collect();
    by_use.sort();
    by_use.iter().rev().skip(keep).try_for_each(|(_, _, tree)| volume::remove(tree))
}

fn find(root: &Path, at: &Path, name: &str, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(at))? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() || entry.file_name() == ".git" {
            continue;
        }
        let path = at.join(entry.file_name());
        if entry.file_name() == name { found.push(path) } else { find(root, &path, name, found)? }
    }
    Ok(())
}

fn take(workspace: &Path, contents: &Path, path: &Path, index: &mut Index) -> io::Result<()> {
    let (from, to) = (workspace.join(path), contents.join(path));
    let meta = fs::symlink_metadata(&from)?;
    let mut note = |what| index.entries.push(Entry { path: RelativePath::new(path), what });
    if meta.is_symlink() {
        let target = fs::read_link(&from)?;
        symlink(&target, &to)?;
        note(What::Link { target: RelativePath::new(&target) });
    } else if meta.is_dir() {
        note(What::Directory { mode: meta.permissions().mode() & 0o777 });
        volume::make_private(&to)?;
        let mut names: Vec<_> = fs::read_dir(&from)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>()?;
        names.sort();
        for name in names {
            take(workspace, contents, &path.join(name), index)?;
        }
    } else if meta.is_file() {
        link_or_copy(&from, &to)?;
        let names_origin = may_name_origin(path) && names_origin(&from, &meta, &index.origin)?;
        note(What::File { size: meta.len(), modified: (meta.mtime(), meta.mtime_nsec()), names_origin });
    }
    Ok(())
}

fn put_entry(what: &What, origin: &str, workspace: &Path, from: &Path, to: &Path) -> io::Result<bool> {
    match what {
        What::Directory { mode } => {
            // A package of a workspace may lie deeper than any directory that is checked out.
            volume::make_private(to.parent().unwrap_or(workspace))?;
            match fs::DirBuilder::new().mode(*mode).create(to) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => (),
                made => made?,
            }
        }
        What::Link { target } => symlink(target.as_path(), to)?,
        What::File { size, modified, names_origin } => {
            let Ok(meta) = fs::symlink_metadata(from) else { return Ok(false) };
            if !meta.is_file() || meta.len() != *size || (meta.mtime(), meta.mtime_nsec()) != *modified {
                return Ok(false);
            }
            if *names_origin {
                rewrite(from, to, &meta, origin, workspace)?;
            } else {
                link_or_copy(from, to)?;
            }
        }
    }
    Ok(true)
}

/// Hard links, where the file system has room for one more link.
fn link_or_copy(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Err(error) if error.kind() == io::ErrorKind::TooManyLinks => fs::copy(from, to).map(drop),
        linked => linked,
    }
}

/// The files in which Python's tools write where an environment lies.
fn may_name_origin(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let in_bin = path.parent().is_some_and(|parent| parent.ends_with(".venv/bin"));
    in_bin
        || name == "pyvenv.cfg"
        || name == "direct_url.json"
        || name.ends_with(".pth")
        || name.starts_with("__editable__")
}

fn names_origin(path: &Path, meta: &fs::Metadata, origin: &str) -> io::Result<bool> {
    Ok(meta.len() <= SCRIPT_BYTES_MAX && contains(&fs::read(path)?, origin.as_bytes()))
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Writes the file with the old workspace's path replaced by the new one's.
fn rewrite(from: &Path, to: &Path, meta: &fs::Metadata, origin: &str, workspace: &Path) -> io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::ffi::OsStrExt as _;
    let text = fs::read(from)?;
    let (old, new) = (origin.as_bytes(), workspace.as_os_str().as_bytes());
    let mut replaced = Vec::with_capacity(text.len());
    let mut rest = &text[..];
    while let Some(at) = rest.windows(old.len()).position(|window| window == old) {
        replaced.extend_from_slice(&rest[..at]);
        replaced.extend_from_slice(new);
        rest = &rest[at + old.len()..];
    }
    replaced.extend_from_slice(rest);
    let mode = meta.permissions().mode() & 0o777;
    File::options().write(true).create_new(true).mode(mode).open(to)?.write_all(&replaced)
}

#[cfg(test)]
mod tests;
