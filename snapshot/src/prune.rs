//! Giving room back: packs that no kept snapshot needs go; of those that are mostly unneeded the rest moves.

use std::collections::HashSet;
use std::fs;

use crate::chunk::Hash;
use crate::listing::Listing;
use crate::pack::{Gathering, Pack, Writer};
use crate::store::{Beside, Opened, Store};
use crate::{At, Error, Result};

/// A pack of which less than one part in so many is needed is rewritten.
const REWRITE_BELOW: u64 = 2;

impl Store {
    /// Removes what none of these snapshots needs. Gives the bytes that came free. What is damaged keeps nothing else
    /// from moving.
    ///
    /// Killed in between it has lost nothing: what moves is durable in its new place before the old one goes.
    pub fn prune(&self, kept: &[Listing]) -> Result<u64> {
        loop {
            let known = self.notes()?.len();
            match self.prune_whole(kept) {
                // It is noted by now, and so left out the next time.
                Err(Error::Damaged { .. }) if self.notes()?.len() > known => (),
                pruned => return pruned,
            }
        }
    }

    /// The same, as far as nothing is damaged that nobody has noted.
    fn prune_whole(&self, kept: &[Listing]) -> Result<u64> {
        let before = self.bytes()?;
        let opened = self.open(Beside::Nobody)?;
        let opened = if opened.clear_doubts()? {
            drop(opened);
            self.open(Beside::Nobody)?
        } else {
            opened
        };
        let needed: HashSet<Hash> =
            kept.iter().flat_map(|listing| listing.entries()).flat_map(|entry| entry.chunks()).copied().collect();
        let mut going = Vec::new();
        let mut moving = Vec::new();
        for (pack, number) in opened.packs.iter().zip(0_u32..) {
            // A chunk that is in two packs is needed in the one that it is read from.
            let is_live = |hash: &Hash| {
                needed.contains(hash) && opened.places.get(hash).is_some_and(|place| place.pack == number)
            };
            let (mut live, mut all) = (0, 0);
            for (hash, length) in pack.blocks.iter().flat_map(|block| &block.chunks) {
                all += u64::from(*length);
                live += if is_live(hash) { u64::from(*length) } else { 0 };
            }
            if live == 0 {
                going.push(pack.as_ref());
            } else if live * REWRITE_BELOW < all {
                going.push(pack.as_ref());
                moving.push(number);
            }
        }
        self.rewrite(&opened, &needed, &moving)?;
        if needed.iter().all(|hash| opened.places.contains_key(hash)) {
            // Nobody misses what was in them.
            for path in &opened.unusable {
                fs::remove_file(path).at(path)?;
            }
        }
        let notes = self.notes()?;
        going.into_iter().try_for_each(|pack| Self::remove(pack, &notes))?;
        Ok(before.saturating_sub(self.bytes()?))
    }

    fn rewrite(&self, opened: &Opened, needed: &HashSet<Hash>, moving: &[u32]) -> Result<()> {
        if moving.is_empty() {
            return Ok(());
        }
        let (finished, unfinished) = self.paths_of(self.next_number()?);
        let mut writer = Writer::begin(finished, unfinished)?;
        let moved = moving.iter().try_for_each(|number| copy(opened, *number, needed, &mut writer));
        match moved {
            Ok(()) => writer.finish().map(|_| ()),
            Err(error) => {
                writer.abandon()?;
                Err(error)
            }
        }
    }
}

fn copy(opened: &Opened, number: u32, needed: &HashSet<Hash>, writer: &mut Writer) -> Result<()> {
    let pack: &Pack = &opened.packs[number as usize];
    let mut gathering = Gathering::new().at(&pack.path)?;
    let mut blocks = opened.blocks();
    for (hash, _) in pack.blocks.iter().flat_map(|block| &block.chunks) {
        let Some(place) = opened.places.get(hash).copied().filter(|place| place.pack == number) else { continue };
        if !needed.contains(hash) {
            continue;
        }
        let bytes = blocks.chunk(hash, place)?;
        if let Some(packed) = gathering.add(*hash, bytes).at(&pack.path)? {
            writer.append(packed)?;
        }
    }
    match gathering.finish().at(&pack.path)? {
        Some(packed) => writer.append(packed),
        None => Ok(()),
    }
}
