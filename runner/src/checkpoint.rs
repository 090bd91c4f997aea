//! Checkpoints (row FLY-034): what a command left behind, saved on the volume.
//!
//! A checkpoint is a directory with `manifest.json` and, where files were changed
//! or added, their `listing`; what they are made of is in the volume's store of
//! chunks, once however many checkpoints hold it. It is measured against the commit
//! that was checked out, so it can be put back wherever the mirror is. It is on disk
//! before its name is: half a checkpoint is never seen. The newest few of each
//! repository are kept, and those that somebody pinned.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::TimeDelta;
use kit::tasks::blocking;
use serde::Serialize;
use snapshot::{Listing, Saved, Store};
use wire::checkpoint::HeldCheckpoint;
use wire::event::kind;
use wire::id::CheckpointId;

use crate::agent::sessions;
use crate::git::GitError;
use crate::health;
use crate::mirror;
use crate::orders::{CONFIRMED_WITHIN, NotOurs, Orders};
use crate::relief;
use crate::room::Room;
use crate::volume::{self, Volume};
use crate::workspace::{self, CheckoutError, Marker, Paths};

pub(crate) mod changes;
pub(crate) mod format;
mod kept;
mod prune;
pub(crate) mod rewind;
mod summary;
pub(crate) mod unpushed;
use changes::Changes;
use format::{Manifest, RelativePath, VERSION, Versioned};
pub(crate) use kept::kept_work;
pub(crate) use prune::is_damage;
pub(crate) use summary::summary;
use unpushed::Kept;
pub(crate) use unpushed::{is_beside_branches, unfinished_work};

/// The file that makes a directory a checkpoint.
pub(crate) const MANIFEST: &str = "manifest.json";
const LISTING: &str = "listing";
/// Beside a workspace that began from a checkpoint: the listing of that one.
const BEGUN: &str = "begun";
/// The file that keeps a checkpoint whatever else is saved.
const PIN: &str = "pinned";
/// The file that says that nothing else has what was not committed.
const ALONE: &str = "alone";
/// Checkpoints are kept for that, so many on a volume.
const ALONE_KEPT: usize = 20;

/// Why a workspace was not saved, or not put back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckpointError {
    #[error(transparent)]
    Git(#[from] GitError),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Snapshot(#[from] snapshot::Error),
    #[error("what was not committed in another worktree of the repository cannot be kept: {0}")]
    Worktree(String),
    #[error("checkpoint {id} is gone: it is not on this machine")]
    Gone { id: CheckpointId },
    #[error("checkpoint {id} is of version {version}, which another version of the runner reads")]
    Foreign { id: CheckpointId, version: u32 },
    #[error("checkpoint {id} is damaged: {reason}")]
    Damaged { id: CheckpointId, reason: String },
    #[error("it cannot be put back where it is: {0}")]
    NotInPlace(&'static str),
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
    stored_bytes: u64,
    unpushed: Vec<String>,
    /// What no commit has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left: Vec<String>,
    /// Of one that was put back: because a task begins from it, and not because something was damaged.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    asked: bool,
    /// Of one that was put back: into the tree that was there, of which only what differed was written.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    in_place: bool,
}

impl CheckpointPayload {
    /// Of one that a task begins from.
    pub(crate) fn asked(self) -> Self {
        Self { asked: true, ..self }
    }

    /// Of one that was put back where a tree was.
    pub(crate) fn in_place(self) -> Self {
        Self { in_place: true, ..self }
    }
}

impl From<&Manifest> for CheckpointPayload {
    fn from(manifest: &Manifest) -> Self {
        Self {
            checkpoint_id: manifest.checkpoint_id,
            repository: manifest.repository.clone(),
            commit: manifest.commit.clone(),
            files: manifest.files,
            deleted: manifest.deleted.len(),
            stored_bytes: manifest.stored_bytes,
            unpushed: manifest.unpushed.clone(),
            left: manifest.left.clone(),
            asked: false,
            in_place: false,
        }
    }
}

/// What an event says about work that was to be pushed and is not.
#[derive(Debug, Serialize)]
struct NotPushedPayload<'a> {
    /// Where it is in the mirror of its machine.
    references: &'a [String],
    reason: String,
}

/// Saves what is in a workspace and notes it in the marker; nobody may be working in it. What is pushed then waits for
/// the word that the lease is still ours, where there is one.
pub(crate) async fn save(room: &Arc<Room>, mut marker: Marker, orders: &Orders) -> Result<Manifest, CheckpointError> {
    let paths = marker.paths(&room.volume);
    if room.volume.is_tight()? {
        make_room(room, &paths).await?;
    }
    let changes = changes::find(&room.git, &paths).await?;
    let kept = unpushed::keep(&room.git, &paths, &marker, &changes, room.clock.now()).await?;
    let references = kept.references.clone();
    let (own, tree, known) = (room.clone(), paths.tree.clone(), marker.clone());
    let written = blocking(move || {
        let id = next_id(&own)?;
        let unfinished = volume::unfinished(&own.volume.checkpoint(id));
        let written = write(&own, &known, id, &tree, &changes, kept, &unfinished);
        if written.is_err() {
            // Most likely the volume is full: half a checkpoint is of no use to anybody.
            volume::remove(&unfinished)?;
        }
        written
    });
    let written = written.await;
    // Also where there is no room for a checkpoint, and before this counts as saved: who is killed now tries again.
    if !references.is_empty() {
        tidy_references(room, &marker, &paths, &references, orders).await;
    }
    let manifest = written?;
    marker.saved = Some(manifest.checkpoint_id);
    let own = room.clone();
    let damaged = blocking(move || {
        marker.write(&own.volume)?;
        prune::prune(&own)
    });
    for (id, reason) in damaged.await? {
        health::tell_checkpoint_aside(room, id, &reason).await;
    }
    Ok(manifest)
}

/// Gives up what can be made again, and of the workspace what no checkpoint holds: most often it is that which fills a
/// volume, and what is to be saved must not be lost for it.
async fn make_room(room: &Room, paths: &Paths) -> Result<(), CheckpointError> {
    if room.volume.is_full()? {
        room.volume.drop_ballast()?;
    }
    relief::relieve(room, room.volume.reserve()?, &paths.name).await?;
    if !room.volume.is_full()? {
        return Ok(());
    }
    tracing::warn!("the volume is full, so what is not saved of {} goes", paths.tree.display());
    let unsaved = changes::ignored(&room.git, paths).await?;
    let (volume, mark, paths) = (room.volume.clone(), room.mark(), paths.clone());
    blocking(move || {
        let unsaved = unsaved.iter().map(|path| paths.tree.join(path));
        let mut inside = unsaved.filter(|path| volume::stays_inside(&paths.tree, path));
        inside.try_for_each(|path| volume::remove(&path))?;
        [&paths.home, &paths.temporary].into_iter().try_for_each(|path| volume::remove(path))?;
        Ok(sessions::relieve(&volume, &mark)?)
    })
    .await
}

/// Pushes what nobody pushed, where that is wanted, and removes what the rule no longer keeps. The work is safe on
/// the volume by now; that neither can be done for a while costs nothing.
async fn tidy_references(room: &Room, marker: &Marker, paths: &Paths, references: &[String], orders: &Orders) {
    if marker.push {
        push(room, marker, paths, references, orders).await;
    }
    match unpushed::prune(&room.git, &paths.mirror, room.clock.now()).await {
        Ok(0) => (),
        Ok(gone) => tracing::info!("{gone} references to unfinished work are removed: it is merged, or old"),
        Err(error) => tracing::warn!("references to unfinished work cannot be tidied: {error}"),
    }
}

/// Only a lost lease keeps it from being pushed: whoever called the execution off still wants its work.
async fn push(room: &Room, marker: &Marker, paths: &Paths, references: &[String], orders: &Orders) {
    let reason = match orders.confirm_lease(CONFIRMED_WITHIN).await {
        Ok(()) => match unpushed::push(&room.git, paths, &marker.repository, references).await {
            Ok(()) => return,
            Err(error) => error.to_string(),
        },
        Err(NotOurs::Halted(_)) => {
            return tracing::warn!("unfinished work is on this machine alone; its lease is somebody else's now");
        }
        Err(unanswered @ NotOurs::Unanswered) => unanswered.to_string(),
    };
    tracing::warn!("unfinished work is on this machine alone; it cannot be pushed: {reason}");
    room.recorder.tell(Some(marker.subject), kind::WORK_NOT_PUSHED, &NotPushedPayload { references, reason }).await;
}

fn write(
    room: &Room,
    marker: &Marker,
    id: CheckpointId,
    tree: &Path,
    changes: &Changes,
    kept: Kept,
    unfinished: &Path,
) -> Result<Manifest, CheckpointError> {
    kit::files::make_private(unfinished)?;
    let stored = store(room, marker, tree, changes)?;
    let listing = stored.as_ref().map(|stored| stored.listing.write(&unfinished.join(LISTING))).transpose()?;
    let manifest = Manifest {
        version: VERSION,
        checkpoint_id: id,
        subject: marker.subject,
        repository: marker.repository.clone(),
        commit: marker.commit.clone(),
        created_at: room.clock.now(),
        files: stored.as_ref().map_or(0, |stored| stored.listing.entries().len()),
        deleted: changes.deleted.iter().map(|path| RelativePath::new(path)).collect(),
        listing,
        stored_bytes: stored.map_or(0, |stored| stored.stored),
        unpushed: kept.references,
        head: kept.head,
        uncommitted: kept.uncommitted,
        left: kept.left,
        submodules: changes.moved().map(|(path, commit)| (RelativePath::new(path), commit.clone())).collect(),
    };
    let text = serde_json::to_vec_pretty(&manifest).expect("a manifest is plain data");
    kit::files::replace(&unfinished.join(MANIFEST), &text, 0o600)?;
    if manifest.is_alone() {
        kit::files::replace(&unfinished.join(ALONE), b"", 0o600)?;
    }
    let finished = room.volume.checkpoint(id);
    fs::rename(unfinished, &finished)?;
    kit::files::sync_directory(finished.parent().unwrap_or(room.volume.root()))?;
    Ok(manifest)
}

/// Stores the changed files, where there are any. What was not touched since the workspace's last checkpoint, or since it
/// began from one, is not read.
fn store(room: &Room, marker: &Marker, tree: &Path, changes: &Changes) -> Result<Option<Saved>, CheckpointError> {
    let paths: Vec<PathBuf> = changes.files().cloned().collect();
    if paths.is_empty() {
        return Ok(None);
    }
    let base = earlier(&room.volume, marker).or_else(|| begun(&room.volume, marker));
    Ok(Some(Store::new(&room.volume.chunks())?.save(tree, &paths, base.as_ref())?))
}

/// The listing of the workspace's last checkpoint.
fn earlier(volume: &Volume, marker: &Marker) -> Option<Listing> {
    let manifest = read(volume, volume.checkpoint_ids().ok()?.pop()?).ok()?;
    let is_same = manifest.subject.execution_id == marker.subject.execution_id;
    is_same.then(|| listing(volume, &manifest).ok().flatten()).flatten()
}

/// The listing of the checkpoint that the workspace began from.
fn begun(volume: &Volume, marker: &Marker) -> Option<Listing> {
    Listing::read(&marker.paths(volume).own().join(BEGUN), marker.begun.as_ref()?).ok()
}

/// Reads a checkpoint's manifest.
pub(crate) fn read(volume: &Volume, id: CheckpointId) -> Result<Manifest, CheckpointError> {
    let damaged = |reason: String| CheckpointError::Damaged { id, reason };
    let text = fs::read(volume.checkpoint(id).join(MANIFEST));
    let text = text.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => CheckpointError::Gone { id },
        kind => CheckpointError::Io(io::Error::new(kind, format!("the manifest of checkpoint {id}: {error}"))),
    })?;
    let in_json = |error| damaged(format!("its manifest: {error}"));
    let Versioned { version, .. } = serde_json::from_slice(&text).map_err(in_json)?;
    if version != VERSION {
        return Err(CheckpointError::Foreign { id, version });
    }
    let manifest: Manifest = serde_json::from_slice(&text).map_err(in_json)?;
    if manifest.checkpoint_id != id {
        return Err(damaged("its manifest is another's".into()));
    }
    Ok(manifest)
}

/// What a checkpoint holds; nothing where nothing was changed or added.
pub(crate) fn listing(volume: &Volume, manifest: &Manifest) -> Result<Option<Listing>, CheckpointError> {
    let path = volume.checkpoint(manifest.checkpoint_id).join(LISTING);
    Ok(manifest.listing.as_ref().map(|hash| Listing::read(&path, hash)).transpose()?)
}

/// Reads a checkpoint and proves that all of it is there.
pub(crate) fn verify(volume: &Volume, id: CheckpointId) -> Result<Manifest, CheckpointError> {
    let manifest = read(volume, id)?;
    if let Some(listing) = listing(volume, &manifest)? {
        Store::new(&volume.chunks())?.verify(&listing)?;
    }
    Ok(manifest)
}

/// Whether a workspace, in which this differs, is as a checkpoint says it was left.
pub(crate) fn is_as_left(
    volume: &Volume,
    manifest: &Manifest,
    tree: &Path,
    changes: &Changes,
) -> Result<bool, CheckpointError> {
    let listing = listing(volume, manifest)?;
    // What was put back may be ignored, and so is not among what differs; whether it is as it was is looked at below.
    let is_known = |path: &PathBuf| listing.as_ref().is_some_and(|listing| listing.get(path).is_some());
    let same_deleted =
        changes.deleted.iter().map(PathBuf::as_path).eq(manifest.deleted.iter().map(RelativePath::as_path));
    if !changes.files().all(is_known) || !same_deleted {
        return Ok(false);
    }
    // A machine may have been away: every byte is looked at.
    Ok(listing.map_or(Ok(true), |listing| listing.is_as_it_was_to_the_byte(tree))?)
}

/// Gathers in the workspace's tree what of it lies elsewhere.
pub(crate) fn gather(paths: &Paths) -> io::Result<()> {
    unpushed::worktrees::bring_in(paths)
}

/// Makes a workspace that is as the checkpoint says, in place of what is there.
pub(crate) async fn restore(room: &Arc<Room>, manifest: &Manifest) -> Result<(), CheckpointError> {
    let orders = Orders::none();
    let mut marker = Marker::new(manifest.subject, &manifest.repository, &manifest.commit, manifest.created_at);
    marker.saved = Some(manifest.checkpoint_id);
    let paths = marker.paths(&room.volume);
    // What is there may be somebody's work, however damaged.
    room.volume.quarantine(&paths.tree, &room.mark(), room.limits.quarantined)?;
    workspace::discard(room, manifest.subject.execution_id)?;
    for directory in [&paths.tree, &paths.home, &paths.temporary] {
        kit::files::make_private(directory)?;
    }
    let references = mirror::list(room, &paths.mirror, &orders).await?;
    let configuration = workspace::configuration(&manifest.repository, &paths.mirror);
    workspace::borrow_objects(&paths, &manifest.commit, &references.packed(), &configuration)?;
    workspace::check_out(&room.git, &paths, &manifest.commit, &orders).await?;
    unpushed::give_back(&room.git, &paths, manifest).await?;
    let (room, manifest) = (room.clone(), manifest.clone());
    blocking(move || {
        let listing = listing(&room.volume, &manifest)?;
        put_back(&room.volume, &manifest, listing, &paths.tree)?;
        marker.write(&room.volume)?;
        room.volume.empty_trash()?;
        Ok(())
    })
    .await
}

/// Makes a workspace that was just checked out at the checkpoint's commit as the checkpoint says. Gives what its marker is
/// to say of that.
pub(crate) async fn begin_from(
    room: &Arc<Room>,
    manifest: &Manifest,
    paths: &Paths,
) -> Result<Option<String>, CheckpointError> {
    unpushed::give_back(&room.git, paths, manifest).await?;
    let (room, manifest, paths) = (room.clone(), manifest.clone(), paths.clone());
    blocking(move || {
        let listing = listing(&room.volume, &manifest)?;
        let listing = put_back(&room.volume, &manifest, listing, &paths.tree)?;
        Ok(begin_noted(listing, &paths))
    })
    .await
}

/// Notes what is in a tree in which nothing has run yet: whoever changes a file from now on moves its time of change.
fn begin_noted(listing: Option<Listing>, paths: &Paths) -> Option<String> {
    let noted = listing.map(|listing| listing.write_for(&paths.tree, &paths.own().join(BEGUN))).transpose();
    noted.unwrap_or_else(|error| {
        tracing::warn!("all of the workspace will be read to save it: {error}");
        None
    })
}

/// Gives what is in the tree now.
fn put_back(
    volume: &Volume,
    manifest: &Manifest,
    mut listing: Option<Listing>,
    tree: &Path,
) -> Result<Option<Listing>, CheckpointError> {
    let leads_out = |path: &RelativePath| CheckpointError::Damaged {
        id: manifest.checkpoint_id,
        reason: format!("it names {path:?}"),
    };
    for path in &manifest.deleted {
        let place = path.below(tree).ok_or_else(|| leads_out(path))?;
        // It may have become a directory.
        if !listing.as_ref().is_some_and(|listing| listing.has_below(path.as_path())) {
            volume::remove(&place)?;
        }
    }
    if let Some(listing) = &mut listing {
        Store::new(&volume.chunks())?.restore(listing, tree)?;
        complete_repositories(listing, tree)?;
    }
    Ok(listing)
}

/// Makes the directories without which git takes a repository for none, also where nothing is in them.
fn complete_repositories(listing: &Listing, tree: &Path) -> io::Result<()> {
    let heads = listing.entries().iter().map(snapshot::Entry::path).filter(|path| path.ends_with("HEAD"));
    let repositories = heads.filter_map(Path::parent).filter(|place| {
        place.components().any(|part| part.as_os_str() == ".git") && listing.get(&place.join("config")).is_some()
    });
    let places = repositories.flat_map(|place| ["objects", "refs"].map(|name| tree.join(place).join(name)));
    places.filter(|place| fs::symlink_metadata(place).is_err()).try_for_each(fs::create_dir)
}

/// An id that sorts behind every checkpoint there is, even when the clock was put back.
fn next_id(room: &Room) -> io::Result<CheckpointId> {
    let id = CheckpointId::mint(room.clock.now(), room.chance.bytes());
    let newest = room.volume.checkpoint_ids()?.pop();
    Ok(match newest {
        Some(newest) if newest >= id => {
            CheckpointId::mint(newest.minted_at() + TimeDelta::milliseconds(1), room.chance.bytes())
        }
        _ => id,
    })
}

/// Every checkpoint of the volume, and whether it is pinned.
pub(crate) fn held(volume: &Volume) -> io::Result<Vec<HeldCheckpoint>> {
    let ids = volume.checkpoint_ids()?;
    Ok(ids.into_iter().map(|id| HeldCheckpoint { id, pinned: is_pinned(volume, id) }).collect())
}

/// Keeps a checkpoint whatever else is saved, or no longer. One that is not there is no error: the next poll says so.
pub(crate) fn pin(volume: &Volume, id: CheckpointId, pinned: bool) -> io::Result<()> {
    let directory = volume.checkpoint(id);
    let pin = directory.join(PIN);
    match pinned {
        true if directory.join(MANIFEST).is_file() => kit::files::replace(&pin, b"", 0o600),
        true => Ok(()),
        false => volume::remove(&pin),
    }
}

/// The newest checkpoints of executions that alone have what was not committed there, the newest first.
fn alone(volume: &Volume, ids: &[CheckpointId]) -> Vec<Manifest> {
    let marked = ids.iter().rev().filter(|id| volume.checkpoint(**id).join(ALONE).exists());
    let mut executions = BTreeSet::new();
    let newest = marked.filter_map(|id| read(volume, *id).ok());
    newest.filter(|manifest| executions.insert(manifest.subject.execution_id)).take(ALONE_KEPT).collect()
}

/// The repositories of which a checkpoint is pinned, or holds anything at all: without what is in their mirrors it
/// cannot be put back. One that cannot be read never is.
pub(crate) fn needed_repositories(volume: &Volume) -> io::Result<Vec<String>> {
    let needed = |id: CheckpointId| match read(volume, id) {
        Ok(manifest) => (is_pinned(volume, id) || !manifest.is_empty()).then_some(manifest.repository),
        Err(CheckpointError::Foreign { .. }) => repository_of_any_version(volume, id),
        Err(_) => None,
    };
    Ok(volume.checkpoint_ids()?.into_iter().filter_map(needed).collect())
}

fn repository_of_any_version(volume: &Volume, id: CheckpointId) -> Option<String> {
    let manifest = fs::read(volume.checkpoint(id).join(MANIFEST)).ok()?;
    serde_json::from_slice::<Versioned>(&manifest).ok()?.repository
}

fn is_pinned(volume: &Volume, id: CheckpointId) -> bool {
    volume.checkpoint(id).join(PIN).exists()
}

#[cfg(test)]
mod tests;
