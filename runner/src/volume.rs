//! The machine's volume: what lies where, owned by exactly one runner.
//!
//! | directory | what |
//! |---|---|
//! | `repos/<name>` | a bare mirror per repository |
//! | `submodules/<name>` | what the submodules of a repository had when they were fetched last |
//! | `git` | what our git reads, and the credentials that came as text |
//! | `seeds/<name>[.bundle]` | what a new mirror may be started from; the runner only reads it |
//! | `workspaces/<execution>` | the checked-out tree |
//! | `executions/<execution>` | what belongs to it: marker, index, `home`, `tmp` |
//! | `checkpoints/<checkpoint>` | saved workspaces: what each holds |
//! | `chunks` | what the files of the checkpoints are made of, each part once |
//! | `spares/<name>` | a checkout of each repository that was used lately, ready to be a workspace |
//! | `agent-sessions/<name>` | what agents remember of sessions that may be gone on with |
//! | `caches/<name>` | directories that executions of a repository hand on |
//! | `deps/trees/<ecosystem>-<key>` | what an installation left, each file by its content |
//! | `deps/spares/<ecosystem>-<key>` | such an installation where nobody has used it yet |
//! | `deps/files` | those contents, each once |
//! | `package-caches/<name>` | the package managers' own caches of each repository |
//! | `quarantine`, `trash` | damaged things that are kept, things that are going |
//! | `ballast` | nothing, dropped when a command has filled the volume |
//! | `spool` | events that the event store has not taken yet |
//!
//! Everything is 0700. Nothing under a final name is ever half made: it is built
//! under a name that begins with `.new-` and renamed.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use wire::id::{CheckpointId, ExecutionId};

mod ballast;
mod packages;
mod quarantine;
pub(crate) use quarantine::former_name;

/// What must be free, a part of the volume but no more than a part of [`Limits::reserve_bytes`]: below the first nothing
/// is made that could be done without, below the second what can be made again goes, and below the third nothing can be
/// done at all, and what cannot be made again goes for that.
///
/// [`Limits::reserve_bytes`]: crate::config::Limits::reserve_bytes
const AMPLE: Reserve = Reserve { percent: 20, of_the_most: 1 };
const TIGHT: Reserve = Reserve { percent: 10, of_the_most: 2 };
const FULL: Reserve = Reserve { percent: 2, of_the_most: 32 };

/// Begins the name of what is being built.
const UNFINISHED: &str = ".new-";
const SESSIONS: &str = "agent-sessions";
const SUBMODULES: &str = "submodules";

#[derive(Debug, Clone, Copy)]
struct Reserve {
    percent: u64,
    /// One is all of it, two a half.
    of_the_most: u64,
}

/// Why a volume cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    /// Another runner has it.
    #[error("the volume {0} belongs to another runner that is still alive; stop that one first")]
    Taken(PathBuf),
    /// It cannot be written.
    #[error("the volume {path} cannot be used; it must be a directory that this user may write")]
    Unwritable {
        /// Where.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
}

/// A volume that is ours until this is dropped.
#[derive(Debug)]
pub(crate) struct Volume {
    root: PathBuf,
    reserve_bytes: u64,
    /// Whose turn it is to use, or to remove, package managers' caches.
    packages: Mutex<()>,
    _lock: File,
}

impl Volume {
    /// Takes the volume, and clears away what a killed runner or git left half done.
    pub(crate) fn open(root: &Path, reserve_bytes: u64) -> Result<Self, Unusable> {
        let unwritable = |source| Unusable::Unwritable { path: root.to_owned(), source };
        kit::files::make_private(root).map_err(unwritable)?;
        let root = root.canonicalize().map_err(unwritable)?;
        let lock = kit::lock::take(&root.join("lock"), kit::lock::PATIENCE).map_err(unwritable)?;
        let lock = lock.ok_or_else(|| Unusable::Taken(root.clone()))?;
        let volume = Self { root, reserve_bytes, packages: Mutex::default(), _lock: lock };
        volume.tidy().map_err(unwritable)?;
        Ok(volume)
    }

    fn tidy(&self) -> io::Result<()> {
        for name in [
            "repos",
            SUBMODULES,
            "workspaces",
            "executions",
            "checkpoints",
            "chunks",
            "spares",
            "seeds",
            SESSIONS,
            "caches",
            "deps/trees",
            "deps/spares",
            "deps/files",
            packages::DIRECTORY,
            "quarantine",
            "trash",
            "spool",
        ] {
            let directory = self.root.join(name);
            kit::files::make_private(&directory)?;
            for child in children(&directory)? {
                if name == "trash" || is_unfinished(&child) {
                    remove(&child)?;
                }
            }
        }
        for name in ["repos", SUBMODULES] {
            for repository in children(&self.root.join(name))? {
                clear_locks(&repository)?;
            }
        }
        Ok(())
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn mirror(&self, name: &str) -> PathBuf {
        self.root.join("repos").join(name)
    }

    /// What there is already of the submodules of a repository.
    pub(crate) fn submodules(&self, name: &str) -> PathBuf {
        self.root.join(SUBMODULES).join(name)
    }

    /// A bundle of a repository, or a copy of its mirror, that somebody put here.
    pub(crate) fn seed(&self, mirror: &Path) -> Option<PathBuf> {
        let (seeds, name) = (self.root.join("seeds"), file_name(mirror));
        [seeds.join(format!("{name}.bundle")), seeds.join(name)].into_iter().find(|path| path.exists())
    }

    pub(crate) fn workspace(&self, id: ExecutionId) -> PathBuf {
        self.root.join("workspaces").join(id.to_string())
    }

    /// What belongs to an execution besides its workspace.
    pub(crate) fn execution(&self, id: ExecutionId) -> PathBuf {
        self.root.join("executions").join(id.to_string())
    }

    pub(crate) fn checkpoint(&self, id: CheckpointId) -> PathBuf {
        self.root.join("checkpoints").join(id.to_string())
    }

    /// Where what agents remember is kept.
    pub(crate) fn agent_sessions(&self) -> PathBuf {
        self.root.join(SESSIONS)
    }

    /// The store of the checkpoints' contents.
    pub(crate) fn chunks(&self) -> PathBuf {
        self.root.join("chunks")
    }

    /// A checkout that nobody has used yet.
    pub(crate) fn spare(&self, name: &str) -> PathBuf {
        self.root.join("spares").join(name)
    }

    /// Every finished spare.
    pub(crate) fn spares(&self) -> io::Result<Vec<PathBuf>> {
        let mut spares = children(&self.root.join("spares"))?;
        spares.retain(|path| !is_unfinished(path));
        Ok(spares)
    }

    /// Directories that executions of a repository hand on.
    pub(crate) fn cached(&self, name: &str) -> PathBuf {
        self.root.join("caches").join(name)
    }

    /// The store of what package managers installed.
    pub(crate) fn dependencies(&self) -> PathBuf {
        self.root.join("deps")
    }

    /// Where it is tried how a command can be kept apart. Called as nothing is that another runner of this computer
    /// has.
    pub(crate) fn trial(&self) -> PathBuf {
        self.root.join("trash").join(format!("trial-{}", std::process::id()))
    }

    pub(crate) fn spool(&self) -> PathBuf {
        self.root.join("spool")
    }

    /// The names of the repositories there is a mirror of.
    pub(crate) fn repository_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.mirrors().unwrap_or_default().iter().map(|path| file_name(path)).collect();
        names.sort();
        names
    }

    fn mirrors(&self) -> io::Result<Vec<PathBuf>> {
        let mut mirrors = children(&self.root.join("repos"))?;
        mirrors.retain(|path| !is_unfinished(path));
        Ok(mirrors)
    }

    /// The names of the mirrors, the one first that was used least lately.
    pub(crate) fn mirrors_by_use(&self) -> io::Result<Vec<String>> {
        let used = |path: PathBuf| Some((last_used(&path).ok()?, file_name(&path)));
        let mut mirrors: Vec<_> = self.mirrors()?.into_iter().filter_map(used).collect();
        mirrors.sort();
        Ok(mirrors.into_iter().map(|(_, name)| name).collect())
    }

    /// Gives up a mirror, with the spare that borrows from it.
    pub(crate) fn discard_mirror(&self, name: &str, mark: &str) -> io::Result<()> {
        self.discard(&self.spare(name), &format!("spare-{mark}"))?;
        self.discard(&self.submodules(name), &format!("submodules-{mark}"))?;
        self.discard(&self.mirror(name), &format!("mirror-{mark}"))?;
        self.empty_trash()
    }

    /// Every execution that has anything here, oldest first.
    pub(crate) fn execution_ids(&self) -> io::Result<Vec<ExecutionId>> {
        let mut ids: Vec<ExecutionId> = ids_in(&self.root.join("executions"))?;
        ids.extend(ids_in::<ExecutionId>(&self.root.join("workspaces"))?);
        ids.sort();
        ids.dedup();
        Ok(ids)
    }

    /// Every checkpoint, oldest first.
    pub(crate) fn checkpoint_ids(&self) -> io::Result<Vec<CheckpointId>> {
        let mut ids = ids_in(&self.root.join("checkpoints"))?;
        ids.sort();
        Ok(ids)
    }

    /// Whether there is room for what only saves time.
    pub(crate) fn has_ample_room(&self) -> io::Result<bool> {
        self.has_ample_room_for(0)
    }

    /// Whether there would be as much room once it took so many bytes.
    pub(crate) fn has_ample_room_for(&self, bytes: u64) -> io::Result<bool> {
        Ok(!self.lacks(self.bytes_of(AMPLE)?.saturating_add(bytes))?)
    }

    /// Whether what can be made again has to go.
    pub(crate) fn is_tight(&self) -> io::Result<bool> {
        self.lacks(self.reserve()?)
    }

    /// The bytes that are to be free, for which what can be made again goes.
    pub(crate) fn reserve(&self) -> io::Result<u64> {
        self.bytes_of(TIGHT)
    }

    /// Whether nothing can be done without room.
    pub(crate) fn is_full(&self) -> io::Result<bool> {
        self.lacks(self.bytes_of(FULL)?)
    }

    fn bytes_of(&self, reserve: Reserve) -> io::Result<u64> {
        Ok((self.size()? / 100 * reserve.percent).min(self.reserve_bytes / reserve.of_the_most))
    }

    /// How many bytes it holds when it is empty.
    pub(crate) fn size(&self) -> io::Result<u64> {
        let space = nix::sys::statvfs::statvfs(&self.root)?;
        Ok(space.blocks() * space.fragment_size())
    }

    pub(crate) fn free(&self) -> io::Result<u64> {
        let space = nix::sys::statvfs::statvfs(&self.root)?;
        Ok(space.blocks_available() * space.fragment_size())
    }

    /// Whether fewer bytes are free.
    pub(crate) fn lacks(&self, free: u64) -> io::Result<bool> {
        Ok(self.free()? < free)
    }

    /// Gives up what only saves time until so many bytes are free: spares first, then what builds
    /// left, then the package managers' own caches.
    pub(crate) fn relieve(&self, free: u64, mark: &str) -> io::Result<()> {
        let spare = [
            ("spares", "spare checkouts"),
            ("deps/spares", "spare installations"),
            ("caches", "directories handed on by executions"),
            (SUBMODULES, "contents of submodules"),
        ];
        if self.lacks(free)? {
            self.empty_trash()?;
        }
        for (name, what) in spare {
            if !self.lacks(free)? {
                return Ok(());
            }
            tracing::warn!("the volume has no room, so the {what} are removed");
            // Out of the way first: somebody may be taking one just now.
            children(&self.root.join(name))?.iter().try_for_each(|path| self.discard(path, mark))?;
            self.empty_trash()?;
        }
        self.relieve_of_packages(free, mark)
    }

    /// Takes something out of the way at once; [`Volume::empty_trash`] then removes it.
    pub(crate) fn discard(&self, path: &Path, mark: &str) -> io::Result<()> {
        move_away(path, &self.root.join("trash").join(format!("{}.{mark}", file_name(path))))
    }

    /// Whether anything was discarded that is not removed yet.
    pub(crate) fn has_trash(&self) -> io::Result<bool> {
        Ok(!children(&self.root.join("trash"))?.is_empty())
    }

    /// Removes what was discarded.
    pub(crate) fn empty_trash(&self) -> io::Result<()> {
        children(&self.root.join("trash"))?.iter().try_for_each(|path| remove(path))
    }

    /// The path with every link followed, if it then still lies on this volume.
    pub(crate) fn inside(&self, path: &Path) -> io::Result<PathBuf> {
        let real = path.canonicalize()?;
        if real.starts_with(&self.root) && real != self.root {
            return Ok(real);
        }
        Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{} leads out of the volume", path.display())))
    }
}

/// A name beside the final one, for something that is being built.
pub(crate) fn unfinished(finished: &Path) -> PathBuf {
    finished.with_file_name(format!("{UNFINISHED}{}", file_name(finished)))
}

/// Whether something is being built, or taken apart, under this name.
pub(crate) fn is_unfinished(path: &Path) -> bool {
    file_name(path).starts_with(UNFINISHED)
}

/// Whether a path, which need not be there, lies below the directory once every link on the way is
/// followed.
pub(crate) fn stays_inside(directory: &Path, path: &Path) -> bool {
    let there = path.ancestors().skip(1).find_map(|ancestor| ancestor.canonicalize().ok());
    there.zip(directory.canonicalize().ok()).is_some_and(|(there, directory)| there.starts_with(directory))
}

/// Replaces a file in one step. It survives the death of any process but not, unlike
/// [`kit::files::replace`], a power cut: for what can be made again.
pub(crate) fn swap_in(path: &Path, contents: &[u8]) -> io::Result<()> {
    let beside = unfinished(path);
    fs::write(&beside, contents)?;
    fs::rename(&beside, path)
}

/// Removes a file or a whole directory, even one that a command closed to its owner.
/// What is not there is no error.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => match fs::remove_dir_all(path) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                open_up(path)?;
                fs::remove_dir_all(path)
            }
            removed => removed,
        },
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Gives the owner back what a command took from it: every right on a directory, that of reading on a file, and so in
/// all that is below it.
pub(crate) fn open_up(path: &Path) -> io::Result<()> {
    let meta = fs::symlink_metadata(path)?;
    let wanted = if meta.is_dir() { 0o700 } else { 0o400 };
    let mode = meta.permissions().mode();
    if (meta.is_dir() || meta.is_file()) && mode & wanted != wanted {
        fs::set_permissions(path, fs::Permissions::from_mode(mode | wanted))?;
    }
    if meta.is_dir() { children(path)?.iter().try_for_each(|child| open_up(child)) } else { Ok(()) }
}

/// Removes what a git that was killed left in a mirror: locks, and packs it had not finished.
/// Only while no other git works on the mirror.
pub(crate) fn clear_locks(mirror: &Path) -> io::Result<()> {
    let stale = |name: &str| name.ends_with(".lock");
    clear(mirror, &stale, false)?;
    clear(&mirror.join("refs"), &stale, true)?;
    clear(&mirror.join("objects/info"), &stale, true)?;
    clear(&mirror.join("objects/pack"), &|name| name.starts_with("tmp_") || name.ends_with(".lock"), false)?;
    clear(&mirror.join("objects"), &|name| name.starts_with("tmp_"), false)
}

fn clear(directory: &Path, stale: &impl Fn(&str) -> bool, deep: bool) -> io::Result<()> {
    let found = match children(directory) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(()),
        found => found?,
    };
    for child in found {
        if stale(&file_name(&child)) {
            remove(&child)?;
        } else if deep && child.is_dir() {
            clear(&child, stale, deep)?;
        }
    }
    Ok(())
}

/// Marks a file or a directory as used now: what was used least lately is removed first.
pub(crate) fn touch(path: &Path) -> io::Result<()> {
    use nix::sys::stat::{UtimensatFlags, utimensat};
    use nix::sys::time::TimeSpec;
    let now = TimeSpec::UTIME_NOW;
    Ok(utimensat(nix::fcntl::AT_FDCWD, path, &now, &now, UtimensatFlags::FollowSymlink)?)
}

/// When something was used last, to the nanosecond.
type LastUsed = (i64, i64);

fn last_used(path: &Path) -> io::Result<LastUsed> {
    let meta = fs::metadata(path)?;
    Ok((meta.mtime(), meta.mtime_nsec()))
}

/// Renames what may be gone already.
pub(crate) fn move_away(path: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(path, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        moved => moved,
    }
}

fn children(directory: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect()
}

fn ids_in<T: std::str::FromStr>(directory: &Path) -> io::Result<Vec<T>> {
    Ok(children(directory)?.iter().filter_map(|path| file_name(path).parse().ok()).collect())
}

pub(crate) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
