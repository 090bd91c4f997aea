//! Spare checkouts: of each repository that was used lately a finished tree stands
//! ready, and the next workspace is that tree under another name.
//!
//! A spare is made from the mirror alone, while nothing waits for it, and no command
//! has ever run in it: it holds no ignored file, hook, setting or index flag of
//! anybody's. Whoever renames it has it, so two executions never get the same one.
//! It is built under an unfinished name, so a killed runner leaves none that is half
//! made. There are few, and none where the volume has no room for what only saves time.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use kit::tasks::blocking;
use serde::{Deserialize, Serialize};
use wire::id::ExecutionId;
use wire::worker::repository_name;

use crate::git::index;
use crate::mirror::Obtained;
use crate::orders::Orders;
use crate::room::Room;
use crate::volume::{self, Volume};
use crate::workspace::{self, CheckoutError, Paths};

const MARKER: &str = "spare.json";
const MARKER_VERSION: u32 = 1;

/// What a spare is. Written last: a directory without it is none.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Marker {
    version: u32,
    repository: String,
    commit: String,
    /// The start of this machine in which it was made: what was not on disk when a machine lost its
    /// power is empty afterwards.
    boot: String,
}

/// Puts the repository's spare where the execution's workspace is to be. Gives the commit it is at,
/// or no commit where its files have to be compared; nothing where there is no spare.
pub(crate) fn take(
    volume: &Volume,
    execution: ExecutionId,
    repository: &str,
    paths: &Paths,
) -> io::Result<Option<String>> {
    let own = volume.execution(execution).join("spare");
    match fs::rename(volume.spare(&repository_name(repository)), &own) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        renamed => renamed?,
    }
    let marker = read(&own)?.filter(|marker| marker.repository == repository);
    let is_of_this_boot = marker.as_ref().is_some_and(|marker| is_of_this_boot(&marker.boot));
    if marker.is_some() {
        fs::rename(own.join("tree"), &paths.tree)?;
        fs::rename(own.join("index"), &paths.index)?;
        if is_of_this_boot {
            settle(&paths.index, fs::metadata(&own)?.modified()?)?;
        }
    }
    volume::remove(&own)?;
    Ok(marker.map(|marker| if is_of_this_boot { marker.commit } else { String::new() }))
}

/// Whether one stands ready.
pub(crate) fn is_there(volume: &Volume, repository: &str) -> bool {
    volume.spare(&repository_name(repository)).join(MARKER).exists()
}

/// Spares git from reading every file again. It knows times by the second, and so trusts no file that is of the same
/// second as the index: whoever writes it once more in that second would leave no trace. All of a small tree is. Of a
/// spare nobody has written anything, and when its second is over nobody can any more.
fn settle(index: &Path, now: SystemTime) -> io::Result<()> {
    let index = File::options().write(true).open(index)?;
    let second = |time: SystemTime| time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    if second(index.metadata()?.modified()?) < second(now) { index.set_modified(now) } else { Ok(()) }
}

/// Which start of this machine it is.
pub(crate) fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}

/// Whether the machine runs since then without a break.
pub(crate) fn is_of_this_boot(noted: &str) -> bool {
    !noted.is_empty() && noted == boot()
}

fn read(spare: &Path) -> io::Result<Option<Marker>> {
    let text = kit::files::read_if_exists(&spare.join(MARKER))?;
    let marker = text.and_then(|text| serde_json::from_str::<Marker>(&text).ok());
    Ok(marker.filter(|marker| marker.version == MARKER_VERSION))
}

/// How large a checkout is that is made as the one with this index was; nothing where it is gone or cannot be read.
fn size_of_next(index: &Path) -> u64 {
    fs::read(index).ok().and_then(|index| index::size_of_files(&index)).unwrap_or(0)
}

/// Makes a spare at the commit where the repository has none: as large as the one that `index` was made with. Nobody else
/// may be making one of it.
pub(crate) async fn make(
    room: &Arc<Room>,
    repository: &str,
    obtained: &Obtained,
    index: &Path,
    orders: &Orders,
) -> Result<(), CheckoutError> {
    let spare = room.volume.spare(&repository_name(repository));
    if room.limits.spares == 0 || read(&spare)?.is_some() {
        return Ok(());
    }
    let (volume, index) = (room.volume.clone(), index.to_owned());
    if !blocking(move || volume.has_ample_room_for(size_of_next(&index))).await? {
        return Ok(());
    }
    let unfinished = volume::unfinished(&spare);
    volume::remove(&unfinished)?;
    kit::files::make_private(&unfinished)?;
    let paths = Paths::of_spare(&room.volume, &unfinished, repository);
    let made = workspace::check_out_afresh(&room.git, &paths, repository, obtained, orders).await;
    let marker = Marker {
        version: MARKER_VERSION,
        repository: repository.to_owned(),
        commit: obtained.commit.clone(),
        boot: boot(),
    };
    let own = room.clone();
    blocking(move || match made {
        Ok(()) => Ok(finish(&own, &marker, &unfinished, &spare)?),
        Err(error) => {
            volume::remove(&unfinished)?;
            Err(error)
        }
    })
    .await
}

fn finish(room: &Room, marker: &Marker, unfinished: &Path, spare: &Path) -> io::Result<()> {
    let text = serde_json::to_vec(marker).expect("a marker is plain data");
    fs::write(unfinished.join(MARKER), text)?;
    // Something else may have been written meanwhile.
    if !room.volume.has_ample_room()? {
        return volume::remove(unfinished);
    }
    volume::remove(spare)?;
    fs::rename(unfinished, spare)?;
    prune(&room.volume, room.limits.spares, &room.mark())?;
    room.volume.empty_trash()
}

/// Keeps the newest few.
fn prune(volume: &Volume, keep: usize, mark: &str) -> io::Result<()> {
    let made_at = |path: PathBuf| Some((fs::metadata(path.join(MARKER)).ok()?.modified().ok()?, path));
    let mut spares: Vec<_> = volume.spares()?.into_iter().filter_map(made_at).collect();
    spares.sort();
    spares.iter().rev().skip(keep).try_for_each(|(_, path)| volume.discard(path, mark))
}

#[cfg(test)]
mod tests;
