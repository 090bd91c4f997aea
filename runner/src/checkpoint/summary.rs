//! What the control plane is told of a checkpoint.

use std::path::Path;

use snapshot::{Content, Entry};
use wire::checkpoint::{ChangeKind, FileChange, SavedCheckpoint};
use wire::limit::{CHECKPOINT_PATHS, CHECKPOINT_REFERENCES};

use super::format::Manifest;
use super::{CheckpointError, listing};
use crate::volume::Volume;

/// Tells of a checkpoint that is on the volume.
pub(crate) fn summary(volume: &Volume, manifest: &Manifest) -> Result<SavedCheckpoint, CheckpointError> {
    let listing = listing(volume, manifest)?;
    let written = listing.iter().flat_map(|listing| listing.entries()).map(written);
    let deleted = manifest.deleted.iter().map(|path| FileChange {
        path: show(path.as_path()),
        change: ChangeKind::Deleted,
        bytes: 0,
        digest: None,
    });
    // Deleted ones first: they are few, and what was lost is what people look for.
    let changes = deleted.chain(written).take(CHECKPOINT_PATHS).collect();
    Ok(SavedCheckpoint {
        id: manifest.checkpoint_id,
        execution_id: manifest.subject.execution_id,
        commit: manifest.commit.clone(),
        saved_at: manifest.created_at,
        files: manifest.files as u64,
        deleted: manifest.deleted.len() as u64,
        stored_bytes: manifest.stored_bytes,
        unpushed: manifest.unpushed.iter().take(CHECKPOINT_REFERENCES).cloned().collect(),
        changes,
    })
}

fn written(entry: &Entry) -> FileChange {
    let bytes = match &entry.content {
        Content::File { size, .. } | Content::Sparse { size, .. } => *size,
        Content::Link { target } => target.len() as u64,
    };
    FileChange { path: show(entry.path()), change: ChangeKind::Written, bytes, digest: Some(entry.digest()) }
}

fn show(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
