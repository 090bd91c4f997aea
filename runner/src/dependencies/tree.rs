//! What installations left in their workspaces, kept on the volume and put into later
//! workspaces by hard links.
//!
//! A tree is one file that lists paths and the kept [`files`](super::files) that belong
//! there, written last and in one step: half a tree is never seen. Each file is compared
//! with the list when it is used; one that was changed is named, and the tree is not used
//! again.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ecosystem::Directories;
use super::files::{Files, How, Stamp};
use crate::checkpoint::format::RelativePath;
use crate::volume;

mod spares;
use spares::remove_spare;

/// Scripts of a virtual environment that name its place are never larger.
const SCRIPT_BYTES_MAX: u64 = 1024 * 1024;
/// Threads that put files into place: most of it is waiting for the file system's locks.
const THREADS_MAX: usize = 4;
/// Fewer files than this are not worth another thread.
const FILES_PER_THREAD: usize = 500;

/// The trees of a volume, and the files that they are made of.
#[derive(Debug, Clone)]
pub(super) struct Trees {
    root: PathBuf,
    spares: PathBuf,
    files: Files,
}

/// What a tree holds, directories before what is in them.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Index {
    /// The workspace it was installed in.
    origin: String,
    /// The outermost directories.
    directories: Vec<RelativePath>,
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
        name: String,
        size: u64,
        mode: u32,
        modified: (i64, i64),
        #[serde(default, skip_serializing_if = "Form::is_shared")]
        form: Form,
    },
}

/// How a file gets into a workspace.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Form {
    /// It is the kept file.
    #[default]
    Shared,
    /// It is a copy, because tools write it in place.
    Copied,
    /// It names the workspace it was installed in, and gets to name the one it is put into.
    Rewritten,
}

impl What {
    /// Whether it is another in each workspace.
    fn names_workspace(&self) -> bool {
        matches!(self, Self::File { form: Form::Rewritten, .. })
    }
}

impl Form {
    fn is_shared(&self) -> bool {
        *self == Self::Shared
    }
}

/// Whether a tree could be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Used {
    Yes,
    /// There is none.
    Absent,
    /// It is not as it was kept, and this is what is not.
    Changed(String),
    /// There is a link in the workspace, at this path, that leads out of it.
    LeadsOut(PathBuf),
}

impl Trees {
    /// Those of this directory, whose files belong to the keeper where there is one.
    pub(super) fn new(dependencies: &Path, keeper: Option<u32>) -> Self {
        Self {
            root: dependencies.join("trees"),
            spares: dependencies.join("spares"),
            files: Files::new(dependencies, keeper),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Keeps what the directories hold that an installation left.
    pub(super) fn save(&self, name: &str, workspace: &Path, leaves: &Directories) -> io::Result<()> {
        let mut index = Index { origin: workspace.to_string_lossy().into_owned(), ..Index::default() };
        for directory in find(workspace, leaves)? {
            index.directories.push(RelativePath::new(&directory));
            self.take(workspace, &directory, leaves, &mut index)?;
        }
        self.write(name, &index)
    }

    fn write(&self, name: &str, index: &Index) -> io::Result<()> {
        // It is of the list before.
        remove_spare(&self.spare(name))?;
        let text = serde_json::to_vec(index).expect("an index is plain data");
        kit::files::replace(&self.path(name), &text, 0o600)
    }

    fn read(&self, name: &str) -> io::Result<Option<Result<Index, String>>> {
        let text = kit::files::read_if_exists(&self.path(name));
        let text = match text {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Some(String::new()),
            text => text?,
        };
        Ok(text.map(|text| serde_json::from_str(&text).map_err(|error| format!("its list: {error}"))))
    }

    /// Puts a tree into a workspace, and marks it as used. A damaged one is removed.
    pub(super) fn put(&self, name: &str, workspace: &Path) -> io::Result<Used> {
        let damage = match self.read(name)? {
            None => return Ok(Used::Absent),
            Some(Err(damage)) => Some(damage),
            Some(Ok(index)) => {
                let below = index.directories.iter().map(RelativePath::as_path);
                if let Some(out) =
                    below.into_iter().find(|path| !volume::stays_inside(workspace, &workspace.join(path)))
                {
                    return Ok(Used::LeadsOut(out.to_owned()));
                }
                self.put_entries(name, &index, workspace)?
            }
        };
        let Some(damage) = damage else {
            volume::touch(&self.path(name))?;
            return Ok(Used::Yes);
        };
        self.remove(name)?;
        Ok(Used::Changed(damage))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        volume::remove(&self.path(name))?;
        remove_spare(&self.spare(name))
    }

    /// Gives what is damaged; then nothing of the tree is left in the workspace.
    fn put_entries(&self, name: &str, index: &Index, workspace: &Path) -> io::Result<Option<String>> {
        index.clear(workspace)?;
        let taken = self.take_spare(name, index, workspace);
        if let Err(error) = &taken {
            tracing::warn!("the spare of {name} cannot be used: {error}");
            index.clear(workspace)?;
        }
        let is_there = taken.unwrap_or(false);
        let damage = self.put_each(index, workspace, |what| !is_there || what.names_workspace())?;
        if damage.is_some() {
            index.clear(workspace)?;
        }
        Ok(damage)
    }

    /// Puts the entries that are wanted; gives what is damaged.
    fn put_each(
        &self,
        index: &Index,
        workspace: &Path,
        is_wanted: impl Fn(&What) -> bool,
    ) -> io::Result<Option<String>> {
        let mut files = Vec::with_capacity(index.entries.len());
        for entry in index.entries.iter().filter(|entry| is_wanted(&entry.what)) {
            let Some(to) = entry.path.below(workspace) else {
                return Ok(Some(format!("{:?} leads out of a workspace", entry.path)));
            };
            match &entry.what {
                What::Directory { mode } => make_directory(&to, *mode, workspace)?,
                What::Link { .. } | What::File { .. } => files.push((&entry.what, to)),
            }
        }
        first_of(&files, |(what, to)| self.put_entry(what, &index.origin, workspace, to))
    }

    fn put_entry(&self, what: &What, origin: &str, workspace: &Path, to: &Path) -> io::Result<Option<String>> {
        match what {
            What::Directory { .. } => Ok(None),
            What::Link { target } => symlink(target.as_path(), to).map(|()| None),
            What::File { name, size, mode, modified, form } => {
                let stamp = Stamp { size: *size, mode: *mode, modified: *modified };
                let is_put = match form {
                    Form::Shared => self.files.put(name, stamp, to, How::Shared)?,
                    Form::Copied => self.files.put(name, stamp, to, How::Copied)?,
                    Form::Rewritten => match self.files.sound(name, stamp) {
                        Some(kept) => rewrite(&kept, to, *mode, origin, workspace).map(|()| true)?,
                        None => false,
                    },
                };
                if is_put {
                    return Ok(None);
                }
                self.files.drop_damaged(name)?;
                let shown = to.strip_prefix(workspace).unwrap_or(to).display();
                Ok(Some(format!("{shown} is not as it was installed")))
            }
        }
    }

    fn take(&self, workspace: &Path, path: &Path, leaves: &Directories, index: &mut Index) -> io::Result<()> {
        let from = workspace.join(path);
        let meta = fs::symlink_metadata(&from)?;
        let mut note = |what| index.entries.push(Entry { path: RelativePath::new(path), what });
        if meta.is_symlink() {
            note(What::Link { target: RelativePath::new(&fs::read_link(&from)?) });
        } else if meta.is_dir() {
            note(What::Directory { mode: meta.permissions().mode() & 0o777 });
            let names = fs::read_dir(&from)?.map(|entry| Ok(entry?.file_name()));
            let mut names = names.collect::<io::Result<Vec<_>>>()?;
            names.sort();
            for name in names {
                self.take(workspace, &path.join(name), leaves, index)?;
            }
        } else if meta.is_file() {
            let form = match form(path, &from, &meta, leaves, &index.origin)? {
                Form::Shared if !self.files.may_share(meta.permissions().mode()) => Form::Copied,
                form => form,
            };
            let how = if form == Form::Shared { How::Shared } else { How::Copied };
            let (name, Stamp { size, mode, modified }) = self.files.keep(&from, how)?;
            note(What::File { name, size, mode, modified, form });
        }
        Ok(())
    }

    /// Keeps the last used trees, as many and as large as allowed, and the files that they need.
    pub(super) fn prune(&self, trees_max: usize, bytes_max: u64) -> io::Result<()> {
        let mut by_use = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            let meta = entry.metadata()?;
            by_use.push((meta.mtime(), meta.mtime_nsec(), entry.file_name().to_string_lossy().into_owned()));
        }
        by_use.sort();
        let (mut wanted, mut bytes, mut kept, mut is_pruned) = (BTreeSet::new(), 0, 0, false);
        for (_, _, name) in by_use.into_iter().rev() {
            let index = self.read(&name)?.and_then(Result::ok);
            let more = index.as_ref().map_or(0, |index| added_bytes(index, &wanted));
            match index {
                Some(index) if kept < trees_max && bytes + more <= bytes_max => {
                    (kept, bytes) = (kept + 1, bytes + more);
                    wanted.extend(index.names().map(|(name, _)| name.to_owned()));
                }
                _ => {
                    self.remove(&name)?;
                    is_pruned = true;
                }
            }
        }
        if is_pruned { self.files.sweep(&wanted) } else { Ok(()) }
    }

    /// How many trees there are.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        fs::read_dir(&self.root).expect("lists").count()
    }
}

impl Index {
    /// Removes what is in the tree's place: what was checked out there, the installation has as well.
    fn clear(&self, workspace: &Path) -> io::Result<()> {
        let places = self.directories.iter().filter_map(|directory| directory.below(workspace));
        places.into_iter().try_for_each(|place| volume::remove(&place))
    }

    fn names(&self) -> impl Iterator<Item = (&str, u64)> {
        self.entries.iter().filter_map(|entry| match &entry.what {
            What::File { name, size, .. } => Some((name.as_str(), *size)),
            What::Directory { .. } | What::Link { .. } => None,
        })
    }
}

/// Bytes of what a tree needs and the others do not.
fn added_bytes(index: &Index, wanted: &BTreeSet<String>) -> u64 {
    let own: std::collections::BTreeMap<&str, u64> = index.names().collect();
    own.into_iter().filter(|(name, _)| !wanted.contains(*name)).map(|(_, size)| size).sum()
}

/// What the work finds about any of the items, by several threads where there are many.
fn first_of<T: Sync>(
    items: &[T],
    work: impl Fn(&T) -> io::Result<Option<String>> + Sync,
) -> io::Result<Option<String>> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = cores.clamp(1, THREADS_MAX).min(items.len() / FILES_PER_THREAD + 1);
    let share = items.len().div_ceil(threads).max(1);
    let work = |part: &[T]| part.iter().find_map(|item| work(item).transpose()).transpose();
    let found = std::thread::scope(|scope| {
        let working: Vec<_> = items.chunks(share).map(|part| scope.spawn(move || work(part))).collect();
        let joined =
            working.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        joined.collect::<io::Result<Vec<Option<String>>>>()
    });
    Ok(found?.into_iter().flatten().next())
}

/// The outermost of the directories that are kept.
pub(super) fn find(workspace: &Path, leaves: &Directories) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    if let Some(at) = leaves.at.as_ref().map(PathBuf::from).filter(|at| workspace.join(at).is_dir()) {
        found.push(at);
    }
    if let Some(name) = &leaves.named {
        search(workspace, Path::new(""), name, &mut found)?;
    }
    Ok(found)
}

fn search(root: &Path, at: &Path, name: &str, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(at))? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() || entry.file_name() == ".git" {
            continue;
        }
        let path = at.join(entry.file_name());
        if entry.file_name() == name { found.push(path) } else { search(root, &path, name, found)? }
    }
    Ok(())
}

fn make_directory(to: &Path, mode: u32, workspace: &Path) -> io::Result<()> {
    let make = || fs::DirBuilder::new().mode(mode | 0o700).create(to);
    match make() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        // A package of a workspace may lie deeper than any directory that is checked out.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            kit::files::make_private(to.parent().unwrap_or(workspace))?;
            make()
        }
        made => made,
    }
}

fn form(path: &Path, from: &Path, meta: &fs::Metadata, leaves: &Directories, origin: &str) -> io::Result<Form> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if leaves.written_in_place.iter().any(|written| *written == name) {
        return Ok(Form::Copied);
    }
    let names_origin =
        may_name_origin(path, &name) && meta.len() <= SCRIPT_BYTES_MAX && contains(&fs::read(from)?, origin.as_bytes());
    Ok(if names_origin { Form::Rewritten } else { Form::Shared })
}

/// The files in which Python's tools write where an environment lies.
fn may_name_origin(path: &Path, name: &str) -> bool {
    let in_bin = path.parent().is_some_and(|parent| parent.ends_with(".venv/bin"));
    in_bin
        || name == "pyvenv.cfg"
        || name == "direct_url.json"
        || name.ends_with(".pth")
        || name.starts_with("__editable__")
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Writes the file with the old workspace's path replaced by the new one's.
fn rewrite(from: &Path, to: &Path, mode: u32, origin: &str, workspace: &Path) -> io::Result<()> {
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
    File::options().write(true).create_new(true).mode(mode).open(to)?.write_all(&replaced)
}

#[cfg(test)]
mod tests;
