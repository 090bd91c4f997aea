//! Directories of a workspace that the repository's next execution gets: what builds
//! leave, such as `target`. They are moved, never copied, so that one execution has
//! them at a time; another that runs meanwhile begins without.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use wire::worker::repository_name;

use crate::volume::{self, Volume};

/// Moves what is kept into the workspace, where nothing is in its place.
pub(crate) fn put(volume: &Volume, repository: &str, tree: &Path, cached: &[PathBuf]) -> io::Result<()> {
    for path in cached {
        let (kept, to) = (place(volume, repository, path), tree.join(path));
        if kept.is_dir() && fs::symlink_metadata(&to).is_err() && volume::stays_inside(tree, &to) {
            kit::files::make_private(to.parent().unwrap_or(tree))?;
            fs::rename(&kept, &to)?;
        }
    }
    Ok(())
}

/// Moves directories out of a workspace that is about to go, in the place of what was kept before.
pub(crate) fn keep(volume: &Volume, repository: &str, tree: &Path, cached: &[PathBuf], mark: &str) -> io::Result<()> {
    for path in cached {
        let (from, kept) = (tree.join(path), place(volume, repository, path));
        // A command may have put a link there, or on the way there, that leads elsewhere.
        if fs::symlink_metadata(&from).is_ok_and(|meta| meta.is_dir()) && volume::stays_inside(tree, &from) {
            volume.discard(&kept, mark)?;
            kit::files::make_private(kept.parent().unwrap_or(volume.root()))?;
            fs::rename(&from, &kept)?;
        }
    }
    Ok(())
}

fn place(volume: &Volume, repository: &str, path: &Path) -> PathBuf {
    let name = path.to_string_lossy().replace('%', "%25").replace('/', "%2F");
    volume.cached(&repository_name(repository)).join(name)
}
