//! Worktrees that a command made of its repository beside its own tree: in its temporary directory or its home, which
//! go with the workspace. No checkpoint has what is in them, so it is in a commit, or the workspace is not saved.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use kit::tasks::blocking;

use super::unfinished::{self, Most, NotCommitted, Work};
use super::{references, view};
use crate::checkpoint::changes::{self, Changes};
use crate::git::{Git, Place};
use crate::isolation::plan::TEMPORARY;
use crate::volume;
use crate::workspace::{Marker, Paths};

/// A worktree, and the directory of the repository that tells of it.
#[derive(Debug, Clone)]
struct Worktree {
    place: PathBuf,
    own: PathBuf,
}

/// Commits what is not committed in them. What their HEADs lead to is in the mirror by now. Gives the references.
pub(super) async fn keep(
    git: &Git,
    paths: &Paths,
    marker: &Marker,
    now: DateTime<Utc>,
) -> Result<Vec<String>, NotCommitted> {
    let mut kept = Vec::new();
    for (number, worktree) in beside(paths)?.into_iter().enumerate() {
        let head = view::text(&worktree.own.join("HEAD"))?;
        let head = references::readable(head.trim(), &marker.commit);
        let shown = view::make(&paths.tree.join(".git"), &paths.mirror, paths.own(), head)?;
        let Some((head, changes)) = look(git, &shown, &worktree).await? else { continue };
        let work = Work {
            paths: Paths { tree: worktree.place, index: worktree.own.join("index"), ..paths.clone() },
            reference: references::commit(marker.subject.execution_id, &format!("worktree-{number}")),
            base: head.clone(),
            parent: head,
            title: "Work in another worktree that was not committed".to_owned(),
            changes,
        };
        kept.extend(unfinished::commit(git, work, Most::ALONE, now).await?.reference);
    }
    Ok(kept)
}

/// Moves them into the workspace's repository, so that they are set aside with it.
pub(in crate::checkpoint) fn bring_in(paths: &Paths) -> io::Result<()> {
    for (number, worktree) in beside(paths)?.into_iter().enumerate() {
        fs::rename(worktree.place, paths.tree.join(".git").join(format!("worktree-{number}")))?;
    }
    Ok(())
}

/// Those that lie among what belongs to the execution.
fn beside(paths: &Paths) -> io::Result<Vec<Worktree>> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(paths.tree.join(".git/worktrees")) else { return Ok(found) };
    for entry in entries {
        let own = entry?.path();
        let text = view::text(&own.join("gitdir"))?;
        let Some(named) = Path::new(text.trim_end()).parent() else { continue };
        // The command may know its temporary directory by another name.
        let other = TEMPORARY.iter().find_map(|place| Some(paths.temporary.join(named.strip_prefix(place).ok()?)));
        let back = format!("gitdir: {}", own.display());
        let is_it = |place: &PathBuf| {
            let leads_back = view::text(&place.join(".git")).is_ok_and(|text| text.trim_end() == back);
            leads_back && place.starts_with(paths.own())
        };
        let places = [Some(named.to_owned()), other].into_iter().flatten();
        let place = places.filter_map(|place| place.canonicalize().ok()).find(is_it);
        found.extend(place.map(|place| Worktree { place, own }));
    }
    Ok(found)
}

/// Where its HEAD is, and what differs from that; nothing where nothing does.
async fn look(git: &Git, shown: &Path, worktree: &Worktree) -> Result<Option<(String, Changes)>, NotCommitted> {
    let Worktree { place, own } = worktree.clone();
    let index = own.join("index");
    if !fs::symlink_metadata(&index).is_ok_and(|meta| meta.is_file()) {
        return Ok(None);
    }
    let opened = place.clone();
    blocking(move || volume::open_up(&opened)).await?;
    let asked = Place { repository: Some(shown), tree: Some(&place), index: Some(&index) };
    let status = changes::status(git, asked, "all").await?;
    let Some(head) = status.head else { return Ok(None) };
    let changes = blocking(move || changes::sort(&place, &status.changed)).await?;
    Ok(changes.is_any().then_some((head, changes)))
}
