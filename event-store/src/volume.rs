//! The room on the data directory's volume: below a first mark the log says so
//! once, below a second one new events are refused before the disk is full.
//!
//! What counts is what is free on the volume and inside the database, less the
//! journal, which may need as much again when it is folded into the database. So
//! whatever was accepted can still be folded in, and old events can still be
//! deleted: a store that refuses can always become one that does not.

mod amount;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kit::Clock;
use rustix::fs::statvfs;
use wire::event::{DiskStats, VolumeLevel, VolumePayload, kind};

use crate::engine::Engine;
use crate::log::{DATABASE, JOURNAL, Log};

pub use amount::{Amount, NotAnAmount};

/// How often to look, however little is written.
const EVERY: Duration = Duration::from_secs(2);

/// Below which room something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// Below this the log warns.
    pub warn: Amount,
    /// Below this new events are refused.
    pub stop: Amount,
}

impl Default for Marks {
    fn default() -> Self {
        Self { warn: Amount::Bytes(128 * 1024 * 1024), stop: Amount::Bytes(32 * 1024 * 1024) }
    }
}

/// The volume, shared by everybody who writes to it or asks about it.
pub(crate) struct Volume {
    directory: PathBuf,
    marks: Marks,
    /// What is free inside the database, as it was last told.
    reusable: AtomicU64,
    /// Bytes that may be accepted before it must be looked at again.
    unseen: AtomicI64,
    level: Mutex<VolumeLevel>,
}

impl Volume {
    /// The volume of the data directory, which must be there.
    pub(crate) fn new(directory: PathBuf, marks: Marks) -> Self {
        let level = Mutex::new(VolumeLevel::Ample);
        Self { directory, marks, reusable: AtomicU64::new(0), unseen: AtomicI64::new(0), level }
    }

    /// Whether there is room for so many bytes more. Looks only when enough was accepted to
    /// make a difference; where it cannot look, the disk itself may refuse.
    pub(crate) fn admits(&self, bytes: usize) -> bool {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        if self.unseen.fetch_sub(bytes, Ordering::Relaxed) > bytes {
            return true;
        }
        self.look().map_or(true, |stats| stats.level != VolumeLevel::Full)
    }

    /// Has the next writer look for itself: the disk was not as expected.
    pub(crate) fn distrust(&self) {
        self.unseen.store(0, Ordering::Relaxed);
    }

    /// Takes note of what is free inside the database.
    pub(crate) fn set_reusable(&self, bytes: u64) {
        self.reusable.store(bytes, Ordering::Relaxed);
    }

    /// Looks at the volume and decides what follows.
    pub(crate) fn look(&self) -> io::Result<DiskStats> {
        let found = statvfs(&self.directory)?;
        let mut stats = DiskStats {
            database_bytes: size_of(&self.directory.join(DATABASE))?,
            reusable_bytes: self.reusable.load(Ordering::Relaxed),
            journal_bytes: size_of(&self.directory.join(JOURNAL))?,
            free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
            volume_bytes: found.f_blocks.saturating_mul(found.f_frsize),
            level: VolumeLevel::Ample,
        };
        let (warn, stop) = (self.marks.warn.of(stats.volume_bytes), self.marks.stop.of(stats.volume_bytes));
        let room = room(&stats);
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        *level = next(*level, room, warn, stop);
        stats.level = *level;
        // An event takes up to three times its size on its way: journal, table, indexes.
        let unseen = if *level == VolumeLevel::Full { 0 } else { room.saturating_sub(stop) / 8 };
        self.unseen.store(i64::try_from(unseen).unwrap_or(i64::MAX), Ordering::Relaxed);
        Ok(stats)
    }
}

/// What new events may take. They come into the journal before they come into the database, so
/// what is free inside that is worth at most as much again as what is free outside.
fn room(stats: &DiskStats) -> u64 {
    let folded_in = stats.free_bytes.saturating_add(stats.reusable_bytes).saturating_sub(stats.journal_bytes);
    let journal = stats.free_bytes.saturating_add(stats.journal_bytes);
    folded_in.min(journal.saturating_mul(2))
}

/// The level that follows. A mark counts as left behind only a quarter above it, so that a
/// room that sways around a mark is one piece of news. Pure.
fn next(level: VolumeLevel, room: u64, warn: u64, stop: u64) -> VolumeLevel {
    let is_clear_of = |mark: u64| room >= mark.saturating_add(mark / 4);
    if room < stop || (level == VolumeLevel::Full && !is_clear_of(stop)) {
        VolumeLevel::Full
    } else if room < warn || (level != VolumeLevel::Ample && !is_clear_of(warn)) {
        VolumeLevel::Low
    } else {
        VolumeLevel::Ample
    }
}

/// A journal that is not there takes nothing.
fn size_of(path: &Path) -> io::Result<u64> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

/// Looks again and again, shows it in the metrics, and records, where the engine does, when the room
/// becomes little and when there is enough again: once each, and once more after a restart.
pub(crate) async fn watch(volume: Arc<Volume>, log: Log, engine: Engine, clock: Clock) {
    let mut recorded = VolumeLevel::Ample;
    loop {
        match log.pages().await {
            Ok(pages) => volume.set_reusable(pages.reusable_bytes),
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "the database cannot be looked at"),
        }
        match volume.look() {
            Ok(stats) => {
                show(&stats);
                recorded = record(&stats, recorded, &engine, &clock).await;
                if stats.level != VolumeLevel::Ample {
                    // Nothing else may be written that would have the journal give its room back. Its
                    // answer is in the next look.
                    log.probe().await.ok();
                }
            }
            Err(error) => tracing::warn!(%error, "the volume of the event log cannot be looked at"),
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Records a change between ample and not; the level that the log then speaks of.
async fn record(stats: &DiskStats, recorded: VolumeLevel, engine: &Engine, clock: &Clock) -> VolumeLevel {
    let is_ample = stats.level == VolumeLevel::Ample;
    if is_ample == (recorded == VolumeLevel::Ample) {
        return recorded;
    }
    let kind = if is_ample { kind::VOLUME_RECOVERED } else { kind::VOLUME_LOW };
    let DiskStats { level, free_bytes, volume_bytes, .. } = *stats;
    let payload = VolumePayload { level, free_bytes, volume_bytes };
    // The mark leaves room for the store's own few events.
    match engine.append_own(kind, &payload, clock.now()).await {
        Ok(_) => {
            tracing::warn!(%level, free_bytes, volume_bytes, "the room on the event log's volume has changed");
            level
        }
        // Said by the writer; the next look tries again.
        Err(_) => recorded,
    }
}

fn show(stats: &DiskStats) {
    let levels = VolumeLevel::ALL.iter().position(|level| *level == stats.level).unwrap_or_default();
    metrics::gauge!("event_store_database_bytes").set(stats.database_bytes as f64);
    metrics::gauge!("event_store_reusable_bytes").set(stats.reusable_bytes as f64);
    metrics::gauge!("event_store_journal_bytes").set(stats.journal_bytes as f64);
    metrics::gauge!("event_store_volume_free_bytes").set(stats.free_bytes as f64);
    metrics::gauge!("event_store_volume_size_bytes").set(stats.volume_bytes as f64);
    metrics::gauge!("event_store_volume_level").set(levels as f64);
}

#[cfg(test)]
mod tests;
