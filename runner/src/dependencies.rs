//! Dependencies (row FLY-033): installed once for each key, put into later
//! workspaces from the volume.
//!
//! A package manager is run only where its files are there and it is on the PATH.
//! A failed installation is never kept and ends the execution with the tool's own
//! words in the log.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wire::event::Stream;
use wire::execution::{Cache, Failure};

use crate::command::output::Chunker;
use crate::orders::Orders;
use crate::process::{self, Bounds, Output, RunError};
use crate::record::Story;
use crate::room::{Room, blocking};
use crate::setup::NotReady;
use crate::volume;
use crate::workspace::Paths;

mod ecosystem;
mod tools;
mod tree;
use ecosystem::{Ecosystem, Files, Leaves};
use tree::Used;

/// What a failed tool's output may take in the log.
const TOOL_OUTPUT_BYTES: usize = 256 * 1024;
/// A manifest or lockfile that is larger is not one.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Requirements files that one includes.
const INCLUDES_MAX: usize = 64;

/// Where dependencies came from.
enum Provided {
    By(Cache),
    /// They are not there, and the command can get them by itself.
    Without,
}

enum Installation {
    Done,
    Failed { output: Output, how: String },
}

/// What the command may use.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) cache: Option<Cache>,
    /// For a person: which tools, and what one could not do.
    pub(crate) detail: Vec<String>,
    /// Variables the command needs to find its dependencies.
    pub(crate) variables: BTreeMap<String, String>,
    /// Goes before the PATH.
    pub(crate) programs: Option<PathBuf>,
}

impl Ready {
    fn note(&mut self, ecosystem: &Ecosystem, cache: Cache) {
        metrics::counter!("runner_cache_total", "cache" => "dependencies", "result" => cache.as_str()).increment(1);
        // One that had to be installed decides: it is what the time went into.
        if self.cache != Some(Cache::Miss) {
            self.cache = Some(cache);
        }
        self.detail.push(ecosystem.name.to_owned());
    }
}

/// Makes the workspace's dependencies ready, from the volume or with its package managers.
pub(crate) async fn prepare(room: &Arc<Room>, story: &mut Story, paths: &Paths) -> Result<Ready, NotReady> {
    let tree = paths.tree.clone();
    let files = blocking(move || read_files(&tree)).await;
    let files = files.map_err(|error| NotReady::machine("reading the manifests", &error))?;
    let mut ready = Ready::default();
    for ecosystem in ecosystem::detect(&files) {
        match tools::find(room, ecosystem, &paths.tree) {
            Ok(tools) => {
                match provide(room, story, paths, ecosystem, &files, &tools).await? {
                    Provided::By(cache) => ready.note(ecosystem, cache),
                    Provided::Without => ready.detail.push(format!(
                        "{}: could not fetch beforehand, so the command fetches by itself",
                        ecosystem.name
                    )),
                }
                expose(room, ecosystem, paths, &mut ready);
            }
            Err(missing) => ready.detail.push(format!(
                "{}: {missing} is not on this machine, so the command will see no dependencies",
                ecosystem.name
            )),
        }
    }
    Ok(ready)
}

async fn provide(
    room: &Arc<Room>,
    story: &mut Story,
    paths: &Paths,
    ecosystem: &'static Ecosystem,
    files: &Files,
    tools: &BTreeMap<&'static str, PathBuf>,
) -> Result<Provided, NotReady> {
    let versions = tools::versions(room, story.orders(), paths, tools).await?;
    let key = ecosystem::key(ecosystem, files, &versions);
    let tree = room.volume.dependency_tree(&format!("{}-{key}", ecosystem.name));
    let machine = |error: io::Error| NotReady::machine("putting dependencies in place", &error);
    let (from, workspace) = (tree.clone(), paths.tree.clone());
    match blocking(move || tree::put(&from, &workspace)).await.map_err(machine)? {
        Used::Yes => return Ok(Provided::By(Cache::Hit)),
        Used::Absent => (),
        Used::Changed => {
            tracing::warn!("the dependency tree {} was changed since it was saved and is made anew", tree.display());
            volume::remove(&tree).map_err(machine)?;
            clear(&paths.tree, ecosystem).map_err(machine)?;
        }
    }
    room.volume.relieve().map_err(machine)?;
    for step in (ecosystem.steps)(&versions) {
        match install(room, story.orders(), paths, &step).await? {
            Installation::Done => (),
            Installation::Failed { output, .. } if ecosystem.may_go_without(&output.stderr.bytes) => {
                return Ok(Provided::Without);
            }
            Installation::Failed { output, how } => {
                log(story, &output).await;
                return Err(install_failed(&step, &how));
            }
        }
    }
    let (room, workspace, leaves) = (room.clone(), paths.tree.clone(), ecosystem.leaves);
    let kept = blocking(move || {
        let unfinished = room.volume.unfinished(&tree);
        match leaves {
            Leaves::Directories(name) => tree::save(&workspace, name, &unfinished, &tree)?,
            Leaves::Packages => tree::save_nothing(&unfinished, &tree)?,
        }
        tree::prune(room.volume.dependency_trees()?, room.limits.dependency_trees)
    });
    // The command can run all the same; the next one installs again.
    if let Err(error) = kept.await {
        tracing::warn!("installed dependencies could not be kept: {error}");
    }
    Ok(Provided::By(Cache::Miss))
}

/// Removes what a tree left in the workspace before it was found changed.
fn clear(workspace: &Path, ecosystem: &Ecosystem) -> io::Result<()> {
    match ecosystem.leaves {
        Leaves::Directories(name) => volume::remove(&workspace.join(name)),
        Leaves::Packages => Ok(()),
    }
}

async fn install(room: &Room, orders: &Orders, paths: &Paths, step: &[&str]) -> Result<Installation, NotReady> {
    let mut command = tools::command(room, paths, step[0]);
    command.args(&step[1..]);
    let bounds = Bounds { within: room.limits.install, keep: TOOL_OUTPUT_BYTES };
    match process::run(&mut command, b"", bounds, orders).await {
        Ok(output) if output.status.success() => Ok(Installation::Done),
        Ok(output) => {
            let how = format!("ended with {}", output.status);
            Ok(Installation::Failed { output, how })
        }
        Err(RunError::Halted(halt)) => Err(NotReady::Halted(halt)),
        Err(RunError::TimedOut(within)) => Err(install_failed(step, &format!("did not end within {within:?}"))),
        Err(RunError::Io(error)) => Err(NotReady::machine(&format!("starting {}", step.join(" ")), &error)),
    }
}

fn install_failed(step: &[&str], how: &str) -> NotReady {
    let shown = step.join(" ");
    NotReady::failed(
        Failure::InstallFailed,
        format!("{shown} {how}; what it said is in the log. Run it in a clean checkout and commit what it changes"),
    )
}

async fn log(story: &mut Story, output: &Output) {
    let mut chunks = Vec::new();
    let mut chunker = Chunker::new(u64::MAX);
    for kept in [&output.stdout, &output.stderr] {
        chunker.push(Stream::Stderr, &kept.bytes, &mut chunks);
    }
    chunker.finish(&mut chunks);
    for (stream, bytes) in chunks {
        story.log(stream, bytes).await;
    }
}

/// Lets the command find what was installed outside the places it looks in by itself.
fn expose(room: &Room, ecosystem: &Ecosystem, paths: &Paths, ready: &mut Ready) {
    let mut set = |name: &str, path: &Path| {
        ready.variables.insert(name.to_owned(), path.to_string_lossy().into_owned());
    };
    match ecosystem.leaves {
        Leaves::Packages => set("CARGO_HOME", &room.volume.packages("cargo")),
        Leaves::Directories(".venv") => {
            let environment = paths.tree.join(".venv");
            set("VIRTUAL_ENV", &environment);
            ready.programs = Some(environment.join("bin"));
        }
        Leaves::Directories(_) => (),
    }
}

/// The manifests and lockfiles at the workspace's root, and the files that requirements include.
fn read_files(workspace: &Path) -> io::Result<Files> {
    let mut files = Files::new();
    for name in ecosystem::names() {
        read_file(workspace, name, &mut files)?;
    }
    let mut waiting: Vec<String> =
        files.get("requirements.txt").map(|text| ecosystem::includes(text)).unwrap_or_default();
    let mut read = 0;
    while let Some(name) = waiting.pop().filter(|_| read < INCLUDES_MAX) {
        read += 1;
        if !files.contains_key(&name) && read_file(workspace, &name, &mut files)? {
            let directory = Path::new(&name).parent().unwrap_or(Path::new("")).to_owned();
            let nested = ecosystem::includes(&files[&name]);
            waiting.extend(nested.iter().map(|nested| directory.join(nested).to_string_lossy().into_owned()));
        }
    }
    Ok(files)
}

/// Reads a regular file inside the workspace; one that is not there, or leads out of it, is left out.
fn read_file(workspace: &Path, name: &str, files: &mut Files) -> io::Result<bool> {
    let Ok(path) = workspace.join(name).canonicalize() else { return Ok(false) };
    let meta = fs::metadata(&path)?;
    if !path.starts_with(workspace) || !meta.is_file() || meta.len() > FILE_BYTES_MAX {
        return Ok(false);
    }
    files.insert(name.to_owned(), fs::read(&path)?);
    Ok(true)
}

#[cfg(test)]
mod tests;
