//! Installed files, each content once, however many installations have it.
//!
//! A file is kept under the BLAKE3 hash of its content and its mode, by a hard link:
//! no byte is copied. Workspaces get links to it in turn, so a command that writes a
//! file of its dependencies in place writes the kept one too. What protects the store:
//!
//! - Where commands run as a user of their own, kept files belong to another, whom nothing ever runs as
//!   ([`crate::isolation::KEEPER`]). A command cannot write them, nor give them other rights or times: the kernel
//!   refuses.
//! - One that runs as the runner's user can. The size, mode and time of change of each
//!   file are compared before every use, and a file that is not as it was kept is
//!   removed. That finds what tools do; it does not find a command that means harm and
//!   puts the time back.
//! - What replaces a file, as package managers and editors do, touches no kept one.

use std::collections::BTreeSet;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use crate::volume;

/// The kept files of a volume.
#[derive(Debug, Clone)]
pub(super) struct Files {
    root: PathBuf,
    /// Whose they are, where no command may write them.
    keeper: Option<u32>,
}

/// How a kept file is known to be as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) size: u64,
    pub(super) mode: u32,
    pub(super) modified: (i64, i64),
}

impl Stamp {
    pub(super) fn of(meta: &Metadata) -> Self {
        let mode = meta.permissions().mode() & 0o777;
        Self { size: meta.len(), mode, modified: (meta.mtime(), meta.mtime_nsec()) }
    }
}

/// Whether a kept file becomes the same file as the one that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Shared,
    Copied,
}

impl Files {
    pub(super) fn new(dependencies: &Path, keeper: Option<u32>) -> Self {
        Self { root: dependencies.join("files"), keeper }
    }

    /// Where a file of this name is; nothing where the name cannot be one.
    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        let is_plain = name.chars().all(|c| c.is_ascii_alphanumeric() || ".-".contains(c));
        let (directory, rest) = name.split_at_checked(2).filter(|(_, rest)| is_plain && rest.len() > 60)?;
        Some(self.root.join(directory).join(rest))
    }

    /// Keeps a file; gives its name and how it is known again.
    pub(super) fn keep(&self, from: &Path, how: How) -> io::Result<(String, Stamp)> {
        let meta = fs::symlink_metadata(from)?;
        let (hash, stamp) = (digest(from)?, Stamp::of(&meta));
        let mut name = format!("{hash}.{:o}", stamp.mode);
        if from.extension().is_some_and(|extension| extension == "py") {
            // Python compares the time with the one that the compiled file names.
            name.push_str(&format!(".{}.{}", stamp.modified.0, stamp.modified.1));
        }
        let to = self.path(&name).expect("a hash and numbers");
        kit::files::make_private(to.parent().unwrap_or(&self.root))?;
        if fs::symlink_metadata(&to).is_ok_and(|kept| Stamp::of(&kept).mode == stamp.mode) && digest(&to)? == hash {
            self.guard(&to)?;
            return Ok((name, Stamp::of(&fs::symlink_metadata(&to)?)));
        }
        volume::remove(&to)?;
        place(from, &to, how)?;
        self.guard(&to)?;
        Ok((name, Stamp::of(&fs::symlink_metadata(&to)?)))
    }

    /// Puts a kept file into place; nothing is done where it is not as it was kept.
    pub(super) fn put(&self, name: &str, stamp: Stamp, to: &Path, how: How) -> io::Result<bool> {
        let Some(kept) = self.sound(name, stamp) else { return Ok(false) };
        place(&kept, to, how)?;
        Ok(true)
    }

    /// Makes a kept file one that no command may write.
    fn guard(&self, kept: &Path) -> io::Result<()> {
        if self.keeper.is_some() { lchown(kept, self.keeper, self.keeper) } else { Ok(()) }
    }

    /// Whether a file can be the kept one in workspaces: what its owner may do there, others must be allowed to,
    /// except to write it.
    pub(super) fn may_share(&self, mode: u32) -> bool {
        let is_for_all = |owners: u32, others: u32| mode & owners == 0 || mode & others != 0;
        self.keeper.is_none() || is_for_all(0o400, 0o004) && is_for_all(0o100, 0o001) && mode & 0o002 == 0
    }

    /// Where the file is, if it is as it was kept.
    pub(super) fn sound(&self, name: &str, stamp: Stamp) -> Option<PathBuf> {
        let path = self.path(name)?;
        let meta = fs::symlink_metadata(&path).ok()?;
        self.is_kept(&meta, stamp).then_some(path)
    }

    /// Whether this can only be a kept file, as it was kept.
    pub(super) fn is_kept(&self, meta: &Metadata, stamp: Stamp) -> bool {
        let is_ours = self.keeper.is_none_or(|keeper| meta.uid() == keeper);
        meta.is_file() && is_ours && Stamp::of(meta) == stamp
    }

    /// Removes a file that is not as it was kept.
    pub(super) fn drop_damaged(&self, name: &str) -> io::Result<()> {
        self.path(name).map_or(Ok(()), |path| volume::remove(&path))
    }

    /// Removes everything but these.
    pub(super) fn sweep(&self, wanted: &BTreeSet<String>) -> io::Result<()> {
        for directory in fs::read_dir(&self.root)? {
            let directory = directory?;
            let prefix = directory.file_name().to_string_lossy().into_owned();
            for file in fs::read_dir(directory.path())? {
                let file = file?;
                if !wanted.contains(&format!("{prefix}{}", file.file_name().to_string_lossy())) {
                    volume::remove(&file.path())?;
                }
            }
        }
        Ok(())
    }
}

fn digest(path: &Path) -> io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path)?)?;
    Ok(hasher.finalize())
}

/// Hard links, where that is wanted and the file system has room for one more link.
fn place(from: &Path, to: &Path, how: How) -> io::Result<()> {
    if how == How::Shared {
        match fs::hard_link(from, to) {
            Err(error) if error.kind() == io::ErrorKind::TooManyLinks => (),
            linked => return linked,
        }
    }
    fs::copy(from, to).map(drop)
}
