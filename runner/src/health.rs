//! Whether what is on the volume can be trusted, and what to do where it cannot
//! (row FLY-035): at the start and after a machine was resumed, before new work.
//!
//! The ladder: a workspace that was not saved is saved; a checkpoint that is not
//! whole is set aside; a workspace that is not as its checkpoint says is put back
//! from it; where both are bad, the newest good checkpoint is put back; where there
//! is none, nothing is left and the next execution clones afresh. Damaged things
//! are set aside, not deleted, unless the volume is full. Each step is an event.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use kit::tasks::blocking;
use serde::Serialize;
use wire::event::{CheckedPayload, Health, kind};
use wire::id::{CheckpointId, ExecutionId};

use crate::checkpoint::format::Manifest;
use crate::checkpoint::{self, CheckpointPayload, changes, is_damage};
use crate::orders::Orders;
use crate::record::Subject;
use crate::room::Room;
use crate::workspace::{self, Marker};

#[derive(Serialize)]
struct Damaged {
    what: &'static str,
    name: String,
    reason: String,
}

/// Walks the ladder. What cannot be repaired is out of the way afterwards.
pub(crate) async fn check(room: &Arc<Room>) {
    settle_all(room).await;
    let good = newest_good(room).await;
    let Some(marker) = newest_workspace(room) else { return };
    let own = match &good {
        Some(manifest) if Some(manifest.checkpoint_id) == marker.saved => Some(manifest.clone()),
        _ => verified(room, marker.saved).await,
    };
    let health = match (is_as_left(room, &marker, own.as_ref()).await, own, good) {
        (Ok(()), Some(_), _) => Health::Good,
        (Ok(()), None, _) => {
            settle(room, marker.subject.execution_id, true).await;
            Health::Good
        }
        (Err(reason), Some(own), _) => match Box::pin(checkpoint::rewind::mend(room, &marker, &own)).await {
            Ok(()) => {
                tell_put_back(room, &own, CheckpointPayload::from(&own).in_place(), &reason).await;
                Health::RolledBack
            }
            Err(error) => {
                tracing::debug!("the workspace is put back from nothing: {error}");
                put_back(room, &own, &reason).await
            }
        },
        (Err(reason), None, Some(other)) => {
            set_workspace_aside(room, marker.subject.execution_id, Some(marker.subject), &reason).await;
            put_back(room, &other, &reason).await
        }
        (Err(reason), None, None) => {
            set_workspace_aside(room, marker.subject.execution_id, Some(marker.subject), &reason).await;
            Health::Afresh
        }
    };
    room.recorder.tell(Some(marker.subject), kind::VOLUME_CHECKED, &CheckedPayload { health }).await;
}

/// Sees to it that every workspace is saved; those of killed runners are not yet.
pub(crate) async fn settle_all(room: &Arc<Room>) {
    for id in room.volume.execution_ids().unwrap_or_default() {
        settle(room, id, false).await;
    }
}

/// As [`settle_all`], for all but one, in which work is under way.
pub(crate) async fn settle_others(room: &Arc<Room>, keep: ExecutionId) {
    for id in room.volume.execution_ids().unwrap_or_default().into_iter().filter(|id| *id != keep) {
        settle(room, id, false).await;
    }
}

/// Saves one workspace that is not saved, or always where `again`. One that cannot be saved is set aside.
async fn settle(room: &Arc<Room>, id: ExecutionId, again: bool) {
    let marker = match Marker::read(&room.volume, id) {
        Ok(Some(marker)) => marker,
        Ok(None) if !room.volume.execution(id).join("execution.json").exists() => {
            // No command has run there yet: there is nothing to lose.
            if let Err(error) = workspace::discard(room, id) {
                tracing::warn!("the half-made workspace {id} cannot be removed: {error}");
            }
            return;
        }
        Ok(None) => return set_workspace_aside(room, id, None, "its marker cannot be read").await,
        Err(error) => return set_workspace_aside(room, id, None, &error.to_string()).await,
    };
    // One whose checkpoint is gone is no more saved than one that has none.
    if !again && workspace::is_saved(&room.volume, id).unwrap_or(false) {
        return;
    }
    let subject = marker.subject;
    // Its lease ended with the runner that had it, if not before.
    match checkpoint::save(room, marker, &Orders::none()).await {
        Ok(manifest) => {
            let payload = CheckpointPayload::from(&manifest);
            room.recorder.tell(Some(subject), kind::CHECKPOINT_SAVED, &payload).await;
        }
        Err(error) => set_workspace_aside(room, id, Some(subject), &format!("it cannot be saved: {error}")).await,
    }
}

/// The newest checkpoint that is whole. Newer ones that are not are set aside.
async fn newest_good(room: &Arc<Room>) -> Option<Manifest> {
    for id in room.volume.checkpoint_ids().unwrap_or_default().into_iter().rev() {
        let checked = room.clone();
        let error = match blocking(move || checkpoint::verify(&checked.volume, id)).await {
            Ok(manifest) => return Some(manifest),
            Err(error) if is_damage(&error) => error,
            // Whoever wrote it may be back tomorrow, and so may be what reads it.
            Err(error) => {
                tracing::warn!("a checkpoint is passed over: {error}");
                continue;
            }
        };
        let moved = room.volume.quarantine(&room.volume.checkpoint(id), &room.mark(), room.limits.quarantined);
        if let Err(error) = moved {
            tracing::warn!("the damaged checkpoint {id} cannot be set aside: {error}");
        }
        tell_checkpoint_aside(room, id, &error.to_string()).await;
    }
    None
}

async fn verified(room: &Arc<Room>, id: Option<CheckpointId>) -> Option<Manifest> {
    let (room, id) = (room.clone(), id?);
    blocking(move || checkpoint::verify(&room.volume, id)).await.ok()
}

fn newest_workspace(room: &Room) -> Option<Marker> {
    let ids = room.volume.execution_ids().unwrap_or_default();
    ids.into_iter().rev().find_map(|id| Marker::read(&room.volume, id).ok().flatten())
}

/// Compares a workspace with its checkpoint, or, where that is gone, only looks whether git can work with it.
async fn is_as_left(room: &Arc<Room>, marker: &Marker, manifest: Option<&Manifest>) -> Result<(), String> {
    let paths = marker.paths(&room.volume);
    if !workspace::is_laid_out(&paths) {
        return Err("parts of it are missing".into());
    }
    let changes = changes::find(&room.git, &paths).await.map_err(|error| error.to_string())?;
    let Some(manifest) = manifest.cloned() else { return Ok(()) };
    let room = room.clone();
    let as_left = blocking(move || checkpoint::is_as_left(&room.volume, &manifest, &paths.tree, &changes)).await;
    match as_left {
        Ok(true) => Ok(()),
        Ok(false) => Err("its files are not as they were left".into()),
        Err(error) => Err(error.to_string()),
    }
}

async fn put_back(room: &Arc<Room>, manifest: &Manifest, reason: &str) -> Health {
    let id = manifest.subject.execution_id;
    match checkpoint::restore(room, manifest).await {
        Ok(()) => {
            tell_put_back(room, manifest, CheckpointPayload::from(manifest), reason).await;
            Health::RolledBack
        }
        Err(error) => {
            let reason = format!("{reason}, and it cannot be put back: {error}");
            // Its checkpoint holds what was done in it.
            let moved = room.volume.quarantine(&room.volume.workspace(id), &room.mark(), room.limits.quarantined);
            forget_workspace(room, id, moved, Some(manifest.subject), &reason).await;
            Health::Afresh
        }
    }
}

async fn tell_put_back(room: &Arc<Room>, manifest: &Manifest, payload: CheckpointPayload, reason: &str) {
    let id = manifest.subject.execution_id;
    tell_damage(room, Some(manifest.subject), "workspace", id.to_string(), reason).await;
    room.recorder.tell(Some(manifest.subject), kind::CHECKPOINT_RESTORED, &payload).await;
    tracing::info!("the workspace {id} was put back from checkpoint {}", manifest.checkpoint_id);
}

/// Sets a workspace aside that no checkpoint holds.
async fn set_workspace_aside(room: &Arc<Room>, id: ExecutionId, subject: Option<Subject>, reason: &str) {
    if let Ok(Some(marker)) = Marker::read(&room.volume, id)
        && let Err(error) = checkpoint::gather(&marker.paths(&room.volume))
    {
        tracing::warn!("worktrees of {id} that lie elsewhere are not set aside with it: {error}");
    }
    let moved = room.volume.quarantine_work(&room.volume.workspace(id), &room.mark());
    forget_workspace(room, id, moved, subject, reason).await;
}

async fn forget_workspace(
    room: &Arc<Room>,
    id: ExecutionId,
    moved: io::Result<PathBuf>,
    subject: Option<Subject>,
    reason: &str,
) {
    if let Err(error) = moved.and_then(|_| workspace::discard(room, id)) {
        tracing::warn!("the damaged workspace {id} cannot be set aside: {error}");
    }
    tell_damage(room, subject, "workspace", id.to_string(), reason).await;
}

/// A checkpoint that can never be put back was set aside.
pub(crate) async fn tell_checkpoint_aside(room: &Arc<Room>, id: CheckpointId, reason: &str) {
    tell_damage(room, None, "checkpoint", id.to_string(), reason).await;
}

/// Something that was set aside is gone for good.
pub(crate) async fn tell_removed(room: &Arc<Room>, name: String) {
    let reason = "it had been set aside, and the volume is full: it is removed";
    tell_damage(room, None, "what was set aside", name, reason).await;
}

async fn tell_damage(room: &Arc<Room>, subject: Option<Subject>, what: &'static str, name: String, reason: &str) {
    tracing::warn!("the {what} {name} is damaged: {reason}");
    room.recorder.tell(subject, kind::VOLUME_DAMAGED, &Damaged { what, name, reason: reason.into() }).await;
}

#[cfg(test)]
mod tests;
