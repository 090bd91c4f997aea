//! Giving up checkpoints that are outdated, and of the store what none that is left needs.

use std::collections::{BTreeSet, HashMap};
use std::io;

use snapshot::{Listing, Store};
use wire::id::CheckpointId;
use wire::limit::CHECKPOINTS_PER_MACHINE;

use super::{ALONE, CheckpointError, alone, is_pinned, listing, read, repository_of_any_version};
use crate::room::Room;
use crate::volume;

/// Which checkpoints go (pure), of all there are with their repositories, the oldest first: of each repository all
/// but the newest few, and of all together the oldest beyond what anybody keeps in mind. Pinned ones are not listed, nor
/// those that alone have work.
pub(super) fn outdated(checkpoints: &[(CheckpointId, String)], keep: usize, in_all: usize) -> Vec<CheckpointId> {
    let mut kept: HashMap<&str, usize> = HashMap::new();
    let mut left = in_all;
    let mut gone = Vec::new();
    for (id, repository) in checkpoints.iter().rev() {
        let of_repository = kept.entry(repository).or_default();
        if *of_repository < keep && left > 0 {
            *of_repository += 1;
            left -= 1;
        } else {
            gone.push(*id);
        }
    }
    gone
}

/// Removes what is outdated, and from the store what nothing that is left needs. Of those that are left it sets aside
/// what can never be put back, since nobody can tell what such a one needs, and gives why.
pub(super) fn prune(room: &Room) -> Result<Vec<(CheckpointId, String)>, CheckpointError> {
    let volume = &room.volume;
    let ids = volume.checkpoint_ids()?;
    // Whoever wrote one of another version may be back tomorrow. One that cannot be read is until it is set aside like
    // others of no repository.
    let repository = |id: &CheckpointId| match read(volume, *id) {
        Ok(manifest) => Some(manifest.repository),
        Err(CheckpointError::Foreign { .. }) if volume.checkpoint(*id).join(ALONE).exists() => None,
        Err(CheckpointError::Foreign { .. }) => Some(repository_of_any_version(volume, *id).unwrap_or_default()),
        Err(_) => Some(String::new()),
    };
    let alone: BTreeSet<CheckpointId> =
        alone(volume, &ids).into_iter().map(|manifest| manifest.checkpoint_id).collect();
    let loose: Vec<(CheckpointId, String)> = ids
        .iter()
        .filter(|id| !is_pinned(volume, **id) && !alone.contains(*id))
        .filter_map(|id| Some((*id, repository(id)?)))
        .collect();
    let held = ids.len() - loose.len();
    let gone = outdated(&loose, room.limits.checkpoints, CHECKPOINTS_PER_MACHINE.saturating_sub(held));
    if gone.is_empty() {
        return Ok(Vec::new());
    }
    for id in &gone {
        volume::remove(&volume.checkpoint(*id))?;
    }
    let (mut kept, mut damaged): (Vec<Listing>, Vec<(CheckpointId, String)>) = (Vec::new(), Vec::new());
    for id in ids.into_iter().filter(|id| !gone.contains(id)) {
        match read(volume, id).and_then(|manifest| listing(volume, &manifest)) {
            Ok(listing) => kept.extend(listing),
            Err(error) if is_damage(&error) => damaged.push((id, error.to_string())),
            Err(error) => {
                tracing::warn!("of the checkpoints' store nothing goes, because one may need it: {error}");
                return Ok(Vec::new());
            }
        }
    }
    for (id, _) in &damaged {
        volume.quarantine(&volume.checkpoint(*id), &room.mark(), room.limits.quarantined)?;
    }
    Store::new(&volume.chunks())?.prune(&kept)?;
    Ok(damaged)
}

/// Whether it can never be put back: not where reading failed only now, or where another version can.
pub(crate) fn is_damage(error: &CheckpointError) -> bool {
    match error {
        CheckpointError::Gone { .. } | CheckpointError::Damaged { .. } => true,
        CheckpointError::Snapshot(snapshot::Error::Damaged { .. }) => true,
        CheckpointError::Snapshot(snapshot::Error::Io { source, .. }) => source.kind() == io::ErrorKind::NotFound,
        CheckpointError::Foreign { .. }
        | CheckpointError::Io(_)
        | CheckpointError::Git(_)
        | CheckpointError::Worktree(_)
        | CheckpointError::NotInPlace(_) => false,
    }
}
