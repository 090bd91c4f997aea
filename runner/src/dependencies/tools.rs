//! The package managers' programs: where they are, which version they are, and
//! how they are run.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::ecosystem::{Ecosystem, Versions};
use crate::command::program;
use crate::isolation::Openings;
use crate::orders::Orders;
use crate::process::{self, Bounds, RunError};
use crate::room::Room;
use crate::setup::NotReady;
use crate::volume;
use crate::workspace::Paths;

/// A package manager in the workspace, with the repository's caches on the volume and nothing secret. It runs what the
/// repository and its dependencies bring along, so it is kept apart as a command is.
pub(super) fn command(room: &Room, paths: &Paths, program: &str) -> io::Result<tokio::process::Command> {
    let mut command = kit::process::command(program);
    command.current_dir(&paths.tree).env_clear().envs(&room.environment);
    command.env("HOME", &paths.home).env("TMPDIR", &paths.temporary).env("CI", "true");
    room.isolation.enclose(&mut command, &Openings::of(paths, [room.volume.use_packages(&paths.name)?]))?;
    Ok(command)
}

/// Where the ecosystem's programs are, or the first that is not there.
pub(super) fn find(room: &Room, ecosystem: &Ecosystem, workspace: &Path) -> Result<BTreeMap<String, PathBuf>, String> {
    let path = room.environment.get("PATH").map(String::as_str).unwrap_or_default();
    let find = |tool: &String| match program::find(tool, path, workspace) {
        Ok(found) => Ok((tool.clone(), found)),
        Err(_) => Err(tool.clone()),
    };
    ecosystem.tools.iter().map(find).collect()
}

/// What each tool says about its version. Asking takes node half a second, so the answer is kept
/// for as long as the program's file stays the same.
pub(super) async fn versions(
    room: &Room,
    orders: &Orders,
    paths: &Paths,
    ecosystem: &Ecosystem,
    tools: &BTreeMap<String, PathBuf>,
) -> Result<Versions, NotReady> {
    let machine = |error: io::Error| NotReady::machine("reading tool versions", &error);
    let book = room.volume.root().join("tools.json");
    let text = kit::files::read_if_exists(&book).map_err(machine)?.unwrap_or_default();
    let mut known: BTreeMap<String, String> = serde_json::from_str(&text).unwrap_or_default();
    let mut versions = Versions::new();
    let mut is_new = false;
    for (tool, path) in tools {
        let identity = identity(path).map_err(machine)?;
        if !known.contains_key(&identity) {
            known.insert(identity.clone(), ask_version(room, orders, paths, path, ecosystem.question(tool)).await?);
            is_new = true;
        }
        versions.insert(tool.clone(), known[&identity].clone());
    }
    if is_new {
        let text = serde_json::to_vec(&known).expect("names and versions are plain data");
        volume::swap_in(&book, &text).map_err(machine)?;
    }
    Ok(versions)
}

async fn ask_version(
    room: &Room,
    orders: &Orders,
    paths: &Paths,
    path: &Path,
    question: &str,
) -> Result<String, NotReady> {
    let machine = |error| NotReady::machine(&format!("asking {} for its version", path.display()), &error);
    let mut asking = command(room, paths, &path.to_string_lossy()).map_err(machine)?;
    asking.arg(question);
    let bounds = Bounds { within: room.limits.install, keep: 4096 };
    match process::run(&mut asking, b"", bounds, orders).await {
        Ok(output) => Ok(String::from_utf8_lossy(&output.stdout.bytes).trim().to_owned()),
        Err(RunError::Halted(halt)) => Err(NotReady::Halted(halt)),
        Err(error) => Err(NotReady::machine(&format!("asking {} for its version", path.display()), &error)),
    }
}

/// Changes whenever the program's file is replaced, even by one with the same time stamp.
fn identity(path: &Path) -> io::Result<String> {
    let real = path.canonicalize()?;
    let meta = fs::metadata(&real)?;
    Ok(format!("{}:{}:{}:{}.{}", real.display(), meta.ino(), meta.len(), meta.ctime(), meta.ctime_nsec()))
}
