//! A workspace's repository as the runner may look at it: its objects and its references, but none of its configuration.
//! The command wrote that. A remote in it that promises objects would be asked for whatever is missing, by any program
//! that the configuration names, with the rights of the runner: git older than 2.45 does so, and some newer one may.
//! Here there is no such remote, so what is missing is an error, with every git.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::volume;

/// What is taken from the workspace's repository as it is there, where it is there.
const SHOWN: [&str; 5] = ["objects", "refs", "packed-refs", "shallow", "reftable"];
const PLAIN: &str = "[core]\n\trepositoryformatversion = 0\n\tbare = true\n";
/// Of one whose references a command has moved into tables.
const TABLES: &str = "[core]\n\trepositoryformatversion = 1\n\tbare = true\n[extensions]\n\trefStorage = reftable\n";

/// Makes a view of the repository beside the execution's other things, in place of one that was there.
pub(super) fn make(repository: &Path, own: &Path, head: &str) -> io::Result<PathBuf> {
    let view = own.join("view");
    volume::remove(&view)?;
    kit::files::make_private(&view)?;
    for name in SHOWN {
        symlink(repository.join(name), view.join(name))?;
    }
    let configuration = if repository.join("reftable").is_dir() { TABLES } else { PLAIN };
    fs::write(view.join("config"), configuration)?;
    fs::write(view.join("HEAD"), format!("{head}\n"))?;
    Ok(view)
}
