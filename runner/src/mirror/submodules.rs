//! What the submodules of a repository had when they were fetched last, so that the next workspace fetches only what is
//! new of them: one bare repository beside the mirror, for all of a repository's submodules together.
//!
//! It answers no question about a remote and opens none. Each submodule's remote is asked each time, with the credentials
//! that are its own, and gives out what there is; only bytes that are here need not come from there. A workspace gets
//! copies of what its submodules' branches and tags lead to, and borrows nothing. It is no other repository's, because what
//! a commit may name is what its own repository's credentials open ([`crate::git::address`]).

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use kit::tasks::blocking;
use wire::worker::repository_name;

use super::{begin, fetch_arguments};
use crate::git::{GitError, Place};
use crate::orders::Orders;
use crate::room::Room;
use crate::volume;

/// Takes over what came for the submodules of a workspace, in which no command has run yet.
pub(crate) async fn keep(room: &Room, repository: &str, tree: &Path, orders: &Orders) -> Result<(), GitError> {
    let name = repository_name(repository);
    let store = room.volume.submodules(&name);
    let modules = tree.join(".git/modules");
    let from = modules.clone();
    let found = blocking(move || modules_below(&from)).await.map_err(GitError::View)?;
    if found.is_empty() {
        return Ok(());
    }
    let _turn = room.turns.take(&turn(&name), orders).await.map_err(GitError::Halted)?;
    if !store.exists() {
        let unfinished = volume::unfinished(&store);
        begin(room, &unfinished, orders).await?;
        fs::rename(unfinished, &store).map_err(GitError::View)?;
    }
    let question: String = found.iter().map(|module| format!("{}\n", module.head)).collect();
    let told = room.git.run(Place::bare(&store), ["cat-file", "--batch-check"], question.as_bytes(), orders).await?;
    let told = String::from_utf8_lossy(&told);
    let is_new = |answer: &str| !answer.contains(" commit ");
    let new: Vec<&Module> = found.iter().zip(told.lines()).filter(|(_, told)| is_new(told)).map(|(it, _)| it).collect();
    for module in &new {
        let to = format!("refs/submodules/{}", key(&module.place, &modules));
        let mut arguments = fetch_arguments(module.place.as_os_str());
        arguments.extend([format!("+refs/*:{to}/refs/*").into(), format!("+HEAD:{to}/HEAD").into()]);
        room.git.run(Place::bare(&store), arguments, b"", orders).await?;
    }
    Ok(())
}

/// What whoever writes there takes.
pub(super) fn turn(name: &str) -> String {
    format!("submodules of {name}")
}

/// A submodule's repository, and what its HEAD says.
struct Module {
    place: PathBuf,
    head: String,
}

fn modules_below(modules: &Path) -> io::Result<Vec<Module>> {
    let read = |place: PathBuf| {
        let head = fs::read_to_string(place.join("HEAD")).ok()?.trim().to_owned();
        Some(Module { place, head })
    };
    Ok(below(modules)?.into_iter().filter_map(read).collect())
}

/// The repositories of submodules that are kept with a workspace's own, and those of theirs, by their directories; a
/// submodule's name may have several parts.
pub(crate) fn below(modules: &Path) -> io::Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    // A command may have taken our right to read away: what cannot be read holds nobody's checkpoint up.
    let Ok(entries) = fs::read_dir(modules) else { return Ok(found) };
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            let is_one = path.join("HEAD").exists() && path.join("objects").exists();
            found.extend(below(&if is_one { path.join("modules") } else { path.clone() })?);
            found.extend(is_one.then_some(path));
        }
    }
    Ok(found)
}

/// A word for a submodule that may be part of a reference.
fn key(place: &Path, modules: &Path) -> String {
    let name = repository_name(&place.strip_prefix(modules).unwrap_or(place).to_string_lossy());
    name.rsplit('-').next().unwrap_or_default().to_owned()
}
