//! Putting a checkpoint back into a tree that is there: what is as it should be stays, and only the rest is written.
//!
//! A damaged workspace is mended where it is, and what is overwritten in it or taken out of it is set aside first. A task
//! that begins from a checkpoint may take over the tree of the execution before it; nothing is left in it that the
//! checkpoint has not, whatever git ignores or does not list. In both the repository itself is laid out anew: nothing that
//! a command wrote there is read.
//!
//! All of it can be done again from wherever it stopped. It works in an index of its own, and what it cannot do in place,
//! as where there are submodules, is left to who makes a workspace from nothing.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use kit::tasks::blocking;
use snapshot::Listing;

use super::changes::{self, Changes};
use super::format::{Manifest, RelativePath};
use super::{CheckpointError, begin_noted, put_back, unpushed};
use crate::git::{Git, Place, names};
use crate::mirror;
use crate::orders::Orders;
use crate::room::Room;
use crate::spare;
use crate::volume;
use crate::workspace::former::Former;
use crate::workspace::{self, Marker, Paths};

/// The index that is worked in, beside that of the checkout.
const INDEX: &str = "rewound";
const LOCK: &str = "rewound.lock";
/// Directories from which on several threads have enough to do.
const SHARES: usize = 64;
/// What a file has that only its owner may have made it.
const SPECIAL_BITS: u32 = 0o7000;

/// Puts a damaged workspace back from its checkpoint where it is. What it is made of is read to the byte.
pub(crate) async fn mend(room: &Arc<Room>, marker: &Marker, manifest: &Manifest) -> Result<(), CheckpointError> {
    let orders = Orders::none();
    let paths = marker.paths(&room.volume);
    let index = index(&paths)?;
    let place = Place { index: Some(&index), ..paths.compared() };
    // An index that knows nothing of the files has git read them all.
    room.git.run(place, ["read-tree", &manifest.commit], b"", &orders).await?;
    room.git.run(place, ["update-index", "-q", "--refresh"], b"", &orders).await?;
    let tracked = tracked(&room.git, place, manifest, &orders).await?;
    let changes = changes::find(&room.git, &Paths { index: index.clone(), ..paths.clone() }).await?;
    if !changes.submodules.is_empty() || !changes.inside.is_empty() {
        return Err(CheckpointError::NotInPlace("it has submodules"));
    }
    let references = mirror::list(room, &paths.mirror, &orders).await?;
    let listing = super::listing(&room.volume, manifest)?;
    let (own, tree) = (room.clone(), paths.tree.clone());
    let listing = blocking(move || set_aside(&own, &tree, &changes, listing.as_ref()).map(|()| listing)).await?;
    let back = Back { room, paths: &paths, index: &index, manifest, tracked: &tracked };
    back.bring(listing, &references.packed(), &orders).await?;
    let mut marker = marker.clone();
    marker.boot = spare::boot();
    Ok(marker.write(&room.volume)?)
}

/// Makes of the workspace that an earlier execution left, at the same commit, that of one which begins from a checkpoint.
/// Gives what its marker is to say of that.
pub(crate) async fn begin_in(
    room: &Arc<Room>,
    former: Former,
    manifest: &Manifest,
    paths: &Paths,
    packed_references: &str,
    orders: &Orders,
) -> Result<Option<String>, CheckpointError> {
    let index = index(paths)?;
    let listing = former.move_to(&paths.tree, &index)?;
    room.volume.inside(&paths.tree)?;
    let place = Place { index: Some(&index), ..paths.compared() };
    let tracked = tracked(&room.git, place, manifest, orders).await?;
    let (own, paths_of, wanted) = (room.clone(), paths.clone(), manifest.clone());
    let (tracked, listing) = blocking(move || {
        clear(&own, &paths_of, &Wanted::new(&tracked, &wanted, listing.as_ref())).map(|()| (tracked, listing))
    })
    .await?;
    let back = Back { room, paths, index: &index, manifest, tracked: &tracked };
    let listing = back.bring(listing, packed_references, orders).await?;
    let paths = paths.clone();
    Ok(blocking(move || begin_noted(listing, &paths)).await)
}

/// Where to work, without what somebody left there who was killed.
fn index(paths: &Paths) -> io::Result<PathBuf> {
    let index = paths.own().join(INDEX);
    volume::remove(&index)?;
    volume::remove(&paths.own().join(LOCK))?;
    Ok(index)
}

/// What the commit has, in the order of its bytes.
async fn tracked(
    git: &Git,
    place: Place<'_>,
    manifest: &Manifest,
    orders: &Orders,
) -> Result<Vec<OsString>, CheckpointError> {
    let staged = git.run(place, ["ls-files", "-z", "--stage"], b"", orders).await?;
    if !manifest.submodules.is_empty() || names::of(&staged).any(|line| line.starts_with(b"160000 ")) {
        return Err(CheckpointError::NotInPlace("it has submodules"));
    }
    Ok(names::of(&staged).filter_map(names::entry).map(|(_, path)| path.into_os_string()).collect())
}

/// Sets aside what is otherwise than the checkpoint says, and the repository.
fn set_aside(room: &Room, tree: &Path, changes: &Changes, listing: Option<&Listing>) -> Result<(), CheckpointError> {
    let is_known = |path: &PathBuf| listing.is_some_and(|listing| listing.get(path).is_some());
    let mut parts: BTreeSet<PathBuf> = changes.present.iter().filter(|path| !is_known(path)).cloned().collect();
    if let Some(listing) = listing {
        parts.extend(listing.differing_to_the_byte(tree)?);
    }
    parts.insert(".git".into());
    Ok(room.volume.quarantine_parts(tree, &parts, &room.mark(), room.limits.quarantined)?)
}

/// What is to be in a tree.
struct Wanted<'a> {
    /// Of the commit, in the order of their bytes.
    tracked: &'a [OsString],
    listing: Option<&'a Listing>,
    deleted: BTreeSet<&'a OsStr>,
}

impl<'a> Wanted<'a> {
    fn new(tracked: &'a [OsString], manifest: &'a Manifest, listing: Option<&'a Listing>) -> Self {
        let deleted = manifest.deleted.iter().map(|path| path.as_path().as_os_str()).collect();
        Self { tracked, listing, deleted }
    }

    fn has(&self, path: &Path) -> bool {
        let find = |name: &OsString| name.as_os_str().cmp(path.as_os_str());
        let is_tracked = || self.tracked.binary_search_by(find).is_ok() && !self.deleted.contains(path.as_os_str());
        self.listing.is_some_and(|listing| listing.get(path).is_some()) || is_tracked()
    }

    fn has_below(&self, directory: &Path) -> bool {
        let start = [directory.as_os_str().as_bytes(), b"/"].concat();
        let first = self.tracked.partition_point(|name| name.as_bytes() < start.as_slice());
        self.tracked.get(first).is_some_and(|name| name.as_bytes().starts_with(&start))
            || self.listing.is_some_and(|listing| listing.has_below(directory))
    }
}

/// Takes everything out of a tree that is not to be there, or that is more than a file: one that has other names, or
/// belongs to somebody else.
fn clear(room: &Room, paths: &Paths, wanted: &Wanted<'_>) -> Result<(), CheckpointError> {
    let away = paths.own().join("surplus");
    volume::remove(&away)?;
    kit::files::make_private(&away)?;
    let made = away.join("usual");
    fs::create_dir(&made)?;
    let usual = fs::symlink_metadata(&made)?;
    let gone = AtomicUsize::new(0);
    Clearing { tree: &paths.tree, away: &away, wanted, usual: &usual, gone }.walk()?;
    room.volume.discard(&away, &room.mark())?;
    if !room.isolation.stands(wire::execution::Wall::Files) {
        room.volume.empty_trash()?;
    }
    Ok(())
}

struct Clearing<'a> {
    tree: &'a Path,
    away: &'a Path,
    wanted: &'a Wanted<'a>,
    /// A directory that was made just now.
    usual: &'a fs::Metadata,
    gone: AtomicUsize,
}

impl Clearing<'_> {
    /// All of the tree, on as many threads as there are processors.
    fn walk(&self) -> io::Result<()> {
        let mut begun = VecDeque::from([PathBuf::new()]);
        while begun.len() < SHARES
            && let Some(directory) = begun.pop_front()
        {
            begun.extend(self.look_through(&directory)?);
        }
        let rest = Mutex::new(begun);
        let next = || rest.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let work = || {
            while let Some(directory) = next() {
                let mut own = vec![directory];
                while let Some(directory) = own.pop() {
                    own.extend(self.look_through(&directory)?);
                }
            }
            Ok(())
        };
        thread::scope(|scope| {
            let processors = thread::available_parallelism().map_or(1, usize::from);
            let hands: Vec<_> = (0..processors).map(|_| scope.spawn(work)).collect();
            hands.into_iter().try_for_each(|hand| hand.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
    }

    /// One directory; gives those in it that stay.
    fn look_through(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        let mut directories = Vec::new();
        for entry in fs::read_dir(self.tree.join(directory))? {
            let entry = entry?;
            let (path, meta) = (directory.join(entry.file_name()), entry.metadata()?);
            let is_plain = || meta.nlink() == 1 && meta.uid() == self.usual.uid() && meta.mode() & SPECIAL_BITS == 0;
            let stays = match (meta.is_dir(), meta.is_file()) {
                (true, _) => self.wanted.has_below(&path),
                (_, true) => self.wanted.has(&path) && is_plain(),
                (..) => meta.is_symlink() && self.wanted.has(&path),
            };
            if !stays {
                let number = self.gone.fetch_add(1, Ordering::Relaxed);
                fs::rename(entry.path(), self.away.join(number.to_string()))?;
            } else if meta.is_dir() {
                if meta.mode() != self.usual.mode() {
                    fs::set_permissions(entry.path(), Permissions::from_mode(self.usual.mode()))?;
                }
                directories.push(path);
            }
        }
        Ok(directories)
    }
}

/// A tree in which nothing is in the way any more.
struct Back<'a> {
    room: &'a Arc<Room>,
    paths: &'a Paths,
    index: &'a Path,
    manifest: &'a Manifest,
    tracked: &'a [OsString],
}

impl Back<'_> {
    /// Makes the tree as the checkpoint says, and its repository anew; gives what is in the tree now.
    async fn bring(
        &self,
        listing: Option<Listing>,
        packed_references: &str,
        orders: &Orders,
    ) -> Result<Option<Listing>, CheckpointError> {
        let Self { room, paths, index, manifest, .. } = *self;
        let place = Place { index: Some(index), ..paths.compared() };
        // What is the checkpoint's own is not made the commit's on the way.
        let others = self.others(listing.as_ref());
        let look_away = async |whether: &str| match others.is_empty() {
            true => Ok(()),
            false => room.git.run(place, ["update-index", "-z", whether, "--stdin"], &others, orders).await.map(drop),
        };
        look_away("--skip-worktree").await?;
        room.git.run(place, ["read-tree", "-u", "--reset", &manifest.commit], b"", orders).await?;
        look_away("--no-skip-worktree").await?;
        let configuration = workspace::configuration(&manifest.repository, &paths.mirror);
        workspace::borrow_objects(paths, &manifest.commit, packed_references, &configuration)?;
        fs::rename(index, &paths.index)?;
        workspace::give_index(paths)?;
        unpushed::give_back(&room.git, paths, manifest).await?;
        let (room, manifest, tree) = (room.clone(), manifest.clone(), paths.tree.clone());
        blocking(move || put_back(&room.volume, &manifest, listing, &tree)).await
    }

    /// What the commit has and the checkpoint has otherwise, or not.
    fn others(&self, listing: Option<&Listing>) -> Vec<u8> {
        let deleted: BTreeSet<&Path> = self.manifest.deleted.iter().map(RelativePath::as_path).collect();
        let is_other =
            |path: &Path| deleted.contains(path) || listing.is_some_and(|listing| listing.get(path).is_some());
        let names = self.tracked.iter().filter(|name| is_other(Path::new(name)));
        names.flat_map(|name| name.clone().into_vec().into_iter().chain([0])).collect()
    }
}

#[cfg(test)]
mod tests;
