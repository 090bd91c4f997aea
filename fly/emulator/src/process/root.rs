//! A machine's directory: its root, its volumes seen from there, and its log.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use crate::layout::remove;

/// At a start, a longer log becomes the old one.
const LOG_BYTES: u64 = 8 * 1024 * 1024;

/// Where a volume is seen under a root, or nothing if the path leads elsewhere.
pub(crate) fn place(root: &Path, mount: &str) -> Option<PathBuf> {
    let mut components = Path::new(mount).components();
    if components.next() != Some(Component::RootDir) {
        return None;
    }
    let below: Vec<Component<'_>> = components.collect();
    let is_inside = !below.is_empty() && below.iter().all(|component| matches!(component, Component::Normal(_)));
    is_inside.then(|| root.join(below.iter().collect::<PathBuf>()))
}

/// Makes the root and puts the volumes into it: pairs of a place under the root and a directory.
pub(crate) fn prepare(root: &Path, mounts: &[(PathBuf, PathBuf)]) -> io::Result<()> {
    kit::files::make_private(root)?;
    for (place, directory) in mounts {
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent)?;
        }
        // A root that was kept has the link already, unless the machine has put something else there.
        if fs::read_link(place).ok().as_deref() != Some(directory) {
            remove(place)?;
            std::os::unix::fs::symlink(directory, place)?;
        }
    }
    Ok(())
}

/// Drops everything under the root; volumes are only linked there, and stay.
pub(crate) fn drop_root(root: &Path) -> io::Result<()> {
    remove(root)
}

/// Opens the machine's log for writing at its end.
pub(crate) fn open_log(directory: &Path) -> io::Result<File> {
    let path = directory.join("log");
    if fs::metadata(&path).is_ok_and(|metadata| metadata.len() > LOG_BYTES) {
        fs::rename(&path, directory.join("log.1"))?;
    }
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// Tells whoever reads the machine's log what the emulator has to say.
pub(crate) fn log_line(directory: &Path, line: &str) -> io::Result<()> {
    writeln!(open_log(directory)?, "bifrost-emulator: {line}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_seen_under_the_root_and_nowhere_else() {
        let root = Path::new("/data/root");
        for (mount, expected) in [
            ("/.sprite", Some("/data/root/.sprite")),
            ("/a/b/", Some("/data/root/a/b")),
            ("/a/./b", Some("/data/root/a/b")),
            ("/", None),
            ("a", None),
            ("", None),
            ("/../x", None),
            ("/a/../../x", None),
        ] {
            assert_eq!(place(root, mount), expected.map(PathBuf::from), "{mount}");
        }
    }

    #[test]
    fn a_root_is_dropped_without_its_volumes_and_made_again() {
        let data = tempfile::tempdir().expect("a directory");
        let (root, volume) = (data.path().join("root"), data.path().join("volume"));
        fs::create_dir(&volume).expect("made");
        let mounts = [(root.join("a/b"), volume.clone())];
        prepare(&root, &mounts).expect("prepared");
        prepare(&root, &mounts).expect("prepared again");
        fs::write(root.join("a/b/kept"), "").expect("written through the mount");
        drop_root(&root).expect("dropped");
        assert!(!root.exists() && volume.join("kept").exists());
        prepare(&root, &mounts).expect("prepared anew");
        assert!(root.join("a/b/kept").exists());
    }

    #[test]
    fn a_long_log_is_put_aside_at_a_start() {
        let data = tempfile::tempdir().expect("a directory");
        log_line(data.path(), "first").expect("written");
        File::options().write(true).open(data.path().join("log")).expect("open").set_len(LOG_BYTES + 1).expect("long");
        log_line(data.path(), "second").expect("written");
        assert_eq!(fs::read_to_string(data.path().join("log")).expect("read"), "bifrost-emulator: second\n");
        assert!(data.path().join("log.1").exists());
    }
}
