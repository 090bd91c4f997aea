//! What the processes of a system occupy.

use std::fs;

use anyhow::ensure;

use crate::memory::Usage;

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
        runners += Usage::of(child)?;
    }
    Ok(Usages { up: Usage::of(process_id)?, runners })
}

/// The processes it started and did not lose.
pub(super) fn children(parent: u32) -> anyhow::Result<Vec<u32>> {
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
    fn a_parent_is_found_behind_any_name() {
        assert_eq!(parent_of("7 (bifrost) S 3 7 7 0 -1"), Some(3));
        assert_eq!(parent_of("7 (a) b) 9 (c) S 3 7 7 0 -1"), Some(3));
        assert_eq!(parent_of("7 (bifrost"), None);
    }
}
