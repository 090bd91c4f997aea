//! Hooks: files that each agent finds in its worktree, such as settings of its program,
//! which are no part of its work. Git does not see them there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Copies the files below `from` to the same places below `to`; nothing that is there is written over.
/// Tells which.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<Vec<PathBuf>> {
    let mut copied = Vec::new();
    copy_below(from, to, Path::new(""), &mut copied)?;
    copied.sort();
    Ok(copied)
}

fn copy_below(from: &Path, to: &Path, at: &Path, copied: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(from.join(at))? {
        let entry = entry?;
        let path = at.join(entry.file_name());
        let target = to.join(&path);
        let kind = entry.file_type()?;
        if kind.is_dir() {
            match fs::symlink_metadata(&target) {
                Ok(there) if !there.is_dir() => return Err(taken(&path)),
                Ok(_) => (),
                Err(_) => fs::create_dir(&target)?,
            }
            copy_below(from, to, &path, copied)?;
        } else if fs::symlink_metadata(&target).is_ok() {
            return Err(taken(&path));
        } else if kind.is_file() {
            fs::copy(entry.path(), &target)?;
            copied.push(path);
        } else {
            return Err(io::Error::other(format!("{} is neither a file nor a directory", path.display())));
        }
    }
    Ok(())
}

fn taken(path: &Path) -> io::Error {
    let message = format!("the repository has {} itself; take it out of the hooks", path.display());
    io::Error::new(io::ErrorKind::AlreadyExists, message)
}

/// The lines by which git passes these files over (pure).
pub(crate) fn exclusions(paths: &[PathBuf]) -> String {
    let line = |path: &PathBuf| {
        let escaped = path.to_string_lossy().chars().fold(String::new(), |mut line, character| {
            if "\\*?[ ".contains(character) {
                line.push('\\');
            }
            line.push(character);
            line
        });
        format!("/{escaped}\n")
    };
    paths.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_copied_and_nothing_is_written_over() {
        let directory = tempfile::tempdir().expect("a directory");
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        for path in [from.join(".claude/hooks"), to.join(".claude")] {
            fs::create_dir_all(path).expect("makes");
        }
        fs::write(from.join(".claude/hooks/stop"), "x").expect("writes");
        fs::write(from.join("NOTES"), "y").expect("writes");
        let copied = copy(&from, &to).expect("copies");
        assert_eq!(copied, [Path::new(".claude/hooks/stop"), Path::new("NOTES")]);
        assert_eq!(fs::read_to_string(to.join(".claude/hooks/stop")).expect("is there"), "x");
        let again = copy(&from, &to).expect_err("is there").to_string();
        assert!(again.contains("take it out of the hooks"), "{again}");
    }

    #[test]
    fn exclusions_name_one_file_each() {
        let paths = [".claude/a b", "x*[y]?"].map(PathBuf::from);
        assert_eq!(exclusions(&paths), "/.claude/a\\ b\n/x\\*\\[y]\\?\n");
    }
}
