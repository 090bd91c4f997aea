//! Mirrors without the contents of files, for repositories that are too large to
//! copy: git fetches a content when something needs it, and keeps it in the mirror.
//!
//! How large a repository is, no remote says beforehand. So a clone begins whole, and
//! where it outgrows the bound it is made anew without contents. A remote that cannot
//! leave them out sends everything all the same.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

/// What a repository's configuration says of a remote that promises what is not there.
pub(crate) const PROMISES: &str = "\tpromisor = true\n\tpartialclonefilter = blob:none\n";

/// How often a growing mirror is measured.
const BEAT: Duration = Duration::from_millis(200);

/// Whether the mirror may lack contents.
pub(crate) fn is_partial(mirror: &Path) -> bool {
    fs::read_to_string(mirror.join("config")).is_ok_and(|text| text.contains(PROMISES))
}

/// Lets a new mirror lack what its remote promises.
pub(super) fn promise(mirror: &Path, url: &str) -> io::Result<()> {
    let path = mirror.join("config");
    let mut text = fs::read_to_string(&path)?;
    let url = url.replace('\\', "\\\\").replace('"', "\\\"");
    text.push_str("[core]\n\trepositoryformatversion = 1\n[extensions]\n\tpartialClone = origin\n");
    text.push_str(&format!("[remote \"origin\"]\n\turl = \"{url}\"\n{PROMISES}"));
    fs::write(path, text)
}

/// Resolves when the mirror has more bytes of objects than that.
pub(super) async fn outgrown(mirror: &Path, bytes: u64) {
    while size(&mirror.join("objects")) <= bytes {
        tokio::time::sleep(BEAT).await;
    }
}

/// Bytes of what lies there. What goes meanwhile is not counted.
fn size(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let bytes = |entry: fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => size(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    };
    entries.map(bytes).sum()
}
