//! The checks of this computer.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};

use super::Finding;
use crate::connect::{API_KEY, key_file as key_path};
use crate::exit::Code;
use crate::invocation::Invocation;

/// The oldest git whose worktrees and partial fetches are known to serve.
const GIT_OLDEST: (u32, u32) = (2, 30);
/// A mirror, a workspace and a dependency cache of one ordinary repository.
const FREE_BYTES_LEAST: u64 = 1024 * 1024 * 1024;
const MEBIBYTE: u64 = 1024 * 1024;

/// Whether there is a git that is new enough.
pub(super) async fn git() -> Finding {
    const CURE: &str = "install git 2.30 or newer and see that it is on the PATH";
    let mut command = kit::process::command("git");
    let answer = tokio::time::timeout(Duration::from_secs(10), command.arg("--version").output()).await;
    let said = match answer {
        Ok(Ok(output)) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        Ok(Ok(output)) => return Finding::ill(Code::Unavailable, format!("git --version: {}", output.status), CURE),
        Ok(Err(error)) => return Finding::ill(Code::Unavailable, format!("git cannot be started: {error}"), CURE),
        Err(_) => return Finding::ill(Code::Unavailable, "git --version does not end", CURE),
    };
    judge_git(&said, CURE)
}

pub(super) fn judge_git(said: &str, cure: &str) -> Finding {
    match version(said) {
        Some(version) if version >= GIT_OLDEST => Finding::Well(said.to_owned()),
        Some(_) => Finding::ill(Code::Unavailable, format!("{said} is too old"), cure),
        None => Finding::ill(Code::Unavailable, format!("git calls itself {said:?}"), cure),
    }
}

/// The two numbers in `git version 2.47.3 (some vendor)`.
fn version(said: &str) -> Option<(u32, u32)> {
    let mut numbers = said.strip_prefix("git version ")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Whether we could write there.
pub(super) fn data_directory(data: &Path) -> Finding {
    let cure = "name a directory that you may write with --data DIR or BIFROST_DATA";
    let shown = data.display();
    let (nearest, is_there) = match nearest_existing(data) {
        Some(nearest) => (nearest, nearest == data),
        None => return Finding::ill(Code::CannotCreate, format!("{shown} cannot be reached"), cure),
    };
    if !nearest.is_dir() {
        return Finding::ill(Code::CannotCreate, format!("{} is not a directory", nearest.display()), cure);
    }
    match access(nearest, AccessFlags::W_OK | AccessFlags::X_OK) {
        Ok(()) if is_there => Finding::Well(format!("{shown} can be written")),
        Ok(()) => Finding::Well(format!("{shown} is not there yet and can be made")),
        Err(error) => {
            let message = format!("{} cannot be written: {}", nearest.display(), io::Error::from(error));
            Finding::ill(Code::CannotCreate, message, cure)
        }
    }
}

/// Whether there is room for machines and their caches.
pub(super) fn free_space(data: &Path) -> Finding {
    let cure = "make room, or put the data directory on a larger disk with --data DIR";
    let Some(nearest) = nearest_existing(data) else { return Finding::Skipped };
    let space = match statvfs(nearest) {
        Ok(space) => space,
        Err(error) => {
            let message = format!("cannot be told for {}: {}", nearest.display(), io::Error::from(error));
            return Finding::ill(Code::InputOutput, message, cure);
        }
    };
    let free = space.blocks_available().saturating_mul(space.fragment_size());
    let message = format!("{} MiB are free", free / MEBIBYTE);
    if free >= FREE_BYTES_LEAST {
        Finding::Well(message)
    } else {
        let least = FREE_BYTES_LEAST / MEBIBYTE;
        Finding::ill(Code::InputOutput, format!("only {message}, and {least} MiB are soon used"), cure)
    }
}

/// Whether the key's file is for its owner alone.
pub(super) fn key_file(invocation: &Invocation) -> Finding {
    let has_variable = invocation.vars.text(API_KEY).is_some() && invocation.global.api_key_file.is_none();
    judge_key_file(key_path(&invocation.global), has_variable)
}

pub(super) fn judge_key_file(path: PathBuf, has_variable: bool) -> Finding {
    use std::os::unix::fs::PermissionsExt;
    let shown = path.display();
    match path.metadata() {
        Ok(metadata) => match metadata.permissions().mode() & 0o777 {
            0o600 | 0o400 => Finding::Well(format!("{shown} is for its owner alone")),
            mode => {
                let message = format!("{shown} has the mode {mode:04o}: others may read the key");
                Finding::ill(Code::NoPermission, message, format!("chmod 600 {shown}"))
            }
        },
        Err(_) if has_variable => Finding::Well(format!("none is needed: {API_KEY} is set")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let cure = format!("start `bifrost up`, which makes one, or set {API_KEY}");
            Finding::ill(Code::Configuration, format!("there is no {shown}"), cure)
        }
        Err(error) => {
            let cure = format!("ask its owner, or set {API_KEY}");
            Finding::ill(Code::NoPermission, format!("{shown} cannot be looked at: {error}"), cure)
        }
    }
}

fn nearest_existing(path: &Path) -> Option<&Path> {
    path.ancestors().find(|ancestor| ancestor.exists())
}
