//! Dependencies (row FLY-033): installed once for each key, put into later
//! workspaces from the volume.
//!
//! A package manager is run only where its files are there and it is on the PATH.
//! A failed installation is never kept and ends the execution with the tool's own
//! words in the log.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wire::event::Stream;
use wire::execution::{Cache, Failure};

use crate::command::output::Chunker;
use crate::command::program;
use crate::orders::Orders;
use crate::process::{self, Bounds, Output, RunError};
use crate::record::Story;
use crate::room::{Room, blocking};
use crate::setup::NotReady;
use crate::volume;
use crate::workspace::Paths;

mod ecosystem;
mod tree;
use ecosystem::{Ecosystem, Files, Leaves, Versions};
use tree::Used;

/// What a failed tool's output may take in the log.
const TOOL_OUTPUT_BYTES: usize = 256 * 1024;
/// A manifest or lockfile that is larger is not one.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Requirements files that one includes.
const INCLUDES_MAX: usize = 64;

/// What the command may use.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) cache: Option<Cache>,
    /// For a person: which tools, and how it went.
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
        let word = match cache {
            Cache::Hit => "cached",
            Cache::Miss => "installed",
            Cache::Unused => "unused",
        };
        self.detail.push(format!("{}: {word}", ecosystem.name));
    }
}

/// Makes the workspace's dependencies ready, from the volume or with its package managers.
pub(crate) async fn prepare(room: &Arc<Room>, story: &mut Story, paths: &Paths) -> Result<Ready, NotReady> {
    let tree = paths.tree.clone();
    let files = blocking(move || read_files(&tree)).await;
    let files = files.map_err(|error| NotReady::machine("reading the manifests", &error))?;
    let mut ready = Ready::default();
    for ecosystem in ecosystem::detect(&files) {
        match find_tools(room, ecosystem, &paths.tree) {
            Ok(tools) => {
                let cache = provide(room, story, paths, ecosystem, &files, &tools).await?;
                ready.note(ecosystem, cache);
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
) -> Result<Cache, NotReady> {
    let versions = versions(room, story.orders(), paths, tools).await?;
    let key = ecosystem::key(ecosystem, files, &versions);
    let tree = room.volume.dependency_tree(&format!("{}-{key}", ecosystem.name));
    let machine = |error: io::Error| NotReady::machine("putting dependencies in place", &error);
    let (from, workspace) = (tree.clone(), paths.tree.clone());
    match blocking(move || tree::put(&from, &workspace)).await.map_err(machine)? {
        Used::Yes => return Ok(Cache::Hit),
        Used::Absent => (),
        Used::Changed => {
            tracing::warn!("the dependency tree {} was changed since it was saved and is made anew", tree.display());
            volume::remove(&tree).map_err(machine)?;
            clear(&paths.tree, ecosystem).map_err(machine)?;
        }
    }
    for step in (ecosystem.steps)(&versions) {
        install(room, story, paths, &step).await?;
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
    Ok(Cache::Miss)
}

/// Removes what a tree left in the workspace before it was found changed.
fn clear(workspace: &Path, ecosystem: &Ecosystem) -> io::Result<()> {
    match ecosystem.leaves {
        Leaves::Directories(name) => volume::remove(&workspace.join(name)),
        Leaves::Packages => Ok(()),
    }
}

async fn install(room: &Room, story: &mut Story, paths: &Paths, step: &[&str]) -> Result<(), NotReady> {
    let mut command = tool(room, paths, step[0]);
    command.args(&step[1..]);
    let bounds = Bounds { within: room.limits.install, keep: TOOL_OUTPUT_BYTES };
    let shown = step.join(" ");
    let how = match process::run(&mut command, b"", bounds, story.orders()).await {
        Ok(output) if output.status.success() => return Ok(()),
        Ok(output) => {
            log(story, &output).await;
            format!("ended with {}", output.status)
        }
        Err(RunError::Halted(halt)) => return Err(NotReady::Halted(halt)),
        Err(RunError::TimedOut(within)) => format!("did not end within {within:?}"),
        Err(RunError::Io(error)) => return Err(NotReady::machine(&format!("starting {shown}"), &error)),
    };
    Err(NotReady::failed(
        Failure::InstallFailed,
        format!("{shown} {how}; its output is in the log. Run it in a clean checkout and commit what it changes"),
    ))
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

/// A package manager in the workspace, with its own caches on the volume and nothing secret.
fn tool(room: &Room, paths: &Paths, program: &str) -> tokio::process::Command {
    let mut command = kit::process::command(program);
    command.current_dir(&paths.tree).env_clear().envs(&room.environment);
    command.env("HOME", &paths.home).env("TMPDIR", &paths.temporary).env("CI", "true");
    command.env("YARN_NODE_LINKER", "node-modules").env("npm_config_update_notifier", "false");
    for (variable, directory) in [
        ("CARGO_HOME", "cargo"),
        ("PIP_CACHE_DIR", "pip"),
        ("UV_CACHE_DIR", "uv"),
        ("YARN_CACHE_FOLDER", "yarn"),
        ("YARN_GLOBAL_FOLDER", "yarn-global"),
        ("npm_config_cache", "npm"),
        ("npm_config_store_dir", "pnpm"),
    ] {
        command.env(variable, room.volume.packages(directory));
    }
    command
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

fn find_tools(
    room: &Room,
    ecosystem: &Ecosystem,
    workspace: &Path,
) -> Result<BTreeMap<&'static str, PathBuf>, &'static str> {
    let path = room.environment.get("PATH").map(String::as_str).unwrap_or_default();
    let find =
        |tool: &&'static str| program::find(tool, path, workspace).map(|found| (*tool, found)).map_err(|_| *tool);
    ecosystem.tools.iter().map(find).collect()
}

/// What each tool says about its version. Asking takes node half a second, so the answer is kept
/// for as long as the program's file stays the same.
async fn versions(
    room: &Room,
    orders: &Orders,
    paths: &Paths,
    tools: &BTreeMap<&'static str, PathBuf>,
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
            known.insert(identity.clone(), ask_version(room, orders, paths, path).await?);
            is_new = true;
        }
        versions.insert(tool, known[&identity].clone());
    }
    if is_new {
        let text = serde_json::to_vec(&known).expect("names and versions are plain data");
        volume::swap_in(&book, &text).map_err(machine)?;
    }
    Ok(versions)
}

async fn ask_version(room: &Room, orders: &Orders, paths: &Paths, path: &Path) -> Result<String, NotReady> {
    let mut command = tool(room, paths, &path.to_string_lossy());
    command.arg("--version");
    let bounds = Bounds { within: room.limits.install, keep: 4096 };
    match process::run(&mut command, b"", bounds, orders).await {
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
