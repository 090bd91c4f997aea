//! Checkpoints (row FLY-034): what a command left behind, saved on the volume.
//!
//! A checkpoint is a directory with `manifest.json` and, where files were changed
//! or added, `changes.tar.zst`. It is measured against the commit that was checked
//! out, so it can be put back wherever the mirror is. It is on disk before its
//! name is: half a checkpoint is never seen. The newest few are kept.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;

use chrono::DateTime;
use serde::Serialize;
use wire::id::CheckpointId;

use crate::git::GitError;
use crate::mirror;
use crate::orders::Orders;
use crate::room::{Room, blocking};
use crate::volume::{self, Volume};
use crate::workspace::{self, CheckoutError, Marker};

pub(crate) mod changes;
pub(crate) mod format;
mod unpushed;
use changes::Changes;
use format::{Archive, Content, Hashing, Manifest, RelativePath, Saved, VERSION};

/// The file that makes a directory a checkpoint.
pub(crate) const MANIFEST: &str = "manifest.json";
const ARCHIVE: &str = "changes.tar.zst";
/// Source code compresses well long before zstd gets slow.
const LEVEL: i32 = 3;

/// Why a workspace was not saved, or not put back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckpointError {
    #[error(transparent)]
    Git(#[from] GitError),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("checkpoint {id} is damaged: {reason}")]
    Damaged { id: CheckpointId, reason: String },
}

impl From<CheckoutError> for CheckpointError {
    fn from(error: CheckoutError) -> Self {
        match error {
            CheckoutError::Git(error) => Self::Git(error),
            CheckoutError::Io(error) => Self::Io(error),
        }
    }
}

/// What an event says about a checkpoint.
#[derive(Debug, Serialize)]
pub(crate) struct CheckpointPayload {
    checkpoint_id: CheckpointId,
    repository: String,
    commit: String,
    files: usize,
    deleted: usize,
    archive_bytes: u64,
    unpushed: Vec<String>,
}

impl From<&Manifest> for CheckpointPayload {
    fn from(manifest: &Manifest) -> Self {
        Self {
            checkpoint_id: manifest.checkpoint_id,
            repository: manifest.repository.clone(),
            commit: manifest.commit.clone(),
            files: manifest.files.len(),
            deleted: manifest.deleted.len(),
            archive_bytes: manifest.archive.as_ref().map_or(0, |archive| archive.size),
            unpushed: manifest.unpushed.clone(),
        }
    }
}

/// Saves what is in a workspace and notes it in the marker; nobody may be working in it.
pub(crate) async fn save(room: &Arc<Room>, mut marker: Marker) -> Result<Manifest, CheckpointError> {
    let paths = marker.paths(&room.volume);
    let unpushed = unpushed::keep(&room.git, &paths, &marker).await?;
    let listed = changes::list(&room.git, &paths).await?;
    let room = room.clone();
    blocking(move || {
        let id = next_id(&room)?;
        let unfinished = room.volume.unfinished(&room.volume.checkpoint(id));
        let written = write(&room, &marker, id, &paths.tree, &listed, unpushed, &unfinished);
        if written.is_err() {
            // Most likely the volume is full: half a checkpoint is of no use to anybody.
            volume::remove(&unfinished)?;
        }
        let manifest = written?;
        marker.saved = Some(id);
        marker.write(&room.volume)?;
        prune(&room.volume, room.limits.checkpoints)?;
        Ok(manifest)
    })
    .await
}

fn write(
    room: &Room,
    marker: &Marker,
    id: CheckpointId,
    tree: &Path,
    listed: &[u8],
    unpushed: Vec<String>,
    unfinished: &Path,
) -> io::Result<Manifest> {
    let changes = changes::sort(tree, listed)?;
    volume::make_private(unfinished)?;
    let (files, archive) = write_archive(tree, &changes, &unfinished.join(ARCHIVE))?;
    let manifest = Manifest {
        version: VERSION,
        checkpoint_id: id,
        subject: marker.subject,
        repository: marker.repository.clone(),
        commit: marker.commit.clone(),
        created_at: room.clock.now(),
        files,
        deleted: changes.deleted.iter().map(|path| RelativePath::new(path)).collect(),
        archive,
        unpushed,
    };
    let text = serde_json::to_vec_pretty(&manifest).expect("a manifest is plain data");
    kit::files::replace(&unfinished.join(MANIFEST), &text, 0o600)?;
    let finished = room.volume.checkpoint(id);
    fs::rename(unfinished, &finished)?;
    kit::files::sync_directory(finished.parent().unwrap_or(room.volume.root()))?;
    Ok(manifest)
}

/// Reads a checkpoint and proves that all of it is there.
pub(crate) fn verify(volume: &Volume, id: CheckpointId) -> Result<Manifest, CheckpointError> {
    let directory = volume.checkpoint(id);
    let damaged = |reason: String| CheckpointError::Damaged { id, reason };
    let text = fs::read(directory.join(MANIFEST)).map_err(|error| damaged(format!("its manifest: {error}")))?;
    let manifest: Manifest =
        serde_json::from_slice(&text).map_err(|error| damaged(format!("its manifest: {error}")))?;
    if manifest.version != VERSION || manifest.checkpoint_id != id {
        return Err(damaged("its manifest is another's".into()));
    }
    if let Some(archive) = &manifest.archive {
        let hash = File::open(directory.join(ARCHIVE)).and_then(|file| {
            let mut reader = Hashing::new(file);
            io::copy(&mut reader, &mut io::sink())?;
            Ok(reader.finish().1)
        });
        match hash {
            Ok(hash) if hash == archive.blake3 => (),
            Ok(_) => return Err(damaged("its archive has another hash".into())),
            Err(error) => return Err(damaged(format!("its archive: {error}"))),
        }
    }
    Ok(manifest)
}

/// Makes a workspace that is as the checkpoint says, in place of what is there.
pub(crate) async fn restore(room: &Arc<Room>, manifest: &Manifest) -> Result<(), CheckpointError> {
    let orders = Orders::none();
    let mut marker = Marker::new(manifest.subject, &manifest.repository, &manifest.commit, manifest.created_at);
    marker.saved = Some(manifest.checkpoint_id);
    let paths = marker.paths(&room.volume);
    workspace::discard(room, manifest.subject.execution_id)?;
    for directory in [&paths.tree, &paths.home, &paths.temporary] {
        volume::make_private(directory)?;
    }
    let references = mirror::list(room, &paths.mirror, &orders).await?;
    let configuration = workspace::configuration(&manifest.repository);
    workspace::borrow_objects(&paths, &manifest.commit, &references.packed(), &configuration)?;
    workspace::check_out(&room.git, &paths, &manifest.commit, &orders).await?;
    let (room, manifest) = (room.clone(), manifest.clone());
    blocking(move || {
        put_back(&room.volume, &manifest, &paths.tree)?;
        marker.write(&room.volume)?;
        room.volume.empty_trash()?;
        Ok(())
    })
    .await
}

fn write_archive(tree: &Path, changes: &Changes, path: &Path) -> io::Result<(Vec<Saved>, Option<Archive>)> {
    if changes.present.is_empty() {
        return Ok((Vec::new(), None));
    }
    let encoder = zstd::Encoder::new(Hashing::new(File::create(path)?), LEVEL)?;
    let mut builder = tar::Builder::new(encoder);
    let mut files = Vec::with_capacity(changes.present.len());
    for relative in &changes.present {
        let content = append(&mut builder, &tree.join(relative), relative)?;
        files.push(Saved { path: RelativePath::new(relative), content });
    }
    let (file, blake3, size) = builder.into_inner()?.finish()?.finish();
    file.sync_all()?;
    Ok((files, Some(Archive { blake3, size })))
}

fn append<W: io::Write>(builder: &mut tar::Builder<W>, path: &Path, relative: &Path) -> io::Result<Content> {
    let meta = fs::symlink_metadata(path)?;
    let mut header = tar::Header::new_gnu();
    header.set_metadata(&meta);
    if meta.is_symlink() {
        let target = fs::read_link(path)?;
        header.set_size(0);
        builder.append_link(&mut header, relative, &target)?;
        return Ok(Content::Link { target: RelativePath::new(&target) });
    }
    let mut reader = Hashing::new(File::open(path)?);
    builder.append_data(&mut header, relative, &mut reader)?;
    let (_, blake3, size) = reader.finish();
    Ok(Content::File { blake3, size, mode: meta.permissions().mode() & 0o777 })
}

fn put_back(volume: &Volume, manifest: &Manifest, tree: &Path) -> Result<(), CheckpointError> {
    let damaged = |reason: String| CheckpointError::Damaged { id: manifest.checkpoint_id, reason };
    let place = |path: &RelativePath| path.below(tree).ok_or_else(|| damaged(format!("it names {path:?}")));
    for path in &manifest.deleted {
        volume::remove(&place(path)?)?;
    }
    if manifest.archive.is_none() {
        return Ok(());
    }
    let archive = File::open(volume.checkpoint(manifest.checkpoint_id).join(ARCHIVE))?;
    let mut archive = tar::Archive::new(zstd::Decoder::new(archive)?);
    let mut entries = archive.entries()?;
    for saved in &manifest.files {
        let mut entry = entries.next().ok_or_else(|| damaged("its archive is short".into()))??;
        let path = place(&saved.path)?;
        let parent = path.parent().unwrap_or(tree);
        volume::make_private(parent)?;
        // A link on the way would lead the file somewhere else.
        volume.inside(parent)?;
        volume::remove(&path)?;
        match &saved.content {
            Content::Link { target } => symlink(target.as_path(), &path)?,
            Content::File { mode, .. } => {
                io::copy(&mut entry, &mut File::create(&path)?)?;
                fs::set_permissions(&path, fs::Permissions::from_mode(*mode))?;
            }
        }
    }
    Ok(())
}

/// An id that sorts behind every checkpoint there is, even when the clock was put back.
fn next_id(room: &Room) -> io::Result<CheckpointId> {
    let id = CheckpointId::mint(room.clock.now(), room.chance.bytes());
    let newest = room.volume.checkpoint_ids()?.pop();
    Ok(match newest {
        Some(newest) if newest >= id => CheckpointId::mint(after(newest), room.chance.bytes()),
        _ => id,
    })
}

/// The millisecond behind the one in which a version 7 UUID was made.
fn after(id: CheckpointId) -> DateTime<chrono::Utc> {
    let uuid = id.uuid();
    let millis = uuid.as_bytes()[..6].iter().fold(0_i64, |millis, byte| (millis << 8) | i64::from(*byte));
    DateTime::from_timestamp_millis(millis + 1).unwrap_or(DateTime::UNIX_EPOCH)
}

fn prune(volume: &Volume, keep: usize) -> io::Result<()> {
    for old in volume.checkpoint_ids()?.into_iter().rev().skip(keep) {
        volume::remove(&volume.checkpoint(old))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
