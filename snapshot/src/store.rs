//! The store: a directory of packs, and where each chunk is in them.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::chunk::Hash;
use crate::listing::Listing;
use crate::pack::{self, Pack, note_path};
use crate::place::{Blocks, Place};
use crate::{At, Error, Result};

const ENDING: &str = "pack";
/// Ends the name of a pack that is being written.
const UNFINISHED: &str = "unfinished";

/// A directory of packs. It keeps nothing in memory between its operations, and any number of processes may
/// use one directory: saving excludes pruning, by a lock on a file.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

/// A look at the packs that are there.
pub(crate) struct Opened {
    pub(crate) packs: Vec<Arc<Pack>>,
    pub(crate) places: HashMap<Hash, Place>,
    /// Packs that cannot be used; what is in them counts as not there.
    pub(crate) unusable: Vec<PathBuf>,
    /// What is in blocks that are noted as damaged. It counts as not there, and is stored anew where it is seen again; but
    /// who needs it looks once more.
    pub(crate) doubted: HashMap<Hash, Place>,
    _lock: File,
}

/// What else may happen to the store meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beside {
    /// Others may read and add.
    Others,
    /// Nobody: something is taken away.
    Nobody,
}

impl Store {
    /// A store in this directory, which is made where it is not there.
    pub fn new(root: &Path) -> Result<Self> {
        kit::files::make_private(root).at(root)?;
        Ok(Self { root: root.to_owned() })
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The bytes of all packs.
    pub fn bytes(&self) -> Result<u64> {
        let size = |path: &PathBuf| fs::metadata(path).map(|meta| meta.len()).at(path);
        self.pack_paths()?.iter().map(size).sum()
    }

    /// Where a pack of this number is, and where it is while it is being written.
    pub(crate) fn paths_of(&self, number: u64) -> (PathBuf, PathBuf) {
        let name = |ending: &str| self.root.join(format!("{number:016x}.{ending}"));
        (name(ENDING), name(UNFINISHED))
    }

    /// A number that no pack has. Whoever asks must be alone with what begins the pack.
    pub(crate) fn next_number(&self) -> Result<u64> {
        let numbers = self.names()?.into_iter().filter_map(|path| {
            let stem = path.file_stem()?.to_str()?;
            u64::from_str_radix(stem, 16).ok()
        });
        Ok(numbers.max().map_or(1, |newest| newest + 1))
    }

    fn names(&self) -> Result<Vec<PathBuf>> {
        let read = fs::read_dir(&self.root).at(&self.root)?;
        read.map(|entry| entry.map(|entry| entry.path()).at(&self.root)).collect()
    }

    fn pack_paths(&self) -> Result<Vec<PathBuf>> {
        let mut packs: Vec<PathBuf> =
            self.names()?.into_iter().filter(|path| path.extension().is_some_and(|ending| ending == ENDING)).collect();
        packs.sort();
        Ok(packs)
    }

    /// What was noted of damaged blocks.
    pub(crate) fn notes(&self) -> Result<HashSet<PathBuf>> {
        let names = self.names()?.into_iter();
        Ok(names.filter(|path| path.extension().is_some_and(|ending| ending == pack::DAMAGED)).collect())
    }

    /// Removes a pack and what was noted of it.
    pub(crate) fn remove(pack: &Pack, notes: &HashSet<PathBuf>) -> Result<()> {
        let own = pack.blocks.iter().map(|block| note_path(&pack.path, block.offset()));
        own.filter(|note| notes.contains(note)).try_for_each(|note| fs::remove_file(&note).at(&note))?;
        fs::remove_file(&pack.path).at(&pack.path)
    }

    pub(crate) fn lock(&self, beside: Beside) -> Result<File> {
        let path = self.root.join("lock");
        let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path).at(&path)?;
        match beside {
            Beside::Others => file.lock_shared().at(&path)?,
            Beside::Nobody => file.lock().at(&path)?,
        }
        Ok(file)
    }

    /// Reads every pack's index.
    pub(crate) fn open(&self, beside: Beside) -> Result<Opened> {
        let lock = self.lock(beside)?;
        let notes = self.notes()?;
        let mut opened = Opened {
            packs: Vec::new(),
            places: HashMap::new(),
            unusable: Vec::new(),
            doubted: HashMap::new(),
            _lock: lock,
        };
        for path in self.pack_paths()? {
            match Pack::open(path.clone()) {
                Ok(pack) => opened.take_in(pack, &notes),
                Err(Error::Damaged { .. }) => opened.unusable.push(path),
                Err(error) => return Err(error),
            }
        }
        Ok(opened)
    }

    /// Removes what a killed process left half written. Only while nobody saves.
    pub fn tidy(&self) -> Result<()> {
        let _lock = self.lock(Beside::Nobody)?;
        for path in self.names()? {
            if path.extension().is_some_and(|ending| ending == UNFINISHED) {
                fs::remove_file(&path).at(&path)?;
            }
        }
        Ok(())
    }

    /// Proves that everything a snapshot needs is there as it was stored, without writing anything. An error
    /// names what is not.
    pub fn verify(&self, listing: &Listing) -> Result<()> {
        let opened = self.open(Beside::Others)?;
        let mut needed: Vec<(u32, u32)> = Vec::new();
        for entry in listing.entries() {
            for hash in entry.chunks() {
                needed.push(opened.place(hash, entry.path())?.block());
            }
        }
        needed.sort_unstable();
        needed.dedup();
        for (pack, block) in needed {
            opened.packs[pack as usize].stored(block as usize)?;
        }
        Ok(())
    }
}

impl Opened {
    fn take_in(&mut self, pack: Pack, notes: &HashSet<PathBuf>) {
        let number = u32::try_from(self.packs.len()).expect("fewer than 2^32 packs");
        for (block, at) in pack.blocks.iter().zip(0..) {
            let mut offset = 0;
            let is_noted = notes.contains(&note_path(&pack.path, block.offset()));
            let places = if is_noted { &mut self.doubted } else { &mut self.places };
            for (hash, length) in &block.chunks {
                places.entry(*hash).or_insert(Place { pack: number, block: at, offset, length: *length });
                offset += length;
            }
        }
        self.packs.push(Arc::new(pack));
    }

    /// Where a chunk is. `path` is the file that needs it.
    pub(crate) fn place(&self, hash: &Hash, path: &Path) -> Result<Place> {
        let missing = || match self.unusable.as_slice() {
            [] => Error::damaged(path, format!("its chunk {hash} is in no pack")),
            [pack, ..] => Error::damaged(pack, "its index cannot be read"),
        };
        if let Some(place) = self.places.get(hash) {
            return Ok(*place);
        }
        let place = *self.doubted.get(hash).ok_or_else(missing)?;
        self.packs[place.pack as usize].stored(place.block as usize)?;
        Ok(place)
    }

    /// Forgets the notes of blocks that are whole after all; says whether there were any.
    pub(crate) fn clear_doubts(&self) -> Result<bool> {
        let blocks: HashSet<(u32, u32)> = self.doubted.values().map(|place| place.block()).collect();
        let mut cleared = false;
        for (pack, block) in blocks {
            let (pack, block) = (&self.packs[pack as usize], block as usize);
            if pack.stored(block).is_ok() {
                let note = note_path(&pack.path, pack.blocks[block].offset());
                fs::remove_file(&note).at(&note)?;
                cleared = true;
            }
        }
        Ok(cleared)
    }

    /// A reader of chunks, with a memory of its own.
    pub(crate) fn blocks(&self) -> Blocks<'_> {
        Blocks::new(&self.packs)
    }
}
