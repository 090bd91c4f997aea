//! Taking a snapshot: what did not change since the last one is not read, what is stored already is not
//! stored again, and the rest is hashed and compressed on every processor.

use std::collections::HashSet;
use std::fs::{self, File, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use nix::fcntl::OFlag;

use crate::chunk::{self, Hash};
use crate::extent;
use crate::listing::{Content, Entry, Listing, MODE_BITS, Stamp};
use crate::pack::{Gathering, Packed, Writer};
use crate::store::{Beside, Opened, Store};
use crate::{At, Error, Result};

/// Paths that a thread takes at once.
const SHARE: usize = 64;
/// The pack is synced whenever it has grown by so much.
const SYNC_BYTES: usize = 8 * 1024 * 1024;

/// A snapshot that is on disk. Its listing is not, until the caller has written it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// What it holds.
    pub listing: Listing,
    /// Files whose content had to be read.
    pub read: usize,
    /// Bytes that the store has grown by.
    pub stored: u64,
}

/// What the threads share.
struct Work<'a> {
    tree: &'a Path,
    paths: &'a [PathBuf],
    base: Option<&'a Listing>,
    opened: &'a Opened,
    next: AtomicUsize,
    failed: AtomicBool,
    claimed: Mutex<HashSet<Hash>>,
    pack: Mutex<Writer>,
    /// Bytes of the pack that nobody was told to sync.
    unsynced: AtomicUsize,
    /// When this began, as the file system's own clock says.
    began: (i64, i64),
}

impl Store {
    /// Takes a snapshot of these files and links of a tree. Nobody may be changing them.
    ///
    /// `base` is an earlier snapshot of the same tree: what was not touched since is not even read. The
    /// store is durable when this returns.
    pub fn save(&self, tree: &Path, paths: &[PathBuf], base: Option<&Listing>) -> Result<Saved> {
        let opened = self.open(Beside::Others)?;
        let pack = self.begin()?;
        let meta = pack.file().metadata().at(self.root())?;
        let file = pack.file().try_clone();
        let work = Work {
            tree,
            paths,
            base,
            opened: &opened,
            next: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
            claimed: Mutex::default(),
            pack: Mutex::new(pack),
            unsynced: AtomicUsize::new(0),
            began: (meta.mtime(), meta.mtime_nsec()),
        };
        let threads = threads_for(paths.len());
        let behind = file.at(self.root())?;
        let (shares, synced) = thread::scope(|scope| {
            // The disk writes while the processors compress, so that little is left for the end.
            let (due, dues) = sync_channel::<()>(1);
            let syncing = scope.spawn(move || dues.into_iter().try_for_each(|()| behind.sync_data()));
            let hands: Vec<_> = (0..threads)
                .map(|_| {
                    let (work, due) = (&work, due.clone());
                    scope.spawn(move || work.run(&due))
                })
                .collect();
            drop(due);
            (hands.into_iter().map(joined).collect(), joined(syncing))
        });
        let pack = work.pack.into_inner().unwrap_or_else(PoisonError::into_inner);
        let shares = synced.at(self.root()).and_then(|()| shares_together(shares));
        match shares {
            Ok((entries, read)) => Ok(Saved { listing: Listing::new(entries), read, stored: pack.finish()? }),
            Err(error) => {
                // Most likely the volume is full: half a pack is of no use to anybody.
                pack.abandon()?;
                Err(error)
            }
        }
    }

    /// Begins the next pack, in a name that is nobody else's.
    fn begin(&self) -> Result<Writer> {
        let path = self.root().join("numbers");
        let numbers = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path).at(&path)?;
        numbers.lock().at(&path)?;
        let (finished, unfinished) = self.paths_of(self.next_number()?);
        Writer::begin(finished, unfinished)
    }
}

/// What a thread came to; its panic is ours.
pub(crate) fn joined<T>(hand: thread::ScopedJoinHandle<'_, T>) -> T {
    hand.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// A regular file, opened; nothing for whatever else is there, and where it cannot be opened.
fn open_file(path: &Path) -> Option<(Metadata, File)> {
    // Not through a link, and without waiting for whoever writes into a pipe.
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    let meta = file.metadata().ok()?;
    meta.is_file().then_some((meta, file))
}

/// As many as there are processors, where there is enough to do.
pub(crate) fn threads_for(files: usize) -> usize {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    processors.min(files / SHARE + 1)
}

fn shares_together(shares: Vec<Result<Share>>) -> Result<(Vec<Entry>, usize)> {
    let mut entries = Vec::new();
    let mut read = 0;
    for share in shares {
        let share = share?;
        entries.extend(share.entries);
        read += share.read;
    }
    Ok((entries, read))
}

/// What one thread did.
#[derive(Default)]
struct Share {
    entries: Vec<Entry>,
    read: usize,
}

impl Work<'_> {
    fn run(&self, due: &SyncSender<()>) -> Result<Share> {
        let done = self.run_to_the_end(due);
        if done.is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
        done
    }

    fn run_to_the_end(&self, due: &SyncSender<()>) -> Result<Share> {
        let mut share = Share::default();
        let mut gathering = Gathering::new().at(self.tree)?;
        let mut buffer = Vec::new();
        while !self.failed.load(Ordering::Relaxed) {
            let from = self.next.fetch_add(SHARE, Ordering::Relaxed);
            let Some(paths) = self.paths.get(from..).filter(|rest| !rest.is_empty()) else { break };
            for path in &paths[..paths.len().min(SHARE)] {
                let entry = self.entry(path, &mut share.read, &mut gathering, &mut buffer, due)?;
                share.entries.extend(entry);
            }
        }
        let last = gathering.finish().at(self.tree)?;
        last.map_or(Ok(()), |packed| self.append(packed, due))?;
        Ok(share)
    }

    /// Nothing for what is neither a file nor a link.
    fn entry(
        &self,
        relative: &Path,
        read: &mut usize,
        gathering: &mut Gathering,
        buffer: &mut Vec<u8>,
        due: &SyncSender<()>,
    ) -> Result<Option<Entry>> {
        let path = self.tree.join(relative);
        // What the base does not know is read in any case, and so opened without a look at it first.
        let opened = if self.base.is_some_and(|base| base.get(relative).is_some()) { None } else { open_file(&path) };
        let (meta, file) = match opened {
            Some((meta, file)) => (meta, Some(file)),
            None => (fs::symlink_metadata(&path).at(&path)?, None),
        };
        if meta.is_symlink() {
            let target = fs::read_link(&path).at(&path)?.as_os_str().as_bytes().to_vec();
            return Ok(Some(Entry::new(relative, Content::Link { target }, None)));
        }
        if !meta.is_file() {
            return Ok(None);
        }
        let (stamp, mode) = (Stamp::of(&meta), meta.permissions().mode() & MODE_BITS);
        let trusted = stamp.is_older_than(self.began.0, self.began.1).then_some(stamp);
        if let Some(known) = self.untouched(relative, &stamp) {
            return Ok(Some(Entry::new(relative, known.clone(), Some(stamp))));
        }
        *read += 1;
        let mut chunks = Vec::new();
        let file = file.map_or_else(|| File::open(&path).at(&path), Ok)?;
        let extents = extent::of(&file, &meta).at(&path)?;
        let each = |hash, bytes: &[u8]| {
            chunks.push(hash);
            self.keep(hash, bytes, gathering, due).map_err(Failure::Kept)
        };
        let size = match &extents {
            None => chunk::cut(file, meta.len(), buffer, each),
            Some(extents) => chunk::cut(extent::Reader::new(&file, extents), extent::length(extents), buffer, each),
        };
        let size = size.map_err(|failure| match failure {
            Failure::Kept(error) => error,
            Failure::Read(source) => Error::Io { path, source },
        })?;
        let content = match extents {
            None => Content::File { size, mode, chunks },
            Some(extents) => Content::Sparse { size: meta.len(), mode, extents, chunks },
        };
        Ok(Some(Entry::new(relative, content, trusted)))
    }

    /// What the base says of a file that was not touched since, as far as it is still there.
    fn untouched(&self, relative: &Path, stamp: &Stamp) -> Option<&Content> {
        let known = self.base?.get(relative)?;
        let is_same = known.stamp.as_ref() == Some(stamp);
        let is_there = || known.chunks().iter().all(|hash| self.opened.places.contains_key(hash));
        (is_same && is_there()).then_some(&known.content)
    }

    /// Stores a chunk that is not stored yet.
    fn keep(&self, hash: Hash, bytes: &[u8], gathering: &mut Gathering, due: &SyncSender<()>) -> Result<()> {
        if self.opened.places.contains_key(&hash) || !lock(&self.claimed).insert(hash) {
            return Ok(());
        }
        let full = gathering.add(hash, bytes).at(self.tree)?;
        full.map_or(Ok(()), |packed| self.append(packed, due))
    }

    fn append(&self, packed: Packed, due: &SyncSender<()>) -> Result<()> {
        let length = packed.stored();
        lock(&self.pack).append(packed)?;
        if self.unsynced.fetch_add(length, Ordering::Relaxed) + length >= SYNC_BYTES {
            self.unsynced.store(0, Ordering::Relaxed);
            // One that is under way takes this along, or the next one does.
            due.try_send(()).ok();
        }
        Ok(())
    }
}

enum Failure {
    Read(std::io::Error),
    Kept(Error),
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Read(error)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
