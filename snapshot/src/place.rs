//! Reading chunks back: the blocks used last are kept, since neighbours in a tree are neighbours in a pack.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::chunk::Hash;
use crate::pack::Pack;
use crate::{Error, Result};

/// Blocks kept decompressed, of at most a mebibyte each.
const KEPT: usize = 4;

/// Where a chunk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) pack: u32,
    pub(crate) block: u32,
    pub(crate) offset: u32,
    pub(crate) length: u32,
}

impl Place {
    pub(crate) fn block(self) -> (u32, u32) {
        (self.pack, self.block)
    }
}

/// Reads chunks. Each thread has its own.
pub(crate) struct Blocks<'a> {
    packs: &'a [Arc<Pack>],
    kept: VecDeque<((u32, u32), Vec<u8>)>,
}

impl<'a> Blocks<'a> {
    pub(crate) fn new(packs: &'a [Arc<Pack>]) -> Self {
        Self { packs, kept: VecDeque::with_capacity(KEPT) }
    }

    /// The chunk's bytes, proven by its hash.
    pub(crate) fn chunk(&mut self, hash: &Hash, place: Place) -> Result<&[u8]> {
        let pack = &self.packs[place.pack as usize];
        let at = match self.kept.iter().position(|(block, _)| *block == place.block()) {
            Some(at) => at,
            None => {
                self.kept.truncate(KEPT - 1);
                self.kept.push_front((place.block(), pack.plain(place.block as usize)?));
                0
            }
        };
        let range = place.offset as usize..place.offset as usize + place.length as usize;
        let bytes = self.kept[at].1.get(range);
        let bytes = bytes.filter(|bytes| Hash::of(bytes) == *hash);
        bytes.ok_or_else(|| Error::damaged(&pack.path, format!("its chunk {hash} has another hash")))
    }
}
