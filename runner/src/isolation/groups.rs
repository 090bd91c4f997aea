//! Control groups (version 2): one for each execution, in which everything that it starts is, whatever it does to its
//! group of processes or its environment. The kernel keeps a group to its memory and its number of processes, and ends
//! all of it at once.
//!
//! They are made beside the runner's own group, where the machine lets the runner do that. Where that group has to be
//! divided first and the runner is alone in it, the runner moves into a part of it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;

/// What has to be there, with the file that holds each one's limit.
const CONTROLLERS: [&str; 2] = ["memory", "pids"];
/// The part that the runner moves into.
const RUNNERS_PART: &str = "bifrost-runner";
const REMOVE_TRIES: usize = 200;
const REMOVE_PAUSE: Duration = Duration::from_millis(1);

/// What an execution may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) memory_bytes: u64,
    pub(super) processes: u64,
}

/// Where groups can be made.
#[derive(Debug, Clone)]
pub(super) struct Groups {
    /// Where the file system of control groups is.
    pub(super) mount: PathBuf,
    base: PathBuf,
    pub(super) bounds: Option<Bounds>,
}

impl Groups {
    /// Those of this machine, or why there can be none.
    pub(super) fn find(bounds: Bounds) -> Result<Self, String> {
        let groups = Self::unbounded()?;
        let controllers = fs::read_to_string(groups.base.join("cgroup.controllers")).unwrap_or_default();
        for wanted in CONTROLLERS {
            if !controllers.split_whitespace().any(|there| there == wanted) {
                return Err(format!("control groups of version 2 have no controller {wanted} here"));
            }
        }
        divide(&groups.base).map_err(|error| format!("{} cannot be divided: {error}", groups.base.display()))?;
        Ok(Self { bounds: Some(bounds), ..groups })
    }

    /// Groups that are kept to nothing.
    pub(super) fn unbounded() -> Result<Self, String> {
        let read = |path| fs::read_to_string(path).map_err(|error| error.to_string());
        let (mounts, own) = (read("/proc/self/mountinfo")?, read("/proc/self/cgroup")?);
        let (mount, base) = place(&mounts, &own).ok_or("no control groups of version 2 are mounted here")?;
        Ok(Self { mount, base, bounds: None })
    }

    pub(super) fn group(&self, name: &str) -> PathBuf {
        self.base.join(format!("bifrost-{name}"))
    }

    /// The file by which a process joins the group of this name, which is made where it is not there.
    pub(super) fn entrance(&self, name: &str) -> io::Result<File> {
        let group = self.group(name);
        match fs::create_dir(&group) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => (),
            made => {
                made?;
                if let Some(Bounds { memory_bytes, processes }) = self.bounds {
                    fs::write(group.join("memory.max"), memory_bytes.to_string())?;
                    fs::write(group.join("pids.max"), processes.to_string())?;
                }
            }
        }
        File::options().write(true).open(group.join("cgroup.procs"))
    }

    /// Stops all that is in a group, or lets it go on; none of it can tell. What is killed meanwhile ends all the same.
    pub(super) fn hold(&self, name: &str, is_held: bool) -> io::Result<()> {
        fs::write(self.group(name).join("cgroup.freeze"), if is_held { "1" } else { "0" })
    }

    /// Ends whatever is in a group, and removes it. Tells how many processes the kernel ended for want of memory.
    /// Blocks for a moment.
    pub(super) fn disband(&self, name: &str) -> io::Result<u64> {
        let group = self.group(name);
        let starved = fs::read_to_string(group.join("memory.events")).map_or(0, |events| starved(&events));
        match fs::write(group.join("cgroup.kill"), "1") {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            killed => killed?,
        }
        for _ in 0..REMOVE_TRIES {
            match fs::remove_dir(&group) {
                Err(error) if Errno::from_raw(error.raw_os_error().unwrap_or_default()) == Errno::EBUSY => {
                    std::thread::sleep(REMOVE_PAUSE);
                }
                removed => return removed.map(|()| starved),
            }
        }
        Err(io::Error::other("processes in it do not end"))
    }
}

/// Lets the parts of a group have limits of their own. A group with processes in it cannot be divided, so where the
/// runner is the only one it moves.
fn divide(base: &Path) -> io::Result<()> {
    let control = base.join("cgroup.subtree_control");
    let given = fs::read_to_string(&control)?;
    if CONTROLLERS.iter().all(|wanted| given.split_whitespace().any(|there| there == *wanted)) {
        return Ok(());
    }
    let give = || fs::write(&control, CONTROLLERS.map(|name| format!("+{name}")).join(" "));
    match give() {
        Err(error) if Errno::from_raw(error.raw_os_error().unwrap_or_default()) == Errno::EBUSY => (),
        given => return given,
    }
    let own = std::process::id().to_string();
    if fs::read_to_string(base.join("cgroup.procs"))?.trim() != own {
        return Err(io::Error::other("other processes than the runner are in it"));
    }
    let part = base.join(RUNNERS_PART);
    fs::create_dir_all(&part)?;
    fs::write(part.join("cgroup.procs"), &own)?;
    give().inspect_err(|_| {
        // Back to where it was, as far as that goes: nothing else depends on it.
        fs::write(base.join("cgroup.procs"), &own).ok();
    })
}

/// Where the file system of control groups is, and in it the group of this process (pure).
fn place(mounts: &str, own: &str) -> Option<(PathBuf, PathBuf)> {
    let own = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    mounts.lines().find_map(|line| {
        let (about, kind) = line.split_once(" - ")?;
        let mut about = about.split(' ').skip(3);
        let (root, mount) = (about.next()?, about.next()?);
        // What is mounted may be a part; a process outside of it sees no group of its own there.
        let below = Path::new(own).strip_prefix(root).ok()?;
        (kind.split(' ').next() == Some("cgroup2")).then(|| (PathBuf::from(mount), Path::new(mount).join(below)))
    })
}

/// How many processes were ended for want of memory (pure).
fn starved(events: &str) -> u64 {
    let count = |line: &str| line.strip_prefix("oom_kill ")?.trim().parse().ok();
    events.lines().find_map(count).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_group_is_found_below_what_is_mounted() {
        let mounts = "24 1 0:22 / /sys/fs/cgroup rw,relatime shared:4 - tmpfs tmpfs rw\n\
                      25 24 0:23 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
                      26 24 0:24 ROOT /sys/fs/cgroup/unified rw,nosuid shared:5 - cgroup2 cgroup2 rw\n";
        for (root, own, expect) in [
            ("/", "4:memory:/x\n0::/\n", Some("/sys/fs/cgroup/unified")),
            ("/", "0::/machine/a\n", Some("/sys/fs/cgroup/unified/machine/a")),
            ("/machine", "0::/machine/a\n", Some("/sys/fs/cgroup/unified/a")),
            ("/machine", "0::/other\n", None),
            ("/", "4:memory:/x\n", None),
        ] {
            let found = place(&mounts.replace("ROOT", root), own).map(|(_, base)| base);
            assert_eq!(found.as_deref(), expect.map(Path::new), "{root} {own}");
        }
    }

    #[test]
    fn what_the_kernel_ended_for_want_of_memory_is_counted() {
        assert_eq!(starved("low 0\nhigh 0\nmax 7\noom 2\noom_kill 3\noom_group_kill 0\n"), 3);
        assert_eq!(starved(""), 0);
    }
}
