//! Snapshots of directory trees: files kept as chunks that are stored once, however often they occur.
//!
//! It promises that a snapshot that was given back is whole on the disk, that what it costs follows what
//! changed and not what is there, that damage is found and named before anything is overwritten, and that
//! putting a tree back touches only what differs.
//!
//! A file is cut where its content says so ([`chunk`]), so an insertion moves no later cut. New chunks are
//! gathered into blocks, compressed together, and appended to one [`pack`] per snapshot; the [`Listing`] says
//! which chunks make which file. Of a file with holes only what lies between them is stored, and it gets them back
//! ([`extent`]). It knows files and symbolic links; directories are made as files need them,
//! pipes and sockets have no content to keep. It knows nothing of git, of machines or of tasks.

mod chunk;
mod extent;
mod listing;
mod pack;
mod place;
mod prune;
mod restore;
mod save;
mod store;

use std::io;
use std::path::{Path, PathBuf};

pub use chunk::Hash;
pub use extent::Extent;
pub use listing::{Content, Entry, Listing};
pub use restore::Restored;
pub use save::Saved;
pub use store::Store;

/// Why a snapshot was not taken, not put back, or is not whole.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// What is stored is not what was stored.
    #[error("{path} is damaged: {reason}", path = path.display())]
    Damaged {
        /// Which file: a pack, a listing, or the file of the tree whose content is gone.
        path: PathBuf,
        /// How that shows.
        reason: String,
    },
}

/// What this package's functions give.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    fn damaged(path: &Path, reason: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), reason: reason.into() }
    }
}

/// Names the file that an operation was about.
trait At<T> {
    fn at(self, path: &Path) -> Result<T>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, path: &Path) -> Result<T> {
        self.map_err(|source| Error::Io { path: path.to_owned(), source })
    }
}

#[cfg(test)]
mod tests;
