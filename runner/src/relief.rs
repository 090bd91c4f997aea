//! What goes when the volume has no room: first what only saves time, then the mirrors of other repositories, those
//! first that were used least lately.
//!
//! A mirror goes only where it can be cloned again as it is: nobody uses it, nothing in it is work that nobody pushed,
//! and no workspace and no checkpoint with anything in it is made of its objects.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use kit::tasks::blocking;
use wire::id::ExecutionId;
use wire::worker::repository_name;

use crate::checkpoint::{self, unpushed};
use crate::dependencies;
use crate::room::Room;
use crate::volume::Volume;
use crate::workspace::{self, Marker};

/// Gives up what can be made again until so many bytes are free; never the mirror of this name, which is in use.
pub(crate) async fn relieve(room: &Room, free: u64, in_use: &str) -> io::Result<()> {
    let (volume, mark) = (room.volume.clone(), room.mark());
    blocking(move || volume.relieve(free, &mark)).await?;
    dependencies::relieve(room, free).await?;
    if !room.volume.lacks(free)? {
        return Ok(());
    }
    let volume = room.volume.clone();
    let (mirrors, needed) = blocking(move || Ok::<_, io::Error>((volume.mirrors_by_use()?, needed(&volume)?))).await?;
    for name in mirrors.iter().filter(|name| *name != in_use && !needed.contains(*name)) {
        if !room.volume.lacks(free)? {
            return Ok(());
        }
        give_up(room, name).await?;
    }
    Ok(())
}

/// After there was no room for a workspace: clears it away, and what was on its way out. How many bytes are free then.
pub(crate) async fn clear_away(room: &Arc<Room>, id: ExecutionId) -> io::Result<u64> {
    let own = room.clone();
    blocking(move || {
        own.isolation.disband(&own.volume.execution(id));
        workspace::discard(&own, id)?;
        own.volume.empty_trash()?;
        own.volume.free()
    })
    .await
}

/// The names of the mirrors without which something else on the volume could not be had again.
fn needed(volume: &Volume) -> io::Result<BTreeSet<String>> {
    let mut needed: BTreeSet<String> =
        checkpoint::needed_repositories(volume)?.iter().map(|repository| repository_name(repository)).collect();
    for id in volume.execution_ids()? {
        needed.extend(Marker::read(volume, id)?.map(|marker| repository_name(&marker.repository)));
    }
    needed.extend(volume.work_aside()?.iter().filter_map(|tree| unpushed::borrowed(tree)));
    Ok(needed)
}

/// Gives up a mirror that nothing else needs, unless somebody uses it or it holds what nobody pushed.
async fn give_up(room: &Room, name: &str) -> io::Result<()> {
    let Some(_unprepared) = room.background.begin(name) else { return Ok(()) };
    let Some(_turn) = room.turns.take_if_free(name) else { return Ok(()) };
    match unpushed::is_any(&room.git, &room.volume.mirror(name)).await {
        Ok(false) => {
            tracing::warn!("the volume has no room, so the mirror {name} goes, which was used least lately");
            let (volume, name, mark) = (room.volume.clone(), name.to_owned(), room.mark());
            blocking(move || volume.discard_mirror(&name, &mark)).await
        }
        Ok(true) => Ok(()),
        Err(error) => {
            tracing::warn!("what is in the mirror {name} cannot be told, so it stays: {error}");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
