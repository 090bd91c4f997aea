//! What was not committed, as one commit in the mirror: made by `git fast-import` from the files that are known to
//! differ, so that neither the tree is walked again nor the workspace's own repository asked.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use chrono::{DateTime, Utc};

use super::references;
use crate::checkpoint::changes::Changes;
use crate::git::{Git, GitError, Place};
use crate::orders::Orders;
use crate::workspace::{Marker, Paths};

/// More than this is left to the checkpoint alone: git would take longer over it than the checkpoint did.
const BYTES_MAX: u64 = 32 * 1024 * 1024;
const FILES_MAX: usize = 20_000;

/// Why there is no commit of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotCommitted {
    #[error("it is more than {FILES_MAX} files or {} MiB, so that the checkpoint alone holds it", BYTES_MAX / 1024 / 1024)]
    TooMuch,
    #[error("the volume has no room for it, so that the checkpoint alone holds it")]
    NoRoom,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Git(#[from] GitError),
}

/// Commits the changed files on top of `parent`. Gives the reference; nothing where all of it is in `parent`.
pub(super) async fn commit(
    git: &Git,
    paths: &Paths,
    marker: &Marker,
    parent: &str,
    changes: &Changes,
    now: DateTime<Utc>,
) -> Result<Option<String>, NotCommitted> {
    let orders = Orders::none();
    let place = Place::bare(&paths.mirror);
    let reference = references::wip(marker.subject.execution_id);
    // Changes are measured against the commit that was checked out, wherever HEAD is now.
    let base = match parent == marker.commit {
        true => None,
        false => {
            let tree = format!("{}^{{tree}}", marker.commit);
            let answer = git.run(place, ["rev-parse", "--verify", tree.as_str()], b"", &orders).await?;
            Some(String::from_utf8_lossy(&answer).trim().to_owned())
        }
    };
    let (tree, known) = (paths.tree.clone(), changes.clone());
    let head = Beginning {
        reference: reference.clone(),
        parent: parent.to_owned(),
        base,
        seconds: now.timestamp(),
        message: format!("{}\n", marker.title.as_deref().unwrap_or("Work that was not committed")),
    };
    let mirror = paths.mirror.clone();
    let input = kit::tasks::blocking(move || {
        let input = stream(&tree, &head, &known)?;
        has_room(&mirror, input.len())?.then_some(input).ok_or(NotCommitted::NoRoom)
    });
    let input = input.await?;
    let options = ["-c", "core.compression=1", "fast-import", "--quiet", "--done", "--force"];
    git.run(place, options, &input, &orders).await?;
    let trees = [format!("{reference}^{{tree}}"), format!("{parent}^{{tree}}")];
    let answer = git.run(place, ["rev-parse", trees[0].as_str(), trees[1].as_str()], b"", &orders).await?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let mut lines = answer.lines();
    if lines.next() != lines.next() {
        return Ok(Some(reference));
    }
    // All of it was committed: HEAD is all there is to keep, if anything.
    if parent == marker.commit {
        git.run(place, ["update-ref", "-d", reference.as_str()], b"", &orders).await?;
        return Ok(None);
    }
    git.run(place, ["update-ref", reference.as_str(), parent], b"", &orders).await?;
    Ok(Some(reference))
}

/// Whether so much fits, and the checkpoint after it: that one goes before.
fn has_room(mirror: &Path, bytes: usize) -> io::Result<bool> {
    let space = nix::sys::statvfs::statvfs(mirror)?;
    #[expect(clippy::useless_conversion, reason = "the width of these differs between systems")]
    let free = u64::from(space.blocks_available()).saturating_mul(u64::from(space.fragment_size()));
    Ok(free / 3 > bytes as u64)
}

struct Beginning {
    reference: String,
    parent: String,
    /// The tree that the changes are measured against, where it is not the parent's.
    base: Option<String>,
    seconds: i64,
    message: String,
}

/// What fast-import reads.
fn stream(tree: &Path, head: &Beginning, changes: &Changes) -> Result<Vec<u8>, NotCommitted> {
    if changes.present.len() > FILES_MAX {
        return Err(NotCommitted::TooMuch);
    }
    let mut out = format!(
        "feature done\ncommit {}\ncommitter Bifrost <bifrost@localhost> {} +0000\ndata {}\n{}\nfrom {}\n",
        head.reference,
        head.seconds,
        head.message.len(),
        head.message,
        head.parent
    )
    .into_bytes();
    if let Some(base) = &head.base {
        out.extend_from_slice(format!("deleteall\nM 040000 {base} \"\"\n").as_bytes());
    }
    for path in changes.deleted.iter().filter(|path| may_be_in_git(path)) {
        out.extend_from_slice(b"D ");
        push_path(&mut out, path);
    }
    let mut bytes = 0;
    for path in changes.present.iter().filter(|path| may_be_in_git(path)) {
        let place = tree.join(path);
        let meta = fs::symlink_metadata(&place)?;
        bytes += meta.len();
        if bytes > BYTES_MAX {
            return Err(NotCommitted::TooMuch);
        }
        let (mode, content) = if meta.is_symlink() {
            ("120000", fs::read_link(&place)?.as_os_str().as_bytes().to_vec())
        } else {
            (if meta.permissions().mode() & 0o100 == 0 { "100644" } else { "100755" }, fs::read(&place)?)
        };
        out.extend_from_slice(format!("M {mode} inline ").as_bytes());
        push_path(&mut out, path);
        out.extend_from_slice(format!("data {}\n", content.len()).as_bytes());
        out.extend_from_slice(&content);
        out.push(b'\n');
    }
    out.extend_from_slice(b"\ndone\n");
    Ok(out)
}

/// Git keeps no file of a repository inside the repository.
fn may_be_in_git(path: &Path) -> bool {
    let is_gits = |part: &OsStr| part.eq_ignore_ascii_case(".git") || part.eq_ignore_ascii_case("git~1");
    !path.iter().any(is_gits)
}

/// Quoted, whatever bytes it is made of.
fn push_path(out: &mut Vec<u8>, path: &Path) {
    out.push(b'"');
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            byte => out.push(*byte),
        }
    }
    out.extend_from_slice(b"\"\n");
}
