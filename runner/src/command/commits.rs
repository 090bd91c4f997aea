//! When a command last committed something: every commit is a line in the log of
//! some `HEAD`, that of the workspace or of a worktree which the command added. So is
//! every other move of that `HEAD`, which is no work: a line says what it was.

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use nix::fcntl::OFlag;

/// How much of the end of a log is looked at: hundreds of lines.
const LOG_BYTES: u64 = 64 * 1024;

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
        repositories.filter_map(|repository| last_in(&repository.join("logs/HEAD"))).max()
    }
}

/// When the last commit of a log was made.
fn last_in(log: &Path) -> Option<DateTime<Utc>> {
    // The command may have put anything there, and nobody waits for a pipe.
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let mut file = fs::OpenOptions::new().read(true).custom_flags(flags).open(log).ok()?;
    let meta = file.metadata().ok().filter(fs::Metadata::is_file)?;
    let written = meta.modified().ok()?.into();
    file.seek(SeekFrom::Start(meta.len().saturating_sub(LOG_BYTES))).ok()?;
    let mut end = Vec::new();
    file.take(LOG_BYTES).read_to_end(&mut end).ok()?;
    last_commit(&end, written)
}

/// When the last commit was made, by the end of a log that was last written then (pure). A line of its own has the time
/// that the committer says, in seconds.
fn last_commit(log: &[u8], written: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let mut lines = log.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).rev();
    let newest = lines.next()?;
    if is_commit(newest) {
        return Some(written);
    }
    lines.find(|line| is_commit(line)).and_then(said_time).map(|said| said.min(written))
}

/// Whether a line of a log tells that something was committed, and not that `HEAD` went to what was there.
fn is_commit(line: &[u8]) -> bool {
    let Some(tab) = line.iter().position(|byte| *byte == b'\t') else { return false };
    let message = String::from_utf8_lossy(&line[tab + 1..]);
    let (action, rest) = message.split_once(": ").unwrap_or((&message, ""));
    let (word, how) = action.split_once(' ').unwrap_or((action, ""));
    match word {
        "commit" | "cherry-pick" | "revert" | "am" => true,
        "merge" => rest != "Fast-forward",
        "pull" | "rebase" => {
            rest != "Fast-forward" && !["(start)", "(finish)", "(abort)"].iter().any(|end| how.ends_with(end))
        }
        _ => false,
    }
}

/// The time that a line says, which stands between the committer and the message.
fn said_time(line: &[u8]) -> Option<DateTime<Utc>> {
    let head = String::from_utf8_lossy(line.split(|byte| *byte == b'\t').next()?);
    let seconds = head.rsplit(' ').nth(1)?.parse().ok()?;
    DateTime::from_timestamp(seconds, 0)
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

    #[test]
    fn a_line_says_whether_something_was_committed() {
        for (message, expect) in [
            ("commit: x", true),
            ("commit (initial): x", true),
            ("commit (amend): checkout: moving from a to b", true),
            ("commit (merge): Merge branch 'a'", true),
            ("merge a: Merge made by the 'ort' strategy.", true),
            ("merge a: Fast-forward", false),
            ("pull --no-rebase: Merge made by the 'ort' strategy.", true),
            ("pull: Fast-forward", false),
            ("pull --rebase (start): checkout 0c5dd7e6", false),
            ("pull --rebase (finish): returning to refs/heads/main", false),
            ("pull --rebase (pick): x", true),
            ("cherry-pick: x", true),
            ("revert: Revert \"x\"", true),
            ("am: x", true),
            ("rebase (start): checkout main", false),
            ("rebase (pick): x", true),
            ("rebase -i (squash): x", true),
            ("rebase (finish): returning to refs/heads/main", false),
            ("rebase (abort): returning to refs/heads/main", false),
            ("checkout: moving from main to a", false),
            ("checkout: moving from main to commit: x", false),
            ("reset: moving to HEAD~1", false),
            ("clone: from https://git.example", false),
            ("", false),
        ] {
            let line = format!("{0} {0} n o <e@example.org> 1700000000 +0100\t{message}", "0".repeat(40));
            assert_eq!(is_commit(line.as_bytes()), expect, "{message}");
        }
        assert!(!is_commit(b"commit: x") && !is_commit(b""));
    }

    #[test]
    fn what_follows_a_commit_does_not_make_it_younger() {
        let line = |seconds: i64, message: &str| format!("a b n o <e@example.org> {seconds} +0100\t{message}\n");
        let (commit, other) = (line(100, "commit: x"), line(200, "reset: moving to HEAD"));
        let at = |seconds| DateTime::from_timestamp(seconds, 0);
        for (log, expect) in [
            (commit.clone(), at(300)),
            (format!("{commit}{other}"), at(100)),
            (format!("{}{commit}{other}{other}", line(150, "commit: w")), at(100)),
            (format!("{}{other}", line(900, "commit: x")), at(300)),
            (format!("{}{other}", "\tcommit: x\n"), None),
            (other.clone(), None),
            (String::new(), None),
        ] {
            assert_eq!(last_commit(log.as_bytes(), at(300).expect("a time")), expect, "{log}");
        }
    }
}
