//! The package managers' own caches. Each repository has its own, so that what one's code leaves there is met by
//! nobody else's. The last used are kept, up to a size.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use super::{LastUsed, Volume, children, file_name, last_used};
use crate::disk;

/// Where they are.
pub(super) const DIRECTORY: &str = "package-caches";
/// Where those were that every repository's executions shared.
const SHARED: &str = "packages";

impl Volume {
    /// Those of a repository, which are used now.
    pub(crate) fn use_packages(&self, repository: &str) -> io::Result<PathBuf> {
        let _turn = self.packages.lock().unwrap_or_else(PoisonError::into_inner);
        let caches = self.root.join(DIRECTORY).join(repository);
        kit::files::make_private(&caches)?;
        super::touch(&caches)?;
        Ok(caches)
    }

    /// Gives up the caches that were used least lately, until the others take no more than this. Those that were used
    /// last stay in any case: somebody may be using them. Counts every file of them.
    pub(crate) fn prune_packages(&self, bytes_max: u64, mark: &str) -> io::Result<()> {
        let mut bytes = 0_u64;
        for (place, (used, caches)) in self.packages_by_use()?.into_iter().rev().enumerate() {
            bytes = bytes.saturating_add(disk::bytes_below(std::slice::from_ref(&caches))?);
            if bytes > bytes_max && place > 0 {
                self.discard_unused(&caches, used, mark)?;
            }
        }
        self.empty_trash()
    }

    /// Gives up caches until so many bytes are free, those first that were used least lately.
    pub(super) fn relieve_of_packages(&self, free: u64, mark: &str) -> io::Result<()> {
        if self.lacks(free)? {
            self.discard_shared_packages(mark)?;
        }
        for (used, caches) in self.packages_by_use()? {
            if !self.lacks(free)? {
                return Ok(());
            }
            tracing::warn!("the volume has no room, so the package managers' caches {} go", caches.display());
            self.discard_unused(&caches, used, mark)?;
            self.empty_trash()?;
        }
        Ok(())
    }

    /// Removes the caches that executions of all repositories shared before each had its own.
    pub(crate) fn discard_shared_packages(&self, mark: &str) -> io::Result<()> {
        let shared = self.root.join(SHARED);
        if shared.exists() {
            self.discard(&shared, mark)?;
            self.empty_trash()?;
        }
        Ok(())
    }

    pub(super) fn packages_by_use(&self) -> io::Result<Vec<(LastUsed, PathBuf)>> {
        let all = children(&self.root.join(DIRECTORY))?.into_iter();
        // What another thread gives up meanwhile is gone.
        let mut all: Vec<_> = all.filter_map(|path| Some((last_used(&path).ok()?, path))).collect();
        all.sort();
        Ok(all)
    }

    fn discard_unused(&self, caches: &Path, used: LastUsed, mark: &str) -> io::Result<()> {
        let _turn = self.packages.lock().unwrap_or_else(PoisonError::into_inner);
        if last_used(caches).is_ok_and(|last| last == used) {
            self.discard(caches, &format!("{mark}-{}", file_name(caches)))
        } else {
            Ok(())
        }
    }
}
