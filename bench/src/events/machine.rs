//! The machine that is measured on: its disk, how long that takes to make something
//! durable, which is the measure for everything else, and what else it has to do.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, ensure};

use crate::report::milliseconds;
use crate::sample::Sample;

/// What is written before each sync.
const PAGE: [u8; 4_096] = [0x5a; 4_096];
/// How many there are of them.
const SYNCS: u64 = 200;

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

/// How long it takes to append a page to a file and have it on disk, in milliseconds.
pub(crate) fn syncs(directory: &Path) -> anyhow::Result<Sample> {
    let file = File::create(directory.join("page"))?;
    let sync = |number: u64| {
        let began = Instant::now();
        file.write_all_at(&PAGE, number * PAGE.len() as u64)?;
        file.sync_data()?;
        Ok(milliseconds(began.elapsed()))
    };
    (0..SYNCS).map(sync).collect::<std::io::Result<_>>().context("cannot write to the disk")
}

/// What else the machine has to do: processes that want to run, over a minute.
pub(crate) fn load_average() -> anyhow::Result<f64> {
    let text = std::fs::read_to_string("/proc/loadavg")?;
    Ok(text.split(' ').next().unwrap_or_default().parse()?)
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
