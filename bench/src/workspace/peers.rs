//! What one would do with git instead: clone, add a worktree, or fetch and reset a tree that is kept.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::upstream::{Upstream, git};

pub(super) const CLONE: &str = "git clone";
pub(super) const WORKTREE: &str = "git fetch + worktree add";
pub(super) const RESET: &str = "git fetch + reset --hard in a warm tree";

/// Trees that are kept from round to round.
#[derive(Debug)]
pub(super) struct Trees {
    place: PathBuf,
}

impl Trees {
    pub(super) async fn make(upstream: &Upstream, place: &Path) -> anyhow::Result<Self> {
        fs::create_dir(place)?;
        git(place, ["clone", "--quiet", &upstream.url(), "warm"]).await?;
        git(place, ["clone", "--quiet", "--no-checkout", &upstream.url(), "mirror"]).await?;
        Ok(Self { place: place.to_owned() })
    }

    /// Each once, at what is upstream now.
    pub(super) async fn measure(
        &self,
        upstream: &Upstream,
        quiet: fn(),
    ) -> anyhow::Result<Vec<(&'static str, Duration)>> {
        let (fresh, warm, mirror) = (self.place.join("fresh"), self.place.join("warm"), self.place.join("mirror"));
        quiet();
        let (_, clone) = git(&self.place, ["clone", "--quiet", &upstream.url(), "fresh"]).await?;
        fs::remove_dir_all(&fresh)?;
        quiet();
        let (_, fetch) = git(&mirror, ["fetch", "--quiet"]).await?;
        let add = ["worktree", "add", "--quiet", "--detach"].map(OsStr::new);
        let add = add.into_iter().chain([fresh.as_os_str(), OsStr::new("origin/main")]);
        let (_, add) = git(&mirror, add).await?;
        fs::remove_dir_all(&fresh)?;
        git(&mirror, ["worktree", "prune"]).await?;
        quiet();
        let (_, fetch_warm) = git(&warm, ["fetch", "--quiet"]).await?;
        let (_, reset) = git(&warm, ["reset", "--quiet", "--hard", "origin/main"]).await?;
        Ok(vec![(CLONE, clone), (WORKTREE, fetch + add), (RESET, fetch_warm + reset)])
    }
}
