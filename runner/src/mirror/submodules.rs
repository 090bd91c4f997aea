//! What the submodules of a repository had when they were fetched last, so that the next workspace fetches only what is
//! new of them: one bare repository beside the mirror, for all of a repository's submodules together.
//!
//! It answers no question about a remote and opens none. Each submodule's remote is asked each time, with the credentials
//! that are its own, and gives out what there is; only bytes that are here need not come from there. A workspace gets
//! copies of what its submodules' branches and tags lead to, and borrows nothing. It is no other repository's, because what
//! a commit may name is what its own repository's credentials open ([`crate::git::address`]).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use kit::tasks::blocking;
use wire::worker::repository_name;

use super::{fetch_arguments, upkeep};
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
    let found = blocking(move || below(&from)).await.map_err(GitError::View)?;
    if found.is_empty() {
        return Ok(());
    }
    let _turn = room.turns.take(&format!("submodules of {name}"), orders).await.map_err(GitError::Halted)?;
    if !store.exists() {
        begin(room, &store, orders).await?;
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
    if !new.is_empty() && upkeep::has_many_packs(&store) {
        room.git.run(Place::bare(&store), ["repack", "--quiet", "--geometric=2", "-d"], b"", orders).await?;
    }
    Ok(())
}

async fn begin(room: &Room, store: &Path, orders: &Orders) -> Result<(), GitError> {
    let unfinished = volume::unfinished(store);
    volume::remove(&unfinished).map_err(GitError::View)?;
    let arguments = ["init", "--quiet", "--bare", "--template="].map(Into::into);
    let arguments = arguments.into_iter().chain([unfinished.as_os_str().to_owned()]);
    room.git.run(Place::default(), arguments, b"", orders).await?;
    fs::rename(unfinished, store).map_err(GitError::View)
}

/// A submodule's repository, and what its HEAD says.
struct Module {
    place: PathBuf,
    head: String,
}

/// The repositories of submodules, and those of theirs.
fn below(modules: &Path) -> io::Result<Vec<Module>> {
    let (mut found, mut directories) = (Vec::new(), vec![modules.to_owned()]);
    while let Some(directory) = directories.pop() {
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            match fs::read_to_string(entry.path().join("HEAD")) {
                Ok(head) => {
                    found.push(Module { place: entry.path(), head: head.trim().to_owned() });
                    directories.push(entry.path().join("modules"));
                }
                // A name may be a path.
                Err(_) if entry.file_type()?.is_dir() => directories.push(entry.path()),
                Err(_) => (),
            }
        }
    }
    Ok(found)
}

/// A word for a submodule that may be part of a reference.
fn key(place: &Path, modules: &Path) -> String {
    let name = repository_name(&place.strip_prefix(modules).unwrap_or(place).to_string_lossy());
    name.rsplit('-').next().unwrap_or_default().to_owned()
}
