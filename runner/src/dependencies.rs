//! Dependencies (row FLY-033): installed once for each key, put into later
//! workspaces of the same repository from the volume. What another repository's code
//! installed, or left in a package manager's cache, is never used.
//!
//! A package manager is run only where its files are there and it is on the PATH.
//! Of two executions that need the same, one installs and the other waits for it. A
//! failed installation is never kept and ends the execution with the tool's own words
//! in the log.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kit::tasks::blocking;
use serde::Serialize;
use wire::event::{Stream, kind};
use wire::execution::{Cache, Failure};

use crate::command::output::Chunker;
use crate::command::redaction::Secrets;
use crate::orders::Orders;
use crate::platform;
use crate::process::{self, Bounds, Kept, Output, RunError};
use crate::record::Story;
use crate::relief;
use crate::room::Room;
use crate::setup::NotReady;
use crate::workspace::{self, Paths};

mod ecosystem;
mod fetched;
mod files;
mod tools;
mod tree;
use ecosystem::{Ecosystem, Files, Leaves, Machine};
use tree::{Trees, Used};

/// What is said of an installation besides what the manifests say.
#[derive(Debug)]
pub(crate) struct Terms {
    /// The longest that one package manager may take.
    pub(crate) within: Duration,
    /// What package managers are given of the task's variables, such as what a private registry asks for.
    pub(crate) variables: BTreeMap<String, String>,
    /// What else they read: files and directories of the repository.
    pub(crate) reads: Vec<String>,
}

/// Whose turn it is to add to what is kept, or to remove from it.
const KEEPING: &str = "dependencies";

/// What a failed tool's output may take in the log.
pub(crate) const TOOL_OUTPUT_BYTES: usize = 256 * 1024;
/// A manifest or lockfile that is larger is not one.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Requirements files that one includes.
const INCLUDES_MAX: usize = 64;

/// Where dependencies came from, and the name that they are kept under.
enum Provided {
    By(Cache, String),
    /// They are not there, and the command can get them by itself.
    Without,
}

#[derive(Serialize)]
struct Damaged<'a> {
    what: &'static str,
    name: &'a str,
    reason: &'a str,
}

enum Installation {
    Done,
    Failed { output: Output, how: String },
    TimedOut { within: Duration, said: Box<[Kept; 2]> },
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
    /// Those of the tools' caches that the command uses.
    pub(crate) caches: Vec<PathBuf>,
    /// The names that what the workspace has of it is kept under.
    pub(crate) trees: Vec<String>,
}

impl Ready {
    fn note(&mut self, ecosystem: &Ecosystem, cache: Cache, tree: String) {
        // One that had to be installed decides: it is what the time went into.
        if self.cache != Some(Cache::Miss) {
            self.cache = Some(cache);
        }
        self.detail.push(ecosystem.name.clone());
        self.trees.push(tree);
    }
}

/// Makes the workspace's dependencies ready, from the volume or with its package managers.
pub(crate) async fn prepare(
    room: &Arc<Room>,
    story: &mut Story,
    paths: &Paths,
    terms: &Terms,
) -> Result<Ready, NotReady> {
    let tree = paths.tree.clone();
    let files = blocking(move || read_files(&tree)).await;
    let files = files.map_err(|error| NotReady::machine("reading the manifests", &error))?;
    let mut ready = Ready::default();
    let making_cache = |error| NotReady::machine("making a tool's cache", &error);
    for ecosystem in ecosystem::detect(&files) {
        match tools::find(room, ecosystem, &paths.tree) {
            Ok(tools) => {
                match provide(room, story, &Place { paths, ecosystem, terms }, &files, &tools).await? {
                    Provided::By(cache, tree) => ready.note(ecosystem, cache, tree),
                    Provided::Without => ready.detail.push(format!(
                        "{}: could not fetch beforehand, so the command fetches by itself",
                        ecosystem.name
                    )),
                }
                expose(room, ecosystem, paths, &mut ready).map_err(making_cache)?;
            }
            Err(missing) => ready.detail.push(format!(
                "{}: {missing} is not on this machine, so the command will see no dependencies",
                ecosystem.name
            )),
        }
    }
    // Also where nothing could be fetched, or one had to make room for what another needed: the command then fetches
    // into it.
    ready.caches.iter().try_for_each(|cache| kit::files::make_private(cache)).map_err(making_cache)?;
    Ok(ready)
}

/// What is installed where.
#[derive(Clone, Copy)]
struct Place<'a> {
    paths: &'a Paths,
    ecosystem: &'static Ecosystem,
    terms: &'a Terms,
}

async fn provide(
    room: &Arc<Room>,
    story: &mut Story,
    place: &Place<'_>,
    files: &Files,
    tools: &BTreeMap<String, PathBuf>,
) -> Result<Provided, NotReady> {
    let Place { paths, ecosystem, terms } = *place;
    let versions = tools::versions(room, story.orders(), paths, ecosystem, tools).await?;
    let mut also = match ecosystem.manifest_of_members(files) {
        Some(manifest) => read_members(room, story.orders(), paths, manifest).await?,
        None => Files::new(),
    };
    let (tree, names) = (paths.tree.clone(), ecosystem.scripts_read.iter().chain(&terms.reads).cloned().collect());
    let read = blocking(move || digest_inputs(&tree, names)).await;
    also.extend(read.map_err(|error| NotReady::machine("reading what installing reads", &error))?);
    let variables = Secrets::open_part(&terms.variables);
    let platform = room.platform.get_or_try_init(|| platform::name(&room.environment)).await.cloned();
    let platform = platform.unwrap_or_else(|without_libc| without_libc);
    let machine = Machine { platform: &platform, versions: &versions };
    let key = ecosystem::key(ecosystem, &paths.name, files, &also, machine, &variables);
    let name = format!("{}-{key}", ecosystem.name);
    let _turn = room.turns.take(&name, story.orders()).await.map_err(NotReady::Halted)?;
    let machine = |error: io::Error| NotReady::machine("putting dependencies in place", &error);
    let (own, wanted, workspace) = (room.clone(), name.clone(), paths.clone());
    match blocking(move || put(&own, &wanted, &workspace, ecosystem)).await.map_err(machine)? {
        Used::Yes => return Ok(Provided::By(Cache::Hit, name)),
        Used::Absent => (),
        Used::LeadsOut(path) => {
            return Err(NotReady::failed(
                Failure::InstallFailed,
                format!("{} lies behind a link that leads out of the repository; remove the link", path.display()),
            ));
        }
        Used::Changed(what) => {
            tracing::warn!("the kept dependencies {name} are damaged and installed anew: {what}");
            story.tell(kind::VOLUME_DAMAGED, &Damaged { what: "dependencies", name: &name, reason: &what }).await;
        }
    }
    let free = room.volume.reserve().map_err(machine)?;
    relief::relieve(room, free, &paths.name).await.map_err(machine)?;
    for step in &ecosystem.steps {
        match install(room, story.orders(), place, step).await? {
            Installation::Done => (),
            Installation::Failed { output, .. } if is_full(&output) => {
                log(story, output.said()).await;
                return Err(NotReady::machine(&step.join(" "), &io::Error::from(io::ErrorKind::StorageFull)));
            }
            Installation::Failed { output, .. } if ecosystem.may_go_without(&output.stderr.bytes) => {
                return Ok(Provided::Without);
            }
            Installation::Failed { output, how } => {
                let is_drift = [&output.stderr, &output.stdout].iter().any(|said| ecosystem.is_drift(&said.bytes));
                log(story, output.said()).await;
                return Err(install_failed(step, &how, if is_drift { DRIFT_CURE } else { "" }));
            }
            Installation::TimedOut { within, said } => {
                log(story, said.each_ref()).await;
                return Err(install_failed(step, &format!("did not end within {within:?}"), TIME_CURE));
            }
        }
    }
    // The command can run all the same; the next one installs again.
    if let Err(error) = keep(room, story.orders(), name.clone(), paths, ecosystem).await? {
        tracing::warn!("installed dependencies could not be kept: {error}");
    }
    Ok(Provided::By(Cache::Miss, name))
}

/// Puts into the workspace what is kept under this name, where that has to be there.
fn put(room: &Room, name: &str, paths: &Paths, ecosystem: &Ecosystem) -> io::Result<Used> {
    match &ecosystem.leaves {
        Leaves::Directories(_) => trees(room).put(name, &paths.tree),
        Leaves::Packages => {
            let packages = room.volume.use_packages(&paths.name)?;
            if fetched::is_noted(&packages, name, &ecosystem.shown_packages(&packages)) {
                return Ok(Used::Yes);
            }
            // The caches are made anew, also where nothing can be fetched into them.
            fetched::forget(&packages, name)?;
            Ok(Used::Absent)
        }
    }
}

/// Keeps what an installation left, and no more than allowed of what was kept before.
async fn keep(
    room: &Arc<Room>,
    orders: &Orders,
    name: String,
    paths: &Paths,
    ecosystem: &'static Ecosystem,
) -> Result<io::Result<()>, NotReady> {
    let _turn = room.turns.take(KEEPING, orders).await.map_err(NotReady::Halted)?;
    let (room, paths) = (room.clone(), paths.clone());
    let kept = blocking(move || match &ecosystem.leaves {
        Leaves::Directories(directories) => {
            let (trees, limits) = (trees(&room), room.limits);
            let saved = trees.save(&name, &paths.tree, directories);
            // Also when that failed: most likely for want of room.
            saved.and(trees.prune(limits.dependency_trees, limits.dependency_bytes))
        }
        Leaves::Packages => fetched::note(&room.volume.use_packages(&paths.name)?, &name),
    });
    Ok(kept.await)
}

fn trees(room: &Room) -> Trees {
    Trees::new(&room.volume.dependencies(), room.isolation.keeper())
}

/// Makes spares of installations that were just used, for the next execution.
pub(crate) async fn make_spares(room: &Arc<Room>, names: &[String], orders: &Orders) -> io::Result<()> {
    let (keep, trees) = (room.limits.spares, trees(room));
    for name in names {
        // Halted, it is not needed.
        let Ok(_turn) = room.turns.take(name, orders).await else { return Ok(()) };
        if keep == 0 || !room.volume.has_ample_room()? {
            return Ok(());
        }
        let (trees, name) = (trees.clone(), name.clone());
        blocking(move || trees.make_spare(&name, keep)).await?;
    }
    Ok(())
}

/// Keeps the package managers' caches to their size, where something came to them.
pub(crate) async fn keep_caches(room: &Arc<Room>, is_installed: bool) {
    let room = room.clone();
    let kept = blocking(move || {
        room.volume.discard_shared_packages(&room.mark())?;
        match is_installed {
            true => room.volume.prune_packages(room.limits.dependency_bytes, &room.mark()),
            false => Ok(()),
        }
    });
    if let Err(error) = kept.await {
        tracing::warn!("package managers' caches could not be kept to their size: {error}");
    }
}

/// Gives up all but the last used tree where fewer bytes are free.
pub(crate) async fn relieve(room: &Room, free: u64) -> io::Result<()> {
    let (trees, volume, bytes_max) = (trees(room), room.volume.clone(), room.limits.dependency_bytes);
    blocking(move || if volume.lacks(free)? { trees.prune(1, bytes_max) } else { Ok(()) }).await
}

/// Whether a tool failed for want of room.
fn is_full(output: &Output) -> bool {
    let said = |kept: &Kept| {
        let text = String::from_utf8_lossy(&kept.bytes);
        text.contains("No space left on device") || text.contains("ENOSPC")
    };
    said(&output.stderr) || said(&output.stdout)
}

async fn install(room: &Room, orders: &Orders, place: &Place<'_>, step: &[String]) -> Result<Installation, NotReady> {
    let Place { paths, ecosystem, terms } = *place;
    let shown = step.join(" ");
    let starting = |error: io::Error| NotReady::machine(&format!("starting {shown}"), &error);
    let mut command = tools::command(room, paths, &step[0]).map_err(starting)?;
    let packages = room.volume.use_packages(&paths.name).map_err(starting)?;
    command.envs(&terms.variables);
    command.envs(ecosystem.environment(&packages.to_string_lossy(), &paths.tree.to_string_lossy()));
    command.args(&step[1..]);
    let bounds = Bounds { within: terms.within, keep: TOOL_OUTPUT_BYTES };
    match process::run(&mut command, b"", bounds, orders).await {
        Ok(output) if output.status.success() => Ok(Installation::Done),
        Ok(output) => {
            let how = format!("ended with {}", output.status);
            Ok(Installation::Failed { output, how })
        }
        Err(RunError::Halted(halt)) => Err(NotReady::Halted(halt)),
        Err(RunError::TimedOut { within, said }) => Ok(Installation::TimedOut { within, said }),
        Err(RunError::Io(error)) => Err(starting(error)),
    }
}

/// Of a lockfile that is not what the manifest asks for.
const DRIFT_CURE: &str = ". Run it in a clean checkout and commit what it changes";
/// Of an installation that takes longer than it may.
const TIME_CURE: &str = ", if anything. Where it needs longer, say so with timeouts.install_seconds in .bifrost.toml";

fn install_failed(step: &[String], how: &str, cure: &str) -> NotReady {
    let shown = step.join(" ");
    NotReady::failed(Failure::InstallFailed, format!("{shown} {how}; its own output says why{cure}"))
}

/// Logs what a tool or a service said, without the secrets in it.
pub(crate) async fn log(story: &mut Story, said: [&Kept; 2]) {
    let mut chunks = Vec::new();
    let mut chunker = Chunker::new(u64::MAX);
    for kept in said {
        chunker.push(Stream::Stderr, &story.secrets().hide_in(kept), &mut chunks);
    }
    chunker.finish(&mut chunks);
    for (stream, bytes) in chunks {
        story.log(stream, bytes).await;
    }
}

/// Lets the command find what was installed outside the places it looks in by itself.
fn expose(room: &Room, ecosystem: &Ecosystem, paths: &Paths, ready: &mut Ready) -> io::Result<()> {
    let packages = room.volume.use_packages(&paths.name)?;
    ready.variables.extend(ecosystem.shown(&packages.to_string_lossy(), &paths.tree.to_string_lossy()));
    ready.caches.extend(ecosystem.shown_packages(&packages));
    if let Some(programs) = &ecosystem.programs {
        ready.programs = Some(paths.tree.join(programs));
    }
    Ok(())
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

/// The manifests of this name that git knows, wherever they are.
async fn read_members(room: &Room, orders: &Orders, paths: &Paths, manifest: &str) -> Result<Files, NotReady> {
    let names = workspace::tracked(&room.git, paths.compared(), &[], manifest, orders).await;
    let names = names.map_err(|error| NotReady::by_git("listing the manifests", error))?;
    let tree = paths.tree.clone();
    let read = blocking(move || {
        let mut files = Files::new();
        // A name that is no text can be no member's: package managers take them from texts.
        for name in names.iter().filter_map(|name| name.to_str()) {
            read_file(&tree, name, &mut files)?;
        }
        Ok(files)
    });
    read.await.map_err(|error: io::Error| NotReady::machine("reading the manifests", &error))
}

/// The digests of these files, and of all below these directories, by path. No link is followed.
fn digest_inputs(workspace: &Path, mut waiting: Vec<String>) -> io::Result<Files> {
    let mut digests = Files::new();
    while let Some(name) = waiting.pop() {
        let path = workspace.join(&name);
        // What lies behind a link is not the repository's.
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        if !path.parent().and_then(|above| above.canonicalize().ok()).is_some_and(|above| above.starts_with(workspace))
        {
            continue;
        }
        if meta.is_dir() {
            for entry in fs::read_dir(&path)? {
                waiting.push(format!("{name}/{}", entry?.file_name().to_string_lossy()));
            }
        } else if meta.is_file() {
            let mut hasher = blake3::Hasher::new();
            hasher.update_reader(fs::File::open(&path)?)?;
            digests.insert(name, hasher.finalize().as_bytes().to_vec());
        }
    }
    Ok(digests)
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
