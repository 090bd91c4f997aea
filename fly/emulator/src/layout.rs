//! Where things are in the data directory:
//!
//! ```text
//! lock                       held while an emulator runs
//! apps/NAME.json
//! machines/ID/machine.json   written last, removed first: a directory without one is left over
//! machines/ID/root/          the machine's `/`
//! machines/ID/log            what it printed; log.1 is the one before
//! volumes/ID.json            written last, removed first
//! volumes/ID/                what is on it
//! snapshots/ID/              what was on a volume, whose record names it
//! ```

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::StartError;

/// The data directory, as an absolute path.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    data: PathBuf,
}

impl Layout {
    /// Makes the directory and takes its lock, which lasts as long as the file is open.
    pub(crate) fn open(data: &Path) -> Result<(Self, File), StartError> {
        for directory in ["", "apps", "machines", "volumes", "snapshots"] {
            kit::files::make_private(&data.join(directory)).map_err(unusable(&data.join(directory)))?;
        }
        let data = data.canonicalize().map_err(unusable(data))?;
        let path = data.join("lock");
        // Whoever has the lock sees every process of every machine: none is just being started.
        match kit::lock::take(&path, kit::lock::PATIENCE).map_err(unusable(&path))? {
            Some(lock) => Ok((Self { data }, lock)),
            None => Err(StartError::InUse { path: data }),
        }
    }

    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    pub(crate) fn apps(&self) -> PathBuf {
        self.data.join("apps")
    }

    pub(crate) fn app_file(&self, name: &str) -> PathBuf {
        self.apps().join(format!("{name}.json"))
    }

    pub(crate) fn machines(&self) -> PathBuf {
        self.data.join("machines")
    }

    pub(crate) fn machine_dir(&self, id: &str) -> PathBuf {
        self.machines().join(id)
    }

    pub(crate) fn machine_file(&self, id: &str) -> PathBuf {
        self.machine_dir(id).join("machine.json")
    }

    pub(crate) fn machine_root(&self, id: &str) -> PathBuf {
        self.machine_dir(id).join("root")
    }

    pub(crate) fn volumes(&self) -> PathBuf {
        self.data.join("volumes")
    }

    pub(crate) fn volume_dir(&self, id: &str) -> PathBuf {
        self.volumes().join(id)
    }

    pub(crate) fn snapshots(&self) -> PathBuf {
        self.data.join("snapshots")
    }

    pub(crate) fn snapshot_dir(&self, id: &str) -> PathBuf {
        self.snapshots().join(id)
    }

    pub(crate) fn volume_file(&self, id: &str) -> PathBuf {
        self.volumes().join(format!("{id}.json"))
    }
}

fn unusable(path: &Path) -> impl Fn(io::Error) -> StartError {
    move |source| StartError::Data { path: path.to_owned(), source }
}

/// Replaces a file of the state; it may hold a machine's secrets.
pub(crate) fn write(path: &Path, record: &impl Serialize) -> io::Result<()> {
    let json = serde_json::to_vec(record).expect("records have text keys and no failing serializers");
    kit::files::replace(path, &json, 0o600)
}

/// The record, or nothing where there is no file.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StartError> {
    let text = kit::files::read_if_exists(path).map_err(unusable(path))?;
    let parse = |text: String| serde_json::from_str(&text);
    text.map(parse).transpose().map_err(|source| StartError::Damaged { path: path.to_owned(), source })
}

/// The directories or files in a directory, by name, with the given ending taken off.
pub(crate) fn names(directory: &Path, ending: &str) -> Result<Vec<String>, StartError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(unusable(directory))? {
        let name = entry.map_err(unusable(directory))?.file_name();
        // What begins with a dot is a file in the making.
        let name = name.to_str().filter(|name| !name.starts_with('.')).and_then(|name| name.strip_suffix(ending));
        names.extend(name.map(str::to_owned));
    }
    Ok(names)
}

/// Copies what is in a directory into another that does not exist yet, while it may be changing. Whatever
/// is neither a file, a directory nor a link is left out.
pub(crate) fn copy_tree(from: &Path, to: &Path) -> io::Result<u64> {
    kit::files::make_private(to)?;
    let mut bytes = 0;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        let copied = match entry.file_type()? {
            kind if kind.is_dir() => copy_tree(&from, &to),
            kind if kind.is_file() => fs::copy(&from, &to),
            kind if kind.is_symlink() => fs::read_link(&from).and_then(|at| symlink(at, &to)).map(|()| 0),
            _ => Ok(0),
        };
        bytes += match copied {
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            other => other?,
        };
    }
    Ok(bytes)
}

/// Removes a file or a directory with everything in it. One that is gone is no error.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => remove_tree(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Caches of some tools forbid even their owner to write in their directories.
fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            make_writable(path)?;
            fs::remove_dir_all(path)
        }
        other => other,
    }
}

fn make_writable(directory: &Path) -> io::Result<()> {
    fs::set_permissions(directory, Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            make_writable(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_held_by_one_at_a_time() {
        let data = tempfile::tempdir().expect("a directory");
        let held = Layout::open(data.path()).expect("free");
        let error = Layout::open(data.path()).expect_err("taken").to_string();
        assert!(error.contains("another emulator is using"), "{error}");
        drop(held);
        Layout::open(data.path()).expect("free again");
    }

    #[test]
    fn what_is_read_is_what_was_written_and_damage_is_named() {
        let data = tempfile::tempdir().expect("a directory");
        let path = data.path().join("a.json");
        assert_eq!(read::<u8>(&path).expect("readable"), None);
        write(&path, &7).expect("written");
        assert_eq!(read::<u8>(&path).expect("readable"), Some(7));
        let error = read::<String>(&path).expect_err("no text").to_string();
        assert!(error.contains("a.json") && error.contains("damaged"), "{error}");
    }

    #[test]
    fn a_copy_has_directories_files_and_links() {
        let data = tempfile::tempdir().expect("a directory");
        let (from, to) = (data.path().join("from"), data.path().join("to"));
        fs::create_dir_all(from.join("a/b")).expect("made");
        fs::write(from.join("a/b/file"), "four").expect("written");
        symlink("a/b/file", from.join("link")).expect("linked");
        assert_eq!(copy_tree(&from, &to).expect("copied"), 4);
        assert_eq!(fs::read_to_string(to.join("link")).expect("readable"), "four");
        fs::write(from.join("a/b/file"), "changed").expect("written");
        assert_eq!(fs::read_to_string(to.join("a/b/file")).expect("readable"), "four");
    }

    #[test]
    fn removing_follows_no_link_out_of_the_directory() {
        let data = tempfile::tempdir().expect("a directory");
        let (kept, root) = (data.path().join("volume"), data.path().join("root"));
        fs::create_dir(&kept).expect("made");
        fs::write(kept.join("cache"), "kept").expect("written");
        fs::create_dir(&root).expect("made");
        symlink(&kept, root.join("mount")).expect("linked");
        remove(&root).expect("removed");
        assert_eq!(fs::read_to_string(kept.join("cache")).expect("there"), "kept");
        remove(&root).expect("gone is no error");
    }
}
