//! What a checkout alone does not bring: submodules are fetched, and a repository with
//! files in Git LFS is refused by name unless it says that pointers will do.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use kit::tasks::blocking;
use wire::execution::Failure;

use super::{Checkout, FILE};
use crate::checkpoint::changes;
use crate::git::address::Address;
use crate::git::complaint::{self, Complaint};
use crate::git::{Git, GitError, Place};
use crate::mirror::submodules;
use crate::orders::Orders;
use crate::room::Room;
use crate::setup::NotReady;
use crate::volume;
use crate::workspace::{self, Paths};

/// Completes a checkout.
pub(crate) async fn complete(
    room: &Room,
    orders: &Orders,
    paths: &Paths,
    repository: &str,
    wanted: &Checkout,
) -> Result<(), NotReady> {
    let has_submodules = fs::symlink_metadata(paths.tree.join(".gitmodules")).is_ok_and(|meta| meta.is_file());
    let with_submodules = wanted.submodules && has_submodules;
    if with_submodules {
        fetch_submodules(room, orders, paths, repository).await?;
    }
    if !wanted.lfs_pointers
        && let Some(name) = keeps_files_in_lfs(room, orders, paths, with_submodules).await?
    {
        return Err(NotReady::failed(
            Failure::InvalidSettings,
            format!(
                "{repository} keeps files in Git LFS ({name} says filter=lfs), which are not fetched; set \
                 checkout.lfs_pointers = true in {FILE}, and where the files are needed add [\"git\", \"lfs\", \"pull\"] \
                 to setup.commands and git-lfs to the machine's image"
            ),
        ));
    }
    Ok(())
}

/// The first file that says so, of all directories'.
async fn keeps_files_in_lfs(
    room: &Room,
    orders: &Orders,
    paths: &Paths,
    with_submodules: bool,
) -> Result<Option<String>, NotReady> {
    let own = paths.tree.join(".git");
    // Submodules are the workspace's own repository's, which no command has written to yet.
    let place = if with_submodules { workspace_itself(&own, paths) } else { paths.compared() };
    let options: &[&str] = if with_submodules { &["--recurse-submodules"] } else { &[] };
    let names = workspace::tracked(&room.git, place, options, ".gitattributes", orders).await;
    let names = names.map_err(|error| NotReady::by_git("listing the attributes of files", error))?;
    let tree = paths.tree.clone();
    let found = blocking(move || {
        let first = names.iter().find(|name| says_lfs(&tree.join(name)));
        first.map(|name| name.to_string_lossy().into_owned())
    });
    Ok(found.await)
}

fn workspace_itself<'a>(own: &'a Path, paths: &'a Paths) -> Place<'a> {
    Place { repository: Some(own), tree: Some(&paths.tree), index: None }
}

fn says_lfs(path: &Path) -> bool {
    // Git follows no link to attributes.
    let is_file = fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file());
    let says = |line: &str| !line.starts_with('#') && line.split_whitespace().any(|word| word == "filter=lfs");
    is_file && fs::read(path).is_ok_and(|text| String::from_utf8_lossy(&text).lines().any(says))
}

async fn fetch_submodules(room: &Room, orders: &Orders, paths: &Paths, repository: &str) -> Result<(), NotReady> {
    // Their addresses are the repository's to say, so they lead to other machines only, unless the
    // repository itself is on this one.
    let protocols = if repository.starts_with("file://") { "https:http:ssh:git:file" } else { "https:http:ssh:git" };
    let git = room.git.for_submodules(room.credentials.as_ref(), repository, protocols);
    let git = git.map_err(|error| NotReady::machine("configuring git for the submodules", &error))?;
    let own = paths.tree.join(".git");
    let place = workspace_itself(&own, paths);
    // Those that came out of a checkpoint stay as they are. There, git would go by what a command wrote.
    let links = changes::gitlinks(&git, place).await;
    let links = links.map_err(|error| NotReady::by_git("listing the submodules", error))?;
    let given_back: Vec<PathBuf> = links
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| fs::symlink_metadata(paths.tree.join(path).join(".git")).is_ok())
        .collect();
    // What is known of those that were given back is not known of what was fetched.
    let known = Some(room.volume.submodules(&paths.name)).filter(|_| given_back.is_empty());
    match update(room, &git, paths, known.as_deref(), &given_back, orders).await {
        Ok(()) => {
            if known.is_some() {
                remember(room, repository, paths, orders).await;
            }
            Ok(())
        }
        Err(GitError::Halted(halt)) => Err(NotReady::Halted(halt)),
        Err(error) => {
            let said = match &error {
                GitError::Failed { stderr, .. } => {
                    if let Some(message) = withheld(room, paths, repository, stderr) {
                        return Err(NotReady::failed(Failure::RepositoryUnreachable, message));
                    }
                    complaint::telling_line(stderr).to_owned()
                }
                other => other.to_string(),
            };
            Err(NotReady::failed(
                Failure::RepositoryUnreachable,
                format!(
                    "the submodules of {repository} cannot be fetched ({said}); check their addresses in .gitmodules \
                     and the access rights, or set checkout.submodules = false in {FILE}"
                ),
            ))
        }
    }
}

/// Fetches the submodules but for those that were given back. Where what is known of them already is of no use, without it.
async fn update(
    room: &Room,
    git: &Git,
    paths: &Paths,
    known: Option<&Path>,
    given_back: &[PathBuf],
    orders: &Orders,
) -> Result<(), GitError> {
    let own = paths.tree.join(".git");
    let update = async |known: Option<&Path>| {
        let mut arguments = ["submodule", "--quiet", "update", "--init", "--recursive"].map(OsString::from).to_vec();
        if let Some(known) = known {
            // Copied, so that the workspace needs it no longer.
            arguments.extend(["--reference".into(), known.into(), "--dissociate".into()]);
        }
        arguments.extend(["--", "."].map(OsString::from));
        arguments.extend(given_back.iter().map(|path| {
            let mut excluded = OsString::from(":(exclude,literal)");
            excluded.push(path);
            excluded
        }));
        git.run(workspace_itself(&own, paths), arguments, b"", orders).await.map(drop)
    };
    let Some(known) = known.filter(|known| known.is_dir()) else { return update(None).await };
    match update(Some(known)).await {
        Err(GitError::Failed { stderr, .. }) if is_blamed(known, &stderr) => {
            tracing::warn!("what is known of submodules is of no use: {}", complaint::telling_line(&stderr));
            let machine = GitError::View;
            room.volume.discard(known, &room.mark()).map_err(machine)?;
            // Half of it may have come, with references to what is not there.
            volume::remove(&own.join("modules")).map_err(machine)?;
            update(None).await
        }
        updated => updated,
    }
}

fn is_blamed(known: &Path, stderr: &str) -> bool {
    complaint::sort(stderr) == Complaint::Damaged || stderr.contains(&*known.to_string_lossy())
}

/// Takes over what came, once more from nothing where what is there is damaged. It only saves time.
async fn remember(room: &Room, repository: &str, paths: &Paths, orders: &Orders) {
    let known = room.volume.submodules(&paths.name);
    for _ in 0..2 {
        let error = match submodules::keep(room, repository, &paths.tree, orders).await {
            Ok(()) | Err(GitError::Halted(_)) => return,
            Err(error) => error,
        };
        tracing::warn!("what came for the submodules of {repository} is not kept: {error}");
        if let Err(error) = room.volume.discard(&known, &room.mark()) {
            return tracing::warn!("what is known of the submodules of {repository} cannot be removed: {error}");
        }
    }
}

/// What to say where a submodule could not be fetched because its repository has no claim to the credential.
fn withheld(room: &Room, paths: &Paths, repository: &str, stderr: &str) -> Option<String> {
    let url = complaint::unanswered(stderr)?;
    room.credentials.as_ref().filter(|helper| helper.withholds(url, repository))?;
    let place = complaint::uncloned(stderr).map(Path::new);
    let name = place.map(|place| place.strip_prefix(&paths.tree).unwrap_or(place).display().to_string());
    let name = name.map(|name| format!(" {name}")).unwrap_or_default();
    let owner = Address::of_url(repository).and_then(|top| Some(format!("below {}/ at its own host", top.owner()?)));
    let beside = owner.unwrap_or_else(|| "beside a repository with an owner in its path".to_owned());
    Some(format!(
        "the submodule{name} of {repository} cannot be fetched: {url} may not be read without a credential, and one for \
         a whole host is given to submodules only {beside}; where this repository may have it, give the runner a \
         credential with the path of it or of its owner, https://NAME:PASSWORD@HOST/PATH, or set \
         checkout.submodules = false in {FILE}"
    ))
}

#[cfg(test)]
mod tests;
