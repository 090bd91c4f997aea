//! The workspace that the execution before left. A task that begins from a checkpoint of the same commit takes it over
//! where that spares most of the writing: what both have alike stays where it is ([`crate::checkpoint::rewind`]).
//!
//! Only one that is saved is taken: it would be removed otherwise. Its home, its temporary directory and what it hands
//! on go the way of every old workspace. Whoever is killed meanwhile leaves a workspace without a marker, which is
//! nobody's.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::thread;

use snapshot::Listing;
use wire::id::ExecutionId;
use wire::task::TaskSpec;

use super::{Marker, hand_on, is_laid_out};
use crate::checkpoint::format::Manifest;
use crate::checkpoint::{self, CheckpointError};
use crate::room::Room;
use crate::spare;

/// Looking at a file takes less than such a part of the time that writing it takes.
const LOOKS_PER_WRITE: usize = 50;
const TREE: &str = "tree";
const INDEX: &str = "index";

/// A tree that belongs to nobody any more, and the index of its checkout.
#[derive(Debug)]
pub(crate) struct Former {
    directory: PathBuf,
    /// What the checkpoint that is to be put back has, with what the file system said of those files that are as they
    /// should be already.
    listing: Option<Listing>,
}

/// Takes over for an execution what an earlier one left, where it is worth it. Nothing else is removed yet.
pub(crate) fn take(room: &Room, id: ExecutionId, spec: &TaskSpec) -> Result<Option<Former>, CheckpointError> {
    let Some(asked) = spec.checkpoint else { return Ok(None) };
    let asked = checkpoint::read(&room.volume, asked)?;
    let Some((marker, saved)) = newest(room, id, &asked)? else { return Ok(None) };
    let paths = marker.paths(&room.volume);
    let (wanted, left) = thread::scope(|scope| {
        let left = scope.spawn(|| checkpoint::listing(&room.volume, &saved));
        let wanted = checkpoint::listing(&room.volume, &asked);
        (wanted, left.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let (listing, shared) = match (wanted?, left?) {
        (Some(listing), Some(left)) => {
            let (listing, shared) = listing.into_tree_of(&left);
            (Some(listing), shared)
        }
        (listing, _) => (listing, 0),
    };
    let files = tracked(&paths.index)? + saved.files;
    if !is_worth(shared, files, spare::is_there(&room.volume, &asked.repository)) {
        return Ok(None);
    }
    let (old, mark) = (marker.subject.execution_id, room.mark());
    hand_on(room, old);
    let directory = room.volume.execution(id).join("former");
    kit::files::make_private(&directory)?;
    fs::copy(&paths.index, directory.join(INDEX))?;
    // The marker goes before the tree: of a tree without its marker nobody says that it is damaged.
    room.volume.discard(paths.own(), &format!("execution-{mark}"))?;
    fs::rename(&paths.tree, directory.join(TREE))?;
    Ok(Some(Former { directory, listing }))
}

/// The newest workspace at the checkpoint's commit, with the checkpoint that holds what is in it.
fn newest(room: &Room, id: ExecutionId, asked: &Manifest) -> Result<Option<(Marker, Manifest)>, CheckpointError> {
    for old in room.volume.execution_ids()?.into_iter().rev().filter(|old| *old != id) {
        let Some(marker) = Marker::read(&room.volume, old)? else { continue };
        let is_alike = (&marker.repository, &marker.commit) == (&asked.repository, &asked.commit);
        // What was not on the disk when a machine lost its power is empty afterwards.
        if let Some(saved) = marker.saved.filter(|_| is_alike && spare::is_of_this_boot(&marker.boot))
            && let Ok(saved) = checkpoint::read(&room.volume, saved)
            && is_laid_out(&marker.paths(&room.volume))
        {
            return Ok(Some((marker, saved)));
        }
    }
    Ok(None)
}

/// Whether a tree in which so many files are to be looked at, and so many of them need not be written then, is better
/// than a clean one (pure).
fn is_worth(shared: usize, files: usize, has_spare: bool) -> bool {
    !has_spare || shared.saturating_mul(LOOKS_PER_WRITE) > files
}

/// How many files an index lists (gitformat-index(5)).
fn tracked(index: &Path) -> io::Result<usize> {
    let mut header = [0; 12];
    File::open(index)?.read_exact(&mut header)?;
    let [.., a, b, c, d] = header;
    Ok(usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX))
}

impl Former {
    /// Moves tree and index to where an execution's are; gives what is to be put back into the tree.
    pub(crate) fn move_to(self, tree: &Path, index: &Path) -> io::Result<Option<Listing>> {
        fs::rename(self.directory.join(TREE), tree)?;
        fs::rename(self.directory.join(INDEX), index)?;
        fs::remove_dir(&self.directory)?;
        Ok(self.listing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_taken_over_where_there_is_no_clean_one_or_much_of_it_need_not_be_written() {
        for (shared, files, has_spare, expect) in [
            (0, 30_000, false, true),
            (0, 30_000, true, false),
            (50, 30_000, true, false),
            (30_000, 30_000, true, true),
            (700, 30_000, true, true),
        ] {
            assert_eq!(is_worth(shared, files, has_spare), expect, "{shared} {files} {has_spare}");
        }
    }
}
