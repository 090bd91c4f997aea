//! A workspace's repository as the runner may look at it: its objects and its references, but none of its configuration.
//! The command wrote that. A remote in it that promises objects would be asked for whatever is missing, by any program
//! that the configuration names, with the rights of the runner: git older than 2.45 does so, and some newer one may.
//! Here there is no such remote, so what is missing is an error, with every git.
//!
//! What is shown is the workspace's own: a link in it, or another place to borrow objects from, would have the runner
//! read what the command may not, such as another repository's mirror. Git makes neither, so a repository that has one
//! is not shown.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::mirror::EXCLUDED;
use crate::volume;

/// What is taken from the workspace's repository as it is there, where it is there.
const SHOWN: [&str; 5] = ["objects", "refs", "packed-refs", "shallow", "reftable"];
const PLAIN: &str = "[core]\n\trepositoryformatversion = 0\n\tbare = true\n";
/// Of one whose references a command has moved into tables.
const TABLES: &str = "[core]\n\trepositoryformatversion = 1\n\tbare = true\n[extensions]\n\trefStorage = reftable\n";

/// What is read of a small file of git's at most: many references are in one.
const TEXT_BYTES_MAX: u64 = 64 << 20;

/// Makes a view of the repository, which borrows objects from this mirror, beside the execution's other things, in
/// place of one that was there.
pub(super) fn make(repository: &Path, mirror: &Path, own: &Path, head: &str) -> io::Result<PathBuf> {
    if !fs::symlink_metadata(repository)?.is_dir() {
        return Err(refused(repository, "is no directory"));
    }
    for name in SHOWN {
        is_plain(&repository.join(name))?;
    }
    let borrowed = text(&repository.join("objects/info/alternates"))?;
    if !borrowed.is_empty() && borrowed != format!("{}\n", mirror.join("objects").display()) {
        return Err(refused(&repository.join("objects/info/alternates"), "is not as it was"));
    }
    let view = own.join("view");
    volume::remove(&view)?;
    kit::files::make_private(&view)?;
    for name in SHOWN {
        symlink(repository.join(name), view.join(name))?;
    }
    let configuration = if repository.join("reftable").is_dir() { TABLES } else { PLAIN };
    fs::write(view.join("config"), configuration)?;
    fs::write(view.join("HEAD"), format!("{head}\n"))?;
    kit::files::make_private(&view.join("info"))?;
    fs::write(view.join("info/exclude"), EXCLUDED)?;
    Ok(view)
}

/// The text of a file that is one; nothing where there is none. A pipe, say, would never end.
pub(in crate::checkpoint) fn text(path: &Path) -> io::Result<String> {
    match fs::symlink_metadata(path) {
        // People's names in a log may be in any encoding.
        Ok(meta) if meta.is_file() && meta.len() <= TEXT_BYTES_MAX => {
            fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        }
        Ok(_) => Err(refused(path, "is no small file")),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(String::new())
        }
        Err(error) => Err(error),
    }
}

/// Fails where there is anything but files and directories.
fn is_plain(path: &Path) -> io::Result<()> {
    let meta = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        meta => meta?,
    };
    if meta.is_dir() {
        return fs::read_dir(path)?.try_for_each(|entry| is_plain(&entry?.path()));
    }
    if meta.is_file() { Ok(()) } else { Err(refused(path, "is neither a file nor a directory")) }
}

fn refused(path: &Path, why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{} {why}", path.display()))
}
