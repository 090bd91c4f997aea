//! Finds the program that a command names, as a shell would, to say clearly what
//! is wrong where there is none.

use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

/// Why a program cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotRunnable {
    /// There is no such program.
    #[error("{0}: not found; check the name, and that it is installed on the machine or checked in")]
    NotFound(String),
    /// It lies where commands see something else.
    #[error("{name}: not found; it lies in {}, and commands see their own in its place; install it elsewhere", .within.display())]
    OutOfSight { name: String, within: PathBuf },
    /// There is a file, but it cannot be executed.
    #[error("{0}: not executable; run chmod +x on it and commit that, or name its interpreter")]
    NotExecutable(String),
}

impl NotRunnable {
    /// The exit code a shell gives for it.
    pub(crate) fn code(&self) -> i32 {
        match self {
            Self::NotFound(_) | Self::OutOfSight { .. } => 127,
            Self::NotExecutable(_) => 126,
        }
    }
}

/// Looks the name up on the given PATH. A name with a slash is a path, seen from `directory`.
pub(crate) fn find(name: &str, path: &str, directory: &Path) -> Result<PathBuf, NotRunnable> {
    let candidates: Vec<PathBuf> = if name.contains('/') {
        vec![directory.join(name)]
    } else {
        // An empty entry means the directory itself, as in a shell.
        path.split(':').map(|entry| directory.join(entry).join(name)).collect()
    };
    let mut refused = NotRunnable::NotFound(name.to_owned());
    for candidate in candidates {
        if candidate.is_file() && access(&candidate, AccessFlags::X_OK).is_ok() {
            return Ok(candidate);
        }
        if candidate.exists() {
            refused = NotRunnable::NotExecutable(name.to_owned());
        }
    }
    Err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn programs_are_found_as_a_shell_finds_them() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path();
        for (name, mode) in [("bin/tool", 0o755), ("bin/plain", 0o644), ("other/plain", 0o755), ("script", 0o755)] {
            fs::create_dir_all(root.join(name).parent().expect("has one")).expect("makes");
            fs::write(root.join(name), "#!/bin/sh\n").expect("writes");
            fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).expect("sets");
        }
        for (name, path, expect) in [
            ("tool", "none:bin", Ok("bin/tool")),
            ("plain", "bin", Err(126)),
            ("plain", "bin:other", Ok("other/plain")),
            ("none", "bin:other", Err(127)),
            ("", "bin", Err(126)),
            ("./script", "bin", Ok("./script")),
            ("bin/plain", "", Err(126)),
            ("bin", "", Err(126)),
            ("script", "bin:", Ok("script")),
            ("./none", "bin", Err(127)),
            ("tool/", "bin", Err(127)),
        ] {
            let found = find(name, path, root).map_err(|refused| refused.code());
            assert_eq!(found, expect.map(|path| root.join(path)), "{name:?} on {path:?}");
        }
    }
}
