//! A file of nothing that is dropped when a command has filled the volume: it makes the little room in which its commits
//! can be kept and pushed, and in which it can be noted what became of the rest.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use super::{Volume, remove, unfinished};

/// A part of the volume, but no more than so many bytes.
const PART: u64 = 64;
const BYTES_MAX: u64 = 32 << 20;

impl Volume {
    /// Sees to it that there is ballast. Where there is no ample room, it waits until there is.
    pub(crate) fn take_ballast(&self) -> io::Result<()> {
        let ballast = self.ballast();
        if ballast.exists() || !self.has_ample_room()? {
            return Ok(());
        }
        let space = nix::sys::statvfs::statvfs(&self.root)?;
        let bytes = (space.blocks() * space.fragment_size() / PART).min(BYTES_MAX);
        let beside = unfinished(&ballast);
        let length = i64::try_from(bytes).expect("it is bounded");
        nix::fcntl::posix_fallocate(File::create(&beside)?, 0, length)?;
        fs::rename(beside, ballast)
    }

    pub(crate) fn drop_ballast(&self) -> io::Result<()> {
        // The other one where a runner was killed while it took some.
        [unfinished(&self.ballast()), self.ballast()].iter().try_for_each(|path| remove(path))
    }

    fn ballast(&self) -> PathBuf {
        self.root.join("ballast")
    }
}
