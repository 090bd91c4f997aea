//! The listing: which chunks make which file, and how to tell that a file was not touched since.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::chunk::Hash;
use crate::extent::{self, Extent};
use crate::{At, Error, Result};

/// The version of the listing, and of the cuts and packs that it speaks of.
const VERSION: u32 = 1;
const LEVEL: i32 = 3;
/// Permission bits that are kept.
pub(crate) const MODE_BITS: u32 = 0o777;

/// Everything one snapshot holds, by path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    version: u32,
    pub(crate) entries: Vec<Entry>,
}

/// One file or link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    path: Vec<u8>,
    /// What is there.
    pub content: Content,
    pub(crate) stamp: Option<Stamp>,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// A regular file.
    File {
        /// Its length in bytes.
        size: u64,
        /// Its permission bits.
        mode: u32,
        /// What it is made of, in order.
        chunks: Vec<Hash>,
    },
    /// A symbolic link.
    Link {
        /// Where it leads, as it says.
        target: Vec<u8>,
    },
    /// A regular file with holes.
    Sparse {
        /// Its length in bytes, holes and all.
        size: u64,
        /// Its permission bits.
        mode: u32,
        /// What is not a hole, in order.
        extents: Vec<Extent>,
        /// What these are made of together, in order.
        chunks: Vec<Hash>,
    },
}

/// What the file system says of a file that has not been touched: any change of content, mode or name moves
/// the time of change, which no program can set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    inode: u64,
    size: u64,
    changed_seconds: i64,
    changed_nanoseconds: i64,
}

impl Stamp {
    pub(crate) fn of(meta: &Metadata) -> Self {
        Self {
            inode: meta.ino(),
            size: meta.size(),
            changed_seconds: meta.ctime(),
            changed_nanoseconds: meta.ctime_nsec(),
        }
    }

    /// Whether a later change is sure to show: a change within the same tick of the kernel's clock might not.
    pub(crate) fn is_older_than(&self, seconds: i64, nanoseconds: i64) -> bool {
        // The coarsest clock that Linux keeps has ten milliseconds; twice that is on the safe side.
        let grain = 20_000_000;
        let at = |seconds: i64, nanoseconds: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
        at(self.changed_seconds, self.changed_nanoseconds) + grain < at(seconds, nanoseconds)
    }
}

impl Entry {
    pub(crate) fn new(path: &Path, content: Content, stamp: Option<Stamp>) -> Self {
        Self { path: path.as_os_str().as_bytes().to_vec(), content, stamp }
    }

    /// Where it is, relative to the tree.
    pub fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.path))
    }

    /// A short word that is equal for equal content and mode, whichever snapshot it is of.
    pub fn digest(&self) -> String {
        let content = postcard::to_stdvec(&self.content).expect("plain data");
        blake3::hash(&content).to_hex()[..16].to_owned()
    }

    /// Whether the path stays in its tree.
    pub(crate) fn is_plain(&self) -> bool {
        let path = self.path();
        path.components().all(|part| matches!(part, Component::Normal(_))) && !self.path.is_empty()
    }

    pub(crate) fn chunks(&self) -> &[Hash] {
        match &self.content {
            Content::File { chunks, .. } | Content::Sparse { chunks, .. } => chunks,
            Content::Link { .. } => &[],
        }
    }
}

/// Whether a file looks as it was put back.
fn is_still(content: &Content, meta: &Metadata) -> bool {
    match content {
        Content::File { size, mode, .. } | Content::Sparse { size, mode, .. } => {
            meta.is_file() && (meta.len(), meta.mode() & MODE_BITS) == (*size, *mode)
        }
        Content::Link { .. } => false,
    }
}

impl Listing {
    /// Of these entries, in any order.
    pub(crate) fn new(mut entries: Vec<Entry>) -> Self {
        entries.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        Self { version: VERSION, entries }
    }

    /// What it holds, by path.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What it holds at a path.
    pub fn get(&self, path: &Path) -> Option<&Entry> {
        let bytes = path.as_os_str().as_bytes();
        self.entries.binary_search_by(|entry| entry.path.as_slice().cmp(bytes)).ok().map(|at| &self.entries[at])
    }

    /// Whether it holds anything below a directory.
    pub fn has_below(&self, directory: &Path) -> bool {
        let start = [directory.as_os_str().as_bytes(), b"/"].concat();
        let first = self.entries.partition_point(|entry| entry.path < start);
        self.entries.get(first).is_some_and(|entry| entry.path.starts_with(&start))
    }

    /// The same, to be put back into the tree that another snapshot was taken of, and how many of its files and links
    /// that one has just so: these are not even read where nobody has touched them since.
    pub fn into_tree_of(mut self, other: &Self) -> (Self, usize) {
        let (mut shared, mut rest) = (0, other.entries.iter().peekable());
        for entry in &mut self.entries {
            while rest.next_if(|known| known.path < entry.path).is_some() {}
            let known = rest.next_if(|known| known.path == entry.path && known.content == entry.content);
            shared += usize::from(known.is_some());
            entry.stamp = known.and_then(|known| known.stamp);
        }
        (self, shared)
    }

    /// The lengths of its files together, without holes.
    pub fn bytes(&self) -> u64 {
        let size = |entry: &Entry| match &entry.content {
            Content::File { size, .. } => *size,
            Content::Sparse { extents, .. } => extent::length(extents),
            Content::Link { .. } => 0,
        };
        self.entries.iter().map(size).sum()
    }

    /// Writes it to a file that survives a power cut. Gives the hash that [`Listing::read`] wants.
    pub fn write(&self, path: &Path) -> Result<String> {
        let packed = self.pack(path)?;
        kit::files::replace(path, &packed, 0o600).at(path)?;
        Ok(Hash::of(&packed).to_string())
    }

    fn pack(&self, path: &Path) -> Result<Vec<u8>> {
        let plain = postcard::to_stdvec(self).map_err(|error| Error::damaged(path, error.to_string()))?;
        zstd::bulk::compress(&plain, LEVEL).at(path)
    }

    /// As [`Listing::write`], for a tree that [`Store::restore`] has put this back into and that nobody has touched since:
    /// given as base when that tree is saved, nothing is read of what was not touched from now on. The file must be on the
    /// tree's file system, by whose clock a file is not trusted that was written only just now. It need not survive a
    /// power cut: without it more is read.
    ///
    /// [`Store::restore`]: crate::Store::restore
    pub fn write_for(mut self, tree: &Path, path: &Path) -> Result<String> {
        let now = File::create(path).and_then(|file| file.metadata()).at(path)?;
        let look_at = |entry: &Entry| {
            let meta = fs::symlink_metadata(tree.join(entry.path())).ok();
            meta.filter(|meta| is_still(&entry.content, meta)).map(|meta| Stamp::of(&meta))
        };
        for entry in &mut self.entries {
            let stamp = entry.stamp.or_else(|| look_at(entry));
            entry.stamp = stamp.filter(|stamp| stamp.is_older_than(now.mtime(), now.mtime_nsec()));
        }
        let packed = self.pack(path)?;
        fs::write(path, &packed).at(path)?;
        Ok(Hash::of(&packed).to_string())
    }

    /// Reads it back and proves that it is the one whose hash was noted.
    pub fn read(path: &Path, hash: &str) -> Result<Self> {
        let packed = fs::read(path).at(path)?;
        if Hash::of(&packed).to_string() != hash {
            return Err(Error::damaged(path, "it has another hash"));
        }
        let plain = zstd::decode_all(packed.as_slice()).at(path)?;
        let listing: Self = postcard::from_bytes(&plain).map_err(|error| Error::damaged(path, error.to_string()))?;
        if listing.version != VERSION {
            return Err(Error::damaged(path, format!("it is of version {}", listing.version)));
        }
        if let Some(entry) = listing.entries.iter().find(|entry| !entry.is_plain()) {
            let named: PathBuf = entry.path().to_owned();
            return Err(Error::damaged(path, format!("it names {}, which leads out of the tree", named.display())));
        }
        Ok(listing)
    }
}
