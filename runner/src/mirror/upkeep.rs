//! A mirror that is fetched into for weeks is kept quick: its many small packs become
//! few, its references one file. Nothing is thrown away, because workspaces borrow
//! objects that no reference of the mirror leads to any more.

use std::fs;
use std::path::Path;

use wire::worker::repository_name;

use super::partial;
use crate::git::Place;
use crate::orders::Orders;
use crate::room::Room;

const PACKS_MAX: usize = 20;
/// Loose objects are counted in one of the 256 directories that they are spread over, as git does.
const SAMPLE: &str = "objects/17";
const SAMPLED_MAX: usize = 8;

/// Puts the repository's mirror in order where that is due.
pub(crate) async fn keep(room: &Room, repository: &str, orders: &Orders) {
    let name = repository_name(repository);
    let mirror = room.volume.mirror(&name);
    if !is_due(&mirror) || partial::is_partial(&mirror) {
        return;
    }
    let Ok(_turn) = room.turns.take(&name, orders).await else { return };
    let repack = ["repack", "--quiet", "--geometric=2", "-d"];
    for arguments in [&["pack-refs", "--all"][..], &repack, &["commit-graph", "write", "--reachable"]] {
        if let Err(error) = room.git.run(Place::bare(&mirror), arguments, b"", orders).await {
            return tracing::warn!("the mirror {name} is not put in order: {error}");
        }
    }
    tracing::info!("the mirror {name} was put in order");
}

fn is_due(mirror: &Path) -> bool {
    let count = |directory: &str, ending: &str| {
        let entries = fs::read_dir(mirror.join(directory)).into_iter().flatten().flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(ending)).count()
    };
    count("objects/pack", ".pack") > PACKS_MAX || count(SAMPLE, "") > SAMPLED_MAX
}
