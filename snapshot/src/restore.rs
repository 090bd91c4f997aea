//! Putting a tree back. What is as the snapshot says is not written again; what is written replaces what was
//! there in one step; nothing on the way leads out of the tree.

use std::collections::HashSet;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::chunk;
use crate::extent;
use crate::listing::{Content, Entry, Listing, MODE_BITS, Stamp};
use crate::place::Blocks;
use crate::save::{joined, threads_for};
use crate::store::{Beside, Opened, Store};
use crate::{At, Error, Result};

/// Entries that a thread takes at once.
const SHARE: usize = 64;
/// Ends the name of a file that is being written beside the one that it replaces.
const UNFINISHED: &str = ".bifrost-unfinished";

/// What putting back came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Restored {
    /// Files and links that were as they should be.
    pub kept: usize,
    /// Files and links that were written.
    pub written: usize,
}

impl Store {
    /// Makes every file and link of the snapshot as it was. What else is in the tree stays. The listing then says of no
    /// file that it was not touched which was, or was written.
    pub fn restore(&self, listing: &mut Listing, tree: &Path) -> Result<Restored> {
        let (opened, touched) = thread::scope(|scope| {
            let opening = scope.spawn(|| self.open(Beside::Others));
            let touched = touched(listing, tree);
            (joined(opening), touched)
        });
        let (opened, touched) = (opened?, touched?);
        for (at, _) in &touched {
            listing.entries[*at].stamp = None;
        }
        let differs = |(at, state): &(usize, State)| (*state == State::Differs).then(|| &listing.entries[*at]);
        let differing: Vec<&Entry> = touched.iter().filter_map(differs).collect();
        // Before anything is overwritten: is all that is needed there?
        for entry in &differing {
            for hash in entry.chunks() {
                opened.place(hash, entry.path())?;
            }
        }
        let next = AtomicUsize::new(0);
        let written: Result<Vec<()>> = thread::scope(|scope| {
            let hands: Vec<_> = (0..threads_for(differing.len()))
                .map(|_| scope.spawn(|| write_share(&opened, &differing, &next, tree)))
                .collect();
            hands.into_iter().map(joined).collect()
        });
        written?;
        Ok(Restored { kept: listing.entries().len() - differing.len(), written: differing.len() })
    }
}

/// What a tree has in place of a file or link of the snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The same, and nobody has touched it since.
    Untouched,
    /// The same.
    Alike,
    /// Something else, or nothing.
    Differs,
}

/// The files and links that a tree has not, or has otherwise.
pub(crate) fn differing<'a>(listing: &'a Listing, tree: &Path) -> Result<Vec<&'a Entry>> {
    let touched = touched(listing, tree)?.into_iter();
    Ok(touched.filter(|(_, state)| *state == State::Differs).map(|(at, _)| &listing.entries[at]).collect())
}

/// Those that may have been touched, by where they stand in the listing.
fn touched(listing: &Listing, tree: &Path) -> Result<Vec<(usize, State)>> {
    let entries = listing.entries();
    let next = AtomicUsize::new(0);
    let look = || {
        let mut found = Vec::new();
        let mut buffer = Vec::new();
        loop {
            let from = next.fetch_add(SHARE, Ordering::Relaxed);
            let Some(rest) = entries.get(from..).filter(|rest| !rest.is_empty()) else { break };
            for (entry, at) in rest.iter().take(SHARE).zip(from..) {
                match look_at(entry, &tree.join(entry.path()), &mut buffer)? {
                    State::Untouched => (),
                    state => found.push((at, state)),
                }
            }
        }
        Ok(found)
    };
    let shares: Result<Vec<_>> = thread::scope(|scope| {
        let hands: Vec<_> = (0..threads_for(entries.len())).map(|_| scope.spawn(look)).collect();
        hands.into_iter().map(joined).collect()
    });
    let mut found: Vec<(usize, State)> = shares?.into_iter().flatten().collect();
    // In the order of the listing, since neighbours in a tree are neighbours in a pack.
    found.sort_unstable_by_key(|(at, _)| *at);
    Ok(found)
}

impl Listing {
    /// Whether a tree has every file and link of the snapshot as it was. What was not touched is not read.
    pub fn is_as_it_was(&self, tree: &Path) -> Result<bool> {
        Ok(differing(self, tree)?.is_empty())
    }

    /// The same with every byte read: for a disk that may have lost some without anybody touching a file.
    pub fn is_as_it_was_to_the_byte(&self, tree: &Path) -> Result<bool> {
        self.untrusting().is_as_it_was(tree)
    }

    /// The files and links of the snapshot that a tree has not, or has otherwise, every byte of the others being read.
    pub fn differing_to_the_byte(&self, tree: &Path) -> Result<Vec<PathBuf>> {
        let listing = self.untrusting();
        Ok(differing(&listing, tree)?.into_iter().map(|entry| entry.path().to_owned()).collect())
    }

    fn untrusting(&self) -> Self {
        let unstamped = |entry: &Entry| Entry::new(entry.path(), entry.content.clone(), None);
        Self::new(self.entries().iter().map(unstamped).collect())
    }
}

fn look_at(entry: &Entry, path: &Path, buffer: &mut Vec<u8>) -> Result<State> {
    let alike = |is_alike| if is_alike { State::Alike } else { State::Differs };
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if is_absent(&error) => return Ok(State::Differs),
        Err(error) => return Err(error).at(path),
    };
    let (size, mode, extents, chunks) = match &entry.content {
        Content::Link { target } => {
            let is_alike =
                meta.is_symlink() && fs::read_link(path).at(path)?.as_os_str().as_bytes() == target.as_slice();
            return Ok(alike(is_alike));
        }
        Content::File { size, mode, chunks } => (*size, *mode, None, chunks),
        Content::Sparse { size, mode, extents, chunks } => (*size, *mode, Some(extents), chunks),
    };
    if !meta.is_file() || meta.len() != size || meta.permissions().mode() & MODE_BITS != mode {
        return Ok(State::Differs);
    }
    if entry.stamp == Some(Stamp::of(&meta)) {
        return Ok(State::Untouched);
    }
    let mut rest = chunks.iter();
    let file = match File::open(path) {
        Ok(file) => file,
        // A command may have taken our right to read away; then it is not as it was in our eyes.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(State::Differs),
        Err(error) => return Err(error).at(path),
    };
    let each = |hash, _: &[u8]| if rest.next() == Some(&hash) { Ok(()) } else { Err(Differs::Content) };
    let read = match extents {
        None => chunk::cut(file, size, buffer, each),
        Some(extents) if extent::is_zero_beside(&file, &meta, extents).at(path)? => {
            chunk::cut(extent::Reader::new(&file, extents), extent::length(extents), buffer, each)
        }
        Some(_) => Err(Differs::Content),
    };
    match read {
        Ok(_) => Ok(alike(rest.next().is_none())),
        Err(Differs::Content) => Ok(State::Differs),
        Err(Differs::Unreadable(error)) => Err(error).at(path),
    }
}

enum Differs {
    Content,
    Unreadable(io::Error),
}

impl From<io::Error> for Differs {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error)
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn write_share(opened: &Opened, entries: &[&Entry], next: &AtomicUsize, tree: &Path) -> Result<()> {
    let mut blocks = opened.blocks();
    let mut directories = Directories { tree, known: HashSet::new() };
    loop {
        let from = next.fetch_add(SHARE, Ordering::Relaxed);
        let Some(rest) = entries.get(from..).filter(|rest| !rest.is_empty()) else { return Ok(()) };
        for entry in rest.iter().take(SHARE) {
            write(opened, &mut blocks, &mut directories, entry)?;
        }
    }
}

fn write(opened: &Opened, blocks: &mut Blocks<'_>, directories: &mut Directories<'_>, entry: &Entry) -> Result<()> {
    if !entry.is_plain() {
        return Err(Error::damaged(entry.path(), "it leads out of the tree"));
    }
    directories.make(entry.path().parent().unwrap_or(Path::new("")))?;
    let path = directories.tree.join(entry.path());
    let beside = beside(&path);
    remove(&beside)?;
    match &entry.content {
        Content::Link { target } => symlink(std::ffi::OsStr::from_bytes(target), &beside).at(&path)?,
        Content::File { mode, chunks, .. } => {
            let mut file = new_file(&beside).at(&path)?;
            for hash in chunks {
                let bytes = blocks.chunk(hash, opened.place(hash, entry.path())?)?;
                file.write_all(bytes).at(&path)?;
            }
            file.set_permissions(Permissions::from_mode(*mode)).at(&path)?;
        }
        Content::Sparse { size, mode, extents, chunks } => {
            let file = new_file(&beside).at(&path)?;
            file.set_len(*size).at(&path)?;
            let mut between = extent::Writer::new(&file, extents);
            for hash in chunks {
                let bytes = blocks.chunk(hash, opened.place(hash, entry.path())?)?;
                between.write(bytes).at(&path)?;
            }
            file.set_permissions(Permissions::from_mode(*mode)).at(&path)?;
        }
    }
    if fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_dir()) {
        remove(&path)?;
    }
    fs::rename(&beside, &path).at(&path)
}

fn new_file(path: &Path) -> io::Result<File> {
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// A name beside the file, short enough for any file system whatever the file's own is.
fn beside(path: &Path) -> PathBuf {
    let name = blake3::hash(path.as_os_str().as_bytes()).to_hex();
    path.with_file_name(format!(".{}{UNFINISHED}", &name[..16]))
}

fn remove(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if !is_absent(&error) => Err(error).at(path),
        _ => Ok(()),
    }
}

/// Directories of a tree that were seen to be directories: a link in their place would lead elsewhere.
struct Directories<'a> {
    tree: &'a Path,
    known: HashSet<PathBuf>,
}

impl Directories<'_> {
    fn make(&mut self, relative: &Path) -> Result<()> {
        if relative.as_os_str().is_empty() || self.known.contains(relative) {
            return Ok(());
        }
        self.make(relative.parent().unwrap_or(Path::new("")))?;
        let path = self.tree.join(relative);
        match fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_dir() => (),
            Ok(_) => {
                fs::remove_file(&path).at(&path)?;
                create(&path)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => create(&path)?,
            Err(error) => return Err(error).at(&path),
        }
        self.known.insert(relative.to_owned());
        Ok(())
    }
}

/// Another thread may have been faster.
fn create(path: &Path) -> Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        created => created.at(path),
    }
}
