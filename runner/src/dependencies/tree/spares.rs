//! Spare installations: trees that were put where no command has ever been, so that the
//! next workspace gets one by renaming a few directories.
//!
//! Every file is compared with the list once more when a spare is used: in the meantime a
//! command may have written one in place that it shares with it. A spare that is not whole
//! is none. Only one at a time may make or use the spare of a tree.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::super::files::Stamp;
use super::{Entry, Form, Index, RelativePath, Trees, What, first_of};
use crate::volume;

impl Trees {
    pub(super) fn spare(&self, name: &str) -> PathBuf {
        self.spares.join(name)
    }

    /// Makes a spare of a tree that has none, and keeps the newest few.
    pub(in crate::dependencies) fn make_spare(&self, name: &str, keep: usize) -> io::Result<()> {
        let spare = self.spare(name);
        let Some(Ok(index)) = self.read(name)? else { return Ok(()) };
        if index.directories.is_empty() || spare.exists() {
            return Ok(());
        }
        let unfinished = volume::unfinished(&spare);
        volume::remove(&unfinished)?;
        kit::files::make_private(&unfinished)?;
        let damage = self.put_each(&index, &unfinished, |what| !what.names_workspace());
        if matches!(damage, Ok(None)) {
            fs::rename(&unfinished, &spare)?;
            return self.prune_spares(keep);
        }
        volume::remove(&unfinished)?;
        // Who uses the tree says what is damaged.
        damage.map(drop)
    }

    /// Moves what the spare of a tree has into a workspace where nothing of it is; false where there is none.
    pub(super) fn take_spare(&self, name: &str, index: &Index, workspace: &Path) -> io::Result<bool> {
        let (spare, taken) = (self.spare(name), volume::unfinished(&self.spare(name)));
        volume::remove(&taken)?;
        match fs::rename(&spare, &taken) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            renamed => renamed?,
        }
        let is_whole = first_of(&index.entries, |entry| Ok(self.missing(entry, &taken)))?.is_none();
        if is_whole {
            let directories = index.directories.iter().map(RelativePath::as_path);
            for directory in directories {
                let to = workspace.join(directory);
                // A package of a workspace may lie deeper than any directory that is checked out.
                kit::files::make_private(to.parent().unwrap_or(workspace))?;
                fs::rename(taken.join(directory), to)?;
            }
        }
        volume::remove(&taken)?;
        Ok(is_whole)
    }

    /// Says so where an entry is not in a spare as it was put there.
    fn missing(&self, entry: &Entry, spare: &Path) -> Option<String> {
        let meta = entry.path.below(spare).and_then(|path| fs::symlink_metadata(path).ok());
        let is_there = |meta: &fs::Metadata| match entry.what {
            What::Directory { .. } => meta.is_dir(),
            What::Link { .. } => meta.is_symlink(),
            What::File { size, mode, modified, form: Form::Shared, .. } => {
                self.files.is_kept(meta, Stamp { size, mode, modified })
            }
            What::File { size, mode, .. } => {
                let stamp = Stamp::of(meta);
                meta.is_file() && (stamp.size, stamp.mode) == (size, mode)
            }
        };
        let is_there = entry.what.names_workspace() || meta.as_ref().is_some_and(is_there);
        (!is_there).then(|| entry.path.as_path().display().to_string())
    }

    fn prune_spares(&self, keep: usize) -> io::Result<()> {
        let mut spares = Vec::new();
        for entry in fs::read_dir(&self.spares)? {
            let entry = entry?;
            // One that is being taken goes with whoever takes it, maybe just now.
            let made = entry.metadata().and_then(|meta| meta.modified()).ok();
            if let Some(made) = made.filter(|_| !volume::is_unfinished(&entry.path())) {
                spares.push((made, entry.path()));
            }
        }
        spares.sort();
        spares.iter().rev().skip(keep).try_for_each(|(_, path)| remove_spare(path))
    }
}

/// Removes a spare that somebody may be taking just now: who renames it first has it.
pub(super) fn remove_spare(spare: &Path) -> io::Result<()> {
    let name = spare.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let going = volume::unfinished(&spare.with_file_name(format!("{name}.going")));
    volume::remove(&going)?;
    volume::move_away(spare, &going)?;
    volume::remove(&going)
}
