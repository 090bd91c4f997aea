//! What the processes of a system occupy, as the kernel counts it.

use std::fs;
use std::ops::AddAssign;

use anyhow::{Context, ensure};
use serde::Serialize;

/// The memory of one or several processes, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Usage {
    /// What is in memory, shared pages counted in full.
    pub(super) resident: u64,
    /// The same with each shared page divided among those who share it.
    pub(super) proportional: u64,
}

/// A system's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Usages {
    /// Of `bifrost up` itself.
    pub(super) up: Usage,
    /// Of the runners it started.
    pub(super) runners: Usage,
}

/// Looks at the process and at those it started.
pub(super) fn of_system(process_id: u32) -> anyhow::Result<Usages> {
    let mut runners = Usage::default();
    let children = children(process_id)?;
    ensure!(!children.is_empty(), "the system has no runner");
    for child in children {
        runners += usage(child)?;
    }
    Ok(Usages { up: usage(process_id)?, runners })
}

/// In the unit of the figures.
#[expect(clippy::cast_precision_loss, reason = "no process occupies 2^52 bytes")]
pub(super) fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1_000_000.0
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.resident += other.resident;
        self.proportional += other.proportional;
    }
}

fn usage(process_id: u32) -> anyhow::Result<Usage> {
    let path = format!("/proc/{process_id}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| format!("{path} cannot be read"))?;
    let bytes = |name| field(&text, name).with_context(|| format!("{path} has no {name}"));
    Ok(Usage { resident: bytes("Rss")?, proportional: bytes("Pss")? })
}

/// A line such as `Rss:  1024 kB`, in bytes.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1_024)
}

/// The processes it started and did not lose.
fn children(parent: u32) -> anyhow::Result<Vec<u32>> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(process_id) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process may end while we look.
        let Ok(stat) = fs::read_to_string(format!("/proc/{process_id}/stat")) else { continue };
        if parent_of(&stat) == Some(parent) {
            children.push(process_id);
        }
    }
    Ok(children)
}

/// The fourth field of `/proc/ID/stat`; the second, a name in brackets, may hold anything.
fn parent_of(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "00400000-7ffe r--p 00000000 00:00 0 [rollup]\nRss:    1024 kB\nPss:      12 kB\nPss_Anon:  1 kB\n";
        assert_eq!(field(text, "Rss"), Some(1_048_576));
        assert_eq!(field(text, "Pss"), Some(12_288));
        assert_eq!(field(text, "Swap"), None);
    }

    #[test]
    fn a_parent_is_found_behind_any_name() {
        assert_eq!(parent_of("7 (bifrost) S 3 7 7 0 -1"), Some(3));
        assert_eq!(parent_of("7 (a) b) 9 (c) S 3 7 7 0 -1"), Some(3));
        assert_eq!(parent_of("7 (bifrost"), None);
    }

    #[test]
    fn a_process_sees_its_own_memory() {
        let usage = usage(std::process::id()).expect("this process runs");
        assert!(usage.resident >= usage.proportional && usage.proportional > 0, "{usage:?}");
    }
}
