//! When a command last committed something: every commit is a line in the log of
//! some `HEAD`, that of the workspace or of a worktree which the command added.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// The commits of one workspace.
#[derive(Debug)]
pub(super) struct Commits {
    repository: PathBuf,
}

impl Commits {
    pub(super) fn of(workspace: &Path) -> Self {
        Self { repository: workspace.join(".git") }
    }

    /// How much of the time is left, counted from the last commit; nothing when it is over.
    pub(super) fn since(&self, now: DateTime<Utc>, within: Duration) -> Option<Duration> {
        left(now - self.last()?, within)
    }

    fn last(&self) -> Option<DateTime<Utc>> {
        let worktrees = fs::read_dir(self.repository.join("worktrees")).into_iter().flatten().flatten();
        let repositories = worktrees.map(|entry| entry.path()).chain([self.repository.clone()]);
        let written = |repository: PathBuf| fs::metadata(repository.join("logs/HEAD")).ok()?.modified().ok();
        repositories.filter_map(written).max().map(DateTime::from)
    }
}

/// Whoever sets a time in the future gains no more than the whole time by it (pure).
fn left(age: TimeDelta, within: Duration) -> Option<Duration> {
    let age = age.to_std().unwrap_or_default();
    within.checked_sub(age).filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_since_a_commit_is_taken_off() {
        let within = Duration::from_secs(10);
        for (age_ms, expect_ms) in
            [(0, Some(10_000)), (4_000, Some(6_000)), (10_000, None), (90_000, None), (-5_000, Some(10_000))]
        {
            assert_eq!(left(TimeDelta::milliseconds(age_ms), within), expect_ms.map(Duration::from_millis), "{age_ms}");
        }
    }
}
