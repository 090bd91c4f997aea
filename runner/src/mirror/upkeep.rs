//! A mirror that is fetched into for weeks is kept quick: its many small packs become
//! few, its references one file. Nothing is thrown away, because workspaces borrow
//! objects that no reference of the mirror leads to any more.
//!
//! Of a mirror without its files' contents all packs become two, what the remote promises
//! and the rest: git refuses there to put them together by their sizes (2.47 does). That
//! writes all of them anew, so it waits for more of them, and for room.

use std::fs;
use std::path::Path;

use wire::worker::repository_name;

use super::{partial, submodules};
use crate::git::Place;
use crate::orders::Orders;
use crate::room::Room;

/// Some of a repository's packs become one, and others stay as they are.
const REPACK: &[&str] = &["repack", "--quiet", "--geometric=2", "-d"];
const PACKS_MAX: usize = 20;
/// Where all of them are written anew.
const PARTIAL_PACKS_MAX: usize = 50;
/// Loose objects are counted in one of the 256 directories that they are spread over, as git does.
const SAMPLE: &str = "objects/17";
const SAMPLED_MAX: usize = 8;

/// Puts the repository's mirror in order where that is due, and what is known of its submodules.
pub(crate) async fn keep(room: &Room, repository: &str, orders: &Orders) {
    let name = repository_name(repository);
    keep_mirror(room, &name, orders).await;
    keep_submodules(room, &name, orders).await;
}

async fn keep_submodules(room: &Room, name: &str, orders: &Orders) {
    let known = room.volume.submodules(name);
    if !is_due(&known, PACKS_MAX) {
        return;
    }
    let Ok(_turn) = room.turns.take(&submodules::turn(name), orders).await else { return };
    match room.git.run(Place::bare(&known), REPACK, b"", orders).await {
        Ok(_) => tracing::info!("what is known of the submodules of {name} was put in order"),
        Err(error) => tracing::warn!("what is known of the submodules of {name} is not put in order: {error}"),
    }
}

async fn keep_mirror(room: &Room, name: &str, orders: &Orders) {
    let mirror = room.volume.mirror(name);
    let is_partial = partial::is_partial(&mirror);
    if !is_due(&mirror, if is_partial { PARTIAL_PACKS_MAX } else { PACKS_MAX }) {
        return;
    }
    if is_partial && !room.volume.has_ample_room().unwrap_or(false) {
        return tracing::debug!("the mirror {name} is not put in order: there is no room to write it anew");
    }
    let Ok(_turn) = room.turns.take(name, orders).await else { return };
    let repack = match is_partial {
        true => &["repack", "--quiet", "-a", "-d", "--keep-unreachable"],
        false => REPACK,
    };
    for arguments in [&["pack-refs", "--all"][..], repack, &["commit-graph", "write", "--reachable"]] {
        if let Err(error) = room.git.run(Place::bare(&mirror), arguments, b"", orders).await {
            return tracing::warn!("the mirror {name} is not put in order: {error}");
        }
    }
    tracing::info!("the mirror {name} was put in order");
}

fn is_due(mirror: &Path, packs_max: usize) -> bool {
    let count = |directory: &str, ending: &str| {
        let entries = fs::read_dir(mirror.join(directory)).into_iter().flatten().flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(ending)).count()
    };
    count("objects/pack", ".pack") > packs_max || count(SAMPLE, "") > SAMPLED_MAX
}
