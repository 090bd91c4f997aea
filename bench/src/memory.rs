//! What a process occupies, as the kernel counts it.

use std::fs;
use std::ops::AddAssign;

use anyhow::Context;
use serde::Serialize;

/// The memory of one or several processes, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Usage {
    /// What is in memory, shared pages counted in full.
    pub(crate) resident: u64,
    /// The same with each shared page divided among those who share it.
    pub(crate) proportional: u64,
}

impl Usage {
    /// Of one process, at the moment.
    pub(crate) fn of(process_id: u32) -> anyhow::Result<Self> {
        let path = format!("/proc/{process_id}/smaps_rollup");
        Ok(Self { resident: read(&path, "Rss")?, proportional: read(&path, "Pss")? })
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.resident += other.resident;
        self.proportional += other.proportional;
    }
}

/// The most that was resident of a process at any time, in bytes.
pub(crate) fn peak(process_id: u32) -> anyhow::Result<u64> {
    read(&format!("/proc/{process_id}/status"), "VmHWM")
}

/// In the unit of the figures.
#[expect(clippy::cast_precision_loss, reason = "no process occupies 2^52 bytes")]
pub(crate) fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1_000_000.0
}

fn read(path: &str, name: &str) -> anyhow::Result<u64> {
    let text = fs::read_to_string(path).with_context(|| format!("{path} cannot be read"))?;
    field(&text, name).with_context(|| format!("{path} has no {name}"))
}

/// A line such as `Rss:  1024 kB`, in bytes.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1_024)
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
    fn a_process_sees_its_own_memory() {
        let usage = Usage::of(std::process::id()).expect("this process runs");
        assert!(usage.resident >= usage.proportional && usage.proportional > 0, "{usage:?}");
        assert!(peak(std::process::id()).expect("this process runs") > 0);
    }
}
