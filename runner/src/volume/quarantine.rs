//! What is damaged is set aside, not deleted: `quarantine/<mark>.<kind>.<name>`. Of most kinds the newest few are kept.
//! Work that nothing else holds is a kind of its own, which goes only for want of room and after everything else.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Volume, children, file_name, move_away, remove, stays_inside};

/// The kind of what was set aside with work in it that nothing else holds.
const WORK: &str = "work";

impl Volume {
    /// Sets something damaged aside and keeps only the newest few of its kind, which is the directory that it is in.
    /// Gives back where it is now.
    pub(crate) fn quarantine(&self, path: &Path, mark: &str, keep: usize) -> io::Result<PathBuf> {
        let kind = kind_of(path);
        let aside = self.move_aside(path, mark, &kind)?;
        self.keep_newest(&kind, keep)?;
        Ok(aside)
    }

    /// As [`Volume::quarantine`], for what of a directory is damaged. A part that a link leads to from elsewhere is none.
    pub(crate) fn quarantine_parts(
        &self,
        whole: &Path,
        parts: &BTreeSet<PathBuf>,
        mark: &str,
        keep: usize,
    ) -> io::Result<()> {
        let kind = kind_of(whole);
        let aside = self.aside(mark, &kind, whole);
        for part in parts {
            let (from, to) = (whole.join(part), aside.join(part));
            if fs::symlink_metadata(&from).is_ok() && stays_inside(whole, &from) {
                kit::files::make_private(to.parent().unwrap_or(&aside))?;
                fs::rename(&from, &to)?;
            }
        }
        self.keep_newest(&kind, keep)
    }

    /// Sets aside what somebody worked on and nothing else holds. It goes only for want of room.
    pub(crate) fn quarantine_work(&self, path: &Path, mark: &str) -> io::Result<PathBuf> {
        self.move_aside(path, mark, WORK)
    }

    /// Something else by now holds the work that was set aside: what came from `path` is kept like others of its kind.
    pub(crate) fn has_no_work(&self, aside: &Path, path: &Path, keep: usize) -> io::Result<()> {
        let kind = kind_of(path);
        let name = file_name(aside);
        let mark = name.split('.').next().unwrap_or_default();
        move_away(aside, &self.aside(mark, &kind, path))?;
        self.keep_newest(&kind, keep)
    }

    fn move_aside(&self, path: &Path, mark: &str, kind: &str) -> io::Result<PathBuf> {
        let aside = self.aside(mark, kind, path);
        move_away(path, &aside)?;
        Ok(aside)
    }

    fn aside(&self, mark: &str, kind: &str, path: &Path) -> PathBuf {
        self.root.join("quarantine").join(format!("{mark}.{kind}.{}", file_name(path)))
    }

    fn keep_newest(&self, kind: &str, keep: usize) -> io::Result<()> {
        let mut kept = self.set_aside()?;
        kept.retain(|path| kind_aside(path) == kind);
        kept.iter().rev().skip(keep).try_for_each(|old| remove(old))
    }

    /// Everything that was set aside, the oldest first.
    pub(super) fn set_aside(&self) -> io::Result<Vec<PathBuf>> {
        let mut aside = children(&self.root.join("quarantine"))?;
        aside.sort();
        Ok(aside)
    }

    /// Every workspace and every mirror that was set aside with work in it, the oldest first.
    pub(crate) fn work_aside(&self) -> io::Result<Vec<PathBuf>> {
        let mut aside = self.set_aside()?;
        aside.retain(|path| kind_aside(path) == WORK);
        Ok(aside)
    }

    /// Gives up what was set aside while the volume is full, the oldest first but unsaved work last, once nothing is
    /// left that can be made again; gives the names of what went.
    pub(crate) fn relieve_of_damaged(&self) -> io::Result<Vec<String>> {
        let mut aside = self.set_aside()?;
        aside.sort_by_key(|path| kind_aside(path) == WORK);
        let mut gone = Vec::new();
        for old in aside {
            if !self.is_full()? {
                break;
            }
            tracing::warn!("the volume is full, so {}, which was set aside, is removed", old.display());
            remove(&old)?;
            gone.push(file_name(&old));
        }
        Ok(gone)
    }

    /// Puts something back that was set aside, unless there is something in its place.
    pub(crate) fn put_back(&self, aside: &Path, path: &Path) -> io::Result<()> {
        if path.exists() { Ok(()) } else { move_away(aside, path) }
    }
}

/// What something that was set aside was called where it was.
pub(crate) fn former_name(aside: &Path) -> String {
    file_name(aside).splitn(3, '.').nth(2).unwrap_or_default().to_owned()
}

fn kind_of(path: &Path) -> String {
    file_name(path.parent().unwrap_or(path))
}

/// What kind of thing it is that was set aside.
fn kind_aside(path: &Path) -> String {
    file_name(path).split('.').nth(1).unwrap_or_default().to_owned()
}
