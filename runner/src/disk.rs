//! Keeps an execution to its part of the disk: its workspace, its home and its temporary directory. Looking is cheap:
//! only when so much has come to the volume that the execution may have passed its limit, or what goes may hide what comes,
//! are its files counted.
//!
//! It is for commands that go wrong. It does not see what one hides: files that it removed and still has open,
//! directories that it closed to the runner. Nor is it fast enough for one that fills the volume at once. Both end at
//! the volume's size.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kit::tasks::blocking;
use tokio::time::Instant;

use crate::orders::{Commander, Excess, Halt};
use crate::volume::Volume;
use crate::workspace::Paths;

/// Between two looks at the volume.
const BEAT: Duration = Duration::from_millis(500);
/// After so long the files are counted in any case.
const COUNT_EVERY: Duration = Duration::from_secs(60);
/// Counting takes at most one part in so many of the time.
const COUNT_SHARE: u32 = 20;
/// A block of `st_blocks`, whatever the file system's are.
const BLOCK_BYTES: u64 = 512;

/// What an execution has on the disk, as far as is known.
#[derive(Debug)]
pub(crate) struct Gauge {
    limit_bytes: u64,
    roots: Arc<[PathBuf]>,
    volume: Arc<Volume>,
    counted: Option<Counted>,
}

/// What was found when the files were counted last.
#[derive(Debug, Clone, Copy)]
struct Counted {
    own_bytes: u64,
    /// What was on the whole volume when that began.
    volume_bytes: u64,
    /// Whether something else was on its way out then, which hides what comes.
    hides: bool,
    at: Instant,
    took: Duration,
}

impl Counted {
    /// Whether the files have to be counted again, when so much is on the volume (pure).
    fn is_stale(&self, limit_bytes: u64, volume_bytes: u64, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.at);
        let left = limit_bytes.saturating_sub(self.own_bytes);
        let may_have_passed = volume_bytes.saturating_sub(self.volume_bytes) > left;
        // What goes hides what comes.
        let is_hidden = self.hides || volume_bytes < self.volume_bytes;
        since >= self.took * COUNT_SHARE && (may_have_passed || is_hidden || since >= COUNT_EVERY)
    }
}

impl Gauge {
    pub(crate) fn new(limit_bytes: u64, paths: &Paths, volume: Arc<Volume>) -> Self {
        let roots = [&paths.tree, &paths.home, &paths.temporary].map(Clone::clone);
        Self { limit_bytes, roots: roots.into(), volume, counted: None }
    }

    /// Looks at the volume, and counts where that is due.
    async fn look(&mut self) -> io::Result<Option<Excess>> {
        let volume_bytes = volume_bytes(&self.roots[0])?;
        let began = Instant::now();
        if self.counted.is_none_or(|counted| counted.is_stale(self.limit_bytes, volume_bytes, began)) {
            let (roots, volume) = (self.roots.clone(), self.volume.clone());
            let (hides, own_bytes) =
                blocking(move || Ok::<_, io::Error>((volume.has_trash()?, bytes_below(&roots)?))).await?;
            let at = Instant::now();
            self.counted = Some(Counted { own_bytes, volume_bytes, hides, at, took: at - began });
            if own_bytes > self.limit_bytes {
                return Ok(Some(Excess { used_bytes: own_bytes, limit_bytes: self.limit_bytes }));
            }
        }
        Ok(None)
    }
}

/// Gives the order to end an execution that has more than it may. Goes on until it is dropped.
pub(crate) async fn watch(gauge: Option<Gauge>, keeper: &Commander) {
    let Some(mut gauge) = gauge else { return std::future::pending().await };
    loop {
        match gauge.look().await {
            Ok(None) => (),
            Ok(Some(excess)) => keeper.halt(Halt::DiskExceeded(excess)),
            Err(error) => tracing::debug!("what an execution has on the disk cannot be seen just now: {error}"),
        }
        tokio::time::sleep(BEAT).await;
    }
}

/// What is on the whole volume.
fn volume_bytes(path: &Path) -> io::Result<u64> {
    let space = nix::sys::statvfs::statvfs(path)?;
    Ok(space.blocks().saturating_sub(space.blocks_free()) * space.fragment_size())
}

/// What the files below these directories take of the disk, following no link. A file that has names elsewhere as well
/// is shared, and nobody's own. What goes while this looks, or cannot be looked into, is left out.
pub(crate) fn bytes_below(roots: &[PathBuf]) -> io::Result<u64> {
    let mut bytes = 0;
    let mut names_left: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    let mut count = |meta: &Metadata| {
        if meta.is_dir() || meta.nlink() == 1 {
            bytes += meta.blocks() * BLOCK_BYTES;
        } else {
            let left = names_left.entry((meta.dev(), meta.ino())).or_insert_with(|| meta.nlink());
            *left = left.saturating_sub(1);
            if *left == 0 {
                bytes += meta.blocks() * BLOCK_BYTES;
            }
        }
    };
    let mut waiting = roots.to_vec();
    while let Some(directory) = waiting.pop() {
        let Some(entries) = there(fs::read_dir(&directory))? else { continue };
        for entry in entries {
            let Some(entry) = there(entry)? else { continue };
            let Some(meta) = there(entry.metadata())? else { continue };
            count(&meta);
            if meta.is_dir() {
                waiting.push(entry.path());
            }
        }
    }
    Ok(bytes)
}

fn there<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    use io::ErrorKind::{InvalidFilename, NotADirectory, NotFound, PermissionDenied};
    match found {
        Err(error) if matches!(error.kind(), NotFound | NotADirectory | PermissionDenied | InvalidFilename) => Ok(None),
        found => found.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::Orders;
    use crate::testing::{Remote, Scene};
    use wire::event::{IsolationPayload, kind};
    use wire::execution::{Failure, Outcome};

    #[test]
    fn the_files_are_counted_when_the_limit_may_have_been_passed_or_hidden_and_never_without_a_pause() {
        let at = Instant::now();
        let counted = |own_bytes, hides| {
            let took = Duration::from_secs(1);
            Counted { own_bytes, volume_bytes: 1000, hides, at, took }
        };
        for (own, hides, volume, seconds, expect) in [
            (40, false, 1060, 30, false),
            (40, false, 1061, 30, true),
            (40, false, 1061, 19, false),
            (40, false, 1000, 59, false),
            (40, false, 1000, 60, true),
            (40, false, 999, 19, false),
            (40, false, 999, 20, true),
            (40, true, 1000, 19, false),
            (40, true, 1000, 20, true),
            (100, false, 1001, 30, true),
        ] {
            let is_stale = counted(own, hides).is_stale(100, volume, at + Duration::from_secs(seconds));
            assert_eq!(is_stale, expect, "{own} {hides} {volume} {seconds}");
        }
    }

    #[test]
    fn shared_files_and_what_links_lead_to_are_not_counted_and_own_ones_once() {
        let directory = tempfile::tempdir().expect("a directory");
        let [own, elsewhere] = ["own", "elsewhere"].map(|name| directory.path().join(name));
        fs::create_dir_all(own.join("deep")).expect("makes");
        fs::create_dir(&elsewhere).expect("makes");
        let empty = bytes_below(std::slice::from_ref(&own)).expect("counts");
        let megabyte = vec![1; 1 << 20];
        fs::write(elsewhere.join("shared"), &megabyte).expect("writes");
        fs::hard_link(elsewhere.join("shared"), own.join("shared")).expect("links");
        fs::write(own.join("deep/file"), &megabyte).expect("writes");
        fs::hard_link(own.join("deep/file"), own.join("again")).expect("links");
        std::os::unix::fs::symlink(&elsewhere, own.join("link")).expect("links");
        fs::File::create(own.join("hole")).and_then(|file| file.set_len(1 << 30)).expect("makes");
        let counted = bytes_below(&[own, directory.path().join("absent")]).expect("counts") - empty;
        assert!((1 << 20..(1 << 20) + (1 << 18)).contains(&counted), "{counted}");
    }

    #[tokio::test]
    async fn an_execution_that_takes_more_of_the_disk_than_it_may_is_ended_with_what_it_took() {
        let limit = 8 << 20;
        let mut scene = Scene::with(|config| config.limits.disk_bytes = Some(limit)).await;
        let fill = |place: &str| format!("head -c 16777216 /dev/zero > {place}/big; exec sleep 600");
        let remote = Remote::with(&[("README", "hello\n")]).await;
        for place in [".", "$HOME", "$TMPDIR"] {
            let (completion, _) = scene.run(&remote, &fill(place)).await;
            assert_eq!((completion.outcome, completion.failure), (Outcome::Failed, Some(Failure::DiskExceeded)));
            let message = completion.message.expect("says why");
            assert!(message.contains("more than the 8388608") && message.contains("BIFROST_DISK_BYTES"), "{message}");
        }
        let (completion, events) = scene.run(&remote, "head -c 1048576 /dev/zero > small").await;
        assert_eq!(completion.outcome, Outcome::Succeeded);
        let told = events.iter().find(|event| event.kind == kind::EXECUTION_ISOLATION).expect("is told");
        let told: IsolationPayload = serde_json::from_str(told.payload.get()).expect("reads");
        assert_eq!(told.disk_bytes, Some(limit));

        let settings = format!("[setup]\ncommands = [[\"sh\", \"-c\", \"{}\"]]\n", fill("."));
        let remote = Remote::with(&[(".bifrost.toml", &settings)]).await;
        let lease = scene.lease(&remote, None, &["true"]);
        let (completion, _) = scene.carry_out(&lease, Orders::none()).await;
        let completion = completion.expect("not lost");
        assert_eq!((completion.outcome, completion.failure), (Outcome::SetupFailed, Some(Failure::DiskExceeded)));
    }
}
