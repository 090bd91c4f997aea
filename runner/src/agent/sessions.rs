//! Sessions of agents between executions: what an agent remembers of one below its home
//! is kept on the volume when its execution has ended, and is in the home of an execution
//! that goes on with the session before anything runs there.
//!
//! What is kept is one repository's and one agent's, and only the runner sees it: there
//! may be credentials in it. It is copied out, so that an execution that is lost loses
//! nothing of it. No link is followed that a command made. The sessions that were used last
//! are kept, up to a number and a size; what goes cannot be made again.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kit::tasks::blocking;
use serde::{Deserialize, Serialize};
use wire::agent::{AgentReport, AgentSpec};
use wire::event::Stream;

use super::driver::Driver;
use super::reading::Taken;
use crate::config::Limits;
use crate::record::Story;
use crate::room::Room;
use crate::setup::NotReady;
use crate::volume::{self, Volume};
use crate::workspace::{self, Paths};

const NOTE: &str = "session.json";
const STATE: &str = "state";
/// What each name costs, also of an empty file.
const ENTRY_BYTES: u64 = 4096;

/// What is known of a session that is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    /// Where the agent worked: some find their sessions by that.
    directory: PathBuf,
    /// Where it worked first: some go back there.
    #[serde(default)]
    began: Option<PathBuf>,
    bytes: u64,
    #[serde(default)]
    taken: Taken,
}

/// What an execution has of an earlier session.
#[derive(Debug, Clone, Default)]
pub(crate) struct Brought {
    /// What to say where it is not here.
    pub(crate) missing: Option<String>,
    /// Where the agent worked at first, and last.
    pub(crate) earlier: Vec<PathBuf>,
    /// What the session had taken already.
    pub(crate) taken: Taken,
}

impl From<Note> for Brought {
    fn from(note: Note) -> Self {
        Self { missing: None, earlier: note.began.into_iter().chain([note.directory]).collect(), taken: note.taken }
    }
}

/// Puts what this machine has of the session that is asked for into a home that nothing has used yet. Where it has nothing
/// of it the agent starts all the same, as somebody may have seen to it otherwise.
pub(crate) async fn bring(
    room: &Arc<Room>,
    story: &mut Story,
    asked: Option<&AgentSpec>,
    paths: &Paths,
) -> Result<Brought, NotReady> {
    let Some(AgentSpec { name, session: Some(session), .. }) = asked else { return Ok(Brought::default()) };
    let driver = room.drivers.get(name).filter(|driver| !driver.state.is_empty());
    let Some(driver) = driver else { return Ok(Brought::default()) };
    let kept = place(&room.volume, &paths.name, name, session);
    let (driver, own) = (driver.clone(), paths.clone());
    let missing = match blocking(move || put(&kept, &driver, &own)).await {
        Ok(Some(note)) => return Ok(note.into()),
        Ok(None) => format!(
            "this machine has nothing of the session {session} of {name}; it is on the machine of the execution before, \
             and what begins from that one's checkpoint runs there (bifrost checkpoints fork CHECKPOINT --agent {name} \
             --session {session})"
        ),
        Err(error) => {
            // Nothing was in it before, and a part is worse than nothing.
            let emptied = volume::remove(&paths.home).and_then(|()| workspace::make_home(&paths.home));
            emptied.map_err(|error| NotReady::machine("making a home", &error))?;
            format!("what this machine has of the session {session} of {name} cannot be used: {error}")
        }
    };
    story.log(Stream::Stderr, format!("bifrost: {missing}\n").into_bytes()).await;
    Ok(Brought { missing: Some(missing), ..Brought::default() })
}

/// Keeps what an agent that has ended, with all that it started, remembers of its session.
pub(crate) async fn keep(
    room: &Arc<Room>,
    story: &mut Story,
    asked: &AgentSpec,
    said: &AgentReport,
    paths: &Paths,
    brought: &Brought,
) {
    let (agent, session) = (&asked.name, said.session.as_ref().or(asked.session.as_ref()));
    let driver = room.drivers.get(agent).filter(|driver| !driver.state.is_empty());
    let Some((driver, session)) = driver.cloned().zip(session) else { return };
    let place = place(&room.volume, &paths.name, agent, session);
    let note = Note {
        directory: paths.tree.clone(),
        began: Some(brought.earlier.first().unwrap_or(&paths.tree).clone()),
        bytes: 0,
        taken: brought.taken.and(Taken::by(said)),
    };
    let (own, home) = (room.clone(), paths.home.clone());
    let kept = blocking(move || {
        let mark = own.mark();
        take(&own.volume, &place, &driver, &home, note, own.limits.agent_session_bytes, &mark)?;
        prune(&own.volume, &own.limits, &mark)
    });
    if let Err(error) = kept.await {
        tracing::warn!("a session of {agent} is not kept: {error}");
        let words = format!("bifrost: the session {session} of {agent} cannot be gone on with: {error}\n");
        story.log(Stream::Stderr, words.into_bytes()).await;
    }
}

/// Gives up sessions while the volume is full, those first that were used least lately.
pub(crate) fn relieve(volume: &Volume, mark: &str) -> io::Result<()> {
    for kept in by_use(volume)? {
        if !volume.is_full()? {
            return Ok(());
        }
        tracing::warn!("the volume is full, so the session {} of an agent is removed", kept.display());
        volume.discard(&kept, mark)?;
        volume.empty_trash()?;
    }
    Ok(())
}

fn place(volume: &Volume, repository: &str, agent: &str, session: &str) -> PathBuf {
    let session = &blake3::hash(session.as_bytes()).to_hex()[..32];
    volume.agent_sessions().join(format!("{repository}.{agent}.{session}"))
}

fn put(kept: &Path, driver: &Driver, paths: &Paths) -> io::Result<Option<Note>> {
    let Some(note) = kit::files::read_if_exists(&kept.join(NOTE))? else { return Ok(None) };
    let note: Note = serde_json::from_str(&note)?;
    copy(&kept.join(STATE), &paths.home)?;
    for pattern in &driver.by_directory {
        let [from, to] = [&note.directory, &paths.tree].map(|directory| paths.home.join(named(pattern, directory)));
        let is_there = fs::symlink_metadata(&from).is_ok_and(|meta| meta.is_dir());
        if from != to && is_there && volume::stays_inside(&paths.home, &from) {
            kit::files::make_private(to.parent().unwrap_or(&paths.home))?;
            fs::rename(&from, &to)?;
        }
    }
    volume::touch(kept)?;
    Ok(Some(note))
}

/// A path of a driver with a directory in it, as agents write one into a name.
fn named(pattern: &str, directory: &Path) -> String {
    let plain = |text: &str| text.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let last = directory.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    pattern.replace("{}", &plain(&directory.to_string_lossy())).replace("{name}", &plain(&last))
}

/// Copies directories, files and links. Nobody but its owner may use a copy.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut waiting = vec![(from.to_owned(), to.to_owned())];
    while let Some((from, to)) = waiting.pop() {
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            let (meta, path, beside) = (entry.metadata()?, entry.path(), to.join(entry.file_name()));
            if meta.is_dir() {
                kit::files::make_private(&beside)?;
                waiting.push((path, beside));
            } else if meta.is_symlink() {
                symlink(fs::read_link(path)?, beside)?;
            } else {
                fs::copy(path, &beside)?;
                fs::set_permissions(beside, fs::Permissions::from_mode(meta.mode() & 0o700))?;
            }
        }
    }
    Ok(())
}

/// Keeps what the driver names of a home, in the place of what was kept of the session before.
fn take(
    volume: &Volume,
    place: &Path,
    driver: &Driver,
    home: &Path,
    note: Note,
    bytes_max: u64,
    mark: &str,
) -> io::Result<()> {
    let new = volume::unfinished(place);
    volume::remove(&new)?;
    let filled = fill(&new, driver, home, note, bytes_max).and_then(|is_any| {
        if is_any {
            volume.discard(place, mark)?;
            fs::rename(&new, place)?;
        }
        Ok(())
    });
    filled.and(volume::remove(&new))
}

/// Moves it there; whether there is anything.
fn fill(new: &Path, driver: &Driver, home: &Path, note: Note, bytes_max: u64) -> io::Result<bool> {
    let state = new.join(STATE);
    kit::files::make_private(&state)?;
    let mut is_any = false;
    for path in &driver.state {
        let (from, to) = (home.join(path), state.join(path));
        // A command may have put a link there, or on the way there, that leads elsewhere.
        let is_plain = fs::symlink_metadata(&from).is_ok_and(|meta| meta.is_dir() || meta.is_file());
        if is_plain && volume::stays_inside(home, &from) {
            kit::files::make_private(to.parent().unwrap_or(&state))?;
            fs::rename(&from, &to)?;
            is_any = true;
        }
    }
    let bytes = look_through(&state)?;
    if bytes > bytes_max {
        return Err(io::Error::other(format!("it takes {bytes} bytes, and all of them may take {bytes_max}")));
    }
    fs::write(new.join(NOTE), serde_json::to_vec(&Note { bytes, ..note })?)?;
    Ok(is_any)
}

/// How much a copy may take, however the files are shared or full of holes. Opens what a command has closed, and removes
/// what cannot be copied, such as sockets.
fn look_through(state: &Path) -> io::Result<u64> {
    let (mut bytes, mut waiting) = (0_u64, vec![state.to_owned()]);
    while let Some(directory) = waiting.pop() {
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let meta = entry.metadata()?;
            bytes = bytes.saturating_add(ENTRY_BYTES).saturating_add(meta.len());
            if meta.is_dir() {
                waiting.push(entry.path());
            } else if !meta.is_file() && !meta.is_symlink() {
                fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(bytes)
}

/// Removes the sessions that are too many, or too large together, those that were used least lately.
fn prune(volume: &Volume, limits: &Limits, mark: &str) -> io::Result<()> {
    let mut bytes = 0_u64;
    for (place, kept) in by_use(volume)?.into_iter().rev().enumerate() {
        let note = kit::files::read_if_exists(&kept.join(NOTE))?;
        let note: Option<Note> = note.and_then(|note| serde_json::from_str(&note).ok());
        bytes = bytes.saturating_add(note.as_ref().map_or(0, |note| note.bytes));
        if note.is_none() || place >= limits.agent_sessions || bytes > limits.agent_session_bytes {
            volume.discard(&kept, mark)?;
        }
    }
    volume.empty_trash()
}

/// All that are kept, the one first that was used least lately.
fn by_use(volume: &Volume) -> io::Result<Vec<PathBuf>> {
    let paths = fs::read_dir(volume.agent_sessions())?.map(|entry| Ok(entry?.path()));
    let mut all = paths.collect::<io::Result<Vec<PathBuf>>>()?;
    all.retain(|path| !volume::is_unfinished(path));
    // What another execution gives up meanwhile is gone.
    let used = |path: PathBuf| fs::metadata(&path).ok().map(|meta| ((meta.mtime(), meta.mtime_nsec()), path));
    let mut all: Vec<_> = all.into_iter().filter_map(used).collect();
    all.sort();
    Ok(all.into_iter().map(|(_, path)| path).collect())
}

#[cfg(test)]
mod tests;
