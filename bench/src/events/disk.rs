//! Which disk the data is on.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

/// The kind of file system of a directory, such as `ext4`. Memory is none: nothing on it is
/// durable, and everything on it is fast.
pub(crate) fn file_system(directory: &Path) -> anyhow::Result<String> {
    let mounts = std::fs::read_to_string("/proc/mounts").context("cannot see what is mounted")?;
    let directory = directory.canonicalize()?;
    let kind = kind_of(&mounts, &directory).context("nothing is mounted at the directory")?;
    let is_memory = ["tmpfs", "ramfs"].contains(&kind);
    ensure!(!is_memory, "{} is in memory ({kind}); choose a disk with --directory", directory.display());
    Ok(kind.to_owned())
}

/// The kind of the innermost mount above the directory; of several in one place the last one counts.
fn kind_of<'a>(mounts: &'a str, directory: &Path) -> Option<&'a str> {
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((PathBuf::from(fields.next()?), fields.next()?))
    });
    let above = mounts.filter(|(place, _)| directory.starts_with(place));
    above.max_by_key(|(place, _)| place.components().count()).map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_mount_counts() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/b /tmp/b xfs rw 0 0\n";
        for (directory, expect) in [("/home", "ext4"), ("/tmp/a", "tmpfs"), ("/tmp/b/c", "xfs"), ("/tmpa", "ext4")] {
            assert_eq!(kind_of(mounts, Path::new(directory)), Some(expect), "{directory}");
        }
        assert_eq!(kind_of("", Path::new("/")), None);
    }
}
